"""Tests of explainers/checkpointing."""
