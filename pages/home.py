"""Home: what the site is, and one card a topic with a small picture from a tiny run. The fastest page of the site."""

from __future__ import annotations

import streamlit as st

from explainers.experiment import find
from pages.ui import page
from pages.ui.player.mount import play
from pages.ui.prose import prose

# topic: its page's title, the experiment that the small picture runs, and the view that draws it small
TOPICS = {
    "flash_attention": (
        "Flash attention",
        "flash_attention.online_softmax",
        {"length": 16, "block": 4, "outlier": 2.0},
    ),
}


@st.cache_data(max_entries=len(TOPICS), show_spinner=False)
def picture(topic: str) -> bytes:
    """The topic's small scene, packed."""
    _, name, settings = TOPICS[topic]
    experiment = find(name)
    return experiment.card(experiment(experiment.params(**settings))).to_bytes()


page.frame("Lantern", "Language models and reinforcement learning, from the inside", prose("home")["claim"])
st.markdown(prose("home")["how"])
for topic, column in zip(TOPICS, st.columns(2), strict=False):
    with column, page.card(topic):
        st.page_link(f"pages/{topic}.py", label=f"**{TOPICS[topic][0]}** →")
        st.markdown(prose(topic)["claim"])
        play(picture(topic), key=f"picture-{topic}", mode="card")
