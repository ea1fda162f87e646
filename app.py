"""Lantern: the pages, and how one gets from one to another."""

import streamlit as st

from pages.ui import navigation, page
from pages.ui.jobs import warm_up
from pages.ui.settings import address
from pages.ui.streamlit_internals import check_messages, show_default_page_unless
from pages.ui.topics import SECTIONS, TOPICS

check_messages()
st.set_page_config(page_title="Lantern", page_icon="🏮", layout="wide")

home = st.Page("pages/home.py", title="Lantern", url_path="home", default=True)
pages = {
    section: [
        st.Page(f"pages/{topic.name}.py", title=topic.title, url_path=topic.name)
        for topic in TOPICS
        if topic.section == section
    ]
    for section in SECTIONS
}
sections = {section: built for section, built in pages.items() if built}

titles = {topic.name: topic.title for topic in TOPICS}
unknown = show_default_page_unless(titles.keys())
chosen = st.navigation({"": [home], **sections}, position="hidden")
address.enter(chosen.url_path)
page.style()
warm_up.start()
navigation.report_unknown("" if unknown == "home" else unknown, titles)
chosen.run()
