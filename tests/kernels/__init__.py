"""Tests of the Triton kernels and of the worker that interprets them."""
