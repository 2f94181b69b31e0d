"""Which arithmetic a device is fast in."""

import torch


def fast_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware has it, else float32.

    On a processor without bfloat16 arithmetic torch emulates it, several times slower than float32.
    """
    if device.type != "cpu":
        return torch.bfloat16
    abilities = torch.cpu.get_capabilities()
    has_it = abilities.get("amx_bf16") or abilities.get("avx512_bf16")
    return torch.bfloat16 if has_it else torch.float32


def fast_attention(device: torch.device) -> str | None:
    """The implementation of attention to train with; `None` for the model's own.

    On a CPU in bfloat16 the backward of torch's fused attention takes twice as long as plain
    matrix products do.
    """
    is_slow = device.type == "cpu" and fast_type(device) == torch.bfloat16
    return "eager" if is_slow else None
