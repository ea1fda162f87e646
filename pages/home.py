"""Home: what the site is, and one card a topic with a small picture from a tiny run. The fastest page of the site."""

from __future__ import annotations

import streamlit as st

from explainers.contract.experiment import find
from explainers.player.source import Options
from pages.ui import page
from pages.ui.cards import actions
from pages.ui.player.mount import play
from pages.ui.prose import prose
from pages.ui.topics import TOPICS

CARDS_IN_A_ROW = 2


@st.cache_data(max_entries=len(TOPICS), show_spinner=False)
def picture(number: int) -> bytes:
    """The small scene of a topic, packed."""
    experiment = find(TOPICS[number].card)
    return experiment.card(experiment(experiment.params(**TOPICS[number].card_settings))).to_bytes()


words = prose("home")
with page.bar("", "Topics"):
    pass
with st.container(key="_actions"):
    actions.show()
with st.container(key="_home"):
    st.title(words.title, anchor=False)
    st.markdown(words["how"])
    for number, topic in enumerate(TOPICS):
        if number % CARDS_IN_A_ROW == 0:
            row = st.columns(CARDS_IN_A_ROW)
        with row[number % CARDS_IN_A_ROW], page.card(topic.name):
            st.page_link(f"pages/{topic.name}.py", label=f"**{topic.title}** →")
            st.markdown(prose(topic.name)["claim"])
            play(picture(number), Options(mode="card"), key=f"picture-{topic.name}")
