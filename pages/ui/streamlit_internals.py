"""Every private or young part of Streamlit that the site uses, in one place.

`tests/pages/test_streamlit_internals.py` says in words what an upgrade broke. One part stands elsewhere, because
Streamlit looks for it in the text of the script that it serves: `st.App` in `pages/ui/serve.py`.
"""

from __future__ import annotations

from collections.abc import Collection

from streamlit.components.v2 import component as component
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import get_script_run_ctx


def walked_through_history() -> bool:
    """Whether the browser's back or forward made this run. False outside of a run."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def this_run() -> object:
    """A mark of the run of the page or fragment that is going on, another one in each run. None outside of a run."""
    context = get_script_run_ctx()
    return None if context is None else context.cursors


def use_own_navigation() -> bool:
    """Keeps Streamlit from taking the folder named pages for its older kind of navigation.

    That one would run a page's script without app.py, until the first `st.navigation` of a process. Returns whether it
    was about to.
    """
    was_about_to = bool(PagesManager.uses_pages_directory)
    PagesManager.uses_pages_directory = False
    return was_about_to


def requested_page() -> str:
    """The name of the page in the address, "" for the default page or for one that is on the screen already."""
    context = get_script_run_ctx()
    if context is None or context.pages_manager.intended_page_script_hash:
        return ""
    return (context.pages_manager.intended_page_name or "").strip("/")


def show_default_page_unless(known: Collection[str]) -> str:
    """Leads an address without a page of ours to the default page, in place of Streamlit's dialog.

    known: the addresses of the pages. Returns the name that was asked for in vain, "" where there was none. Call it
    before `st.navigation`.
    """
    context, asked = get_script_run_ctx(), requested_page()
    if context is None or not asked:
        return ""
    context.pages_manager.set_script_intent("", asked if asked in known else "")
    return "" if asked in known else asked
