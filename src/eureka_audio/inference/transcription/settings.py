"""What a checkpoint says of how it wants to transcribe, in its generation_config.json."""

from transformers import GenerationConfig

from eureka_audio.audio import clock
from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.inference.rescoring import Opinions
from eureka_audio.inference.sampling import MAX_BEAMS, GenerationOptions
from eureka_audio.text.languages import LANGUAGES

# Depends on the length of what a model was trained on; without it a chunk is a window.
CHUNK_SECONDS_KEY = "max_chunk_seconds"
# How many beams pay for a model when it transcribes; without it there is one.
BEAMS_KEY = "transcription_beams"
# How much of a say its CTC head has in which of them is kept, and whether any is.
OPINION_KEYS = {name: f"transcription_{name}" for name in Opinions._fields}
# What checkpoints of earlier versions say of lists and models of words, which nobody asks any more.
REMOVED_KEYS = ("transcription_unknown_word_penalty", "transcription_ngram_weight")
# The languages that it writes, as ISO 639-1 codes; without it, any.
LANGUAGES_KEY = "transcription_languages"

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
    is_whole = isinstance(num_beams, int) and not isinstance(num_beams, bool)
    if not is_whole or not 1 <= num_beams <= MAX_BEAMS:
        raise CheckpointError(
            f"generation_config.json: expected {BEAMS_KEY} of 1 to {MAX_BEAMS}, got {num_beams!r}; "
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


def removed_settings(generation_config: GenerationConfig) -> list[str]:
    """The settings that a checkpoint makes and that nothing depends on any more.

    They are no error: without them, a model still transcribes, if not word for word as before.
    """
    return [key for key in REMOVED_KEYS if getattr(generation_config, key, None)]


def transcription_languages(generation_config: GenerationConfig) -> tuple[str, ...]:
    """The languages that a model writes, as ISO 639-1 codes; none where it does not say.

    Raises:
        CheckpointError: it names something that is no language.
    """
    codes = getattr(generation_config, LANGUAGES_KEY, ())
    if not isinstance(codes, list | tuple) or not set(codes) <= LANGUAGES.keys():
        raise CheckpointError(
            f"generation_config.json: expected {LANGUAGES_KEY} as a list of ISO 639-1 codes, got "
            f"{codes!r:.80}; correct it or take it out"
        )
    return tuple(codes)


def max_transcript_tokens(num_audio_tokens: int) -> int:
    """How long a transcript may become, whatever the model would like to add."""
    return SPARE_TRANSCRIPT_TOKENS + TRANSCRIPT_TOKENS_PER_AUDIO_TOKEN * num_audio_tokens
