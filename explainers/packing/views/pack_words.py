"""The words of packing: a sentence for each step, of one strategy or of two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from explainers.contract.messages import Message, joined, plural
from explainers.drawing.formula import formula
from explainers.drawing.scene import Words
from explainers.packing.pack import Outcome, PackResult
from explainers.packing.pack_params import HEADINGS
from explainers.packing.views.pack_steps import Playing

# The live numbers of one strategy, and how they are written. first, last: tokens of the piece in its document. free:
# before it is placed; left, over: after. closed: packs that close at the step. packs, placed, places: so far.
FORMS: Mapping[str, str] = {
    "document": "d",
    "tokens": "d",
    "pack": "d",
    "free": "d",
    "left": "d",
    "over": "d",
    "first": "d",
    "last": "d",
    "closed": "d",
    "padding": ".1f",
    "packs": "d",
    "placed": "d",
    "places": "d",
}
PREFIXES = ("", "second_")  # of the columns of the first strategy and of the second

SHARE_SO_FAR = r"\frac{\slot{placed:d}}{\slot{places:d}} = \slot{padding:.1f}\%"
PADDING_SO_FAR = rf"\text{{padding}} = 1 - \frac{{\ell}}{{w}} = 1 - {SHARE_SO_FAR}"


def words(result: PackResult, outcomes: Sequence[Outcome], plays: Sequence[Playing]) -> Words:
    """A sentence for every step; with two strategies, one sentence of each."""
    steps = len(plays[0].tokens)
    chosen = [_opening(result)]
    for step in range(1, steps):
        parts = [
            _sentence(result, outcome, play, step, prefix=prefix, alone=len(plays) == 1)
            for outcome, play, prefix in zip(outcomes, plays, PREFIXES, strict=False)
        ]
        chosen.append(parts[0] if len(parts) == 1 else _side_by_side(parts, outcomes, step == steps - 1))
    sentences = tuple(dict.fromkeys(chosen))
    number = {sentence: at for at, sentence in enumerate(sentences)}
    shown = formula(PADDING_SO_FAR)
    return Words(
        sentences=sentences,
        which=np.array([number[sentence] for sentence in chosen]),
        values=np.concatenate([_numbers(play) for play in plays], axis=1),
        formulas=tuple("" if sentence == chosen[0] or len(plays) > 1 else shown for sentence in sentences),
        columns=tuple(prefix + name for prefix in PREFIXES[: len(plays)] for name in FORMS),
    )


def _numbers(play: Playing) -> np.ndarray:
    """(steps, columns) the live numbers of one strategy, in the order of FORMS."""
    k = np.maximum(play.latest, 0)
    free = play.widths[play.pack[k]] - play.position[k]
    left = free - play.length[k]
    columns = [
        play.document[k], play.length[k], play.pack[k], free, np.maximum(left, 0), np.maximum(-left, 0),
        play.first[k], play.first[k] + play.length[k] - 1, play.closed_at, play.padding_percent, play.opened_so_far,
        play.tokens, play.places,
    ]  # fmt: skip
    return np.stack(columns, axis=1).astype(float)


def _slots(prefix: str) -> dict[str, str]:
    """The places that the player fills, by the name of the number: of the strategy whose columns have this prefix."""
    return {name: f"{{{prefix}{name}:{form}}}" for name, form in FORMS.items()}


def _opening(result: PackResult) -> Message:
    return plural(
        "{count} document of {tokens:,} tokens waits to be packed. A pack holds {capacity:,} tokens.",
        "{count:,} documents, {tokens:,} tokens in all, wait to be packed. A pack holds {capacity:,} tokens.",
        count=len(result.documents),
        tokens=int(np.asarray(result.documents).sum()),
        capacity=result.capacity,
    )


def _side_by_side(parts: Sequence[Message], outcomes: Sequence[Outcome], ended: bool) -> Message:
    """The sentences of two strategies, each after its name and the tokens placed, as the two differ in their order."""
    named = []
    for sentence, outcome, prefix in zip(parts, outcomes, PREFIXES, strict=True):
        values = {"strategy": HEADINGS[outcome.strategy], "sentence": sentence}
        if ended:
            named.append(Message("{strategy}: {sentence}", **values))
        else:
            placed = _slots(prefix)["placed"]
            named.append(Message("{strategy}, {placed} tokens placed: {sentence}", placed=placed, **values))
    return joined(named, " ")


def _sentence(
    result: PackResult, outcome: Outcome, play: Playing, step: int, *, prefix: str, alone: bool
) -> Message:
    """What one strategy does at a step. alone: begins a sentence; else the strategy's name comes before it."""
    if step == len(play.tokens) - 1:
        return _end(outcome, play)
    slots = _slots(prefix)
    k = play.latest[step]
    if play.step[k] < step:
        return (
            Message("All is placed, {padding}% padding so far.", **slots)
            if alone
            else Message("all is placed, {padding}% padding so far.", **slots)
        )
    whole = bool(play.length[k] == result.documents[play.document[k]])
    piece = _piece(whole, alone, slots)
    over = play.length[k] > play.widths[play.pack[k]] - play.position[k]
    placed = _placed(bool(play.opened[k]), bool(over), piece, slots)
    closed = int(play.closed_at[step])
    if closed == 0:
        return placed
    closing = Message("A pack closes.") if closed == 1 else Message("{closed} packs close.", **slots)
    return joined([placed, closing], " ")


def _piece(whole: bool, alone: bool, slots: Mapping[str, str]) -> Message:
    """What is placed. alone: with a capital, as it begins the sentence."""
    if whole:
        return (
            Message("Document {document} ({tokens} tokens)", **slots)
            if alone
            else Message("document {document} ({tokens} tokens)", **slots)
        )
    return (
        Message("Tokens {first} to {last} of document {document}", **slots)
        if alone
        else Message("tokens {first} to {last} of document {document}", **slots)
    )


def _placed(opens: bool, over: bool, piece: Message, slots: Mapping[str, str]) -> Message:
    """Where the piece goes, and what is then left or too much."""
    if opens:
        return (
            Message("{piece} opens pack {pack}: it runs **{over} over the end**.", piece=piece, **slots)
            if over
            else Message("{piece} opens pack {pack}: **{left}** are left.", piece=piece, **slots)
        )
    return (
        Message(
            "{piece} goes into pack {pack}: {free} were free, it runs **{over} over the end**.",
            piece=piece,
            **slots,
        )
        if over
        else Message(
            "{piece} goes into pack {pack}: {free} were free, **{left}** are left.", piece=piece, **slots
        )
    )


def _end(outcome: Outcome, play: Playing) -> Message:
    """Packs and padding in the end, and what was lost where."""
    values = {
        "packs": plural("{count:,} pack", "{count:,} packs", count=outcome.n_packs),
        "bound": outcome.proven_bound,
        "padding": outcome.padding_percent,
        "lost": plural("{count:,} token", "{count:,} tokens", count=outcome.tokens_lost),
    }
    never = np.flatnonzero(play.closes < 0)  # at most one pack
    if len(never):
        return Message(
            "**{packs}** (proven bound {bound:,}), **{padding:.1f}%** padding, **{lost} lost**: pack {pack:,} was "
            "never handed on.",
            pack=int(never[0]),
            **values,
        )
    if outcome.tokens_lost:
        return Message(
            "**{packs}** (proven bound {bound:,}), **{padding:.1f}%** padding, **{lost} lost**.", **values
        )
    if outcome.n_packs < outcome.proven_bound:
        return Message(
            "**{packs}** (proven bound {bound:,}), **{padding:.1f}%** padding, **fewer packs than can hold the "
            "documents**: some run over the end.",
            **values,
        )
    return Message("**{packs}** (proven bound {bound:,}), **{padding:.1f}%** padding.", **values)
