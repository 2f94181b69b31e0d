"""The guard finds what training heard, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eureka_audio.audio.decode import load_audio
from eureka_audio.cli.main import main
from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.contamination import (
    MAX_DIFFERENT_BITS,
    Waveform,
    contour_mark,
    find_overlaps,
    normal_words,
)
from eureka_audio.manifest import write_manifest
from eureka_audio.records import AudioClip

SENTENCE = "The quick brown fox jumps over the lazy dog"


def tune(seed: int, seconds: float = 2.0) -> Waveform:
    """Notes of random pitch and loudness."""
    rng, rate = np.random.default_rng(seed), 16_000
    notes = []
    for _ in range(12):
        time = np.arange(int(seconds * rate / 12)) / rate
        pitch, loudness = rng.uniform(200, 3_000), rng.uniform(0.05, 0.5)
        notes.append(loudness * np.sin(2 * np.pi * pitch * time) * np.exp(-time * 4))
    return np.concatenate(notes).astype(np.float32)


def placed(folder: Path, name: str, waveform: Waveform, text: str | None = None, **how: str):  # type: ignore[no-untyped-def]
    path = folder / f"{name}.{how.get('format', 'wav')}"
    soundfile.write(path, np.round(waveform * 32_767).astype(np.int16), 16_000)
    clip = AudioClip(id=name, path=str(path), duration_seconds=2, transcript=text)
    return clip, path


def decode(path: Path) -> Waveform:
    return load_audio(path).waveform


def test_the_same_samples_in_another_container(tmp_path: Path) -> None:
    trained = [placed(tmp_path, f"train{n}", tune(n)) for n in range(5)]
    same = placed(tmp_path, "same", tune(3), format="flac")
    other = placed(tmp_path, "other", tune(99))
    found = find_overlaps(trained, [same, other], decode)
    assert (found.num_trained, found.num_evaluated, found.clean) == (5, 2, False)
    (overlap,) = found.overlaps
    assert (overlap.mark, overlap.evaluated, overlap.trained) == ("samples", "same", "train3")
    with pytest.raises(EvaluationError, match="same \\(samples of train3\\)"):
        found.check()
    clean = find_overlaps(trained, [other], decode)
    assert clean.clean
    clean.check()


def test_softer_noisier_or_compressed_is_still_the_same(tmp_path: Path) -> None:
    trained = [placed(tmp_path, f"train{n}", tune(n)) for n in range(5)]
    rng = np.random.default_rng(0)
    softer = placed(tmp_path, "softer", tune(1) * 0.3)
    noisy_wave = tune(2) + 0.003 * rng.standard_normal(len(tune(2)))
    noisy = placed(tmp_path, "noisy", noisy_wave.astype(np.float32))
    lossy = placed(tmp_path, "lossy", tune(4), format="mp3")
    found = find_overlaps(trained, [softer, noisy, lossy], decode)
    assert [(o.mark, o.trained) for o in found.overlaps] == [
        ("contour", "train1"),
        ("contour", "train2"),
        ("contour", "train4"),
    ]


def test_contours_of_different_clips_are_far_apart() -> None:
    marks = [contour_mark(tune(seed)) for seed in range(60)]
    bits = np.array([mark for mark in marks if mark is not None])
    distances = [(a ^ b).sum() for n, a in enumerate(bits) for b in bits[:n]]
    assert len(bits) == 60
    assert min(distances) > MAX_DIFFERENT_BITS


def test_silence_and_steady_sound_are_like_nothing(tmp_path: Path) -> None:
    silence = np.zeros(32_000, dtype=np.float32)
    tone = np.sin(np.arange(32_000) * 0.3).astype(np.float32)
    assert contour_mark(silence) is None
    assert contour_mark(tone) is None
    assert contour_mark(tune(1)[:4_000]) is None


def test_long_texts_count_and_short_ones_do_not(tmp_path: Path) -> None:
    shouted = "the QUICK brown fox, jumps over the lazy dog."
    trained = [
        placed(tmp_path, "long", tune(1), SENTENCE),
        placed(tmp_path, "short", tune(2), "zero"),
    ]
    evaluated = [
        placed(tmp_path, "again", tune(3), shouted),
        placed(tmp_path, "brief", tune(4), "zero"),
    ]
    (overlap,) = find_overlaps(trained, evaluated).overlaps
    assert (overlap.mark, overlap.evaluated, overlap.trained) == ("words", "again", "long")
    assert overlap.detail == normal_words(SENTENCE)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    clip, path = placed(tmp_path, "bad", tune(1))
    path.write_bytes(b"no audio")
    found = find_overlaps([(clip, path)], [placed(tmp_path, "good", tune(2))], decode)
    assert len(found.unreadable) == 1
    assert "bad.wav" in found.unreadable[0]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(tmp_path / "train.jsonl", [placed(tmp_path, "a", tune(1))[0]])
    write_manifest(tmp_path / "same.jsonl", [placed(tmp_path, "b", tune(1))[0]])
    write_manifest(tmp_path / "other.jsonl", [placed(tmp_path, "c", tune(2))[0]])

    def run(*words: object) -> int:
        code: int = main(["evaluate", "contamination", *map(str, words)])
        return code

    train = tmp_path / "train.jsonl"
    assert run(train, "--against", tmp_path / "same.jsonl") == 1
    assert "b = a by samples" in capsys.readouterr().out
    assert run(train, "--against", tmp_path / "other.jsonl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["overlaps"] == []
    assert run(train, "--against", tmp_path / "same.jsonl", "--words-only") == 0
    assert run(train, "--against", tmp_path / "none.jsonl") == 2
    assert run(train, "--against", tmp_path / "same.jsonl", "--against-split", "test") == 2
