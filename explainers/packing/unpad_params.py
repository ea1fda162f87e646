"""The settings of padding removal: documents in packs, images in them, and the sizes of a head and of a tile."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

from pydantic import field_validator

from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, choice, number, switch, text
from explainers.models.head_counts import whole_groups
from explainers.packing import mrope
from explainers.packing.lengths import parse_lengths

MOST_DOCUMENTS = 16
MOST_TOKENS = 128  # of a batch, those of pictures among them
LONGEST_TEXT = 200  # characters of a field


BREAKS = (
    Break(
        name="cu_seqlens_off_by_one",
        label="cu_seqlens off by one",
        consequence=(
            "Each later document begins a token late: its first token is handed to the document before it, "
            "reads what it must not see, and is missing where it belongs. No shape changes, so nothing "
            "complains."
        ),
        settings={"lengths": "5,2;3,1"},
    ),
    Break(
        name="seam_labels",
        label="labels across seams",
        consequence=(
            "The last token of a document learns to predict the first token of the next, which has nothing to "
            "do with it. The loss is a little wrong and training goes on."
        ),
        settings={"lengths": "5,2;3,1"},
    ),
    Break(
        name="pad_is_eos",
        label="mask rebuilt from ids",
        consequence=(
            "A mask rebuilt from ids cannot distinguish padding from an end-of-text token of the same id. Every "
            "document loses its end, and the model never learns to stop."
        ),
        settings={"lengths": "5,2;3,1"},
    ),
    Break(
        name="positions_not_reset",
        label="positions not reset",
        consequence=(
            "A document's positions depend on its neighbours. Rotary attention sees differences only and forgives "
            "it, as the green checks show; learned positions do not (Run it), nor does code that finds documents by "
            "position 0."
        ),
        settings={"lengths": "5,2;3,1"},
    ),
)


class UnpadParams(Params):
    lengths: str = text(
        "5,2;3,1",
        "Documents",
        Message(
            "text tokens of 1 to {documents} documents, separated by commas or spaces, 0 to {tokens} each and 1 to "
            "{tokens} in all; a semicolon begins the next pack, so 5,2;3,1 is two packs of two documents",
            documents=MOST_DOCUMENTS,
            tokens=MOST_TOKENS,
        ),
        longest=LONGEST_TEXT,
    )
    images: str = text(
        "",
        "Images",
        "document:TxHxW@place, separated by commas, such as 0:1x4x6@2: frames, rows and columns of patches (two "
        "frames or more are a video), and how many text tokens come before it; empty for none",
        longest=LONGEST_TEXT,
    )
    model: mrope.Model = choice(
        "text",
        "Positions",
        "How positions count: one axis, or mRoPE's three",
        {"text": "one axis", "qwen2.5-vl": "Qwen2.5-VL", "qwen3-vl": "Qwen3-VL"},
    )
    heads: int = number(4, "Query heads", "Heads of q (Hq)", least=1, most=8, step=1)
    kv_heads: int = number(2, "Key and value heads", "Heads of k and v (Hkv)", least=1, most=8, step=1)
    head_size: int = number(16, "Head size", "Length of one head's vectors (D)", least=1, most=64, step=1)
    block_q: int = number(
        2, "Query block", "Rows of a tile", least=1, most=128, comfort=(1, 32), step=1, unit="tokens"
    )
    block_k: int = number(
        2, "Key block", "Columns of a tile", least=1, most=128, comfort=(1, 32), step=1, unit="tokens"
    )
    pad_again: bool = switch(
        True, "Pad again", "Whether the outputs are put back into padded rows at the end"
    )
    break_it: Literal["none", "cu_seqlens_off_by_one", "seam_labels", "pad_is_eos", "positions_not_reset"] = (
        break_field(BREAKS)
    )

    @field_validator("lengths")
    @classmethod
    def _only_lengths(cls, typed: str) -> str:
        parse_packs(typed)
        return typed

    @field_validator("images")
    @classmethod
    def _only_pictures(cls, typed: str) -> str:
        mrope.parse_pictures(typed)
        return typed

    @property
    def packs(self) -> tuple[tuple[int, ...], ...]:
        """The text tokens of each document of each pack."""
        return parse_packs(self.lengths)

    @property
    def texts(self) -> tuple[int, ...]:
        """The text tokens of each document."""
        return tuple(itertools.chain(*self.packs))

    @property
    def pictures(self) -> tuple[mrope.Picture, ...]:
        """The pictures in the order in which their tokens come."""
        return tuple(
            sorted(mrope.parse_pictures(self.images), key=lambda picture: (picture.document, picture.at))
        )

    def adjustments(self) -> Iterator[Adjustment]:
        texts = self.texts
        parts = [part.strip() for part in self.images.split(",") if part.strip()]
        pictures = [mrope.parse_pictures(part)[0] for part in parts]
        wrong = {
            part: sentence
            for part, picture in zip(parts, pictures, strict=True)
            if (sentence := _misplaced(part, picture, texts))
        }
        if wrong:
            kept = ",".join(part for part in parts if part not in wrong)
            yield Adjustment("images", kept, next(iter(wrong.values())))
        every = sum(texts) + sum(len(picture.tokens(self.model)) for picture in pictures)
        if every > MOST_TOKENS:
            sentence = Message(
                "images = {images} makes {tokens:,} tokens with the text; allowed: {most} in all.",
                images=self.images,
                tokens=every,
                most=MOST_TOKENS,
            )
            yield Adjustment("images", "", sentence)
        yield from whole_groups("kv_heads", self.kv_heads, self.heads)


def _misplaced(part: str, picture: mrope.Picture, texts: tuple[int, ...]) -> Message | None:
    """Why the picture has no place in documents of these text tokens, and what is allowed; None where it has one.

    part: the picture as it was given.
    """
    if picture.document >= len(texts):
        return Message(
            "images = {part} names document {document}; allowed: documents 0 to {last}.",
            part=part,
            document=picture.document,
            last=len(texts) - 1,
        )
    text_tokens = texts[picture.document]
    if text_tokens == 0:
        return Message(
            "images = {part} names a document without tokens; allowed: documents with text tokens.", part=part
        )
    if picture.at >= text_tokens:
        return Message(
            "images = {part} is after the document's end; allowed: @0 to @{last}.",
            part=part,
            last=text_tokens - 1,
        )
    return None


def notes_on(params: UnpadParams) -> Iterator[Message]:
    """What a reader should know about the result at these settings."""
    if 0 in params.texts:
        yield Message(
            "A document without tokens repeats an entry of cu_seqlens: no row, no tile and no label belongs to it."
        )
    if params.pictures:
        yield Message(
            "Here every next token has a loss. Trainers also leave out the labels of image tokens and of the prompt."
        )
    if params.pictures and params.model == "text":
        yield Message("With one axis every image token has its own position, as in LLaVA.")
    videos = any(picture.modality == mrope.VIDEO for picture in params.pictures)
    if videos and params.model == "qwen2.5-vl":
        yield Message(
            "After a video transformers 5.23 goes on at its larger side, even where the video's time has come further; "
            "the paper goes on after the largest position."
        )
    if videos and params.model == "qwen3-vl":
        yield Message(
            "Qwen3-VL writes a timestamp before each frame of a video: one token here, several in the model."
        )


def parse_packs(typed: str) -> tuple[tuple[int, ...], ...]:
    """The lengths of each pack's documents. Raises ValueError, which says what is allowed and what is wrong."""
    packs = tuple(parse_lengths(pack, 0, MOST_TOKENS) for pack in typed.split(";"))
    count, tokens = sum(map(len, packs)), sum(map(sum, packs))
    if () in packs:
        raise ValueError(
            Message("at least one document in each pack, and pack {pack} has none", pack=packs.index(()))
        )
    if count > MOST_DOCUMENTS:
        raise ValueError(
            Message("at most {most} documents, and these are {given}", most=MOST_DOCUMENTS, given=count)
        )
    if not 1 <= tokens <= MOST_TOKENS:
        raise ValueError(
            Message("1 to {most} tokens in all, and these are {given:,}", most=MOST_TOKENS, given=tokens)
        )
    return packs
