"""Gradient checkpointing: which activations training keeps for the backward pass, and what it computes again."""
