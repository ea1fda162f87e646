"""What the page shows and offers of `packing.pack`: the picture, what to try, the breaks, the question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explainers.drawing.panels import Lines
from explainers.drawing.scene import Scene
from explainers.packing import pack as pack_module
from explainers.packing.pack import PackParams
from explainers.packing.views.pack import scene as pack_scene
from pages.parts import packing as parts
from pages.ui.jobs.prepared_run import facts
from pages.ui.prose import prose
from tests.breaks import settings_of
from tests.packing.test_packing import packed
from tests.pages.chapters import chapter_of
from tests.pages.test_pages import open_page, sentences
from tests.pages.test_pages import run as run_page

ROOT = Path(__file__).parents[2]


def tries() -> dict[str, dict[str, Any]]:
    """What the page offers to try: the name of its words, and what differs from the defaults."""
    return {each.name: dict(each.changes) for each in chapter_of("packing", "pack").tries}


# ------------------------------------------------------------------------------------------------- the picture


def padding_panel(scene: Scene) -> Lines:
    [panel] = [panel for panel in scene.panels() if isinstance(panel, Lines)]
    return panel


def sentence(scene: Scene, step: int) -> str:
    return scene.words.numbered(scene.words.sentences[scene.words.which[step]])


def test_two_strategies_are_drawn_over_the_tokens_that_each_has_placed() -> None:
    lengths = [2, 5, 3, 6, 1]
    result = packed(lengths, capacity=8, strategy="next_fit", versus="best_fit_decreasing")
    scene = pack_scene(result)
    first, second, bound = padding_panel(scene).lines
    assert first.x.tolist() == [0, 2, 7, 10, 16, 17, 17]
    assert second.x.tolist() == [0, 6, 11, 14, 16, 17, 17]
    assert first.y[3] == pytest.approx(100 * (1 - 10 / 16))  # (2, 5), (3
    assert second.y[3] == pytest.approx(100 * (1 - 14 / 16))  # (6), (5, 3
    assert (bound.label, bound.x.tolist()) == ("least in the end: 3 packs", [0, 17])
    assert bound.y[0] == pytest.approx(100 * (1 - 17 / 24))
    said = sentence(scene, 2)
    assert said.startswith("Next-fit, {11:d} tokens placed: document {0:d}")
    assert "Best-fit-decreasing, {24:d} tokens placed: document {13:d}" in said
    assert scene.words.values[2, [0, 11, 13, 24]].tolist() == [1, 7, 1, 11]
    assert scene.start == scene.steps - 1


def test_each_bound_is_drawn_as_it_stands_in_the_table() -> None:
    result = packed(**tries()["wrap"])
    assert result.other is not None
    scene = pack_scene(result)
    drawn = [line.label for line in padding_panel(scene).lines if line.dashed]
    assert drawn == ["least in the end: 21 packs", "least in the end: 27 packs"]
    place = parts.COUNT_NAMES.index("proven bound")
    assert [row[place] for row in parts.count_rows(facts(result))] == ["21", "27"]
    assert sentence(scene, scene.steps - 1).count("(proven bound ") == 2


def test_the_lost_pack_is_named_where_the_scene_opens() -> None:
    scene = pack_scene(packed(**settings_of(pack_module.BREAKS)["lose_last_pack"], break_it="lose_last_pack"))
    assert "**65 tokens lost**: pack 15 was never handed on." in sentence(scene, scene.start)
    lines = padding_panel(scene).lines[0]
    assert np.all(np.diff(lines.x) >= 0)
    assert lines.x[-1] == 12_352  # placed, though not handed on


# ------------------------------------------------------------------------------------------- what is offered

TOLD = {
    "pad": "{padding_percent:.1f}% is padding; with {other_label} it is {other_padding_percent:.1f}%",
    "next_fit": "{n_packs} packs, where {other_label} needs {other_n_packs}",
    "decreasing": "needs {other_n_packs} packs for these {count} documents. Longest first, {proven_bound} are "
    "enough, the proven bound. The price: documents move by up to {displacement_most} places instead of "
    "{other_displacement_most}",
    "wrap": "needs {other_n_packs} packs, with {other_padding_percent:.1f}% padding. Concatenated and cut, they fill "
    "{n_packs}, with {padding_percent:.1f}% padding; the price is that {documents_cut} of {count} documents are cut",
    "bimodal": "{n_packs} packs. Next-fit, with one open pack, needs {other_n_packs}",
}


@pytest.mark.parametrize(("name", "changes"), tries().items())
def test_what_is_said_of_a_setting_to_try_is_what_is_computed(name: str, changes: dict[str, Any]) -> None:
    result = packed(**changes)
    assert result.params == PackParams(**changes)  # nothing had to be adjusted
    assert result.other is not None
    numbers = facts(result)
    beside = {f"other_{key}": value for key, value in numbers["other"].items()}
    assert (
        TOLD[name].format(**numbers, **beside, count=len(result.documents))
        in prose("packing")[f"pack.try.{name}"]
    )
    if name == "decreasing":
        assert result.n_packs == result.proven_bound


def test_a_break_is_compared_with_the_same_settings_unbroken() -> None:
    page = open_page("pages/packing.py")
    page = run_page(page.button(key="break--lose_last_pack").click())
    assert (
        "Break it nothing → forget to flush the open pack: packs 16 → 15, padding 24.6% → 20.0%, tokens lost 0 → 65"
        in sentences(page)
    )
    assert [
        line.value
        for line in page.caption
        if "Set for the break: Strategy next-fit, Beside it none." in line.value
    ]
    page = run_page(page.button(key="break--none").click())
    assert any(
        "next-fit → first-fit" in line and line.endswith("tokens lost 65 → 0") for line in sentences(page)
    )
