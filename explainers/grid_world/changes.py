"""Changes of an agent's settings during a run, as a short string that fits in a link.

    1200:epsilon=0.3|2400:r_forbidden=-10|3000:world=S..../5./5./5./4.T

From transition 1,200 on epsilon is 0.3, and so on. The agent keeps what it has learned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from explainers.contract.messages import Message

MOST_CHANGES = 50
LATEST = 10**8
CHANGEABLE = (
    "alpha", "alpha_schedule", "epsilon", "epsilon_schedule", "lambda", "planning_steps", "behaviour", "gamma", "slip",
    "r_target", "r_forbidden", "r_boundary", "r_step", "forbidden", "target", "bump", "world",
)  # fmt: skip

_CHANGE = re.compile(r"(\d{1,9}):([a-z_]+)=([^|]+)")


@dataclass(frozen=True)
class Change:
    """From transition `time` on, `field` has `value`, written as in a link."""

    time: int
    field: str
    value: str


def parse(text: str) -> tuple[Change, ...]:
    """The changes in `text`, in their order.

    Raises ValueError with a Message that completes the sentence "allowed: ...".
    """
    if not text.strip():
        return ()
    parts = text.strip().split("|")
    if len(parts) > MOST_CHANGES:
        raise ValueError(Message("at most {most} changes; here {given}", most=MOST_CHANGES, given=len(parts)))
    changes = tuple(_change(part) for part in parts)
    times = [change.time for change in changes]
    if times != sorted(times):
        raise ValueError(Message("changes in the order of their times"))
    return changes


def write(changes: tuple[Change, ...]) -> str:
    """The text that `parse` reads."""
    return "|".join(f"{change.time}:{change.field}={change.value}" for change in changes)


def _change(part: str) -> Change:
    found = _CHANGE.fullmatch(part)
    if not found or int(found[1]) > LATEST:
        raise ValueError(
            Message(
                "time:setting=value with | between them, as in 1200:epsilon=0.3; here {given}",
                given=repr(part[:30]),
            )
        )
    if found[2] not in CHANGEABLE:
        raise ValueError(
            Message(
                "changes of {fields}; here {given}", fields=", ".join(CHANGEABLE), given=repr(found[2][:30])
            )
        )
    return Change(int(found[1]), found[2], found[3])
