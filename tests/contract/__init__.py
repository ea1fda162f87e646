"""Tests of the contract: Params, experiments, Results, messages, and what every experiment answered before."""
