"""Numbers that a reader may guess, from the settings alone."""

from __future__ import annotations

from explainers.packing.unpad_params import UnpadParams


def document_tokens(params: UnpadParams) -> tuple[int, ...]:
    """The tokens of each document, those of its pictures among them."""
    tokens = list(params.texts)
    for picture in params.pictures:
        tokens[picture.document] += len(picture.tokens(params.model))
    return tuple(tokens)
