"""Addresses that somebody made up: each opens a page, without an exception, and says of each name what was ignored."""

from __future__ import annotations

import asyncio
import functools
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.contract.experiment import find
from explainers.contract.params import (
    Params,
    bounds_of,
    choices_of,
    control_of,
    longest_of,
    several_of,
)
from pages.ui.settings.link import PACKED, STEP, key_of
from tests.browser.site import Site, serve
from tests.load.client import Client, connected
from tests.pages.chapters import TOPICS, chapters_of

Given = list[tuple[str, str]]

HOSTILE = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1e999",
        "nan",
        "inf",
        "-0",
        "0x10",
        "1_000",
        "1,5",
        "true",
        "None",
        "[]",
        "{}",
        "null",
    ),
    *(
        "9" * 400,
        "x" * 5_000,
        "[" * 3_000,
        "a,b;c/d",
        ",,,,",
        "../../etc/passwd",
        "<b>bold</b>",
        "{0}",
        "%s",
        "$x$",
    ),
    *(
        "ünïcödé",
        "🦊",
        "\u202eright to left",
        "\x00",
        "\n",
        "ı" * 50,
        PACKED,
        f"{PACKED}AAAA",
        f"{PACKED}{'A' * 4_000}",
    ),
)
IGNORED = re.compile(r"is not accepted|is not a setting of this page|does not exist")


@functools.cache
def fields_of(page: str) -> dict[str, tuple[type[Params], str]]:
    """By name in the address: the Params that have the field, and its name there."""
    return {
        key_of(chapter.prefix, name): (chapter.params, name)
        for chapter in chapters_of(page)
        for name in chapter.params.model_fields
    }


@functools.cache
def breaks() -> tuple[str, ...]:
    """The names of the breaks of all experiments of all pages."""
    chapters = [chapter for page in TOPICS for chapter in chapters_of(page)]
    return tuple(sorted({each.name for chapter in chapters for each in find(chapter.experiment).breaks}))


def right(params_type: type[Params], name: str) -> st.SearchStrategy[str]:
    """The text of a value that the field accepts by itself."""
    annotation = params_type.model_fields[name].annotation
    if annotation is bool:
        return st.sampled_from(["true", "false"])
    if choices := choices_of(params_type, name):
        return st.sampled_from(choices)
    if choices := several_of(params_type, name):
        most = longest_of(params_type, name)
        return st.lists(st.sampled_from(choices), min_size=1, max_size=most, unique=True).map(",".join)
    if annotation in (int, float):
        least, most = bounds_of(params_type, name)
        options = control_of(params_type, name).options or (least, most)
        whole = st.integers(int(least), int(most)) if annotation is int else st.floats(least, most)
        return st.one_of(st.sampled_from(options), whole).map(str)
    return st.just(str(params_type.model_fields[name].default))


@st.composite
def addresses(draw: st.DrawFn) -> tuple[str, Given]:
    """A page, and one to six settings of it, each right or hostile; a name may be unknown, or there twice."""
    page = draw(st.sampled_from(TOPICS))
    fields = fields_of(page)
    foreign = fields_of(draw(st.sampled_from(TOPICS)))
    breaking = [key for key, (_, name) in fields.items() if name == "break_it"]
    made: Given = [("chapter", draw(st.sampled_from([chapter.key for chapter in chapters_of(page)])))]
    for _ in range(draw(st.integers(1, 6))):
        key = draw(st.sampled_from(sorted(fields)))
        match draw(
            st.sampled_from(["right", "right", "right", "hostile", "break", "unknown", "step", "again"])
        ):
            case "right":
                made.append((key, draw(right(*fields[key]))))
            case "break" if breaking:
                made.append((draw(st.sampled_from(breaking)), draw(st.sampled_from(breaks()))))
            case "unknown":
                name = draw(
                    st.one_of(
                        st.sampled_from([*foreign, "Chapter", "_page.chapter", ""]), st.text(max_size=40)
                    )
                )
                made.append((name, draw(st.sampled_from(HOSTILE))))
            case "step":
                made.append((STEP, draw(st.sampled_from(["0", "7", "99999", *HOSTILE]))))
            case "again":
                made.append((made[-1][0], draw(st.sampled_from(HOSTILE))))
            case _:
                made.append((key, draw(st.sampled_from(HOSTILE) | st.text(max_size=60))))
    return page, made


async def opened(site: Site, page: str, said: Given) -> tuple[Client, float]:
    """A page that was opened by an address, and the seconds that took."""
    async with connected(site, page) as client:
        seconds = await client.run(query=urlencode(said, errors="replace"))
        return client, seconds


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serve(tmp_path_factory.mktemp("site") / "server.log") as site:
        yield site


@pytest.mark.slow
@pytest.mark.parametrize("examples", [200, pytest.param(2_000, marks=pytest.mark.exhaustive)])
def test_any_address_opens_a_page(site: Site, examples: int) -> None:
    taken: list[float] = []
    told = 0

    @settings(max_examples=examples)
    @given(addresses())
    def check(address: tuple[str, Given]) -> None:
        nonlocal told
        page, said = address
        client, seconds = asyncio.run(opened(site, page, said))
        sentences = [text for text, _ in client.sentences]
        taken.append(seconds)
        assert not client.errors
        assert client.widgets, "the page is empty"
        assert not [text for text in sentences if text.startswith("This run failed")]
        ignored = [text for text in sentences if IGNORED.search(text)]
        assert len(ignored) <= len(dict(said)), ignored
        assert max(Counter(ignored).values(), default=0) <= 1, ignored

        told += len(ignored)

    check()
    assert told > examples / 2, "hardly anything hostile was sent"
    assert "Traceback" not in site.printed()
    cuts = statistics.quantiles(taken, n=20)
    print(f"{len(taken)} addresses: p50 {cuts[9]:.2f} s, p95 {cuts[-1]:.2f} s, most {max(taken):.2f} s")
