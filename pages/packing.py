"""Packing: documents placed into packs, histograms packed, padding removed, and a decoder run three ways."""

from __future__ import annotations

from explainers.packing.histogram_params import HistogramParams
from explainers.packing.pack_params import PackParams
from explainers.packing.run_params import RunParams
from explainers.packing.unpad_params import UnpadParams
from pages.parts import packing as parts
from pages.parts import packing_questions as asks
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

LONG = {"source": "uniform", "shortest": 200, "longest": 700, "seed": 3}
CUT = {"source": "uniform", "shortest": 400, "longest": 900, "count": 32}

PACK = Chapter(
    key="pack",
    title="Pack documents",
    experiment="packing.pack",
    params=PackParams,
    main=True,
    fields=parts.pack_fields,
    behind={MORE: parts.further_pack_fields, "Lengths": ("lengths",)},
    question=parts.packs_twice_as_long,
    check_yourself=asks.packs_half_as_long,
    tries=(
        Try("pad", "Pad to the longest", {"strategy": "pad_to_longest", "versus": "next_fit"}),
        Try("next_fit", "One open pack", {"strategy": "next_fit", "versus": "best_fit"}),
        Try("decreasing", "Longest first", {"strategy": "best_fit_decreasing", "versus": "best_fit", **LONG}),
        Try("wrap", "Concatenate and cut", {"strategy": "wrap", "versus": "best_fit", **CUT}),
        Try("bimodal", "Chats", {"source": "bimodal", "strategy": "best_fit", "versus": "next_fit"}),
    ),
    below=parts.both_strategies,
)
HISTOGRAM = Chapter(
    key="histogram",
    title="Pack millions",
    experiment="packing.histogram",
    params=HistogramParams,
    heading="Millions of documents at once",
    fields=("strategy", "depth"),
    behind={"Histogram": ("histogram",)},
    question=asks.padding_left,
    check_yourself=asks.times_faster,
    below=parts.packs_and_share,
)
UNPAD = Chapter(
    key="unpad",
    title="Remove padding",
    experiment="packing.unpad",
    params=UnpadParams,
    heading="Padding removed, tensor by tensor",
    fields=("lengths", "images", "model"),
    behind={MORE: ("pad_again", "heads", "kv_heads", "head_size", "block_q", "block_k")},
    question=asks.where_a_document_begins,
    check_yourself=asks.tokens_with_a_loss,
)
RUN = Chapter(
    key="run",
    title="Run it",
    experiment="packing.run",
    params=RunParams,
    heading="The same decoder, three ways",
    fields=("lengths", "layers", "hidden", "positions"),
    behind={MORE: ("heads", "kv_heads", "head_dim", "vocab", "backend", "seed")},
    question=asks.documents_that_move,
    check_yourself=asks.scores_unpadded,
    tries=(
        Try("empty", "Empty documents", {"lengths": "12,0,5,0,9"}),
        Try("long", "One long document", {"lengths": "64,3,2,5,4,2"}),
        Try("equal", "Equal lengths", {"lengths": "9,9,9,9,9,9"}),
    ),
    below=parts.loss_and_leak,
)

lesson.show("packing", (PACK, HISTOGRAM, UNPAD, RUN))
