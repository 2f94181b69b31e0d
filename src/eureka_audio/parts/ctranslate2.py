"""Whisper as CTranslate2 stores it (`model.bin`, version 6) -> transformers' layout.

A file is: version, name of the specification, revision, number of variables; per variable its name,
rank, dimensions, type, bytes and data; then aliases, two names each. Integers are little-endian, a
name is its length (16 bits, a final zero byte counted) and its bytes.

Source: CTranslate2, `python/ctranslate2/specs/model_spec.py`, read as documentation of the format.
"""

import json
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from transformers import WhisperConfig

from eureka_audio.errors import PartError

VERSION = 6
DTYPES = ("<f4", "<i1", "<i2", "<i4", "<f2")  # by the number that stands for each; 5, bf16, unused
Variables = dict[str, NDArray[np.generic]]

# In a stack of attention: what the linear maps hold, in order.
STACKS = {
    "self_attention": {"linear_0": ("q_proj", "k_proj", "v_proj"), "linear_1": ("out_proj",)},
    "attention": {
        "linear_0": ("q_proj",),
        "linear_1": ("k_proj", "v_proj"),
        "linear_2": ("out_proj",),
    },
}
NORMS = {"gamma": "weight", "beta": "bias"}
MODULES = {
    "self_attention": "self_attn",
    "attention": "encoder_attn",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
WHOLE = {
    "embeddings/weight": "embed_tokens.weight",
    "position_encodings/encodings": "embed_positions.weight",
}


def convert(file: Path, folder: Path) -> None:
    """Write a Whisper's weights and configuration into a folder.

    Raises:
        PartError: the file is no Whisper of this format.
    """
    variables = read_variables(file.read_bytes(), str(file))
    try:
        tensors, config = whisper_tensors(variables), whisper_config(variables)
    except (KeyError, ValueError, IndexError) as error:
        raise PartError(
            f"{file}: expected the variables of a Whisper, got one without {error}; fetch it again"
        ) from error
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {**config.to_dict(), "architectures": ["WhisperForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def read_variables(content: bytes, where: str) -> Variables:
    """Read every variable of a `model.bin`, under its own name and its aliases.

    Raises:
        PartError: the file is of another version, or cut short.
    """
    position = 0

    def take(form: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from(form, content, position)
        position += struct.calcsize(form)
        return int(value)

    def take_bytes(count: int) -> bytes:
        nonlocal position
        position += count
        if position > len(content):
            raise ValueError("it is cut short")
        return content[position - count : position]

    def take_name() -> str:
        return take_bytes(take("<H")).rstrip(b"\0").decode()

    try:
        if (version := take("<I")) != VERSION:
            raise ValueError(f"version {version}")
        take_name(), take("<I")
        variables: Variables = {}
        for _ in range(take("<I")):
            name = take_name()
            shape = [take("<I") for _ in range(take("<B"))]
            dtype = DTYPES[take("<B")]
            variables[name] = np.frombuffer(take_bytes(take("<I")), dtype).reshape(shape)
        for _ in range(take("<I")):
            alias, name = take_name(), take_name()
            variables[alias] = variables[name]
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise PartError(
            f"{where}: expected a CTranslate2 model of version {VERSION}, got: {error}; fetch it "
            "again"
        ) from error
    return variables


def whisper_tensors(variables: Variables) -> dict[str, Tensor]:
    """Give variables the names of transformers' Whisper, stacked projections taken apart.

    Whisper's keys have no bias: the zeros stored in its place are left out.
    """
    tensors: dict[str, Tensor] = {}
    for name, array in variables.items():
        if array.ndim == 0 or name.startswith("decoder/alignment") or "projection" in name:
            continue
        half, rest = name.split("/", 1)
        for module, piece in _pieces(rest, torch.from_numpy(array.copy())):
            if not module.endswith("k_proj.bias"):
                tensors[f"model.{half}.{module}"] = piece.contiguous()
    return tensors


def _pieces(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """What a variable of one half (encoder, decoder) is called there, piece by piece."""
    if name in WHOLE:
        return [(WHOLE[name], tensor)]
    path, leaf = name.rsplit("/", 1)
    leaf = NORMS.get(leaf, leaf)
    if not path.startswith("layer_") or path == "layer_norm":  # conv1, conv2, the last LayerNorm
        return [(f"{path}.{leaf}", tensor)]
    layer, path = path.removeprefix("layer_").split("/", 1)
    if path in MODULES:
        return [(f"layers.{layer}.{MODULES[path]}.{leaf}", tensor)]
    attention, linear = path.split("/")
    stack = STACKS[attention][linear]
    return [
        (f"layers.{layer}.{MODULES[attention]}.{projection}.{leaf}", piece)
        for projection, piece in zip(stack, tensor.chunk(len(stack)), strict=True)
    ]


def whisper_config(variables: Variables) -> WhisperConfig:
    """The shapes of a Whisper, read off its variables."""
    width, num_mel_bins, _ = variables["encoder/conv1/weight"].shape
    halves: dict[str, int] = {}
    for half in ("encoder", "decoder"):
        prefix = f"{half}/layer_"
        layers = {
            name.removeprefix(prefix).split("/")[0]
            for name in variables
            if name.startswith(prefix) and not name.startswith(f"{prefix}norm")
        }
        halves[f"{half}_layers"] = len(layers)
        halves[f"{half}_attention_heads"] = int(variables[f"{half}/num_heads"])
        halves[f"{half}_ffn_dim"] = len(variables[f"{half}/layer_0/ffn/linear_0/weight"])
    vocab_size = len(variables["decoder/embeddings/weight"])
    return WhisperConfig(
        d_model=width,
        num_mel_bins=num_mel_bins,
        num_hidden_layers=halves["encoder_layers"],
        max_source_positions=len(variables["encoder/position_encodings/encodings"]),
        max_target_positions=len(variables["decoder/position_encodings/encodings"]),
        vocab_size=vocab_size,
        **_token_ids(vocab_size),
        **halves,
    )


def _token_ids(vocab_size: int) -> dict[str, object]:
    """Whisper's special tokens: an English Whisper has 51,864 tokens, the others one more."""
    end = 50256 if vocab_size == 51864 else min(50257, vocab_size - 2)
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {
        **dict.fromkeys(tokens, end),
        "decoder_start_token_id": end + 1,
        "begin_suppress_tokens": [220, end],
    }
