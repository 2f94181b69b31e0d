"""The speech synthesisers: words and a delivery in, a waveform and the place of every phone out.

espeak-ng   a library, package ``espeak-ng``
flite       a program, package ``flite``
festival    a program, packages ``festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts``
kokoro      a neural model, put together by ``recipes/nano/kokoro.py``; eSpeak spells for it
"""

import io
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.errors import MissingDependencyError
from eureka_audio.records import Phone
from eureka_audio.synthesis.espeak import espeak
from eureka_audio.synthesis.kokoro import SAMPLING_RATE as KOKORO_RATE
from eureka_audio.synthesis.kokoro import kokoro, symbols_of
from eureka_audio.synthesis.phones import phone_of, retimed
from eureka_audio.synthesis.voices import ENGINE_SHARES, Delivery, Engine, as_learner

Waveform = NDArray[np.float32]
Ends = Sequence[tuple[str, float]]  # an engine's names of phones, each with the second it ends at

# The program that each engine is, or is spelt for by, and its packages.
PROGRAMS: dict[Engine, tuple[str, str]] = {
    "espeak-ng": ("espeak-ng", "espeak-ng"),
    "flite": ("flite", "flite"),
    "festival": ("festival", "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"),
    "kokoro": ("espeak-ng", "espeak-ng"),
}
ESPEAK_WORDS_PER_MINUTE = 165
TIMEOUT_SECONDS = 60


def require_engines(engines: Iterable[Engine] = tuple(ENGINE_SHARES)) -> None:
    """Check that engines are installed, Debian's unless some are named.

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
        if engine == "kokoro":
            kokoro()


class Spoken(NamedTuple):
    """A sentence said: the waveform `(S,)` at 16 kHz and its phones in order."""

    waveform: Waveform
    phones: tuple[Phone, ...]


def speak(requests: Sequence[tuple[str, Delivery]]) -> list[Spoken | None]:
    """Say sentences, at 16 kHz and as the engine leaves them (silence at the ends included).

    ``None`` stands where an engine gave no audio. Festival starts slowly, so its sentences share
    one process.
    """
    spoken: list[Spoken | None] = [None] * len(requests)
    by_festival = []
    for index, (words, delivery) in enumerate(requests):
        if delivery.engine == "espeak-ng":
            spoken[index] = _espeak(words, delivery)
        elif delivery.engine == "flite":
            spoken[index] = _flite(words, delivery)
        elif delivery.engine == "kokoro":
            spoken[index] = _kokoro(words, delivery)
        else:
            by_festival.append(index)
    for index, said in zip(by_festival, _festival([requests[i] for i in by_festival]), strict=True):
        spoken[index] = said
    return spoken


def _shifted(waveform: Waveform, rate: int, ends: Ends, delivery: Delivery) -> Spoken:
    """What was said, as if its rate were ``formant_shift`` times what it is, at 16 kHz."""
    shift = delivery.formant_shift
    resampled = soxr.resample(waveform, round(rate * shift), SAMPLING_RATE, quality="HQ")
    return Spoken(resampled, retimed(_phones(ends, delivery.engine), 1 / shift, 0.0))


def _phones(ends: Ends, engine: str) -> list[Phone]:
    phones, start = [], 0.0
    for name, end in ends:
        label = phone_of(name, engine)
        if label is not None and end > start:
            phones.append(Phone(label, start, end))
        start = end
    return phones


def _read(wav: bytes, ends: Ends, delivery: Delivery) -> Spoken | None:
    if len(wav) <= 44:  # a header alone
        return None
    waveform, rate = soundfile.read(io.BytesIO(wav), dtype="float32", always_2d=True)
    return _shifted(waveform[:, 0], rate, ends, delivery)


def _run(command: list[str]) -> bytes:
    """Standard output of a program, or nothing when it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    return done.stdout if done.returncode == 0 else b""


def _espeak(words: str, delivery: Delivery) -> Spoken | None:
    speed = round(ESPEAK_WORDS_PER_MINUTE / (delivery.stretch * delivery.formant_shift))
    if delivery.learner:
        phonemes = espeak().phonemes(words, delivery.voice)
        if phonemes is None:
            return None
        words = f"[[{as_learner(phonemes, delivery.learner)}]]"
    rendered = espeak().say(words, delivery.voice, speed, delivery.pitch, delivery.word_gap_ms)
    if rendered is None:
        return None
    starts = _true_starts([phoneme.start for phoneme in rendered.phonemes], rendered.sampling_rate)
    ends = [end / rendered.sampling_rate for end in (*starts[1:], len(rendered.samples))]
    # Before the first phoneme there is silence.
    named = [("", starts[0] / rendered.sampling_rate)] if starts else []
    named += zip((phoneme.mnemonic for phoneme in rendered.phonemes), ends, strict=False)
    waveform = rendered.samples.astype(np.float32) / np.float32(32768.0)
    return _shifted(waveform, rendered.sampling_rate, named, delivery)


def _true_starts(starts: Sequence[int], rate: int) -> list[int]:
    """Starts of eSpeak's phonemes; one told of only when it ends (an "l" before a pause does that)
    gets the last 60 ms of the phoneme before it, or half of that if it is short.
    """
    mended = list(starts)
    for index in range(1, len(mended) - 1):
        if starts[index] == starts[index + 1]:
            half = (starts[index - 1] + starts[index]) // 2
            mended[index] = max(half, starts[index] - round(0.06 * rate))
    return mended


def _flite(words: str, delivery: Delivery) -> Spoken | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        stretch = f"duration_stretch={delivery.stretch * delivery.formant_shift:.3f}"
        command = ["flite", "-voice", delivery.voice, "--setf", stretch, "-psdur"]
        listing = _run([*command, "-t", words, "-o", str(path)]).decode()
        fields = (field.partition(":") for field in listing.split())
        ends = [(name, float(end)) for name, _, end in fields]
        return _read(path.read_bytes() if path.exists() else b"", ends, delivery)


def _kokoro(words: str, delivery: Delivery) -> Spoken | None:
    phonemes = espeak().phonemes(words, "en-us")
    if phonemes is None:
        return None
    symbols = symbols_of(as_learner(phonemes, delivery.learner))
    speed = 1 / (delivery.stretch * delivery.formant_shift)
    voiced = kokoro().say(symbols, delivery.voice, speed)
    return None if voiced is None else _shifted(voiced.samples, KOKORO_RATE, voiced.ends, delivery)


def _festival(requests: Sequence[tuple[str, Delivery]]) -> list[Spoken | None]:
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
            lines.append(f'(utt.save.segs said "{folder}/{index}.segments")')
        script = Path(folder) / "script.scm"
        script.write_text("\n".join(lines) + "\n")
        _run(["festival", "-b", str(script)])
        spoken = []
        for index, (_, delivery) in enumerate(requests):
            wav, segments = (Path(folder) / f"{index}.{kind}" for kind in ("wav", "segments"))
            ends = _segments(segments.read_text().splitlines()) if segments.exists() else []
            spoken.append(_read(wav.read_bytes() if wav.exists() else b"", ends, delivery))
        return spoken


def _segments(lines: Iterable[str]) -> list[tuple[str, float]]:
    """Lines of Festival's label files: the second a phone ends at, a number, its name."""
    fields = [line.split() for line in lines if line != "#"]
    return [(name, float(end)) for end, _, name in fields]
