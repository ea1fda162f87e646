"""The numbers in the sentences of flash attention, by the names of their columns."""

from __future__ import annotations

import numpy as np
import pytest

from explainers.flash_attention.online_softmax import OnlineSoftmaxParams, online_softmax
from explainers.flash_attention.tiles import TilesParams, tiles
from explainers.flash_attention.views import online_softmax as softmax_view
from explainers.flash_attention.views.tile_words import tile_words


@pytest.mark.parametrize(("break_it", "rescaled"), [("none", True), ("no_rescale", False)])
def test_the_tiles_words_show_the_alpha_used_and_the_correct_one(break_it: str, rescaled: bool) -> None:
    result = tiles(TilesParams.model_validate({"break_it": break_it, "block_k": 16}))
    words, _ = tile_words(result)
    rises = np.isfinite(words.column("m_before")) & (words.column("m") > words.column("m_before"))
    correct = np.exp(words.column("m_before")[rises] - words.column("m")[rises])
    assert rises.any()
    assert words.column("true_alpha")[rises] == pytest.approx(correct, rel=1e-5)
    assert np.allclose(words.column("alpha")[rises], correct if rescaled else 1, rtol=1e-5)
    assert words.column("moved")[-1] == result.bytes_moved


def test_the_online_softmax_words_show_the_scores_of_their_block() -> None:
    result = online_softmax(OnlineSoftmaxParams(scores="1 5 2 7 3", block=2, outlier=0))
    words = softmax_view.scene(result).words
    assert words is not None
    blocks = [np.flatnonzero(words.column("block") == block)[0] for block in range(3)]
    shown = [words.column(name)[blocks].tolist() for name in ("first", "last", "block_max")]
    assert shown == [[0, 2, 4], [1, 3, 4], [5, 7, 3]]
    assert words.column("lse")[-1] == pytest.approx(np.log(np.exp([1, 5, 2, 7, 3]).sum()), rel=1e-6)
