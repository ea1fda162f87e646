"""One server and one Chromium for all tests of a worker of pytest; each reader is a fresh window of it.

Of a test that fails, a screenshot and Playwright's trace of each of its windows go to tests/browser/failures.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.browser.reader import Reader
from tests.browser.site import CHROMIUM, FLAGS, INSTALL, Site, serve

HERE = Path(__file__).parent
FAILURES = HERE / "failures"
outcome = pytest.StashKey[pytest.TestReport]()
NewReader = Callable[..., Reader]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Drops the pictures of earlier failures, once, before any worker of pytest-xdist begins."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(FAILURES, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium the tests here are skipped; in CI that is a failure."""
    if CHROMIUM is None and not os.environ.get("CI"):
        skip = pytest.mark.skip(reason=f"needs Chromium; type: {INSTALL}")
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(skip)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    if report.when == "call":
        item.stash[outcome] = report
    return report


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, served for all tests. Ends the run at once, with the server's own words, if it does not come up."""
    try:
        with serve(tmp_path_factory.mktemp("site") / "server.log") as site:
            yield site
            if "Traceback" in (printed := site.printed()):
                pytest.fail(f"the server's log ends with\n{printed[-4000:]}", pytrace=False)
    except RuntimeError as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, f"Chromium is missing; type: {INSTALL}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_reader(chromium: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[NewReader]:
    """Makes readers with fresh profiles. None of them may have met an error or asked another machine."""
    readers: list[Reader] = []

    def make(**options: Any) -> Reader:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = chromium.new_context(**options)
        context.set_default_timeout(20_000)
        context.tracing.start(snapshots=True, screenshots=False)
        readers.append(Reader(context.new_page(), site))
        return readers[-1]

    yield make
    report = request.node.stash.get(outcome, None)
    failed = report is None or report.failed or any(reader.problems for reader in readers)
    for number, reader in enumerate(readers):
        if failed:
            _keep(reader, reader.page.context, f"{re.sub(r'[^a-z0-9_]+', '-', request.node.name)}-{number}")
        reader.page.context.close()
    problems = [problem for reader in readers for problem in reader.problems]
    assert not problems


@pytest.fixture
def reader(new_reader: NewReader) -> Reader:
    return new_reader()


def _keep(reader: Reader, context: BrowserContext, name: str) -> None:
    FAILURES.mkdir(exist_ok=True)
    reader.page.screenshot(path=FAILURES / f"{name}.png", full_page=True)
    context.tracing.stop(path=FAILURES / f"{name}.zip")
