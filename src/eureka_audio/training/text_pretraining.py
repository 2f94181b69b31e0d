"""Pretraining of the decoder on text: what stands in for Qwen3 where no Qwen3 can be fetched.

Lines are packed end to end with an end-of-text token between them, and cut into rows of one length.
"""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Qwen3ForCausalLM
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.data.mixture import Batch
from eureka_audio.errors import ConfigError
from eureka_audio.processor import EncodedConversation
from eureka_audio.text.tokenizer import END_OF_TEXT, encode_plain, token_id
from eureka_audio.training.trainer import BatchLoss


class TextModel(nn.Module):
    """The decoder with next-token prediction (Eq. 2 without audio)."""

    def __init__(self, language_model: Qwen3ForCausalLM) -> None:
        super().__init__()
        self.language_model = language_model

    def forward(self, input_ids: Tensor) -> BatchLoss:
        """Mean loss over rows `(B, T)` in which every token is learnt."""
        loss = self.language_model(input_ids=input_ids, labels=input_ids).loss
        return BatchLoss(loss, {})


class PackedText:
    """Rows `(B, T)` of packed text; a sample's index is a row."""

    def __init__(self, rows: NDArray[np.int32]) -> None:
        self.rows = rows

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The rows of a planned batch."""
        chosen = self.rows[[sample.index for sample in batch.samples]]
        return {"input_ids": torch.from_numpy(chosen.astype(np.int64))}


def encode_line(line: str, tokenizer: PreTrainedTokenizerBase) -> EncodedConversation:
    """A line of plain text as a conversation without audio, all of it to be learnt."""
    ids = (*encode_plain(tokenizer, line), token_id(tokenizer, END_OF_TEXT))
    return EncodedConversation(ids, ids, (), 0.0)


def pack_text(
    lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, row_length: int
) -> NDArray[np.int32]:
    """Lines of text -> rows `(num_rows, row_length)` of ids; an incomplete last row is dropped.

    Raises:
        ConfigError: there is not enough text for one row.
    """
    end = token_id(tokenizer, END_OF_TEXT)
    ids: list[int] = []
    for line in lines:
        ids.extend(encode_plain(tokenizer, line))
        ids.append(end)
    num_rows = len(ids) // row_length
    if num_rows == 0:
        raise ConfigError(
            f"expected text for at least one row of {row_length} tokens, got {len(ids)} tokens"
        )
    return np.array(ids[: num_rows * row_length], dtype=np.int32).reshape(num_rows, row_length)
