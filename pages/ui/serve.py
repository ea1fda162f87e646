"""The server: `python -m streamlit run pages/ui/serve.py` warms up what is slow before the first reader comes.

`python -m streamlit run app.py` serves the same site; its first reader then waits for torch.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from pages.ui.jobs import warm_up
from pages.ui.log import OncePerMinute
from pages.ui.streamlit_internals import filter_log, use_own_navigation


@asynccontextmanager
async def lifespan(_: Any) -> AsyncIterator[None]:
    """Starts the warming once the server is up."""
    entries = OncePerMinute()
    filter_log(entries)
    if logging.lastResort is not None:  # where our own loggers write
        logging.lastResort.addFilter(entries)
    use_own_navigation()  # before the first reader
    warm_up.start()
    yield


app = st.App(Path(__file__).parents[2] / "app.py", lifespan=lifespan)
