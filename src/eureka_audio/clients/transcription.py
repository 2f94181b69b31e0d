"""A server that speaks OpenAI's transcription API, as a model that transcribes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from eureka_audio.audio.fetch import open_file
from eureka_audio.clients.wire import Endpoint, RetryLaterError
from eureka_audio.errors import EndpointError, EurekaAudioError
from eureka_audio.protocols import (
    Reply,
    Transcript,
    TranscriptSegment,
    TranscriptWarning,
    TranscriptWord,
    WarningKind,
)

MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class TranscriptionClient:
    """A transcribing model behind an endpoint, asked about one recording after the other.

    Attributes:
        endpoint: where.
        model: its name there.
        max_attempts: of one request while the server is busy, before its error is handed back.
    """

    endpoint: Endpoint
    model: str
    max_attempts: int = 5

    def transcribe(
        self, files: Sequence[Any], language: str | None = None, **ignored: Any
    ) -> list[Reply | EurekaAudioError]:
        """Texts, in order, an error in the place of one that failed."""
        return [
            found
            if isinstance(found, EurekaAudioError)
            else Reply(found.text, duration_seconds=found.duration_seconds)
            for found in self.transcribe_detailed(files, language)
        ]

    def transcribe_detailed(
        self,
        files: Sequence[Any],
        language: str | None = None,
        *,
        word_times: bool | None = None,
        **ignored: Any,
    ) -> list[Transcript | EurekaAudioError]:
        """Transcripts, in order, an error in the place of one that failed.

        Args:
            files: paths, or binary files that are open.
            language: an English name or ISO 639-1 code.
            word_times: whether the times of words are wanted.
            **ignored: what only a model at hand understands.
        """
        fields = [("model", self.model), ("response_format", "verbose_json")]
        if language is not None:
            fields.append(("language", language))
        granularities = ("segment", "word") if word_times else ("segment",)
        fields += [("timestamp_granularities[]", each) for each in granularities]
        found: list[Transcript | EurekaAudioError] = []
        for file in files:
            try:
                found.append(_transcript(self._ask(fields, _content(file)), bool(word_times)))
            except EurekaAudioError as error:
                found.append(error)
        return found

    def _ask(self, fields: Sequence[tuple[str, str]], content: bytes) -> Any:
        for attempt in range(1, self.max_attempts + 1):
            try:
                return self.endpoint.post_form("audio/transcriptions", fields, content)
            except RetryLaterError as error:
                if attempt == self.max_attempts:
                    raise
                time.sleep(min(error.seconds, MAX_WAIT_SECONDS))
        raise AssertionError("the loop ends with an answer or an error")


def _content(file: Any) -> bytes:
    if isinstance(file, str | Path):
        with open_file(file) as opened:
            return opened.read()
    content: bytes = file.read()
    return content


def _transcript(body: Any, has_words: bool) -> Transcript:
    """What a server said.

    Raises:
        EndpointError: it is no `verbose_json`.
    """
    try:
        return Transcript(
            text=str(body["text"]),
            duration_seconds=float(body["duration"]),
            segments=tuple(
                TranscriptSegment(each["start"], each["end"], each["text"].strip())
                for each in body.get("segments") or ()
            ),
            words=tuple(
                TranscriptWord(each["word"], each["start"], each["end"], each.get("probability"))
                for each in body.get("words") or ()
            )
            if has_words
            else None,
            warnings=tuple(
                TranscriptWarning(each["kind"], each["message"], each["start"], each["end"])
                for each in body.get("warnings") or ()
                if each["kind"] in get_args(WarningKind)
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EndpointError(
            f"expected verbose_json with text and duration from the server, got {body!r:.120}; is "
            "this a transcription server?",
            retryable=False,
        ) from error
