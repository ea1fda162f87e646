"""A grid world as a JSON file: saved, and read back with a sentence for each value that is not accepted."""

from __future__ import annotations

import json

import streamlit as st

from explainers.contract.messages import Message
from explainers.contract.params import as_text, read
from explainers.grid_world.world_params import WorldParams
from pages.ui.player.mount import queue_toast
from pages.ui.settings.controls import Settings

PASTED = "_pasted_world"
LONGEST = 200_000  # characters


def import_and_export(settings: Settings) -> None:
    """A button that saves the world, after all changes, and a field to paste one."""
    now = settings.params().now.model_dump(include=set(WorldParams.model_fields))
    st.download_button(
        "World as JSON", json.dumps(now, indent=2), "world.json", "application/json", key="save_world"
    )
    label = "Paste a world as JSON"
    st.text_area(label, key=PASTED, height=90, max_chars=LONGEST, on_change=_use_pasted, args=(settings,))


def _use_pasted(settings: Settings) -> None:
    """Begins a new run in the pasted world."""
    try:
        pasted = json.loads(st.session_state[PASTED])
    except (ValueError, RecursionError):  # lists within lists within lists
        queue_toast(Message("Not valid JSON. Paste a file saved by “World as JSON”."))
        return
    if not isinstance(pasted, dict):
        queue_toast(Message("Not a JSON object. Paste a file saved by “World as JSON”."))
        return
    texts = {str(name): as_text(value) for name, value in pasted.items()}
    params, problems = read(WorldParams, texts)
    for problem in problems[:3]:
        queue_toast(problem.sentence)
    if not problems:
        settings.put(params.model_dump() | {"changes": ""})
