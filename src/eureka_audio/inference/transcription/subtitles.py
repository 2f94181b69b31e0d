"""A transcript as a file of subtitles: SubRip (srt) or WebVTT (vtt)."""

import html

from eureka_audio.protocols import Transcript


def as_srt(transcript: Transcript) -> str:
    r"""SubRip: numbered segments.

    Example:
        >>> from eureka_audio.protocols import TranscriptSegment
        >>> as_srt(Transcript("hello", segments=(TranscriptSegment(0.5, 61.25, "hello"),)))
        '1\n00:00:00,500 --> 00:01:01,250\nhello\n'
    """
    return "\n".join(
        f"{number}\n{_stamp(each.start, ',')} --> {_stamp(each.end, ',')}\n{each.text}\n"
        for number, each in enumerate(transcript.segments, start=1)
    )


def as_vtt(transcript: Transcript) -> str:
    r"""WebVTT, what the model wrote as text and not as markup.

    Example:
        >>> from eureka_audio.protocols import TranscriptSegment
        >>> as_vtt(Transcript("a < b", segments=(TranscriptSegment(0, 1, "a < b"),)))
        'WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &lt; b\n'
    """
    cues = (
        f"\n{_stamp(each.start, '.')} --> {_stamp(each.end, '.')}\n"
        f"{html.escape(each.text, quote=False)}\n"
        for each in transcript.segments
    )
    return "".join(["WEBVTT\n", *cues])


def _stamp(seconds: float, mark: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
