# ruff: noqa: N803, N806
"""The sparse mixture against a plain loop, its sparsity, its losses and its baseline."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eureka_audio.errors import ConfigError
from eureka_audio.model.adapter import (
    DenseAdapter,
    EurekaAudioAdapter,
    build_adapter,
    count_tokens_per_expert,
    dense_intermediate_size,
    grouped_linear,
    load_balancing_loss,
    stack_frames,
)
from eureka_audio.model.configuration import EurekaAudioAdapterConfig


def make_config(**settings: object) -> EurekaAudioAdapterConfig:
    defaults = {
        "input_size": 32,
        "output_size": 16,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "expert_intermediate_size": 24,
    }
    return EurekaAudioAdapterConfig(**{**defaults, **settings})


def make_adapter(dtype: torch.dtype = torch.float32, **settings: object) -> EurekaAudioAdapter:
    torch.manual_seed(0)
    adapter = build_adapter(make_config(**settings))
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    return adapter.to(dtype)


def plain_loop(adapter: EurekaAudioAdapter, tokens_NX: Tensor) -> Tensor:
    """Eq. 1 token by token, expert by expert, with nothing but vectors."""
    embeds = []
    num_chosen = adapter.router.num_experts_per_tok
    for token_X in tokens_NX:
        probs_E = (adapter.router.weight.float() @ token_X.float()).softmax(0)
        chosen = probs_E.argsort(descending=True)[:num_chosen]
        weights = probs_E[chosen]
        if adapter.router.norm_topk_prob:
            weights = weights / weights.sum()
        mixed_O = torch.zeros(adapter.experts.down_proj.shape[1], dtype=tokens_NX.dtype)
        for weight, expert in zip(weights, chosen, strict=True):
            hidden_I = nn.functional.silu(adapter.experts.up_proj[expert] @ token_X)
            mixed_O = mixed_O + weight.to(tokens_NX.dtype) * (
                adapter.experts.down_proj[expert] @ hidden_I
            )
        if adapter.shared_experts is not None:
            mixed_O = mixed_O + adapter.shared_experts(token_X)
        embeds.append(adapter.layer_norm(adapter.proj(mixed_O)))
    return torch.stack(embeds)


def run(adapter: nn.Module, tokens_NX: Tensor):
    """The adapter on tokens already stacked: one window of four frames each."""
    frames = tokens_NX.reshape(len(tokens_NX), 4, -1)
    return adapter(frames, torch.ones(len(tokens_NX), dtype=torch.long))


@pytest.mark.parametrize("num_shared_experts", [0, 2])
@pytest.mark.parametrize("norm_topk_prob", [True, False])
@pytest.mark.parametrize("width", [24, 23])  # rows of 23 floats are not 16-byte aligned: the loop
def test_equals_a_plain_loop_forward_and_backward(num_shared_experts, norm_topk_prob, width):
    adapter = make_adapter(
        num_shared_experts=num_shared_experts,
        norm_topk_prob=norm_topk_prob,
        expert_intermediate_size=width,
    )
    tokens = torch.randn(37, 32, requires_grad=True)
    target = torch.randn(37, 16)

    ours = run(adapter, tokens).audio_embeds
    theirs = plain_loop(adapter, tokens)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

    leaves = [tokens, *adapter.parameters()]
    ours_grads = torch.autograd.grad((ours * target).sum(), leaves)
    theirs_grads = torch.autograd.grad((theirs * target).sum(), leaves)
    for mine, other in zip(ours_grads, theirs_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_float64_equals_the_loop_to_the_last_digits():
    adapter = make_adapter(torch.float64)
    adapter.router.weight.data = adapter.router.weight.data.float().double()
    tokens = torch.randn(20, 32).double()
    torch.testing.assert_close(
        run(adapter, tokens).audio_embeds, plain_loop(adapter, tokens), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("width", [24, 23])
def test_experts_nobody_chose_get_exactly_no_gradient(width):
    adapter = make_adapter(expert_intermediate_size=width)
    output = run(adapter, torch.randn(2, 32))
    output.audio_embeds.square().sum().backward()
    idle = output.router_statistics.tokens_per_expert == 0
    assert idle.any()
    assert not idle.all()
    for weight in (adapter.experts.up_proj, adapter.experts.down_proj):
        assert torch.all(weight.grad[idle] == 0)
        assert torch.all(weight.grad[~idle].flatten(1).abs().sum(1) > 0)


def test_all_experts_chosen_is_the_dense_softmax_mixture():
    adapter = make_adapter(num_experts_per_tok=8, norm_topk_prob=False)
    tokens_NX = torch.randn(11, 32)
    probs_NE = (tokens_NX @ adapter.router.weight.T).softmax(-1)
    hidden_NEI = nn.functional.silu(torch.einsum("nx,eix->nei", tokens_NX, adapter.experts.up_proj))
    mixed_NO = torch.einsum("ne,nei,eoi->no", probs_NE, hidden_NEI, adapter.experts.down_proj)
    expected = adapter.layer_norm(adapter.proj(mixed_NO))
    torch.testing.assert_close(run(adapter, tokens_NX).audio_embeds, expected, rtol=1e-5, atol=1e-5)


def count_flops(**settings: object) -> int:
    """Floating point operations of the adapter on 64 tokens, the grouped matmul's included."""

    def of_grouped_mm(a_shape, b_shape, *args, out_shape=None, **kwargs) -> int:
        return 2 * a_shape[0] * b_shape[1] * b_shape[2]

    adapter = make_adapter(**settings)
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten._grouped_mm: of_grouped_mm}
    )
    with counter, torch.no_grad():
        run(adapter, torch.randn(64, 32))
    return counter.get_total_flops()


@pytest.mark.parametrize("width", [24, 23])
def test_cost_grows_with_the_chosen_and_not_with_all_experts(width):
    one_expert = 64 * 2 * (32 + 16) * width
    projection = 64 * 2 * 16 * 16
    for num_experts in (4, 8, 32):
        for num_chosen in (2, 3, 4):
            router = 64 * 2 * 32 * num_experts
            flops = count_flops(
                num_experts=num_experts,
                num_experts_per_tok=num_chosen,
                expert_intermediate_size=width,
            )
            assert flops == num_chosen * one_expert + router + projection


def test_bfloat16_stays_close_and_routes_in_float32():
    adapter = make_adapter()
    tokens = torch.randn(30, 32).bfloat16().float()
    for parameter in adapter.parameters():
        parameter.data = parameter.data.bfloat16().float()
    exact = run(adapter, tokens)
    adapter.bfloat16()
    rough = run(adapter, tokens.bfloat16())
    assert rough.audio_embeds.dtype is torch.bfloat16
    assert rough.router_statistics.router_logits.dtype is torch.float32
    assert torch.equal(
        rough.router_statistics.topk_expert_ids, exact.router_statistics.topk_expert_ids
    )
    error = (rough.audio_embeds.float() - exact.audio_embeds).square().mean().sqrt()
    assert error < 0.02 * exact.audio_embeds.square().mean().sqrt()


def test_autocast_computes_experts_in_bfloat16_and_trains():
    adapter = make_adapter()
    tokens = torch.randn(30, 32)
    exact = run(adapter, tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = run(adapter, tokens)
    assert rough.router_statistics.router_logits.dtype is torch.float32
    torch.testing.assert_close(
        rough.router_statistics.router_logits, exact.router_statistics.router_logits
    )
    torch.testing.assert_close(rough.audio_embeds.float(), exact.audio_embeds, rtol=0.05, atol=0.05)
    rough.audio_embeds.float().sum().backward()
    assert adapter.experts.up_proj.grad.dtype is torch.float32


@pytest.mark.parametrize("width", [24, 23])
def test_no_audio_at_all(width):
    adapter = make_adapter(expert_intermediate_size=width, num_shared_experts=1)
    output = adapter(torch.randn(2, 8, 8), torch.tensor([0, 0]))
    assert output.audio_embeds.shape == (0, 16)
    statistics = output.router_statistics
    assert statistics.load_balancing_loss == 0
    assert statistics.entropy == 0
    assert statistics.tokens_per_expert.tolist() == [0] * 8
    (output.audio_embeds.sum() + statistics.load_balancing_loss).backward()
    assert torch.all(adapter.experts.up_proj.grad == 0)


def test_only_real_tokens_are_routed_and_padding_does_not_matter():
    adapter = make_adapter()
    frames = torch.randn(3, 12, 8)
    lengths = torch.tensor([3, 1, 2])
    output = adapter(frames, lengths)
    assert output.audio_embeds.shape == (6, 16)
    assert output.router_statistics.router_logits.shape == (6, 8)
    assert output.router_statistics.tokens_per_expert.sum() == 6 * 2
    changed = frames.clone()
    changed[1, 4:] = 99.0
    changed[2, 8:] = -99.0
    torch.testing.assert_close(adapter(changed, lengths).audio_embeds, output.audio_embeds)


def test_frames_are_stacked_in_order_and_filled_with_zeros():
    frames = torch.arange(1.0, 6.0).reshape(1, 5, 1)
    assert stack_frames(frames).tolist() == [[[1, 2, 3, 4], [5, 0, 0, 0]]]


def test_statistics_are_what_they_say():
    adapter = make_adapter()
    tokens = torch.randn(50, 32)
    statistics = run(adapter, tokens).router_statistics
    probs = statistics.router_logits.softmax(-1)
    torch.testing.assert_close(statistics.router_probs, probs)
    torch.testing.assert_close(statistics.topk_weights.sum(-1), torch.ones(50))
    counted = torch.bincount(statistics.topk_expert_ids.flatten(), minlength=8)
    assert torch.equal(statistics.tokens_per_expert, counted)
    entropy = -(probs * probs.log()).sum(-1).mean()
    torch.testing.assert_close(statistics.entropy, entropy)


def test_load_balancing_loss_is_equation_3():
    probs_NE = torch.randn(40, 8).softmax(-1)
    ids_NK = probs_NE.topk(2).indices
    expected = 0.0
    for expert in range(8):
        fraction = sum(expert in row for row in ids_NK.tolist()) / (40 * 2)
        expected += probs_NE[:, expert].mean().item() * fraction
    assert load_balancing_loss(probs_NE, ids_NK).item() == pytest.approx(8 * expected, rel=1e-5)


def test_load_balancing_loss_is_least_when_uniform_and_most_when_collapsed():
    uniform = torch.full((8, 8), 1 / 8)
    each_once = torch.arange(8)[:, None]
    assert load_balancing_loss(uniform, each_once).item() == pytest.approx(1.0)
    certain = nn.functional.one_hot(torch.zeros(8, dtype=torch.long), 8).float()
    collapsed = load_balancing_loss(certain, torch.zeros(8, 1, dtype=torch.long))
    assert collapsed.item() == pytest.approx(8.0)
    for seed in range(20):  # a router that sends tokens where it believes cannot get below 1
        probs = (torch.randn(400, 8, generator=torch.Generator().manual_seed(seed)) * 2).softmax(-1)
        assert load_balancing_loss(probs, probs.topk(2).indices) > 1 - 0.02


def test_descending_the_load_balancing_loss_balances_the_router():
    torch.manual_seed(0)
    tokens = torch.randn(256, 16) + 1.0
    weight = nn.Parameter(torch.randn(8, 16) * 0.5)
    optimizer = torch.optim.Adam([weight], lr=0.02)
    counts = []
    for _ in range(150):
        probs = (tokens @ weight.T).softmax(-1)
        ids = probs.topk(2).indices
        counts.append(count_tokens_per_expert(ids, 8).float())
        loss = load_balancing_loss(probs, ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert counts[-1].std() < 0.5 * counts[0].std()
    assert loss < 1.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("sizes", [(3, 0, 5, 2), (0, 0, 10, 0), (0, 0, 0, 0)])
def test_grouped_linear_is_one_linear_for_each_group(dtype, sizes):
    torch.manual_seed(0)
    rows, weight = torch.randn(sum(sizes), 24, dtype=dtype), torch.randn(4, 16, 24, dtype=dtype)
    offsets = torch.tensor(sizes).cumsum(0).to(torch.int32)
    expected = torch.cat(
        [group @ weight_OX.T for group, weight_OX in zip(rows.split(sizes), weight, strict=True)]
    )
    torch.testing.assert_close(grouped_linear(rows, weight, offsets), expected)


@pytest.mark.parametrize(
    ("experts", "chosen", "shared", "width"), [(8, 2, 0, 256), (8, 2, 1, 4096), (16, 4, 2, 96)]
)
def test_dense_adapter_has_as_many_parameters_as_are_active(experts, chosen, shared, width):
    config = make_config(
        input_size=1024,
        output_size=320,
        num_experts=experts,
        num_experts_per_tok=chosen,
        num_shared_experts=shared,
        expert_intermediate_size=width,
    )

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    with torch.device("meta"):
        sparse, dense = EurekaAudioAdapter(config), DenseAdapter(config)
    idle = count(sparse.experts) * (experts - chosen) // experts
    active = count(sparse) - idle
    assert active <= count(dense) <= active + 8 * (1024 + 320)
    assert dense_intermediate_size(config) % 8 == 0


def test_dense_adapter_gives_embeddings_and_no_statistics():
    adapter = make_adapter(adapter_type="dense")
    assert isinstance(adapter, DenseAdapter)
    output = adapter(torch.randn(2, 8, 8), torch.tensor([2, 1]))
    assert output.audio_embeds.shape == (3, 16)
    assert output.router_statistics is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"adapter_type": "mixture"}, "adapter_type"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ({"num_experts_per_tok": 1}, "learn nothing from the text"),
        ({"num_experts_per_tok": 1, "num_shared_experts": 1}, "learn nothing from the text"),
        ({"num_experts_per_tok": 1, "norm_topk_prob": False}, "learn nothing from the text"),
        ({"num_shared_experts": -1}, "num_shared_experts"),
        ({"expert_intermediate_size": 0}, "expert_intermediate_size"),
    ],
)
def test_impossible_adapters_are_refused(settings, named):
    with pytest.raises(ConfigError, match=named):
        make_config(**settings)


def test_one_routed_expert_beside_a_shared_one_lets_the_router_learn():
    adapter = make_adapter(num_experts_per_tok=1, num_shared_experts=1, norm_topk_prob=False)
    output = run(adapter, torch.randn(9, 32))
    (output.audio_embeds * torch.randn(9, 16)).sum().backward()
    assert adapter.router.weight.grad.abs().max() > 1e-3


def test_without_shared_experts_the_layer_norm_cancels_the_scale_of_the_weights():
    tokens = torch.randn(20, 32)
    scaled, unscaled = (make_adapter(norm_topk_prob=norm) for norm in (True, False))
    torch.testing.assert_close(
        run(scaled, tokens).audio_embeds, run(unscaled, tokens).audio_embeds, rtol=1e-3, atol=1e-3
    )


def test_uniform_router_has_the_entropy_of_all_experts():
    adapter = make_adapter()
    adapter.router.weight.data.zero_()
    statistics = run(adapter, torch.randn(5, 32)).router_statistics
    assert statistics.entropy.item() == pytest.approx(math.log(8), rel=1e-5)
