"""A page as a list of chapters: `show` draws its head, the row of chapters, and the chosen one.

One chapter is on the screen at a time, so that the others cost nothing. It is one fragment: moving its controls runs it
alone. The picture is sent first, the controls above it afterwards.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import streamlit as st
from pydantic import create_model

from explainers.contract.experiment import find
from explainers.contract.params import Params, choice
from explainers.player.source import Options
from pages.ui import page
from pages.ui.cards import checks, predict, share, tables
from pages.ui.chapter import Chapter, Shown
from pages.ui.jobs.experiment_run import prepared_or_offered
from pages.ui.jobs.prepared_run import PreparedRun
from pages.ui.player.mount import Click, play, player_key
from pages.ui.prose import Prose, prose
from pages.ui.settings import breaks, controls
from pages.ui.settings.controls import Settings
from pages.ui.settings.link import STEP, key_of
from pages.ui.topics import topic_named

# Seconds: lets the browser paint the picture before some sixty other elements force a new layout
# (docs/decisions/010-picture-first.md).
HEAD_START = 0.06
OF_PAGE = "_page"  # the prefix of the page's own settings


def show(topic: str, chapters: Sequence[Chapter]) -> None:
    """Draws the page of a topic."""
    words = prose(topic)
    page.frame(topic_named(topic).section, words.title, words["claim"])
    settings = _settings(chapters)
    chapter = chapters[0]
    if len(chapters) > 1:
        chosen = settings.panel("chapter", prefix=OF_PAGE, reset=False).chapter
        chapter = next(each for each in chapters if each.key == chosen)
    if chapter.above:
        chapter.above(chapter, settings, words)
    (chapter.show or play_chapter)(chapter, settings, words)
    page.sources(words["sources"])


def _settings(chapters: Sequence[Chapter]) -> Settings:
    """The settings of all chapters, those of the main one first, and which chapter is on the screen."""
    in_order = sorted(chapters, key=lambda chapter: not chapter.main)
    types: dict[str, type[Params]] = {chapter.prefix: chapter.params for chapter in in_order}
    for chapter in chapters:
        types |= chapter.further
    if len(chapters) > 1:
        types[OF_PAGE] = _page_params(tuple((chapter.key, chapter.title) for chapter in chapters))
    main = types.pop("", None)
    return controls.settings(main, **types)


@functools.cache
def _page_params(chapters: tuple[tuple[str, str], ...]) -> type[Params]:
    """Params with the one field `chapter`, the first by default. chapters: key and title of each."""
    titles = dict(chapters)
    keys: Any = Literal[tuple(titles)]
    field = choice(next(iter(titles)), "", "The chapter of this page", titles)
    return create_model("Page", __base__=Params, chapter=(keys, field))


# --------------------------------------------------------------------------------------- a chapter with a picture


@st.fragment
def play_chapter(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """A chapter that plays its experiment: controls, switches, player, and the cards under it."""
    heading(chapter, words)
    on_click = chapter.on_click
    run = steered(
        chapter,
        settings,
        lambda: chapter_controls(chapter, settings),
        on_click=(lambda click: on_click(settings, click)) if on_click else None,
    )
    if run:
        under_picture(chapter, settings, words, run)


def heading(chapter: Chapter, words: Prose) -> None:
    """The head of a chapter: its heading, which a page's first chapter does without, and what it is about."""
    if chapter.heading:
        st.header(chapter.heading, anchor=False)
    st.markdown(words[chapter.key])


def chapter_controls(chapter: Chapter, settings: Settings) -> None:
    """The row of controls, the switches, and the settings behind buttons."""
    prefix = chapter.prefix
    settings.panel(*chapter.chosen(chapter.fields, settings), prefix=prefix)
    broken_by = find(chapter.experiment).breaks
    with st.container(horizontal=True, vertical_alignment="center", key=f"switches-{prefix}"):
        if chapter.tools:
            chapter.tools(settings)
        elif broken_by:
            breaks.switches(settings, broken_by, prefix)
        for label, fields in chapter.behind.items():
            with st.popover(label, type="tertiary"):
                settings.panel(*chapter.chosen(fields, settings), prefix=prefix, reset=False)
    if broken_by:
        if chapter.tools:  # which fill the row
            breaks.switches(settings, broken_by, prefix)
        breaks.loss(settings, broken_by, prefix)


def steered(
    chapter: Chapter,
    settings: Settings,
    controls: Callable[[], None],
    *,
    on_click: Callable[[Click], None] | None = None,
    chunk: Callable[[Params], Params] | None = None,
    paints: bool = False,
    resumes: Callable[[], int | None] = lambda: None,
) -> PreparedRun | None:
    """The controls and the player under them. The picture is sent first: a reader who moves a slider waits for it.

    controls: draws the controls. on_click: answers the picture. chunk: of a live run, the settings with the chunk to
    draw. paints: a drag over its cells is for `on_click`. resumes: says, after `chunk`, to which step of a live run the
    reader comes back. Returns the run; None without one.
    """
    settings.settle()
    above = st.container()
    params = settings.params(chapter.prefix)
    if run := prepared_or_offered(chapter.experiment, chunk(params) if chunk else params):
        picture(
            settings,
            run,
            chapter.prefix,
            on_click,
            serves=chunk is not None,
            paints=paints,
            resumes=resumes(),
        )
        time.sleep(HEAD_START)
    with above:
        controls()
        if run:
            tables.doubts(run.facts.get("warnings", ()))
    return run


def picture(
    settings: Settings,
    run: PreparedRun,
    prefix: str = "",
    on_click: Callable[[Click], None] | None = None,
    serves: bool = False,
    paints: bool = False,
    resumes: int | None = None,
) -> None:
    """The player, at the step that the link asks for.

    serves: of a live run, whose steps `on_click` adds to. paints: a drag over its cells is for `on_click`. resumes: the
    step of a live run to come back to.
    """
    settings.step(None if serves else run.steps, prefix)
    options = Options(
        address=key_of(prefix, STEP),
        opening=settings.opening(prefix),
        serves=serves,
        paints=paints,
        resumes=resumes,
    )
    play(run.scene, options, key=player_key(prefix), on_click=on_click)


# --------------------------------------------------------------------------------------- under a picture


def under_picture(
    chapter: Chapter, settings: Settings, words: Prose, run: PreparedRun, params: Params | None = None
) -> None:
    """Draws what is under the picture: what the chapter says of the run, and the cards.

    params: those of the run, where they are not simply the settings of the chapter.
    """
    params = settings.params(chapter.prefix) if params is None else params
    shown = Shown(chapter, settings, words, params, run.facts, run.checks, run.scene)
    (chapter.below or notes)(shown)
    cards(shown)


def notes(shown: Shown) -> None:
    """A line for each note of a result that has any."""
    tables.lines(shown.facts.get("notes", ()))


def cards(shown: Shown) -> None:
    """The checks, what to take along, a question to predict, settings to try.

    Nothing here is a separate fragment (docs/decisions/008-no-fragment-inside-a-fragment.md): if the chapter runs again
    before the browser has its last run, Streamlit drops what that run drew, but not what fragments inside it drew, and
    the page goes blank.
    """
    chapter, question = shown.chapter, _question(shown, "question", "predict", "reveal")
    in_the_end = _question(shown, "check_yourself", "check", "answer")
    left, right = st.columns(2)
    with left, page.card("checked", "Checked"):
        checks.show(shown.checks)
        breaks.harmless(shown.params, shown.checks)
        below_checks = st.container()
    with right, page.card("take", "Take it along"):
        share.take_along(chapter.experiment, shown.params, shown.scene)
    if question or chapter.tries:
        left, right = st.columns(2)
        if question:
            with left, page.card("predict", "Predict first"):
                predict.ask(question)
        if chapter.tries:
            with right if question else left, page.card("try", "Try this"):
                offers = [
                    (each.label, each.changes, shown.said(f"try.{each.name}")) for each in chapter.tries
                ]
                shown.settings.try_this(offers, chapter.prefix)
    if in_the_end:
        with page.card("yourself", "Check yourself"):
            predict.ask(in_the_end)
    if chapter.verify:
        with below_checks:
            chapter.verify(shown)


def _question(shown: Shown, name: str, before: str, after: str) -> predict.Question | None:
    """A question of a chapter in the words of the page; None where the settings leave nothing to ask.

    name: the chapter's field that asks. before, after: the sections with the question and with what follows the answer.
    """
    chapter, asks = shown.chapter, getattr(shown.chapter, name)
    if asks is None or (asked := asks(shown.params, shown.facts)) is None:
        return None
    plain = {key: tables.plain(value) if isinstance(value, str) else value for key, value in asked.items()}
    predicted, revealed = (shown.words.filled(f"{chapter.key}.{part}", plain) for part in (before, after))
    return predict.Question(predicted, asked["answers"], asked["right"], revealed)
