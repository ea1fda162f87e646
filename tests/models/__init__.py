"""Tests of explainers/models."""
