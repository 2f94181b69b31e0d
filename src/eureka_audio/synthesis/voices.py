"""The synthetic voices, and how one sentence is delivered by one of them.

A voice of an engine becomes many speakers: resampling shifts its formants and pitch together (a
shorter vocal tract), which above a factor of about 1.15 on a woman's voice sounds like a child.
Gender is stated only where the engine's own voice makes it plain; of a child it is left unknown.
"""

import random
import re
from dataclasses import dataclass
from typing import Literal

from eureka_audio.records import Speaker

Engine = Literal["espeak-ng", "flite", "festival"]
Gender = Literal["male", "female"]

ENGINE_SHARES: dict[Engine, float] = {"espeak-ng": 0.55, "flite": 0.25, "festival": 0.20}
CHILD_SHARE = 0.4

ESPEAK_ACCENTS = (
    *("en-us",) * 5,
    "en",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)
# The plain variants are listed twice, to be drawn twice as often.
ESPEAK_FEMALE = tuple(
    """
    f1 f2 f3 f4 f5 f1 f2 f3 f4 f5 anika belinda linda steph steph2 steph3 Alicia Andrea
    Annie aunty
    """.split()  # noqa: SIM905
)
ESPEAK_MALE = tuple(
    """
    m1 m2 m3 m4 m5 m6 m7 m8 m1 m2 m3 m4 m5 m6 m7 m8 Denis Andy Diogo Henrique Hugo Lee Marco
    Michael Mike Storm adam antonio benjamin boris caleb david ed edward gustave iven iven2
    john marcelo max michel miguel norbert pablo paul pedro rob robert sandro travis victor
    zac
    """.split()  # noqa: SIM905
)
ESPEAK_UNCLEAR = tuple(
    """
    Gene Jacky Nguyen klatt klatt2 klatt3 klatt4 klatt5 klatt6 shelby
    """.split()  # noqa: SIM905
)
FLITE: tuple[tuple[str, Gender], ...] = (
    ("slt", "female"), ("slt", "female"), ("rms", "male"), ("awb", "male"), ("kal16", "male"),
)  # fmt: skip
FESTIVAL: tuple[tuple[str, Gender], ...] = (
    *(("cmu_us_slt_arctic_hts", "female"),) * 2,
    ("kal_diphone", "male"),
    ("ked_diphone", "male"),
)

# What a learner whose first language is Mandarin often makes of English sounds, in eSpeak's phoneme
# mnemonics.
LEARNER_SOUNDS: tuple[tuple[str, str, str], ...] = (
    ("th becomes s", r"T", "s"),
    ("voiced th becomes d", r"D", "d"),
    ("voiced th becomes z", r"D", "z"),
    ("v becomes w", r"v", "w"),
    ("short i becomes long", r"(?<![aeOE])I(?![#2@])", "i:"),
    ("a of cat becomes e of bed", r"(?<![a-zA-Z@])a(?![IU@a:#])", "E"),
    ("last z becomes s", r"z(?=\s|$)", "s"),
    ("last d becomes t", r"(?<=[a-zA-Z:])d(?=\s|$)", "t"),
    ("u of book becomes long", r"(?<![aoO])U(?!@)", "u:"),
)


@dataclass(frozen=True)
class Delivery:
    """How a sentence is said.

    ``stretch`` is a factor on duration, ``pitch`` runs 0-99 (eSpeak only), ``word_gap_ms`` is a
    pause between words (eSpeak only), ``formant_shift`` a factor on formants and pitch, ``learner``
    the names of the `LEARNER_SOUNDS` applied (eSpeak only).
    """

    engine: Engine
    voice: str
    gender: Gender | None
    is_child: bool
    formant_shift: float
    stretch: float
    pitch: int = 50
    word_gap_ms: int = 0
    learner: tuple[str, ...] = ()

    @property
    def speaker(self) -> Speaker:
        """The apparent speaker: an engine's voice at one formant shift."""
        return Speaker(
            id=f"{self.engine}/{self.voice}/{self.formant_shift:.2f}",
            gender=None if self.is_child else self.gender,
            age_group="child" if self.is_child else "adult",
        )


def draw_delivery(rng: random.Random) -> Delivery:
    """Choose an engine, a voice and a manner of speaking."""
    engine = rng.choices(list(ENGINE_SHARES), list(ENGINE_SHARES.values()))[0]
    is_child = rng.random() < CHILD_SHARE
    voice, gender = _draw_voice(engine, is_child, rng)
    if not is_child:
        shift = rng.choice((0.92, 0.96, 1.0, 1.0, 1.04, 1.08))
    elif gender == "male":
        shift = rng.choice((1.40, 1.45, 1.5))
    else:
        shift = rng.choice((1.16, 1.2, 1.24, 1.28, 1.32))
    if engine != "espeak-ng":
        return Delivery(engine, voice, gender, is_child, shift, round(rng.uniform(0.9, 1.5), 2))
    learner = rng.random() < 0.4
    return Delivery(
        engine,
        voice,
        gender,
        is_child,
        shift,
        stretch=round(rng.uniform(1.0, 1.7) if learner else rng.uniform(0.9, 1.45), 2),
        pitch=rng.randint(25, 75),
        word_gap_ms=rng.choice((0, 0, 0, 10, 20, 40, 80))
        if learner
        else rng.choice((0, 0, 0, 0, 10, 30)),
        learner=_draw_habits(rng) if learner else (),
    )


def _draw_habits(rng: random.Random) -> tuple[str, ...]:
    return tuple(name for name, _, _ in LEARNER_SOUNDS if rng.random() < 0.45)


def _draw_voice(engine: Engine, is_child: bool, rng: random.Random) -> tuple[str, Gender | None]:
    if engine == "flite":
        return rng.choice([v for v in FLITE if v[0] != "awb" or not is_child])
    if engine == "festival":
        return rng.choice(FESTIVAL)
    gender: Gender | None = rng.choices(
        ("female", "male", None), (0.5, 0.4, 0.0 if is_child else 0.1)
    )[0]
    if is_child and rng.random() < 0.7:
        gender = "female"
    names = {"female": ESPEAK_FEMALE, "male": ESPEAK_MALE, None: ESPEAK_UNCLEAR}[gender]
    return f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(names)}", gender


def as_learner(phonemes: str, habits: tuple[str, ...]) -> str:
    """Replace sounds of a phoneme string by those a learner would make.

    Example:
        >>> as_learner("wVn T'IN", ("th becomes s",))
        "wVn s'IN"
    """
    for name, pattern, replacement in LEARNER_SOUNDS:
        if name in habits:
            phonemes = re.sub(pattern, replacement, phonemes)
    return phonemes
