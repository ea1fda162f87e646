"""Home: a computation that plays, then a card a topic with a small picture from a tiny run. The fastest page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explainers.contract.experiment import find
from explainers.player.source import Options
from pages.ui import page
from pages.ui.cards import actions
from pages.ui.player.mount import play
from pages.ui.prose import prose
from pages.ui.topics import TOPICS

PLAYED = "flash_attention.online_softmax"  # what plays by itself
PLAYED_SETTINGS: Mapping[str, Any] = {"length": 32, "block": 4, "outlier": 3.0, "outlier_at": 0.6}


@st.cache_data(max_entries=1, show_spinner=False)
def played() -> bytes:
    """The scene that plays by itself, packed."""
    experiment = find(PLAYED)
    return experiment.scene(experiment(experiment.params(**PLAYED_SETTINGS))).to_bytes()


@st.cache_data(max_entries=len(TOPICS), show_spinner=False)
def picture(number: int) -> bytes:
    """The small scene of a topic, packed."""
    experiment = find(TOPICS[number].card)
    return experiment.card(experiment(experiment.params(**TOPICS[number].card_settings))).to_bytes()


words = prose("home")
with page.bar("", "Topics"):
    pass
with st.container(key="_home"):
    with st.container(key="_welcome", gap=None):
        st.title(words.title, anchor=False)
        st.markdown(words["claim"])
    with st.container(key="_played"):
        play(played(), Options(plays=True), key="player-home")
    with st.container(key="_cards"):
        for number, topic in enumerate(TOPICS):
            with page.card(topic.name):
                st.page_link(f"pages/{topic.name}.py", label=f"**{topic.title}**")
                st.markdown(prose(topic.name)["card"])
                play(picture(number), Options(mode="card"), key=f"picture-{topic.name}")
    st.markdown(words["how"])
with st.container(key="_actions"):
    actions.show(on_home=True)
