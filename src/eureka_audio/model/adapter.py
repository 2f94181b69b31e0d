"""The adapter: encoder frames in, embeddings of the language model out.

Four 50 Hz encoder frames are stacked into one 12.5 Hz audio token. A router sends each token to K
of E experts, whose weighted sum is projected to the width of the language model and normalised:

    y = LayerNorm(W_P(sum over the chosen i of G(x)_i E_i(x) + sum over the shared s of E_s(x)))

Source: paper section 3.2, Eq. 1 and Eq. 3.

Unstated: what an expert is beyond "a lightweight feed-forward network with SiLU activation"; here
two linear maps without bias around a SiLU. The router, W_P and the experts have no bias either.
Departure: the released module is reported to hold an RMSNorm; the LayerNorm of Eq. 1 is built.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eureka_audio.audio.clock import ENCODER_FRAMES_PER_AUDIO_TOKEN, ceil_div
from eureka_audio.model.configuration import EurekaAudioAdapterConfig


@dataclass(frozen=True)
class RouterStatistics:
    """What the router decided for N audio tokens, E experts and K choices.

    Attributes:
        router_logits: `(N, E)` float32.
        router_probs: `(N, E)` float32, softmax over all experts.
        topk_weights: `(N, K)` float32, weights of the chosen experts.
        topk_expert_ids: `(N, K)` the chosen experts, best first.
        tokens_per_expert: `(E,)` how many tokens each expert received; sums to N K.
        load_balancing_loss: scalar, Eq. 3; carries the gradient.
        entropy: scalar, mean entropy of a token's `router_probs` in nats; at most log E, near 0
            when the router is certain.
    """

    router_logits: Tensor
    router_probs: Tensor
    topk_weights: Tensor
    topk_expert_ids: Tensor
    tokens_per_expert: Tensor
    load_balancing_loss: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class AdapterOutput:
    """Embeddings of the real audio tokens of all windows, in order.

    Attributes:
        audio_embeds: `(N, D)`.
        router_statistics: what the router decided; `None` for the dense adapter.
    """

    audio_embeds: Tensor
    router_statistics: RouterStatistics | None


def count_tokens_per_expert(topk_expert_ids: Tensor, num_experts: int) -> Tensor:
    """Count `(E,)` how often each expert occurs in the choices `(N, K)`."""
    experts_E = torch.arange(num_experts, device=topk_expert_ids.device)
    return (topk_expert_ids.reshape(-1, 1) == experts_E).sum(dim=0)


def load_balancing_loss(router_probs: Tensor, topk_expert_ids: Tensor) -> Tensor:
    """Eq. 3: E times the sum over experts of mean probability times share of the routed tokens.

    It is 1 when both are uniform and E when everything goes to one expert with certainty; without
    tokens it is 0.

    Unstated: whether the fraction f-bar sums to 1 or to K. Here it sums to 1 (each of the N K
    assignments counts 1 / N K), so that the loss of a balanced router, and with it the meaning of
    lambda, does not depend on K.

    Args:
        router_probs: `(N, E)`, softmax over all experts; carries the gradient.
        topk_expert_ids: `(N, K)`.

    Source: paper section 3.2, Eq. 3.
    """
    num_tokens, num_experts = router_probs.shape
    tokens_per_expert = count_tokens_per_expert(topk_expert_ids, num_experts)
    importance_E = router_probs.sum(dim=0) / max(num_tokens, 1)
    fraction_E = tokens_per_expert.to(router_probs.dtype) / max(topk_expert_ids.numel(), 1)
    return num_experts * (importance_E * fraction_E).sum()


def grouped_linear(input: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    """Apply to each group of rows its own linear map, touching no other.

    Args:
        input: `(R, X)` rows sorted by group.
        weight: `(E, O, X)`, one map for each group.
        offsets: `(E,)` int32, where each group ends.

    Returns:
        `(R, O)`.
    """
    device = input.device.type
    if torch.is_autocast_enabled(device):  # grouped_mm is not on autocast's list
        input, weight = (t.to(torch.get_autocast_dtype(device)) for t in (input, weight))
    if _grouped_mm_takes(input, weight):
        return nn.functional.grouped_mm(input, weight.transpose(-2, -1), offs=offsets)
    group_sizes = torch.diff(offsets, prepend=offsets.new_zeros(1)).tolist()
    groups = zip(input.split(group_sizes), weight.unbind(), strict=True)
    return torch.cat([nn.functional.linear(rows, weight_OX) for rows, weight_OX in groups])


def _grouped_mm_takes(input: Tensor, weight: Tensor) -> bool:
    """Whether torch's grouped matmul has a kernel for these operands (torch 2.11 to 2.13)."""
    dtype, device = weight.dtype, weight.device
    if dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    if torch.compiler.is_compiling() and dtype is not torch.bfloat16:
        return False
    if any(width * dtype.itemsize % 16 for width in weight.shape[1:]):  # rows start on 16 bytes
        return False
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu"


class Router(nn.Module):
    """Chooses K of E experts for each audio token, always in float32."""

    def __init__(self, config: EurekaAudioAdapterConfig) -> None:
        super().__init__()
        self.num_experts_per_tok = config.num_experts_per_tok
        self.norm_topk_prob = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.input_size))

    def forward(self, tokens_NX: Tensor) -> RouterStatistics:
        with torch.autocast(tokens_NX.device.type, enabled=False):
            logits_NE = nn.functional.linear(tokens_NX.float(), self.weight.float())
            probs_NE = logits_NE.softmax(dim=-1)
            weights_NK, ids_NK = probs_NE.topk(self.num_experts_per_tok, dim=-1)
            if self.norm_topk_prob:
                weights_NK = weights_NK / weights_NK.sum(dim=-1, keepdim=True)
            entropies_N = torch.special.entr(probs_NE.detach()).sum(dim=-1)
            return RouterStatistics(
                router_logits=logits_NE,
                router_probs=probs_NE,
                topk_weights=weights_NK,
                topk_expert_ids=ids_NK,
                tokens_per_expert=count_tokens_per_expert(ids_NK, len(self.weight)),
                load_balancing_loss=load_balancing_loss(probs_NE, ids_NK),
                entropy=entropies_N.sum() / max(len(entropies_N), 1),
            )


class Experts(nn.Module):
    """E feed-forward networks as two stacked weights, computed only for the tokens sent to them."""

    def __init__(self, config: EurekaAudioAdapterConfig, output_size: int) -> None:
        super().__init__()
        num_experts, width = config.num_experts, config.expert_intermediate_size
        self.up_proj = nn.Parameter(torch.empty(num_experts, width, config.input_size))
        self.down_proj = nn.Parameter(torch.empty(num_experts, output_size, width))

    def forward(self, tokens_NX: Tensor, routing: RouterStatistics) -> Tensor:
        """Sum `(N, O)` of the chosen experts' outputs, each times its routing weight."""
        ids_NK, weights_NK = routing.topk_expert_ids, routing.topk_weights
        num_choices = ids_NK.shape[1]
        order_R = ids_NK.flatten().argsort(stable=True)  # R = N K assignments, sorted by expert
        offsets_E = routing.tokens_per_expert.cumsum(0).to(torch.int32)

        rows_RX = tokens_NX[order_R // num_choices]
        hidden_RI = nn.functional.silu(grouped_linear(rows_RX, self.up_proj, offsets_E))
        output_RO = grouped_linear(hidden_RI, self.down_proj, offsets_E)

        output_NKO = output_RO[order_R.argsort()].unflatten(0, (-1, num_choices))
        return (output_NKO * weights_NK.unsqueeze(-1).to(output_NKO.dtype)).sum(dim=1)


class FeedForward(nn.Module):
    """One feed-forward network of the experts' kind, for every token."""

    def __init__(self, input_size: int, intermediate_size: int, output_size: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(input_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, output_size, bias=False)

    def forward(self, tokens_NX: Tensor) -> Tensor:
        output_NO: Tensor = self.down_proj(nn.functional.silu(self.up_proj(tokens_NX)))
        return output_NO


class AudioLayerNorm(nn.LayerNorm):
    """The adapter's last step; a class of its own, since its gain need not start at 1."""


class AudioAdapter(nn.Module, ABC):
    """What both adapters share: stacking, leaving padding out, W_P and LayerNorm."""

    def __init__(self, config: EurekaAudioAdapterConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(expert_output_size(config), config.output_size, bias=False)
        self.layer_norm = AudioLayerNorm(config.output_size, eps=config.layer_norm_eps)

    def forward(self, audio_features: Tensor, token_lengths: Tensor) -> AdapterOutput:
        """Turn encoder frames into embeddings; padding is neither routed nor computed.

        Args:
            audio_features: `(A, L, C)` encoder output, zero past the end of each window.
            token_lengths: `(A,)` real audio tokens of each window, at most ceil(L / 4).
        """
        tokens_AUX = stack_frames(audio_features)
        positions_U = torch.arange(tokens_AUX.shape[1], device=tokens_AUX.device)
        tokens_NX = tokens_AUX[positions_U < token_lengths.to(positions_U.device)[:, None]]
        mixed_NO, routing = self.mix(tokens_NX)
        return AdapterOutput(self.layer_norm(self.proj(mixed_NO)), routing)

    @abstractmethod
    def mix(self, tokens_NX: Tensor) -> tuple[Tensor, RouterStatistics | None]:
        """Turn stacked tokens `(N, X)` into what W_P takes, `(N, O)`."""


class EurekaAudioAdapter(AudioAdapter):
    """The paper's sparse mixture of experts: a token costs K experts, however many there are."""

    def __init__(self, config: EurekaAudioAdapterConfig) -> None:
        super().__init__(config)
        output_size, num_shared = expert_output_size(config), config.num_shared_experts
        self.router = Router(config)
        self.experts = Experts(config, output_size)
        # The sum of S feed-forward networks is one of S times the width.
        self.shared_experts = (
            FeedForward(
                config.input_size, num_shared * config.expert_intermediate_size, output_size
            )
            if num_shared
            else None
        )

    def mix(self, tokens_NX: Tensor) -> tuple[Tensor, RouterStatistics]:
        routing = self.router(tokens_NX)
        mixed_NO = self.experts(tokens_NX, routing)
        if self.shared_experts is not None:
            mixed_NO = mixed_NO + self.shared_experts(tokens_NX)
        return mixed_NO, routing


class DenseAdapter(AudioAdapter):
    """The baseline the paper argues against: one network of as many active parameters."""

    def __init__(self, config: EurekaAudioAdapterConfig) -> None:
        super().__init__(config)
        self.feed_forward = FeedForward(
            config.input_size, dense_intermediate_size(config), expert_output_size(config)
        )

    def mix(self, tokens_NX: Tensor) -> tuple[Tensor, None]:
        return self.feed_forward(tokens_NX), None


def build_adapter(config: EurekaAudioAdapterConfig) -> AudioAdapter:
    """The adapter that `config.adapter_type` names."""
    return DenseAdapter(config) if config.adapter_type == "dense" else EurekaAudioAdapter(config)


def stack_frames(audio_features: Tensor) -> Tensor:
    """Join every four frames of `(A, L, C)` into a token, `(A, U, 4 C)`, filling with zeros."""
    num_frames = audio_features.shape[1]
    num_tokens = ceil_div(num_frames, ENCODER_FRAMES_PER_AUDIO_TOKEN)
    missing = num_tokens * ENCODER_FRAMES_PER_AUDIO_TOKEN - num_frames
    return nn.functional.pad(audio_features, (0, 0, 0, missing)).reshape(
        len(audio_features), num_tokens, -1
    )


def expert_output_size(config: EurekaAudioAdapterConfig) -> int:
    """Width between the experts and W_P."""
    return int(config.expert_output_size or config.output_size)


def dense_intermediate_size(config: EurekaAudioAdapterConfig) -> int:
    """Width at which the dense adapter has as many parameters as the sparse one uses for a token.

    The router counts as active. Rounded up to a multiple of 8, so the baseline never has fewer.
    """
    width_of_pair = config.input_size + expert_output_size(config)
    num_active = config.num_experts_per_tok + config.num_shared_experts
    active = num_active * config.expert_intermediate_size * width_of_pair
    router = config.num_experts * config.input_size
    return 8 * ceil_div(active + router, 8 * width_of_pair)
