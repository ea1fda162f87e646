"""Padding removal: mRoPE against transformers, every tensor against random documents, and each break caught."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import TextInput
from transformers import Qwen2_5_VLConfig, Qwen3VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from explainers.contract.params import choices_of, fit, read
from explainers.drawing.panels import Marks, Strip
from explainers.models.layers import rope
from explainers.packing import mrope
from explainers.packing.mrope import IMAGE, VIDEO, Model
from explainers.packing.unpad import BASE, BREAKS, IGNORED, UnpadParams, count_tiles, rotated, tiles_of, unpad
from explainers.packing.views.unpad import ROW_HEIGHTS, STRIPS_HEIGHT
from explainers.packing.views.unpad import scene as unpad_scene
from pages.ui.prose import prose
from pages.ui.streamlit_internals import use_own_navigation
from tests.breaks import consequences_of, settings_of

RULER_HEIGHT = 22  # px, as in panels/strip.js
NAMES = [name for name in choices_of(UnpadParams, "break_it") if name != "none"]
MODELS: tuple[Model, ...] = ("qwen2.5-vl", "qwen3-vl")
PICTURES = {
    "text": "",
    "one image": "0:1x4x6@2",
    "image first": "0:1x8x4@0",
    "several images": "0:1x4x6@1,0:1x4x2@1,0:1x2x8@3,2:1x6x6@2",
    "a video": "0:3x4x4@2",
    "videos and images": "0:1x4x2@1,2:2x2x6@0,2:1x4x4@2,0:4x2x2@4",
}

Lengths = st.lists(st.integers(0, 12), min_size=1, max_size=10).filter(lambda drawn: sum(drawn) > 0)


def fitted(**values: Any) -> UnpadParams:
    return fit(UnpadParams(**values))[0]


def theirs(model: Model, params: UnpadParams) -> np.ndarray:
    """(3, B, L) positions of the padded rows by transformers' function, which fails on a row without tokens."""
    batch = unpad(params).batch
    rows = batch.lengths > 0
    positions = np.zeros((3, *batch.mask.shape), np.int64)
    grids = {
        kind: [picture.grid for picture in batch.pictures if picture.modality == kind]
        for kind in (IMAGE, VIDEO)
    }
    inputs: dict[str, Any] = {
        "input_ids": torch.tensor(batch.ids[rows]),
        "mm_token_type_ids": torch.tensor(batch.modalities[rows]),
        "attention_mask": torch.tensor(batch.mask[rows].astype(int)),
        "image_grid_thw": torch.tensor(grids[IMAGE]) if grids[IMAGE] else None,
        "video_grid_thw": torch.tensor(grids[VIDEO]) if grids[VIDEO] else None,
    }
    if model == "qwen3-vl":
        asked = Qwen3VLModel.get_rope_index(_Asked(Qwen3VLConfig()), **inputs)  # type: ignore[arg-type]
    else:
        config = Qwen2_5_VLConfig(vision_config={"tokens_per_second": mrope.TOKENS_PER_SECOND})
        inputs["second_per_grid_ts"] = torch.full((len(grids[VIDEO]),), mrope.SECONDS_PER_GRID)
        asked = Qwen2_5_VLModel.get_rope_index(_Asked(config), **inputs)  # type: ignore[arg-type]
    positions[:, rows] = asked[0].numpy()
    return positions


class _Asked:
    """What get_rope_index needs of a model: its config, and the positions of one picture; no weights."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def get_vision_position_ids(self, *given: Any, **named: Any) -> torch.Tensor:
        return Qwen2_5_VLModel.get_vision_position_ids(self, *given, **named)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ mRoPE


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("images", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("lengths", ["6,0,4", "5,2,7;1"])
def test_mrope_positions_are_those_of_transformers(model: Model, images: str, lengths: str) -> None:
    params = fitted(lengths=lengths, images=images, model=model)
    assert params.images == images
    result, positions = unpad(params), theirs(model, params)
    batch = result.batch
    ours = mrope.position_ids(batch.modalities, batch.mask, batch.pictures, model)
    np.testing.assert_array_equal(ours, positions)
    np.testing.assert_array_equal(result.position_ids, positions.reshape(3, -1)[:, result.indices])


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_mrope_positions_of_random_pictures(data: st.DataObject) -> None:
    size, frames = st.integers(1, 3).map(lambda half: 2 * half), st.integers(1, 3)
    parts = []
    for _ in range(data.draw(st.integers(0, 3))):
        document, at = data.draw(st.sampled_from([(0, 0), (0, 3), (2, 0), (2, 1)]))
        parts.append(f"{document}:{data.draw(frames)}x{data.draw(size)}x{data.draw(size)}@{at}")
    model = data.draw(st.sampled_from(MODELS))
    params = fitted(lengths="4,0,2", images=",".join(parts), model=model)
    result = unpad(params)
    expected = theirs(model, params).reshape(3, -1)[:, result.indices]
    np.testing.assert_array_equal(result.position_ids, expected)
    assert result.passed


def test_rotary_attention_sees_differences_of_positions_only() -> None:
    generator = np.random.default_rng(3)
    q, k = generator.standard_normal((2, 5, 2, 6))
    positions = np.arange(5)[None]
    scores = [np.einsum("ihd,jhd->hij", rotated(q, p), rotated(k, p)) for p in (positions, positions + 90)]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-12)
    # the pairs (k, k + D / 2) as complex numbers
    turned = (q[..., :3] + 1j * q[..., 3:]) * np.exp(
        1j * np.outer(positions, 10_000.0 ** (-np.arange(3) / 3))
    )[:, None]
    np.testing.assert_allclose(
        rotated(q, positions), np.concatenate([turned.real, turned.imag], -1), atol=1e-12
    )
    axes = rotated(np.ones((1, 1, 16)), np.array([[1], [0], [0]]))[0, 0, :8]
    np.testing.assert_array_equal(np.flatnonzero(axes != 1), [0, 1])  # a quarter of the pairs turns with time


def test_rotary_positions_are_those_of_the_shared_rope() -> None:
    x, positions = np.random.default_rng(4).standard_normal((7, 2, 6)), np.array([0, 1, 2, 0, 1, 90, 91])
    shared = rope(torch.from_numpy(x), torch.from_numpy(positions)[:, None], pairing="halves", base=BASE)
    np.testing.assert_allclose(rotated(x, positions[None]), shared.numpy(), atol=1e-14)


def test_text_alone_has_the_same_position_on_every_axis() -> None:
    three = unpad(UnpadParams(model="qwen2.5-vl")).position_ids
    np.testing.assert_array_equal(three, np.tile(unpad(UnpadParams()).position_ids, (3, 1)))


# ---------------------------------------------------------------------------------------------- the tensors


def test_the_issues_example() -> None:
    result = unpad(UnpadParams(lengths="5,2,3,1"))
    assert result.cu_seqlens.tolist() == [0, 5, 7, 10, 11]
    assert result.max_seqlen == 5
    assert result.indices.tolist() == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 15]
    assert result.position_ids.tolist() == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 0]
    assert np.flatnonzero(result.labels == IGNORED).tolist() == [4, 6, 9, 10]
    assert result.loss_positions.tolist() == [0, 1, 2, 3, 5, 7, 8]
    shapes = {
        "q": (11, 4, 16),
        "k": (11, 2, 16),
        "v": (11, 2, 16),
        "hidden": (11, 64),
        "padded_again": (4, 5, 64),
    }
    assert {name: result.shapes[name] for name in shapes} == shapes
    assert result.passed
    np.testing.assert_array_equal(result.labels, unpad(UnpadParams(lengths="5 2; 3 1")).labels)


@given(Lengths)
@settings(max_examples=60, deadline=None)
def test_random_lengths_pass_every_check(lengths: list[int]) -> None:
    result = unpad(UnpadParams(lengths=",".join(map(str, lengths))))
    assert result.passed, [check.what for check in result.checks if not check.passed]
    assert result.cu_seqlens.tolist() == [0, *itertools.accumulate(lengths)]
    assert result.max_seqlen == max(lengths)
    assert len(result.loss_positions) == sum(lengths) - sum(length > 0 for length in lengths)
    assert result.position_ids.tolist() == [j for length in lengths for j in range(length)]


@given(Lengths, st.integers(0, 10))
@settings(max_examples=30, deadline=None)
def test_an_empty_document_changes_nothing_but_repeats_an_entry(lengths: list[int], place: int) -> None:
    place = min(place, len(lengths))
    with_empty = [*lengths[:place], 0, *lengths[place:]]
    before, after = (unpad(UnpadParams(lengths=",".join(map(str, drawn)))) for drawn in (lengths, with_empty))
    assert np.delete(after.cu_seqlens, place).tolist() == before.cu_seqlens.tolist()
    for name in ("position_ids", "labels", "loss_positions"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(after.made["output"], before.made["output"])
    assert (after.tiles_visited, after.passed) == (before.tiles_visited, True)
    assert any("repeats an entry" in note for note in after.notes)


@given(Lengths, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_the_tiles_cover_the_mask_and_none_is_in_vain(lengths: list[int], block_q: int, block_k: int) -> None:
    cu = np.array([0, *itertools.accumulate(lengths)])
    document = np.repeat(np.arange(len(lengths)), lengths)
    token = np.arange(cu[-1])
    mask = (document[:, None] == document) & (token <= token[:, None])
    visits = np.zeros(mask.shape, int)
    for row, column, below, beyond in tiles_of(cu, block_q, block_k):
        assert mask[row:below, column:beyond].any()
        visits[row:below, column:beyond] += 1
    assert (visits[mask] == 1).all()
    assert visits.max() == 1
    assert count_tiles(cu, block_q, block_k) == len(tiles_of(cu, block_q, block_k))


# ------------------------------------------------------------------------------------------------ the breaks


def test_every_break_is_told() -> None:
    assert list(settings_of(BREAKS)) == list(consequences_of(BREAKS)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_break_turns_its_check_red(name: str) -> None:
    red = {
        "cu_seqlens_off_by_one": ("cu_seqlens", "a token attends", "unpadded attention"),
        "seam_labels": ("the loss has T - R", "labels", "the loss equals"),
        "pad_is_eos": ("unpad, then pad", "cu_seqlens", "the loss has T - R"),
        "positions_not_reset": ("positions restart",),
    }[name]
    for extra in ({}, {"images": "0:1x4x6@2", "model": "qwen2.5-vl"}):
        result = unpad(UnpadParams(**{**settings_of(BREAKS)[name], **extra}, break_it=name))  # type: ignore[arg-type]
        failed = [check.what for check in result.checks if not check.passed]
        assert not result.passed
        for what in red:
            assert any(check.startswith(what) for check in failed), what
        unpad_scene(result).to_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_break_survives_documents_of_one_token(name: str) -> None:
    result = unpad(UnpadParams(lengths="1,1,0", break_it=name))  # type: ignore[arg-type]
    unpad_scene(result).to_bytes()
    assert not result.passed


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("lengths", "5,two", "'two' is not one"),
        ("lengths", "-3,2", "'-3' is not one"),
        ("lengths", "2.5", "'2.5' is not one"),
        ("lengths", "5|2", "whole numbers separated by commas or spaces, and '5|2' is not one"),
        ("lengths", "", "at least one document in each pack, and pack 0 has none"),
        ("lengths", "5,2;;3", "and pack 1 has none"),
        ("lengths", "5,2;", "and pack 1 has none"),
        ("lengths", "129", "'129' is not one"),
        ("lengths", "0,0", "1 to 128 tokens in all"),
        ("lengths", "100,100", "1 to 128 tokens in all, and these are 200"),
        ("lengths", ",".join("1" * 17), "at most 16 documents, and these are 17"),
        ("lengths", ",".join("1" * 1_000_000), "text of at most 200 characters"),
        ("images", "a picture", "'a picture' is not one"),
        ("images", "0:1x3x4", "2 x 2 patches make one token"),
        ("images", "0:0x4x4", "1 to 8 frames"),
        ("images", "0:1x4x400", "from 2 to 32"),
        ("images", "0:1x4", "document:TxHxW@place"),
    ],
)
def test_bad_text_gives_one_sentence(field: str, value: str, says: str) -> None:
    params, problems = read(UnpadParams, {field: value})
    assert params == UnpadParams()
    (problem,) = problems
    assert says in problem.sentence
    assert problem.sentence.startswith(f"{field} = ")
    assert "allowed: " in problem.sentence


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"images": "9:1x4x6"}, "images", "allowed: documents 0 to 3"),
        ({"images": "4:1x4x6"}, "images", "allowed: documents 0 to 3"),
        ({"images": "0:1x4x6@5"}, "images", "allowed: @0 to @4"),
        ({"images": "1:1x4x6", "lengths": "3,0"}, "images", "allowed: documents with text tokens"),
        ({"images": "0:1x32x32"}, "images", "allowed: 128 in all"),
        ({"kv_heads": 3}, "kv_heads", "allowed: divisors of 4"),
    ],
)
def test_fields_that_do_not_fit_together_are_mended_with_a_sentence(
    values: dict[str, Any], field: str, says: str
) -> None:
    params, (made,) = fit(UnpadParams(**values))
    assert made.field == field
    assert made.sentence.startswith(f"{field} = ")
    assert says in made.sentence
    assert unpad(params).passed


def test_only_the_pictures_without_a_place_are_left_out() -> None:
    many = ",".join(["6:1x4x6"] * 12)
    params, made = fit(UnpadParams(images=f"{many}, 0:1x4x6@2", model="qwen2.5-vl"))
    assert (params.images, len(made)) == ("0:1x4x6@2", 1)


# ---------------------------------------------------------------------------------------------- the picture


@pytest.mark.parametrize("pad_again", [True, False])
def test_the_scene_shows_a_stage_a_step(pad_again: bool) -> None:
    params = UnpadParams(lengths="5,0,2;3,1", images="0:1x4x6@2", model="qwen3-vl", pad_again=pad_again)
    result = unpad(params)
    scene = unpad_scene(result)
    assert scene.steps == len(result.stages) == 11 + pad_again
    assert scene.to_bytes()
    panels = {panel.name: panel for panel in scene.panels()}
    rows, flat, attention = panels["rows"], panels["flat"], panels["attention"]
    assert isinstance(rows, Strip)
    assert isinstance(flat, Strip)
    assert isinstance(attention, Marks)
    assert flat.row_names == ("token", "time", "height", "width", "label")
    assert flat.ruler[1] == (13, "13 × 2")
    shown = (rows.appears <= 2) & (rows.leaves > 2)
    drawn = np.full(result.batch.mask.shape, "", object)
    for k in np.flatnonzero(shown):
        drawn[rows.row[k], rows.start[k] : rows.start[k] + rows.length[k]] = rows.texts[k] or "padding"
    np.testing.assert_array_equal(drawn, np.where(result.batch.mask, "1", "padding"))
    assert attention.layers[1].x.values.shape[-1] == result.tiles_visited  # type: ignore[union-attr]


def test_every_mark_fits_a_narrow_cell_and_the_legend_tells_it() -> None:
    result = unpad(UnpadParams(images="0:2x4x6@2", model="qwen3-vl"))
    flat = next(panel for panel in unpad_scene(result).panels() if panel.name == "flat")
    assert isinstance(flat, Strip)
    marks = {text for text in flat.texts if not text.lstrip("-").isdigit()}
    assert marks == {"e", "[", "v", "]", "t"}
    assert flat.subtitle == "e: end of text; [ v ]: picture; t: timestamp; dashed: no loss"
    assert "picture" not in next(
        p.subtitle for p in unpad_scene(unpad(UnpadParams())).panels() if p.name == "flat"
    )


@pytest.mark.parametrize("model", ["text", *MODELS])
def test_the_strips_end_above_the_players_bar(model: Model) -> None:
    panels = list(unpad_scene(unpad(UnpadParams(images="0:1x4x6@2", model=model))).panels())
    strips = [panel for panel in panels if isinstance(panel, Strip)]
    rows = [(strip.height - (RULER_HEIGHT if strip.ruler else 0) - 4) / strip.rows for strip in strips]
    assert len(set(rows)) == 1
    assert rows[0] >= ROW_HEIGHTS[0]
    assert sum(strip.height for strip in strips) <= STRIPS_HEIGHT + RULER_HEIGHT + 3 * 4


def test_the_worst_corner_stays_quick_and_whole() -> None:
    params = UnpadParams(
        lengths=",".join(["113", *["1"] * 15]), heads=8, kv_heads=8, head_size=64, block_q=1, block_k=1
    )
    result = unpad(params)
    assert result.passed
    assert (result.tiles_visited, result.tiles_padded) == (113 * 114 // 2 + 15, 16 * 113 * 114 // 2)
    assert len(unpad_scene(result).to_bytes()) < 700_000


# ----------------------------------------------------------------------------------------------- the controls


def test_a_picture_without_a_place_stays_typed_and_is_named_as_its_control_is(unpad_page: AppTest) -> None:
    def control(name: str) -> TextInput:  # of the page as it is now, whose question changes with every run
        return unpad_page.text_input(key=f"unpad.{name}")

    told = told_after(control("images").set_value("0:1x4x6@2,8:1x2x2"))
    assert told == ["Images = 8:1x2x2 names document 8; allowed: documents 0 to 3. The page uses 0:1x4x6@2."]
    assert control("images").value == "0:1x4x6@2,8:1x2x2"
    (mended,) = told_after(control("lengths").set_value("5,2;3,x"))[:1]
    assert mended.startswith("Documents = '5,2;3,x' is not accepted; allowed: whole numbers")
    # document 9 is there: the image has its place
    assert told_after(control("lengths").set_value("5;" + "1," * 8)) == []


def test_the_examples_that_the_page_gives_are_accepted() -> None:
    lengths, images = re.findall(r"`([^`]+)`", prose("packing")["unpad"])
    params, made = fit(UnpadParams(lengths=lengths, images=images))
    assert (params.packs, made) == (((5, 2), (3, 1)), [])
    assert params.pictures == (mrope.Picture(0, (1, 4, 6), 2),)


@pytest.fixture
def unpad_page() -> AppTest:
    """The chapter on padding removal."""
    use_own_navigation()  # as the server does
    page = AppTest.from_file("../../app.py", default_timeout=60)
    page.query_params["chapter"] = "unpad"
    return page.switch_page("pages/packing.py").run()


def told_after(control: Any) -> list[str]:
    """What the page says of its controls once this one has changed."""
    page = control.run()
    assert not page.exception
    return [line.value for line in page.text if "allowed: " in line.value]
