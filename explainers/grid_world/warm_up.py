"""What a server does for the grid world before the first reader comes."""

from __future__ import annotations

from explainers.grid_world import compiled


def warm_up() -> None:
    """Compiles the agents; runs before that have no twin to be checked against."""
    compiled.ready()  # begins to compile
    compiled.wait()
