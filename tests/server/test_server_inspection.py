"""`/v1/inspect`: what the model heard, and which experts heard it."""

import base64
from typing import Any

import httpx2
import numpy as np
import pytest

from eureka_audio.audio import clock
from eureka_audio.audio.decode import load_audio
from eureka_audio.server.inspection import MAX_COLUMNS, log_mel_picture
from server.running import Running, running, wav
from tiny import tiny_assistant, tiny_model, tiny_processor


def inspect(server: Running, content: bytes, **fields: str) -> httpx2.Response:
    fields = {"model": "tiny", **fields}
    return httpx2.post(
        f"{server.url}/v1/inspect", data=fields, files={"file": ("a.wav", content)}, timeout=60
    )


def test_it_tells_the_model_s_own_choice_of_experts(server: Running) -> None:
    body = inspect(server, wav(1.0)).json()
    assistant = tiny_assistant()
    [features] = assistant.processor.window_features(load_audio(wav(1.0)).waveform)
    chosen = assistant.model.get_audio_features(features[None]).router_statistics
    experts = body["experts"]
    assert experts["ids"] == chosen.topk_expert_ids.tolist()
    assert np.allclose(experts["weights"], chosen.topk_weights.detach(), atol=6e-4)
    assert experts["num_experts"] == 4
    assert experts["token_seconds"] == 0.08
    assert len(experts["ids"]) == 13
    assert body["duration"] == 1.0


def test_it_shows_what_the_encoder_is_given(server: Running) -> None:
    picture = inspect(server, wav(1.0)).json()["log_mel"]
    pixels = np.frombuffer(base64.b64decode(picture["data"]), np.uint8)
    pixels = pixels.reshape(picture["num_mel_bins"], picture["num_columns"])
    [features] = tiny_processor().window_features(load_audio(wav(1.0)).waveform)
    expected = ((features - features.max()) / 2 + 1).clamp(0, 1).numpy() * 255
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).max() <= 0.51
    assert picture["column_seconds"] == 0.01


def test_a_long_recording_is_one_picture_and_one_row_of_tokens(server: Running) -> None:
    seconds = 31.0
    body = inspect(server, wav(seconds)).json()
    num_frames = clock.num_mel_frames(int(seconds * clock.SAMPLING_RATE))
    assert len(body["experts"]["ids"]) == clock.num_audio_tokens(num_frames)
    picture = body["log_mel"]
    assert picture["num_columns"] <= MAX_COLUMNS
    assert picture["num_columns"] * picture["column_seconds"] == pytest.approx(seconds, abs=0.02)


def test_a_click_stays_visible_where_frames_share_a_column() -> None:
    log_mel = np.full((2, 3 * MAX_COLUMNS), -1.0, np.float32)
    log_mel[1, 7] = 1.0
    picture = log_mel_picture(log_mel)
    pixels = np.frombuffer(base64.b64decode(picture["data"]), np.uint8).reshape(2, MAX_COLUMNS)
    assert pixels[1, 2] == 255
    assert pixels.sum() == 255


def test_a_dense_adapter_has_no_experts() -> None:
    def dense() -> Any:
        assistant = tiny_assistant()
        model = tiny_model(adapter_config={"adapter_type": "dense"})
        return type(assistant)(model, assistant.processor)

    with running(load=dense) as server:
        body = inspect(server, wav(1.0)).json()
    assert body["experts"] is None
    assert body["log_mel"]["num_columns"] == 100


@pytest.mark.parametrize(
    ("content", "fields", "status", "code"),
    [
        (b"no audio at all", {}, 400, "audio_unreadable"),
        (wav(1.0), {"model": "other"}, 404, "model_not_found"),
        (wav(1.0), {"colour": "red"}, 400, "invalid_value"),
    ],
)
def test_what_cannot_be_inspected_is_refused(
    server: Running, content: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    answer = inspect(server, content, **fields)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_file_is_needed(server: Running) -> None:
    answer = httpx2.post(f"{server.url}/v1/inspect", files={"model": (None, "tiny")})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"
