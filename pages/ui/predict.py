"""Predict, then reveal: the reader commits to an answer before the page gives its own, computed one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st


def predict(key: str, question: str, answers: Sequence[str], right: str, because: str) -> None:
    """Asks `question`; once the reader has chosen, says whether it was `right`, and why.

    answers: what can be chosen, `right` among them. because: the explanation, with the computed numbers in it.
    """
    if right not in answers:
        raise ValueError(f"{right!r} is not among the answers {list(answers)}")
    _ask(key, question, answers, right, because)


@st.fragment
def _ask(key: str, question: str, answers: Sequence[str], right: str, because: str) -> None:
    with st.container(key=f"predict-{key}", gap="xsmall"):
        st.markdown(question)
        chosen = st.segmented_control(question, answers, key=f"_predict-{key}", label_visibility="collapsed")
        if chosen is None:
            st.caption("Choose an answer to see what was computed.")
        elif chosen == right:
            st.markdown(f":green[**✓ Yes, {right}.**] {because}")
        else:
            st.markdown(f":red[**✗ It is {right}.**] {because}")
