"""The KV cache: models compared, the sharing at work, what fits on which GPUs, how fast it can be read, and print."""

from __future__ import annotations

from explainers.kv_cache.compare import CompareParams
from explainers.kv_cache.decode_params import DecodeParams, telling_fields
from explainers.kv_cache.fit import FitParams
from explainers.kv_cache.published import PublishedParams
from explainers.kv_cache.roofline import RooflineParams
from pages.parts import kv_cache as parts
from pages.parts import kv_cache_questions as asks
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

REQUEST = ("model", "gpu", "tensor_parallel", "seq_len", "batch", "weight_dtype", "dtype")

COMPARE = Chapter(
    key="compare",
    title="Compare models",
    experiment="kv_cache.compare",
    params=CompareParams,
    main=True,
    fields=("models", "seq_len", "batch", "dtype"),
    behind={"Engine": ("tensor_parallel", "block_tokens"), "Paste a config.json": ("config",)},
    question=asks.factor_on_ranks,
    check_yourself=asks.one_more_reader,
    tries=(
        Try("mha", "MHA to GQA", {"models": ("llama-65b", "llama-2-70b"), "seq_len": 4096}),
        Try("windows", "Windows", {"models": ("gemma-3-27b", "gpt-oss-20b")}),
        Try("ranks", "32 ranks", {"tensor_parallel": 32}),
        Try("quantized", "Four bits", {"dtype": "q4_0"}),
        Try("batch", "64 readers", {"batch": 64}),
    ),
    below=parts.sizes,
)
SHARING = Chapter(
    key="sharing",
    title="Share heads",
    experiment="kv_cache.decode",
    params=DecodeParams,
    heading="Who shares what",
    fields=telling_fields,
    behind={MORE: ("heads", "hidden_size", "prefill", "dtype", "seed")},
    question=asks.share_of_mha,
    check_yourself=asks.one_more_token,
)
FIT = Chapter(
    key="fit",
    title="Fit on GPUs",
    experiment="kv_cache.fit",
    params=FitParams,
    heading="What fits on which GPUs",
    fields=REQUEST,
    behind={MORE: ("memory_share", "block_tokens"), "A config.json": ("config", "weights_gb")},
    question=asks.sequences_that_fit,
    check_yourself=asks.context_that_fits,
    below=parts.what_fits,
)
ROOFLINE = Chapter(
    key="roofline",
    title="Speed",
    experiment="kv_cache.roofline",
    params=RooflineParams,
    heading="How fast it can be read",
    fields=REQUEST,
    behind={"A config.json": ("config", "weights_gb")},
    question=asks.what_limits,
    check_yourself=asks.rate_of_twice_the_batch,
    below=parts.sum_and_notes,
)
PUBLISHED = Chapter(
    key="published",
    title="In print",
    experiment="kv_cache.published",
    params=PublishedParams,
    heading="What has been printed",
    question=asks.figures_that_differ,
    check_yourself=asks.bytes_of_a_large_model,
    show=parts.show_published,
)

lesson.show("kv_cache", (COMPARE, SHARING, FIT, ROOFLINE, PUBLISHED))
