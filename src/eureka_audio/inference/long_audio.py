"""Transcribing recordings of any length.

They are cut at pauses, silence is left out, and the sound bounds how much may be written.
"""

from collections.abc import Sequence

from transformers import GenerationConfig

from eureka_audio.audio import clock
from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import split_at_pauses
from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.inference.rescoring import Opinions
from eureka_audio.inference.sampling import GenerationOptions

# The chunk length lives in the checkpoint's generation_config.json, since it depends on the length
# of what a model was trained on; without it a chunk is a window.
CHUNK_SECONDS_KEY = "max_chunk_seconds"
# So does the number of beams that pays for a model when it transcribes; without it there is one.
BEAMS_KEY = "transcription_beams"
# And how much of a say its CTC head and its list of words have in which of them is kept, if any.
OPINION_KEYS = {name: f"transcription_{name}" for name in Opinions._fields}

# A transcript may take at most two tokens for each audio token (25 a second; fast speech takes 12
# of a small vocabulary), and a few more, so that a word at the very end is not cut.
TRANSCRIPT_TOKENS_PER_AUDIO_TOKEN = 2
SPARE_TRANSCRIPT_TOKENS = 16


def max_chunk_seconds(generation_config: GenerationConfig) -> float:
    """The longest stretch a model is asked to transcribe at once.

    Raises:
        CheckpointError: the checkpoint names one that is no length in (1, 30].
    """
    seconds = getattr(generation_config, CHUNK_SECONDS_KEY, None)
    if seconds is None:
        return float(clock.WINDOW_SECONDS)
    if not isinstance(seconds, int | float) or not 1 < seconds <= clock.WINDOW_SECONDS:
        raise CheckpointError(
            f"generation_config.json: expected {CHUNK_SECONDS_KEY} of 1 to {clock.WINDOW_SECONDS} "
            f"seconds, got {seconds!r}; correct it or take it out"
        )
    return float(seconds)


def transcription_beams(generation_config: GenerationConfig) -> int:
    """How many beams a model transcribes with, unless it is told otherwise.

    Raises:
        CheckpointError: the checkpoint names something else than a whole number of at least 1.
    """
    num_beams = getattr(generation_config, BEAMS_KEY, 1)
    if not isinstance(num_beams, int) or isinstance(num_beams, bool) or num_beams < 1:
        raise CheckpointError(
            f"generation_config.json: expected {BEAMS_KEY} of at least 1, got {num_beams!r}; "
            "correct it or take it out"
        )
    return num_beams


def transcription_opinions(generation_config: GenerationConfig) -> Opinions:
    """What the checkpoint gives second opinions.

    Raises:
        CheckpointError: it names something that `GenerationOptions` refuses.
    """
    opinions = Opinions(*(getattr(generation_config, key, 0.0) for key in OPINION_KEYS.values()))
    try:
        GenerationOptions(num_beams=2, **opinions._asdict())
    except ConfigError as error:
        raise CheckpointError(f"generation_config.json: transcription_{error}") from error
    return opinions


def sounding_chunks(audio: DecodedAudio, max_seconds: float) -> list[DecodedAudio]:
    """Cut a recording at its pauses; chunks in which nothing can be heard are left out."""
    return [
        DecodedAudio(span.of(audio.waveform), audio.name)
        for span in split_at_pauses(audio.waveform, max_seconds=max_seconds)
        if not span.is_silent
    ]


def max_transcript_tokens(num_audio_tokens: int) -> int:
    """How long a transcript may become, whatever the model would like to add."""
    return SPARE_TRANSCRIPT_TOKENS + TRANSCRIPT_TOKENS_PER_AUDIO_TOKEN * num_audio_tokens


def join_transcripts(texts: Sequence[str]) -> str:
    """One transcript of the chunks' transcripts."""
    return " ".join(text for text in map(str.strip, texts) if text)
