"""Flash attention, one tile at a time: the lesson, from the grid of tiles to the race."""

from __future__ import annotations

import streamlit as st

from explainers.experiment import fit
from explainers.flash_attention import backward, online_softmax, tiles
from explainers.flash_attention.loop_orders import LoopOrdersParams
from explainers.flash_attention.traffic import TrafficParams
from kernels.interpreter import triton_available
from pages.ui import breaking, checks, controls, flash_attention_parts, page, predict, run, share, source
from pages.ui.player.mount import Click, play
from pages.ui.prose import prose

words = prose("flash_attention")
settings = controls.settings(
    tiles.TilesParams,
    softmax=online_softmax.OnlineSoftmaxParams,
    traffic=TrafficParams,
    orders=LoopOrdersParams,
    backward=backward.BackwardParams,
)
