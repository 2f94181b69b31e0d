"""Our own evaluation set: what recordings and composed scenes let a model be asked.

Questions with choices, transcripts and captions, each judged by the benchmark of its kind.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from eureka_audio import manifest
from eureka_audio.audio import clock
from eureka_audio.audio.decode import load_audio
from eureka_audio.data.recordings import recordings
from eureka_audio.evaluation.trials import Trial
from eureka_audio.records import AudioClip, Split
from eureka_audio.tasks.captions import caption_phrases
from eureka_audio.tasks.evaluation import evaluation_items
from eureka_audio.text.chat import CAPTION_PROMPT, CHOICES_PROMPT, TRANSCRIBE_SYSTEM_PROMPT

SCENES, JOINED = "scenes", "joined"
OWN_SPEECH, OWN_QUESTIONS, OWN_CAPTIONS = "eureka_speech", "eureka_questions", "eureka_captions"
OWN_SILENCE = "eureka_no_speech"
SINGING = ("singing", "vocals", "song")  # in a label: there may be words in it


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
        if is_wordless(clip):
            yield silence_trial(clip)
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
        if clip.speaker is not None and clip.speaker.age_group:
            fields["age_group"] = clip.speaker.age_group
        if clip.dense_caption:
            fields["description"] = clip.dense_caption
        yield Trial(OWN_QUESTIONS, f"{clip.id}/{name}", prompt, "", Path(clip.path), fields)


def transcript_trial(clip: AudioClip) -> Trial:
    """What is said; languages other than English have a benchmark of their own."""
    benchmark = OWN_SPEECH if clip.language == "en" else f"asr_{clip.language}"
    fields = {"reference": clip.transcript, "dataset": dataset_of(clip)}
    return Trial(benchmark, clip.id, "", TRANSCRIBE_SYSTEM_PROMPT, Path(clip.path), fields)


def is_wordless(clip: AudioClip) -> bool:
    """Whether it is certain that no word is said or sung; of composed scenes captions are asked."""
    labels = [event.label for event in clip.events or ()]
    return (
        clip.is_speechless
        and not clip.dense_caption
        and not any(part in label for label in labels for part in SINGING)
    )


def silence_trial(clip: AudioClip) -> Trial:
    """What is said where nobody speaks: nothing."""
    fields = {"dataset": dataset_of(clip)}
    path = Path(clip.path)
    return Trial(OWN_SILENCE, f"{clip.id}/silence", "", TRANSCRIBE_SYSTEM_PROMPT, path, fields)


def joined_trials(
    trials: Sequence[Trial], folder: Path, seconds: float = 60.0, seed: int = 0
) -> Iterator[Trial]:
    """Recordings of some length, made of clips that are asked about one by one as well.

    Clips of one data set are put one after another, in an order that the seed gives; what is said
    is what is said in each.

    Args:
        trials: transcripts to write; others are passed over.
        folder: where the recordings are written.
        seconds: a recording ends with the clip that makes it so long.
        seed: of the order.
    """
    spoken: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.is_transcription and trial.fields.get("reference"):
            spoken.setdefault((trial.benchmark, str(trial.fields["dataset"])), []).append(trial)
    folder.mkdir(parents=True, exist_ok=True)
    for (benchmark, dataset), parts in spoken.items():
        order = np.random.default_rng(seed).permutation(len(parts))
        waveforms: list[NDArray[np.float32]] = []
        members: list[Trial] = []
        for place, index in enumerate(order):
            members.append(parts[index])
            waveforms.append(load_audio(parts[index].audio).waveform)
            length = sum(map(len, waveforms)) / clock.SAMPLING_RATE
            if length < seconds and place + 1 < len(order):
                continue
            uid = f"joined/{dataset}/{members[0].uid}"
            path = folder / f"{hashlib.sha256(uid.encode()).hexdigest()[:16]}.flac"
            soundfile.write(path, np.concatenate(waveforms), clock.SAMPLING_RATE)
            fields = {
                "reference": " ".join(str(member.fields["reference"]) for member in members),
                "dataset": JOINED,
                "joined_of": dataset,
                "members": [member.uid for member in members],
            }
            yield Trial(benchmark, uid, "", TRANSCRIBE_SYSTEM_PROMPT, path, fields)
            waveforms, members = [], []


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
