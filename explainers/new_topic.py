"""Makes a new topic: every place that it touches, from the example of docs/adding_a_topic.md.

    python -m explainers.new_topic NAME[.EXPERIMENT] ["Title"]

NAME and EXPERIMENT (pulls, where left out) are lower-case letters, digits and underscores. What it writes works at once
under the new names; docs/adding_a_topic.md says what each part is for. Exit status 2 with one line for a name or title
that is not accepted.
"""

from __future__ import annotations

import keyword
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from explainers.contract.experiment import topics
from explainers.contract.messages import Message

ROOT = Path(__file__).parents[1]
GUIDE = Path("docs/adding_a_topic.md")
TABLE = Path("pages/ui/topics.py")
FILE = re.compile(r"^## \d+\. `(\S+)`\n.*?```\w+\n(.*?)```$", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^## \d+\. One entry.*?```python\n(.*?)```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
TITLE = re.compile(r"[^\"'\\{}\n]{1,60}")
EXPERIMENT = "pulls"  # of the guide
EXPERIMENT_AS_WORD = re.compile(rf"(?<![a-z]){EXPERIMENT}(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """What a new topic is called. Raises ValueError for a name or title that cannot be used."""

    topic: str
    title: str
    experiment: str = EXPERIMENT

    def __post_init__(self) -> None:
        for name in (self.topic, self.experiment):
            if not NAME.fullmatch(name) or keyword.iskeyword(name):
                raise ValueError(
                    Message(
                        "{name} is not a name; allowed: 2 to 41 lower-case letters, digits and underscores, "
                        "a letter first, and no word of Python.",
                        name=repr(name[:60]),
                    )
                )
        if not TITLE.fullmatch(self.title):
            raise ValueError(
                Message(
                    "{title} is not a title; allowed: up to 60 characters without quotes, braces and backslashes.",
                    title=repr(self.title[:60]),
                )
            )

    def put_into(self, text: str) -> str:
        """A text of the guide under these names."""

        def experiment(found: re.Match[str]) -> str:
            if found[0].isupper():
                return self.experiment.upper()
            return self.experiment.title().replace("_", "") if found[0][0].isupper() else self.experiment

        text = EXPERIMENT_AS_WORD.sub(experiment, text)
        return text.replace("Bandits", self.title).replace("bandits", self.topic)


def files(names: Names, root: Path = ROOT) -> dict[Path, str]:
    """The files of a new topic, by their path below `root`: those of the guide under other names."""
    guide = (root / GUIDE).read_text(encoding="utf-8")
    return {Path(names.put_into(path)): names.put_into(text) for path, text in FILE.findall(guide)}


def table_with(names: Names, root: Path = ROOT) -> str:
    """The table of topics with an entry for the new one, as the last of its section's."""
    [entry] = ENTRY.findall((root / GUIDE).read_text(encoding="utf-8"))
    table = (root / TABLE).read_text(encoding="utf-8")
    end = table.index("\n)\n", table.index("\nTOPICS = (")) + 1
    indented = textwrap.indent(names.put_into(entry).rstrip(), "    ")
    return f"{table[:end]}{indented},\n{table[end:]}"


def create(names: Names, root: Path = ROOT) -> list[Path]:
    """Writes the files of a new topic and its entry in the table; their paths below `root`.

    Raises ValueError if the name is taken.
    """
    made = files(names, root)
    rooms = [root / room / names.topic for room in ("explainers", "pages", "tests")]
    if names.topic in topics() or any(path.exists() for path in (*rooms, *(root / path for path in made))):
        raise ValueError(Message("{name} exists already; allowed: a new name.", name=repr(names.topic)))
    table = table_with(names, root)
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
    name, _, experiment = arguments[0].partition(".")
    title = arguments[1] if len(arguments) == 2 else name.replace("_", " ").capitalize()
    try:
        made = create(Names(name, title, experiment or EXPERIMENT))
    except ValueError as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print("\n".join(map(str, made)))
    print(Message("Next: python -m pytest tests/{name}, then docs/adding_a_topic.md.", name=name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
