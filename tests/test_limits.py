"""How long a file and a function may be, and how many arguments a call may give by position.

python -m tests.test_limits PATHS      lists what is over a limit in these files and folders
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = ("app.py", "explainers", "kernels", "pages", "tests")
LINES = {".py": 400, ".js": 300, ".mjs": 300}
LINES_OF_A_PAGE = 120
LINES_OF_A_FUNCTION = 60
PARAMETERS = 8
BY_POSITION = 4  # in calls of what a picture is made of

DRAWING = {
    node.name
    for path in (ROOT / "explainers/drawing").glob("*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, (ast.ClassDef, ast.FunctionDef))
}


def files(places: tuple[str, ...] | list[str] = PLACES) -> list[Path]:
    """All sources of Python and JavaScript in these files and folders."""
    found = [ROOT / place for place in places]
    found = [path for place in found for path in ([place] if place.is_file() else place.rglob("*"))]
    return sorted(path for path in found if path.suffix in LINES and "node_modules" not in path.parts)


def over(path: Path) -> Iterator[str]:
    """One line for each limit that a file breaks."""
    source = path.read_text(encoding="utf-8")
    lines = len(source.splitlines())
    most = LINES_OF_A_PAGE if path.parent == ROOT / "pages" else LINES[path.suffix]
    if lines > most:
        yield f"{path.relative_to(ROOT)} has {lines} lines, at most {most} are allowed"
    if path.suffix == ".py":
        yield from (f"{path.relative_to(ROOT)}:{words}" for words in over_in(source))


def over_in(source: str) -> Iterator[str]:
    """One line for each limit that functions and calls of a Python source break."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _function(node)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name in DRAWING and len(node.args) > BY_POSITION:
                yield f"{node.lineno} gives {name} {len(node.args)} arguments by position"


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if _is_kernel(node):
        return
    lines = (node.end_lineno or 0) - node.lineno + 1
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    parameters = len([one for one in given if one.arg not in ("self", "cls")])
    if lines > LINES_OF_A_FUNCTION:
        yield f"{node.lineno} {node.name} has {lines} lines"
    if parameters > PARAMETERS:
        yield f"{node.lineno} {node.name} has {parameters} parameters"


def _is_kernel(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Triton compiles it: a kernel takes one parameter, a line each, for every pointer, stride and constant."""
    return any(ast.unparse(one).startswith(("triton.jit", "gluon.jit")) for one in node.decorator_list)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_longer_than_one_can_read(path: Path) -> None:
    assert not list(over(path))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b, c, d, e, f, g, h, i): ...",
        "def f(a, *, b, c, d, e, f, g, h, i): ...",
        "def f():\n" + "    x = 1\n" * 60,
        "Marks(1, 2, 3, 4, 5)",
    ],
)
def test_what_is_over_a_limit_is_found(source: str) -> None:
    assert list(over_in(source))


def test_a_kernel_may_have_more_parameters() -> None:
    kernel = "def kernel(a, b, c, d, e, f, g, h, i): ..."
    assert list(over_in(kernel))
    assert not list(over_in(f'@triton.jit(do_not_specialize=["a"])\n{kernel}'))
    assert not list(over_in(f"@gluon.jit\n{kernel}"))


if __name__ == "__main__":
    for broken in (words for path in files(sys.argv[1:] or PLACES) for words in over(path)):
        print(broken)
