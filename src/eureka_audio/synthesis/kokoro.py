"""Kokoro, a neural synthesiser: phonemes in, a waveform and how long each of them lasts out.

Its voices speak as people do, which those of the rule-based engines don't: sounds run into each
other, and a stress moves pitch, length and loudness together. Debian has no package of it:
``recipes/nano/kokoro.py`` makes the folder that is read here out of packages of PyPI. The
environment variable ``EUREKA_AUDIO_KOKORO`` names it, unless it is ``data/kokoro``.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eureka_audio.errors import MissingDependencyError
from eureka_audio.synthesis.phones import ESPEAK
from eureka_audio.synthesis.recorded import audible

FOLDER_VARIABLE, FOLDER = "EUREKA_AUDIO_KOKORO", "data/kokoro"
MODEL, VOICES = "model.onnx", "voices.npz"
SAMPLING_RATE = 24000
SAMPLES_PER_FRAME = 600
# A phone is heard so many frames before the durations say. Unstated by its authors, whose own time
# stamps take three off the first pause; two is where an encoder that never heard it finds them.
NUM_FRAMES_LATE = 2
DURATIONS = "/encoder/Clip_output_0"  # the value inside the model that says them, in frames

# The symbols of each phone, and the number of each symbol.
SYMBOLS: dict[str, str] = dict(
    item.split(":")
    for item in """
    aa:ɑ ae:æ ah:ʌ ao:ɔ aw:W ax:ə ay:I b:b ch:ʧ d:d dh:ð eh:ɛ er:ɜɹ ey:A f:f g:ɡ hh:h ih:ɪ iy:i
    jh:ʤ k:k l:l m:m n:n ng:ŋ ow:O oy:Y p:p r:ɹ s:s sh:ʃ t:t th:θ uh:ʊ uw:u v:v w:w y:j z:z zh:ʒ
    """.split()  # noqa: SIM905
)
NUMBERS: dict[str, int] = {
    **{"A": 24, "I": 25, "O": 31, "W": 39, "Y": 41, "b": 44, "d": 46, "f": 48, "h": 50, "i": 51},
    **{"j": 52, "k": 53, "l": 54, "m": 55, "n": 56, "p": 58, "s": 61, "t": 62, "u": 63, "v": 64},
    **{"w": 65, "z": 68, "ɑ": 69, "æ": 72, "ɔ": 76, "ð": 81, "ʤ": 82, "ə": 83, "ɛ": 86, "ɜ": 87},
    **{"ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119, "ɹ": 123, "ʃ": 131, "ʧ": 133, "ʊ": 135, "ʌ": 138},
    **{"ʒ": 147, "ˈ": 156, "ˌ": 157, " ": 16},
}
EDGE = 0  # stands before and after what is said
_BETWEEN = {"'": "ˈ", ",": "ˌ", " ": " "}
_RHOTIC = frozenset({"A@", "O@", "o@", "e@", "i@3", "U@", "aI@", "aI3", "aU@"})  # they end in an r
_MNEMONIC = re.compile(
    "|".join(re.escape(name) for name in sorted((*ESPEAK, *_BETWEEN), key=len, reverse=True))
)


class Symbol(NamedTuple):
    """A symbol of Kokoro's, and the phone that ends with it: none does with a stress mark, a space
    or the first half of a phone.
    """

    symbol: str
    phone: str | None


class Voiced(NamedTuple):
    """What Kokoro said: samples at `SAMPLING_RATE`, and the second that each phone ends at; a pause
    has an empty name.
    """

    samples: NDArray[np.float32]
    ends: list[tuple[str, float]]


def symbols_of(mnemonics: str) -> list[Symbol]:
    """Kokoro's symbols for eSpeak's phonemes of American English.

    Example:
        >>> "".join(symbol for symbol, _ in symbols_of("f'aIv st'A@z"))
        'fˈIv stˈɑɹz'
    """
    symbols = []
    for name in _MNEMONIC.findall(mnemonics):
        if name in _BETWEEN:
            symbols.append(Symbol(_BETWEEN[name], None))
            continue
        phones = [ESPEAK[name], *(["r"] if name in _RHOTIC else [])]
        if phones[0] == "r" and symbols and symbols[-1].phone == "r":  # it links to the next word
            continue
        for phone in phones:
            first, last = SYMBOLS[phone][:-1], SYMBOLS[phone][-1]
            symbols += [*(Symbol(symbol, None) for symbol in first), Symbol(last, phone)]
    return symbols


class Kokoro:
    """The model and its voices, loaded."""

    def __init__(self, folder: Path) -> None:
        """Load them; one thread does the work.

        Raises:
            MissingDependencyError: onnxruntime or the folder is missing.
        """
        try:
            from onnxruntime import InferenceSession, SessionOptions
        except ImportError as error:
            raise MissingDependencyError(
                "Kokoro's voices need onnxruntime: pip install 'eureka-audio[voices]'"
            ) from error
        for path in (folder / MODEL, folder / VOICES):
            if not path.exists():
                raise MissingDependencyError(
                    f"Kokoro's voices need the file {path}, which is missing; make it with "
                    f"recipes/nano/kokoro.py, or name another folder in {FOLDER_VARIABLE}"
                )
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = InferenceSession(folder / MODEL, options)
        with np.load(folder / VOICES) as voices:
            self._styles = dict(voices.items())

    def say(self, symbols: list[Symbol], voice: str, speed: float) -> Voiced | None:
        """Say symbols; ``None`` when there are none or too many.

        Args:
            symbols: what to say.
            voice: a voice's name, or two with a ``+`` between them: somebody half-way.
            speed: 1 is the voice's own, 2 twice as fast.
        """
        styles = [self._styles[name] for name in voice.split("+")]
        if not 0 < len(symbols) <= len(styles[0]):
            return None
        style = np.mean([table[len(symbols) - 1] for table in styles], axis=0)
        numbers = [EDGE, *(NUMBERS[symbol] for symbol, _ in symbols), EDGE]
        samples, frames = self._session.run(
            ["audio", DURATIONS],
            {
                "tokens": np.array([numbers], np.int64),
                "style": style[None].astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )
        samples, ends = np.ravel(samples), np.cumsum(np.ravel(frames))
        ends[:-1] = np.maximum(ends[:-1] - NUM_FRAMES_LATE, 0)  # the last is the waveform's
        # The last phone lasts through the silence after it, say the durations.
        dies_away = audible(samples, floor_db=-40.0).stop / SAMPLES_PER_FRAME
        ends[-2] = min(ends[-2], max(ends[-3] + 1, dies_away))
        seconds = ends * SAMPLES_PER_FRAME / SAMPLING_RATE
        return Voiced(samples, _ends(symbols, seconds.tolist()))


def _ends(symbols: list[Symbol], seconds: list[float]) -> list[tuple[str, float]]:
    """The end of each phone, given that of every symbol and of both edges. What a stress mark or a
    space lasts is the next phone's.
    """
    ends = [
        (phone, end)
        for (_, phone), end in zip(symbols, seconds[1:-1], strict=True)
        if phone is not None
    ]
    return [("", seconds[0]), *ends, ("", seconds[-1])]


@cache
def kokoro() -> Kokoro:
    """The Kokoro of this process, loaded at the first call."""
    return Kokoro(Path(os.environ.get(FOLDER_VARIABLE, FOLDER)))
