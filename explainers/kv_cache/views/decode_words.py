"""The words of decoding: a sentence and a formula for each phase, whole or broken, and what the letters mean."""

from __future__ import annotations

from collections.abc import Mapping

from explainers.kv_cache.decode_params import DecodeParams, groups_of, width_of

# The columns of a step's numbers: 0 newest token, 1 tokens held, 2 bytes held, 3 bytes that this step added, 4 bytes
# that MHA holds of the same tokens, 5 error against recomputation, 6 absorbed against expanded, 7 the largest weight
# of the newest token, 8 its head, 9 the token that it looks at.

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


def grouped_moments(params: DecodeParams) -> dict[str, tuple[str, str]]:
    """Phase -> sentence and formula of MHA, GQA and MQA."""
    groups, heads = groups_of(params, params.kind), params.heads
    sizes = rf"2 \times {groups} \times {params.head_dim} \times \slot{{1:d}} \times {width_of(params)}"
    size = rf"2 g d T b = {sizes} = \slot{{2:d}}"
    than_mha = "" if groups == heads else " MHA would hold {4:d} B of the same tokens."
    return {
        "prefill": (
            f"Prefill: {_prompt(params)} at once. The cache now holds {_their(params)} keys and values: **{{2:d}} B**."
            + than_mha,
            size,
        ),
        "project": (
            f"Token {{0:d}} comes, alone: {count(heads, 'query', 'queries')}, but only {count(groups, 'key')} and "
            f"{count(groups, 'value')}."
            if groups < heads
            else f"Token {{0:d}} comes, alone: {count(heads, 'query', 'queries')}, {count(groups, 'key')} and "
            f"{count(groups, 'value')}.",
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


def latent_moments(params: DecodeParams) -> dict[str, tuple[str, str]]:
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
    size += rf" = {sizes} \times \slot{{1:d}} \times {width_of(params)} = \slot{{2:d}}"
    return {
        "prefill": (
            f"Prefill: {_prompt(params)} at once. The cache now holds {_their(params)} {kept_parts}: "
            "**{2:d} B**. MHA would hold {4:d} B of the same tokens.",
            size,
        ),
        "project": (
            f"Token {{0:d}} comes, alone: all that {count(params.heads, 'head')} will ever read of it is one latent "
            f"of {count(c, 'number')} and one RoPE key of {count(e, 'number')}.",
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


def _prompt(params: DecodeParams) -> str:
    return "the prompt's one token" if params.prefill == 1 else f"the prompt's {params.prefill} tokens"


def _their(params: DecodeParams) -> str:
    return "its" if params.prefill == 1 else "their"


def count(number: int, one: str, many: str = "") -> str:
    """ "1 head", "4 heads"."""
    return f"{number} {one if number == 1 else many or one + 's'}"
