"""The sounds of English speech under one set of names, whatever engine made them.

The names are those of ARPABET in lower case, with ``ax`` for the unstressed vowel. Flite and
Festival use them with a few more; eSpeak has mnemonics of its own, which differ by accent. A sound
without a counterpart here is `UNKNOWN`: heard, but nothing is claimed of it.
"""

from collections.abc import Iterable

from eureka_audio.records import Phone

PHONES = tuple(
    """
    aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v
    w y z zh
    """.split()  # noqa: SIM905
)
UNKNOWN = "unk"
PAUSES = frozenset({"pau", "#", "h#", "ssil", "brth", "_", "_:", "_|", "_!", "_;_", ""})

# Sounds of Flite and Festival beyond ARPABET's.
FESTIVAL = {"axr": "er", "dx": "t", "el": "l", "em": "m", "en": "n", "hv": "hh", "nx": "n"}

ESPEAK = {
    # consonants
    **{name: name for name in "b d f g k l m n p r s t v w z".split()},  # noqa: SIM905
    **{"t2": "t", "t#": "t", "t[": "t", "d#": "d", "r-": "r", "n-": "n", "w#": "w", "l#": "l"},
    **{"D": "dh", "T": "th", "S": "sh", "Z": "zh", "N": "ng", "h": "hh", "j": "y"},
    **{"tS": "ch", "dZ": "jh", "x": "k"},
    # vowels; a vowel before a silent r is named by the vowel
    **{"I": "ih", "I2": "ih", "I#": "ih", "IR": "er", "i": "iy", "i:": "iy"},
    **{"i@": "ih", "i@3": "ih", "E": "eh", "E2": "eh", "e@": "eh", "eI": "ey"},
    **{"a": "ae", "aa": "ae", "a#": "ax", "aI": "ay", "aI2": "ay", "aI3": "ay", "aI@": "ay"},
    **{"aU": "aw", "aU@": "aw", "A:": "aa", "A@": "aa", "0": "aa", "0#": "aa"},
    **{"O": "ao", "O2": "ao", "O:": "ao", "O@": "ao", "o@": "ao", "OI": "oy", "oU": "ow"},
    **{"U": "uh", "U@": "uh", "u:": "uw", "u": "uw", "V": "ah", "VR": "er"},
    **{"@": "ax", "@2": "ax", "@5": "ax", "@-": "ax", "@L": "l", "3": "er", "3:": "er"},
}


def phone_of(name: str, engine: str) -> str | None:
    """The phone that an engine's name stands for: one of `PHONES`, `UNKNOWN`, or ``None`` for a
    pause.

    Example:
        >>> phone_of("tS", "espeak-ng"), phone_of("axr", "flite"), phone_of("pau", "festival")
        ('ch', 'er', None)
    """
    if name in PAUSES:
        return None
    if engine == "espeak-ng":
        return ESPEAK.get(name, UNKNOWN)
    name = FESTIVAL.get(name, name)
    return name if name in PHONES else UNKNOWN


def retimed(phones: Iterable[Phone], scale: float, shift_seconds: float) -> tuple[Phone, ...]:
    """Phones whose times were multiplied by ``scale`` and then shifted, to the millisecond."""
    return tuple(
        Phone(
            phone.label,
            round(max(0.0, phone.start_seconds * scale + shift_seconds), 3),
            round(max(0.0, phone.end_seconds * scale + shift_seconds), 3),
        )
        for phone in phones
    )
