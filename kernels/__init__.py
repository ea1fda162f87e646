"""Triton attention kernels of Lantern, their launchers, and the worker that interprets them without a GPU.

Imports torch, triton, numpy and the standard library only. Importing this package loads none of them: torch
comes with `kernels.flash_attention`, triton with the first launch on a GPU (or inside the worker program).
"""
