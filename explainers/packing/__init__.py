"""Packing and padding removal: documents that share sequences, and a model that sees real tokens only."""
