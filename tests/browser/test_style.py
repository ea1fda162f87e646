"""The contract of the site with Streamlit's document: every element of Streamlit's that it names is on a page."""

from __future__ import annotations

import re
from pathlib import Path

from pages.ui.chapter import MORE
from tests.browser.reader import Reader

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "pages/ui/style.css"
PLAYER = ROOT / "explainers/player/streamlit.js"  # which hands Streamlit's elements to the player
# Names that Streamlit gives: test ids, and classes such as .stSlider (.st-key-* are those of our own keys).
NAMED = re.compile(r'\[data-testid="?(st\w+)"?\]|\.(st[A-Z]\w+)|\.(react-aria-\w+)')
# A page with each kind of element, and what to open on it.
PAGES = (
    ("/kv_cache", "Engine"),
    ("/stochastic_approximation", MORE),
    ("/packing", ""),
    ("/grid_world", "The world"),
    ("/kv_cache?batch=nonsense", ""),
    ("/flash_attention?chapter=traffic", ""),
)


def selectors(source: str) -> set[str]:
    """The selectors of single elements of Streamlit's in a source."""
    found = [match.groups() for match in NAMED.finditer(source)]
    return {f'[data-testid="{test_id}"]' if test_id else f".{own or aria}" for test_id, own, aria in found}


def test_every_element_that_the_style_names_is_on_a_page(reader: Reader) -> None:
    missing = {name for file in (STYLE, PLAYER) for name in selectors(file.read_text(encoding="utf-8"))}
    assert len(missing) > 20
    for address, button in PAGES:
        reader.open(address)
        if button:
            reader.page.get_by_test_id("stMain").get_by_role("button", name=button).first.click()
            reader.page.get_by_test_id("stPopoverBody").locator("[class*=st-key-controls-]").wait_for()
        missing = {one for one in missing if not reader.page.locator(one).count()}
    assert not missing, f"Streamlit no longer has {sorted(missing)}: our style and player find nothing there"


def test_the_names_stand_in_two_files_only() -> None:
    places = [*(ROOT / "pages").rglob("*"), *(ROOT / "explainers").rglob("*")]
    sources = [path for path in places if path.suffix in (".py", ".js", ".css")]
    assert {path for path in sources if NAMED.search(path.read_text(encoding="utf-8"))} == {STYLE, PLAYER}
