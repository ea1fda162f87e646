"""Tests of explainers/flash_attention."""
