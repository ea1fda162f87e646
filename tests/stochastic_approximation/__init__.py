"""Tests of explainers/stochastic_approximation."""
