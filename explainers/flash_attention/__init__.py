"""Exact attention that never holds the whole score matrix: tiles, online softmax, and the traffic they save."""
