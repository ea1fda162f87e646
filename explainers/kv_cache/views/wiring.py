"""Which query head reads what, as marks: keys and values shared in groups, or the latent and the RoPE key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from explainers.contract.messages import Message
from explainers.drawing.panels import Layer
from explainers.drawing.scene import Hue, Track
from explainers.kv_cache.decode import DecodeStep

HEIGHT = 262  # px
BOTTOM = 10.4  # of the vertical axis, which begins with 0 at the top; the horizontal one runs from 0 to 1
LEFT = 0.215  # where the boxes begin; the names of the rows are left of it

QUERIES, KEYS, VALUES, HIDDEN = (0.7, 1.9), (5.3, 6.4), (6.6, 7.7), (9.2, 10.2)  # top and bottom of each row
UP_PROJECTIONS, LATENT = (4.0, 5.5), (6.7, 7.9)
MOST_NAMED = 8  # more heads than these are named by their index only

Box = tuple[float, float, float, float]  # left, top, right, bottom


def grouped(heads: int, groups: int, steps: Sequence[DecodeStep]) -> tuple[Layer, ...]:
    """MHA, GQA or MQA: the query heads of a group are drawn above the key and value that they share."""
    spans = _spans(LEFT, 1, groups, gap=min(0.02 * groups, 0.16))
    asking = [box for left, right in spans for box in _row(left, right, heads // groups, QUERIES)]
    keys, values = ([(left, top, right, bottom) for left, right in spans] for top, bottom in (KEYS, VALUES))
    wires = [(query, keys[number // (heads // groups)]) for number, query in enumerate(asking)]
    bundles = [
        (left - 0.004, QUERIES[0] - 0.35, min(right + 0.004, 1), VALUES[1] + 0.35) for left, right in spans
    ]
    arrows = _arrows(values)
    return (
        _boxes(bundles, "muted", style="faint"),
        _lines(wires, "key"),
        _during(_lines(wires, "current"), steps, ("prefill", "attend")),
        arrows,
        _during(replace(arrows, hue="current"), steps, ("prefill", "project")),
        *_named_boxes(asking, "query", "q"),
        *_named_boxes(keys, "key", "k"),
        *_named_boxes(values, "value", "v"),
        _during(_outlines(asking), steps, ("project",)),
        _during(_outlines(keys + values), steps, ("prefill", "project", "append")),
        *_hidden_state(steps),
        *_row_names(
            (Message("queries"), QUERIES, "query"),
            (Message("keys"), KEYS, "key"),
            (Message("values"), VALUES, "value"),
        ),
        _small(Message("cached"), 0.0, KEYS[0] - 0.55),
        *_growth(steps, VALUES[1] + 0.75),
    )


def latent(heads: int, steps: Sequence[DecodeStep], *, kept_rope_key: bool) -> tuple[Layer, ...]:
    """MLA: all heads read one latent and one RoPE key; W_UK and W_UV never touch the cache."""
    asking = _row(LEFT, 1, heads, QUERIES)
    c, k_R = (LEFT, LATENT[0], 0.74, LATENT[1]), (0.78, LATENT[0], 1.0, LATENT[1])
    middle, wide = (c[0] + c[2]) / 2, (c[2] - c[0]) * 0.42
    up_key = (c[0], UP_PROJECTIONS[0], c[0] + wide, UP_PROJECTIONS[1])
    up_value = (c[2] - wide, UP_PROJECTIONS[0], c[2], UP_PROJECTIONS[1])
    gates = [_point(middle, UP_PROJECTIONS[0] - 0.4), _point(_middle(k_R), UP_PROJECTIONS[0] - 0.4)]
    straight, to_rope_key = (
        [(query, gate) for query in asking] + [(gate, box)] for gate, box in zip(gates, (c, k_R), strict=True)
    )
    through = [(query, up) for up in (up_key, up_value) for query in asking]
    through += [(up, (_middle(up), c[1], _middle(up), c[3])) for up in (up_key, up_value)]
    arrows = _arrows([c, k_R])
    rope_key_style = "solid" if kept_rope_key else "hollow"
    return (
        _lines(straight + to_rope_key, "activation"),
        _during(_lines(to_rope_key, "current"), steps, ("prefill", "attend", "absorb")),
        _during(_lines(through, "current"), steps, ("prefill", "attend")),
        _during(_lines(straight, "current"), steps, ("absorb",)),
        arrows,
        _during(replace(arrows, hue="current"), steps, ("prefill", "project")),
        *_named_boxes(asking, "query", "q"),
        _boxes([c], "activation"),
        _boxes([k_R], "key", style=rope_key_style),
        _text(["c_KV"], [c], "activation", on_colour=True),
        _text(["k_R" if kept_rope_key else Message("k_R lost")], [k_R], "key", on_colour=kept_rope_key),
        *_up_projections(up_key, up_value, steps),
        _during(_outlines(asking), steps, ("project",)),
        _during(_outlines([c, k_R] if kept_rope_key else [c]), steps, ("prefill", "project", "append")),
        *_hidden_state(steps),
        *_row_names((Message("queries"), QUERIES, "query"), (Message("latent"), LATENT, "activation")),
        _small(Message("not cached"), 0.0, sum(UP_PROJECTIONS) / 2),
        _small(Message("cached"), 0.0, LATENT[0] - 0.3),
        *_growth(steps, LATENT[1] + 0.65),
    )


def _up_projections(key: Box, value: Box, steps: Sequence[DecodeStep]) -> tuple[Layer, ...]:
    """W_UK and W_UV: hatched while they are absorbed, outlined while they make keys and values again."""
    boxes = [key, value]
    edges = [
        (left, top, left + 0.028, bottom) for left, top, _, bottom in boxes
    ]  # beside the words, not behind them
    upper, lower = (
        [(left + 0.028, top + by, right, bottom + by) for left, top, right, bottom in boxes]
        for by in (-0.33, 0.36)
    )
    expanded = ("prefill", "attend")
    absorbed = tuple({step.phase for step in steps} - set(expanded))
    return (
        _boxes(boxes, "muted", style="faint"),
        _during(_boxes(edges, "parameter", style="hatched"), steps, absorbed),
        _during(_outlines(boxes), steps, expanded),
        _text(["W_UK", "W_UV"], upper, "parameter"),
        _during(_text([Message("in W_Q"), Message("in W_O")], lower, "parameter"), steps, absorbed),
        _during(_text([Message("to keys"), Message("to values")], lower, "current"), steps, expanded),
    )


# ----------------------------------------------------------------------------------------------- the pieces


def _spans(left: float, right: float, count: int, gap: float) -> list[tuple[float, float]]:
    """`count` equal parts of a width, with a share of each left free."""
    width = (right - left) / count
    return [(left + width * (k + gap / 2), left + width * (k + 1 - gap / 2)) for k in range(count)]


def _row(left: float, right: float, count: int, height: tuple[float, float]) -> list[Box]:
    return [(start, height[0], end, height[1]) for start, end in _spans(left, right, count, gap=0.12)]


def _point(x: float, y: float) -> Box:
    return (x, y, x, y)


def _middle(box: Box) -> float:
    return (box[0] + box[2]) / 2


def _boxes(boxes: Sequence[Box], hue: Hue, *, style: str = "solid") -> Layer:
    left, top, right, bottom = np.array(boxes).T
    return Layer("rect", x=left, y=top, x2=right, y2=bottom, hue=hue, style=style)  # type: ignore[arg-type]


def _outlines(boxes: Sequence[Box]) -> Layer:
    return _boxes(boxes, "current", style="hollow")


def _named_boxes(boxes: Sequence[Box], hue: Hue, letter: str) -> tuple[Layer, Layer]:
    prefix = letter if len(boxes) <= MOST_NAMED else ""
    return _boxes(boxes, hue), _text(
        [f"{prefix}{k}" for k in range(len(boxes))], boxes, hue, on_colour=True, size=3
    )


def _text(
    names: Sequence[str], boxes: Sequence[Box], hue: Hue, *, on_colour: bool = False, size: float = 4
) -> Layer:
    """One label in the middle of each box; on_colour: the box is filled."""
    left, top, right, bottom = np.array(boxes).T
    at = {"x": (left + right) / 2, "y": (top + bottom) / 2, "names": tuple(names), "anchor": "middle"}
    return Layer("label", **at, hue=hue, style="hollow" if on_colour else "solid", size=size)


def _lines(pairs: Sequence[tuple[Box, Box]], hue: Hue) -> Layer:
    """From the bottom of one box to the top of another."""
    x, y, x2, y2 = np.array(
        [(_middle(upper), upper[3], _middle(lower), lower[1]) for upper, lower in pairs]
    ).T
    strong = hue == "current"
    return Layer("segment", x=x, y=y, x2=x2, y2=y2, hue=hue, size=4 if strong else 1.6)


def _arrows(boxes: Sequence[Box]) -> Layer:
    """From the hidden state up to each box."""
    x = np.array([_middle(box) for box in boxes])
    tops = np.array([box[3] + 0.2 for box in boxes])
    return Layer("arrow", x=x, y=np.full_like(x, HIDDEN[0]), x2=x, y2=tops, hue="muted", size=2)


def _hidden_state(steps: Sequence[DecodeStep]) -> tuple[Layer, ...]:
    box: Box = (LEFT, HIDDEN[0], 1.0, HIDDEN[1])
    newest = Track(np.array([[step.stop - 1] for step in steps], float))
    newest_token = replace(
        _text([Message("x of token ")], [box], "muted", on_colour=True), numbers=newest, format="d"
    )
    last = steps[0].stop - 1
    words = Message("x of tokens 0 to {last}", last=last) if last else Message("x of token 0")
    prompt = _text([words], [box], "muted", on_colour=True)
    return (
        _boxes([box], "parameter"),
        _during(prompt, steps, ("prefill",)),
        _during(newest_token, steps, ("project", "append", "attend", "absorb")),
        _small(Message("hidden state"), 0.0, sum(HIDDEN) / 2),
    )


def _row_names(*rows: tuple[Message, tuple[float, float], Hue]) -> list[Layer]:
    """The name of each row, at the middle of its height (top, bottom)."""
    return [
        Layer("label", np.zeros(1), np.array([sum(height) / 2]), hue=hue, size=4, names=(name,))
        for name, height, hue in rows
    ]


def _small(name: str, x: float, y: float) -> Layer:
    return Layer("label", np.array([x]), np.array([y]), hue="muted", style="faint", size=3, names=(name,))


def _growth(steps: Sequence[DecodeStep], y: float) -> tuple[Layer, ...]:
    """By how many bytes the cache has just grown."""
    before = [0] + [step.cache_bytes for step in steps[:-1]]
    grown = np.array([[step.cache_bytes - old] for step, old in zip(steps, before, strict=True)], float)
    x = np.where(grown > 0, 0.0, np.nan)
    return (
        Layer(
            "label",
            Track(x),
            np.array([y]),
            hue="current",
            numbers=Track(grown),
            format="bytes",
            names=("+ ",),
        ),
    )


def _during(layer: Layer, steps: Sequence[DecodeStep], phases: Sequence[str]) -> Layer:
    """The layer in these phases, and nothing of it in the others."""
    on = np.array([step.phase in phases for step in steps], np.int32)
    x = np.asarray(layer.x)
    return replace(layer, x=Track(np.stack([np.full_like(x, np.nan), x]), on))
