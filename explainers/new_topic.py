"""Makes a new topic: every place that it touches, from the example of docs/adding_a_topic.md.

    python -m explainers.new_topic NAME ["Title"]     NAME: lower-case letters, digits and underscores

What it writes works at once under the new name; docs/adding_a_topic.md says what each part is for. Exit status 2 with
one line for a name that is not accepted.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from explainers.contract.experiment import topics
from explainers.contract.messages import Message

ROOT = Path(__file__).parents[1]
GUIDE = Path("docs/adding_a_topic.md")
TABLE = Path("pages/ui/topics.py")
FILE = re.compile(r"^## \d+\. `(\S+)`\n.*?```\w+\n(.*?)```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^## \d+\. One entry.*?```python\n(.*?)```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")


def files(name: str, title: str, root: Path = ROOT) -> dict[Path, str]:
    """The files of a new topic, by their path below `root`: those of the guide under another name."""
    guide = (root / GUIDE).read_text(encoding="utf-8")
    return {
        Path(_renamed(path, name, title)): _renamed(text, name, title) for path, text in FILE.findall(guide)
    }


def table_with(name: str, title: str, root: Path = ROOT) -> str:
    """The table of topics with an entry for the new one, as the last of its section's."""
    [entry] = ENTRY.findall((root / GUIDE).read_text(encoding="utf-8"))
    table = (root / TABLE).read_text(encoding="utf-8")
    end = table.index("\n)\n", table.index("\nTOPICS = (")) + 1
    indented = textwrap.indent(_renamed(entry, name, title).rstrip(), "    ")
    return f"{table[:end]}{indented},\n{table[end:]}"


def _renamed(text: str, name: str, title: str) -> str:
    return text.replace("Bandits", title).replace("bandits", name)


def create(name: str, title: str, root: Path = ROOT) -> list[Path]:
    """Writes the files of a new topic and its entry in the table; their paths below `root`.

    Raises ValueError for a name that is no name or is taken.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            Message(
                "{name} is not a name; allowed: lower-case letters, digits and underscores.",
                name=repr(name[:60]),
            )
        )
    made = files(name, title, root)
    if name in topics() or any((root / path).exists() for path in made):
        raise ValueError(Message("{name} exists already; allowed: a new name.", name=repr(name)))
    table = table_with(name, title, root)
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    (root / TABLE).write_text(table, encoding="utf-8")
    return [*made, TABLE]


def main(arguments: list[str]) -> int:
    """Does what the command line says and returns the exit status."""
    if not 1 <= len(arguments) <= 2 or arguments[0].startswith("-"):
        print((__doc__ or "").strip())
        return 0 if arguments[:1] in (["--help"], ["-h"]) else 2
    name = arguments[0]
    title = arguments[1] if len(arguments) == 2 else name.replace("_", " ").capitalize()
    try:
        made = create(name, title)
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print("\n".join(map(str, made)))
    print(Message("Next: python -m pytest tests/{name}, then docs/adding_a_topic.md.", name=name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
