"""How many parameters a decoder has, from its config: exact, each matrix once, as the model classes build them.

V vocabulary, h hidden size, L layers, d head dimension, n query heads, g KV heads. A linear layer from a to b has
a b weights; a bias adds b. RMSNorm has one vector of weights, LayerNorm two (weight and bias).
Source of every line: the classes in `transformers` (modeling_<model_type>.py), with which the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from explainers.contract.messages import Message
from explainers.kv_cache.config_keys import Keys
from explainers.kv_cache.layers import Parameters


@dataclass(frozen=True)
class Heads:
    """Query heads, KV heads and the numbers in each."""

    query: int
    kv: int
    dim: int


@dataclass(frozen=True)
class Experts:
    """The experts of the layers that have them, and what each such layer has besides.

    one: parameters of one routed expert. beside: of router and shared experts, in one layer.
    """

    one: int
    count: int
    used: int
    layers: int
    beside: int

    @property
    def total(self) -> int:
        return self.layers * (self.count * self.one + self.beside)


def llama(keys: Keys, heads: Heads) -> Parameters:
    """Llama and its kin: RMSNorm, attention, RMSNorm, gated MLP. Biases where the config wants them."""
    biases = _projection_biases(keys, heads) if keys.flag("attention_bias") else 0
    mlp = _gated_mlp(keys) + (_gated_mlp_biases(keys) if keys.flag("mlp_bias") else 0)
    return _decoder(keys, _attention(keys, heads) + biases, mlp=mlp)


def mistral(keys: Keys, heads: Heads) -> Parameters:
    """Mistral and Phi-3: a Llama without biases. (Phi-3 joins Q, K and V in one matrix, gate and up in another.)"""
    return _decoder(keys, _attention(keys, heads), mlp=_gated_mlp(keys))


def mixtral(keys: Keys, heads: Heads) -> Parameters:
    """Mixtral: the MLP of every layer is a router and its experts."""
    experts = _routed(keys, expert=_gated_mlp(keys), layers=keys.whole("num_hidden_layers"))
    return _decoder(keys, _attention(keys, heads), experts=experts)


def qwen2(keys: Keys, heads: Heads) -> Parameters:
    """Qwen2: biases on Q, K and V, whatever the config says."""
    biases = (heads.query + 2 * heads.kv) * heads.dim
    return _decoder(keys, _attention(keys, heads) + biases, mlp=_gated_mlp(keys))


def qwen3(keys: Keys, heads: Heads) -> Parameters:
    """Qwen3: an RMSNorm over each head's queries and keys."""
    return _decoder(keys, _attention_with_head_norms(keys, heads), mlp=_gated_mlp(keys))


def qwen3_moe(keys: Keys, heads: Heads) -> Parameters:
    """Qwen3-MoE: experts in every decoder_sparse_step-th layer that mlp_only_layers does not name."""
    layers, step = keys.whole("num_hidden_layers"), keys.whole("decoder_sparse_step", 1)
    dense = keys.listed("mlp_only_layers", int, Message("layer numbers")) or []
    sparse = sum(1 for layer in range(layers) if (layer + 1) % step == 0 and layer not in dense)
    experts = _routed(keys, expert=_gated_mlp(keys, "moe_intermediate_size"), layers=sparse)
    mlp = _gated_mlp(keys) if sparse < layers else 0
    return _decoder(keys, _attention_with_head_norms(keys, heads), mlp=mlp, experts=experts)


def gemma(keys: Keys, heads: Heads) -> Parameters:
    """Gemma: a Llama whose output matrix is the embedding."""
    biases = _projection_biases(keys, heads) if keys.flag("attention_bias") else 0
    return _decoder(keys, _attention(keys, heads) + biases, mlp=_gated_mlp(keys))


def gemma2(keys: Keys, heads: Heads) -> Parameters:
    """Gemma 2: an RMSNorm before and after both attention and MLP."""
    biases = _projection_biases(keys, heads) if keys.flag("attention_bias") else 0
    return _decoder(keys, _attention(keys, heads) + biases, mlp=_gated_mlp(keys), norms=4)


def gemma3(keys: Keys, heads: Heads) -> Parameters:
    """Gemma 3: Gemma 2 with an RMSNorm over each head's queries and keys."""
    return _decoder(keys, _attention_with_head_norms(keys, heads), mlp=_gated_mlp(keys), norms=4)


def gpt_oss(keys: Keys, heads: Heads) -> Parameters:
    """gpt-oss: biases everywhere, a learned attention sink for each query head, experts in every layer."""
    h, layers = keys.whole("hidden_size"), keys.whole("num_hidden_layers")
    biases = _projection_biases(keys, heads) if keys.flag("attention_bias") else 0
    sinks = heads.query
    expert = _gated_mlp(keys) + 2 * keys.whole("intermediate_size") + h
    experts = _routed(keys, expert=expert, layers=layers, router_bias=True)
    return _decoder(keys, _attention(keys, heads) + biases + sinks, experts=experts)


def deepseek(keys: Keys, heads: Heads) -> Parameters:
    """DeepSeek-V2, V3 and Kimi K2: MLA; the first layers dense, the others with shared and routed experts."""
    layers, first = keys.whole("num_hidden_layers"), keys.whole("first_k_dense_replace", 0, least=0)
    every = keys.whole("moe_layer_freq", 1)
    sparse = sum(1 for layer in range(first, layers) if layer % every == 0)
    expert = _gated_mlp(keys, "moe_intermediate_size")
    shared = keys.whole("n_shared_experts", 0, least=0) * expert
    experts = _routed(keys, expert=expert, layers=sparse, shared=shared)
    mlp = _gated_mlp(keys) if sparse < layers else 0
    return _decoder(keys, _latent_attention(keys), mlp=mlp, experts=experts)


def gpt2(keys: Keys, heads: Heads) -> Parameters:
    """GPT-2: learned positions, LayerNorm, biases everywhere, an MLP without gate; the output is the embedding."""
    h, inner = keys.whole("hidden_size"), keys.whole("intermediate_size", 4 * keys.whole("hidden_size"))
    attention = (h * 3 * h + 3 * h) + (h * h + h)
    mlp = (h * inner + inner) + (inner * h + h)
    norms = 2 * (2 * h)
    positions = keys.whole("max_position_embeddings") * h
    body = positions + keys.whole("num_hidden_layers") * (attention + mlp + norms) + 2 * h
    return _with_vocabulary(keys, body)


def falcon(keys: Keys, heads: Heads) -> Parameters:
    """Falcon, both layouts: LayerNorm, an MLP without gate, biases where the config wants them."""
    h, inner = keys.whole("hidden_size"), keys.whole("intermediate_size", 4 * keys.whole("hidden_size"))
    qkv = (heads.query + 2 * heads.kv) * heads.dim
    biases = qkv + h + inner + h if keys.flag("bias") else 0
    layer = (h * qkv + h * h) + (h * inner + inner * h) + biases + _falcon_norms(keys) * (2 * h)
    return _with_vocabulary(keys, keys.whole("num_hidden_layers") * layer + 2 * h)


def _falcon_norms(keys: Keys) -> int:
    """LayerNorms in a layer: two, or a single one that attention and MLP share where they run in parallel."""
    if not keys.flag("parallel_attn"):
        return 2
    new = keys.flag("new_decoder_architecture")
    return 2 if keys.whole("num_ln_in_parallel_attn", 2 if new else 1) == 2 else 1


COUNT: Mapping[str, Callable[[Keys, Heads], Parameters]] = {
    "llama": llama,
    "mistral": mistral,
    "mixtral": mixtral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "phi3": mistral,
    "falcon": falcon,
    "gpt2": gpt2,
    "gpt_oss": gpt_oss,
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
}


def has_latent(keys: Keys) -> bool:
    """Whether the model's attention is MLA: it has a latent, and use_mla does not deny it."""
    return keys.optional("kv_lora_rank", least=0) not in (None, 0) and keys.flag("use_mla", True)


def count(keys: Keys, heads: Heads) -> Parameters:
    """The parameters of a model of a family in COUNT. Raises ValueError for a key that is missing or wrong."""
    return COUNT[keys.family](keys, heads)


# ------------------------------------------------------------------------------------------------- the parts


def _attention(keys: Keys, heads: Heads) -> int:
    """W_Q, W_K, W_V and W_O of one layer."""
    h = keys.whole("hidden_size")
    return h * heads.query * heads.dim + 2 * h * heads.kv * heads.dim + heads.query * heads.dim * h


def _projection_biases(keys: Keys, heads: Heads) -> int:
    """Biases on Q, K, V and on the output."""
    return (heads.query + 2 * heads.kv) * heads.dim + keys.whole("hidden_size")


def _attention_with_head_norms(keys: Keys, heads: Heads) -> int:
    """The same with an RMSNorm over the d numbers of a query and one over those of a key."""
    biases = _projection_biases(keys, heads) if keys.flag("attention_bias") else 0
    return _attention(keys, heads) + biases + 2 * heads.dim


def _latent_attention(keys: Keys) -> int:
    """MLA (DeepSeek-V2, section 2.1): down to the latent c_KV and the RoPE key, a norm, up again, and the output."""
    h, n = keys.whole("hidden_size"), keys.whole("num_attention_heads")
    latent, rope = keys.whole("kv_lora_rank"), keys.whole("qk_rope_head_dim")
    nope, value = keys.whole("qk_nope_head_dim"), keys.whole("v_head_dim")
    q_latent = keys.optional("q_lora_rank")
    if q_latent is None:  # DeepSeek-V2-Lite does not compress its queries
        queries = h * n * (nope + rope)
    else:
        queries = h * q_latent + q_latent + q_latent * n * (nope + rope)
    down, norm, up = h * (latent + rope), latent, latent * n * (nope + value)
    biases = (q_latent or 0) + (latent + rope) + h if keys.flag("attention_bias") else 0
    return queries + down + norm + up + n * value * h + biases


def _gated_mlp(keys: Keys, inner: str = "intermediate_size") -> int:
    """Gate, up and down projection; the key `inner` holds the size between them."""
    return 3 * keys.whole("hidden_size") * keys.whole(inner)


def _gated_mlp_biases(keys: Keys) -> int:
    return 2 * keys.whole("intermediate_size") + keys.whole("hidden_size")


def _routed(keys: Keys, *, expert: int, layers: int, shared: int = 0, router_bias: bool = False) -> Experts:
    """Routed experts of `expert` parameters in `layers` layers, each with a router and what is shared."""
    number = keys.whole("num_experts")
    used = keys.whole("num_experts_per_tok")
    if used > number:
        raise ValueError(
            Message(
                "num_experts_per_tok is {used}; it must be at most the {number} experts of a layer",
                used=used,
                number=number,
            )
        )
    router = keys.whole("hidden_size") * number + (number if router_bias else 0)
    return Experts(expert, number, used, layers, beside=router + shared)


def _decoder(
    keys: Keys, attention: int, *, mlp: int = 0, experts: Experts | None = None, norms: int = 2
) -> Parameters:
    """All layers, each with its RMSNorms, and the last norm. mlp: of a layer that has no experts."""
    h, layers = keys.whole("hidden_size"), keys.whole("num_hidden_layers")
    dense_layers = layers - (experts.layers if experts else 0)
    body = layers * (attention + norms * h) + dense_layers * mlp + h
    return _with_vocabulary(keys, body, experts)


def _with_vocabulary(keys: Keys, body: int, experts: Experts | None = None) -> Parameters:
    """The body with the embedding and the output matrix, which are one matrix where they are tied."""
    matrix = keys.whole("vocab_size") * keys.whole("hidden_size")
    tied = keys.flag("tie_word_embeddings")
    total = body + (experts.total if experts else 0) + (matrix if tied else 2 * matrix)
    embedding = 0 if tied else matrix
    if experts is None:
        return Parameters(total, embedding)
    return Parameters(total, embedding, experts.one, experts.count, experts.used, experts.layers)
