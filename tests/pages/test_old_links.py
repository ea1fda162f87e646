"""Links that were shared before the pages became lists of chapters: each still shows what it showed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.pages.without_browser import open_page, sentences

# page, what its link said, the chapter on the screen, the prefix of its settings, and what was set
LINKS: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("flash_attention", "seq_len=128&block_k=32&outlier=20&row=99", "tiles", "", {"seq_len": 128, "block_k": 32}),
    ("flash_attention", "kv_len=96&break_it=top_left&step=3", "tiles", "", {"break_it": "top_left"}),
    ("flash_attention", "chapter=softmax&softmax.length=24&softmax.outlier=4", "softmax", "softmax", {"length": 24}),
    ("flash_attention", "chapter=traffic&traffic.seq_len=4096", "traffic", "traffic", {"seq_len": 4096}),
    ("flash_attention", "chapter=backward&backward.causal=false", "backward", "backward", {"causal": False}),
    ("kv_cache", "models=llama-65b,llama-2-70b&seq_len=4096", "compare", "", {"seq_len": 4096}),
    ("kv_cache", "tensor_parallel=32&dtype=q4_0", "compare", "", {"tensor_parallel": 32}),
    ("kv_cache", "chapter=sharing&sharing.kind=mla&sharing.seed=3", "sharing", "sharing", {"kind": "mla", "seed": 3}),
    ("kv_cache", "chapter=fit&fit.gpu=h200-141gb&fit.batch=8", "fit", "fit", {"gpu": "h200-141gb", "batch": 8}),
    ("checkpointing", "strategy=custom&kept=1,3,6&layers=8&step=4", "schedule", "", {"kept": (1, 3, 6), "layers": 8}),
    ("checkpointing", "chapter=law&law.layers=64&law.ratio=1", "law", "law", {"layers": 64, "ratio": 1.0}),
    ("checkpointing", "chapter=optimal&optimal.budget=40", "optimal", "optimal", {"budget": 40}),
    ("packing", "strategy=wrap&versus=best_fit&count=32&seed=3", "pack", "", {"strategy": "wrap", "count": 32}),
    ("packing", "chapter=unpad&unpad.lengths=5,2;3,1", "unpad", "unpad", {"lengths": "5,2;3,1"}),
    ("packing", "chapter=run&run.lengths=9,9,9&run.positions=learned", "run", "run", {"positions": "learned"}),
    ("grid_world", "preset=cliff&algorithm=sarsa&seed=4", "learn", "", {"preset": "cliff", "algorithm": "sarsa"}),
    ("grid_world", "preset=zhao_5x5&changes=300:r_forbidden=-10", "learn", "", {"changes": "300:r_forbidden=-10"}),
    ("grid_world", "chapter=plan&plan.algorithm=mc_basic&plan.episode_length=4", "plan", "plan", {"episode_length": 4}),
    ("stochastic_approximation", "chapter=search&function=cubic&w1=2", "search", "", {"function": "cubic", "w1": 2.0}),
    ("stochastic_approximation", "chapter=search&step_rule=constant&c=0.1", "search", "", {"c": 0.1}),
    ("stochastic_approximation", "mean.w1=4&mean.sigma=2&c=0.5", "mean", "mean", {"w1": 4.0, "sigma": 2.0, "c": 0.5}),
    ("stochastic_approximation", "chapter=sgd&sgd.seeds=50&p=0.5", "sgd", "sgd", {"seeds": 50, "p": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "query", "chapter", "prefix", "expected"), LINKS)
def test_an_old_link_shows_what_it_showed(
    topic: str, query: str, chapter: str, prefix: str, expected: dict[str, Any]
) -> None:
    page = open_page(f"pages/{topic}.py", **dict(parse_qsl(query)))
    assert not [line for line in sentences(page) if "ignored" in line or "not accepted" in line]
    params = page.session_state["_shown"][topic].params
    assert params["_page"].chapter == chapter
    assert {name: getattr(params[prefix], name) for name in expected} == expected


def test_there_are_links_of_every_page_and_twenty_in_all() -> None:
    assert len(LINKS) >= 20
    assert len({topic for topic, *_ in LINKS}) == 6
