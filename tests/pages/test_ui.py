"""What the pages share, without a browser: the address, sentences, words, source, checks, background runs."""

from __future__ import annotations

import base64
import shlex
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explainers.contract.experiment import find
from explainers.contract.params import Params, choice, number, read, switch, text
from explainers.contract.result import Check
from pages.ui import prose
from pages.ui.cards import actions, charts, checks, commands, predict, tables
from pages.ui.settings import changes, link

ROOT = Path(__file__).parents[2]


class Settings(Params):
    """One field of each kind."""

    length: int = number(64, "Length", "How many", least=8, most=4096, comfort=(8, 256), step=8)
    scale: float = number(1.0, "Scale", "Factor", least=-1e6, most=1e6)
    causal: bool = switch(True, "Causal", "Sees earlier ones only")
    kind: Literal["one", "two"] = choice("one", "Kind", "Which", {"two": "The other"})
    words: str = text("", "Words", "Anything", longest=100_000, long_text=True)
    row: tuple[float, ...] = ()


settings = st.builds(
    Settings,
    length=st.integers(8, 4096),
    scale=st.floats(-1e6, 1e6),
    causal=st.booleans(),
    kind=st.sampled_from(["one", "two"]),
    words=st.text(st.characters(codec="utf-8"), max_size=400),
    row=st.lists(st.floats(-1e9, 1e9), max_size=60).map(tuple),
)

# ---------------------------------------------------------------------------------------------------- address


@given(settings, settings)
def test_a_link_reproduces_its_settings(main: Settings, other: Settings) -> None:
    query, left_out = link.query_of({"": main, "other": other})
    assert not left_out
    for prefix, params in {"": main, "other": other}.items():
        assert link.take(query, prefix, Settings) == (params, {})
    assert not query


def test_defaults_stay_out_of_the_address() -> None:
    assert link.query_of({"": Settings()}) == ({}, [])


def test_text_too_long_for_a_link_is_left_out_with_a_sentence() -> None:
    noise = base64.b85encode(np.random.default_rng(0).bytes(20_000)).decode()
    query, left_out = link.query_of({"": Settings(length=8, words=noise)})
    assert query == {"length": "8"}
    assert left_out == ["Words is too long for a link, which leaves it out."]


@given(st.text(st.characters(codec="utf-8"), max_size=3000))
def test_packed_text_comes_back(words: str) -> None:
    packed = link.pack(words)
    if packed is not None:
        assert link.unpack(packed) == words
        assert len(packed) <= link.LONGEST


def test_short_text_stays_readable() -> None:
    assert link.pack("1,2,3") == "1,2,3"


@pytest.mark.parametrize(
    "value",
    [
        link.PACKED + base64.urlsafe_b64encode(zlib.compress(bytes(50_000_000))).decode(),
        link.PACKED + base64.urlsafe_b64encode(zlib.compress(b"cut short" * 99)[:-8]).decode(),
        link.PACKED + base64.urlsafe_b64encode(zlib.compress(b"\xff\xfe")).decode(),
        link.PACKED + "not base64 !",
        link.PACKED + "é",
        link.PACKED,
    ],
    ids=["bomb", "cut", "not text", "not base64", "not ascii", "empty"],
)
def test_what_was_not_packed_here_is_refused_in_words(value: str) -> None:
    with pytest.raises(ValueError, match="text that this site compressed"):
        link.unpack(value)
    params, sentences = link.take({"words": value}, "", Settings)
    assert params == Settings()
    assert len(sentences) == 1


@given(st.dictionaries(st.sampled_from([*Settings.model_fields, "unheard"]), st.text(), max_size=7))
def test_any_address_gives_settings_and_one_sentence_for_each_value_ignored(raw: dict[str, str]) -> None:
    params, sentences = link.take(raw, "", Settings)
    assert isinstance(params, Settings)
    assert all(len(sentence) < 400 and "\n" not in sentence for sentence in sentences.values())
    assert raw.keys() <= {"unheard"}


def test_a_hostile_value_is_named_with_what_is_allowed_and_used() -> None:
    _, sentences = link.take({"length": "1e9", "kind": "<script>"}, "", Settings)
    assert list(sentences.values()) == [
        "length = '1e9' is not accepted; allowed: a whole number from 8 to 4096. The page uses 64 instead.",
        "kind = '<script>' is not accepted; allowed: one of one, two. The page uses one instead.",
    ]


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    sentences = link.unknown(["lenght", "*bold* [x](y)"], {"": Settings, "other": Settings})
    assert list(sentences.values()) == [
        "'lenght' is not a setting of this page and was ignored; did you mean length?",
        "'*bold* [x](y)' is not a setting of this page and was ignored.",
    ]


@pytest.mark.parametrize(
    ("raw", "step"), [("0", 0), ("17", 17), ("-1", None), ("1e3", None), ("٣", None), ("9" * 30, None)]
)
def test_a_step_is_a_whole_number(raw: str, step: int | None) -> None:
    taken, sentences = link.take_step({"other.step": raw}, "other")
    assert taken == step
    assert len(sentences) == (step is None)


# --------------------------------------------------------------------------------------------------- controls


def test_the_sentence_of_a_change_names_both_sides() -> None:
    sentence = changes.change_sentence(
        Settings(),
        Settings(length=32, kind="two"),
        {"tiles": "10", "read": "51 kB"},
        {"tiles": "3", "read": "51 kB"},
    )
    assert sentence == "Length 64 → 32, Kind one → The other: tiles 10 → 3"


def test_a_change_without_effect_says_so() -> None:
    sentence = changes.change_sentence(Settings(), Settings(causal=False), {"tiles": "10"}, {"tiles": "10"})
    assert sentence == "Causal true → false: tiles unchanged"


# ------------------------------------------------------------------------------------------------------ checks


def test_a_check_shows_symbol_error_tolerance_and_reference() -> None:
    line = checks.line(Check("equals exact attention", 4.2e-7, 2e-6, "float64"))
    assert "✓" in line
    assert "max error 4.2e-7, tolerance 2e-6" in line
    assert "against float64" in line


def test_a_failed_check_is_red_and_its_words_are_escaped() -> None:
    line = checks.line(Check("<b>", float("nan"), 0.0, "&"))
    assert "✗" in line
    assert "&lt;b&gt;" in line
    assert "not a number" in line


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (3.0, "3"),
        (2e-6, "2e-6"),
        (1.25e5, "1.2e5"),
        (float("inf"), "infinite"),
    ],
)
def test_numbers_of_a_check_are_short(value: float, shown: str) -> None:
    assert checks.scientific(value) == shown


# ------------------------------------------------------------------------------------------------------- prose


def test_sections_are_found_by_name() -> None:
    found = prose.sections("# Title\n\nignored\n\n## claim\n\nOne.\n\n### part\nTwo.\n\n## try\nThree.\n")
    assert found == {"claim": "One.\n\n### part\nTwo.", "try": "Three."}


def test_a_missing_section_says_which_there_are() -> None:
    with pytest.raises(KeyError, match=r"topic\.md has no section 'clame'; it has claim, try"):
        prose.Prose("topic", {"claim": "", "try": ""})["clame"]


def test_a_section_stands_once() -> None:
    with pytest.raises(ValueError, match="claim"):
        prose.sections("## claim\n\n## claim\n")


@pytest.mark.parametrize("path", sorted(prose.FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_every_section_of_the_words_is_used_by_its_page(path: Path) -> None:
    page = (ROOT / "pages" / path.name).with_suffix(".py")
    parts = [
        page,
        *(ROOT / "pages/parts").glob(f"{path.stem}.py"),
        *(ROOT / f"pages/parts/{path.stem}").glob("*.py"),
    ]
    source = "".join(part.read_text(encoding="utf-8") for part in parts)
    by_lesson = {"claim", "sources", "predict", "reveal", "surprise", "check", "answer", "try"}
    if path.stem != "home":
        by_lesson.add("card")  # the home page asks for it
    unused = [
        name
        for name in prose.prose(path.stem)
        if f'"{name}"' not in source
        and not all(f'"{word}"' in source or word in by_lesson for word in name.split("."))
    ]
    assert not unused, f"sections of {path.name} that nothing asks for"


# ---------------------------------------------------------------------------------------------------- commands


def test_the_command_leaves_defaults_out_and_quotes() -> None:
    params = Settings(length=128, causal=False, words="it's; rm -rf", row=(1.0, 2.5))
    assert commands.command("topic.name", params, "--json") == (
        "python -m explainers topic.name --length 128 --causal false --words 'it'\"'\"'s; rm -rf' --row 1,2.5 --json"
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("grid_world.learn", {"preset": "cliff", "gamma": 0.9, "epsilon": 0.3}),
        ("grid_world.learn", {"algorithm": "td0", "n": 4}),
        ("stochastic_approximation.robbins_monro", {"g": "w - 7", "w1": 0}),
        ("kv_cache.size", {"model": "gemma-3-27b"}),
    ],
)
def test_a_command_gives_the_same_settings(name: str, values: dict[str, object]) -> None:
    """Also where a setting is at its own default, and a preset that is named would fill in another one."""
    params_type = find(name).params
    params = params_type.model_validate(values)
    words = shlex.split(commands.command(name, params))[4:]
    again, problems = read(
        params_type, dict(zip((word[2:] for word in words[::2]), words[1::2], strict=True))
    )
    assert not problems
    assert again == params


# ------------------------------------------------------------------------------------------------------- share


def test_a_qr_code_is_an_svg_that_escapes_nothing_into_the_page() -> None:
    drawn = actions.qr_svg("http://127.0.0.1:8501/flash_attention?seq_len=128&seed=<script>")
    assert drawn.startswith("<svg")
    assert "script" not in drawn


# ------------------------------------------------------------------------------------------------- run, charts


def test_charts_have_the_same_colors_in_both_themes() -> None:
    assert charts.LIGHT.keys() == charts.DARK.keys()


def test_the_right_answer_must_be_among_the_answers() -> None:
    with pytest.raises(ValueError, match="not among the answers"):
        predict.Question("How many?", ["1", "2"], "3", "")


def test_a_number_is_chosen_from_nought_to_the_most() -> None:
    assert predict.counted(1, 3) == {"answers": ["0", "1", "2", "3"], "right": "1"}
    with pytest.raises(ValueError, match="not among the answers"):
        predict.Question("How many?", because="", **predict.counted(4, 3))


def test_a_table_shows_its_cells_as_plain_text() -> None:
    made = tables.markdown(["name", "bytes"], [["**a** | <b> [x](y)", "1"], ["two\nlines", "2"]], {1})
    assert made.split("\n") == [
        "| name | bytes |",
        "| :--- | ---: |",
        "| \\*\\*a\\*\\* \\| \\<b\\> \\[x\\]\\(y\\) | 1 |",
        "| two lines | 2 |",
    ]
