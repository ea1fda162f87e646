"""Messages: sentences that keep their template and values, and are found by the extraction."""

from __future__ import annotations

import gettext
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.contract import extraction, messages
from explainers.contract.messages import LiveMessage, Message, joined, plural, render
from explainers.contract.numbers import formatted

ROOT = Path(__file__).parents[2]
INTERNAL = ("contract", "drawing", "player", "models", "hardware")  # their errors are for developers
TRANSLATIONS = {
    "{visited:,} of {total:,} tiles, {share:.1%}": "{share:.1%}: {visited:,} von {total:,} Kacheln",
    "all of {what}": "ganz {what}",
    "the row": "die Zeile",
    "row {row:d} of {rows}": "{rows} Zeilen, davon {row:d}",
}


class German(gettext.NullTranslations):
    """A catalogue in memory."""

    def gettext(self, message: str) -> str:
        return TRANSLATIONS.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return "{count:,} Packung" if n == 1 else "{count:,} Packungen"


@pytest.fixture
def german(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(messages, "catalog", lambda language: German())
    return "de"


def test_a_message_is_its_english_sentence() -> None:
    message = Message("{visited:,} of {total:,} tiles, {share:.1%}", visited=1024, total=2048, share=0.5)
    assert message == "1,024 of 2,048 tiles, 50.0%"
    assert json.dumps([message]) == '["1,024 of 2,048 tiles, 50.0%"]'


def test_a_translation_may_order_the_places_otherwise(german: str) -> None:
    message = Message("{visited:,} of {total:,} tiles, {share:.1%}", visited=1024, total=2048, share=0.5)
    assert render(message, german) == "50,0%: 1.024 von 2.048 Kacheln"


def test_a_message_inside_another_is_translated_too(german: str) -> None:
    assert render(Message("all of {what}", what=Message("the row")), german) == "ganz die Zeile"
    assert render(Message("all of {what}", what="the row"), german) == "ganz die Zeile"  # a literal
    assert render(joined([Message("the row"), "x"]), german) == "die Zeile, x"


@pytest.mark.parametrize(
    ("count", "english", "translated"), [(1, "1 pack", "1 Packung"), (0, "0 packs", "0 Packungen")]
)
def test_a_plural_follows_its_count(german: str, count: int, english: str, translated: str) -> None:
    message = plural("{count:,} pack", "{count:,} packs", count=count)
    assert (message, render(message, german)) == (english, translated)


def test_a_place_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no value for \{total\}"):
        Message("{visited} of {total}", visited=1)


def test_the_player_fills_what_is_left(german: str) -> None:
    sentence = LiveMessage("row {row:d} of {rows}", rows=8)
    assert sentence == "row {row:d} of 8"
    assert render(sentence, german) == "8 Zeilen, davon {row:d}"


def test_a_message_survives_the_way_to_another_process(german: str) -> None:
    sent = pickle.loads(pickle.dumps(plural("{count:,} pack", "{count:,} packs", count=3)))
    assert (sent, render(sent, german)) == ("3 packs", "3 Packungen")


@given(st.text(alphabet="{}abc:,. "))
def test_a_value_is_never_taken_for_a_place(value: str) -> None:
    assert Message("said: {value}", value=value) == f"said: {value}"


@pytest.mark.parametrize(
    ("value", "form", "english", "german_text"),
    [
        (1024, ",", "1,024", "1.024"),
        (42.9e9, "bytes", "42.9 GB", "42,9 GB"),
        (40 * 2**30, "ibytes", "40 GiB", "40 GiB"),
        (999, "bytes", "999 B", "999 B"),
        (999_500, "bytes", "1 MB", "1 MB"),
        (0.123456, ".3g", "0.123", "0,123"),
        (1234567.891, ",.2f", "1,234,567.89", "1.234.567,89"),
    ],
)
def test_numbers_keep_their_digits(value: float, form: str, english: str, german_text: str) -> None:
    assert formatted(value, form) == english
    assert formatted(value, form, "de") == german_text


# -------------------------------------------------------------------------------------------------- extraction


def extracted(source: str) -> list[Any]:
    return [found[2] for found in extraction.extract(io.BytesIO(source.encode()), {}, (), {})]


def test_what_is_extracted() -> None:
    assert extracted('Message("a {b} c", b=1)') == ["a {b} c"]
    assert extracted('plural("{count} pack", "{count} packs", count=n)') == [
        ("{count} pack", "{count} packs")
    ]
    assert extracted('number(1, "Tosses", "How often", least=0)') == ["Tosses", "How often"]
    declared = 'choice("first", "Kind", "Which", {"first": "the first one"})'
    assert extracted(declared) == ["first", "Kind", "Which", "the first one"]
    assert extracted('Marks(name="x", title="What is kept")') == ["What is kept"]
    assert extracted('Layer("rect", names=("tiled", "standard"))') == ["tiled", "standard"]


@pytest.mark.parametrize(
    "source",
    [
        'f"{n} packs are full"',
        '"the last of " + name',
        '"{} packs".format(n)',
        '"%d packs" % n',
        'f"row {n}"',
    ],
)
def test_a_sentence_built_outside_a_message_is_found(source: str) -> None:
    assert list(extraction.built_elsewhere(source))


@pytest.mark.parametrize(
    "source",
    [
        'Message("{n} packs are full", n=n)',
        'f"{n}"',
        'f"{topic}.{name}"',
        'f"k = {k}"',
        '"a word"',
        'f"{n:,}%"',
        'formula(r"m \\leftarrow x + " + rate)',
    ],
)
def test_what_is_no_sentence(source: str) -> None:
    assert not list(extraction.built_elsewhere(source))


FILES = sorted((ROOT / "explainers").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_sentence_of_the_explainers_is_a_message(path: Path) -> None:
    internal = path.relative_to(ROOT).parts[1] in INTERNAL
    found = list(extraction.built_elsewhere(path.read_text(encoding="utf-8"), internal))
    assert not found, "(line, text): make each a Message with named places, explainers/contract/messages.py"
