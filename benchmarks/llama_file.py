"""A decoder of Llama's kind with random weights in Q8_0, as a file that llama.cpp reads."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import quantize

SEED = 0


def write_llama_file(path: Path, shape: dict[str, Any]) -> None:
    """Write it.

    Args:
        path: of the file.
        shape: as `LlamaConfig` names it.
    """
    width, head_dim = shape["hidden_size"], shape["head_dim"]
    num_heads, num_kv_heads = shape["num_attention_heads"], shape["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(shape["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(num_kv_heads)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{number}" for number in range(shape["vocab_size"])])
    writer.add_token_merges(["t 0"])
    rng = np.random.default_rng(SEED)
    matrices = {
        "attn_q": (num_heads * head_dim, width),
        "attn_k": (num_kv_heads * head_dim, width),
        "attn_v": (num_kv_heads * head_dim, width),
        "attn_output": (width, num_heads * head_dim),
        "ffn_gate": (shape["intermediate_size"], width),
        "ffn_up": (shape["intermediate_size"], width),
        "ffn_down": (width, shape["intermediate_size"]),
    }

    def add(name: str, *sizes: int) -> None:
        weight = (0.02 * rng.standard_normal(sizes)).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", quantize(weight, kind), raw_dtype=kind)

    ones = np.ones(width, dtype=np.float32)  # the head is the embedding
    writer.add_tensor("output_norm.weight", ones)
    add("token_embd", shape["vocab_size"], width)
    for layer in range(shape["num_hidden_layers"]):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", ones)
        for name, sizes in matrices.items():
            add(f"blk.{layer}.{name}", *sizes)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
