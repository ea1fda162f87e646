"""From the text of a config.json to a JSON object, with one sentence for whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

from explainers.contract.messages import Message
from explainers.kv_cache.config_keys import plain, shown

LONGEST_CONFIG = 200_000


def read_config(text: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises ValueError with one sentence for anything else."""
    if len(text) > LONGEST_CONFIG:
        raise ValueError(
            Message(
                "the text has {length:,} characters; at most {most:,} are read",
                length=len(text),
                most=LONGEST_CONFIG,
            )
        )
    try:
        config = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_int=_whole_number,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            Message(
                "the text is not JSON: line {line}, column {column}, {problem}",
                line=error.lineno,
                column=error.colno,
                problem=plain(error.msg),
            )
        ) from None
    except RecursionError:
        raise ValueError(Message("the text nests objects or lists too deeply for a config")) from None
    if not isinstance(config, dict):
        raise ValueError(
            Message("the text is {value}; a config is an object, between braces", value=shown(config))
        )
    return config


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object in which no key appears twice: with two values for a key, neither can be trusted."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(Message("the key {key} appears twice; it must appear once", key=plain(key)))
        found[key] = value
    return found


def _whole_number(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(
            Message("a number in the text has {count:,} digits; at most 20 are read", count=len(digits))
        )
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(Message("the text holds {word}, which is no number in JSON", word=name))
