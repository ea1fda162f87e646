"""Packing and padding removal: how documents of unequal length share sequences, and how a model sees only real tokens."""
