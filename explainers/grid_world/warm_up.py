"""Prepares the grid world when a server starts."""

from __future__ import annotations

from explainers.grid_world import compiled


def warm_up() -> None:
    """Compiles the agents: before that, runs are slow and cannot be compared with the compiled ones."""
    compiled.ready()  # begins to compile
    compiled.wait()
