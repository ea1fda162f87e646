"""The picture of decoding: who reads what, the cache filling row by row, and the bytes of all four kinds beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from explainers.formula import formula
from explainers.kv_cache.decode import DecodeResult, DecodeStep, decode_grouped, decode_latent
from explainers.kv_cache.decode_params import KINDS, DecodeParams, groups_of
from explainers.kv_cache.views import wiring
from explainers.scene import (
    Axis,
    Band,
    Code,
    Column,
    Layer,
    Line,
    Lines,
    Marks,
    Matrix,
    Panel,
    Row,
    Scene,
    Tiles,
    Track,
    Words,
    patches,
)

# A letter explains itself wherever it stands alone, so a subscript is set as text: the K of W_K is not the keys K.
GROUPED_SYMBOLS: Mapping[str, str] = {
    "x": "x: the hidden state of the token, as the layer is given it",
    "q": "q: query, what the new token asks",
    "k": "k: key, what the token can be found by",
    "v": "v: value, what the token then gives",
    "K": "K: the cached keys of all tokens so far",
    "V": "V: the cached values of all tokens so far",
    "u": "u: the output of the layer's attention for this token",
    "g": "g: key/value heads, each shared by a group of query heads",
    "d": "d: numbers in one query, key or value",
    "T": "T: tokens held in the cache",
    "b": "b: bytes of one number",
    "WK": "W_K: makes the keys",
    "WV": "W_V: makes the values",
    "WO": "W_O: puts the outputs of all heads together",
}
LATENT_SYMBOLS: Mapping[str, str] = {
    "x": "x: the hidden state of the token, as the layer is given it",
    "cKV": "c_KV: the latent, all that MLA keeps of a token besides the RoPE key",
    "kR": "k_R: the RoPE key, one for all heads; it alone knows the position",
    "qR": "q_R: the part of the query that meets the RoPE key",
    "dc": "d_c: numbers in the latent",
    "dR": "d_R: numbers in the RoPE key",
    "T": "T: tokens held in the cache",
    "b": "b: bytes of one number",
    "WQ": "W_Q: makes the queries of all heads",
    "WDKV": "W_DKV: down-projection, from the hidden state to the latent",
    "WUK": "W_UK: up-projection, from the latent to the keys of all heads",
}

LABELS = {"mha": "MHA", "gqa": "GQA", "mqa": "MQA", "mla": "MLA"}

# The columns of a step's numbers: 0 newest token, 1 tokens held, 2 bytes held, 3 bytes that this step added, 4 bytes
# that MHA holds of the same tokens, 5 error against recomputation, 6 absorbed against expanded, 7 the largest weight
# of the newest token, 8 its head, 9 the token that it looks at.


def decode_scene(result: DecodeResult) -> Scene:
    """Every step of the decoding, ready to be played."""
    steps = [step for _, step in result.steps]
    return Scene(
        name="kv_cache.decode",
        title=f"{LABELS[result.params.kind]}: decoding token by token with a KV cache",
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


def decode_card(result: DecodeResult) -> Scene:
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
    code, first_line = inspect.getsourcelines(generator)
    return Code(
        "code",
        "The code that just ran",
        "explainers/kv_cache/decode.py; the attention itself stands in explainers/kv_cache/attention.py",
        300,
        source="".join(code),
        first_line=first_line,
        line=Track(np.array([line for line, _ in result.steps])),
    )


# ------------------------------------------------------------------------------------------------ the panels


def _wiring(result: DecodeResult, steps: list[DecodeStep]) -> Marks:
    params = result.params
    if params.kind == "mla":
        layers = wiring.latent(params.heads, steps, kept_rope_key=params.break_it != "no_rope_dims")
        subtitle = f"{_count(params.heads, 'query head')}, one latent and one RoPE key for all of them"
    else:
        groups = groups_of(params, params.kind)
        layers = wiring.grouped(params.heads, groups, steps)
        shared = params.heads // groups
        subtitle = (
            "every query head has a key and a value of its own"
            if shared == 1
            else f"all {shared} query heads share one key and one value"
            if groups == 1
            else f"{shared} query heads share each key and value"
        )
    return Marks(
        name="wiring",
        title=f"{LABELS[params.kind]}: who reads what",
        subtitle=subtitle,
        height=wiring.HEIGHT,
        x=Axis(0, 1),
        y=Axis(0, wiring.BOTTOM, flip=True),
        layers=layers,
    )


def _cache(result: DecodeResult, steps: list[DecodeStep]) -> Row:
    """What is cached, one row a token: keys and values side by side, or latents and RoPE keys."""
    params = result.params
    if params.kind == "mla":
        parts = (_kept("c", "latent c_KV", params.latent_dim, result, steps),)
        parts += (
            _kept(
                "k_R",
                "RoPE key k_R" if "k_R" in steps[0].parts else "k_R, lost",
                params.rope_dim,
                result,
                steps,
            ),
        )
        share = min(max(params.rope_dim / (params.latent_dim + params.rope_dim), 0.27), 0.5)
        weights = (1 - share, share)
    else:
        parts = (_heads("K", "keys", result, steps), _heads("V", "values", result, steps))
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
    names = tuple(f"{_bar_name(KINDS[row], result.params)}: " for row in rows)
    style = "solid" if strong else "faint"
    bar = Layer(
        "rect", np.zeros_like(at), at + 0.5, numbers, at + 0.9, "activation", style, 4, numbers, "d", names
    )
    hue = "current" if strong else "muted"
    return bar, Layer(
        "label", np.zeros_like(at), at + 0.25, hue=hue, numbers=numbers, format="d", names=names
    )


def _bar_name(kind: str, params: DecodeParams) -> str:
    return f"GQA, {_count(params.groups, 'group')}" if kind == "gqa" else LABELS[kind]


def _tokens_held(steps: list[DecodeStep]) -> list[int]:
    """The tokens in the cache at each step: at "project" the new one is not in it yet."""
    return [step.start if step.phase == "project" else step.stop for step in steps]


def _errors(result: DecodeResult, steps: list[DecodeStep]) -> Panel:
    tokens = np.arange(result.params.length, dtype=float)
    lines = [Line(tokens, result.error_cached.numpy(), "output", "with cache")]
    if result.error_absorbed is not None:
        lines.append(Line(tokens, result.error_absorbed.numpy(), "score", "absorbed"))
    ends = np.array([0.0, result.params.length - 1])
    lines.append(Line(ends, np.full(2, result.tolerance), "bad", "tolerance", dashed=True))
    last = "absorb" if result.params.kind == "mla" else "attend"
    shown = [step.stop if step.phase in ("prefill", last) else step.start for step in steps]
    return Lines(
        name="errors",
        title="Error of each token's output",
        subtitle="against computing everything again, without a cache"
        if result.error_absorbed is None
        else "with cache: against computing again; absorbed: against expanded",
        height=220,
        x=Axis(0, float(tokens[-1]), label="token", ticks=(0.0, float(len(tokens) // 2))),
        y=Axis(1e-17, 10, log=True, ticks=(1e-16, 1e-12, 1e-8, 1e-4, 1), format=".0e"),
        lines=tuple(lines),
        shown=Track(np.array([[count] for count in shown])),
    )


# ------------------------------------------------------------------------------------------------- the words


def _words(result: DecodeResult, steps: list[DecodeStep]) -> Words:
    moments = (_latent_moments if result.params.kind == "mla" else _grouped_moments)(result.params)
    names = list(moments)
    return Words(
        sentences=tuple(sentence for sentence, _ in moments.values()),
        which=np.array([names.index(step.phase) for step in steps]),
        values=_numbers(result, steps),
        formulas=tuple(formula(latex) if latex else "" for _, latex in moments.values()),
    )


def _numbers(result: DecodeResult, steps: list[DecodeStep]) -> np.ndarray:
    """(steps, 10): see above."""
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


def _grouped_moments(params: DecodeParams) -> dict[str, tuple[str, str]]:
    """Phase -> sentence and formula of MHA, GQA and MQA."""
    groups, heads = groups_of(params, params.kind), params.heads
    sizes = rf"2 \times {groups} \times {params.head_dim} \times \slot{{1:d}} \times {_width(params)}"
    size = rf"2 g d T b = {sizes} = \slot{{2:d}}"
    than_mha = "" if groups == heads else " MHA would hold {4:d} B of the same tokens."
    return {
        "prefill": (
            f"Prefill: {_prompt(params)} at once. The cache now holds {_their(params)} keys and values: **{{2:d}} B**."
            + than_mha,
            size,
        ),
        "project": (
            f"Token {{0:d}} comes, alone: {_count(heads, 'query', 'queries')}, but only {_count(groups, 'key')} and "
            f"{_count(groups, 'value')}."
            if groups < heads
            else f"Token {{0:d}} comes, alone: {_count(heads, 'query', 'queries')}, {_count(groups, 'key')} and "
            f"{_count(groups, 'value')}.",
            r"k = \text{RoPE}(W_{\text{K}} x), \; v = W_{\text{V}} x",
        ),
        "append": (
            "Its keys and values join the cache, which grows by {3:d} B to **{2:d} B**." + than_mha,
            size,
        ),
        "attend": (
            "All {1:d} cached tokens are read, none is computed again. Head {8:d} looks most at token {9:d} "
            "(weight {7:.2f}). Largest difference from computing everything again: **{5:.1e}**."
            if heads > 1
            else "All {1:d} cached tokens are read, none is computed again. The largest weight, {7:.2f}, is on token "
            "{9:d}. Largest difference from computing everything again: **{5:.1e}**.",
            rf"u = W_{{\text{{O}}}} \, \text{{softmax}}(q K^\top / \sqrt{{{params.head_dim}}}) V",
        ),
    }


def _latent_moments(params: DecodeParams) -> dict[str, tuple[str, str]]:
    """Phase -> sentence and formula of MLA, in the words of the break where one is made."""
    c, e = params.latent_dim, params.rope_dim
    if params.break_it == "no_rope_dims":
        kept_parts, size, sizes = "latents, not the RoPE keys", r"d_{\text{c}} T b", f"{c}"
    else:
        kept_parts, size, sizes = (
            "latents and RoPE keys",
            r"(d_{\text{c}} + d_{\text{R}}) T b",
            f"({c} + {e})",
        )
    size += rf" = {sizes} \times \slot{{1:d}} \times {_width(params)} = \slot{{2:d}}"
    return {
        "prefill": (
            f"Prefill: {_prompt(params)} at once. The cache now holds {_their(params)} {kept_parts}: "
            "**{2:d} B**. MHA would hold {4:d} B of the same tokens.",
            size,
        ),
        "project": (
            f"Token {{0:d}} comes, alone: all that {_count(params.heads, 'head')} will ever read of it is one latent "
            f"of {_count(c, 'number')} and one RoPE key of {_count(e, 'number')}.",
            r"c_{\text{KV}} = \text{RMSNorm}(W_{\text{DKV}} x)",
        ),
        "append": (_latent_append(params.break_it), size),
        "attend": (
            "Expanded: keys and values of every head are made again from all {1:d} latents, only to be thrown away. "
            "Largest difference from computing everything again: **{5:.1e}**.",
            _LATENT_SCORES[params.break_it],
        ),
        "absorb": (
            _latent_absorb(params.break_it),
            _ABSORBED_SCORES[params.break_it],
        ),
    }


_LATENT = r"(W_{\text{Q}} x) \cdot (W_{\text{UK}} c_{\text{KV}})"
_ABSORBED = r"({W_{\text{UK}}}^\top W_{\text{Q}} x) \cdot c_{\text{KV}}"
_ROPE = r" + q_{\text{R}} \cdot k_{\text{R}}"
_ROTATED = r"\text{RoPE}(W_{\text{Q}} x) \cdot \text{RoPE}(W_{\text{UK}} c_{\text{KV}})"

# The score of each form, by what is broken: without the RoPE key its term is gone; a rotation cannot be moved away.
_LATENT_SCORES = {
    "none": r"q \cdot k = " + _LATENT + _ROPE,
    "cache_before_norm": r"q \cdot k = " + _LATENT + _ROPE,
    "no_rope_dims": r"q \cdot k = " + _LATENT,
    "rope_on_latent": r"q \cdot k = " + _ROTATED + _ROPE,
}
_ABSORBED_SCORES = {
    "none": r"q \cdot k = " + _ABSORBED + _ROPE,
    "cache_before_norm": r"q \cdot k = " + _ABSORBED + _ROPE,
    "no_rope_dims": r"q \cdot k = " + _ABSORBED,
    "rope_on_latent": _ROTATED + r" \neq " + _ABSORBED,
}


def _latent_absorb(break_it: str) -> str:
    if break_it == "rope_on_latent":
        return (
            "Absorbed: a rotation that depends on the position stands between W_Q and W_UK, and no one matrix holds "
            "it. Difference from the expanded form: **{6:.1e}**."
        )
    if break_it != "none":
        return (
            "Absorbed: the latents alone give the same as the expanded form, to {6:.1e}, and both are wrong: "
            "**{5:.1e}** from computing everything again."
        )
    return (
        "Absorbed: W_UK is multiplied into W_Q and W_UV into W_O, so the {1:d} latents are read as they are. "
        "Difference from the expanded form: **{6:.1e}**."
    )


def _latent_append(break_it: str) -> str:
    if break_it == "no_rope_dims":
        return "The latent joins the cache, the RoPE key is forgotten: only {3:d} B more, **{2:d} B** in all."
    if break_it == "cache_before_norm":
        return (
            "The latent joins the cache as it was before its RMSNorm: {3:d} B more, **{2:d} B** in all, as it should "
            "be; but its numbers have the wrong length."
        )
    return "Both join the cache, which grows by {3:d} B to **{2:d} B**. MHA would hold {4:d} B of the same tokens."


def _width(params: DecodeParams) -> int:
    return {"float64": 8, "float32": 4, "bfloat16": 2}[params.dtype]


def _prompt(params: DecodeParams) -> str:
    return "the prompt's one token" if params.prefill == 1 else f"the prompt's {params.prefill} tokens"


def _their(params: DecodeParams) -> str:
    return "its" if params.prefill == 1 else "their"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
