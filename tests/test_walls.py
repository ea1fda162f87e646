"""The walls of the house (README: where what lives): who imports whom, and what each place must and must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from explainers import scene

ROOT = Path(__file__).parents[1]
PLACES = ("kernels", "explainers", "pages")  # each imports only itself and what stands before it
KERNELS_MAY_USE = {"kernels", "torch", "triton", "numpy"} | sys.stdlib_module_names
LONGEST_PAGE = 160

PAGES = sorted(path for path in (ROOT / "pages").glob("*.py") if path.name != "__init__.py")
TOPICS = sorted(path.parent.name for path in (ROOT / "explainers").glob("*/__init__.py"))
PANELS = sorted(path.stem for path in (ROOT / "pages/ui/player/panels").glob("*.js"))


def sources(place: str) -> list[Path]:
    return sorted((ROOT / place).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all modules that a file imports, those named in import_module("...") too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            yield ast.unparse(node.args[0]).strip("'\"")


def imported(place: str) -> list[tuple[str, str]]:
    """(file, module) for every import in a place."""
    return [(str(path.relative_to(ROOT)), name) for path in sources(place) for name in imports(path)]


@pytest.mark.parametrize("place", PLACES)
def test_imports_run_one_way(place: str) -> None:
    above = {*PLACES[PLACES.index(place) + 1 :], "app", "tests"}
    wrong = [(file, name) for file, name in imported(place) if name.split(".")[0] in above]
    # The shell is a way in, as a page is: it may write a scene as a document.
    wrong = [
        one
        for one in wrong
        if not (one[0] == "explainers/__main__.py" and one[1].startswith("pages.ui.player.export"))
    ]
    assert not wrong


@pytest.mark.parametrize("place", ["kernels", "explainers"])
def test_what_computes_knows_no_streamlit(place: str) -> None:
    assert not [(file, name) for file, name in imported(place) if name.split(".")[0] == "streamlit"]


def test_kernels_stand_alone() -> None:
    assert not [
        (file, name) for file, name in imported("kernels") if name.split(".")[0] not in KERNELS_MAY_USE
    ]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_imports_no_other(topic: str) -> None:
    others = tuple(f"explainers.{other}." for other in TOPICS if other != topic)
    assert not [
        (file, name) for file, name in imported(f"explainers/{topic}") if f"{name}.".startswith(others)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_has_its_words(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) < LONGEST_PAGE
    assert (ROOT / "pages/prose/en" / f"{page.stem}.md").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_one_topic_one_name_three_places(page: Path) -> None:
    if page.stem != "home":
        assert page.stem in TOPICS
        assert (ROOT / "tests" / f"test_{page.stem}.py").is_file()
        assert f'"pages/{page.name}"' in (ROOT / "app.py").read_text(encoding="utf-8")


def test_no_page_lets_html_through() -> None:
    assert not [
        path
        for path in [ROOT / "app.py", *sources("pages")]
        if "unsafe_allow_html" in path.read_text("utf-8")
    ]


def test_every_panel_has_a_kind_and_every_kind_a_panel() -> None:
    kinds = [one.kind for one in vars(scene).values() if isinstance(one, type) and "kind" in vars(one)]
    assert sorted(kinds) == PANELS


@pytest.mark.parametrize("place", ["requirements.txt", "tests/requirements.txt"])
def test_the_readme_says_what_each_dependency_is_for(place: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in (ROOT / place).read_text().splitlines() if line and line[0] not in "-#"]
    names = [re.split(r"[\[=<>;]", line)[0] for line in lines]
    assert not [name for name in names if f"| {name} |" not in readme]
    assert not [line for line in lines if "==" not in line.split(";")[0] and not line.startswith("triton")]


def test_the_glossary_leads_to_files_that_exist() -> None:
    rows = re.findall(
        r"^\| (.+?) \|.*\| `(.+?)` \|$", (ROOT / "GLOSSARY.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) > 20
    assert not [(term, file) for term, file in rows if not (ROOT / file).is_file()]


def test_no_file_names_a_registry_or_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    files = [ROOT / name for name in listed.stdout.splitlines()]
    named = re.compile(
        rb"(?<![\w.])/(?:work|root|home)/\w|pypi\.org|files\.pythonhosted|registry\.npm|deb\.debian"
    )
    assert files
    assert not [path for path in files if path.is_file() and named.search(path.read_bytes())]
