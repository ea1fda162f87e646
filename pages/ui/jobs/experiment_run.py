"""An experiment for a page: at once and cached, or by a button where it takes long."""

from __future__ import annotations

from collections.abc import Generator

import streamlit as st

from explainers.contract.params import Params
from kernels.interpreter import interpreter, run_as
from pages.ui.jobs import cache, errors, long_run
from pages.ui.jobs.long_run import Progress
from pages.ui.jobs.prepared_run import PreparedRun
from pages.ui.jobs.separate_process import run_in_process


def prepared_or_offered(name: str, params: Params) -> PreparedRun | None:
    """Experiment `name`, run or taken from the cache; a long run is offered by a button.

    None until the button's run has ended, and after an error, which the page then shows.
    """
    if params.needs_button:
        return _by_button(name, params)
    try:
        return cache.prepared(name, params)
    except Exception as error:
        errors.report(error, name)
        return None


def _by_button(name: str, params: Params) -> PreparedRun | None:
    st.caption(params.why_button)
    if getattr(params, "backend", "") != "triton":
        return long_run.result_of(name, params, lambda: run_in_process(name, params))
    owner = f"{name} {id(st.session_state)} {params.model_dump_json()}"

    def interpreted() -> Generator[Progress, None, PreparedRun]:
        """Runs in this process: the slow part is in the interpreter's own process, which is warm and can be ended."""
        yield 0.05, "computing"
        with run_as(owner):
            return cache.prepared(name, params)

    return long_run.result_of(name, params, interpreted, on_stop=lambda: interpreter.cancel(owner))
