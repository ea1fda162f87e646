"""Korthikanti's count of the activations that a GPT block keeps, and what autograd keeps beyond it.

Source: Korthikanti et al. 2022, section 4.1, s b h (34 + 5 a s / h) bytes with 2 bytes per number and 1 byte per entry
of a dropout mask. Letters as in `prediction`, and L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from explainers.checkpointing.prediction import (
    LOG_SUM_EXP_BYTES,
    Sizes,
    Term,
    kept_by_ends,
    tensor_bytes,
    total,
)
from explainers.contract.messages import Message

ENDS = Message("embedding, last norm, head and loss")


@dataclass(frozen=True)
class CountRow:
    """One row of the count: what it is, its size in letters, its bytes. A name that begins with "=" is a sum."""

    name: str
    formula: str
    bytes: int


def count(sizes: Sizes) -> int:
    """Bytes of all GPT blocks by s b h (34 + 5 a s / h)."""
    s, b, h, a = sizes.seq_len, sizes.batch, sizes.shape.hidden, sizes.shape.heads
    return sizes.shape.layers * (34 * s * b * h + 5 * a * s * s * b)


def residual(sizes: Sizes) -> list[Term]:
    """What autograd keeps of a GPT stack beyond Korthikanti's count, by reason; with the count exact to the byte."""
    s, b, p, L = sizes.seq_len, sizes.batch, sizes.width, sizes.shape.layers
    softmax = tensor_bytes(sizes)["ss"]
    no_softmax = Message("- {width} a s s b", width=p)
    terms = wider_numbers(sizes)
    if not sizes.dropout:
        terms.append(Term(Message("no dropout masks"), "- s b h (2 + a s / h)", -_mask_numbers(sizes), L))
        terms.append(Term(Message("no second softmax after dropout"), no_softmax, -softmax, L))
    if sizes.attention == "flash":
        terms.append(Term(Message("no softmax"), no_softmax, -softmax, L))
        rows = Message("{width} a s b", width=LOG_SUM_EXP_BYTES)
        terms.append(Term(Message("log-sum-exp of each row"), rows, tensor_bytes(sizes)["lse"], L))
    two_norms = Message("2 × 2 · {width} s b", width=p)
    terms.append(Term(Message("mean and deviation of each LayerNorm"), two_norms, 4 * s * b * p, L))
    letters = " + ".join(term.letters for term in kept_by_ends(sizes))
    return [*terms, Term(ENDS, letters, total(kept_by_ends(sizes)))]


def wider_numbers(sizes: Sizes) -> list[Term]:
    """The terms that translate Korthikanti's count into the number format here."""
    s, b, h, a, p = sizes.seq_len, sizes.batch, sizes.shape.hidden, sizes.shape.heads, sizes.width
    L, numbers = sizes.shape.layers, 16 * s * b * h + 2 * a * s * s * b
    terms = []
    if p != 2:
        name = Message("{width} bytes a number in place of 2", width=p)
        letters = Message("{more} s b h (16 + 2 a s / h)", more=p - 2)
        terms.append(Term(name, letters, (p - 2) * numbers, L))
    if sizes.dropout:
        name = Message("dropout masks of {width} bytes in place of 1", width=p)
        letters = "s b h (2 + a s / h)"
        if p != 2:
            letters = Message("{more} s b h (2 + a s / h)", more=p - 1)
        terms.append(Term(name, letters, (p - 1) * _mask_numbers(sizes), L))
    return terms


def _mask_numbers(sizes: Sizes) -> int:
    """The entries of all dropout masks of a block."""
    s, b, h, a = sizes.seq_len, sizes.batch, sizes.shape.hidden, sizes.shape.heads
    return 2 * s * b * h + a * s * s * b


def count_rows(sizes: Sizes, measured: int) -> list[CountRow]:
    """Korthikanti's count, its translation into the number format here, each residual, the sum, and the measurement."""
    counted, terms, wider = count(sizes), residual(sizes), wider_numbers(sizes)
    rows = [CountRow(Message("Korthikanti's count in 16 bits"), "L s b h (34 + 5 a s / h)", counted)]
    rows += [_row(term) for term in wider]
    if wider:
        translated = Message("= the count with numbers of {width} bytes", width=sizes.width)
        rows.append(CountRow(translated, Message("sum of the rows above"), counted + total(wider)))
    rows += [_row(term) for term in terms if term not in wider]
    summands = Message("{layers} layers (L), tokens and head", layers=sizes.shape.layers)
    rows.append(CountRow(Message("= the sum"), summands, counted + total(terms)))
    return [*rows, CountRow(Message("kept after the forward pass"), Message("measured"), measured)]


def _row(term: Term) -> CountRow:
    sign = "- " if term.letters.startswith("- ") else ""
    a_layer = f"{sign}L · {term.letters.removeprefix('- ')}"
    return CountRow(term.name, a_layer if term.name != ENDS else term.letters, term.total)
