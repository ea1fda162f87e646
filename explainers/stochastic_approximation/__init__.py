"""Stochastic approximation: from a running mean to temporal differences, by one update."""
