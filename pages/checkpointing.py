"""Gradient checkpointing: schedules on a chain, the law of segments, a traced training step, full-size models."""

from __future__ import annotations

from explainers.checkpointing.law import LawParams
from explainers.checkpointing.measure_params import MeasureParams, ModelParams
from explainers.checkpointing.optimal import OptimalParams
from explainers.checkpointing.schedule_params import ScheduleParams
from pages.parts import checkpointing as parts
from pages.parts import checkpointing_questions as asks
from pages.ui import lesson
from pages.ui.chapter import MORE, Chapter, Try

SCHEDULE = Chapter(
    key="schedule",
    title="Play a schedule",
    experiment="checkpointing.schedule",
    params=ScheduleParams,
    main=True,
    fields=parts.schedule_fields,
    question=asks.best_segment_length,
    check_yourself=asks.time_of_step,
    tries=(
        Try("none", "Keep everything", {"strategy": "none"}),
        Try("full", "Every layer", {"strategy": "full", "internal": 4}),
        Try("inside", "Real insides", {"strategy": "full", "internal": 17}),
        Try("revolve", "Revolve, 3 kept", {"strategy": "revolve", "snapshots": 3}),
        Try("optimal", "A budget of 9", {"strategy": "optimal", "budget": 9}),
    ),
    below=parts.peak_and_forwards,
    on_click=parts.keep_layer,
)
LAW = Chapter(
    key="law",
    title="The law",
    experiment="checkpointing.law",
    params=LawParams,
    heading="How long should a segment be?",
    fields=("layers", "ratio"),
    question=asks.price_of_sqrt,
    check_yourself=asks.peak_of_deeper_chain,
)
MEASURE = Chapter(
    key="measure",
    title="A real model",
    experiment="checkpointing.measure",
    params=MeasureParams,
    heading="A training step, traced",
    fields=parts.measure_fields,
    behind={MORE: ("hidden", "heads", "kv_heads", "attention", "dropout", "dtype", "seed", "fake")},
    question=asks.largest_at_the_peak,
    check_yourself=asks.bytes_of_one_more_layer,
    below=parts.bytes_and_count,
)
MODEL = Chapter(
    key="model",
    title="Full size",
    experiment="checkpointing.model",
    params=ModelParams,
    heading="Full size, without the memory",
    fields=parts.model_fields,
    question=asks.bytes_of_parameters,
    check_yourself=asks.activations_of_longer_sequences,
    show=parts.show_model,
    below=parts.verdict_and_bytes,
)
OPTIMAL = Chapter(
    key="optimal",
    title="Unequal layers",
    experiment="checkpointing.optimal",
    params=OptimalParams,
    heading="Layers that differ",
    fields=("budget", "times", "boundaries", "internals"),
    question=asks.extra_time_of_the_best,
    check_yourself=asks.least_budget,
)

lesson.show("checkpointing", (SCHEDULE, LAW, MEASURE, MODEL, OPTIMAL))
