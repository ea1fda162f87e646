"""Tests of explainers/packing."""
