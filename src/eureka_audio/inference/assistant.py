"""The friendly object: audio and a wish in, words out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Unpack, get_args, overload

import torch

from eureka_audio.audio.decode import AudioSource
from eureka_audio.audio.fetch import LOCAL_USER, AudioAccess
from eureka_audio.audio.mono import LOCAL_LIMITS, AudioLimits
from eureka_audio.errors import ConfigError, EurekaAudioError, MessageError
from eureka_audio.inference.choices import check_choices, check_text
from eureka_audio.inference.engine import AudioEngine
from eureka_audio.inference.loading import load
from eureka_audio.inference.responder import Responder
from eureka_audio.inference.sampling import GenerationOptions, GenerationSettings
from eureka_audio.inference.transcription.chunks import Plan
from eureka_audio.inference.transcription.settings import max_transcript_tokens
from eureka_audio.inference.transcription.transcriber import Transcriber
from eureka_audio.inference.transcription.transcripts import TimedChunk
from eureka_audio.inference.workload import ErrorHandling, Piece, Request, Workload
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor, parse_messages
from eureka_audio.protocols import Reply, Transcript
from eureka_audio.records import Conversation
from eureka_audio.text.chat import caption_request, question_request

# A greedy answer that runs in circles does not come back: eight rounds end it, and it says so.
MAX_REPEATS = 8
GUARDED = GenerationOptions(max_repeats=MAX_REPEATS)

# What other programs call our settings.
OTHER_NAMES = {
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
    "max_length": "max_new_tokens",
    "do_sample": "temperature",
    "stop_sequences": "stop",
    "beam_size": "num_beams",
}

Replies = list[Reply | EurekaAudioError]
Transcripts = list[Transcript | EurekaAudioError]


class EurekaAudio:
    """A model that transcribes, answers and describes.

    A list in gives a list out, answered in batches, in order, each as it would be alone.

    Args:
        model: set to evaluation.
        processor: the model's own.
        batch_size: conversations answered at once.
        access: which paths and URLs may be opened; URLs are off by default.
        limits: how long and large one recording may be.

    Raises:
        ConfigError: a batch of nothing.

    Example:
        model = EurekaAudio.from_pretrained("nano")
        print(model.transcribe("clip.wav"))
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        processor: EurekaAudioProcessor,
        *,
        batch_size: int = 16,
        access: AudioAccess = LOCAL_USER,
        limits: AudioLimits = LOCAL_LIMITS,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {batch_size}; 16 is usual")
        self.model = model.eval()
        self.processor = processor
        self.batch_size = batch_size
        self.engine = AudioEngine(
            model, processor, max_batch_size=batch_size, max_queue_length=None
        )
        self._responder = Responder(self.engine, access, limits)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        allow_unverified: bool = False,
        **settings: Any,
    ) -> "EurekaAudio":
        """Load a model.

        Args:
            name_or_path: "nano", which the package brings; a folder; or a hub id (owner/name).
            device: such as "cpu" or "cuda"; by default a GPU if there is one.
            dtype: such as "float32" or "bfloat16", or, for the weights of the language model on a
                CPU, "int8" or "int4"; by default what the checkpoint holds, or float32 where that
                is faster.
            allow_unverified: load a folder that has no `checksums.json`, whose damage or change
                nobody would notice.
            **settings: as the constructor takes them.

        Raises:
            CheckpointError: no such model, or its files are incomplete or damaged.
            ConfigError: no such device or dtype.
        """
        loaded = load(name_or_path, device, dtype, allow_unverified=allow_unverified)
        return cls(*loaded, **settings)

    @overload
    def transcribe(
        self, audio: list[Any], language: str | None = ..., *, num_beams: int | None = ...,
        errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> list[Reply]: ...  # fmt: skip
    @overload
    def transcribe(
        self, audio: list[Any], language: str | None = ..., *, num_beams: int | None = ...,
        errors: ErrorHandling, progress: bool | None = ...,
    ) -> Replies: ...  # fmt: skip
    @overload
    def transcribe(
        self, audio: AudioSource, language: str | None = ..., *, num_beams: int | None = ...,
        errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> Reply: ...  # fmt: skip
    def transcribe(
        self,
        audio: Any,
        language: str | None = None,
        *,
        num_beams: int | None = None,
        errors: ErrorHandling = "raise",
        progress: bool | None = None,
    ) -> Any:
        """Write down what is said, however long the recording.

        It is cut at pauses, silence is skipped, rounds that a model runs in are taken out. An
        answer is bounded by the length of the audio, and empty where the checkpoint can tell that
        nobody speaks. `transcribe_detailed` tells more.

        Args:
            audio: anything `load_audio` takes, or a list of such.
            language: an English name ("German") or ISO 639-1 code; keeps a model of several from
                translating.
            num_beams: transcripts that grow side by side, of which the most probable is kept; by
                default what the checkpoint asks for. 1 is the fastest.
            errors: in a list, "return" puts the error of a bad input in its place and answers the
                others; "raise" raises the first.
            progress: a bar on stderr for work of more than two seconds; by default on a
                terminal.

        Raises:
            AudioError: an input cannot be used (a subclass says why).
            MessageError: the language is no text.
            ConfigError: no such language or number of beams.
        """
        transcriber = self._transcriber(language, num_beams, word_times=False)
        transcripts = self._transcribe(_as_list(audio), transcriber, errors, progress)
        replies = [
            item if isinstance(item, EurekaAudioError) else _as_reply(item) for item in transcripts
        ]
        return _like(audio, replies)

    @overload
    def transcribe_detailed(
        self, audio: list[Any], language: str | None = ..., *, word_times: bool | None = ...,
        num_beams: int | None = ..., errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> list[Transcript]: ...  # fmt: skip
    @overload
    def transcribe_detailed(
        self, audio: list[Any], language: str | None = ..., *, word_times: bool | None = ...,
        num_beams: int | None = ..., errors: ErrorHandling, progress: bool | None = ...,
    ) -> Transcripts: ...  # fmt: skip
    @overload
    def transcribe_detailed(
        self, audio: AudioSource, language: str | None = ..., *, word_times: bool | None = ...,
        num_beams: int | None = ..., errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> Transcript: ...  # fmt: skip
    def transcribe_detailed(
        self,
        audio: Any,
        language: str | None = None,
        *,
        word_times: bool | None = None,
        num_beams: int | None = None,
        errors: ErrorHandling = "raise",
        progress: bool | None = None,
    ) -> Any:
        """Write down what is said, and when; the text is that of `transcribe`.

        Args:
            audio: as in `transcribe`.
            language: as in `transcribe`.
            word_times: whether to find out when each word is said; by default where the model can
                tell.
            num_beams: as in `transcribe`.
            errors: as in `transcribe`.
            progress: as in `transcribe`.

        Raises:
            AudioError, MessageError, ConfigError: as `transcribe`; a ConfigError, too, where the
                times of words are asked of a model that cannot tell them.
        """
        transcriber = self._transcriber(language, num_beams, word_times)
        return _like(audio, self._transcribe(_as_list(audio), transcriber, errors, progress))

    @overload
    def ask(
        self, audio: list[Any], question: str | Sequence[str],
        choices: Sequence[str] | Sequence[Sequence[str]] | None = ..., *,
        errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> list[Reply]: ...  # fmt: skip
    @overload
    def ask(
        self, audio: list[Any], question: str | Sequence[str],
        choices: Sequence[str] | Sequence[Sequence[str]] | None = ..., *,
        errors: ErrorHandling, progress: bool | None = ...,
    ) -> Replies: ...  # fmt: skip
    @overload
    def ask(
        self, audio: AudioSource, question: str, choices: Sequence[str] | None = ..., *,
        errors: Literal["raise"] = ..., progress: bool | None = ...,
    ) -> Reply: ...  # fmt: skip
    def ask(
        self,
        audio: Any,
        question: Any,
        choices: Any = None,
        *,
        errors: ErrorHandling = "raise",
        progress: bool | None = None,
    ) -> Any:
        """Answer a question about a recording.

        Args:
            audio: anything `load_audio` takes, or a list of such.
            question: one for all, or a list with one for each audio.
            choices: when given, the answer is one of them, and `scores` holds the probability of
                each among them; one set for all, or one for each audio.
            errors: as in `transcribe`.
            progress: as in `transcribe`.

        Raises:
            AudioError: an input cannot be used (a subclass says why).
            MessageError: questions or choices are unusable, or not as many as there are audios.
            ContextLengthError: the audio is longer than the model's context.
        """
        audios = _as_list(audio)
        choices = list(choices) if isinstance(choices, Iterator) else choices
        is_shared = choices is None or all(isinstance(choice, str) for choice in choices)
        items = list(
            zip(
                audios,
                _one_each(question, isinstance(question, str), len(audios), "questions"),
                _one_each(choices, is_shared, len(audios), "sets of choices"),
                strict=True,
            )
        )

        def prepare(item: tuple[AudioSource, str, Sequence[str] | None]) -> Request:
            source, words, offered = item
            check_text(words, "question")
            checked = None if offered is None else check_choices(offered)
            return self._responder.request(question_request(source, words, checked), checked)

        if choices is None:
            return _like(audio, self._write(items, prepare, GUARDED, errors, progress))
        return _like(audio, self._run(items, prepare, self._responder.choose, errors, progress))

    @overload
    def caption(
        self, audio: list[Any], *, errors: Literal["raise"] = ..., progress: bool | None = ...
    ) -> list[Reply]: ...
    @overload
    def caption(
        self, audio: list[Any], *, errors: ErrorHandling, progress: bool | None = ...
    ) -> Replies: ...
    @overload
    def caption(
        self, audio: AudioSource, *, errors: Literal["raise"] = ..., progress: bool | None = ...
    ) -> Reply: ...
    def caption(
        self, audio: Any, *, errors: ErrorHandling = "raise", progress: bool | None = None
    ) -> Any:
        """Describe everything that can be heard in a recording.

        Args:
            audio: anything `load_audio` takes, or a list of such.
            errors: as in `transcribe`.
            progress: as in `transcribe`.

        Raises:
            AudioError: an input cannot be used (a subclass says why).
            ContextLengthError: the audio is longer than the model's context.
        """

        def prepare(source: AudioSource) -> Request:
            return self._responder.request(caption_request(source))

        return _like(audio, self._write(_as_list(audio), prepare, GUARDED, errors, progress))

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> Replies:
        """Answer conversations greedily, an error in the place of one that cannot be answered.

        This is what `protocols.AudioLanguageModel` asks of a model.
        """
        options = GenerationOptions(max_new_tokens=max_new_tokens, max_repeats=MAX_REPEATS)
        return self._write(conversations, self._responder.request, options, "return", False)

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> Replies:
        """Pick the most probable of the choices of each conversation, errors as in `answer`.

        A choice that is given twice counts once. This is what `protocols.ChoosingModel` asks of a
        model.
        """

        def prepare(item: tuple[Conversation, Sequence[str]]) -> Request:
            conversation, offered = item
            return self._responder.request(
                conversation, check_choices(tuple(dict.fromkeys(offered)))
            )

        items = list(zip(conversations, choices, strict=True))
        return self._run(items, prepare, self._responder.choose, "return", False)

    def generate(
        self,
        messages: Any,
        *,
        errors: ErrorHandling = "raise",
        progress: bool | None = None,
        **settings: Unpack[GenerationSettings],
    ) -> Any:
        """Go on with a conversation, or with a list of them.

        Args:
            messages: dicts with role and content, where content is text or a list of parts
                `{"type": "text", "text": ...}` and `{"type": "audio_url", "audio_url": {"url":
                ...}}` (the authors' format) or `{"type": "audio", "audio": ...}`; or a
                `Conversation`. A list of such gives a list of replies.
            errors: as in `transcribe`.
            progress: as in `transcribe`.
            **settings: `max_new_tokens` (512), `temperature` (0: greedy), `top_p`, `top_k`,
                `repetition_penalty`, `stop`, `seed`, `max_repeats`, `num_beams`, `ctc_weight`,
                `no_speech_threshold`, as in `GenerationOptions`.

        Raises:
            MessageError: a message is malformed.
            AudioError: an audio part cannot be used (a subclass says why).
            ContextLengthError: the conversation does not fit the model's context.
            ConfigError: a setting is out of range or would have no effect.
        """
        options = _options(settings)
        is_batch = _is_batch(messages)
        sources = messages if is_batch else [messages]
        replies = self._write(sources, self._parsed, options, errors, progress)
        return replies if is_batch else replies[0]

    def stream(self, messages: Any, **settings: Unpack[GenerationSettings]) -> Iterator[str]:
        """Yield the text that `generate` would return, piece by piece as it is written.

        Arguments and errors are those of `generate`, for one conversation and one beam; what is
        wrong with the input is raised by the call itself, before the first piece.
        """
        options = _options(settings)
        for name, only in (("num_beams", 1), ("no_speech_threshold", 0)):
            if (asked := getattr(options, name)) != only:
                raise ConfigError(
                    f"{name}: expected {only} in a stream, got {asked}; what will be kept is known "
                    "at the end only, so use generate"
                )
        [conversation] = self._parsed(messages).conversations
        encoded = self._responder.encode(conversation)
        handle = self._responder.stream(encoded, options)

        def pieces() -> Iterator[str]:
            try:
                for event in handle:
                    if event.text:
                        yield event.text
            finally:
                handle.cancel()

        return pieces()

    def _transcriber(
        self, language: str | None, num_beams: int | None, word_times: bool | None
    ) -> Transcriber:
        if language is not None:
            check_text(language, "language")
        return Transcriber.of(
            self.model, GUARDED, language=language, num_beams=num_beams, word_times=word_times
        )

    def _transcribe(
        self,
        sources: Sequence[AudioSource],
        transcriber: Transcriber,
        errors: ErrorHandling,
        progress: bool | None,
    ) -> Transcripts:
        plans: dict[int, Plan] = {}
        chunks: dict[int, dict[int, TimedChunk]] = {}

        def prepare(item: tuple[int, AudioSource]) -> Request:
            index, source = item
            plan = transcriber.plan(self._responder.load(source))
            plans[index] = replace(plan, chunks=())  # the sound is needed no longer than asked
            chunks[index] = {}
            return Request([transcriber.request(chunk) for chunk in plan.chunks], 0.0)

        def answer(batch: Sequence[Piece]) -> Sequence[Reply]:
            options = transcriber.options
            answers = self._responder.answers(batch, options, max_transcript_tokens)
            for piece, found in zip(batch, answers, strict=True):
                span = plans[piece.index].sounding[piece.position]
                chunks[piece.index][piece.position] = transcriber.read(
                    span, found, piece.encoded.num_audio_tokens
                )
            return [Reply(found.text) for found in answers]

        replies = self._run(list(enumerate(sources)), prepare, answer, errors, progress)
        return [
            reply
            if isinstance(reply, EurekaAudioError)
            else transcriber.transcript(
                plans[index], [chunks[index][place] for place in sorted(chunks[index])]
            )
            for index, reply in enumerate(replies)
        ]

    def _parsed(self, messages: Any) -> Request:
        return self._responder.request(parse_messages(messages))

    def _write(
        self,
        sources: Sequence[Any],
        prepare: Callable[[Any], Request],
        options: GenerationOptions,
        errors: ErrorHandling,
        progress: bool | None,
    ) -> Replies:
        """Answer sources by generating."""

        def answer(batch: Sequence[Piece]) -> Sequence[Reply]:
            return self._responder.write(batch, options)

        return self._run(sources, prepare, answer, errors, progress)

    def _run(
        self,
        sources: Sequence[Any],
        prepare: Callable[[Any], Request],
        answer: Callable[[Sequence[Piece]], Sequence[Reply]],
        errors: ErrorHandling,
        progress: bool | None,
    ) -> Replies:
        if errors not in get_args(ErrorHandling):
            raise ConfigError(f"errors: expected 'raise' or 'return', got {errors!r}")
        work = Workload(prepare, self._responder.encode, answer, self.batch_size, errors, progress)
        return work.run(sources)


def _options(settings: GenerationSettings) -> GenerationOptions:
    """Checked settings of generation.

    Raises:
        ConfigError: there is no such setting, or one is out of range.
    """
    known = [setting.name for setting in fields(GenerationOptions)]
    for name in settings:
        if name not in known:
            near = OTHER_NAMES.get(name) or next(iter(get_close_matches(name, known, n=1)), None)
            hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
            raise ConfigError(f"{name}: expected a setting of generation, got this; {hint}")
    return GenerationOptions(**settings)


def _as_reply(transcript: Transcript) -> Reply:
    """The same, as other tasks answer."""
    return Reply(
        text=transcript.text,
        num_new_tokens=transcript.num_new_tokens,
        num_audio_tokens=transcript.num_audio_tokens,
        duration_seconds=transcript.duration_seconds,
        finish_reason=transcript.finish_reason,
    )


def _as_list(audio: Any) -> list[Any]:
    """One audio or a list of them, as a list; a pair (array, rate) is one audio."""
    return audio if isinstance(audio, list) else [audio]


def _like(audio: Any, replies: Sequence[Any]) -> Any:
    """A list for a list, one reply for one audio."""
    return replies if isinstance(audio, list) else replies[0]


def _one_each(value: Any, is_shared: bool, count: int, name: str) -> list[Any]:
    """One value for each audio, from one shared by all or a list of as many."""
    if is_shared:
        return [value] * count
    if not isinstance(value, list | tuple) or len(value) != count:
        raise MessageError(
            f"{name}: expected one for all or {count}, one for each audio, got {value!r:.80}"
        )
    return list(value)


def _is_batch(messages: Any) -> bool:
    """Whether these are several conversations: a list of lists or of `Conversation`s."""
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(isinstance(item, list | tuple | Conversation) for item in messages)
    )
