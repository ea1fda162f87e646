"""Lantern: the pages, and how one gets from one to another."""

import streamlit as st

from pages.ui import address, navigation, page, warm

st.set_page_config(page_title="Lantern", page_icon="🏮", layout="wide", initial_sidebar_state=232)

home = st.Page("pages/home.py", title="Lantern", url_path="home", default=True)
sections = {
    "Attention": [
        st.Page("pages/flash_attention.py", title="Flash attention", url_path="flash_attention"),
    ],
}

chosen = st.navigation({"": [home], **sections}, position="hidden")
address.enter(chosen.url_path)
page.style()
navigation.draw(home, sections, chosen)
warm.start()
chosen.run()
