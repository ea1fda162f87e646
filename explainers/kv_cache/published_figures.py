"""Figures printed about KV caches, each beside the same figure computed from the configs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from explainers.contract.messages import Message
from explainers.kv_cache.catalogue import BEYOND, CATALOGUE, beyond, find_model
from explainers.kv_cache.config import model_of
from explainers.kv_cache.layers import ELEMENT_TYPES, Model

DEEPSEEK_V2 = "DeepSeek-V2 (arXiv 2405.04434)"
ISCA = Message("{paper}, Table 1", paper="Insights into DeepSeek-V3, ISCA 2025 (arXiv 2505.09343)")
BLOG = Message("Hugging Face blog, Llama 3.1 (July 2024), KV cache in FP16")
TRANSFORMERS = Message(
    "transformers 4, DeepseekV3Attention, read from its code (version 5 caches the latent)"
)
TOTALS = Message("Totals in print that count more or less than parameters")
CARDS = Message("Active parameters in papers and model cards")


@dataclass(frozen=True)
class Figure:
    """A printed figure and ours. digit: one unit of its last printed digit; 0 where it is exact.

    agrees: what we say of it, which the check compares with `fits`.
    """

    source: str
    what: str
    printed: Fraction
    computed: Fraction
    digit: Fraction
    unit: str
    agrees: bool
    reason: str

    @property
    def fits(self) -> bool:
        return abs(self.printed - self.computed) <= self.digit / 2


def all_figures() -> list[Figure]:
    """Every figure that is compared."""
    return [
        *deepseek_v2_formulas(),
        *deepseek_v2_sizes(),
        *deepseek_v2_saving(),
        *isca_2025(),
        *naive_latent_cache(),
        *llama_blog(),
        *printed_totals(),
        *active_parameters(),
    ]


# ------------------------------------------------------------------------------------------ the models


def elements_per_token(model: Model) -> int:
    """Numbers that one token leaves in all layers (one byte each as int8)."""
    return model.bytes_per_token(ELEMENT_TYPES["int8"])


def bytes_per_token(model: Model) -> int:
    """The same in bytes, as bf16 or fp16."""
    return model.bytes_per_token(ELEMENT_TYPES["bf16"])


def with_kv_heads(config: Mapping[str, Any], kv_heads: int) -> Model:
    """An MLA model's shape with ordinary attention instead: keys and values of v_head_dim for `kv_heads` heads."""
    ordinary = {
        "model_type": "llama",
        "num_hidden_layers": config["num_hidden_layers"],
        "hidden_size": config["hidden_size"],
        "intermediate_size": config["intermediate_size"],
        "vocab_size": config["vocab_size"],
        "num_attention_heads": config["num_attention_heads"],
        "num_key_value_heads": kv_heads,
        "head_dim": config["v_head_dim"],
    }
    return model_of(ordinary)


# -------------------------------------------------------------------------------------- DeepSeek-V2, V3


def deepseek_v2_formulas() -> Iterator[Figure]:
    """Table 1: elements a token, for the shape of DeepSeek-V2."""
    config = CATALOGUE["deepseek-v2"].config
    n_h, l, d_h = config["num_attention_heads"], config["num_hidden_layers"], config["v_head_dim"]
    d_c, d_rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    n_g = n_h // 16  # any number of groups shows the formula
    rows = (
        ("MHA: 2 n_h d_h l", 2 * n_h * d_h * l, with_kv_heads(config, n_h)),
        (
            Message("GQA: 2 n_g d_h l, here with {n_g} groups", n_g=n_g),
            2 * n_g * d_h * l,
            with_kv_heads(config, n_g),
        ),
        ("MQA: 2 d_h l", 2 * d_h * l, with_kv_heads(config, 1)),
        ("MLA: (d_c + d_h^R) l", (d_c + d_rope) * l, find_model("deepseek-v2")),
        ("MLA: 9/2 d_h l", Fraction(9, 2) * d_h * l, find_model("deepseek-v2")),
    )
    for what, printed, model in rows:
        yield Figure(
            source=Message("{paper}, Table 1", paper=DEEPSEEK_V2),
            what=what,
            printed=Fraction(printed),
            computed=Fraction(elements_per_token(model)),
            digit=Fraction(0),
            unit=Message(" numbers a token"),
            agrees=True,
            reason=Message("printed as a formula; n_h = d_h = 128, d_c = 4 d_h, d_h^R = d_h / 2, l = 60"),
        )


def deepseek_v2_sizes() -> Iterator[Figure]:
    """Table 7 (appendix): KV cache elements a token of two pairs of models, in thousands."""
    lite, full = CATALOGUE["deepseek-v2-lite"].config, CATALOGUE["deepseek-v2"].config
    large = {**full, "num_attention_heads": 56}
    rows = (
        (
            Message("small MoE with MHA"),
            "110.6",
            with_kv_heads(lite, 16),
            Message("16 heads of 128 in 27 layers"),
        ),
        (
            Message("small MoE with MLA"),
            "15.6",
            find_model("deepseek-v2-lite"),
            Message("512 + 64 numbers in 27 layers"),
        ),
        (
            Message("large MoE with MHA"),
            "860.2",
            with_kv_heads(large, 56),
            Message("keys of 7,168 numbers in 60 layers, counted here as 56 heads of 128"),
        ),
        (
            Message("large MoE with MLA"),
            "34.6",
            find_model("deepseek-v2"),
            Message("512 + 64 numbers in 60 layers"),
        ),
    )
    for what, printed, model, reason in rows:
        yield Figure(
            source=Message("{paper}, Table 7", paper=DEEPSEEK_V2),
            what=what,
            printed=Fraction(printed),
            computed=Fraction(elements_per_token(model), 1000),
            digit=Fraction(1, 10),
            unit=Message("K numbers a token"),
            agrees=True,
            reason=reason,
        )


def deepseek_v2_saving() -> Iterator[Figure]:
    """The abstract's 93.3%, for which the paper shows no arithmetic."""
    v2, dense = find_model("deepseek-v2"), find_model("deepseek-67b")
    in_six_bits = Fraction(6 * elements_per_token(v2), 8)
    rows = (
        (
            Message("KV cache saved against DeepSeek-67B, both in bf16"),
            Fraction(bytes_per_token(v2), bytes_per_token(dense)),
            False,
            Message("at equal precision the saving is smaller; 93.3% needs the cache in 6 bits, see below"),
        ),
        (
            Message("KV cache saved against DeepSeek-67B in bf16, itself in 6 bits"),
            in_six_bits / bytes_per_token(dense),
            True,
            Message(
                "our reading, the paper shows no arithmetic: section 3.2.3 quantizes the cache to 6 bits on average"
            ),
        ),
    )
    for what, remaining, agrees, reason in rows:
        yield Figure(
            source=Message("{paper}, abstract", paper=DEEPSEEK_V2),
            what=what,
            printed=Fraction("93.3"),
            computed=100 * (1 - remaining),
            digit=Fraction(1, 10),
            unit="%",
            agrees=agrees,
            reason=reason,
        )


def isca_2025() -> Iterator[Figure]:
    """KV cache a token in BF16, in kB of 1,000 bytes, and its multiple of DeepSeek-V3's."""
    smallest = bytes_per_token(find_model("deepseek-v3"))
    rows = (
        ("deepseek-v3", "70.272", "1", True, Message("MLA: 512 + 64 numbers in 61 layers")),
        ("qwen2.5-72b", "327.680", "4.66", True, Message("GQA: 8 KV heads of 128 in 80 layers")),
        ("llama-3.1-405b", "516.096", "7.28", False, Message("the two printed sizes give 7.344")),
    )
    for name, kilobytes, multiple, agrees, reason in rows:
        model = find_model(name)
        yield Figure(
            source=ISCA,
            what=Message("{model} a token", model=model.title),
            printed=Fraction(kilobytes),
            computed=Fraction(bytes_per_token(model), 1000),
            digit=Fraction(1, 1000),
            unit=" kB",
            agrees=True,
            reason=Message("to the byte"),
        )
        yield Figure(
            source=ISCA,
            what=Message("{model}, times DeepSeek-V3", model=model.title),
            printed=Fraction(multiple),
            computed=Fraction(bytes_per_token(model), smallest),
            digit=_last_digit(multiple),
            unit=" ×",
            agrees=agrees,
            reason=reason,
        )


def naive_latent_cache() -> Iterator[Figure]:
    """What an implementation keeps that expands the latent first: n_h (d_nope + d_rope + d_v) l numbers."""
    config = CATALOGUE["deepseek-v3"].config
    n_h, l = config["num_attention_heads"], config["num_hidden_layers"]
    a_head = config["qk_nope_head_dim"] + config["qk_rope_head_dim"] + config["v_head_dim"]
    naive = model_of(config, break_it="mla_as_mha")
    yield Figure(
        source=TRANSFORMERS,
        what=Message("DeepSeek-V3 a token, keys and values of all heads cached"),
        printed=Fraction(n_h * a_head * l * 2),
        computed=Fraction(bytes_per_token(naive)),
        digit=Fraction(0),
        unit=" B",
        agrees=True,
        reason=Message(
            "{times:.1f} times what MLA needs",
            times=bytes_per_token(naive) / bytes_per_token(find_model("deepseek-v3")),
        ),
    )


# ----------------------------------------------------------------------------------------------- others


def llama_blog() -> Iterator[Figure]:
    """The table of the Llama 3.1 announcement. It prints GB and means GiB; only its 1k is a power of two."""
    lengths = {"1k": 1024, "16k": 16_000, "128k": 128_000}
    rows = {
        "8b": ("0.125", "1.95", "15.62"),
        "70b": ("0.313", "4.88", "39.06"),
        "405b": ("0.984", "15.38", "123.05"),
    }
    for size, cells in rows.items():
        model = find_model(f"llama-3.1-{size}")
        doubled = model_of({**model.config, "num_key_value_heads": 16})
        for (length, tokens), cell in zip(lengths.items(), cells, strict=True):
            right = size != "405b"
            if right:
                reason = Message("printed as GB")
            else:
                reason = Message(
                    "16 KV heads would take {size:.3f} GiB, and the first files had them; the config has 8",
                    size=float(_gibibytes(doubled, tokens)),
                )
            yield Figure(
                source=BLOG,
                what=Message(
                    "{model} at {length} ({tokens:,} tokens)", model=model.title, length=length, tokens=tokens
                ),
                printed=Fraction(cell),
                computed=_gibibytes(model, tokens),
                digit=_last_digit(cell),
                unit=" GiB",
                agrees=right,
                reason=reason,
            )


def _gibibytes(model: Model, tokens: int) -> Fraction:
    return Fraction(model.logical_bytes(ELEMENT_TYPES["bf16"], tokens, 1), 2**30)


def _last_digit(printed: str) -> Fraction:
    """One unit of the last digit: 1/100 for '1.95'."""
    return Fraction(1, 10 ** len(printed.partition(".")[2]))


def printed_totals() -> Iterator[Figure]:
    """Totals on Hugging Face and in reports that hold buffers or tied matrices, or leave the embedding out."""
    for name, entry in CATALOGUE.items():
        model = find_model(name)
        for printed in entry.published:
            if not printed.exact or not (more := beyond(printed.beyond, model)):
                continue
            yield Figure(
                source=TOTALS,
                what=Message("{model}: {total}", model=entry.title, total=printed.what),
                printed=Fraction(printed.value),
                computed=Fraction(model.known_parameters.total + more),
                digit=Fraction(0),
                unit="",
                agrees=True,
                reason=Message(
                    "{parameters:,} parameters, {more:+,}: {why}",
                    parameters=model.known_parameters.total,
                    more=more,
                    why=BEYOND[printed.beyond],
                ),
            )


def active_parameters() -> Iterator[Figure]:
    """Parameters that one token meets, in billions: with the embedding or, in later papers, without it."""
    rows = (
        ("mixtral-8x7b-v0.1", "13", False, Message("two of eight experts")),
        ("deepseek-v2", "21", False, Message("six of 160 experts and the shared ones")),
        ("deepseek-v3", "37", True, Message("without the embedding, of which a token reads one row")),
        ("gpt-oss-20b", "3.61", True, Message("without the embedding, with the output matrix")),
        ("gpt-oss-120b", "5.13", True, Message("without the embedding, with the output matrix")),
    )
    for name, printed, without_embedding, reason in rows:
        parameters = find_model(name).known_parameters
        active = parameters.active - (parameters.embedding if without_embedding else 0)
        yield Figure(
            source=CARDS,
            what=CATALOGUE[name].title,
            printed=Fraction(printed),
            computed=Fraction(active, 10**9),
            digit=_last_digit(printed),
            unit=Message(" billion"),
            agrees=True,
            reason=reason,
        )
    llama = find_model("llama-65b").known_parameters.total
    yield Figure(
        source=Message("{paper}, Table 2", paper="LLaMA (arXiv 2302.13971)"),
        what="LLaMA-65B",
        printed=Fraction("65.2"),
        computed=Fraction(llama, 10**9),
        digit=Fraction(1, 10),
        unit=Message(" billion"),
        agrees=False,
        reason=Message("rounds to 65.3"),
    )
