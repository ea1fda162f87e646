"""A page as a list of chapters: `show` draws the top bar with the chapters, and the chosen one.

One chapter is on the screen at a time, so that the others cost nothing. It is one fragment: moving its controls runs it
alone. The picture is sent first, the rail and all else afterwards.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import streamlit as st
from pydantic import create_model

from explainers.contract.experiment import find
from explainers.contract.params import Params, choice, control_of
from explainers.player.source import Options
from pages.ui import page
from pages.ui.cards import actions, checks, predict, share, tables
from pages.ui.chapter import Chapter, Shown
from pages.ui.jobs.experiment_run import prepared_or_offered
from pages.ui.jobs.prepared_run import PreparedRun, facts
from pages.ui.page import Places
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
    settings = _settings(chapters)
    chapter = chapters[0]
    with page.bar(topic, topic_named(topic).title):
        if len(chapters) > 1:
            chosen = settings.panel("chapter", prefix=OF_PAGE).chapter
            chapter = next(each for each in chapters if each.key == chosen)
    with st.container(key="_lesson"):
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


def _titles(settings: Settings) -> Sequence[str]:
    """The titles of the chapters of a page; none where it has one only."""
    params_type = settings.types.get(OF_PAGE)
    return list((control_of(params_type, "chapter").labels or {}).values()) if params_type else ()


# --------------------------------------------------------------------------------------- a chapter with a picture


@st.fragment
def play_chapter(chapter: Chapter, settings: Settings, words: Prose) -> None:
    """A chapter that plays its experiment."""
    on_click = chapter.on_click
    play_run(
        chapter, settings, words, on_click=(lambda click: on_click(settings, click)) if on_click else None
    )


def play_run(
    chapter: Chapter,
    settings: Settings,
    words: Prose,
    *,
    on_click: Callable[[Click], None] | None = None,
    chunk: Callable[[Params], Params] | None = None,
    paints: bool = False,
    resumes: Callable[[], int | None] = lambda: None,
    run: Callable[[Params], PreparedRun | None] | None = None,
) -> None:
    """The player on the stage, then the rail and what is below. A reader who moves a slider waits for the picture.

    on_click: answers the picture. chunk: of a live run, the settings with the chunk to draw. paints: a drag over its
    cells is for `on_click`. resumes: says, after `chunk`, to which step of a live run the reader comes back. run: makes
    the run, where it is not simply the experiment's.
    """
    places = page.places()
    settings.settle()
    params = settings.params(chapter.prefix)
    params = chunk(params) if chunk else params
    with places.stage:
        changed = caption(chapter, settings, words)
        made = run(params) if run else prepared_or_offered(chapter.experiment, params)
        if made:
            serves = chunk is not None
            picture(settings, made, chapter.prefix, on_click, serves, paints, resumes())
            time.sleep(HEAD_START)
    shown = made and Shown(
        chapter, settings, words, params, made.facts, made.checks, made.scene, changed=changed
    )
    rail(places, chapter, settings, words, shown)
    finish(places, chapter, settings, shown)


def charted(
    chapter: Chapter,
    settings: Settings,
    words: Prose,
    draw: Callable[[], Any],
    below: Callable[[Any], None] = lambda result: None,
) -> None:
    """A chapter of settled charts.

    draw: puts them on the stage and returns the Result that they show, None while there is none. below: draws more of
    it under the stage.
    """
    places = page.places()
    with places.stage:
        changed = caption(chapter, settings, words)
        with st.container(key="_charts"):
            result = draw()
    params = settings.params(chapter.prefix)
    shown = result and Shown(chapter, settings, words, params, facts(result), result.checks, changed=changed)
    rail(places, chapter, settings, words, shown)
    with places.below:
        below(result)
    finish(places, chapter, settings, shown)


def caption(chapter: Chapter, settings: Settings, words: Prose) -> Any:
    """The head of the stage: the chapter's title, and its claim, or what its break loses, or what to look for.

    Returns the place for what the last change did.
    """
    with st.container(key="_caption", gap=None):
        st.title(chapter.heading or words.title, anchor=False)
        changed = st.container(key="_changed")
        lost = breaks.loss(settings, find(chapter.experiment).breaks, chapter.prefix)
        tried = next(
            (each for each in chapter.tries if settings.is_tried(each.changes, chapter.prefix)), None
        )
        told = words[f"{chapter.key}.try.{tried.name}" if tried else f"{chapter.key}.claim"]
        with st.container(key=f"_claim-{chapter.key}"):  # another one in each chapter, so that no text moves
            st.markdown(lost or told)
    return changed


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


# --------------------------------------------------------------------------------------- the rail


def rail(places: Places, chapter: Chapter, settings: Settings, words: Prose, shown: Shown | None) -> None:
    """The question, the controls, the switches, and the settings to try. shown: None without a run."""
    with places.rail:
        if shown:
            tables.doubts(shown.facts.get("warnings", ()))
            if question := _question(shown, "question", "predict", "reveal"):
                with page.card("predict", "Predict first"):
                    predict.ask(question)
        if chapter.above:
            chapter.above(chapter, settings, words)
        chapter_controls(chapter, settings)
        if chapter.tries:
            with st.container(key="_tries"):
                st.markdown("Try this")
                settings.try_this([(each.label, each.changes) for each in chapter.tries], chapter.prefix)


def chapter_controls(chapter: Chapter, settings: Settings) -> None:
    """The controls, the settings behind buttons, and the switches."""
    prefix = chapter.prefix
    settings.panel(*chapter.chosen(chapter.fields, settings), prefix=prefix)
    with st.container(horizontal=True, vertical_alignment="center", key=f"further-{prefix}"):
        for label, fields in chapter.behind.items():
            with st.popover(label, type="tertiary"):
                settings.panel(*chapter.chosen(fields, settings), prefix=prefix)
        if chapter.tools:
            chapter.tools(settings)
        settings.reset_button(prefix)
    settings.report(prefix)
    if broken_by := find(chapter.experiment).breaks:
        breaks.switches(settings, broken_by, prefix)
        breaks.set_for_it(settings, broken_by, prefix)


# --------------------------------------------------------------------------------------- below the stage


def finish(places: Places, chapter: Chapter, settings: Settings, shown: Shown | None) -> None:
    """What is below the stage, and the right end of the top bar. shown: None without a run."""
    titles = _titles(settings)
    with places.below:
        if shown:
            (shown.chapter.below or notes)(shown)
            cards(shown)
    with places.actions:
        actions.show(shown.checks if shown else (), chapters=titles, chosen=chapter.title)


def notes(shown: Shown) -> None:
    """A line for each note of a result that has any."""
    tables.lines(shown.facts.get("notes", ()))


def cards(shown: Shown) -> None:
    """The explanation, a question to check oneself, the checks, and what to take along.

    Nothing here is a separate fragment (docs/decisions/008-no-fragment-inside-a-fragment.md): if the chapter runs again
    before the browser has its last run, Streamlit drops what that run drew, but not what fragments inside it drew, and
    the page goes blank.
    """
    chapter = shown.chapter
    left, right = st.columns(2)
    with left, page.card("explained", "What happens here"):
        st.markdown(f"**{shown.said('surprise')}**")
        st.markdown(shown.words[chapter.key])
    with right:
        with page.card("checked", "Checked"):
            checks.show(shown.checks)
            breaks.harmless(shown.params, shown.checks)
            below_checks = st.container()
        if in_the_end := _question(shown, "check_yourself", "check", "answer"):
            with page.card("yourself", "Check yourself"):
                predict.ask(in_the_end)
        with page.card("take", "Take it along"):
            share.take_along(chapter.experiment, shown.params, shown.scene)
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
    asking, answering = (shown.words.filled(f"{chapter.key}.{part}", plain) for part in (before, after))
    return predict.Question(asking, asked["answers"], asked["right"], answering)
