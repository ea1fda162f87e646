"""From the text of a config.json to an object, with one sentence for whatever is wrong with it.

Read are JSON, also with Infinity and NaN as Python writes them; JSON with comments and trailing commas; YAML; each of
them between the fences of Markdown or behind the name of a class, as Python prints a config. What else people paste is
named, with what to paste instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import json5
import yaml

from explainers.contract.messages import Message
from explainers.kv_cache.config_keys import plain, shown

LONGEST_CONFIG = 200_000
LONGEST_LENIENT = 50_000  # characters; the readers of JSON5 and YAML need a second for them
MOST_NESTED = 100

_FENCED = re.compile(r"```\w*\s*\n(.*?)\n\s*```", re.DOTALL)
_CLASS_NAME = re.compile(r"\s*(?:class )?[A-Za-z_]\w*(?:Config)?\s*(?=\{)")
_ADDRESS = re.compile(r"\s*(?:https?://|www\.)?[\w.-]+\.[a-z]{2,}/\S*\s*|\s*[\w.-]{1,96}/[\w.-]{1,96}\s*")
_LLAMA_CPP = re.compile(r"llama_model_loader|llm_load_print_meta|print_info: *n_layer|general\.architecture")
_CALL = re.compile(r"\s*[A-Za-z_]\w*Config\s*\(")
_PATH = re.compile(r"\s*[\w.~/\\-]+\.(?:json|ya?ml)\s*")


def read_config(text: str) -> dict[str, Any]:
    """The object in `text`. Raises ValueError with one sentence for anything else."""
    if len(text) > LONGEST_CONFIG:
        raise ValueError(
            Message(
                "the text has {length:,} characters; at most {most:,} are read",
                length=len(text),
                most=LONGEST_CONFIG,
            )
        )
    text = text.removeprefix("\ufeff")
    try:
        config = _json(text)
    except json.JSONDecodeError as error:
        config = _lenient(text, error)
    except RecursionError:
        raise ValueError(Message("the text nests objects or lists too deeply for a config")) from None
    if not isinstance(config, dict):
        raise ValueError(
            Message("the text is {value}; a config is an object, between braces", value=shown(config))
        )
    return config


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)


def _lenient(text: str, error: json.JSONDecodeError) -> Any:
    """What the text holds if it is more than JSON. Raises ValueError that names the habit, or JSON's own problem."""
    if habit := _habit(text):
        raise ValueError(habit)
    fenced = _FENCED.search(text)
    body = fenced.group(1) if fenced else text
    body = _CLASS_NAME.sub("", body, count=1) if _CLASS_NAME.match(body) else body
    if len(body) <= LONGEST_LENIENT and _depth(body) <= MOST_NESTED:
        for reader in (_json, _json5, _yaml):
            try:
                found = reader(body)
            except (json.JSONDecodeError, yaml.YAMLError, _NotJson5, RecursionError):
                continue
            if isinstance(found, dict) and found:
                return found
    raise ValueError(
        Message(
            "the text is not JSON: line {line}, column {column}, {problem}",
            line=error.lineno,
            column=error.colno,
            problem=plain(error.msg),
        )
    ) from None


def _habit(text: str) -> Message | None:
    """What people paste in place of a config, and what would do."""
    if _PATH.fullmatch(text):
        return Message("this is the name of a file; paste its text")
    if _ADDRESS.fullmatch(text):
        return Message("this is an address; paste the text of the file config.json that is found there")
    if _LLAMA_CPP.search(text):
        return Message(
            "this is a log of llama.cpp; paste the config.json of the model that the file was made from"
        )
    if _CALL.match(text):
        return Message("this is Python; paste the model's config.json, or what print(config) shows")
    return None


class _NotJson5(Exception):
    pass


def _json5(text: str) -> Any:
    try:
        found = json5.loads(text, object_pairs_hook=_object)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, ValueError) and isinstance(error.args[0], Message):
            raise
        raise _NotJson5 from None
    return found


class _Yaml(yaml.SafeLoader):
    """YAML without aliases, which could stand for far more than the text, and with each key once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        pairs = [
            (self.construct_object(key, deep=True), self.construct_object(value, deep=True))
            for key, value in node.value
        ]
        return _object([(str(key), value) for key, value in pairs])


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, _Yaml)
    except (AttributeError, TypeError, OverflowError) as error:
        raise yaml.YAMLError from error


def _depth(text: str) -> int:
    """The deepest nesting of brackets, those within texts included."""
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
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
