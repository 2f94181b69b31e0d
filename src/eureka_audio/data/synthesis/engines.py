"""The speech synthesisers as subprocesses: words and a delivery in, a waveform out.

espeak-ng   package ``espeak-ng``
flite       package ``flite``
festival    packages ``festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts``
"""

import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.data.synthesis.voices import ENGINE_SHARES, Delivery, Engine, as_learner
from eureka_audio.errors import MissingDependencyError

Waveform = NDArray[np.float32]

PACKAGES: dict[Engine, str] = {
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "festival": "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts",
}
ESPEAK_WORDS_PER_MINUTE = 165
TIMEOUT_SECONDS = 60


def require_engines() -> None:
    """Check that every engine is installed.

    Raises:
        MissingDependencyError: one is not; the message names its Debian packages.
    """
    for engine in ENGINE_SHARES:
        if shutil.which(engine) is None:
            raise MissingDependencyError(
                f"speech synthesis needs the program {engine!r}, which is not on the PATH; "
                f"install it, on Debian with: apt-get install {PACKAGES[engine]}"
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
            spoken[index] = _shift(_espeak(words, delivery), delivery)
        elif delivery.engine == "flite":
            spoken[index] = _shift(_flite(words, delivery), delivery)
        else:
            by_festival.append(index)
    for index, wav in zip(by_festival, _festival([requests[i] for i in by_festival]), strict=True):
        spoken[index] = _shift(wav, requests[index][1])
    return spoken


def _shift(wav: bytes, delivery: Delivery) -> Waveform | None:
    """Read the engine's WAV as if its rate were ``formant_shift`` times what it is, and bring that
    to 16 kHz.
    """
    if len(wav) <= 44:
        return None
    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    resampled: Waveform = soxr.resample(
        waveform[:, 0], round(rate * delivery.formant_shift), SAMPLING_RATE, quality="HQ"
    )
    return resampled


def _run(command: list[str]) -> bytes:
    """Standard output of a program, or nothing when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    return done.stdout if done.returncode == 0 else b""


def _espeak(words: str, delivery: Delivery) -> bytes:
    speed = round(ESPEAK_WORDS_PER_MINUTE / (delivery.stretch * delivery.formant_shift))
    voice = ["-v", delivery.voice]
    if delivery.learner:
        phonemes = _run(["espeak-ng", "-q", "-x", *voice, words]).decode().strip()
        words = f"[[{as_learner(phonemes, delivery.learner)}]]"
    manner = ["-s", str(speed), "-p", str(delivery.pitch), "-g", str(delivery.word_gap_ms // 10)]
    return _run(["espeak-ng", "--stdout", *voice, *manner, words])


def _flite(words: str, delivery: Delivery) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        stretch = f"duration_stretch={delivery.stretch * delivery.formant_shift:.3f}"
        _run(["flite", "-voice", delivery.voice, "--setf", stretch, "-t", words, "-o", str(path)])
        return path.read_bytes() if path.exists() else b""


def _festival(requests: Sequence[tuple[str, Delivery]]) -> list[bytes]:
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
            said = f'(utt.synth (Utterance Text "{words}"))'
            lines.append(f'(utt.save.wave {said} "{folder}/{index}.wav" \'riff)')
        script = Path(folder) / "script.scm"
        script.write_text("\n".join(lines) + "\n")
        _run(["festival", "-b", str(script)])
        paths = [Path(folder) / f"{index}.wav" for index in range(len(requests))]
        return [path.read_bytes() if path.exists() else b"" for path in paths]
