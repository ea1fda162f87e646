"""What a link says: settings as the text of an address, and back. Nothing here knows the screen.

Defaults are left out. Long text travels compressed. What is not accepted keeps its default, with one sentence each.
"""

from __future__ import annotations

import base64
import difflib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from explainers.contract.params import Adjustment, Params, ParamsT, Problem, as_text, choices_of, read

STEP = "step"  # the name under which a player keeps its step
GREATEST_STEP = 10_000_000

PACKED = "z~"  # how a compressed value begins
PLAIN_UP_TO = 200  # characters that travel as they are
LONGEST = 4096  # characters of a compressed value that a link still carries
MOST_BYTES = 256 * 1024  # what a compressed value may unpack to


def key_of(prefix: str, name: str) -> str:
    """The name of a field in the address: behind its prefix, but bare in the main experiment and in the page's own."""
    return f"{prefix}.{name}" if prefix and not prefix.startswith("_") else name


def own_fields(types: Mapping[str, type[Params]], prefix: str) -> list[str]:
    """The fields of one experiment, without those that it shares with an earlier one of the page."""
    earlier: set[str] = set()
    for before, params_type in types.items():
        if before == prefix:
            break
        earlier.update(params_type.shared)
    shared = earlier.intersection(types[prefix].shared)
    return [name for name in types[prefix].model_fields if name not in shared]


def query_of(params_of: Mapping[str, Params]) -> tuple[dict[str, str], list[str]]:
    """The address of these params, by prefix; and a sentence for each text that is too long for a link."""
    query: dict[str, str] = {}
    left_out = []
    types = {prefix: type(params) for prefix, params in params_of.items()}
    for prefix, params in params_of.items():
        defaults = params.baseline()
        for name in own_fields(types, prefix):
            described, value = type(params).model_fields[name], getattr(params, name)
            if value == (described.default if name in params.fills else getattr(defaults, name)):
                continue
            written = pack(as_text(value)) if _is_text(type(params), name) else as_text(value)
            if written is None:
                left_out.append(f"{described.title or name} is too long for a link, which leaves it out.")
            else:
                query[key_of(prefix, name)] = written
    return query, left_out


def take(
    raw: dict[str, str], prefix: str, params_type: type[ParamsT], names: Iterable[str] | None = None
) -> tuple[ParamsT, dict[str, str]]:
    """Takes one experiment's settings out of the raw address: Params, and by key what was ignored, in a sentence.

    names: its own fields; all, where left out.
    """
    texts: dict[str, str] = {}
    problems = []
    for name in params_type.model_fields if names is None else names:
        key = key_of(prefix, name)
        if key not in raw:
            continue
        value = raw.pop(key)
        try:
            texts[name] = unpack(value) if _is_text(params_type, name) else value
        except ValueError as error:
            problems.append(Problem(name, value, str(error)))
    params, unread = read(params_type, texts)
    sentences = {}
    for problem in problems + unread:
        key = key_of(prefix, problem.field)
        used = short(as_text(getattr(params, problem.field)))
        sentences[key] = f"{replace(problem, field=key).sentence} The page uses {used} instead."
    return params, sentences


def take_step(raw: dict[str, str], prefix: str) -> tuple[int | None, dict[str, str]]:
    """Takes a player's step out of the raw address: the step, and by key what was ignored."""
    key = key_of(prefix, STEP)
    text = raw.pop(key, None)
    if text is None:
        return None, {}
    if text.isascii() and text.isdigit() and len(text) <= 8 and int(text) <= GREATEST_STEP:
        return int(text), {}
    problem = Problem(key, text, f"a whole number from 0 to {GREATEST_STEP:,}")
    return None, {key: f"{problem.sentence} The page starts at its usual first step instead."}


def unknown(raw: Iterable[str], types: Mapping[str, type[Params]]) -> dict[str, str]:
    """A sentence for each name that no experiment of the page has, with the nearest that one has."""
    known = [key_of(prefix, name) for prefix in types for name in own_fields(types, prefix)]
    sentences = {}
    for key in raw:
        nearest = difflib.get_close_matches(key[:60], known, n=1, cutoff=0.6)
        hint = f"; did you mean {nearest[0]}?" if nearest else "."
        sentences[key] = f"{short(key)!r} is not a setting of this page and was ignored{hint}"
    return sentences


def titled(told: Problem | Adjustment, title: str) -> str:
    """Its sentence for a reader of the page: with the title that the control shows in place of the field's name."""
    name, equals, rest = told.sentence.partition(" = ")
    return f"{title}{equals}{rest}" if name == told.field else told.sentence


def short(text: str) -> str:
    """Text as a sentence can hold it."""
    if not text:
        return "nothing"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _is_text(params_type: type[Params], name: str) -> bool:
    annotation = params_type.model_fields[name].annotation
    return annotation not in (int, float, bool) and not choices_of(params_type, name)


def pack(text: str) -> str | None:
    """`text` as an address carries it: as it is while short, else compressed; None where that is too long."""
    if len(text) <= PLAIN_UP_TO and not text.startswith(PACKED):
        return text
    packed = PACKED + base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")
    return packed if len(packed) <= LONGEST else None


def unpack(value: str) -> str:
    """The text that `pack` turned into `value`. Raises ValueError, in words, for anything else."""
    if not value.startswith(PACKED):
        return value
    encoded = value.removeprefix(PACKED)
    decompressor = zlib.decompressobj()
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
        text = decompressor.decompress(data, MOST_BYTES)
        if decompressor.eof:
            return text.decode()
    except (ValueError, zlib.error):
        pass
    raise ValueError(f"text that this site compressed, at most {MOST_BYTES // 1024} kB of it")
