"""eSpeak NG as a library: words in, samples and the place of every phoneme out.

The command line of ``espeak-ng`` tells no times, its library does. One process has one eSpeak;
nothing here may be called from two threads.
"""

import ctypes
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eureka_audio.errors import MissingDependencyError

LIBRARY = "libespeak-ng.so.1"

# Constants of speak_lib.h.
_OUTPUT_SYNCHRONOUS, _PHONEME_EVENTS = 2, 1
_RATE, _PITCH, _WORD_GAP = 1, 3, 7
_EVENT_LIST_END, _EVENT_PHONEME = 0, 7
_CHARS_UTF8, _INLINE_PHONEMES = 1, 0x100
_OK = 0


class Timed(NamedTuple):
    """A phoneme's mnemonic and the sample it begins at."""

    mnemonic: str
    start: int


class Rendered(NamedTuple):
    """What eSpeak said: 16-bit samples, their rate, and the phonemes in order."""

    samples: NDArray[np.int16]
    sampling_rate: int
    phonemes: list[Timed]


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """The library, started."""

    def __init__(self) -> None:
        """Load and start it.

        Raises:
            MissingDependencyError: it is not installed.
        """
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise MissingDependencyError(
                f"speech synthesis needs the library {LIBRARY}, which cannot be loaded; "
                "install it, on Debian with: apt-get install espeak-ng"
            ) from error
        self.sampling_rate = int(
            self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        )
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._samples: list[NDArray[np.int16]] = []
        self._phonemes: list[Timed] = []
        self._callback = _Callback(self._take)  # kept: C holds no reference
        self._library.espeak_SetSynthCallback(self._callback)

    def phonemes(self, words: str, voice: str) -> str | None:
        """What would be said, in mnemonics with stress marks; ``None`` for an unknown voice."""
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            return None
        rest, spoken = ctypes.c_char_p(words.encode()), []
        while rest.value:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _CHARS_UTF8, 0)
            spoken.append(clause.decode())
        return " ".join(spoken).strip()

    def say(
        self, words: str, voice: str, words_per_minute: int, pitch: int, word_gap_ms: int
    ) -> Rendered | None:
        """Say words, or phonemes in double brackets; ``None`` where the voice is unknown.

        Args:
            words: what to say.
            voice: a language and a variant, as in ``en-us+f1``.
            words_per_minute: speed.
            pitch: 0-99.
            word_gap_ms: a pause between words, in whole 10 ms.
        """
        library = self._library
        if library.espeak_SetVoiceByName(voice.encode()) != _OK:
            return None
        for parameter, value in (
            (_RATE, words_per_minute),
            (_PITCH, pitch),
            (_WORD_GAP, word_gap_ms // 10),
        ):
            library.espeak_SetParameter(parameter, value, 0)
        self._samples, self._phonemes = [], []
        text = words.encode()
        flags = _CHARS_UTF8 | _INLINE_PHONEMES
        done = library.espeak_Synth(text, len(text) + 1, 0, 1, 0, flags, None, None)
        if done != _OK or not self._samples:
            return None
        return Rendered(np.concatenate(self._samples), self.sampling_rate, self._phonemes)

    def _take(self, samples: object, num_samples: int, events: object) -> int:
        """The callback: keep a stretch of samples, and the phonemes that begin in it."""
        if num_samples > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        index = 0
        while (event := events[index]).type != _EVENT_LIST_END:  # type: ignore[index]
            if event.type == _EVENT_PHONEME:
                self._phonemes.append(
                    Timed(event.id.string.decode("utf-8", "replace"), event.sample)
                )
            index += 1
        return 0


@cache
def espeak() -> Espeak:
    """The eSpeak of this process, started at the first call."""
    return Espeak()
