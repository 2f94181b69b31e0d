"""A model of the full shape and a thousandth of the size, and batches for it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eureka_audio.audio.clock import num_audio_tokens
from eureka_audio.model import EurekaAudioConfig, EurekaAudioForConditionalGeneration

PAD, BOS, START, END, AUDIO = 0, 1, 2, 3, 4
MEL_BINS = 8


def tiny_config(**settings: object) -> EurekaAudioConfig:
    adapter = settings.pop("adapter_config", {})
    text = settings.pop("text_config", {})
    defaults: dict[str, object] = {
        "audio_token_id": AUDIO,
        "audio_start_token_id": START,
        "audio_end_token_id": END,
        "pad_windows": False,
    }
    return EurekaAudioConfig(
        audio_config={
            "num_mel_bins": MEL_BINS,
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "max_source_positions": 100,
        },
        text_config={
            "vocab_size": 48,
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "tie_word_embeddings": True,
            "pad_token_id": PAD,
            **text,
        },
        adapter_config={
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "expert_intermediate_size": 16,
            **adapter,
        },
        **{**defaults, **settings},
    )


def tiny_model(seed: int = 0, **settings: object) -> EurekaAudioForConditionalGeneration:
    torch.manual_seed(seed)
    model = EurekaAudioForConditionalGeneration(tiny_config(**settings))
    with torch.no_grad():  # larger weights, so that differences show
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval()


@dataclass
class Row:
    """One conversation: mel windows of given lengths, then text."""

    windows: list[Tensor]
    text: list[int]

    @property
    def ids(self) -> list[int]:
        ids = [BOS]
        for window in self.windows:
            ids += [START, *[AUDIO] * num_audio_tokens(window.shape[1]), END]
        return ids + self.text


def make_row(*lengths: int, text: tuple[int, ...] = (10, 11, 12), seed: int = 0) -> Row:
    generator = torch.Generator().manual_seed(seed + sum(lengths))
    return Row(
        [torch.randn(MEL_BINS, length, generator=generator) for length in lengths], list(text)
    )


def make_batch(rows: list[Row], *, left: bool = True) -> dict[str, Tensor]:
    longest = max(len(row.ids) for row in rows)
    ids, mask = [], []
    for row in rows:
        padding = longest - len(row.ids)
        pads, ones = [PAD] * padding, [1] * len(row.ids)
        ids.append(pads + row.ids if left else row.ids + pads)
        mask.append([0] * padding + ones if left else ones + [0] * padding)
    batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
    windows = [window for row in rows for window in row.windows]
    if windows:
        frames = max(window.shape[1] for window in windows)
        features = torch.full((len(windows), MEL_BINS, frames), 7.0)  # what pads must not matter
        for index, window in enumerate(windows):
            features[index, :, : window.shape[1]] = window
        batch["input_features"] = features
        batch["feature_lengths"] = torch.tensor([window.shape[1] for window in windows])
    return batch


def three_rows() -> list[Row]:
    """Two windows, one window, one long window."""
    return [make_row(40, 17), make_row(9, text=(20, 21, 22, 23)), make_row(200)]
