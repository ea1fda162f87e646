"""Decoder models that topics share: shapes, layers, blocks, cache."""
