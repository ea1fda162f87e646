"""The words of decoding: a sentence and a formula for each phase, whole or broken, and what the letters mean."""

from __future__ import annotations

from collections.abc import Mapping

from explainers.contract.messages import LiveMessage, Message, joined, plural
from explainers.drawing.formula import product
from explainers.kv_cache.decode_params import DecodeParams, groups_of, width_of

# One step's numbers: the newest token; tokens and bytes held; bytes that this step added; bytes that MHA holds of the
# same tokens; the error against recomputation and that of the absorbed form against the expanded one; the largest
# weight of the newest token, its head, and the token that it looks at.
COLUMNS = (
    "token", "held", "bytes", "added", "mha_bytes", "error", "absorbed_error", "weight", "head", "seen",
)  # fmt: skip

# The player explains every letter of a formula, so a subscript is set as text: the K of W_K is not the keys K.
GROUPED_SYMBOLS: Mapping[str, str] = {
    "x": Message("x: the hidden state of the token, as the layer is given it"),
    "q": Message("q: query, what the new token asks"),
    "k": Message("k: key, what the token can be found by"),
    "v": Message("v: value, what the token then gives"),
    "K": Message("K: the cached keys of all tokens so far"),
    "V": Message("V: the cached values of all tokens so far"),
    "u": Message("u: the output of the layer's attention for this token"),
    "g": Message("g: key/value heads, each shared by a group of query heads"),
    "d": Message("d: numbers in one query, key or value"),
    "T": Message("T: tokens held in the cache"),
    "b": Message("b: bytes of one number"),
    "WK": Message("W_K: makes the keys"),
    "WV": Message("W_V: makes the values"),
    "WO": Message("W_O: puts the outputs of all heads together"),
}
LATENT_SYMBOLS: Mapping[str, str] = {
    "x": Message("x: the hidden state of the token, as the layer is given it"),
    "cKV": Message("c_KV: the latent, all that MLA keeps of a token besides the RoPE key"),
    "kR": Message("k_R: the RoPE key, one for all heads; only it depends on the position"),
    "qR": Message("q_R: the part of the query that meets the RoPE key"),
    "dc": Message("d_c: numbers in the latent"),
    "dR": Message("d_R: numbers in the RoPE key"),
    "T": Message("T: tokens held in the cache"),
    "b": Message("b: bytes of one number"),
    "WQ": Message("W_Q: makes the queries of all heads"),
    "WDKV": Message("W_DKV: down-projection, from the hidden state to the latent"),
    "WUK": Message("W_UK: up-projection, from the latent to the keys of all heads"),
}


def grouped_moments(params: DecodeParams) -> dict[str, tuple[Message, str]]:
    """Phase -> sentence and formula of MHA, GQA and MQA."""
    groups, heads = groups_of(params, params.kind), params.heads
    factors = ("2", groups, params.head_dim, _HELD, width_of(params))
    size = rf"2 g d T b = {product(*factors)} = \slot{{bytes:d}}"
    than_mha = [] if groups == heads else [LiveMessage("MHA would hold {mha_bytes:d} B of the same tokens.")]
    counted = {
        "queries": plural("{count} query", "{count} queries", count=heads),
        "keys": plural("{count} key", "{count} keys", count=groups),
        "values": plural("{count} value", "{count} values", count=groups),
    }
    prefill = _prefill(params, plural("its keys and values", "their keys and values", count=params.prefill))
    appended = LiveMessage(
        "Its keys and values join the cache, which grows by {added:d} B to **{bytes:d} B**."
    )
    return {
        "prefill": (joined([prefill, *than_mha], " "), size),
        "project": (
            LiveMessage(
                "Token {token:d} comes by itself: {queries}, but only {keys} and {values}.", **counted
            )
            if groups < heads
            else LiveMessage("Token {token:d} comes by itself: {queries}, {keys} and {values}.", **counted),
            r"k = \text{RoPE}(W_{\text{K}} x), \; v = W_{\text{V}} x",
        ),
        "append": (joined([appended, *than_mha], " "), size),
        "attend": (
            LiveMessage(
                "All {held:d} cached tokens are read, none is computed again. Head {head:d} looks most at token "
                "{seen:d} (weight {weight:.2f}). Largest difference from computing everything again: **{error:.1e}**."
            )
            if heads > 1
            else LiveMessage(
                "All {held:d} cached tokens are read, none is computed again. The largest weight, {weight:.2f}, is on "
                "token {seen:d}. Largest difference from computing everything again: **{error:.1e}**."
            ),
            rf"u = W_{{\text{{O}}}} \, \text{{softmax}}(q K^\top / \sqrt{{{params.head_dim}}}) V",
        ),
    }


def latent_moments(params: DecodeParams) -> dict[str, tuple[Message, str]]:
    """Phase -> sentence and formula of MLA, in the words of the break where one is made."""
    c, e = params.latent_dim, params.rope_dim
    if params.break_it == "no_rope_dims":
        kept = plural(
            "its latents, not the RoPE keys", "their latents, not the RoPE keys", count=params.prefill
        )
        size, sizes = r"d_{\text{c}} T b", f"{c}"
    else:
        kept = plural("its latents and RoPE keys", "their latents and RoPE keys", count=params.prefill)
        size, sizes = r"(d_{\text{c}} + d_{\text{R}}) T b", f"({c} + {e})"
    size = rf"{size} = {product(sizes, _HELD, width_of(params))} = \slot{{bytes:d}}"
    than_mha = LiveMessage("MHA would hold {mha_bytes:d} B of the same tokens.")
    return {
        "prefill": (joined([_prefill(params, kept), than_mha], " "), size),
        "project": (
            LiveMessage(
                "Token {token:d} comes by itself: all that {heads} will ever read of it is one latent of {latent} and "
                "one RoPE key of {rope_key}.",
                heads=plural("{count} head", "{count} heads", count=params.heads),
                latent=plural("{count} number", "{count} numbers", count=c),
                rope_key=plural("{count} number", "{count} numbers", count=e),
            ),
            r"c_{\text{KV}} = \text{RMSNorm}(W_{\text{DKV}} x)",
        ),
        "append": (_latent_append(params.break_it), size),
        "attend": (
            LiveMessage(
                "Expanded: keys and values of every head are made again from all {held:d} latents, only to be thrown "
                "away. Largest difference from computing everything again: **{error:.1e}**."
            ),
            _LATENT_SCORES[params.break_it],
        ),
        "absorb": (
            _latent_absorb(params.break_it),
            _ABSORBED_SCORES[params.break_it],
        ),
    }


def _prefill(params: DecodeParams, kept: Message) -> Message:
    """The prompt is read. kept: what the cache then holds of it."""
    prompt = plural("the prompt's one token", "the prompt's {count} tokens", count=params.prefill)
    return LiveMessage(
        "Prefill: {prompt} at once. The cache now holds {kept}: **{bytes:d} B**.", prompt=prompt, kept=kept
    )


_HELD = r"\slot{held:d}"  # tokens
_SCORE = r"q \cdot k"
_LATENT = r"(W_{\text{Q}} x) \cdot (W_{\text{UK}} c_{\text{KV}})"
_ABSORBED = r"({W_{\text{UK}}}^\top W_{\text{Q}} x) \cdot c_{\text{KV}}"
_ROPE = r" + q_{\text{R}} \cdot k_{\text{R}}"
_ROTATED = r"\text{RoPE}(W_{\text{Q}} x) \cdot \text{RoPE}(W_{\text{UK}} c_{\text{KV}})"

# The score of each form, by what is broken: without the RoPE key its term is gone; a rotation cannot be moved away.
_LATENT_SCORES = {
    "none": f"{_SCORE} = {_LATENT}{_ROPE}",
    "cache_before_norm": f"{_SCORE} = {_LATENT}{_ROPE}",
    "no_rope_dims": f"{_SCORE} = {_LATENT}",
    "rope_on_latent": f"{_SCORE} = {_ROTATED}{_ROPE}",
}
_ABSORBED_SCORES = {
    "none": f"{_SCORE} = {_ABSORBED}{_ROPE}",
    "cache_before_norm": f"{_SCORE} = {_ABSORBED}{_ROPE}",
    "no_rope_dims": f"{_SCORE} = {_ABSORBED}",
    "rope_on_latent": _ROTATED + r" \neq " + _ABSORBED,
}


def _latent_absorb(break_it: str) -> Message:
    if break_it == "rope_on_latent":
        return LiveMessage(
            "Absorbed: a rotation that depends on the position lies between W_Q and W_UK, and no one matrix holds "
            "it. Difference from the expanded form: **{absorbed_error:.1e}**."
        )
    if break_it != "none":
        return LiveMessage(
            "Absorbed: the latents alone give the same as the expanded form, to {absorbed_error:.1e}, and both are "
            "wrong: **{error:.1e}** from computing everything again."
        )
    return LiveMessage(
        "Absorbed: W_UK is multiplied into W_Q and W_UV into W_O, so the {held:d} latents are read as they are. "
        "Difference from the expanded form: **{absorbed_error:.1e}**."
    )


def _latent_append(break_it: str) -> Message:
    if break_it == "no_rope_dims":
        return LiveMessage(
            "The latent joins the cache, the RoPE key is forgotten: only {added:d} B more, **{bytes:d} B** in all."
        )
    if break_it == "cache_before_norm":
        return LiveMessage(
            "The latent joins the cache as it was before its RMSNorm: {added:d} B more, **{bytes:d} B** in all, as it "
            "should be; but its numbers have the wrong length."
        )
    return LiveMessage(
        "Both join the cache, which grows by {added:d} B to **{bytes:d} B**. MHA would hold {mha_bytes:d} B of the "
        "same tokens."
    )
