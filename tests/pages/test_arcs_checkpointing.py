"""The arc of each chapter of checkpointing: questions at any setting, and their right answers worked out otherwise."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from explainers.checkpointing import revolve
from explainers.checkpointing.chain import play
from explainers.checkpointing.law import LawParams, law, played_peak
from explainers.checkpointing.measure_params import MeasureParams, ModelParams
from explainers.checkpointing.optimal import OptimalParams, optimal
from explainers.checkpointing.prediction import Strategy
from explainers.checkpointing.schedule import schedule
from explainers.checkpointing.schedule_params import ScheduleParams
from explainers.contract.experiment import find
from explainers.contract.params import Params, fit
from pages.parts import checkpointing_questions as asks
from pages.ui.jobs.prepared_run import facts
from tests.pages.chapters import chapter_of, chapters_of
from tests.pages.training_arcs import Draw, asked, badly_long, drawn, offered

KEYS = [chapter.key for chapter in chapters_of("checkpointing")]
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def numbers(most: int, layers: int | None = None) -> Draw:
    """Draws one number from 1 to `most` for each layer."""
    return lambda chance: tuple(chance.randint(1, most) for _ in range(layers or chance.randint(1, 8)))


# How fields are drawn: the ones that are no number, and those whose largest value would take long.
DRAWS: dict[str, dict[str, Draw]] = {
    "schedule": {"layers": lambda chance: chance.randint(1, 40), "kept": numbers(40)},
    "law": {},
    "measure": {
        "layers": lambda chance: chance.randint(1, 3),
        "seq_len": lambda chance: chance.choice((1, 16, 32)),
        "hidden": lambda chance: 32,
        "fake": lambda chance: False,
    },
    "model": {},
    "optimal": {"times": numbers(20), "boundaries": numbers(30), "internals": numbers(60)},
}


def facts_of(key: str, params: Params) -> dict[str, Any]:
    """Of the run on the screen; none of a full-size model, whose trace takes seconds."""
    return {} if key == "model" else facts(find(chapter_of("checkpointing", key).experiment)(params))


def settings_of(key: str) -> Iterator[Params]:
    chapter = chapter_of("checkpointing", key)
    yield from offered(chapter)
    yield from drawn(chapter, 30, DRAWS[key])


@pytest.mark.parametrize("key", KEYS)
def test_a_chapter_has_the_words_of_its_arc(key: str) -> None:
    assert not badly_long("checkpointing", key)


@pytest.mark.parametrize("key", KEYS)
def test_questions_have_answers_at_any_setting(key: str) -> None:
    found = [asked("checkpointing", key, params, facts_of(key, params)) for params in settings_of(key)]
    assert sum(len(each) for each in found) > len(found)  # most settings leave something to ask


def right(found: Any) -> str:
    assert found is not None
    return found["right"]


def in_bytes(words: str) -> float:
    number, unit = words.split()
    return float(number.replace(",", "")) * UNITS[unit]


@pytest.mark.parametrize(
    ("changes", "milliseconds"),
    [
        ({"strategy": "none", "layers": 10}, 30),  # 10 forward, 20 backward
        ({"strategy": "full", "layers": 10}, 40),
        ({"strategy": "chen", "layers": 27}, 27 * 5),  # two more forward runs of each
        # from the input alone: 9 + 8 + ... + 1 layers run again
        ({"strategy": "revolve", "snapshots": 1, "layers": 10}, 10 + 45 + 20),
    ],
)
def test_the_time_of_a_step(changes: dict[str, Any], milliseconds: int) -> None:
    params = ScheduleParams.model_validate(changes)
    assert right(asks.time_of_step(params, facts(schedule(params)))) == f"{milliseconds} ms"


def test_the_time_of_a_step_is_that_of_its_actions() -> None:
    for params in drawn(chapter_of("checkpointing", "schedule"), 8, DRAWS["schedule"]):
        assert isinstance(params, ScheduleParams)
        result = schedule(params)
        took = sum(2 if moment.kind == "backward" else 1 for moment in result.moments)
        assert right(asks.time_of_step(params, facts(result))) == f"{took:,} ms"


@pytest.mark.parametrize(("layers", "ratio"), [(4, 0.25), (16, 1.0), (24, 16.0)])
def test_the_peak_of_a_chain_four_times_as_long(layers: int, ratio: float) -> None:
    params = LawParams(layers=layers, ratio=ratio)
    lowest = min(played_peak(4 * layers, k, ratio) for k in range(1, 4 * layers + 1))
    assert right(asks.peak_of_deeper_chain(params, facts(law(params)))) == f"{lowest:,g}"


@pytest.mark.parametrize(("layers", "ratio", "expected"), [(64, 1, 0), (64, 2, 1), (64, 4, 2), (64, 16, 3)])
def test_the_price_of_the_textbook(layers: int, ratio: float, expected: int) -> None:
    params = LawParams(layers=layers, ratio=ratio)
    assert right(asks.price_of_sqrt(params, facts(law(params)))) == asks.MORE_MEMORY[expected]


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "every_k", "k": 2, "layers": 2},
        {"strategy": "every_k", "k": 2, "layers": 3},
        {"strategy": "none", "layers": 2, "block": "gpt"},
        {"strategy": "selective_matmuls", "layers": 2},
    ],
)
def test_one_more_layer_keeps_what_a_second_trace_keeps(changes: dict[str, Any]) -> None:
    small = {"hidden": 32, "seq_len": 16, **changes}
    params = MeasureParams.model_validate(small)
    deeper = MeasureParams.model_validate({**small, "layers": params.layers + 1})
    kept = [
        find("checkpointing.measure")(each).saved_after_forward_bytes  # type: ignore[attr-defined]
        for each in (params, deeper)
    ]
    found = in_bytes(right(asks.bytes_of_one_more_layer(params, {})))
    assert found == pytest.approx(kept[1] - kept[0], rel=0.03)


def test_the_largest_at_the_peak_is_that_of_the_trace() -> None:
    params = MeasureParams(layers=2, hidden=32, seq_len=128, strategy="none")
    result = find("checkpointing.measure")(params)
    at_peak = dict(zip(result.by_category, result.category_bytes[:, result.peak_event], strict=True))  # type: ignore[attr-defined]
    activations = at_peak["kept_activation"] + at_peak["recomputed_activation"]
    assert activations > max(size for name, size in at_peak.items() if "activation" not in name)
    assert right(asks.largest_at_the_peak(params, facts(result))) == "activations"


@pytest.mark.parametrize(
    ("strategy", "attention"), [("full", "flash"), ("none", "written"), ("selective_matmuls", "written")]
)
def test_longer_sequences_take_what_a_trace_of_them_takes(strategy: Strategy, attention: Any) -> None:
    small: dict[str, Any] = {"model": "llama-3.1-8b", "layers": 1, "strategy": strategy}
    params = ModelParams(**small, attention=attention, seq_len=64)
    traced = find("checkpointing.model")(params.model_copy(update={"seq_len": 256}))
    found = in_bytes(right(asks.activations_of_longer_sequences(params, {})))
    assert found == pytest.approx(traced.activation_peak_bytes, rel=0.03)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.1-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
    ],
)
def test_a_parameter_takes_eight_bytes(model: Any, published: int) -> None:
    found = in_bytes(right(asks.bytes_of_parameters(ModelParams(model=model), {})))
    assert found == pytest.approx(8 * published, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_the_least_budget_is_that_of_the_most_frugal_schedule(seed: int) -> None:
    """It keeps the input alone and runs from it to each layer; one unit less is refused."""
    chance = random.Random(seed)
    layers = chance.randint(2, 7)
    boundaries, internals = numbers(30, layers)(chance), numbers(60, layers)(chance)
    times = numbers(9, layers)(chance)
    params = OptimalParams(times=times, boundaries=boundaries, internals=internals, budget=1000)
    peak = max(moment.memory for moment in play(params.chain, revolve.revolve(1, layers, 1)))
    assert right(asks.least_budget(params, facts(optimal(params)))) == f"{peak:,}"
    assert fit(params.model_copy(update={"budget": int(peak) - 1}))[1]


def test_the_extra_time_falls_to_nothing_where_everything_fits() -> None:
    params = OptimalParams(budget=8 + 24 + 24 + 18 + 20 + 12 + 10 + 6 + 4)
    assert right(asks.extra_time_of_the_best(params, facts(optimal(params)))) == "0"


# ------------------------------------------------------------------------------------------- the surprises


def test_in_segments_memory_peaks_in_the_backward_pass() -> None:
    for params in drawn(chapter_of("checkpointing", "schedule"), 30, DRAWS["schedule"], break_it="none"):
        assert isinstance(params, ScheduleParams)
        if params.strategy in ("every_k", "sqrt", "full", "chen", "custom"):
            moments = schedule(params).moments
            forward = next(at for at, moment in enumerate(moments) if moment.layer == params.layers)
            memory = [moment.memory for moment in moments]
            assert max(memory[: forward + 1]) < max(memory)


def test_the_root_of_the_layers_is_best_for_equal_parts_and_the_best_falls_with_the_ratio() -> None:
    for layers in range(1, 257):
        root = round(layers**0.5)
        peaks = [-(-layers // k) + k for k in range(1, layers + 1)]
        assert peaks[root - 1] == min(peaks)
    for layers in (7, 24, 64):
        best = [law(LawParams(layers=layers, ratio=ratio)).best_k for ratio in (0.25, 1, 2, 4, 9, 16, 64)]
        assert best == sorted(best, reverse=True)


def test_the_extra_time_falls_in_steps() -> None:
    found = optimal(OptimalParams())
    assert len(found.budgets) < found.budgets[-1] - found.budgets[0]


# -------------------------------------------------------------------------------------------- the openings


@pytest.mark.parametrize("key", ["schedule", "optimal"])
def test_a_schedule_opens_where_memory_is_highest(key: str) -> None:
    known = find(chapter_of("checkpointing", key).experiment)
    for params in drawn(chapter_of("checkpointing", key), 8, DRAWS[key]):
        result: Any = known(params)
        scene = known.scene(result)
        shown = scene.words.column("memory")
        assert shown[scene.start] == max(moment.memory for moment in result.moments)


def test_the_law_opens_at_the_best_length() -> None:
    for params in drawn(chapter_of("checkpointing", "law"), 8, {}):
        known = find("checkpointing.law")
        scene = known.scene(known(params))
        peaks = scene.words.column("peak")
        assert peaks[scene.start] == peaks.min()
