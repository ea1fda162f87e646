"""Decoding with a KV cache: every kind of attention against PyTorch, transformers, and its own formula."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from explainers.contract.experiment import watch
from explainers.contract.params import choices_of, fit, read
from explainers.contract.result import as_json
from explainers.kv_cache.attention import (
    GroupedQueryAttention,
    MultiHeadLatentAttention,
    causal_softmax,
    einsum,
)
from explainers.kv_cache.decode import DTYPES, decode, decode_grouped, decode_latent
from explainers.kv_cache.decode_params import BREAKS, KINDS, DecodeParams
from tests.kv_cache.decoding import CLAIMS, EXACT, LARGEST, errors, of

sizes = st.fixed_dictionaries(
    {
        "heads_groups": st.sampled_from([(1, 1), (2, 1), (4, 2), (6, 3), (8, 8), (12, 4)]),
        "head_dim": st.sampled_from([2, 6, 8, 16]),
        "latent_dim": st.integers(1, 40),
        "rope_dim": st.sampled_from([2, 4, 10]),
        "hidden_size": st.integers(1, 80),
        "prefill": st.integers(1, 9),
        "tokens": st.integers(1, 9),
        "seed": st.integers(0, 10**6),
    }
)


pytestmark = pytest.mark.usefixtures("one_thread")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden_states(tokens: int, hidden_size: int, seed: int = 1) -> Tensor:
    return torch.randn(tokens, hidden_size, generator=generator(seed), dtype=torch.float64)


def grouped(
    heads: int = 6, groups: int = 3, head_dim: int = 8, hidden_size: int = 20
) -> GroupedQueryAttention:
    named = {"heads": heads, "groups": groups, "head_dim": head_dim, "hidden_size": hidden_size}
    return GroupedQueryAttention.drawn(generator(), torch.float64, **named)


def latent(**changed: Any) -> MultiHeadLatentAttention:
    named = {"heads": 4, "head_dim": 8, "latent_dim": 12, "rope_dim": 6, "hidden_size": 20}
    return MultiHeadLatentAttention.drawn(generator(), torch.float64, **{**named, **changed})


def turned(x: Tensor) -> Tensor:
    """RoPE of x (..., tokens, d) from position 0 on, once more: pairs as complex numbers."""
    tokens, d = x.shape[-2:]
    angles = torch.outer(torch.arange(tokens).double(), 10_000.0 ** (-torch.arange(d // 2).double() * 2 / d))
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], d // 2, 2))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


# ------------------------------------------------------------------------------------------------ the bytes


@given(sizes, st.sampled_from(KINDS), st.sampled_from(list(DTYPES)))
@settings(max_examples=15)
def test_bytes_held_are_those_of_the_formula(size: dict[str, Any], kind: str, dtype: str) -> None:
    params = of(size, kind=kind, dtype=dtype)
    result = decode(params)
    width = torch.empty(0, dtype=DTYPES[dtype]).element_size()
    kv_heads = {"mha": params.heads, "gqa": params.groups, "mqa": 1}
    a_token = {name: 2 * heads * params.head_dim * width for name, heads in kv_heads.items()}
    a_token["mla"] = (params.latent_dim + params.rope_dim) * width
    assert result.all_cache_bytes == {name: numbers * params.length for name, numbers in a_token.items()}
    assert result.bytes_per_token == a_token[kind]
    assert result.cache_bytes_measured == result.cache_bytes_formula == a_token[kind] * params.length
    assert result.passed
    for step in (step for _, step in result.steps):
        kept = [part.untyped_storage().nbytes() for part in step.parts.values()]
        held = step.start if step.phase == "project" else step.stop
        assert sum(kept) == step.cache_bytes == a_token[kind] * held


def test_the_formula_shows_its_numbers() -> None:
    assert decode(DecodeParams()).formula == "2 × 2 groups × 8 × 12 tokens × 8 B = 3,072 B"
    assert (
        decode(DecodeParams(kind="mqa", dtype="bfloat16")).formula
        == "2 × 1 group × 8 × 12 tokens × 2 B = 384 B"
    )
    assert decode(DecodeParams(kind="mla")).formula == "(32 + 4) × 12 tokens × 8 B = 3,456 B"


# -------------------------------------------------------------------------------------- nothing is lost by it


@given(sizes, st.sampled_from(KINDS))
@settings(max_examples=15)
def test_in_float64_the_cache_is_exact_and_so_is_absorption(size: dict[str, Any], kind: str) -> None:
    result = decode(of(size, kind=kind))
    assert result.max_abs_error_cached <= EXACT
    assert (result.max_abs_error_absorbed is None) == (kind != "mla")
    assert (result.max_abs_error_absorbed or 0.0) <= EXACT


@given(
    st.sampled_from(KINDS),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from([{}, LARGEST, {"heads": 2, "groups": 1, "head_dim": 4, "latent_dim": 4, "rope_dim": 2}]),
    st.integers(0, 10**6),
)
@settings(max_examples=10)
def test_the_other_tolerances_hold_at_the_corners(
    kind: str, dtype: str, size: dict[str, int], seed: int
) -> None:
    params = read(DecodeParams, {"kind": kind, "dtype": dtype, "seed": str(seed)})[0]
    assert decode(params.model_copy(update=size)).passed


@pytest.mark.parametrize("attention", [grouped(), latent()], ids=["gqa", "mla"])
def test_where_the_prompt_ends_does_not_matter(attention: Any) -> None:
    hidden = hidden_states(12, 20)
    algorithm: Any = decode_latent if isinstance(attention, MultiHeadLatentAttention) else decode_grouped
    outputs = []
    for prefill in (1, 5, 11, 12):
        steps, output = watch(algorithm(attention, hidden, prefill))
        outputs.append(torch.stack(output) if isinstance(output, tuple) else output)
        assert sum(step.phase == "project" for _, step in steps) == 12 - prefill
    for output in outputs[1:]:
        assert (output - outputs[0]).abs().max() <= EXACT


def test_only_the_past_is_seen() -> None:
    attention, hidden = grouped(), hidden_states(8, 20)
    changed = torch.cat([hidden[:6], hidden_states(2, 20, seed=9)])
    outputs = [watch(decode_grouped(attention, states, 3))[1] for states in (hidden, changed)]
    assert torch.equal(outputs[0][:6], outputs[1][:6])
    assert (outputs[0][6:] - outputs[1][6:]).abs().max() > 0.01


def test_the_mask_is_aligned_at_the_last_token() -> None:
    seen = causal_softmax(torch.zeros(2, 4, dtype=torch.float64))
    assert torch.allclose(seen, torch.tensor([[1, 1, 1, 0], [0.75] * 4], dtype=torch.float64) / 3)


# ----------------------------------------------------------------------------------- against other programs


def test_bfloat16_is_summed_up_in_float32_and_rounded_once() -> None:
    ones, tiny = torch.ones(1, 257, dtype=torch.bfloat16), torch.full((257, 1), 2.0**-8, dtype=torch.bfloat16)
    tiny[0] = 1.0
    product = einsum("ij,jk->ik", ones, tiny)  # bfloat16 alone would leave 1 + 1/256 + ... at 1
    assert product.dtype == torch.bfloat16
    assert product.item() == 2.0


@pytest.mark.parametrize(("heads", "groups"), [(6, 6), (6, 3), (8, 2), (6, 1)])
def test_grouped_attention_equals_pytorch(heads: int, groups: int) -> None:
    attention, x = grouped(heads, groups), hidden_states(11, 20)
    q, k = (
        turned((x @ W.flatten(0, 1).T).unflatten(1, W.shape[:2]).transpose(0, 1))
        for W in (attention.W_Q, attention.W_K)
    )
    v = (x @ attention.W_V.flatten(0, 1).T).unflatten(1, (groups, 8)).transpose(0, 1)
    o = scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
    theirs = o.transpose(0, 1).flatten(1) @ attention.W_O.flatten(1).T
    _, ours = watch(decode_grouped(attention, x, 4))
    assert (ours - theirs).abs().max() <= EXACT
    assert (attention.without_cache(x) - theirs).abs().max() <= EXACT


def test_as_many_groups_as_heads_is_mha_and_one_is_mqa() -> None:
    for kind, groups in (("mha", 8), ("mqa", 1)):
        named, same = decode(DecodeParams(kind=kind)), decode(DecodeParams(kind="gqa", groups=groups))  # type: ignore[arg-type]
        assert as_json(named) == {**as_json(same)} | {"all_cache_bytes": named.all_cache_bytes}
        for (_, one), (_, other) in zip(named.steps, same.steps, strict=True):
            assert one.phase == other.phase
            assert all(torch.equal(one.parts[name], other.parts[name]) for name in one.parts)


def test_shared_heads_are_mha_with_the_same_head_given_to_each_of_the_group() -> None:
    shared, x = grouped(6, 2), hidden_states(9, 20)
    W_K, W_V = (W.repeat_interleave(3, dim=0) for W in (shared.W_K, shared.W_V))
    separate = replace(shared, W_K=W_K, W_V=W_V)
    difference = watch(decode_grouped(shared, x, 2))[1] - watch(decode_grouped(separate, x, 2))[1]
    assert difference.abs().max() <= EXACT


def deepseek(attention: MultiHeadLatentAttention, version: int) -> Any:
    """The attention of transformers with these weights."""
    name = f"deepseek_v{version}"
    configuration = pytest.importorskip(f"transformers.models.{name}.configuration_{name}")
    modeling = pytest.importorskip(f"transformers.models.{name}.modeling_{name}")
    heads, d, hidden_size = attention.W_Q.shape
    config = getattr(configuration, f"DeepseekV{version}Config")(
        hidden_size=hidden_size,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        q_lora_rank=None,
        kv_lora_rank=attention.W_UK.shape[2],
        qk_nope_head_dim=d,
        qk_rope_head_dim=attention.W_QR.shape[1],
        v_head_dim=d,
        head_dim=attention.W_QR.shape[1],
        attn_implementation="sdpa",
    )
    module = getattr(modeling, f"DeepseekV{version}Attention")(config, layer_idx=0).double()
    module.load_state_dict(
        {
            "q_proj.weight": torch.cat([attention.W_Q, attention.W_QR], 1).flatten(0, 1),
            "kv_a_proj_with_mqa.weight": torch.cat([attention.W_DKV, attention.W_KR]),
            "kv_a_layernorm.weight": attention.gain,
            "kv_b_proj.weight": torch.cat([attention.W_UK, attention.W_UV], 1).flatten(0, 1),
            "o_proj.weight": attention.W_O.flatten(1),
        }
    )
    return module


@pytest.mark.parametrize("version", [2, 3])
def test_latent_attention_equals_transformers(version: int) -> None:
    attention, x = latent(), hidden_states(10, 20)
    module = deepseek(attention, version)
    module.kv_a_layernorm = torch.nn.RMSNorm(12, eps=1e-6, dtype=torch.float64)  # theirs computes in float32
    module.kv_a_layernorm.weight = torch.nn.Parameter(attention.gain)
    # The pair (2i, 2i + 1) turns by t * theta^(-2i / d): complex numbers in version 2, cos and sin in version 3.
    angles = torch.outer(torch.arange(10).double(), 10_000.0 ** (-torch.arange(0, 6, 2).double() / 6))
    doubled = torch.cat([angles, angles], 1)[None]
    positions = (
        torch.polar(torch.ones_like(angles), angles)[None] if version == 2 else (doubled.cos(), doubled.sin())
    )
    with torch.no_grad():
        theirs = module(x[None], attention_mask=None, position_embeddings=positions)[0][0]
    _, (expanded, absorbed) = watch(decode_latent(attention, x, 3))
    tolerance = 1e-6 if version == 2 else EXACT  # version 2 turns in float32
    assert (expanded - theirs).abs().max() <= tolerance
    assert (absorbed - theirs).abs().max() <= tolerance
    assert (theirs - theirs.roll(1, 0)).abs().max() > 0.1  # the outputs differ clearly


# --------------------------------------------------------------------------------------------- the breaks


@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize(
    ("break_it", "red"),
    [
        ("rope_on_latent", {"absorbed"}),
        ("no_rope_dims", {"bytes", "cached"}),
        ("cache_before_norm", {"cached"}),
    ],
)
def test_each_break_turns_its_own_checks_red_and_no_other(break_it: str, red: set[str], dtype: str) -> None:
    settings = next(each.settings for each in BREAKS if each.name == break_it)
    broken = decode(DecodeParams(**settings, break_it=break_it, dtype=dtype))  # type: ignore[arg-type]
    assert {name for name, passed in errors(broken).items() if not passed} == red
    assert set(errors(broken)) == set(CLAIMS)
    assert not broken.passed
    assert decode(DecodeParams(**settings, dtype=dtype)).passed  # type: ignore[arg-type]


def test_every_break_has_its_settings_and_its_sentence() -> None:
    assert set(choices_of(DecodeParams, "break_it")) - {"none"} == {each.name for each in BREAKS}
    assert all(each.settings and each.consequence for each in BREAKS)


def test_what_each_break_does() -> None:
    forgotten = decode(DecodeParams(kind="mla", break_it="no_rope_dims"))
    assert forgotten.cache_bytes_formula - forgotten.cache_bytes_measured == 4 * 12 * 8
    assert forgotten.error_cached[0] <= EXACT  # a single key has weight 1, whatever its score
    assert forgotten.error_cached[1:].min() > 1e-3
    before_norm = decode(DecodeParams(kind="mla", break_it="cache_before_norm"))
    assert before_norm.error_cached.min() > 1e-3
    rotated = decode(DecodeParams(kind="mla", break_it="rope_on_latent"))
    assert rotated.error_absorbed is not None
    assert rotated.error_absorbed[0] <= EXACT  # position 0 is not turned at all
    assert rotated.error_absorbed[1:].min() > 1e-3


# -------------------------------------------------------------------------------------------- the settings


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"heads": 8, "groups": 3}, "groups", 2),
        ({"heads": 2, "groups": 8}, "groups", 2),
        ({"heads": 1, "groups": 2}, "groups", 1),
        ({"head_dim": 7}, "head_dim", 6),
        ({"rope_dim": 5}, "rope_dim", 4),
        ({"kind": "gqa", "break_it": "no_rope_dims"}, "break_it", "none"),
    ],
)
def test_what_does_not_fit_is_adjusted_and_said(given: dict[str, Any], field: str, value: Any) -> None:
    params, made = fit(DecodeParams(**given))
    assert [(one.field, one.value) for one in made] == [(field, value)]
    assert getattr(params, field) == value
    assert f"{field} = {given[field]}" in made[0].sentence


def test_a_break_stays_with_mla() -> None:
    params = DecodeParams(kind="mla", break_it="no_rope_dims")
    assert fit(params) == (params, [])


def test_a_seed_gives_the_same_run_and_leaves_torch_alone() -> None:
    state, dtype, threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
    first, again, other = (as_json(decode(DecodeParams(kind="mla", seed=seed))) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (dtype, threads)


# ------------------------------------------------------------------------------------------------ the steps


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_pauses_on_its_own_line(kind: str) -> None:
    result = decode(DecodeParams(kind=kind, tokens=3))  # type: ignore[arg-type]
    code, first = inspect.getsourcelines(decode_latent if kind == "mla" else decode_grouped)
    for line, step in result.steps:
        assert f'yield _moment("{step.phase}"' in code[line - first]
    a_token = ["project", "append", "attend", *(["absorb"] if kind == "mla" else [])]
    assert [step.phase for _, step in result.steps] == ["prefill", *a_token * 3]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_known_when_attended_and_sum_to_one(kind: str) -> None:
    for _, step in decode(DecodeParams(kind=kind)).steps:  # type: ignore[arg-type]
        if step.phase in ("project", "append"):
            assert step.weights is step.output is None
        else:
            assert step.weights is not None
            assert step.weights.shape == (8, step.stop)
            assert (step.weights.sum(1) - 1).abs().max() <= EXACT
