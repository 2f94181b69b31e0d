"""What a batch is asked: a conversation about each clip, and now and then one of text alone."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from eureka_audio.audio.clock import SAMPLING_RATE
from eureka_audio.audio.decode import load_audio
from eureka_audio.data.held_out import HeldOut
from eureka_audio.data.mixture import Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.errors import ConfigError, ManifestError, MessageError
from eureka_audio.manifest import read_manifest
from eureka_audio.processor import EncodedConversation, EurekaAudioProcessor, parse_messages
from eureka_audio.records import AudioClip, AudioPart, Conversation, ConversationRow, TextPart
from eureka_audio.tasks import draw_task
from eureka_audio.text.tokenizer import END_OF_TEXT, encode_plain, token_id

logger = logging.getLogger(__name__)

FITNESS_CLIPS = 100  # clips of a source that are put to its tasks before training
MAX_TEXT_TOKENS = 512  # of one conversation of text; what is longer is cut

Text = str | Conversation


def read_text(path: Path, held_out: HeldOut) -> list[Text]:
    """Conversations and lines of a file, one JSON object a line: `{"messages": [...]}` or
    `{"text": "..."}`. Those that say a held-out sentence are left out, and counted in the log.

    Raises:
        ManifestError: the file is missing, holds nothing, or a line is malformed.
    """
    if not path.is_file():
        raise ManifestError(
            f"expected conversations at {path}, found no file; make them with "
            "`eureka-audio synthesize chats`, or point --data to the folder it is relative to"
        )
    found = list(_read_rows(path))
    kept = [text for text in found if not any(map(held_out.is_in, _spoken_parts(text)))]
    if len(kept) < len(found):
        logger.info("%s: %d texts say a held-out sentence; left out", path, len(found) - len(kept))
    if not kept:
        raise ManifestError(f"expected conversations in {path}, found none that may be learnt")
    return kept


def _read_rows(path: Path) -> Iterator[Text]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield row["text"] if "text" in row else _text_alone(parse_messages(row["messages"]))
        except (ValueError, KeyError, TypeError, MessageError) as error:
            raise ManifestError(
                f"{path}:{number}: expected an object with messages or text, got {line!r:.80} "
                f"({error}); correct or remove this line"
            ) from error


def read_told(path: Path) -> tuple[list[AudioClip], list[Conversation]]:
    """Conversations about one clip each (`ConversationRow`, as DataFlux writes them), and the
    clips, with absolute paths.

    Raises:
        ManifestError: a line is malformed, or its conversation is not about one file.
        AudioError: the file cannot be read.
    """
    clips, conversations = [], []
    for row in read_manifest(path, ConversationRow):
        parts = [part for message in row.messages for part in message.content]
        audio = [part.audio for part in parts if isinstance(part, AudioPart)]
        if len(audio) != 1 or not isinstance(audio[0], str) or row.messages[-1].role != "assistant":
            raise ManifestError(
                f"{path}: {row.id}: expected a conversation about the path of one audio file that "
                f"ends with the assistant, got {len(audio)} audio parts; correct or remove it"
            )
        file = (path.parent / audio[0]).resolve()
        clips.append(AudioClip(id=row.id, path=str(file), duration_seconds=duration_of(file)))
        conversations.append(row.conversation)
    if not clips:
        raise ManifestError(f"expected conversations in {path}, found none")
    return clips, conversations


def duration_of(file: Path) -> float:
    """Seconds of an audio file: as its header says, or else as it is decoded."""
    try:
        return float(soundfile.info(file).duration)
    except (soundfile.SoundFileError, OSError):
        return len(load_audio(file).waveform) / SAMPLING_RATE


def _text_alone(conversation: Conversation) -> Conversation:
    if conversation.messages[-1].role != "assistant":
        raise MessageError("expected the last message to be the assistant's")
    if any(isinstance(part, AudioPart) for m in conversation.messages for part in m.content):
        raise MessageError("expected text alone, got an audio part")
    return conversation


def _spoken_parts(text: Text) -> list[str]:
    if isinstance(text, str):
        return [text]
    parts = [part for message in text.messages for part in message.content]
    return [part.text for part in parts if isinstance(part, TextPart)]


class ConversationDraws:
    """Draws conversations by a sample's own generator.

    Args:
        sources: clips by source.
        processor: encodes the text.
        tasks: for each source, the weights of the tasks its clips are put to.
        texts: conversations of text, or lines of which every token is learnt.
        text_share: texts per clip.

    What share of a source's clips is fit for none of its tasks is logged at the start.

    Raises:
        ConfigError: no clip tried of a source is fit for any of its tasks, or there is no text to
            draw from.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        tasks: Mapping[str, Mapping[str, float]],
        texts: Sequence[Text] = (),
        text_share: float = 0.0,
    ) -> None:
        for name, source in sources.items():
            if source.conversations is None:
                check_fitness(source, tasks.get(name, {}))
        if text_share > 0 and not texts:
            raise ConfigError(
                f"expected text for a text_share of {text_share}, got none; add a source with "
                "`conversations`, or set text_share to 0"
            )
        self.sources = sources
        self.processor = processor
        self.tasks = tasks
        self.texts = texts
        self.text_share = text_share

    def about(self, sample: Sample, rng: np.random.Generator) -> Conversation | None:
        """What is told of a clip, or one of its source's tasks put to it; `None` where it is fit
        for none. Its audio part is a placeholder.
        """
        source = self.sources[sample.source]
        if source.conversations is not None:
            return source.conversations[sample.index]
        drawn = draw_task(source.clips[sample.index], None, self.tasks[sample.source], rng)
        return None if drawn is None else drawn[1]

    def text(self, rng: np.random.Generator) -> list[EncodedConversation]:
        """As many texts as fall to one clip."""
        count = int(self.text_share) + (rng.random() < self.text_share % 1)
        chosen = [self.texts[int(rng.integers(len(self.texts)))] for _ in range(count)]
        return [encode_text(each, self.processor) for each in chosen]


def encode_text(text: Text, processor: EurekaAudioProcessor) -> EncodedConversation:
    """A conversation of text, its last answer to be learnt; or a line, learnt as a whole."""
    if isinstance(text, Conversation):
        encoded = processor.encode(text, add_generation_prompt=False)
        ids, labels = encoded.input_ids, encoded.labels
    else:
        end = token_id(processor.tokenizer, END_OF_TEXT)
        ids = labels = (*encode_plain(processor.tokenizer, text), end)
    return EncodedConversation(ids[:MAX_TEXT_TOKENS], labels[:MAX_TEXT_TOKENS], (), 0.0)


def check_fitness(source: ClipSource, weights: Mapping[str, float]) -> None:
    """Put some clips of a source to its tasks, all over it, and say how many are fit for none."""
    rng = np.random.default_rng(0)
    tried = source.clips[:: max(1, len(source.clips) // FITNESS_CLIPS)]
    unfit = sum(draw_task(clip, None, weights, rng) is None for clip in tried)
    if unfit == len(tried):
        raise ConfigError(
            f"expected tasks for source {source.name!r} that suit its clips, got {dict(weights)}, "
            f"which suit none of {unfit} clips tried"
        )
    if unfit:
        logger.warning(
            "%s: of %d clips tried, %d are fit for none of its tasks; such clips are left out",
            source.name,
            len(tried),
            unfit,
        )
