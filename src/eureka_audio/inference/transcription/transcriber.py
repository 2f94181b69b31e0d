"""A model that writes down recordings of any length, one chunk at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import Span
from eureka_audio.errors import ConfigError
from eureka_audio.inference.growing_answer import GrowingAnswer
from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.inference.transcription.chunks import Plan, plan_chunks
from eureka_audio.inference.transcription.settings import (
    max_chunk_seconds,
    transcription_beams,
    transcription_languages,
    transcription_opinions,
)
from eureka_audio.inference.transcription.transcripts import (
    TimedChunk,
    Written,
    assemble,
    read_chunk,
)
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.protocols import Transcript
from eureka_audio.records import Conversation
from eureka_audio.text.chat import transcription_request
from eureka_audio.text.languages import LANGUAGES, language_code
from eureka_audio.text.letters import CTC_VOCAB_SIZE


@dataclass(frozen=True)
class Transcriber:
    """How one call transcribes: what its checkpoint wants, and what its caller wants.

    For each recording: `plan`; for each chunk of the plan a `request`, decoded with `options`, and
    `read` of the answer; then `transcript` of all of them.

    Attributes:
        max_seconds: no chunk is longer.
        options: of generation.
        language: ISO 639-1 code, if it is known.
        is_forced: whether the caller gave it.
        is_told: whether the model is told it, which one of a single language does not need.
        word_times: whether the times of words are wanted.
    """

    max_seconds: float
    options: GenerationOptions
    language: str | None
    is_forced: bool
    is_told: bool
    word_times: bool

    @classmethod
    def of(
        cls,
        model: EurekaAudioForConditionalGeneration,
        options: GenerationOptions,
        *,
        language: str | None = None,
        num_beams: int | None = None,
        word_times: bool | None = False,
    ) -> "Transcriber":
        """What a model and a caller ask for.

        Args:
            model: its checkpoint says how long a chunk may be, how it is searched for, and which
                languages it writes.
            options: what to generate with beside that.
            language: an English name or an ISO 639-1 code; `None` leaves it to the model.
            num_beams: in the place of what the checkpoint asks for.
            word_times: whether the times of words are wanted; `None` wants them where the model
                can tell them.

        Raises:
            ConfigError: no such language, one that the model does not write, a number of beams
                that is none, or times of words of a model that cannot tell them.
            CheckpointError: the checkpoint's settings are unusable.
        """
        settings = model.generation_config
        num_beams = transcription_beams(settings) if num_beams is None else num_beams
        opinions = transcription_opinions(settings)
        if num_beams == 1:
            opinions = opinions.of_one_beam()
        known = transcription_languages(settings)
        code = checked_language(language, known)
        can_tell = can_time_words(model)
        if word_times and not can_tell:
            raise ConfigError(
                "word times: expected a model with a CTC head of letters, this one has none; ask "
                "for segments, or load another"
            )
        return cls(
            max_chunk_seconds(settings),
            replace(options, num_beams=num_beams, **opinions._asdict()),
            code,
            language is not None,
            language is not None and len(known) != 1,
            can_tell if word_times is None else word_times,
        )

    def plan(self, audio: DecodedAudio) -> Plan:
        """Cut one recording."""
        return plan_chunks(audio, self.max_seconds)

    def request(self, chunk: DecodedAudio) -> Conversation:
        """What the model is asked about one chunk."""
        told = LANGUAGES[self.language] if self.is_told and self.language else None
        return transcription_request(chunk, told)

    def read(self, span: Span, answer: GrowingAnswer, num_audio_tokens: int) -> TimedChunk:
        """The words of the answer about one chunk."""
        written = Written(
            answer.text,
            answer.finish_reason or "length",
            answer.ctc_logits,
            len(answer.token_ids),
            num_audio_tokens,
        )
        return read_chunk(span, written, self.word_times)

    def transcript(self, plan: Plan, chunks: Sequence[TimedChunk]) -> Transcript:
        """One transcript of the chunks of a plan, in order."""
        return assemble(
            plan,
            chunks,
            language=self.language,
            is_forced=self.is_forced,
            has_times=self.word_times,
        )


def can_time_words(model: EurekaAudioForConditionalGeneration) -> bool:
    """Whether a model has the head that tells when letters are said."""
    return bool(model.config.ctc_vocab_size == CTC_VOCAB_SIZE)


def checked_language(language: str | None, written: Sequence[str]) -> str | None:
    """The code of the language to be written; the model's own where it writes only one.

    Raises:
        ConfigError: there is no such language, or the model does not write it.
    """
    if language is None:
        return written[0] if len(written) == 1 else None
    code = language_code(language)
    if written and code not in written:
        known = ", ".join(LANGUAGES[each] for each in written)
        raise ConfigError(
            f"language: this model writes {known}, got {LANGUAGES[code]}; leave it out, or load "
            "another model"
        )
    return code
