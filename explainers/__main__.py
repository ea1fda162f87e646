"""The command line: every experiment from a terminal.

    python -m explainers                                    what there is
    python -m explainers NAME --help                        its fields and what they accept
    python -m explainers NAME --seq_len 64 --causal false   a short report
    python -m explainers NAME --json                        the Result as one JSON object (bytes, seconds)
    python -m explainers NAME --html FILE                   the scene as one page that plays offline

Exit status: 0 when the experiment ran (a red check says "passed": false), 2 with one line on stderr for a name
or value that is not accepted, 1 when it could not run.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from explainers.contract.experiment import Experiment, UnknownExperiment, experiments, find
from explainers.contract.messages import Message
from explainers.contract.params import Params, Problem, allowed, as_text, control_of, fit, longest_of, read
from explainers.contract.result import Check, as_json
from explainers.player.export import page

LONGEST_SHOWN = 500  # characters of a text in a report: the longest sentence of a Result fits


class Refused(ValueError):
    """The command line cannot be followed; the message is the one line that says why."""


def main(arguments: list[str]) -> int:
    """Does what the command line says and returns the exit status."""
    try:
        _follow(arguments)
        sys.stdout.flush()
    except (Refused, UnknownExperiment) as refusal:
        print(_one_line(refusal), file=sys.stderr)
        return 2
    except RuntimeError as failure:
        print(_one_line(failure), file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reading program, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    return 0


def _one_line(said: Exception | str) -> str:
    return " ".join(str(said).split())


def _follow(arguments: list[str]) -> None:
    if not arguments:
        print(_list())
        return
    name, *rest = arguments
    if name in ("--help", "-h"):
        print((__doc__ or "").strip(), end="\n\n")
        print(_list())
        return
    if name.startswith("-"):
        raise Refused(
            Message(
                "{name} is where the name of an experiment must be; python -m explainers lists them.",
                name=repr(name[:60]),
            )
        )
    experiment = find(name)
    flags = _flags(rest)
    if "help" in flags:
        print(_help(experiment))
        return
    file = _html_file(experiment, flags.pop("html", None))
    in_json = flags.pop("json", None) is not None
    _run(experiment, _params(experiment, flags), in_json, file)


def _run(experiment: Experiment, params: Params, in_json: bool, file: Path | None) -> None:
    result = experiment(params)
    if file:
        _write(file, page(experiment.scene(result)))
    if in_json:
        print(json.dumps(as_json(result), allow_nan=False))
    else:
        print(_report(experiment, params, result))
        if file:
            print(Message("written: {file}", file=str(file)))


# ------------------------------------------------------------------------------------------- the command line


def _flags(arguments: list[str]) -> dict[str, str]:
    """Field name -> text. Flags without a value (--json, --help) have an empty one."""
    flags: dict[str, str] = {}
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if argument == "-h":
            argument = "--help"
        if not argument.startswith("--"):
            raise Refused(
                Message(
                    "{given} belongs to no field; write fields as --field value.", given=repr(argument[:60])
                )
            )
        flag, equals, value = argument[2:].partition("=")
        field = flag.replace("-", "_")
        if field in ("json", "help"):
            if equals:
                accepted = Message("--{field} alone, without a value", field=field)
                raise Refused(Problem(field, value, accepted).sentence)
        elif not equals:
            if not left or left[0].startswith("--"):
                raise Refused(
                    Message("{field} has no value; allowed: --{flag} VALUE.", field=field, flag=flag)
                )
            value = left.pop(0)
        flags[field] = value
    return flags


def _params(experiment: Experiment, flags: dict[str, str]) -> Params:
    """Params from flags. Raises Refused for an unknown field, a bad value, or fields that do not fit together.

    Fields that were not asked for give way to those that were: `--seq_len 8` makes the default blocks 8 too.
    """
    for field, value in flags.items():
        if field not in experiment.params.model_fields:
            raise Refused(_unknown_field(experiment, field, value))
    raw = {field: _text_of(experiment.params, field, value) for field, value in flags.items()}
    params, problems = read(experiment.params, raw)
    if problems:
        raise Refused(" ".join(problem.sentence for problem in problems))
    fitted, adjustments = fit(params)
    for adjustment in adjustments:
        if adjustment.field in flags:
            raise Refused(adjustment.sentence)
    return fitted


def _unknown_field(experiment: Experiment, field: str, value: str) -> str:
    fields = list(experiment.params.model_fields)
    named = {"name": experiment.name, "field": repr(field[:40]), "value": repr(value[:40])}
    allowed = ", ".join(fields)
    if nearest := difflib.get_close_matches(field, [*fields, "json", "html", "help"], n=1):
        return Message(
            "{name} has no field {field} (= {value}); did you mean {nearest}? allowed: {allowed}.",
            nearest=nearest[0],
            allowed=allowed,
            **named,
        )
    return Message("{name} has no field {field} (= {value}); allowed: {allowed}.", allowed=allowed, **named)


def _text_of(params: type[Params], field: str, value: str) -> str:
    """The value, or for a field of long text the text of the file that it names."""
    if not control_of(params, field).long_text:
        return value
    if not _is_file(value):
        if re.fullmatch(r"[\w.~-]*[/\\][\w.~/\\-]*|[\w-]+\.(json|txt)", value):  # a path, by its looks
            raise Refused(
                Message(
                    "{field} = {value} is not a file; allowed: a file, or the text itself.",
                    field=field,
                    value=repr(value[:60]),
                )
            )
        return value
    with open(value, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        text = file.read(longest := longest_of(params, field) + 1)
    if not text.strip():
        raise Refused(
            Message(
                "{field} = {value} is an empty file; allowed: a file with text.",
                field=field,
                value=repr(value[:60]),
            )
        )
    if len(text) == longest:
        accepted = Message("a file of at most {most:,} characters", most=longest - 1)
        raise Refused(Problem(field, value, accepted).sentence)
    return text


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False


def _html_file(experiment: Experiment, value: str | None) -> Path | None:
    if value is None:
        return None
    if not experiment.has_scene:
        raise Refused(
            Message(
                "html = {value} is not accepted: {name} has no scene to write.",
                value=repr(value[:40]),
                name=experiment.name,
            )
        )
    return Path(value)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Refused(
            Message(
                "html = {file} cannot be written ({reason}); allowed: a file in an existing folder.",
                file=repr(str(file)[:60]),
                reason=str(reason),
            )
        ) from None


# ------------------------------------------------------------------------------------------------- the words


def _list() -> str:
    known = experiments()
    width = max(len(experiment.name) for experiment in known)
    lines = [f"  {experiment.name:<{width}}  {experiment.summary}" for experiment in known]
    return "\n".join(
        ["Experiments:", *lines, "", "python -m explainers NAME --help says which fields one has."]
    )


def _help(experiment: Experiment) -> str:
    lines = [f"{experiment.name}: {experiment.summary}", ""]
    for name, field in experiment.params.model_fields.items():
        lines.append(f"  --{name}  {field.title}. {field.description}.")
        accepted = Message(
            "allowed: {allowed}; default: {default}",
            allowed=allowed(experiment.params, name),
            default=as_text(field.default) or Message("empty"),
        )
        lines.append(f"      {accepted}")
    lines += ["", Message("  --json  print the Result as one JSON object")]
    if experiment.has_scene:
        lines.append(Message("  --html FILE  write the scene as a page that plays offline"))
    return "\n".join(lines)


def _report(experiment: Experiment, params: Params, result: Any) -> str:
    """A Result for a person: its checks, its numbers, and the shape of what is longer."""
    given = " ".join(
        f"--{name} {_shortened(as_text(value))}"
        for name, value in params.model_dump(exclude_defaults=True).items()
    )
    lines = [f"{experiment.name} {given}".rstrip()]
    lines += [Message("  ! {warning}", warning=warning) for warning in getattr(result, "warnings", ())]
    lines += [_check_line(check) for check in getattr(result, "checks", ())]
    for name, value in as_json(result).items():
        if name not in ("checks", "passed", "warnings"):
            lines.append(f"  {name}: {_shown(value)}")
    return "\n".join(lines)


def _check_line(check: Check) -> str:
    return Message(
        "  {mark} {what}: error {error:.2g}, allowed {tolerance:.2g} ({reference})",
        mark="✓" if check.passed else "✗",
        what=check.what,
        error=check.error,
        tolerance=check.tolerance,
        reference=check.reference,
    )


def _shortened(text: str) -> str:
    """The text, or the beginning of one that a person would not read, such as a pasted file."""
    if len(text) <= LONGEST_SHOWN:
        return text
    return Message("{start}… ({count:,} characters)", start=_one_line(text[:60]), count=len(text))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return _shortened(value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return _shown_list(value)


def _shown_list(values: list[Any]) -> str:
    numbers = all(isinstance(value, (int, float)) or value is None for value in values)
    if numbers and len(values) <= 8:
        return ", ".join(_shown(value) for value in values)
    if values and isinstance(values[0], list):
        size = f"{len(values)} × {len(values[0])}"
        return Message("{size} values (--json prints them)", size=size)
    sentences = all(isinstance(value, str) for value in values)
    if values and (isinstance(values[0], dict) or sentences) and len(values) <= 16:
        return "".join(f"\n    {_shown(value)}" for value in values)
    return Message("{size} values (--json prints them)", size=len(values))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
