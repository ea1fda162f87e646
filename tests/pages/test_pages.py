"""Every page of app.py as a reader's browser runs it, without the browser: addresses, controls, sentences."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.runtime.fragment import MemoryFragmentStorage
from streamlit.testing.v1 import AppTest

from explainers.contract.experiment import find
from pages.ui.jobs import background
from pages.ui.prose import prose
from pages.ui.topics import TOPICS
from tests.pages.chapters import chapters_of
from tests.pages.without_browser import ROOT, open_page, query, run, sentences

TOPICS_WITH_CHAPTERS = [topic.name for topic in TOPICS]
PAGES = ["pages/home.py", *(f"pages/{topic.name}.py" for topic in TOPICS)]


pytestmark = pytest.mark.usefixtures("own_navigation")


# ----------------------------------------------------------------------------------------------- the real pages


def chapters(path: str) -> list[str]:
    """The keys of a page's chapters; one without a name for the home page."""
    topic = path.removeprefix("pages/").removesuffix(".py")
    return [chapter.key for chapter in chapters_of(topic)] if topic in TOPICS_WITH_CHAPTERS else [""]


@pytest.mark.parametrize(
    ("path", "chapter"), [(path, chapter) for path in PAGES for chapter in chapters(path)]
)
def test_every_chapter_of_every_page_runs(path: str, chapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A fragment inside a fragment can blank the page (lesson.cards says how). Background runs are waited for.
    monkeypatch.setattr(background, "WAIT_AT_MOST", 60)
    inner: list[str] = []
    register = MemoryFragmentStorage.register

    def spied(self: Any, key: str, fragment: Any, **more: Any) -> None:
        if more.get("parent_fragment_id"):
            inner.append(key)
        register(self, key, fragment, **more)

    monkeypatch.setattr(MemoryFragmentStorage, "register", spied)
    page = open_page(path, **({"chapter": chapter} if chapter else {}))
    assert page.title
    assert not inner
    assert not [line for line in sentences(page) if "This run failed" in line or "is not accepted" in line]


def test_every_page_has_a_topic_and_every_topic_a_page() -> None:
    assert sorted(path.name for path in (ROOT / "pages").glob("*.py") if path.stem != "__init__") == sorted(
        path.removeprefix("pages/") for path in PAGES
    )


def test_every_topic_has_a_card_on_the_home_page() -> None:
    home = open_page("pages/home.py")
    linked = [link.proto.label for link in home.main.get("page_link") if link.proto.label.startswith("**")]
    assert [topic.title for topic in TOPICS] == [label.strip("*→ ") for label in linked]
    for topic in TOPICS:
        known = find(topic.card)
        assert known.has_card
        assert known.params(**topic.card_settings)
        assert prose(topic.name)["card"] in [words.value for words in home.markdown]


def test_one_control_of_the_step_size_drives_every_chapter() -> None:
    page = open_page("pages/stochastic_approximation.py", chapter="mean")
    run(page.slider(key="mean.c").set_value(0.5))
    assert query(page)["c"] == "0.5"
    assert "mean.c" not in query(page)
    for chapter, key in (("search", "c"), ("sgd", "sgd.c"), ("bridge", "bridge.c")):
        other = open_page("pages/stochastic_approximation.py", chapter=chapter, c="0.5")
        assert other.slider(key=key).value == 0.5
        assert not sentences_ignored(other)


def test_a_function_that_cannot_be_read_stays_to_be_mended() -> None:
    page = open_page("pages/stochastic_approximation.py", chapter="search")
    run(page.text_input(key="g").set_value("2w + 1"))
    told = [one for one in sentences(page) if "a product needs its sign" in one]
    assert len(told) == 1
    assert "'2w + 1' is not accepted; allowed: numbers, w, " in told[0]
    assert page.text_input(key="g").value == "2w + 1"
    run(page.text_input(key="g").set_value("2*w + 1"))
    assert query(page)["g"] == "2*w + 1"


def sentences_ignored(page: AppTest) -> list[str]:
    return [one for one in sentences(page) if "ignored" in one]


@pytest.mark.parametrize("path", [path for path in PAGES if path != "pages/home.py"])
def test_every_page_answers_an_address_that_it_does_not_know(path: str) -> None:
    page = open_page(path, nonsense="<script>alert(1)</script>", step="-1")
    told = " ".join(sentences(page))
    assert "'nonsense' is not a setting of this page" in told
    assert "step = '-1' is not accepted" in told


def test_flash_attention_says_what_it_ignored_of_a_hostile_address() -> None:
    page = open_page("pages/flash_attention.py", seq_len="1e9", block_q="-3", causal="maybe", seed="<script>")
    told = [line for line in sentences(page) if "is not accepted" in line]
    assert [line.split(" = ")[0] for line in told] == ["seq_len", "block_q", "causal", "seed"]
    assert all(line.count("The page uses") == 1 for line in told)


@pytest.mark.parametrize(
    ("pasted", "key"),
    [
        ("not json", "config.json"),
        ("[]", "config.json"),
        ('{"hidden_size": 64}', "num_hidden_layers"),
        ('{"model_type": "llama", "num_hidden_layers": -1}', "num_hidden_layers"),
        ('{"n": "' + "x" * 5_000_000 + '"}', "at most 200,000 characters"),
    ],
)
def test_a_config_that_cannot_be_counted_gets_a_sentence_and_nothing_is_lost(pasted: str, key: str) -> None:
    page = open_page("pages/kv_cache.py", batch="4")
    run(page.text_area(key="config").set_value(pasted))
    told = [line for line in sentences(page) if "is not accepted" in line]
    assert len(told) == 1
    assert told[0].startswith("A config.json = ")
    assert key in told[0]
    assert len(told[0]) < 400
    assert page.select_slider(key="batch").value == 4
    assert page.text_area(key="config").value == pasted


def test_a_config_is_counted_beside_the_others() -> None:
    page = open_page("pages/kv_cache.py")
    config = (ROOT / "explainers/kv_cache/catalogue.json").read_text(encoding="utf-8")
    known = next(one for one in json.loads(config) if one["title"] == "Gemma-3-27b")
    run(page.text_area(key="config").set_value(json.dumps(known["config"])))
    assert not [line for line in sentences(page) if "not accepted" in line]
    assert any("config.json" in table.value and "507,904 B" in table.value for table in page.markdown)


def test_the_first_numbers_of_the_kv_cache_need_no_torch() -> None:
    """In a separate process: the modules behind the page, its first result and its picture."""
    code = """
import sys
from explainers.contract.experiment import find
import explainers.kv_cache.decode_params, explainers.kv_cache.fit, explainers.kv_cache.roofline
compare = find("kv_cache.compare")
compare.scene(compare(compare.params())).to_bytes()
print(sorted({"torch", "triton", "plotly", "pandas"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_home_page_needs_neither_torch_nor_plotly() -> None:
    """Its imports, and those of what they import here, followed through the source."""
    seen: set[str] = set()
    waiting = ["app", "pages.home"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += modules_imported_by(name)
    assert {"pages.home", "pages.ui.page"} <= seen
    assert not seen & {"torch", "triton", "plotly", "plotly.graph_objects"}


def test_the_pictures_of_the_home_page_need_no_torch() -> None:
    """In a separate process, which does not warm up: the whole page, with what its pictures import as they are made."""
    code = """
import sys
from streamlit.testing.v1 import AppTest
from pages.ui.jobs import warm_up
warm_up.start = lambda: None
page = AppTest.from_file("app.py", default_timeout=60).run()
assert page.title[0].value.startswith("Language models") and not page.exception
assert {"explainers.flash_attention.views.online_softmax", "explainers.grid_world.solve"} <= set(sys.modules)
print(sorted({"torch", "triton"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def modules_imported_by(name: str) -> Iterator[str]:
    """The modules that a module of this project imports when it is imported; none for others."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        return
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("topic", "chapter", "name"),
    [
        (topic.name, chapter.key, each.name)
        for topic in TOPICS
        for chapter in chapters_of(topic.name)
        for each in find(chapter.experiment).breaks
    ],
)
def test_every_break_opens_from_the_address(topic: str, chapter: str, name: str) -> None:
    known = chapters_of(topic)
    prefix = "" if next(each for each in known if each.key == chapter).main else f"{chapter}."
    named = {"chapter": chapter} if len(known) > 1 else {}
    page = open_page(f"pages/{topic}.py", **named, **{f"{prefix}break_it": name})
    assert not [line for line in sentences(page) if "This run failed" in line or "ignored" in line]
