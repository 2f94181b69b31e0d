"""Our own evaluation set: what recordings and composed scenes let a model be asked.

Questions with choices, transcripts and captions, each judged by the benchmark of its kind.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from eureka_audio import manifest
from eureka_audio.data.recordings import recordings
from eureka_audio.evaluation.trials import Trial
from eureka_audio.records import AudioClip, Split
from eureka_audio.tasks.captions import caption_phrases
from eureka_audio.tasks.evaluation import evaluation_items
from eureka_audio.text.chat import CAPTION_PROMPT, CHOICES_PROMPT, TRANSCRIBE_SYSTEM_PROMPT

SCENES = "scenes"
OWN_SPEECH, OWN_QUESTIONS, OWN_CAPTIONS = "eureka_speech", "eureka_questions", "eureka_captions"


def read_clips(sources: Iterable[Path], split: Split | None = None) -> list[AudioClip]:
    """Clips of packs of recordings and of manifests, with absolute paths.

    Args:
        sources: a folder is a pack of recordings unless it holds ``manifest.jsonl``; a file is a
            manifest.
        split: only these.

    Raises:
        ManifestError: neither, or a malformed line.
    """
    clips = []
    for source in sources:
        is_pack = source.is_dir() and not (source / manifest.MANIFEST_NAME).is_file()
        clips += recordings(source, split) if is_pack else manifest.read_clips(source, split)
    return clips


def evaluation_trials(clips: Sequence[AudioClip]) -> Iterator[Trial]:
    """All that can be asked about these clips and judged without a person."""
    labels = sorted({event.label for clip in clips for event in clip.events or ()})
    phrases = {label: caption_phrases(label) for label in labels}
    for clip in clips:
        yield from question_trials(clip)
        if clip.transcript is not None and clip.language:
            yield transcript_trial(clip)
        if clip.events and clip.dense_caption:
            yield _caption_trial(clip, phrases)


def question_trials(clip: AudioClip) -> Iterator[Trial]:
    """The fixed questions with choices."""
    for name, question, choices, answer in evaluation_items(clip):
        if choices is None:
            continue
        prompt = CHOICES_PROMPT.format(question=question, choices=", ".join(choices))
        fields: dict[str, object] = {
            "question": question,
            "choices": list(choices),
            "answer": answer,
            "skill": name,
            "dataset": dataset_of(clip),
        }
        if clip.dense_caption:
            fields["description"] = clip.dense_caption
        yield Trial(OWN_QUESTIONS, f"{clip.id}/{name}", prompt, "", Path(clip.path), fields)


def transcript_trial(clip: AudioClip) -> Trial:
    """What is said; languages other than English have a benchmark of their own."""
    benchmark = OWN_SPEECH if clip.language == "en" else f"asr_{clip.language}"
    fields = {"reference": clip.transcript, "dataset": dataset_of(clip)}
    return Trial(benchmark, clip.id, "", TRANSCRIBE_SYSTEM_PROMPT, Path(clip.path), fields)


def _caption_trial(clip: AudioClip, phrases: Mapping[str, Sequence[str]]) -> Trial:
    fields = {
        "reference": clip.dense_caption,
        "events": sorted({event.label for event in clip.events or ()}),
        "background": clip.background,
        "dataset": dataset_of(clip),
        "phrases": phrases,
    }
    return Trial(OWN_CAPTIONS, clip.id, CAPTION_PROMPT, "", Path(clip.path), fields)


def dataset_of(clip: AudioClip) -> str:
    """A short name of where a clip comes from, to group by."""
    if clip.source.startswith("composed of"):
        return SCENES
    head, colon, _ = clip.source.partition(":")
    return head if colon and " " not in head else "synthetic"
