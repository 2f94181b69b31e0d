"""eSpeak NG as a library: words in, samples out, or the phonemes it would say.

One process has one eSpeak; nothing here may be called from two threads.
"""

import ctypes
from functools import cache

import numpy as np
from numpy.typing import NDArray

from eureka_audio.errors import MissingDependencyError

LIBRARY = "libespeak-ng.so.1"

# Constants of speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_RATE, _PITCH, _WORD_GAP = 1, 3, 7
_CHARS_UTF8, _INLINE_PHONEMES = 1, 0x100
_OK = 0


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
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
        self.sampling_rate = int(self._library.espeak_Initialize(_OUTPUT_SYNCHRONOUS, 0, None, 0))
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._samples: list[NDArray[np.int16]] = []
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
    ) -> NDArray[np.int16] | None:
        """Say words, or phonemes in double brackets: 16-bit samples `(S,)`, ``None`` where the
        voice is unknown.

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
        self._samples = []
        text = words.encode()
        flags = _CHARS_UTF8 | _INLINE_PHONEMES
        done = library.espeak_Synth(text, len(text) + 1, 0, 1, 0, flags, None, None)
        if done != _OK or not self._samples:
            return None
        return np.concatenate(self._samples)

    def _take(self, samples: object, num_samples: int, events: object) -> int:
        """The callback: keep a stretch of samples."""
        if num_samples > 0:
            self._samples.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return 0


@cache
def espeak() -> Espeak:
    """The eSpeak of this process, started at the first call."""
    return Espeak()
