"""A section of a page around one experiment: heading, words, controls, switches, player, and the cards under it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from explainers.contract.experiment import find
from explainers.contract.params import Params
from explainers.contract.result import Check
from pages.ui import page
from pages.ui.cards import checks, predict, share, tables
from pages.ui.jobs import run
from pages.ui.jobs.packed_result import Drawn
from pages.ui.player.mount import Click, play, player_key
from pages.ui.settings import breaks
from pages.ui.settings.controls import Settings
from pages.ui.settings.link import STEP, key_of

# Seconds that the browser has for the picture alone, before some sixty other elements come that it lays out anew.
HEAD_START = 0.06


def heading(title: str, words: str) -> None:
    """The head of a chapter: its title, which a page's first chapter does without, and what it is about."""
    if title:
        st.header(title, anchor=False)
    st.markdown(words)


def notes(facts: Mapping[str, Any]) -> None:
    """A line for each note of a result that has any."""
    tables.lines(facts.get("notes", ()))


@st.fragment
def played(
    settings: Settings,
    experiment: str,
    prefix: str = "",
    *,
    title: str = "",
    words: str,
    fields: Sequence[str] | Callable[[Any], Sequence[str]],
    more: Sequence[str] = (),
    paragraph: str = "",
    told: Callable[[Mapping[str, Any]], None] = notes,
    question: Callable[[Any, Mapping[str, Any]], predict.Question | None] | None = None,
    tries: Callable[[], None] | None = None,
) -> None:
    """A section that plays an experiment of the page under its prefix; moving its controls runs it alone.

    fields: the controls, in their order, or a function that chooses them by the params. more: further ones, behind a
    button. paragraph: a field of long text, behind a button too. told: says under the
    picture what the player does not, from the result's facts; its notes, where nothing else is given. question: what
    is asked, from params and facts. tries: draws the settings to try.
    """
    heading(title, words)

    def controls() -> None:
        """The row of controls, the switches, and what stands behind buttons."""
        params = settings.params(prefix)
        settings.panel(*(fields(params) if callable(fields) else fields), prefix=prefix)
        broken_by = find(experiment).breaks
        with st.container(horizontal=True, vertical_alignment="center", key=f"switches-{prefix}"):
            if broken_by:
                breaks.switches(settings, broken_by, prefix)
            if more:
                with st.popover("More settings", type="tertiary"):
                    settings.panel(*more, prefix=prefix, reset=False)
            if paragraph:
                with st.popover(settings.title(paragraph, prefix), type="tertiary"):
                    settings.panel(paragraph, prefix=prefix, reset=False)
        if broken_by:
            breaks.loss(settings, broken_by, prefix)

    if shown := steered(settings, experiment, controls, prefix):
        told(shown.facts)
        params = settings.params(prefix)
        asked = question(params, shown.facts) if question else None
        cards(experiment, params, shown.checks, shown.scene, question=asked, tries=tries)


def steered(
    settings: Settings,
    experiment: str,
    controls: Callable[[], None],
    prefix: str = "",
    *,
    on_click: Callable[[Click], None] | None = None,
    chunk: Callable[[Params], Params] | None = None,
    paints: bool = False,
    resumes: Callable[[], int | None] = lambda: None,
) -> Drawn | None:
    """The controls and under them the player. The picture is sent first: it is what a moved slider waits for.

    controls: draws the controls. on_click: answers the picture. chunk: of a live run, the settings with the chunk to
    draw. paints: a drag over its cells is for `on_click`. resumes: says, after `chunk`, to which step of a live run the
    reader comes back. Returns the run; None without one.
    """
    settings.settle()
    above = st.container()
    params = settings.params(prefix)
    if shown := run.drawn(experiment, chunk(params) if chunk else params):
        picture(settings, shown, prefix, on_click, serves=chunk is not None, paints=paints, resumes=resumes())
        time.sleep(HEAD_START)
    with above:
        controls()
    return shown


def picture(
    settings: Settings,
    shown: Drawn,
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
    settings.step(None if serves else shown.steps, prefix)
    play(
        shown.scene,
        key=player_key(prefix),
        address=key_of(prefix, STEP),
        opening=settings.opening(prefix),
        serves=serves,
        paints=paints,
        resumes=resumes,
        on_click=on_click,
    )


def borrowing(settings: Settings, names: Iterable[str], prefix: str, words: str, label: str) -> None:
    """Says so where settings differ from those of the page's main experiment, and offers to take these over.

    names: the fields to compare. words: with a place {told} for the titles of those that differ. label: of the button.
    """
    main, here = settings.params().now, settings.params(prefix)
    differs = {name: getattr(main, name) for name in names if getattr(main, name) != getattr(here, name)}
    if not differs:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"borrowing-{prefix}"):
        st.caption(words.format(told=", ".join(settings.title(name, prefix) for name in differs)))
        st.button(label, type="tertiary", on_click=settings.open, args=(differs, prefix))


def cards(
    experiment: str,
    params: Params,
    found: Sequence[Check],
    scene: bytes | None = None,
    *,
    compare: Callable[[], None] | None = None,
    question: predict.Question | None = None,
    tries: Callable[[], None] | None = None,
) -> None:
    """What stands under a picture: the checks, what to take along, a question to predict, settings to try.

    compare: draws one more check, which may take a moment; it is called last. tries: draws the settings to try.
    Nothing here is a fragment of its own: when the section runs again before the browser has heard of its last run,
    Streamlit drops what that run drew, but not what fragments inside drew into it, and the page goes blank.
    """
    left, right = st.columns(2)
    with left, page.card("checked", "Checked"):
        checks.show(found)
        breaks.harmless(params, found)
        one_more = st.container()
    with right, page.card("take", "Take it along"):
        share.take_along(experiment, params, scene)
    if question or tries:
        left, right = st.columns(2)
        if question:
            with left, page.card("predict", "Predict first"):
                predict.ask(question)
        if tries:
            with right if question else left, page.card("try", "Try this"):
                tries()
    if compare:
        with one_more:
            compare()
