"""Exact attention that never holds the whole score matrix: tiles, online softmax, and what they save in memory traffic."""
