"""The contract: Params, experiments, Results and checks, messages."""
