"""Decoders that topics share: shapes, layers, caches."""
