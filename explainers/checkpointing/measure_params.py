"""The settings of checkpointing.measure and checkpointing.model, and what follows from sizes alone.

They are separate from the experiments, so that a page can show their controls without loading torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from explainers.checkpointing.prediction import Sizes, Strategy, step_bytes
from explainers.contract.breaks import Break, break_field
from explainers.contract.messages import Message
from explainers.contract.params import Adjustment, Params, bounds_of, choice, number, switch
from explainers.models.head_counts import divisors, one_of, whole_groups
from explainers.models.shapes import LLAMA_3_1, Block, DecoderShape

VOCABULARY = 256  # a token is a byte
DROPOUT = 0.1
REAL_BUDGET = 256_000_000  # the most bytes that a measurement may take

WIDTH = {"float32": 4, "bfloat16": 2}

STRATEGY_LABELS = {
    "none": Message("none"),
    "every_k": Message("every k"),
    "sqrt": "√L",
    "full": Message("every layer"),
    "selective_matmuls": Message("keep matmuls"),
    "selective_attention": Message("all but attention"),
}

BREAKS = (
    Break(
        name="gradients_as_activations",
        label="count gradients as activations",
        consequence=(
            "Gradients are as large as the weights, whatever is checkpointed. Counted among the activations, "
            "they hide what was saved: with short sequences √L seems useless."
        ),
        settings={"strategy": "sqrt", "layers": 8, "seq_len": 16},
    ),
    Break(
        name="lost_random_state",
        label="lose the random state of dropout",
        consequence=(
            "The second forward pass draws other dropout masks than the first: the backward pass then "
            "differentiates a network that never gave this loss."
        ),
        settings={"block": "gpt", "strategy": "every_k", "dropout": DROPOUT},
    ),
    Break(
        name="reentrant_no_grad_input",
        label="reentrant, with an input that needs no gradient",
        consequence=(
            "The older, reentrant checkpoint runs its segment without recording and joins the graph only "
            "through its input. Where the input needs no gradient (a frozen embedding), the graph is cut, and "
            "the parameters inside get no gradient at all; torch only warns."
        ),
        settings={"strategy": "every_k"},
    ),
)


class StrategyParams(Params):
    """The settings that both experiments share: the strategy and its k."""

    strategy: Strategy = choice("every_k", "Strategy", "What is kept for the backward pass", STRATEGY_LABELS)
    k: int = number(
        2,
        "k",
        "Layers per segment, for the strategy every k",
        least=1,
        most=126,
        comfort=(1, 12),
        step=1,
        unit="layers",
    )


class MeasureParams(StrategyParams):
    block: Block = choice(
        "llama",
        "Block",
        "What the stack is made of",
        {
            "llama": "Llama: RMSNorm, RoPE, grouped queries, SwiGLU",
            "gpt": "GPT: LayerNorm, GELU, dropout, biases",
        },
    )
    layers: int = number(6, "Layers (L)", "Blocks", least=1, most=64, comfort=(1, 8), step=1, unit="layers")
    hidden: int = number(
        64, "Hidden size", "Numbers in the hidden state of a token", least=2, most=2048, options=(32, 64, 128)
    )
    heads: int = number(4, "Heads", "Query heads", least=1, most=64, options=(1, 2, 4, 8), unit="heads")
    kv_heads: int = number(
        2,
        "Key/value heads",
        "Groups of the Llama block; a GPT block has as many as heads",
        least=1,
        most=64,
        options=(1, 2, 4, 8),
        unit="heads",
    )
    seq_len: int = number(
        64,
        "Sequence length",
        "Tokens in a sequence",
        least=1,
        most=4096,
        options=(16, 32, 64, 128),
        unit="tokens",
    )
    batch: int = number(
        2, "Batch", "Sequences at once", least=1, most=256, comfort=(1, 2), step=1, unit="sequences"
    )
    attention: Literal["written", "flash"] = choice(
        "written",
        "Attention",
        "How attention is computed",
        {"written": "written out: scores in memory", "flash": "fused: log-sum-exp only"},
    )
    dropout: float = number(
        DROPOUT,
        "Dropout",
        "Share of numbers that a GPT block drops",
        least=0.0,
        most=0.9,
        comfort=(0.0, 0.5),
        step=0.1,
    )
    dtype: Literal["float32", "bfloat16"] = choice(
        "float32", "Number format", "Of weights, activations and gradients"
    )
    fake: bool = switch(
        False, "Compare with fake tensors", "Traces the same step a second time, without any memory"
    )
    seed: int = number(
        0, "Seed", "Determines weights, tokens and dropout", least=0, most=2**31 - 1, comfort=(0, 99), step=1
    )
    break_it: Literal["none", "gradients_as_activations", "lost_random_state", "reentrant_no_grad_input"] = (
        break_field(BREAKS)
    )

    @property
    def shape(self) -> DecoderShape:
        """The stack: an MLP four times as wide as the hidden size, or for SwiGLU two thirds of that."""
        gpt = self.block == "gpt"
        return DecoderShape(
            block=self.block,
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=self.heads if gpt else self.kv_heads,
            intermediate=4 * self.hidden if gpt else -(-8 * self.hidden // 3),
            vocabulary=VOCABULARY,
            positions=self.seq_len if gpt else 0,
        )

    @property
    def drop(self) -> float:
        """The dropout rate of the chosen block; a Llama block has none."""
        return self.dropout if self.block == "gpt" else 0.0

    @property
    def sizes(self) -> Sizes:
        return Sizes(
            self.shape, self.batch, self.seq_len, WIDTH[self.dtype], self.attention, dropout=self.drop > 0
        )

    @property
    def step_bytes(self) -> int:
        """An estimate of the most memory that the measurement takes."""
        return step_bytes(self.sizes)

    @property
    def fake_strides_differ(self) -> bool:
        """Whether torch gives a fake tensor other strides than a real one, so that only one of them must be copied.

        It does where half a head is one number and there is one key/value head: RoPE then joins axes of length one.
        """
        one_pair = self.hidden == 2 * self.heads and self.kv_heads == 1
        return self.block == "llama" and self.attention == "written" and one_pair

    def adjustments(self) -> Iterator[Adjustment]:
        yield from within_layers(self, self.layers)
        yield from self._whole_heads()
        yield from self._what_torch_can()
        if self.step_bytes > REAL_BUDGET:
            yield self._smaller()

    def _whole_heads(self) -> Iterator[Adjustment]:
        if self.hidden % 2:
            least, most = (int(bound) for bound in bounds_of(MeasureParams, "hidden"))
            sentence = Message(
                "hidden = {hidden} is odd; allowed: even numbers from {least} to {most}.",
                hidden=self.hidden,
                least=least,
                most=most,
            )
            yield Adjustment("hidden", self.hidden + 1, sentence)
        elif self.hidden % (2 * self.heads):
            fitting = divisors(self.hidden // 2, int(bounds_of(MeasureParams, "heads")[1]))
            sentence = Message(
                "heads = {heads} does not divide hidden = {hidden} into heads of an even size (RoPE turns pairs); "
                "allowed: {allowed}.",
                heads=self.heads,
                hidden=self.hidden,
                allowed=one_of(fitting),
            )
            yield Adjustment("heads", max(heads for heads in fitting if heads < self.heads), sentence)
        if self.block == "llama":
            allowed = one_of(divisors(self.heads, self.heads))
            yield from whole_groups("kv_heads", self.kv_heads, self.heads, allowed)

    def _what_torch_can(self) -> Iterator[Adjustment]:
        if self.fake and self.fake_strides_differ:
            sentence = Message(
                "fake = true would compare different strides where kv_heads = 1 and a head has 2 numbers (torch lays "
                "fake tensors out differently there); allowed: false, unless hidden is more than 2 × heads."
            )
            yield Adjustment("fake", False, sentence)
        if self.attention == "flash" and self.drop:
            sentence = Message(
                "attention = flash has no dropout on a CPU; allowed: written, unless dropout = 0."
            )
            yield Adjustment("attention", "written", sentence)
        if self.break_it == "lost_random_state" and not self.drop:
            sentence = Message(
                "break_it = lost_random_state needs dropout; allowed: none, unless block = gpt and dropout > 0."
            )
            yield Adjustment("break_it", "none", sentence)
        if self.break_it in ("lost_random_state", "reentrant_no_grad_input") and self.strategy == "none":
            sentence = Message(
                "break_it = {break_it} needs checkpoints; allowed: none, unless strategy is not none.",
                break_it=self.break_it,
            )
            yield Adjustment("break_it", "none", sentence)
        if self.break_it == "reentrant_no_grad_input" and self.strategy.startswith("selective"):
            sentence = Message(
                "strategy = {strategy} needs checkpoints that are not reentrant; allowed: every_k, sqrt or full.",
                strategy=self.strategy,
            )
            yield Adjustment("strategy", "every_k", sentence)

    def _smaller(self) -> Adjustment:
        """Lowers the field that is furthest above its default to the greatest value that fits."""
        field = self._most_above_default
        least = int(bounds_of(MeasureParams, field)[0]) if field != "hidden" else 2 * self.heads
        most = greatest(
            least,
            getattr(self, field),
            lambda value: self.model_copy(update={field: value}).step_bytes <= REAL_BUDGET,
            step=least if field == "hidden" else 1,
        )
        allowed = (
            Message("at most {most}, a multiple of {step}", most=most, step=least)
            if field == "hidden"
            else Message("at most {most}", most=most)
        )
        smaller = self.model_copy(update={field: most})
        if smaller.step_bytes > REAL_BUDGET:
            also = smaller._most_above_default
            allowed = Message("{allowed}, and a lower {field} too", allowed=allowed, field=also)
        sentence = Message(
            "{field} = {value} would take {needed:,.0f} MB, more than the {budget} MB of a measurement; "
            "allowed: {allowed}.",
            field=field,
            value=getattr(self, field),
            needed=self.step_bytes / 1e6,
            budget=REAL_BUDGET // 10**6,
            allowed=allowed,
        )
        return Adjustment(field, most, sentence)

    @property
    def _most_above_default(self) -> str:
        """The field with the largest ratio to its default, of those that determine the memory."""
        return max(
            ("seq_len", "batch", "hidden", "layers"),
            key=lambda name: getattr(self, name) / type(self).model_fields[name].default,
        )


def strategy_fields(params: StrategyParams) -> tuple[str, ...]:
    """The strategy, and k if the strategy uses it."""
    return ("strategy", "k") if params.strategy == "every_k" else ("strategy",)


def within_layers(params: StrategyParams, layers: int) -> Iterator[Adjustment]:
    """The rule that a segment is no longer than the stack, if k is used."""
    if params.strategy == "every_k" and params.k > layers:
        sentence = Message(
            "k = {k} is more than layers = {layers}; allowed: at most {layers}.", k=params.k, layers=layers
        )
        yield Adjustment("k", layers, sentence)


def greatest(least: int, most: int, fits: Callable[[int], bool], step: int = 1) -> int:
    """The greatest value from least to most, in steps, that fits; least if none does. By bisection."""
    low, high = 0, (most - least) // step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(least + middle * step) else (low, middle - 1)
    return least + low * step


class ModelParams(StrategyParams):
    model: Literal["llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b"] = choice(
        "llama-3.1-70b",
        "Model",
        "Its published shape",
        {
            "llama-3.1-8b": "Llama 3.1 8B",
            "llama-3.1-70b": "Llama 3.1 70B",
            "llama-3.1-405b": "Llama 3.1 405B",
        },
    )
    layers: int = number(
        0,
        "Layers traced (0: all)",
        "How many of the model's layers are traced; 0 traces all",
        least=0,
        most=126,
        comfort=(0, 126),
        step=1,
    )
    seq_len: int = number(
        4096,
        "Sequence length",
        "Tokens in a sequence",
        least=1,
        most=131072,
        options=(1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
        unit="tokens",
    )
    batch: int = number(
        1, "Batch", "Sequences at once", least=1, most=1024, comfort=(1, 16), step=1, unit="sequences"
    )
    attention: Literal["written", "flash"] = choice(
        "flash",
        "Attention",
        "How attention is computed; fused is the usual choice",
        {"written": "written out: scores in memory", "flash": "fused: log-sum-exp only"},
    )
    strategy: Strategy = choice("full", "Strategy", "What is kept for the backward pass", STRATEGY_LABELS)

    @property
    def shape(self) -> DecoderShape:
        """The published shape, with only the layers that are traced."""
        whole = LLAMA_3_1[self.model]
        return DecoderShape(**{**vars(whole), "layers": self.layers or whole.layers})

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.shape, self.batch, self.seq_len, WIDTH["bfloat16"], self.attention)

    def adjustments(self) -> Iterator[Adjustment]:
        most = LLAMA_3_1[self.model].layers
        if self.layers > most:
            sentence = Message(
                "layers = {layers} is more than {model} has; allowed: at most {most}, or 0 for all.",
                layers=self.layers,
                model=self.model,
                most=most,
            )
            yield Adjustment("layers", most, sentence)
        yield from within_layers(self, self.shape.layers)
