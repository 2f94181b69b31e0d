"""A language model in one GGUF file -> transformers' layout, weights and tokenizer."""

from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import is_gguf_available

from eureka_audio.errors import MissingDependencyError, PartError

DTYPE = torch.float16  # finer than bfloat16 around the few levels of a quantised weight


def convert(file: Path, folder: Path) -> None:
    """Write a language model's weights, configuration and tokenizer into a folder.

    Raises:
        MissingDependencyError: the package that reads GGUF is not installed.
        PartError: transformers cannot read the file.
    """
    if not is_gguf_available():
        raise MissingDependencyError(
            "expected the package gguf to read a GGUF file once, found none; "
            "pip install 'eureka-audio[parts]'"
        )
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    # Newer ones leave weights packed unless told otherwise.
    packed = getattr(transformers, "GgufConfig", None)
    unpack = {} if packed is None else {"quantization_config": packed(dequantize=True)}
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, **unpack, dtype=DTYPE)
        tokenizer = AutoTokenizer.from_pretrained(**source)
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError) as error:
        raise PartError(
            f"{file}: expected a GGUF file of a language model that transformers knows, got: "
            f"{error!s:.200}; fetch it again"
        ) from error
    # What transformers remembers of the file's quantisation would make it refuse to save.
    for owner in (model, model.config):
        for name in ("quantization_config", "hf_quantizer", "quantization_method"):
            if getattr(owner, name, None) is not None:
                delattr(owner, name)
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
