"""Before a model is trained: has its training data heard the test?

The answer is written to ``contamination.json`` in the run's folder, and found there again when the
same run goes on, so that clips are compared once and not at every start.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from eureka_audio.data.evaluation_set import dataset_of, read_clips
from eureka_audio.data.recordings import DATASETS
from eureka_audio.durable import atomic_write
from eureka_audio.evaluation.contamination import (
    Contamination,
    Decode,
    Overlap,
    find_overlaps,
)
from eureka_audio.records import AudioClip
from eureka_audio.training.conversations import read_told
from eureka_audio.training.recipe import Recipe

logger = logging.getLogger(__name__)

OnOverlap = Literal["refuse", "report", "ignore"]
REPORT = "contamination.json"
MAX_SHOWN = 5


def training_clips(recipe: Recipe, data: Path, recordings: Path | None) -> list[AudioClip]:
    """Every clip that some stage of a recipe learns from, once."""
    names = {name for stage in recipe.stages.values() for name in stage.source_names}
    clips: dict[str, AudioClip] = {}
    for name in sorted(names):
        source = recipe.sources[name]
        if source.conversations is None:
            clips |= {clip.path: clip for clip in source.read(data, recordings)}
        else:
            clips |= {clip.path: clip for clip in read_told(data / source.conversations)[0]}
    return list(clips.values())


def evaluation_clips(
    sources: Sequence[Path], data: Path, recordings: Path | None
) -> list[AudioClip]:
    """What training must not have met.

    Args:
        sources: packs of recordings (their test splits), manifests, or folders with one. When there
            are none: the test split of the run's own recordings, and the manifests of its own
            synthetic test sets.
        data: the folder of what was synthesised.
        recordings: the pack of real recordings.
    """
    if not sources:
        own = sorted(data.glob("*/test/manifest.jsonl"))
        packs = [recordings] if recordings is not None and _is_pack(recordings) else []
        return read_clips(packs, "test") + read_clips(own)
    clips = []
    for source in sources:
        is_pack = source.is_dir() and not (source / "manifest.jsonl").is_file()
        clips += read_clips([source], "test" if is_pack else None)
    return clips


def _is_pack(folder: Path) -> bool:
    return any((folder / name / "manifest.jsonl").is_file() for name in DATASETS)


def check_overlap(
    trained: Sequence[AudioClip],
    evaluated: Sequence[AudioClip],
    run: Path,
    decode: Decode | None,
    on_overlap: OnOverlap,
) -> Contamination:
    """Compare, write the report, and refuse to go on where training has met the test.

    Sentences that one published data set gives to different speakers of its training and its test
    split are reported and not refused: they are part of that benchmark, whoever trains on it.

    Args:
        trained: clips of the recipe.
        evaluated: clips of the evaluation sets.
        run: the run's folder, where the report is kept.
        decode: a file to samples at 16 kHz.
        on_overlap: what to do when something is shared; ``report`` goes on.

    Raises:
        EvaluationError: something is shared, and ``on_overlap`` is ``refuse``.
    """
    key = _key(trained, evaluated)
    found = _remembered(run / REPORT, key)
    if found is None:
        logger.info(
            "comparing %s training clips with %s evaluation clips",
            f"{len(trained):,}",
            f"{len(evaluated):,}",
        )
        with tqdm(total=len(trained) + len(evaluated), unit="clip", disable=None) as bar:
            found = find_overlaps(
                _placed(trained), _placed(evaluated), decode, lambda: (bar.update(), None)[1]
            )
    published = _published(found.overlaps, trained, evaluated)
    with atomic_write(run / REPORT) as stream:
        report = {"key": key, **asdict(found), "shared_by_publisher": len(published)}
        stream.write(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _tell(found, len(published), run / REPORT)
    if on_overlap == "refuse":
        ours = tuple(overlap for overlap in found.overlaps if overlap not in published)
        Contamination(found.num_trained, found.num_evaluated, ours).check()
    return found


def _tell(found: Contamination, num_published: int, report: Path) -> None:
    if found.clean:
        logger.info("training and evaluation share nothing")
        return
    logger.warning(
        "training and evaluation share %d clips or sentences (%d of them by the split of a"
        " published data set); all are in %s",
        len(found.overlaps),
        num_published,
        report,
    )
    for overlap in found.overlaps[:MAX_SHOWN]:
        logger.warning(
            "  %s = %s by %s: %s",
            overlap.evaluated,
            overlap.trained,
            overlap.mark,
            overlap.detail,
        )


def _published(
    overlaps: Iterable[Overlap], trained: Sequence[AudioClip], evaluated: Sequence[AudioClip]
) -> set[Overlap]:
    """Shared sentences of two splits of one published data set."""
    learnt = {clip.id: dataset_of(clip) for clip in trained}
    judged = {clip.id: dataset_of(clip) for clip in evaluated}
    return {
        overlap
        for overlap in overlaps
        if overlap.mark == "words"
        and learnt[overlap.trained] == judged[overlap.evaluated]
        and judged[overlap.evaluated] in DATASETS
    }


def _key(trained: Sequence[AudioClip], evaluated: Sequence[AudioClip]) -> str:
    """SHA-256 over what decides the outcome: names, words and sizes of all clips."""
    digest = hashlib.sha256()
    for side in (trained, evaluated):
        for clip in sorted(side, key=lambda clip: clip.path):
            path = Path(clip.path)
            size = path.stat().st_size if path.is_file() else -1
            row = [clip.id, clip.path, clip.transcript, size]
            digest.update(json.dumps(row).encode() + b"\n")
        digest.update(b"against\n")
    return digest.hexdigest()


def _remembered(path: Path, key: str) -> Contamination | None:
    """The outcome of an earlier start of this run over the same clips."""
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if report["key"] != key:
            return None
        overlaps = tuple(Overlap(**row) for row in report["overlaps"])
        return Contamination(
            report["num_trained"], report["num_evaluated"], overlaps, tuple(report["unreadable"])
        )
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not one of ours
        return None


def _placed(clips: Sequence[AudioClip]) -> Iterator[tuple[AudioClip, Path]]:
    return ((clip, Path(clip.path)) for clip in clips)
