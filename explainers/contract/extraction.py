"""Which literals of the code a reader sees: what Babel extracts into `lantern.pot`, and what no catalogue could hold.

`make messages` calls Babel with `babel.cfg`, which names `extract` here. Extracted are

- the templates of Message, LiveMessage and plural;
- the titles, descriptions and labels of fields and breaks: the literals among their declaration's arguments;
- literals given to a parameter that a reader sees (`SEEN`) of any call.

`built_elsewhere` finds sentences that are put together outside a Message, which no catalogue could translate. LaTeX
is no sentence.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from typing import IO, Any

MESSAGES = {"Message", "LiveMessage", "plural"}
DECLARATIONS = {"number", "choice", "several", "switch", "text", "Break", "break_field", "Check", "Gpu"}
# Parameters whose argument a reader sees, whatever is called.
SEEN = {
    "title", "subtitle", "label", "hint", "names", "notes", "texts", "heading", "what", "reference", "row_name",
    "column_name", "row_names", "pinned_label", "step_label", "symbols", "why", "note", "labels", "consequence",
    "flash_names",
}  # fmt: skip
WORDS = re.compile(r"[A-Za-z]{2,}[,;:]? [A-Za-z{]|[}a-z][,;:]? [A-Za-z]{2,}|\} [A-Za-z]|[A-Za-z] \{")
LATEX = re.compile(r"\\[A-Za-z]+")
LETTERS = re.compile(r"[^\W\d_]{2,}")

Found = tuple[int, str, str | tuple[str, str], list[str]]  # line, function, message or (one, many), comments


def extract(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[Found]:
    """The messages of one Python file, in the form that Babel asks of an extraction method."""
    for node in ast.walk(ast.parse(file.read())):
        if isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_call(call: ast.Call) -> Iterator[Found]:
    name = ast.unparse(call.func).split(".")[-1]
    if name in MESSAGES:
        given = [_literal(argument) for argument in call.args]
        if given and None not in given:
            texts = tuple(text for text in given if text is not None)
            yield call.lineno, name, texts[0] if len(texts) == 1 else (texts[0], texts[1]), []
        return
    declared = [*call.args, *(keyword.value for keyword in call.keywords)] if name in DECLARATIONS else []
    seen = [keyword.value for keyword in call.keywords if keyword.arg in SEEN]
    for text in dict.fromkeys(text for argument in (*declared, *seen) for text in _literals(argument)):
        yield call.lineno, name, text, []


def _literals(node: ast.expr) -> Iterator[str]:
    """The texts with words in a literal: itself, the parts of a tuple or list, the values of a dictionary."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for part in node.elts:
            yield from _literals(part)
    elif isinstance(node, ast.Dict):
        for part in node.values:
            yield from _literals(part)
    elif (text := _literal(node)) and LETTERS.search(text):
        yield text


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def built_elsewhere(source: str, errors_are_internal: bool = False) -> Iterator[tuple[int, str]]:
    """Line and text of each sentence that is put together outside a Message: f-strings, sums, format.

    errors_are_internal: sentences of `raise` are for developers and do not count.
    """
    tree = ast.parse(source)
    raised = {
        id(inner)
        for node in ast.walk(tree)
        if errors_are_internal and isinstance(node, (ast.Raise, ast.Assert))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) not in raised and WORDS.search(text := _built(node)) and not LATEX.search(text):
            yield node.lineno, text  # type: ignore[attr-defined]


def _built(node: ast.AST) -> str:
    """The fixed parts of a text that is put together here, with {} for what is put in; empty for anything else."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
        return "".join(map(str, parts)) if "{}" in parts else ""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        left, right = _literal(node.left), _literal(node.right)
        return f"{left or '{}'}{right or '{}'}" if (left is None) != (right is None) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _literal(node.func.value) or ""
    return ""
