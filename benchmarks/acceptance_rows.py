"""The rows of the table of acceptance: what is measured, on which items, and what was asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eureka_audio.parts.names import PACKAGED_MODELS

SPEECH, QUESTIONS = "eureka_speech", "eureka_questions"
JOINED = "joined"  # the data set of recordings that are made of clips of others
READERS = "speechocean762"
NATIVE = frozenset({"librispeech_mini", "voice_prompts"})


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the figure.
        title: for readers.
        benchmark: which holds its items.
        where: which of them: the values a field may have.
        measure: "score" of the benchmark, "exact" (share of transcripts without a fault), or
            "joined" (words wrong against the same clips one by one).
        musts: what was asked of each of `PACKAGED_MODELS`; nothing where a figure is only reported.
        stretch: what was hoped for.
    """

    name: str
    title: str
    benchmark: str
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    measure: str = "score"
    musts: tuple[float, ...] = ()
    stretch: float | None = None

    def holds(self, benchmark: str, fields: Mapping[str, Any]) -> bool:
        """Whether an item of a benchmark belongs to this row."""
        return benchmark == self.benchmark and all(
            fields.get(name) in values for name, values in self.where.items()
        )

    def must(self, model: str) -> float | None:
        """What was asked of a model; of one that is not ours, what was asked of the first."""
        if not self.musts:
            return None
        return self.musts[PACKAGED_MODELS.index(model) if model in PACKAGED_MODELS else 0]

    def is_met(self, value: float, model: str) -> bool:
        """Whether a figure is as good as was asked for."""
        must = self.must(model)
        if must is None:
            return True
        return value <= must if self.less_is_better else value >= must

    @property
    def less_is_better(self) -> bool:
        """Whether it counts faults."""
        return self.name.startswith(("wer", "joined", "cpu"))


def _of(*datasets: str, **fields: str) -> dict[str, frozenset[str]]:
    return {"dataset": frozenset(datasets)} | {n: frozenset({v}) for n, v in fields.items()}


NEW_SOUNDS = ("sound_effects", "coughs", "infant_cry", "emogator", "music_loops")
ADULTS, CHILDREN = {"age_group": "adult"}, {"age_group": "child"}
ROWS = (
    Row("wer_sentences", "words wrong: learners of English (speechocean762)", SPEECH,
        _of(READERS), "score", (0.33, 0.30), 0.20),
    Row("wer_natives", "words wrong: native readers (librispeech_mini, voice_prompts)", SPEECH,
        _of(*NATIVE), "score", (0.45, 0.173), None),  # of small: whisper base + 10 points
    Row("wer_synthetic", "words wrong: synthetic speech, unseen sentences", SPEECH,
        _of("synthetic"), "score", (0.13, 0.10), 0.04),
    Row("joined", "words wrong in 60 s recordings, times those of their clips", SPEECH,
        _of(JOINED), "joined", (1.2, 1.15), 1.0),
    Row("digit", "digits, unseen speaker (fsdd)", QUESTIONS, _of("fsdd", skill="digit"),
        "score", (0.97, 0.98), 0.995),
    Row("command_words", "command words, unseen speakers, written (speech_commands)", SPEECH,
        _of("speech_commands"), "exact", (0.90, 0.93), 0.97),
    Row("sound", "environmental sounds (esc10)", QUESTIONS, _of("esc10", skill="sound"),
        "score", (0.95, 0.95), 0.99),
    Row("instrument", "instrument, unseen notes (philharmonia)", QUESTIONS,
        _of("philharmonia", skill="instrument"), "score", (0.90, 0.92), 0.97),
    Row("new_sounds", "sounds of further sets, by class", QUESTIONS,
        _of(*NEW_SOUNDS, skill="sound")),
    Row("gender", "male or female, adults (speechocean762)", QUESTIONS,
        _of(READERS, skill="gender", **ADULTS), "score", (0.93, 0.95), 0.98),
    Row("gender_children", "male or female, children (speechocean762)", QUESTIONS,
        _of(READERS, skill="gender", **CHILDREN)),
    Row("age", "child or adult (speechocean762)", QUESTIONS, _of(READERS, skill="age"),
        "score", (0.88, 0.88), 0.93),
    Row("caption_event_f1", "captions of composed scenes: events named, F1", "eureka_captions",
        {}, "score", (0.85, 0.87), 0.95),
    Row("no_speech", "no word written where nobody speaks (esc10, philharmonia)",
        "eureka_no_speech", _of("esc10", "philharmonia"), "score", (0.98, 0.98), 1.0),
)  # fmt: skip
CPU_ROW = Row("cpu_seconds", "CPU seconds per second of audio, transcribed", SPEECH, {},
              "cpu", (0.1, 0.49), 0.03)  # fmt: skip


def shown(row: Row, value: float) -> str:
    """A figure as a table shows it: a share in percent, a ratio or seconds as they are."""
    if row.measure in ("joined", "cpu"):
        return f"{value:.2f}" + (" x" if row.measure == "joined" else "")
    return f"{100 * value:.1f} %"
