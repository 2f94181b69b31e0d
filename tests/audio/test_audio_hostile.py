"""Hostile files: whatever the bytes, the answer is a finite waveform or one of our own errors.

A seeded mutant of each good format is made by flipping, cutting, repeating, zeroing or swapping
bytes; by-hand cases stand beside them. ``EUREKA_AUDIO_MUTANTS`` sets how many per format (CI: 25).
"""

import io
import os
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile

from eureka_audio.audio.decode import AudioLimits, load_audio
from eureka_audio.errors import AudioError, MissingDependencyError

MUTANTS = int(os.environ.get("EUREKA_AUDIO_MUTANTS", "25"))
LIMITS = AudioLimits(max_duration_seconds=60, max_decoded_bytes=64 * 2**20)
KINDS = [
    *("wav", "wav_float", "wav_u8", "rf64", "aiff", "caf", "flac", "ogg", "opus", "mp3"),
    *("m4a", "alac", "webm", "aac"),
]


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """One to three random kinds of damage, half of the time near the header."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        reach = min(len(data), 200) if generator.random() < 0.5 else len(data)
        if reach < 8:
            break
        at = int(generator.integers(0, reach - 4))
        size = int(generator.integers(1, 64))
        match generator.integers(0, 8):
            case 0:
                data[at] ^= 1 << int(generator.integers(0, 8))
            case 1:
                data[at : at + size] = generator.bytes(len(data[at : at + size]))
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at : at + size] = bytes(len(data[at : at + size]))
            case 5:
                data[at : at + 4] = b"\xff" * 4
            case 6:
                del data[max(at, 4) :]
            case _:
                data[at : at + 4] = struct.pack("<f", np.nan)
    return bytes(data)


def survives(content: bytes) -> bool:
    """Whether it was decoded; any exception that is not ours passes through and fails the test."""
    try:
        waveform = load_audio(content, limits=LIMITS).waveform
    except (AudioError, MissingDependencyError) as error:
        message = str(error)
    else:
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 32  # 16 at most, and what resampling adds
        assert 1_600 <= len(waveform) <= 60 * 16_000
        return True
    assert "\n" not in message
    assert message.startswith("bytes: ")
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_give_sound_or_our_own_error(
    kind: str, encoded: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng([7, *kind.encode()])
    for _ in range(MUTANTS):
        survives(mutate(encoded[kind], generator))
    assert survives(encoded[kind])  # a good file still works after all of them
    assert "Traceback" not in capfd.readouterr().err  # from a callback out of C


def wav(
    channels: int = 1, rate: int = 16_000, bits: int = 16, code: int = 1, size: int = 6_400
) -> bytes:
    """A wav by hand, with whatever the header should claim."""
    block = channels * bits // 8
    header = struct.pack(
        "<HHIIHH", code, channels, rate, (rate * block) % 2**32, block % 2**16, bits
    )
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", size)
    body = chunks + bytes(min(size, 6_400))
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body


HAND_MADE: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "one byte": lambda _: b"R",
    "magic only": lambda _: b"RIFF\0\0\0\0WAVE",
    "flac magic only": lambda _: b"fLaC",
    "ogg magic only": lambda _: b"OggS",
    "id3 only": lambda _: b"ID3\x03\0\0\0\0\0\0",
    "id3 of 10 MB": lambda _: b"ID3\x03\0\0\x04\x61\x7a\x00" + bytes(10_000_000),
    "ftyp only": lambda _: b"\0\0\0\x18ftypM4A \0\0\0\0",
    "webm magic only": lambda _: b"\x1aE\xdf\xa3",
    "header only": lambda files: files["wav"][:44],
    "no channels": lambda _: wav(channels=0),
    "65535 channels": lambda _: wav(channels=65_535),
    "no rate": lambda _: wav(rate=0),
    "huge rate": lambda _: wav(rate=2**32 - 1),
    "no bits": lambda _: wav(bits=0),
    "unknown code": lambda _: wav(code=0x7777),
    "ima adpcm": lambda _: wav(code=0x11, bits=4),
    "gsm": lambda _: wav(code=0x31, bits=0),
    "size zero": lambda _: wav(size=0),
    "size of 4 GB": lambda _: wav(size=2**32 - 1),
    "size of 2 GB": lambda _: wav(size=2**31 - 1),
    "zip": lambda _: b"PK\x03\x04" + bytes(500),
    "html": lambda _: b"<!doctype html><html><body>404</body></html>",
    "json": lambda _: b'{"error": "not found"}',
    "elf": lambda _: b"\x7fELF" + bytes(500),
    "zeros": lambda _: bytes(10_000),
    "ones": lambda _: b"\xff" * 10_000,
    "mp3 sync and nothing": lambda _: b"\xff\xfb\x90\xc4" + bytes(5_000),
    "adts sync and nothing": lambda _: b"\xff\xf1\x4c\x80" + bytes(5_000),
    "flac in wav": lambda files: files["wav"][:44] + files["flac"],
    "two formats": lambda files: files["flac"][:5_000] + files["ogg"],
    "reversed": lambda files: files["flac"][:4] + files["flac"][:3:-1],
    "bad utf-8 tag": lambda files: (
        files["flac"][:42]
        + b"\x04\0\0\x10\x04\0\0\0\xff\xfe\xff\xfe\x01\0\0\0"
        + files["flac"][42:]
    ),
}


@pytest.mark.parametrize("case", HAND_MADE)
def test_hand_made_files(
    case: str, encoded: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    survives(HAND_MADE[case](encoded))
    assert "Traceback" not in capfd.readouterr().err


def test_the_corpus_would_notice_a_silent_nan(encoded: dict[str, bytes]) -> None:
    """The guard is needed: libsndfile itself hands NaN out without a word."""
    generator = np.random.default_rng(0)
    silent = 0
    for _ in range(200):
        content = mutate(encoded["wav_float"], generator)
        try:
            samples, _ = soundfile.read(io.BytesIO(content), dtype="float32")
        except (soundfile.SoundFileError, RuntimeError, MemoryError, ValueError, TypeError):
            continue
        if samples.size and not np.isfinite(samples).all():
            silent += 1
            assert not survives(content)
    assert silent > 0
