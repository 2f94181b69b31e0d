"""One transcript in the five formats of OpenAI's API; the words are the same in all of them."""

import zlib
from collections.abc import Collection
from typing import Any

from eureka_audio.server.transcript import Transcript

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")


def json_body(transcript: Transcript) -> dict[str, Any]:
    """`json`: the text, what it took, and what to beware of."""
    return {
        "text": transcript.text,
        "usage": usage(transcript),
        "warnings": warnings(transcript),
    }


def warnings(transcript: Transcript) -> list[str]:
    """What a reader should know."""
    return list(transcript.warnings)


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


def verbose_body(transcript: Transcript, granularities: Collection[str], temperature: float) -> Any:
    """`verbose_json`: segments and, if asked for, words with their times."""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": (transcript.language or "unknown").lower(),
        "duration": round(transcript.duration_seconds, 3),
        "text": transcript.text,
    }
    if "word" in granularities:
        body["words"] = [
            {
                "word": word.text,
                "start": round(word.start_seconds, 3),
                "end": round(word.end_seconds, 3),
            }
            for word in transcript.words or ()
        ]
    if "segment" in granularities:
        body["segments"] = [
            {
                "id": index,
                "seek": round(segment.start_seconds * 100),
                "start": round(segment.start_seconds, 3),
                "end": round(segment.end_seconds, 3),
                "text": segment.text,
                "tokens": list(segment.token_ids),
                "temperature": temperature,
                "avg_logprob": segment.mean_log_prob,
                "compression_ratio": round(compression_ratio(segment.text), 3),
                "no_speech_prob": segment.no_speech_probability,
            }
            for index, segment in enumerate(transcript.segments)
        ]
    body["usage"] = {"type": "duration", "seconds": transcript.duration_seconds}
    body["warnings"] = warnings(transcript)
    return body


def compression_ratio(text: str) -> float:
    """Bytes of a text over those of its zlib; above 2.4 it goes round in circles (Whisper)."""
    content = text.encode()
    return len(content) / len(zlib.compress(content)) if content else 0.0


def srt(transcript: Transcript) -> str:
    """SubRip subtitles: one for each segment."""
    return "\n".join(
        f"{number}\n{_clock(segment.start_seconds, ',')} --> {_clock(segment.end_seconds, ',')}\n"
        f"{_cue_text(segment.text)}\n"
        for number, segment in enumerate(transcript.segments, start=1)
    )


def vtt(transcript: Transcript) -> str:
    """WebVTT subtitles: one for each segment."""
    cues = (
        f"{_clock(segment.start_seconds, '.')} --> {_clock(segment.end_seconds, '.')}\n"
        f"{_escaped(_cue_text(segment.text))}\n"
        for segment in transcript.segments
    )
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and milliseconds.

    Example:
        >>> _clock(3661.5, ",")
        '01:01:01,500'
    """
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _cue_text(text: str) -> str:
    """Text without what would end a cue: line breaks, and the arrow."""
    return " ".join(text.split()).replace("-->", "->")


def _escaped(text: str) -> str:
    """Text in which WebVTT sees no markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
