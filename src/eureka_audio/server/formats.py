"""A transcript in the words of OpenAI's API; the words are the same in every format.

Subtitles (srt, vtt) are made by `inference.transcription.subtitles`.
"""

import math
import zlib
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from eureka_audio.protocols import Transcript, TranscriptWord
from eureka_audio.text.languages import LANGUAGES


def json_body(transcript: Transcript) -> dict[str, Any]:
    """`json`: the text, what it took, and what to beware of."""
    return {
        "text": transcript.text,
        "usage": usage(transcript),
        "warnings": warnings(transcript),
    }


def warnings(transcript: Transcript) -> list[dict[str, Any]]:
    """What a reader should know: repetition cut, silence skipped, language forced, ..."""
    return [
        {
            "kind": warning.kind,
            "message": warning.message,
            "start": round(warning.start, 3),
            "end": round(warning.end, 3),
        }
        for warning in transcript.warnings
    ]


def usage(transcript: Transcript) -> dict[str, Any]:
    """Tokens heard and written."""
    heard, written = transcript.num_audio_tokens, transcript.num_new_tokens
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
        "output_tokens": written,
        "total_tokens": heard + written,
    }


def verbose_body(
    transcript: Transcript, granularities: Collection[str], temperature: float
) -> dict[str, Any]:
    """`verbose_json`: segments and, if asked for, words with their times."""
    language = LANGUAGES[transcript.language].lower() if transcript.language else "unknown"
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": language,
        "duration": round(transcript.duration_seconds, 3),
        "text": transcript.text,
    }
    if "word" in granularities:
        body["words"] = [_word(word) for word in transcript.words or ()]
    if "segment" in granularities:
        body["segments"] = _segments(transcript, temperature)
    body["usage"] = {"type": "duration", "seconds": transcript.duration_seconds}
    body["warnings"] = warnings(transcript)
    return body


def _word(word: TranscriptWord) -> dict[str, Any]:
    sure = None if word.probability is None else round(word.probability, 4)
    return {
        "word": word.word,
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "probability": sure,
    }


def _segments(transcript: Transcript, temperature: float) -> list[dict[str, Any]]:
    """OpenAI's segments; what is not measured here (tokens, no_speech_prob) is empty or null."""
    words = iter(transcript.words or ())
    segments = []
    for index, segment in enumerate(transcript.segments):
        sure = [
            word.probability
            for word in islice(words, len(segment.text.split()))
            if word.probability is not None
        ]
        segments.append(
            {
                "id": index,
                "seek": round(segment.start * 100),
                "start": round(segment.start, 3),
                "end": round(segment.end, 3),
                "text": segment.text,
                "tokens": [],
                "temperature": temperature,
                "avg_logprob": _mean_log(sure),
                "compression_ratio": round(compression_ratio(segment.text), 3),
                "no_speech_prob": None,
            }
        )
    return segments


def _mean_log(probabilities: Sequence[float]) -> float | None:
    """Of the words, as the alignment is sure of their letters."""
    if not probabilities:
        return None
    return round(sum(math.log(max(each, 1e-9)) for each in probabilities) / len(probabilities), 4)


def compression_ratio(text: str) -> float:
    """Bytes of a text over those of its zlib; above 2.4 it goes round in circles (Whisper)."""
    content = text.encode()
    return len(content) / len(zlib.compress(content)) if content else 0.0
