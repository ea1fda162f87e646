"""packing.run: unpadded equals padded, naive packing leaks, every break is seen, and transformers agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from explainers.contract.params import choices_of, fit, read
from explainers.contract.result import as_json
from explainers.drawing.panels import Marks, Strip
from explainers.models.head_counts import divisors, one_of, whole_groups
from explainers.packing.decoder_three_ways import (
    Layout,
    PackedDecoder,
    draw_documents,
    logits_of,
    padded,
    unpadded,
)
from explainers.packing.run import RunResult, run
from explainers.packing.run_params import BREAKS, RunParams
from explainers.packing.views.run import scene as run_scene
from explainers.packing.views.run_words import SEEN, SEEN_WITH_ROPE
from kernels.interpreter import triton_available
from tests.breaks import consequences_of, settings_of

SMALL: dict[str, Any] = {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 1, "vocab": 32}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"positions": "learned"},
        {"lengths": "1,2"},
        {"lengths": "2"},
        {"lengths": "0,5,0,3,0"},
        {"lengths": "30,1,1,17", "heads": 8, "kv_heads": 8, "head_dim": 8, "layers": 3, "seed": 5},
        {"lengths": "4 9,3", "heads": 4, "kv_heads": 1, "head_dim": 2, "vocab": 8},
    ],
)
def test_unpadded_is_padded_and_nothing_leaks(settings: dict) -> None:
    result = run(RunParams(**settings))
    assert result.passed, result.checks
    assert result.max_abs_logit_error <= 2e-5
    assert abs(result.loss_unpadded - result.loss_padded) <= 1e-6
    assert result.max_abs_grad_error <= 1e-5
    assert result.leak_unpadded == 0
    np.testing.assert_allclose(
        result.document_losses["unpadded"], result.document_losses["padded"], atol=2e-6
    )
    run_scene(result).to_bytes()


def test_naive_packing_leaks_into_later_documents_only() -> None:
    result = run(RunParams())
    naive = result.leak_by_document["packed_naive"]
    assert result.leak_naive > 0.01
    assert (np.triu(naive) > 0)[np.triu_indices(len(naive))].all()
    assert not np.tril(naive, -1).any()
    assert result.leak_unpadded == 0.0
    assert (np.diag(result.leak_by_document["unpadded"]) > 0).all()
    assert abs(result.loss_packed_naive - result.loss_padded) > 1e-3
    assert result.flops_unpadded < result.flops_packed_naive < result.flops_padded
    assert result.activation_bytes["unpadded"] < result.activation_bytes["padded"]
    assert result.cu_seqlens.tolist() == [0, 12, 17, 35, 38, 47, 54]


def without_times(result: RunResult) -> dict:
    return {name: value for name, value in as_json(result).items() if name != "seconds"}


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first, second, other = (without_times(run(RunParams(**SMALL, seed=seed))) for seed in (1, 1, 2))
    assert first == second
    assert first["loss_padded"] != other["loss_padded"]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_an_empty_document_changes_nothing() -> None:
    with_empty, without = run(RunParams(lengths="0,5,0,3,0")), run(RunParams(lengths="5,3"))
    assert with_empty.loss_unpadded == without.loss_unpadded
    assert with_empty.cu_seqlens.tolist() == [0, 0, 5, 5, 8, 8]
    assert with_empty.flops_unpadded == without.flops_unpadded
    assert np.isnan(with_empty.document_losses["unpadded"][[0, 2, 4]]).all()


# ----------------------------------------------------------------------------------------------------- picture


def test_documents_count_from_0_everywhere_and_an_empty_one_shows_its_boundary_twice() -> None:
    scene = run_scene(run(RunParams(lengths="0,5,3", **SMALL)))
    panels = {panel.name: panel for panel in scene.panels()}
    padded, row, losses = panels["padded"], panels["unpadded"], panels["losses"]
    assert isinstance(padded, Strip)
    assert isinstance(row, Strip)
    assert isinstance(losses, Marks)
    assert padded.row_names == ("0", "1", "2")
    assert padded.texts[:2] == row.texts[:2] == ("1", "2")
    assert padded.notes[0] == "document 1: 5 tokens"
    assert losses.y.ticks == (0, 1, 2)
    assert row.ruler == ((0, "0, 0"), (5, "5"), (8, "8"))
    assert scene.words.values[5:-1, 10].tolist() == [1, 2]  # documents that change a token


def test_losses_have_numbers_at_their_axis_and_lie_within_it() -> None:
    for lengths in ("12,5,18,3,9,7", "2", "9,9,9"):
        result = run(RunParams(lengths=lengths, **SMALL))
        (losses,) = (panel for panel in run_scene(result).panels() if panel.name == "losses")
        assert isinstance(losses, Marks)
        values = np.concatenate(list(result.document_losses.values()))
        assert losses.x.low < np.nanmin(values)
        assert np.nanmax(values) < losses.x.high
        assert 2 <= len(losses.x.ticks) <= 8
        assert losses.x.low <= min(losses.x.ticks)
        assert max(losses.x.ticks) <= losses.x.high


@pytest.mark.parametrize("lengths", [(12, 5, 18, 3, 9, 7), (32,) * 16, (0, 9, 1)])
def test_the_estimate_counts_the_pairs_that_each_way_scores(lengths: tuple[int, ...]) -> None:
    pairs = RunParams(lengths=",".join(map(str, lengths))).pairs
    longest, tokens = max(lengths), sum(lengths)
    squares = sum(length * length for length in lengths)
    assert pairs == {"padded": len(lengths) * longest**2, "packed_naive": tokens**2, "unpadded": squares}


# ------------------------------------------------------------------------------------------------------ breaks


def failed(result: RunResult) -> set[int]:
    return {number for number, check in enumerate(result.checks) if not check.passed}


LOGITS, LOSS, GRADIENTS, LEAK, TOKENS, POSITIONS, FLOPS = range(7)


@pytest.mark.parametrize(
    ("break_it", "red"),
    [
        ("cu_seqlens_off_by_one", {LOGITS, LOSS, GRADIENTS, LEAK, FLOPS}),
        ("seam_labels", {LOSS, GRADIENTS}),
        ("pad_is_eos", {LOGITS, LOSS, GRADIENTS, TOKENS, FLOPS}),
        ("positions_not_reset", {LOGITS, LOSS, GRADIENTS, POSITIONS}),
    ],
)
def test_every_break_is_seen_where_it_bites(break_it: str, red: set[int]) -> None:
    params = RunParams(**settings_of(BREAKS)[break_it], break_it=break_it)  # type: ignore[arg-type]
    assert fit(params) == (params, [])
    assert run(RunParams(**settings_of(BREAKS)[break_it])).passed
    broken = run(params)
    assert failed(broken) == red
    assert shown_at_the_opening(broken) == SEEN[break_it]
    run_scene(broken).to_bytes()


def shown_at_the_opening(result: RunResult) -> str:
    """The sentence at the step at which a fresh reader arrives."""
    scene = run_scene(result)
    return scene.words.sentences[scene.words.which[scene.start]]


def test_a_fresh_reader_sees_the_whole_run_and_a_break_opens_where_it_is_seen() -> None:
    whole = run_scene(run(RunParams(**SMALL)))
    assert whole.start == whole.steps - 1
    broken = [
        RunParams.model_validate({**settings, "break_it": name})
        for name, settings in settings_of(BREAKS).items()
    ]
    steps: dict[str, int] = {params.break_it: run_scene(run(params)).start for params in broken}
    last = steps.pop("cu_seqlens_off_by_one")
    assert last == whole.steps - 1
    assert steps == {"seam_labels": 3, "pad_is_eos": 2, "positions_not_reset": 3}


def test_lost_tokens_are_drawn_behind_those_that_the_unpadded_row_keeps() -> None:
    strip = strip_of(run(RunParams(lengths="5,3,4", break_it="pad_is_eos", **SMALL)), "unpadded")
    assert strip.capacity == 12
    assert (strip.start[-1], strip.length[-1], strip.hue[-1], strip.notes[-1]) == (
        9,
        3,
        -3,
        "lost: 3 real tokens",
    )
    assert -3 not in strip_of(run(RunParams(lengths="5,3,4", **SMALL)), "unpadded").hue


def strip_of(result: RunResult, name: str) -> Strip:
    (strip,) = (
        panel for panel in run_scene(result).panels() if panel.name == name and isinstance(panel, Strip)
    )
    return strip


def test_every_break_says_where_it_bites_and_what_is_lost() -> None:
    assert (
        set(choices_of(RunParams, "break_it")) - {"none"}
        == set(settings_of(BREAKS))
        == set(consequences_of(BREAKS))
    )


def test_with_rope_positions_that_run_on_are_wrong_and_do_no_harm() -> None:
    result = run(RunParams(break_it="positions_not_reset"))
    assert shown_at_the_opening(result) == SEEN_WITH_ROPE
    assert failed(result) == {POSITIONS}
    assert result.max_abs_logit_error <= 2e-5
    assert any("RoPE" in note for note in result.notes)


# -------------------------------------------------------------------------------------------------- references


def test_transformers_llama_with_the_same_weights_gives_the_padded_and_unpadded_logits() -> None:
    transformers = pytest.importorskip("transformers")
    params = RunParams(lengths="7,1,0,4")
    sizes, lengths = params.sizes, params.document_lengths
    draw = torch.Generator().manual_seed(3)
    ours = PackedDecoder(sizes, sum(lengths), draw)
    ids = draw_documents(lengths, sizes.vocab, draw)
    config = transformers.LlamaConfig(
        vocab_size=sizes.vocab, hidden_size=sizes.hidden, intermediate_size=sizes.intermediate,
        num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads, num_key_value_heads=sizes.kv_heads,
        head_dim=sizes.head_dim, rms_norm_eps=1e-5, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    weights = {"model.embed_tokens.weight": ours.embedding, "model.norm.weight": ours.norm.gain}
    weights["lm_head.weight"] = ours.head
    parts = {"self_attn.q_proj": "W_Q", "self_attn.k_proj": "W_K", "self_attn.v_proj": "W_V", "self_attn.o_proj": "W_O",
             "mlp.gate_proj": "W_gate", "mlp.up_proj": "W_up", "mlp.down_proj": "W_down"}  # fmt: skip
    for layer, block in enumerate(ours.blocks):
        prefix = f"model.layers.{layer}"
        weights |= {f"{prefix}.{name}.weight": getattr(block, part) for name, part in parts.items()}
        weights[f"{prefix}.input_layernorm.weight"] = block.norm_1.gain  # type: ignore[union-attr]
        weights[f"{prefix}.post_attention_layernorm.weight"] = block.norm_2.gain  # type: ignore[union-attr]
    theirs.load_state_dict({name: weight.detach() for name, weight in weights.items()}, strict=True)

    with torch.no_grad():
        alone = [theirs(part[None]).logits[0] for part in ids.split(lengths) if len(part)]

        def logits(layout: Layout) -> torch.Tensor:
            return layout.by_token(logits_of(ours, layout, ids), len(ids))

        for layout in (padded(lengths, sizes.kv_heads), unpadded(lengths, ids, "torch")):
            assert (logits(layout) - torch.cat(alone)).abs().max() <= 2e-5


@pytest.mark.skipif(not triton_available(), reason="Triton exists for Linux only")
def test_the_triton_kernel_runs_it_forward_and_backward() -> None:
    result = run(RunParams(**SMALL, lengths="4,0,3", backend="triton"))
    assert result.passed, result.checks
    assert any("interpreted" in note for note in result.notes)


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("lengths", "says"),
    [
        ("5,two", "'two'"),
        ("5,-3", "'-3'"),
        ("5,2.5", "'2.5'"),
        ("129", "from 0 to 128"),
        ("", "1 to 16 documents"),
        (",".join(["1"] * 17), "1 to 16 documents"),
        (",".join(["64"] * 9), "at most 512 tokens"),
        ("128" + ",1" * 8, "at most 1024 places"),
        ("1,1,0", "2 or more"),
        ("1," * 500, "500"),
    ],
)
def test_bad_lengths_are_named_in_one_sentence(lengths: str, says: str) -> None:
    with pytest.raises(ValidationError):
        RunParams(lengths=lengths)
    params, (problem,) = read(RunParams, {"lengths": lengths})
    assert params == RunParams()
    assert problem.sentence.startswith("lengths = ")
    assert says in problem.sentence or "at most 200 characters" in problem.sentence


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"head_dim": 15}, {"head_dim": 14}),
        ({"head_dim": 8, "backend": "triton"}, {"head_dim": 16}),
        ({"layers": 6, "backend": "triton"}, {"layers": 4}),
        ({"lengths": "100,0,20,50,3", "backend": "triton"}, {"lengths": "100,0,20,8"}),
        ({"heads": 6, "kv_heads": 4}, {"kv_heads": 3}),
        ({"lengths": "5,0", "break_it": "seam_labels"}, {"break_it": "none"}),
    ],
)
def test_rules_across_fields(settings: dict, changed: dict) -> None:
    params, made = fit(RunParams(**settings))
    assert {one.field: one.value for one in made} == changed
    assert all(getattr(params, name) == value for name, value in changed.items())
    assert all(one.sentence.startswith(f"{one.field} = ") and "allowed: " in one.sentence for one in made)


def test_what_takes_long_asks_for_its_button() -> None:
    assert not RunParams().needs_button
    assert RunParams(backend="triton").needs_button
    assert RunParams(lengths="32," * 16, layers=4, hidden=128, heads=8, head_dim=32, vocab=1024).needs_button
    # measured: 0.95 s and 1.8 s with a long padded row for each of many short documents, 0.35 s with sixteen of 20
    many_short = "64," * 6 + "12," * 10
    assert RunParams(lengths=many_short)._estimated_seconds > 0.6
    assert RunParams(lengths=many_short, layers=4).needs_button
    assert not RunParams(lengths="20," * 16).needs_button


@pytest.mark.parametrize(
    ("groups", "heads", "allowed", "fits", "says"),
    [(3, 4, "", 2, "kv_heads = 3 does not divide heads = 4; allowed: divisors of 4."),
     (5, 7, "", 1, "kv_heads = 5 does not divide heads = 7; allowed: divisors of 7."),
     (8, 4, "1, 2 or 4", 4, "kv_heads = 8 does not divide heads = 4; allowed: 1, 2 or 4.")],
)  # fmt: skip
def test_groups_that_do_not_divide_the_heads_become_the_next_that_do(
    groups: int, heads: int, allowed: str, fits: int, says: str
) -> None:
    (made,) = whole_groups("kv_heads", groups, heads, allowed)
    assert (made.field, made.value, made.sentence) == ("kv_heads", fits, says)
    assert not list(whole_groups("kv_heads", fits, heads))
    assert one_of(divisors(4, 4)) == "1, 2 or 4"
    assert one_of([7]) == "7"
