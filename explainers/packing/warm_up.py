"""What a server does for packing before the first reader comes."""

from __future__ import annotations

import importlib


def warm_up() -> None:
    """Imports the solver of the packers that plan, which takes about a second."""
    importlib.import_module("scipy.optimize")
