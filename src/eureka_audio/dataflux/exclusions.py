"""What must not become training data: the clips and questions of evaluation sets."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eureka_audio.asking.keys import MISSING_AUDIO, file_fingerprint
from eureka_audio.dataflux.letters import plain
from eureka_audio.errors import ManifestError
from eureka_audio.records import AudioClip, Question

# Unstated: the paper checks no overlap. Eight words in one order are no coincidence.
MIN_WORDS = 8


@dataclass
class Exclusions:
    """Marks of evaluation sets.

    Attributes:
        audio: SHA-256 of files.
        words: transcripts of `MIN_WORDS` words or more.
        questions: with their choices.
    """

    audio: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)

    def fault_of_clip(self, clip: AudioClip, audio_sha256: str) -> str:
        """Why a clip must not be used; empty when it may."""
        if audio_sha256 in self.audio:
            return "the same recording is in an evaluation set"
        words = plain(clip.transcript or "")
        return "the same words are said in an evaluation set" if words in self.words else ""

    def fault_of_question(self, question: Question) -> str:
        """Why a question must not be asked; empty when it may."""
        found = _mark(question.query, question.choices) in self.questions
        return "the same question is in an evaluation set" if found else ""


def read_exclusions(paths: Iterable[Path]) -> Exclusions:
    """Read evaluation sets: JSON lines with `path`, `transcript`, `question` and `choices`.

    Of each line what it has is used; audio is looked for beside the file.

    Raises:
        ManifestError: a file is missing, or a line is no JSON object.
    """
    found = Exclusions()
    for path in paths:
        if not path.is_file():
            raise ManifestError(f"expected an evaluation set at {path}, found no file; check it")
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    _add(found, path, number, line)
    return found


def _add(found: Exclusions, path: Path, number: int, line: str) -> None:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ManifestError(f"{path}:{number}: expected JSON, got {line[:60]!r}") from error
    if not isinstance(row, dict):
        raise ManifestError(f"{path}:{number}: expected a JSON object, got {line[:60]!r}")
    audio = row.get("path") or row.get("audio")
    if isinstance(audio, str):
        fingerprint = file_fingerprint(path.parent / audio)
        if fingerprint != MISSING_AUDIO:
            found.audio.add(fingerprint)
    words = plain(str(row.get("transcript") or ""))
    if len(words.split()) >= MIN_WORDS:
        found.words.add(words)
    query, choices = row.get("question"), row.get("choices")
    if isinstance(query, str) and isinstance(choices, list):
        found.questions.add(_mark(query, map(str, choices)))


def _mark(query: str, choices: Iterable[str]) -> str:
    return json.dumps([plain(query), sorted(map(plain, choices))])
