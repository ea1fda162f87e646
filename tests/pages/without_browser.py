"""Pages opened and run without a browser, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]


def run(changed: Any) -> AppTest:
    """Runs the page again after `changed`, the page itself or one of its controls."""
    page = changed.run()
    assert not page.exception
    return page


def sentences(page: AppTest) -> list[str]:
    return [line.value for line in page.text]


def query(page: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def open_page(path: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in query.items():
        page.query_params[name] = value
    return run(page if path == "pages/home.py" else page.switch_page(path))
