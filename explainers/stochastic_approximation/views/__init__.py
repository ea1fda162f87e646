"""Results of stochastic approximation as pictures."""
