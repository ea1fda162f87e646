"""Predict, then reveal: the reader commits to an answer before the page gives its own, computed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st


@dataclass(frozen=True)
class Question:
    """words: the question. answers: what can be chosen, `right` among them. because: the explanation, with numbers."""

    words: str
    answers: Sequence[str]
    right: str
    because: str

    def __post_init__(self) -> None:
        if self.right not in self.answers:
            raise ValueError(f"{self.right!r} is not among the answers {list(self.answers)}")


def counted(right: int, most: int) -> dict[str, Any]:
    """The answers of a question about a whole number from 0 to `most`."""
    return {"answers": [str(number) for number in range(most + 1)], "right": str(right)}


def ask(question: Question) -> None:
    """Asks; once the reader has chosen, says whether it was right, and why. A new question starts unanswered."""
    key = f"_predict-{question.words}-{question.right}"
    st.markdown(question.words)
    chosen = st.segmented_control(question.words, question.answers, key=key, label_visibility="collapsed")
    if chosen == question.right:
        st.markdown(f":green[**✓ Yes, {question.right}.**] {question.because}")
    elif chosen is not None:
        st.markdown(f":red[**✗ It is {question.right}.**] {question.because}")
