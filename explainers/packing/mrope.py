"""mRoPE: positions of the tokens of a text with images and videos, along time, height and width.

Text moves on by one along all three axes. The tokens of an image share one time and count its rows and columns, and
the text after it goes on where the larger of the two ends, so that an image of many tokens takes few positions.

Source: Wang et al. 2024 (Qwen2-VL), section 2.1; Bai et al. 2025 (Qwen2.5-VL), section 2.1.2; the positions equal those
of `get_rope_index` in transformers 5.23, for Qwen2.5-VL and Qwen3-VL.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from explainers.contract.messages import Message

MERGE = 2  # the vision encoder merges 2 x 2 patches into one token
TOKENS_PER_SECOND = 2  # positions that Qwen2.5-VL gives to one second of video
SECONDS_PER_GRID = 1.0  # two frames make one grid; at 2 frames a second
MOST_FRAMES, MOST_PATCHES = 8, 32

# The modality of a token, numbered as transformers' mm_token_type_ids are.
TEXT, IMAGE, VIDEO = 0, 1, 2

# Ids of the tokens that are not text; text has ids from FIRST_TEXT on.
PAD, END, VISION_START, VISION, VISION_END, TIMESTAMP, FIRST_TEXT = 0, 1, 2, 3, 4, 5, 10

Model = Literal["text", "qwen2.5-vl", "qwen3-vl"]
Grid = tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """An image (one frame) or a video in a document.

    document: its number, from 0. grid: frames, rows and columns of patches, before 2 x 2 of them are merged into a
    token. at: how many text tokens of the document come before it.
    """

    document: int
    grid: Grid
    at: int

    @property
    def modality(self) -> int:
        return VIDEO if self.grid[0] > 1 else IMAGE

    def tokens(self, model: Model) -> list[tuple[int, int]]:
        """(id, modality) of each token of the picture, its start and end tokens included.

        Qwen3-VL writes every frame of a video by itself, after a timestamp (one token here, several in the model).
        """
        frames, rows, columns = self.grid
        separate = model == "qwen3-vl" and self.modality == VIDEO
        seen = rows // MERGE * (columns // MERGE) * (1 if separate else frames)
        before = [(TIMESTAMP, TEXT)] * separate
        block = [*before, (VISION_START, TEXT), *[(VISION, self.modality)] * seen, (VISION_END, TEXT)]
        return block * (frames if separate else 1)


def parse_pictures(text: str) -> tuple[Picture, ...]:
    """The pictures that `text` names, such as "0:1x4x6@2". Raises ValueError, which says what is allowed."""
    return tuple(_picture(part.strip()) for part in text.split(",") if part.strip())


def _picture(part: str) -> Picture:
    found = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})x([0-9]{1,4})x([0-9]{1,4})(?:@([0-9]{1,4}))?", part)
    if found is None:
        raise ValueError(
            Message(
                "document:TxHxW@place, separated by commas, such as 0:1x4x6@2 (frames, rows and columns of patches; "
                "place: text tokens before it), and {given} is not one",
                given=repr(part[:20]),
            )
        )
    document, frames, rows, columns, at = (int(number or 0) for number in found.groups())
    even = all(size % MERGE == 0 and 0 < size <= MOST_PATCHES for size in (rows, columns))
    if not (1 <= frames <= MOST_FRAMES and even):
        raise ValueError(
            Message(
                "1 to {frames} frames of even rows and columns from {merge} to {patches}, because {merge} x {merge} "
                "patches make one token, and {given} is not one",
                frames=MOST_FRAMES,
                merge=MERGE,
                patches=MOST_PATCHES,
                given=repr(part[:20]),
            )
        )
    return Picture(document, (frames, rows, columns), at)


def document_tokens(
    text_tokens: int, pictures: Sequence[Picture], model: Model, first_id: int
) -> list[tuple[int, int]]:
    """(id, modality) of each token of a document: text with ids from first_id on, its pictures, and END at last."""
    tokens: list[tuple[int, int]] = []
    for place in range(text_tokens):
        for picture in pictures:
            tokens += picture.tokens(model) if picture.at == place else []
        tokens.append((END if place == text_tokens - 1 else first_id + place, TEXT))
    return tokens


def position_ids(
    modalities: np.ndarray, mask: np.ndarray, pictures: Sequence[Picture], model: Model
) -> np.ndarray:
    """Positions of padded rows, (axes, B, L): one axis for a text model, else time, height and width; 0 at padding.

    modalities, mask: (B, L); mask is true at real tokens. pictures: in the order of the rows and of their text.
    """
    if model == "text":
        return np.where(mask, mask.cumsum(1) - 1, 0)[None]
    images = [picture.grid for picture in pictures if picture.modality == IMAGE]
    videos = [picture.grid for picture in pictures if picture.modality == VIDEO]
    return rope_index(modalities, mask, images, videos, model)


def rope_index(
    modalities: np.ndarray,
    mask: np.ndarray,
    images: Sequence[Grid],
    videos: Sequence[Grid],
    model: Model,
    seconds: float = SECONDS_PER_GRID,
) -> np.ndarray:
    """(3, B, L) positions along time, height and width of padded rows; 0 at padding.

    modalities, mask: (B, L). images, videos: their grids in the order in which they come. seconds: from one grid of a
    video to the next. Raises StopIteration where a row has more pictures than there are grids.
    """
    frames = [(1, rows, columns) for t, rows, columns in videos for _ in range(t)]
    grids = {IMAGE: iter(images), VIDEO: iter(frames if model == "qwen3-vl" else videos)}
    positions = np.zeros((3, *modalities.shape), np.int64)
    for row, real in enumerate(mask):
        positions[:, row, real] = _row_positions(modalities[row, real], grids, seconds)
    return positions


def _row_positions(modalities: np.ndarray, grids: dict[int, Iterator[Grid]], seconds: float) -> np.ndarray:
    """(3, tokens) positions of one document, which start at 0."""
    parts, first = [np.zeros((3, 0), np.int64)], 0
    for modality, group in itertools.groupby(modalities.tolist()):
        if modality == TEXT:
            count = len(list(group))
            parts.append(np.tile(first + np.arange(count), (3, 1)))
            first += count
        else:
            grid = next(grids[modality])
            interval = TOKENS_PER_SECOND * seconds if modality == VIDEO else 1
            parts.append(first + picture_positions(grid, interval))
            first += max(grid[1:]) // MERGE
    return np.concatenate(parts, axis=1)


def picture_positions(grid: Grid, interval: float) -> np.ndarray:
    """(3, tokens) positions of a picture's tokens from its first one: time x interval (rounded down), row, column."""
    frames, rows, columns = grid
    time, row, column = np.meshgrid(
        np.floor(np.arange(frames) * interval).astype(np.int64),
        np.arange(rows // MERGE),
        np.arange(columns // MERGE),
        indexing="ij",
    )
    return np.stack([time, row, column]).reshape(3, -1)
