"""The picture of decoding: who reads what, the cache filling row by row, and the bytes of all four kinds beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from explainers.contract.messages import Message, plural
from explainers.drawing.formula import formula
from explainers.drawing.panels import Axis, Band, Layer, Line, Lines, Marks, Matrix, Tiles
from explainers.drawing.scene import Column, Panel, Row, Scene, Track, Words, patches
from explainers.drawing.source_code import code_panel
from explainers.kv_cache.decode import DecodeResult, DecodeStep, decode_grouped, decode_latent
from explainers.kv_cache.decode_params import KINDS, DecodeParams, groups_of
from explainers.kv_cache.views import wiring
from explainers.kv_cache.views.decode_words import (
    COLUMNS,
    GROUPED_SYMBOLS,
    LATENT_SYMBOLS,
    grouped_moments,
    latent_moments,
)

LABELS = {"mha": "MHA", "gqa": "GQA", "mqa": "MQA", "mla": "MLA"}


def scene(result: DecodeResult) -> Scene:
    """Every step of the decoding, ready to be played."""
    steps = [step for _, step in result.steps]
    return Scene(
        name="kv_cache.decode",
        title=Message(
            "{attention}: decoding token by token with a KV cache", attention=LABELS[result.params.kind]
        ),
        steps=len(steps),
        columns=(
            Column(1.9, (_wiring(result, steps), _cache(result, steps), _weights(result, steps))),
            Column(1, (_bars(result, steps), _errors(result, steps))),
        ),
        words=_words(result, steps),
        stops=tuple(number for number, step in enumerate(steps) if step.phase == "append"),
        start=_telling_step(result, steps),
        rate=1.5,
        symbols=LATENT_SYMBOLS if result.params.kind == "mla" else GROUPED_SYMBOLS,
        step_name="step",
        below=(Column(1, (_code(result),)),),
    )


def card(result: DecodeResult) -> Scene:
    """Who reads what and the growing caches, small: the picture of this topic on the home page."""
    steps = [step for _, step in result.steps]
    panels = (
        replace(
            _wiring(result, steps), height=204 if result.params.kind == "mla" else 150, title="", subtitle=""
        ),
        replace(_bars(result, steps), height=112, title="", subtitle=""),
    )
    return Scene(
        name="kv_cache.card",
        title="Four caches growing token by token",
        steps=len(steps),
        columns=(Column(1, panels),),
        words=_words(result, steps),
        start=len(steps) // 2,
        rate=3.0,
    )


def _telling_step(result: DecodeResult, steps: list[DecodeStep]) -> int:
    """The end where a check failed; else the last moment of the token halfway, with the cache half full."""
    last = "absorb" if result.params.kind == "mla" else "attend"
    attended = [number for number, step in enumerate(steps) if step.phase == last]
    return attended[len(attended) // 2] if result.passed else attended[-1]


def _code(result: DecodeResult) -> Panel:
    generator = decode_latent if result.params.kind == "mla" else decode_grouped
    lines = np.array([line for line, _ in result.steps])
    return code_panel(generator, lines, note="the attention itself is in explainers/kv_cache/attention.py")


# ------------------------------------------------------------------------------------------------ the panels


def _wiring(result: DecodeResult, steps: list[DecodeStep]) -> Marks:
    params = result.params
    if params.kind == "mla":
        layers = wiring.latent(params.heads, steps, kept_rope_key=params.break_it != "no_rope_dims")
        subtitle = plural(
            "{count} query head, one latent and one RoPE key for all of them",
            "{count} query heads, one latent and one RoPE key for all of them",
            count=params.heads,
        )
    else:
        groups = groups_of(params, params.kind)
        layers = wiring.grouped(params.heads, groups, steps)
        subtitle = _sharing(params.heads // groups, groups)
    return Marks(
        name="wiring",
        title=Message("{attention}: who reads what", attention=LABELS[params.kind]),
        subtitle=subtitle,
        height=wiring.HEIGHT,
        x=Axis(0, 1),
        y=Axis(0, wiring.BOTTOM, flip=True),
        layers=layers,
    )


def _sharing(shared: int, groups: int) -> Message:
    """How many query heads read each key and value."""
    if shared == 1:
        return Message("every query head has its own key and value")
    if groups == 1:
        return Message("all {shared} query heads share one key and one value", shared=shared)
    return Message("{shared} query heads share each key and value", shared=shared)


def _cache(result: DecodeResult, steps: list[DecodeStep]) -> Row:
    """What is cached, one row a token: keys and values side by side, or latents and RoPE keys."""
    params = result.params
    if params.kind == "mla":
        parts = (_kept("c", Message("latent c_KV"), params.latent_dim, result, steps),)
        parts += (
            _kept(
                "k_R",
                Message("RoPE key k_R") if "k_R" in steps[0].parts else Message("k_R, lost"),
                params.rope_dim,
                result,
                steps,
            ),
        )
        share = min(max(params.rope_dim / (params.latent_dim + params.rope_dim), 0.27), 0.5)
        weights = (1 - share, share)
    else:
        parts = (_heads("K", Message("keys"), result, steps), _heads("V", Message("values"), result, steps))
        weights = (1.0, 1.0)
    return Row(
        parts,
        weights,
        title="The cache, one row a token",
        subtitle="every cell is a cached number, signed; outlined: the newest token",
    )


def _heads(part: str, title: str, result: DecodeResult, steps: list[DecodeStep]) -> Panel:
    params = result.params
    groups = groups_of(params, params.kind)
    band = Band("top", "k", "key") if part == "K" else Band("top", "v", "value")
    tiles = _plain_tiles((params.length, params.head_dim), 1, groups, len(steps))
    panel = _kept(part, title, groups * params.head_dim, result, steps)
    return replace(panel, tiles=tiles, bands=(band,), height=panel.height + 19)


def _kept(part: str, title: str, width: int, result: DecodeResult, steps: list[DecodeStep]) -> Matrix:
    """One part of the cache: its numbers at every step, blank where no token is yet."""
    length = result.params.length
    states: list[np.ndarray] = []
    for number, step in enumerate(steps):
        if number and step.parts is steps[number - 1].parts:
            states.append(states[-1])
        else:
            states.append(_by_token(step.parts.get(part), length, width))
    largest = float(np.nanmax(np.abs(states[-1]), initial=0.0)) or 1.0
    return Matrix(
        name=part,
        title=title,
        height=int(np.clip(8 * length, 84, 216)) + 3,
        shape=(length, width),
        values=patches(states),
        scale="diverging",
        low=-largest,
        high=largest,
        hue="activation",
        rows=Track(np.array([(step.start, step.stop) for step in steps])),
        row_name="token",
        column_name="number",
    )


def _by_token(part: Tensor | None, length: int, width: int) -> np.ndarray:
    """A part of the cache (..., T, d) as rows, one a token; NaN where no token is yet."""
    rows = np.full((length, width), np.nan, np.float32)
    if part is not None:
        kept = part.movedim(-2, 0).flatten(1).float().numpy()
        rows[: len(kept)] = kept
    return rows


def _plain_tiles(block: tuple[int, int], rows: int, columns: int, steps: int) -> Tiles:
    """Tiles that only divide: none is ever current."""
    return Tiles(block, np.zeros((rows, columns), np.int32), np.full((steps, 2), -1, np.int32))


def _weights(result: DecodeResult, steps: list[DecodeStep]) -> Panel:
    """The weights of the newest token that has attended; those of the token before until then."""
    params = result.params
    states = [np.full((params.heads, params.length), np.nan, np.float32)]
    for step in steps:
        if step.weights is None:
            states.append(states[-1])
        else:
            now = np.full_like(states[0], np.nan)
            now[:, : step.weights.shape[1]] = step.weights.float().numpy()
            states.append(now)
    highest = np.array([[0.0, np.nanmax(state)] for state in states[1:]])
    height = int(np.clip(13 * params.heads, 52, 168)) + 3
    panel = Matrix(
        name="weights",
        title="Attention weights of the newest token",
        subtitle="one row a query head, one column a token; each row sums to 1",
        height=height,
        shape=(params.heads, params.length),
        values=patches(states[1:]),
        limits=Track(highest),
        hue="score",
        row_name="query head",
        column_name="token",
    )
    if params.kind == "mla":
        return panel
    groups = groups_of(params, params.kind)
    tiles = _plain_tiles((params.heads // groups, params.length), groups, 1, len(steps))
    return replace(panel, tiles=tiles, bands=(Band("left", "k", "key"),))


def _bars(result: DecodeResult, steps: list[DecodeStep]) -> Marks:
    """Bytes that each kind holds now, as measured in four runs."""
    held = _tokens_held(steps)
    bytes_now = np.array([[result.bytes_held[kind][tokens] for kind in KINDS] for tokens in held], float)
    chosen = KINDS.index(result.params.kind)
    others = [number for number in range(len(KINDS)) if number != chosen]
    layers = (*_bar_layers(result, bytes_now, [chosen], True), *_bar_layers(result, bytes_now, others, False))
    return Marks(
        name="bytes",
        title="Bytes held now, one layer",
        subtitle="measured in four runs; strong: the attention chosen",
        height=212,
        x=Axis(0, float(bytes_now.max())),
        y=Axis(0, len(KINDS), flip=True),
        layers=layers,
        frame=False,
    )


def _bar_layers(
    result: DecodeResult, bytes_now: np.ndarray, rows: list[int], strong: bool
) -> tuple[Layer, Layer]:
    """The bars of some kinds of attention and the labels above them."""
    at = np.array(rows, float)
    numbers = Track(bytes_now[:, rows])
    names = tuple(Message("{attention}: ", attention=_bar_name(KINDS[row], result.params)) for row in rows)
    style = "solid" if strong else "faint"
    bar = Layer(
        "rect",
        x=np.zeros_like(at),
        y=at + 0.5,
        x2=numbers,
        y2=at + 0.9,
        hue="activation",
        style=style,
        numbers=numbers,
        format="d",
        names=names,
    )
    hue = "current" if strong else "muted"
    return bar, Layer(
        "label", np.zeros_like(at), at + 0.25, hue=hue, numbers=numbers, format="d", names=names
    )


def _bar_name(kind: str, params: DecodeParams) -> str:
    if kind != "gqa":
        return LABELS[kind]
    return plural("GQA, {count} group", "GQA, {count} groups", count=params.groups)


def _tokens_held(steps: list[DecodeStep]) -> list[int]:
    """The tokens in the cache at each step: at "project" the new one is not in it yet."""
    return [step.start if step.phase == "project" else step.stop for step in steps]


def _errors(result: DecodeResult, steps: list[DecodeStep]) -> Panel:
    tokens = np.arange(result.params.length, dtype=float)
    lines = [Line(tokens, result.error_cached.numpy(), "output", label="with cache")]
    if result.error_absorbed is not None:
        lines.append(Line(tokens, result.error_absorbed.numpy(), "score", label="absorbed"))
    ends = np.array([0.0, result.params.length - 1])
    lines.append(Line(ends, np.full(2, result.tolerance), "bad", label="tolerance", dashed=True))
    last = "absorb" if result.params.kind == "mla" else "attend"
    shown = [step.stop if step.phase in ("prefill", last) else step.start for step in steps]
    return Lines(
        name="errors",
        title="Error of each token's output",
        subtitle=Message("against computing everything again, without a cache")
        if result.error_absorbed is None
        else Message("with cache: against computing again; absorbed: against expanded"),
        height=220,
        x=Axis(0, float(tokens[-1]), label="token", ticks=(0.0, float(len(tokens) // 2))),
        y=Axis(1e-17, 10, log=True, ticks=(1e-16, 1e-12, 1e-8, 1e-4, 1), format=".0e"),
        lines=tuple(lines),
        shown=Track(np.array([[count] for count in shown])),
    )


# ------------------------------------------------------------------------------------------------- the words


def _words(result: DecodeResult, steps: list[DecodeStep]) -> Words:
    moments = (latent_moments if result.params.kind == "mla" else grouped_moments)(result.params)
    names = list(moments)
    return Words(
        sentences=tuple(sentence for sentence, _ in moments.values()),
        which=np.array([names.index(step.phase) for step in steps]),
        values=_numbers(result, steps),
        formulas=tuple(formula(latex) if latex else "" for _, latex in moments.values()),
        columns=COLUMNS,
    )


def _numbers(result: DecodeResult, steps: list[DecodeStep]) -> np.ndarray:
    """(steps, columns) under COLUMNS."""
    mha = result.bytes_held["mha"]
    rows, before = [], 0
    for step, held in zip(steps, _tokens_held(steps), strict=True):
        newest = step.stop - 1
        cached = _largest(result.error_cached, step)
        absorbed = float("nan") if result.error_absorbed is None else _largest(result.error_absorbed, step)
        weight, head, seen = _strongest(step.weights)
        added = step.cache_bytes - before
        rows.append([newest, held, step.cache_bytes, added, mha[held], cached, absorbed, weight, head, seen])
        before = step.cache_bytes
    return np.array(rows, float)


def _largest(errors: Tensor, step: DecodeStep) -> float:
    return errors[step.start : step.stop].max().item()


def _strongest(weights: Tensor | None) -> tuple[float, int, int]:
    """The largest weight, its head, and the token that it looks at."""
    if weights is None:
        return float("nan"), -1, -1
    head, token = divmod(int(weights.argmax()), weights.shape[1])
    return weights[head, token].item(), head, token
