"""What every experiment answers in the command line, recorded: `python -m explainers NAME ... --json`, condensed.

    python -m tests.contract.golden --add NAME ...  records experiments: at their defaults, each preset, each break
    python -m tests.contract.golden --anew          records every case of tests/oracles/golden.json anew

A case holds its flags, so that the test does not depend on how presets and breaks are declared. A long list of
numbers is kept as its count, sum, extremes and a few places; another long list as its count and its first entries.
Record anew only for a result that is meant to change, and say why in the commit. --add replaces what was recorded of
the same experiments. Exit status 2 with one line for a name that no experiment has.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from explainers.__main__ import main
from explainers.contract.experiment import UnknownExperiment, find
from explainers.contract.params import as_text
from explainers.grid_world import compiled

GOLDEN = Path(__file__).parents[1] / "oracles" / "golden.json"
SHORT = 12  # entries of a list that are kept as they are
PLACES = 6  # of a long list
RELATIVE = 1e-5  # processors add in another order
ABSOLUTE = 2e-6  # differences that are rounding in single precision
MEASURED = {
    "seconds",
    "steps_per_second",
    "allocated_bytes",
    "warm_up_bytes",
}  # on this machine, at this moment
# measured too, where a sentence names them: seconds, and how much a process grew
IN_WORDS = re.compile(r"(\b)\d+(?:\.\d+)?(?= s\b)|(grew(?: it| this process| the process)? by )[\d.]+ \w?B")


def answer(name: str, flags: list[str]) -> Any:
    """What the command line prints with --json, as JSON types. Raises ValueError where it ends with an error."""
    printed = StringIO()
    with redirect_stdout(printed):
        status = main([name, *flags, "--json"])
    if status:
        raise ValueError(f"python -m explainers {name} {' '.join(flags)} --json ends with status {status}")
    return json.loads(printed.getvalue())


def condensed(value: Any) -> Any:
    """The value with long lists shortened, as the module says."""
    if isinstance(value, dict):
        return {key: condensed(item) for key, item in value.items() if key not in MEASURED}
    if isinstance(value, str):
        return IN_WORDS.sub(r"\2#", value)
    if not isinstance(value, list) or (
        len(value) <= SHORT and not any(isinstance(item, list) for item in value)
    ):
        return [condensed(item) for item in value] if isinstance(value, list) else value
    flat = list(_flat(value))
    if all(item is None or isinstance(item, (int, float)) for item in flat):
        return _summary(flat)
    return {"count": len(value), "first": [condensed(item) for item in value[:PLACES]]}


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _summary(numbers: list[Any]) -> dict[str, Any]:
    known = [number for number in numbers if number is not None]
    step = max(1, len(numbers) // PLACES)
    return {
        "count": len(numbers),
        "missing": len(numbers) - len(known),
        "sum": math.fsum(known),
        "magnitude": math.fsum(map(abs, known)),
        "least": min(known, default=None),
        "most": max(known, default=None),
        "places": numbers[::step][:PLACES],
    }


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Where `after` differs from what was recorded; fields that were added do not count."""
    if isinstance(before, dict) and isinstance(after, dict):
        room = ABSOLUTE * before["count"] if "magnitude" in before else 0.0
        for key, value in before.items():
            if key not in after:
                yield f"{place}.{key} is missing"
            elif key in ("sum", "magnitude") and room:
                scale = RELATIVE * before["magnitude"]
                if abs(value - after[key]) > room + scale:
                    yield f"{place}.{key}: {value} became {after[key]}"
            else:
                yield from differences(value, after[key], f"{place}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif not _equal(before, after):
        yield f"{place}: {before!r} became {after!r}"


def _equal(before: Any, after: Any) -> bool:
    floats = isinstance(before, float) or isinstance(after, float)
    numbers = all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (before, after))
    if floats and numbers:
        return math.isclose(before, after, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(before) is type(after) and before == after


def add(names: list[str]) -> None:
    """Records the cases of these experiments in place of what was recorded of them. Raises UnknownExperiment."""
    cases = [case for case in json.loads(GOLDEN.read_text(encoding="utf-8")) if case["name"] not in names]
    for name in names:
        cases += cases_of(name)
    GOLDEN.write_text(as_lines(cases), encoding="utf-8")


def cases_of(name: str) -> list[dict[str, Any]]:
    """What an experiment answers at its defaults, with each preset and each break."""
    known = find(name)
    presets = [{field: value} for field, values in known.params.fills.items() for value in values]
    breaks = [{**each.settings, "break_it": each.name} for each in known.breaks]
    given = [
        [text for field, value in settings.items() for text in (f"--{field}", as_text(value))]
        for settings in [{}, *presets, *breaks]
    ]
    return [{"name": name, "flags": flags, "answer": condensed(answer(name, flags))} for flags in given]


def record() -> None:
    """Writes what every recorded case answers now, with the compiled agents of the grid world."""
    compiled.wait()
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for case in cases:
        case["answer"] = condensed(answer(case["name"], case["flags"]))
    GOLDEN.write_text(as_lines(cases), encoding="utf-8")


def as_lines(cases: list[dict[str, Any]]) -> str:
    """One case a line, so that a difference can be read."""
    return "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]\n"


def command_line(arguments: list[str]) -> int:
    """Does what the arguments say and returns the exit status."""
    match arguments:
        case ["--anew"]:
            record()
        case ["--add", first, *others]:
            try:
                add([first, *others])
            except UnknownExperiment as unknown:
                print(unknown, file=sys.stderr)
                return 2
        case _:
            print((__doc__ or "").strip())
            return 0 if arguments in ([], ["--help"], ["-h"]) else 2
    return 0


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
