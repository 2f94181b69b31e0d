"""The speech synthesisers: words and a delivery in, a waveform out.

espeak-ng   a library, package ``espeak-ng``
flite       a program, package ``flite``
festival    a program, packages ``festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts``
"""

import io
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import MissingDependencyError
from eureka_audio.synthesis.espeak import espeak
from eureka_audio.synthesis.voices import ENGINE_SHARES, Delivery, Engine, as_learner

Waveform = NDArray[np.float32]

# The program that each engine is, and its packages.
PROGRAMS: dict[Engine, tuple[str, str]] = {
    "espeak-ng": ("espeak-ng", "espeak-ng"),
    "flite": ("flite", "flite"),
    "festival": ("festival", "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"),
}
ESPEAK_WORDS_PER_MINUTE = 165
TIMEOUT_SECONDS = 60


def require_engines(engines: Iterable[Engine] = tuple(ENGINE_SHARES)) -> None:
    """Check that engines are installed.

    Raises:
        MissingDependencyError: one is not; the message says how to install it.
    """
    for engine in engines:
        program, packages = PROGRAMS[engine]
        if shutil.which(program) is None:
            raise MissingDependencyError(
                f"speech synthesis needs the program {program!r}, which is not on the PATH; "
                f"install it, on Debian with: apt-get install {packages}"
            )


def speak(requests: Sequence[tuple[str, Delivery]]) -> list[Waveform | None]:
    """Say sentences, at 16 kHz and as the engine leaves them (silence at the ends included).

    ``None`` stands where an engine gave no audio. Festival starts slowly, so its sentences share
    one process.
    """
    spoken: list[Waveform | None] = [None] * len(requests)
    by_festival = []
    for index, (words, delivery) in enumerate(requests):
        if delivery.engine == "espeak-ng":
            spoken[index] = _espeak(words, delivery)
        elif delivery.engine == "flite":
            spoken[index] = _flite(words, delivery)
        else:
            by_festival.append(index)
    for index, said in zip(by_festival, _festival([requests[i] for i in by_festival]), strict=True):
        spoken[index] = said
    return spoken


def _shifted(waveform: Waveform, rate: int, delivery: Delivery) -> Waveform:
    """What was said, as if its rate were ``formant_shift`` times what it is, at 16 kHz."""
    shifted: Waveform = soxr.resample(
        waveform, round(rate * delivery.formant_shift), SAMPLING_RATE, quality="HQ"
    )
    return shifted


def _read(wav: bytes, delivery: Delivery) -> Waveform | None:
    if len(wav) <= 44:  # a header alone
        return None
    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    return _shifted(waveform[:, 0], rate, delivery)


def _run(command: list[str]) -> bytes:
    """Standard output of a program, or nothing when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    return done.stdout if done.returncode == 0 else b""


def _espeak(words: str, delivery: Delivery) -> Waveform | None:
    speed = round(ESPEAK_WORDS_PER_MINUTE / (delivery.stretch * delivery.formant_shift))
    if delivery.learner:
        phonemes = espeak().phonemes(words, delivery.voice)
        if phonemes is None:
            return None
        words = f"[[{as_learner(phonemes, delivery.learner)}]]"
    samples = espeak().say(words, delivery.voice, speed, delivery.pitch, delivery.word_gap_ms)
    if samples is None:
        return None
    waveform = samples.astype(np.float32) / np.float32(32768.0)
    return _shifted(waveform, espeak().sampling_rate, delivery)


def _flite(words: str, delivery: Delivery) -> Waveform | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        stretch = f"duration_stretch={delivery.stretch * delivery.formant_shift:.3f}"
        _run(["flite", "-voice", delivery.voice, "--setf", stretch, "-t", words, "-o", str(path)])
        return _read(path.read_bytes() if path.exists() else b"", delivery)


def _festival(requests: Sequence[tuple[str, Delivery]]) -> list[Waveform | None]:
    """Say all sentences in one process, by voice, since changing the voice takes longest."""
    if not requests:
        return []
    with TemporaryDirectory() as folder:
        lines, voice = [], ""
        for index in sorted(range(len(requests)), key=lambda i: requests[i][1].voice):
            words, delivery = requests[index]
            if delivery.voice != voice:
                voice = delivery.voice
                lines.append(f"(voice_{voice})")
            lines.append(
                f"(Parameter.set 'Duration_Stretch {delivery.stretch * delivery.formant_shift:.3f})"
            )
            lines.append(f'(set! said (utt.synth (Utterance Text "{words}")))')
            lines.append(f'(utt.save.wave said "{folder}/{index}.wav" \'riff)')
        script = Path(folder) / "script.scm"
        script.write_text("\n".join(lines) + "\n")
        _run(["festival", "-b", str(script)])
        wavs = [Path(folder) / f"{index}.wav" for index in range(len(requests))]
        return [
            _read(wav.read_bytes() if wav.exists() else b"", delivery)
            for wav, (_, delivery) in zip(wavs, requests, strict=True)
        ]
