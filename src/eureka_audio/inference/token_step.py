"""The step of one token in one row, as few calls of torch as it takes.

Beside the products of a token's vector with every weight, each layer has dozens of small
operations, and what those cost is calling them: a third of a step of SmolLM2-135M. So for language
models that are built as Llama is, the step is written out here; any other goes through its own
modules. Keys and values lie where `RowCache` has them, so a row may go on either way at any token.
"""

from torch import Tensor, nn

from eureka_audio.inference.cache import RowCache, RowLayer

KINDS = ("llama", "qwen2", "qwen3")


class TokenStep:
    """A token read by a language model without its head.

    Its projections are called as the modules that they are; weights are not copied.

    Args:
        base_model: one that `can_step` finds fit.
    """

    def __init__(self, base_model: nn.Module) -> None:
        self._rotary = base_model.rotary_emb
        self._norm = _Norm(base_model.norm)
        self._layers = [_Layer(layer) for layer in base_model.layers]

    def __call__(self, embeds_11D: Tensor, cache: RowCache) -> Tensor:
        """The last hidden state `(1, 1, D)` of a token that goes where the cache's step says."""
        cos_11W, sin_11W = self._rotary(embeds_11D, position_ids=cache.step.places)
        cos_1W, sin_1W = cos_11W[0], sin_11W[0].clone()
        sin_1W[:, : sin_1W.shape[1] // 2].neg_()  # halves trade places, the second with its sign
        hidden_1D = embeds_11D[0]
        for layer, kept in zip(self._layers, cache.layers, strict=True):
            hidden_1D = layer(hidden_1D, cos_1W, sin_1W, kept)
        return self._norm(hidden_1D)[None]


class _Layer:
    """Attention, then the feed-forward, each added to what came in."""

    def __init__(self, layer: nn.Module) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._width = attention.head_dim
        self._query, self._key = attention.q_proj, attention.k_proj
        self._value, self._out = attention.v_proj, attention.o_proj
        norms = (getattr(attention, name, None) for name in ("q_norm", "k_norm"))
        self._query_norm, self._key_norm = (norm and _Norm(norm) for norm in norms)
        self._gate, self._up, self._down = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self._activation = mlp.act_fn
        self._before_attention = _Norm(layer.input_layernorm)
        self._before_mlp = _Norm(layer.post_attention_layernorm)

    def __call__(self, hidden_1D: Tensor, cos_1W: Tensor, sin_1W: Tensor, kept: RowLayer) -> Tensor:
        normed_1D = self._before_attention(hidden_1D)
        query_HW = self._query(normed_1D).view(-1, self._width)
        key_GW = self._key(normed_1D).view(-1, self._width)
        if self._query_norm and self._key_norm:
            query_HW, key_GW = self._query_norm(query_HW), self._key_norm(key_GW)
        query_HW, key_GW = (_turned(each, cos_1W, sin_1W) for each in (query_HW, key_GW))
        num_groups = len(key_GW)
        keys, values = kept.update(
            key_GW.view(1, num_groups, 1, -1), self._value(normed_1D).view(1, num_groups, 1, -1)
        )
        # The heads that share a key stand as so many queries: one token looks at everything.
        queries = query_HW.view(1, num_groups, -1, self._width)
        heard = nn.functional.scaled_dot_product_attention(queries, keys, values)
        hidden_1D = hidden_1D + self._out(heard.reshape(1, -1))
        normed_1D = self._before_mlp(hidden_1D)
        inner_1I = self._activation(self._gate(normed_1D)).mul_(self._up(normed_1D))
        return hidden_1D + self._down(inner_1I)


class _Norm:
    """A root mean square norm by torch's own function."""

    def __init__(self, norm: nn.Module) -> None:
        self._weight, self._epsilon = norm.weight, norm.variance_epsilon

    def __call__(self, rows: Tensor) -> Tensor:
        weight = self._weight
        return nn.functional.rms_norm(rows, weight.shape, weight, self._epsilon)


def can_step(base_model: nn.Module) -> bool:
    """Whether a language model is one of those whose step is written out, and lies on the CPU."""
    is_here = all(parameter.device.type == "cpu" for parameter in base_model.parameters())
    return base_model.config.model_type in KINDS and is_here


def _turned(heads_HW: Tensor, cos_1W: Tensor, sin_1W: Tensor) -> Tensor:
    """Heads at their position; the first half of the sines has the other sign."""
    halves_HW = heads_HW.roll(heads_HW.shape[1] // 2, dims=-1)
    return (heads_HW * cos_1W).addcmul_(halves_HW, sin_1W)
