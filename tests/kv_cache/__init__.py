"""Tests of explainers/kv_cache."""
