"""A new topic from the guide: its files, its entry in the table, and that it works under its new name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from explainers import new_topic

ROOT = Path(__file__).parents[2]
COPIED = (
    "explainers",
    "kernels",
    "pages",
    "docs",
    "tests",
    "app.py",
    "pyproject.toml",
    "GLOSSARY.md",
    "README.md",
    "requirements.txt",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, in which a topic can be made."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "node_modules", "failures")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True)


def test_a_topic_touches_at_most_six_places() -> None:
    made = new_topic.files(new_topic.Names("sampling", "Sampling"))
    assert len({path.parts[:2] for path in made} | {new_topic.TABLE.parts}) <= 6


@pytest.mark.slow
def test_a_new_topic_works_at_once(copy: Path) -> None:
    made = run(copy, "explainers.new_topic", "sampling.top_k", "Sampling")
    assert made.returncode == 0, made.stderr
    tested = run(copy, "pytest", "-q", "tests/sampling", "tests/test_walls.py", "-p", "no:cacheprovider", "--deselect",
                 "tests/test_walls.py::test_no_file_names_a_registry_or_a_machine")  # fmt: skip
    assert tested.returncode == 0, tested.stdout[-3000:]
    pages = run(copy, "pytest", "-q", "tests/pages/test_pages.py", "-k", "sampling", "-p", "no:cacheprovider")
    assert pages.returncode == 0, pages.stdout[-3000:]
    styled = run(
        copy,
        "ruff",
        "check",
        "--ignore",
        "I001",
        "explainers/sampling",
        "pages/sampling.py",
        "tests/sampling",
    )
    assert styled.returncode == 0, styled.stdout
    again = run(copy, "explainers.new_topic", "sampling")
    assert (again.returncode, again.stderr) == (2, "'sampling' exists already; allowed: a new name.\n")


@pytest.mark.parametrize(
    "name", ["", "a", "Sampling", "a b", "../x", "1st", "x" * 99, "--json", "class", "ok.", "ok.A"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    topic, dot, experiment = name.partition(".")
    with pytest.raises(ValueError, match="is not a name"):
        new_topic.Names(topic, "Title", experiment if dot else "pulls")


@pytest.mark.parametrize("title", ["", 'say "x"', "it's", "a\nb", "{x}", "back\\slash", "x" * 61])
def test_a_title_that_would_break_a_file_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="is not a title"):
        new_topic.Names("sampling", title)


@pytest.mark.parametrize("name", ["kv_cache", "models", "ui", "parts", "browser"])
def test_a_topic_or_room_that_exists_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="exists already"):
        new_topic.create(new_topic.Names(name, "Title"))
