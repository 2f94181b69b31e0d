"""A benchmark's data, as it is published or as a manifest, becomes trials."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eureka_audio.errors import EvaluationError
from eureka_audio.evaluation.benchmarks import Benchmark
from eureka_audio.evaluation.items import Item, read_items
from eureka_audio.evaluation.trials import Trial
from eureka_audio.manifest import audio_path, read_manifest
from eureka_audio.records import AudioClip

# Inside a folder, the first of these that is there.
_METADATA = {
    "mmau": ("mmau-test-mini.json",),
    "mmar": ("MMAR-meta.jsonl", "MMAR-meta.json"),
    "ifeval": ("ifeval_input_data.jsonl",),
    "advbench": ("advbench_harmful_behaviors.csv",),
}
_MANIFESTS = ("manifest.jsonl", "items.jsonl")


@dataclass(frozen=True)
class Prompts:
    """The words put to a model.

    Attributes:
        transcribe: the system prompt that asks for a transcript.
        question: in place of the benchmark's own prompt; ``{question}`` and ``{choices}`` are
            filled in. Empty for the benchmark's own.
    """

    transcribe: str
    question: str = ""


def benchmark_trials(benchmark: Benchmark, data: Path, prompts: Prompts) -> Iterator[Trial]:
    """The trials of one benchmark.

    Args:
        benchmark: which.
        data: its folder in the public layout (MMAU, MMAR, LibriSpeech), its metadata file, a
            manifest of clips with transcripts, or a file of items: JSON lines with ``uid``,
            ``audio`` beside the file, and what the scorer needs.
        prompts: the words to use.

    Raises:
        EvaluationError: there is no such data, or it has another layout.
        ManifestError: a line of a manifest is wrong.
    """
    source = _find(benchmark, data)
    if benchmark.kind == "transcript":
        yield from _transcripts(benchmark, source, prompts.transcribe)
        return
    template = prompts.question or benchmark.prompt
    items = _own_items(source) if _is_item_file(source) else read_items(benchmark, source)
    for item in items:
        audio = item.pop("audio", None)
        fields = {name: value for name, value in item.items() if name not in ("uid", "prediction")}
        if audio is None:
            prompt = _text_prompt(item)
        else:
            prompt = filled(template, item.get("question"), item.get("choices"))
        path = None if audio is None else (source.parent / audio).resolve()
        yield Trial(benchmark.name, str(item["uid"]), prompt, "", path, fields)


def filled(template: str, question: Any, choices: Any) -> str:
    """A prompt with its question and choices in place.

    Example:
        >>> filled("{question} One of: {choices}", "Which?", ["a", "b"])
        'Which? One of: a; b'
    """
    listed = "; ".join(choices) if isinstance(choices, list | tuple) else ""
    # Both at once: a question may hold the word {choices}.
    before, _, after = template.partition("{question}")
    asked = question if "{question}" in template and isinstance(question, str) else ""
    return before.replace("{choices}", listed) + asked + after.replace("{choices}", listed)


def _text_prompt(item: Item) -> str:
    """What an item without audio asks in text."""
    prompt = item.get("prompt")
    if not isinstance(prompt, str):
        raise EvaluationError(
            f"expected audio or a prompt in the item {item.get('uid')!r}, got neither; correct it"
        )
    return prompt


def _find(benchmark: Benchmark, data: Path) -> Path:
    """The metadata, item or manifest file, or a folder of LibriSpeech."""
    if data.is_file():
        return data
    names = (*_METADATA.get(benchmark.name.removesuffix("_caption"), ()), *_MANIFESTS)
    for name in names:
        if (data / name).is_file():
            return data / name
    if benchmark.kind == "transcript" and data.is_dir() and any(data.glob("*/*/*.trans.txt")):
        return data
    where = f"; it comes from {benchmark.source}" if benchmark.source else ""
    raise EvaluationError(
        f"expected the data of {benchmark.title} at {data}: a file, or a folder with"
        f" {' or '.join(names)}, found neither{where}"
    )


def _is_item_file(path: Path) -> bool:
    """Whether the file holds items of ours rather than the published metadata."""
    if path.suffix != ".jsonl":
        return False
    with path.open(encoding="utf-8") as stream:
        first = stream.readline()
    return '"uid"' in first


def _own_items(path: Path) -> Iterator[Item]:
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                item["uid"]
            except (ValueError, KeyError, TypeError) as error:
                raise EvaluationError(
                    f"{path}:{number}: expected an item with uid as JSON, got something else"
                    f" ({error!r}); correct the line"
                ) from error
            yield item


def _transcripts(benchmark: Benchmark, source: Path, system: str) -> Iterator[Trial]:
    """Clips with a transcript; a clip without one is left out."""
    clips = _librispeech(source) if source.is_dir() else read_manifest(source, AudioClip)
    for clip in clips:
        if clip.transcript is not None:
            path = clip.path if source.is_dir() else audio_path(clip, source)
            fields = {"reference": clip.transcript, "subset": clip.source or clip.split}
            yield Trial(benchmark.name, clip.id, "", system, Path(path).resolve(), fields)


def _librispeech(folder: Path) -> Iterator[AudioClip]:
    """``<speaker>/<chapter>/<name>.flac`` beside ``<speaker>-<chapter>.trans.txt``."""
    for listing in sorted(folder.glob("*/*/*.trans.txt")):
        for line in listing.read_text(encoding="utf-8").splitlines():
            name, _, words = line.partition(" ")
            path = str(listing.parent / f"{name}.flac")
            # The length is not published beside the text and is not needed here.
            yield AudioClip(id=name, path=path, duration_seconds=1.0, transcript=words)
