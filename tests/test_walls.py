"""The walls of the house (README: where what lives): who imports whom, and what each place must and must not hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from explainers.drawing import panels, scene
from pages.ui.topics import TOPICS as LISTED

ROOT = Path(__file__).parents[1]
PLACES = ("kernels", "explainers", "pages")  # each imports only itself and what stands before it
KERNELS_MAY_USE = {"kernels", "torch", "triton", "numpy"} | sys.stdlib_module_names

PAGES = sorted(path for path in (ROOT / "pages").glob("*.py") if path.name != "__init__.py")
TOPICS = sorted(path.parent.name for path in (ROOT / "explainers").glob("*/views"))
# The shared rooms of explainers, each with the rooms that it may import.
ROOMS = {
    "contract": {"contract"},
    "drawing": {"drawing", "contract"},
    "player": {"player", "drawing"},
    "hardware": {"hardware", "contract"},
    "models": {"models", "contract"},
}
PANELS = sorted(path.stem for path in (ROOT / "explainers/player/panels").glob("*.js"))


def sources(place: str) -> list[Path]:
    return sorted((ROOT / place).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names of all modules that a file imports, those named in import_module("...") too."""
    return imports_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parent.parts)


def imports_of(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """The same for a source that stands in `package`."""
    for node in ast.walk(ast.parse(source)):
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
    assert not wrong


@pytest.mark.parametrize("place", ["kernels", "explainers"])
def test_what_computes_knows_no_streamlit(place: str) -> None:
    assert not [(file, name) for file, name in imported(place) if name.split(".")[0] == "streamlit"]


def test_kernels_stand_alone() -> None:
    assert not [
        (file, name) for file, name in imported("kernels") if name.split(".")[0] not in KERNELS_MAY_USE
    ]


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_shared_room_imports_no_topic_and_no_room_above_it(room: str) -> None:
    names = {name for _, name in imported(f"explainers/{room}") if name.startswith("explainers.")}
    assert not {name for name in names if name.split(".")[1] not in ROOMS[room]}


def test_a_package_of_explainers_is_a_topic_or_a_shared_room() -> None:
    packages = {path.parent.name for path in (ROOT / "explainers").glob("*/__init__.py")}
    assert packages == {*TOPICS, *ROOMS}


def test_what_pages_share_knows_no_topic() -> None:
    assert not of_other_topics("", TOPICS, [name for _, name in imported("pages/ui")])


def of_other_topics(topic: str, topics: list[str], names: Iterable[str]) -> list[str]:
    """Those of the imported names that belong to another topic."""
    others = tuple(f"explainers.{other}." for other in topics if other != topic)
    return [name for name in names if f"{name}.".startswith(others)]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_imports_no_other(topic: str) -> None:
    assert not of_other_topics(topic, TOPICS, [name for _, name in imported(f"explainers/{topic}")])


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("from explainers.tokens.pairs import merge", False),
        ("from explainers import tokens", False),
        ("import explainers.tokens.pairs as pairs", False),
        ("from ..tokens import pairs", False),
        ("importlib.import_module('explainers.tokens.pairs')", False),
        ("from explainers.tokens_shared import merge", True),
        ("from explainers.attention import scores", True),
        ("from .parts import grid", True),
    ],
)
def test_the_rule_finds_a_topic_that_imports_another(line: str, allowed: bool) -> None:
    names = imports_of(line, ("explainers", "sampling"))
    assert (not of_other_topics("sampling", ["sampling", "tokens"], names)) == allowed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_its_words(page: Path) -> None:
    assert (ROOT / "pages/prose/en" / f"{page.stem}.md").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_one_topic_one_name_three_places(page: Path) -> None:
    if page.stem != "home":
        assert page.stem in TOPICS
        assert (ROOT / "tests" / page.stem / "__init__.py").is_file()
        assert page.stem in [topic.name for topic in LISTED]


# The calls of st.html whose argument is not written out; each function behind them escapes what it is given.
ESCAPED = {
    ("pages/ui/cards/checks.py", '"".join(line(check) for check in checks)'),
    ("pages/ui/settings/controls.py", "_value_style(prefix, values)"),
    ("pages/ui/page.py", "_STYLE"),
}


def html_calls(source: str) -> Iterator[str]:
    """The arguments of every call of `html` in a source, but for strings that are written out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "html":
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            yield from (
                ast.get_source_segment(source, one) or ""
                for one in given
                if not isinstance(one, ast.Constant)
            )


def test_no_page_lets_html_through() -> None:
    files = {path: path.read_text("utf-8") for path in [ROOT / "app.py", *sources("pages")]}
    assert not [path for path, source in files.items() if "unsafe_allow" in source]
    found = {
        (str(path.relative_to(ROOT)), call) for path, source in files.items() for call in html_calls(source)
    }
    assert found == ESCAPED


def test_the_rule_finds_html_that_is_not_written_out() -> None:
    assert list(html_calls('st.html(f"<b>{name}</b>")')) == ['f"<b>{name}</b>"']
    assert list(html_calls("components.html(body=words)")) == ["words"]
    assert not list(html_calls('st.html("<hr>")'))


@pytest.mark.parametrize(
    ("constant", "value"),
    [("SCENE_VERSION", scene.VERSION), ("KEYFRAME_EVERY", scene.KEYFRAME_EVERY)],
)
def test_the_player_reads_what_a_scene_writes(constant: str, value: int) -> None:
    player = (ROOT / "explainers/player/data.js").read_text(encoding="utf-8")
    assert re.findall(rf"^export const {constant} = (\d+);", player, re.MULTILINE) == [str(value)]


def test_the_player_knows_a_scene_by_its_first_bytes() -> None:
    player = (ROOT / "explainers/player/data.js").read_text(encoding="utf-8")
    assert re.findall(r'magic !== "(\w+)"', player) == [scene.MAGIC.decode()]


def test_every_panel_has_a_kind_and_every_kind_a_panel() -> None:
    kinds = [one.kind for one in vars(panels).values() if isinstance(one, type) and "kind" in vars(one)]
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
