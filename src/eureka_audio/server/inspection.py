"""What a model heard: its spectrogram, and which experts took which 80 ms of the sound.

A recording is heard in the windows of a conversation, as when a question about it is asked.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eureka_audio.audio import clock
from eureka_audio.audio.features import DYNAMIC_RANGE
from eureka_audio.audio.window import Samples
from eureka_audio.inference.assistant import EurekaAudio

MAX_COLUMNS = 2400  # of the spectrogram: about the pixels of a wide screen
LOG_MEL_RANGE = DYNAMIC_RANGE / 4  # Whisper divides by 4 what log-mel values range over


@dataclass(frozen=True, slots=True)
class Routing:
    """Which experts heard each of U audio tokens.

    Attributes:
        num_experts: there are.
        topk_expert_ids: `(U, K)`, the chosen ones, best first.
        topk_weights: `(U, K)`, how much each had to say.
    """

    num_experts: int
    topk_expert_ids: NDArray[np.int64]
    topk_weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeardWindow:
    """One window as the model took it in.

    Attributes:
        log_mel: `(M, F)` float32, Whisper's.
        routing: of its audio tokens; None where the adapter is a dense one.
    """

    log_mel: NDArray[np.float32]
    routing: Routing | None


@torch.inference_mode()
def hear_window(assistant: EurekaAudio, waveform: Samples) -> HeardWindow:
    """Let a model hear one window `(S,)` of at most 30 s, and ask for no words."""
    [features] = assistant.processor.window_features(waveform)
    model = assistant.model
    statistics = model.get_audio_features(features[None].to(model.device)).router_statistics
    if statistics is None:
        return HeardWindow(features.numpy(), None)
    routing = Routing(
        num_experts=statistics.router_logits.shape[1],
        topk_expert_ids=statistics.topk_expert_ids.cpu().numpy(),
        topk_weights=statistics.topk_weights.cpu().numpy(),
    )
    return HeardWindow(features.numpy(), routing)


def inspection_body(windows: Sequence[HeardWindow], duration_seconds: float) -> dict[str, Any]:
    """The windows of a recording, in order and joined, as `/v1/inspect` tells them."""
    log_mel = np.concatenate([window.log_mel for window in windows], axis=1)
    routings = [window.routing for window in windows if window.routing is not None]
    return {
        "object": "inspection",
        "duration": round(duration_seconds, 3),
        "log_mel": log_mel_picture(log_mel),
        "experts": _experts(routings) if routings else None,
    }


def log_mel_picture(log_mel: NDArray[np.float32]) -> dict[str, Any]:
    """A spectrogram `(M, F)` as bytes, row by row from the lowest bin; 255 is the loudest cell.

    A column is the loudest of the frames it stands for, so that a click stays visible.
    """
    num_mel_bins, num_frames = log_mel.shape
    frames_per_column = clock.ceil_div(num_frames, MAX_COLUMNS)
    columns = np.maximum.reduceat(log_mel, np.arange(0, num_frames, frames_per_column), axis=1)
    # Each window has a floor of its own; that of the loudest lies above all others.
    level = (columns - columns.max()) / LOG_MEL_RANGE + 1
    pixels = np.rint(level.clip(0, 1) * 255).astype(np.uint8)
    return {
        "num_mel_bins": num_mel_bins,
        "num_columns": columns.shape[1],
        "column_seconds": frames_per_column * clock.HOP_LENGTH / clock.SAMPLING_RATE,
        "data": base64.b64encode(pixels.tobytes()).decode(),
    }


def _experts(routings: Sequence[Routing]) -> dict[str, Any]:
    ids = np.concatenate([routing.topk_expert_ids for routing in routings])
    weights = np.concatenate([routing.topk_weights for routing in routings])
    return {
        "num_experts": routings[0].num_experts,
        "num_experts_per_tok": ids.shape[1],
        "token_seconds": 1 / clock.AUDIO_TOKENS_PER_SECOND,
        "ids": ids.tolist(),
        "weights": np.round(weights.astype(np.float64), 3).tolist(),
    }
