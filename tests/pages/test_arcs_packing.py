"""The arc of each chapter of packing: questions at any setting, and their right answers worked out otherwise."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from explainers.contract.experiment import find
from explainers.contract.params import Params
from explainers.packing.histogram import histogram
from explainers.packing.histogram_packing import longest_pack_first
from explainers.packing.histogram_params import HistogramParams, built_in
from explainers.packing.pack_params import PackParams
from explainers.packing.run_params import RunParams
from explainers.packing.unpad import unpad
from explainers.packing.unpad_params import UnpadParams
from pages.parts import packing_questions as asks
from pages.ui.jobs.prepared_run import facts
from tests.packing.test_packing import packed
from tests.pages.chapters import chapter_of, chapters_of
from tests.pages.training_arcs import Draw, asked, badly_long, drawn, offered

KEYS = [chapter.key for chapter in chapters_of("packing")]


def lengths(most: int, *, least: int = 0) -> Draw:
    """Draws a list of lengths as text, the first of them at least 2."""

    def draw(chance: random.Random) -> str:
        rest = [chance.randint(least, most) for _ in range(chance.randint(0, 6))]
        return ",".join(map(str, [chance.randint(2, most), *rest]))

    return draw


def documents(chance: random.Random) -> str:
    return chance.choice(("", lengths(900, least=1)(chance)))


def pictured(chance: random.Random) -> str:
    return chance.choice(("", "", "0:1x4x4@1", "0:3x2x4@0,0:1x2x2@1"))


def counted(chance: random.Random) -> str:
    longest = chance.randint(1, 40)
    counts = [chance.randint(1, 500), *(chance.randint(0, 90) for _ in range(longest - 1))]
    return json.dumps({"max_length": longest + chance.randint(0, 30), "count_by_length_from_1": counts})


# How fields are drawn: the ones that are no number, and those whose largest value would take long.
DRAWS: dict[str, dict[str, Draw]] = {
    "pack": {"lengths": documents, "count": lambda chance: chance.randint(1, 40)},
    "histogram": {"histogram": counted},
    "unpad": {"lengths": lambda chance: f"{lengths(9)(chance)};{lengths(9)(chance)}", "images": pictured},
    "run": {
        "lengths": lengths(12),
        "layers": lambda chance: 1,
        "hidden": lambda chance: 32,
        "backend": lambda chance: "torch",
    },
}


def facts_of(key: str, params: Params) -> dict[str, Any]:
    return facts(find(chapter_of("packing", key).experiment)(params))


def settings_of(key: str) -> Iterator[Params]:
    chapter = chapter_of("packing", key)
    chosen = (*offered(chapter), *drawn(chapter, 30, DRAWS[key]))
    yield from (params for params in chosen if key == "run" or not params.needs_button)


@pytest.mark.parametrize("key", KEYS)
def test_a_chapter_has_the_words_of_its_arc(key: str) -> None:
    assert not badly_long("packing", key)


@pytest.mark.parametrize("key", KEYS)
def test_questions_have_answers_at_any_setting(key: str) -> None:
    found = [asked("packing", key, params, facts_of(key, params)) for params in settings_of(key)]
    assert len(found) > 20
    assert sum(len(each) for each in found) >= len(found) / 2


def right(found: Any) -> str:
    assert found is not None
    return found["right"]


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "first_fit", "capacity": 1024},
        {"strategy": "pad_to_longest", "capacity": 256},
        {"strategy": "best_fit", "capacity": 512, "overlong": "drop"},
    ],
)
def test_packs_half_as_long_are_those_of_a_real_wrap(changes: dict[str, Any]) -> None:
    result = packed(versus="none", **changes)
    kept = [int(length) for document, length in enumerate(result.documents) if is_kept(document, result)]
    wrapped = packed(kept, strategy="wrap", versus="none", capacity=changes["capacity"] // 2)
    assert right(asks.packs_half_as_long(result.params, facts(result))) == str(wrapped.n_packs)


def is_kept(document: int, result: Any) -> bool:
    return document not in result.documents_dropped


def test_nothing_is_asked_where_nothing_is_packed() -> None:
    result = packed([3], capacity=10, strategy="next_fit", versus="none", break_it="lose_last_pack")
    assert asks.packs_half_as_long(result.params, facts(result)) is None


@pytest.mark.parametrize("changes", [{}, {"depth": 0}, {"strategy": "spfhp", "depth": 2}])
def test_packing_is_as_many_times_faster_as_there_are_fewer_packs(changes: dict[str, Any]) -> None:
    result = histogram(HistogramParams.model_validate(changes))
    packs = sum(count for _, count in result.kinds)
    found = right(asks.times_faster(result.params, facts(result)))
    assert found == f"{100_000 / packs:.1f}×"


@pytest.mark.parametrize("changes", [{}, {"depth": 0}, {"strategy": "spfhp", "depth": 2}, {"depth": 1}])
def test_the_padding_that_is_left(changes: dict[str, Any]) -> None:
    result = histogram(HistogramParams.model_validate(changes))
    empty = sum(count * (256 - sum(pack)) for pack, count in result.kinds)
    share = 100 * empty / (256 * sum(count for _, count in result.kinds))
    bounds = {"under 1%": (0, 1), "1% to 5%": (1, 5), "5% to 20%": (5, 20), "over 20%": (20, 100)}
    least, most = bounds[right(asks.padding_left(result.params, facts(result)))]
    assert least <= share <= most


@pytest.mark.parametrize(
    ("given", "document"),
    [
        ({"lengths": "5,2;3,1"}, 3),
        ({"lengths": "4,0,6,0"}, 2),
        ({"lengths": "4;3,2", "images": "0:1x4x6@2,1:3x4x4@0", "model": "qwen3-vl"}, 2),
    ],
)
def test_the_flat_row_is_that_of_padding_removal(given: dict[str, Any], document: int) -> None:
    params = UnpadParams.model_validate(given)
    result = unpad(params)
    found = asks.where_a_document_begins(params, {})
    assert found is not None
    assert found["document"] == document
    assert found["right"] == str(result.cu_seqlens[document])
    assert right(asks.tokens_with_a_loss(params, {})) == str(len(result.loss_positions))


def test_nothing_is_asked_of_one_document() -> None:
    assert asks.where_a_document_begins(UnpadParams(lengths="4,0"), {}) is None
    assert asks.documents_that_move(RunParams(lengths="4,0"), {}) is None


@pytest.mark.parametrize(
    ("given", "document", "later"), [("12,5,18,3,9,7", 2, 3), ("4,0,3", 0, 1), ("2,2,0,2", 1, 1)]
)
def test_in_the_naive_row_the_later_documents_move(given: str, document: int, later: int) -> None:
    params = RunParams(lengths=given, layers=1, hidden=32)
    found = asks.documents_that_move(params, facts_of("run", params))
    assert found is not None
    assert (found["document"], found["right"]) == (document, str(later))


@pytest.mark.parametrize("given", ["12,5,18,3,9,7", "2", "4,0,3"])
def test_the_scores_are_the_pairs_of_tokens_of_one_document(given: str) -> None:
    numbers = [int(part) for part in given.split(",")]
    document = np.repeat(np.arange(len(numbers)), numbers)
    pairs = int((document[:, None] == document).sum())
    assert right(asks.scores_unpadded(RunParams(lengths=given), {})) == f"{pairs:,}"


# ------------------------------------------------------------------------------------------- the surprises


def test_a_full_pack_wastes_attention_between_documents() -> None:
    result = packed([6, 6], capacity=12, strategy="next_fit", versus="none")
    assert result.padding_percent == 0
    assert result.attention_waste_percent == 50


def test_ten_times_the_documents_make_about_as_many_kinds_of_pack() -> None:
    counts = built_in().counts
    few, many = (longest_pack_first(factor * counts, 256, 3) for factor in (1, 10))
    assert len(many) < 1.1 * len(few)


def test_pack_opens_where_every_document_lies_in_a_pack() -> None:
    for params in drawn(chapter_of("packing", "pack"), 5, DRAWS["pack"], break_it="none"):
        assert isinstance(params, PackParams)
        known = find("packing.pack")
        scene = known.scene(known(params))
        assert scene.start == scene.steps - 1
        assert scene.reopens
