"""The published and recomputed values of reinforcement learning, by their ids: `tests/oracles/grid_world.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "oracles" / "grid_world.json"
ROWS: dict[str, dict[str, Any]] = {
    row["id"]: row for row in json.loads(_FILE.read_text(encoding="utf-8"))["oracles"]
}
