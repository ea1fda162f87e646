"""Tests of explainers/grid_world."""
