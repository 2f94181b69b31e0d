"""Small encoded files of every format we claim, made in memory from one signal."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 22_050


def tone_and_noise(seconds: float, channels: int, rate: int = RATE) -> np.ndarray:
    """A ``(frames, channels)`` float32 signal that differs between channels."""
    generator = np.random.default_rng(0)
    time = np.arange(int(seconds * rate)) / rate
    tones = np.stack([np.sin(2 * np.pi * 220 * (c + 1) * time) for c in range(channels)], axis=1)
    return (0.3 * tones + 0.01 * generator.standard_normal(tones.shape)).astype(np.float32)


def encode(
    signal: np.ndarray, rate: int = RATE, *, format: str, subtype: str | None = None
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def encode_media(
    signal: np.ndarray, rate: int, *, container: str, codec: str, **options: str
) -> bytes:
    """The same through FFmpeg, for what libsndfile does not write."""
    av = pytest.importorskip("av")
    layout = {1: "mono", 2: "stereo"}[signal.shape[1]]
    with tempfile.TemporaryDirectory() as folder:  # an mp4 is rewritten by its name at the end
        path = Path(folder) / "clip"
        with av.open(str(path), "w", format=container, options=options) as output:
            stream = output.add_stream(codec, rate=rate, layout=layout)
            planes = np.ascontiguousarray(signal.T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.sample_rate = rate
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
        return path.read_bytes()


@pytest.fixture(scope="session")
def signal() -> np.ndarray:
    return tone_and_noise(1.0, 2)


@pytest.fixture(scope="session")
def encoded(signal: np.ndarray) -> dict[str, bytes]:
    """Format name -> a good file of one second, stereo."""
    at_48k = tone_and_noise(1.0, 2, 48_000)
    return {
        "wav": encode(signal, format="WAV", subtype="PCM_16"),
        "wav_float": encode(signal, format="WAV", subtype="FLOAT"),
        "wav_u8": encode(signal, format="WAV", subtype="PCM_U8"),
        "rf64": encode(signal, format="RF64", subtype="PCM_24"),
        "aiff": encode(signal, format="AIFF", subtype="PCM_16"),
        "caf": encode(signal, format="CAF", subtype="PCM_16"),
        "flac": encode(signal, format="FLAC", subtype="PCM_16"),
        "ogg": encode(signal, format="OGG", subtype="VORBIS"),
        "opus": encode(at_48k, 48_000, format="OGG", subtype="OPUS"),
        "mp3": encode(signal, format="MP3"),
        "m4a": encode_media(at_48k, 48_000, container="mp4", codec="aac", movflags="faststart"),
        "alac": encode_media(at_48k, 48_000, container="mp4", codec="alac", movflags="faststart"),
        "webm": encode_media(at_48k, 48_000, container="webm", codec="libopus"),
        "aac": encode_media(at_48k, 48_000, container="adts", codec="aac"),
    }
