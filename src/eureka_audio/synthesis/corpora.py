"""What the synthetic voices say: sentences from free texts, and from a small grammar of our own.

Every sentence is given to the engines and kept as transcript in the same form: lower-case words,
ASCII letters and apostrophes, numbers spelled out. A sentence that would need guessing (digits,
abbreviations, other alphabets) is left out, so the transcript is what is heard.

The texts are read from where Debian installs them:

    WordNet                  ``wordnet-base``     WordNet 3.0 licence (free use, notice kept)
    King James Bible         ``bible-kjv-text``   copyright expired (Crown patent inside the UK)
    The Devil's Dictionary   ``dict-devil``       public domain

Unstated: the paper names no synthetic corpus; this one exists because free recorded speech is
scarce.
"""

import gzip
import random
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eureka_audio.errors import MissingDependencyError
from eureka_audio.synthesis.grammar import DIGITS, digit_string, everyday_sentence

WORDNET = Path("/usr/share/wordnet")
DEVIL = Path("/usr/share/dictd/devil.dict.dz")
MIN_WORDS, MAX_WORDS = 2, 14

# A sentence with one of these is left out: coarse, or a word old texts use to demean people.
UNSUITABLE = frozenset(
    """
    bastard bitch bitches cock crap cunt damn damned dick fag faggot fuck fucked fucking goddam
    goddamn hell jew jews kike nazi negro negroes nigger niggers penis piss pissed porn
    prostitute rape raped rapist screw sex sexual sexually shit slut suicide tits vagina whore
    whores
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Sentence:
    """Words to be spoken, and where they come from."""

    words: str
    source: str
    license: str


def spoken_words(text: str) -> str | None:
    """Lower-case words of a text, or ``None`` when how to say it is a guess.

    Example:
        >>> spoken_words("He shrugged me off, like I was nothing!")
        'he shrugged me off like i was nothing'
        >>> spoken_words("at 5 p.m.") is None
        True
    """
    text = text.replace("\u2019", "'").strip()
    if not text.isascii() or re.search(
        r"[0-9@#$%&*/+=<>\[\]{}_|\\^`~]|\w\.\w|\b(?:Mr|Mrs|Dr|St|etc|vs)\b", text
    ):
        return None
    if re.search(r"\b[A-Z]{2,}\b", text):
        return None
    words = re.sub(r"[^a-z' ]+", " ", text.lower()).split()
    words = [word.strip("'") for word in words]
    if not all(words) or any(len(word) > 15 or word in UNSUITABLE for word in words):
        return None
    return " ".join(words) if MIN_WORDS <= len(words) <= MAX_WORDS else None


def wordnet_examples(folder: Path = WORDNET) -> Iterator[str]:
    """The quoted examples of WordNet's glosses, as written."""
    for part in ("noun", "verb", "adj", "adv"):
        path = _require(folder / f"data.{part}", "wordnet-base")
        for line in path.read_text("ascii", "replace").splitlines():
            yield from re.findall(r'"([^";]+)"', line.partition(" | ")[2])


def bible_clauses() -> Iterator[str]:
    """Clauses of the King James Bible: verses cut at their stops."""
    try:
        verses = subprocess.run(
            ["bible", "-f", "Gen1:1-Rev22:21"], capture_output=True, text=True, check=True
        ).stdout
    except FileNotFoundError as error:
        raise _missing("the program 'bible'", "bible-kjv") from error
    for verse in verses.splitlines():
        yield from re.split(r"[.:;?!]|, (?=and |but |for )", verse.partition(" ")[2])


def devil_sentences(path: Path = DEVIL) -> Iterator[str]:
    """Sentences and clauses of The Devil's Dictionary."""
    text = gzip.decompress(_require(path, "dict-devil").read_bytes()).decode("utf-8", "replace")
    for entry in text.split("\n\n"):
        prose = re.sub(r"^[A-Z' -]+, \S+\s+", "", " ".join(entry.split()))
        yield from re.split(r"(?<=[a-z])[.;:?!]| -- ", prose)


def _require(path: Path, package: str) -> Path:
    if not path.exists():
        raise _missing(f"the text {path}", package)
    return path


def _missing(what: str, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"speech synthesis needs {what}, which is not on this machine; "
        f"install the Debian package {package!r}"
    )


# name -> (share of the training sentences, reader, licence)
TEXTS: dict[str, tuple[float, Callable[[], Iterator[str]], str]] = {
    "wordnet": (0.50, wordnet_examples, "WordNet 3.0 licence"),
    "bible-kjv": (0.07, bible_clauses, "copyright expired"),
    "devils-dictionary": (0.03, devil_sentences, "public domain"),
}
OWN = "made by this project"
PROMPT_SHARE, DIGIT_SHARE, SINGLE_DIGIT_SHARE = 0.10, 0.05, 0.02  # what is left is the grammar's


def _single_digit(rng: random.Random) -> Sentence:
    return Sentence(rng.choice(DIGITS), "grammar", OWN)


class Book(Protocol):
    """What a corpus says."""

    @property
    def reserved(self) -> Sequence[Sentence]:
        """The sentences of dev and test together."""
        ...

    def next_sentence(self) -> Sentence:
        """The next training sentence."""
        ...


class DigitBook:
    """Single digits for training, in an order that the seed alone decides: of recorded ones there
    are few speakers.
    """

    reserved: Sequence[Sentence] = ()

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"digits/{seed}")

    def next_sentence(self) -> Sentence:
        """The next digit."""
        return _single_digit(self.rng)


class SentenceBook:
    """All sentences of a synthetic corpus, in an order that the seed alone decides.

    ``held_out`` (transcripts of recorded test speech), the sentences of our own dev and test
    splits, and those ``reserved_before`` by other books never occur in training; single words and
    single digits are exempt, since ten of them are all there are.
    """

    def __init__(
        self,
        seed: int,
        prompts: Collection[str] = (),
        held_out: Collection[str] = (),
        num_reserved: int = 600,
        reserved_before: Collection[str] = (),
    ) -> None:
        """Read all texts; ``prompts`` are transcripts of recorded training speech, to be spoken by
        synthetic voices too.
        """
        self.rng = random.Random(f"sentences/{seed}")
        self.dropped: dict[str, int] = {}
        self.pools: dict[str, list[Sentence]] = {}
        self.excluded = {words for words in held_out if " " in words}
        for name, (_, read, license) in TEXTS.items():
            self._add_pool(name, read(), license)
        if prompts:
            self._add_pool(
                "speechocean762-train", sorted(set(prompts)), "free use (dataset's page)"
            )
        self.cursor = dict.fromkeys(self.pools, 0)
        self.reserved = [self._draw_reserved() for _ in range(num_reserved)]
        self.excluded |= {words for words in reserved_before if " " in words}

    def _add_pool(self, name: str, texts: Collection[str] | Iterator[str], license: str) -> None:
        kept: dict[str, Sentence] = {}
        for text in texts:
            words = spoken_words(text)
            if words is None:
                self._drop(f"{name}: not plainly speakable, or not {MIN_WORDS}-{MAX_WORDS} words")
            elif words in self.excluded:
                self._drop(f"{name}: held out for testing")
            else:
                kept.setdefault(words, Sentence(words, name, license))
        pool = list(kept.values())
        self.rng.shuffle(pool)
        self.pools[name] = pool

    def _drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def _draw_reserved(self) -> Sentence:
        """A sentence for dev or test: at least three words, and from here on excluded from
        everything else.
        """
        while True:
            sentence = self._draw()
            if sentence.source != "speechocean762-train" and len(sentence.words.split()) >= 3:
                self.excluded.add(sentence.words)
                return sentence

    def next_sentence(self) -> Sentence:
        """The next training sentence."""
        return self._draw()

    def _draw(self) -> Sentence:
        while True:
            sentence = self._draw_any()
            if sentence.words not in self.excluded:
                return sentence

    def _draw_any(self) -> Sentence:
        """One sentence: a text's next one (pools are used up in turn, then again), or one of the
        grammar's.
        """
        dice = self.rng.random()
        shares = {name: TEXTS[name][0] if name in TEXTS else PROMPT_SHARE for name in self.pools}
        for name, share in shares.items():
            if dice < share:
                pool, position = self.pools[name], self.cursor[name]
                self.cursor[name] += 1
                return pool[position % len(pool)]
            dice -= share
        if dice < SINGLE_DIGIT_SHARE:
            return _single_digit(self.rng)
        if dice < SINGLE_DIGIT_SHARE + DIGIT_SHARE:
            return Sentence(digit_string(self.rng), "grammar", OWN)
        return Sentence(everyday_sentence(self.rng), "grammar", OWN)
