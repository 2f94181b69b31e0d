"""Clips, and conversations about them, for training by the clock (`by_the_clock.py`).

Clips are read where they lie, or packed first: compressed to Opus with their records, because they
may have to travel to a GPU. Of those that are only read there is no more than the record.
"""

import io
import json
import lzma
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, Pool
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from eureka_audio.audio import clock
from eureka_audio.config import load_config
from eureka_audio.data.augment import Timeline
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.records import AudioClip
from eureka_audio.synthesis.parts import Material
from eureka_audio.synthesis.scenes import compose_scene, render_sound
from eureka_audio.synthesis.splices import SpokenWords, splice
from eureka_audio.tasks import draw_task
from eureka_audio.text.chat import IGNORED_LABEL, encode_chat
from eureka_audio.training.guidance import SaidToken, as_places, audio_span, said_tokens
from eureka_audio.training.recipe import Recipe, read_clips
from eureka_audio.training.resident import ClipTargets, clip_targets
from eureka_audio.training.text_pretraining import encode_line

RECIPE = load_config(Recipe, Path(__file__).with_name("recipe.yaml"))
# Opus: libsndfile's compression level, 1 for 6 kbit/s, 0 for 256.
PACKED = {
    "synthetic": 0.981,
    "voices": 0.974,
    "sentences": 0.974,
    "digits": 0.968,
    "spoken_digits": 0.968,
    "sounds": 0.90,
    "instruments": 0.945,
}
READ_ONLY = ("readings",)  # phones without a sound
MADE = ("scenes", "rendered", "splices")  # composed anew where a pack has arrived
NUM_LINES = 60_000
# Conversations drawn ahead: a GPU does not wait for a processor to draw them.
TALKS_PER_CLIP = {
    "oracle": {
        "readings": 1,
        "synthetic": 2,
        "sentences": 3,
        "digits": 4,
        "spoken_digits": 2,
        "scenes": 3,
        "rendered": 3,
        "sounds": 6,
        "instruments": 3,
    },
    "sft": {
        "splices": 2,
        "synthetic": 2,
        "voices": 4,
        "sentences": 5,
        "digits": 8,
        "spoken_digits": 4,
        "scenes": 4,
        "rendered": 3,
        "sounds": 16,
        "instruments": 8,
    },
}
FULL_SCALE = 32767
STARTED = time.perf_counter()


def say(*words: object) -> None:
    """Print with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:6.1f} s", *words, flush=True)


@dataclass
class World:
    """Everything to learn from; the worker processes see it, since it is filled before they are
    forked.

    Attributes:
        run: holds `processor`.
        processor: of the run.
        lines: plain text.
        sources: the source of each clip.
        clips: their records.
        waves: their samples.
    """

    run: Path
    processor: EurekaAudioProcessor
    lines: list[str]
    sources: list[str]
    clips: list[AudioClip]
    waves: list[NDArray[np.int16]]
    material: Material | None = None
    pack: Path | None = None
    words: SpokenWords | None = None


WORLD: World


def enter(world: World) -> None:
    """Make a world the one that worker processes see."""
    global WORLD
    WORLD = world


def workers() -> Pool:
    """Processes that see the world as it is now."""
    return multiprocessing.get_context("fork").Pool(max(2, (os.cpu_count() or 2) - 1))


# ---- clips where they lie, or packed ---------------------------------------------------------


def here(data: Path, recordings: Path, run: Path, most: int | None) -> World:
    """The recipe's clips, read where they lie."""
    jobs = _jobs([*PACKED, *MADE, *READ_ONLY], data, recordings, run, most)
    processor = EurekaAudioProcessor.from_pretrained(run / "processor")
    names, clips = [name for name, _ in jobs], [clip for _, clip in jobs]
    enter(World(run, processor, _text(run), names, clips, []))
    with workers() as pool:
        WORLD.waves.extend(pool.map(_read, jobs, chunksize=64))
    say("read", len(clips))
    return WORLD


def pack(folder: Path, data: Path, recordings: Path, run: Path, most: int | None) -> None:
    """Write audio.bin, clips.jsonl.xz, lines.txt.xz and processor/ into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs([*PACKED, *READ_ONLY], data, recordings, run, most)
    offset, rows = 0, []
    with (folder / "audio.bin").open("wb") as file, multiprocessing.Pool() as pool:
        for (name, clip), (packed, size) in zip(
            jobs, pool.imap(_compressed, jobs, chunksize=50), strict=True
        ):
            file.write(packed)
            record = clip.model_dump_json(exclude_defaults=True)
            rows.append(json.dumps([name, offset, len(packed), size, record]))
            offset += len(packed)
    _write_lines(folder / "clips.jsonl.xz", rows)
    _write_lines(folder / "lines.txt.xz", _text(run))
    shutil.copytree(run / "processor", folder / "processor", dirs_exist_ok=True)
    say(f"packed {len(rows)} clips, {offset / 2**20:.1f} MiB")


def unpack(folder: Path, work: Path, num_scenes: int, num_rendered: int, num_splices: int) -> World:
    """The clips of a pack, written into `work`; scenes and splices composed of them, and sounds
    rendered.
    """
    rows = [json.loads(line) for line in _read_lines(folder / "clips.jsonl.xz")]
    work.mkdir(parents=True, exist_ok=True)
    clips = [
        AudioClip.model_validate_json(row[4]).model_copy(update={"path": str(work / f"{i}.wav")})
        for i, row in enumerate(rows)
    ]
    heard = [clip for clip, row in zip(clips, rows, strict=True) if row[0] not in READ_ONLY]
    world = World(
        folder,
        EurekaAudioProcessor.from_pretrained(folder / "processor"),
        _read_lines(folder / "lines.txt.xz"),
        [row[0] for row in rows],
        clips,
        [],
        Material("train", tuple(heard)),
        folder,
    )
    enter(world)
    with workers() as pool:
        jobs = [(i, *row[1:4]) for i, row in enumerate(rows)]
        WORLD.waves.extend(pool.map(_decode, jobs, chunksize=32))
    say("decoded", len(rows))
    made = [("scenes", i) for i in range(num_scenes)] + [
        ("rendered", i) for i in range(num_rendered)
    ]
    spoken = RECIPE.splices["splices"].of
    aligned = {i: clip for i, clip in enumerate(clips) if rows[i][0] == spoken and clip.phones}
    if aligned:
        WORLD.words = SpokenWords(aligned)
        made += [("splices", index) for index in range(num_splices)]
    with workers() as pool:
        for source, wave, clip in pool.imap(_compose, made, chunksize=16):
            WORLD.sources.append(source)
            WORLD.waves.append(wave)
            WORLD.clips.append(clip)
    say("composed", len(made))
    return WORLD


def targets_of(world: World, pool: Pool) -> list[ClipTargets]:
    """What is to be learnt of each clip."""
    return pool.map(_targets, range(len(world.clips)), chunksize=128)


def _jobs(
    names: Sequence[str], data: Path, recordings: Path, run: Path, most: int | None
) -> list[tuple[str, AudioClip]]:
    """The clips of some sources, at most so many of each."""
    return [
        (name, clip)
        for name in names
        for clip in read_clips(RECIPE, name, data, recordings, run)[:most]
    ]


def _mono(path: str) -> tuple[NDArray[np.float32], int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate


def _read(job: tuple[str, AudioClip]) -> NDArray[np.int16]:
    name, clip = job
    return np.empty(0, np.int16) if name in READ_ONLY else _as_int16(_mono(clip.path)[0])


def _as_int16(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    return (np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16)


def _compressed(job: tuple[str, AudioClip]) -> tuple[bytes, int]:
    """A clip as Ogg Opus, and its number of samples; nothing of one that is only read."""
    name, clip = job
    if name in READ_ONLY:
        return b"", 0
    samples, rate = _mono(clip.path)
    file = io.BytesIO()
    soundfile.write(
        file,
        samples,
        rate,
        format="OGG",
        subtype="OPUS",
        compression_level=PACKED[name],
    )
    return file.getvalue(), len(samples)


def _decode(job: tuple[int, int, int, int]) -> NDArray[np.int16]:
    """Samples of a packed clip, which are also written where its record says, if it has any."""
    index, offset, size, num_samples = job
    if not size:
        return np.empty(0, np.int16)
    assert WORLD.pack is not None
    with (WORLD.pack / "audio.bin").open("rb") as file:
        file.seek(offset)
        samples, rate = soundfile.read(io.BytesIO(file.read(size)), dtype="int16")
    fitted = np.zeros(num_samples, np.int16)
    fitted[: min(num_samples, len(samples))] = samples[:num_samples]
    soundfile.write(WORLD.clips[index].path, fitted, rate, subtype="PCM_16")
    return fitted


def _compose(job: tuple[str, int]) -> tuple[str, NDArray[np.int16], AudioClip]:
    source, index = job
    if source == "rendered":
        waveform, clip = render_sound(RECIPE.seed, index, "train")
    elif source == "splices":
        assert WORLD.words is not None
        waveform, clip = splice(RECIPE.seed, index, WORLD.words, _waveform)
    else:
        assert WORLD.material is not None
        waveform, clip = compose_scene(RECIPE.seed, index, WORLD.material)
    return source, _as_int16(waveform), clip


def _waveform(index: int) -> NDArray[np.float32]:
    return np.asarray(WORLD.waves[index] / np.float32(FULL_SCALE), np.float32)


def _targets(index: int) -> ClipTargets:
    torch.set_num_threads(1)
    clip = WORLD.clips[index]
    num_samples = len(WORLD.waves[index]) or round(clip.duration_seconds * clock.SAMPLING_RATE)
    return clip_targets(clip, num_samples)


def _text(run: Path) -> list[str]:
    """Some of a run's text, in a seeded order."""
    lines = [line for line in (run / "text.txt").read_text().splitlines() if line.strip()]
    random.Random(0).shuffle(lines)
    return lines[:NUM_LINES]


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes(lzma.compress("\n".join(lines).encode()))


def _read_lines(path: Path) -> list[str]:
    return lzma.decompress(path.read_bytes()).decode().splitlines()


# ---- conversations -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Talk:
    """A conversation round one audio: ids before its placeholders, ids after, and the labels of
    those after; and which of them are said when, counted from the first one after.
    """

    task: str
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    labels: NDArray[np.int32]
    said: list[SaidToken]


def draw_talk(job: tuple[str, int, int]) -> Talk | None:
    """One conversation about a clip, from the stage, the clip's index and the draw's number."""
    stage, index, draw = job
    tasks = RECIPE.oracles["oracle"].tasks if stage == "oracle" else RECIPE.stages["sft"].tasks
    weights = tasks.get(WORLD.sources[index], {})
    drawn = draw_task(WORLD.clips[index], None, weights, np.random.default_rng([draw, index]))
    if drawn is None:
        return None
    clip, processor = WORLD.clips[index], WORLD.processor
    tokenizer = processor.tokenizer
    chat = encode_chat(drawn[1], tokenizer, [[1]], add_generation_prompt=False)
    place = chat.input_ids.index(processor.audio_token_id)
    said = [
        token._replace(position=token.position - place - 1)
        for token in said_tokens(chat.input_ids, chat.labels, clip, tokenizer)
    ]
    return Talk(
        drawn[0],
        np.array(chat.input_ids[:place], np.int32),
        np.array(chat.input_ids[place + 1 :], np.int32),
        np.array(chat.labels[place + 1 :], np.int32),
        said,
    )


class Talks:
    """Conversations of one stage and lines of text, ready to become a batch.

    Args:
        world: the clips.
        stage: whose tasks: "oracle" or "sft".
        rng: decides which conversations and lines.
        device: where batches go.
        pool: draws conversations ahead; without it each is drawn when it is needed.
    """

    def __init__(
        self,
        world: World,
        stage: str,
        rng: np.random.Generator,
        device: torch.device,
        pool: Pool | None,
    ) -> None:
        self.world, self.stage, self.rng, self.device = world, stage, rng, device
        self._ahead: dict[int, list[Talk]] | None = None
        self._drawing: AsyncResult[list[Talk | None]] | None = None
        self._jobs: list[tuple[str, int, int]] = []
        if pool is not None:
            self._jobs = [
                (stage, index, draw)
                for index, source in enumerate(world.sources)
                for draw in range(TALKS_PER_CLIP[stage].get(source, 0))
            ]
            self._drawing = pool.map_async(draw_talk, self._jobs, chunksize=128)

    def about(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[Talk]]:
        """Those of the clips that are fit for a task, with a conversation about each."""
        drawn = [(int(index), self._draw(int(index))) for index in ids]
        fit = [(index, talk) for index, talk in drawn if talk is not None]
        return np.array([index for index, _ in fit]), [talk for _, talk in fit]

    def _draw(self, index: int) -> Talk | None:
        if self._drawing is None:
            return draw_talk((self.stage, index, int(self.rng.integers(2**31))))
        if self._ahead is None:
            self._ahead = {}
            for (_, of_clip, _), talk in zip(self._jobs, self._drawing.get(), strict=True):
                if talk is not None:
                    self._ahead.setdefault(of_clip, []).append(talk)
        some = self._ahead.get(index)
        return some[int(self.rng.integers(len(some)))] if some else None

    def rows(
        self,
        talks: Sequence[Talk],
        num_tokens: Sequence[int],
        speeds: Sequence[float],
        num_lines: int,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Ids `(B, T)`, mask and labels of a conversation about each clip, then of lines of text;
        and where to listen, `(G, 4)`.
        """
        tokenizer, audio_token_id = self._tokenizer, self.world.processor.audio_token_id
        chosen = self.rng.integers(len(self.world.lines), size=num_lines)
        lines = [encode_line(self.world.lines[int(i)], tokenizer).input_ids for i in chosen]
        sizes = [
            len(talk.before) + count + len(talk.after)
            for talk, count in zip(talks, num_tokens, strict=True)
        ]
        width = clock.ceil_div(max([*sizes, *map(len, lines)]), 16) * 16
        input_ids = np.full((len(talks) + len(lines), width), int(tokenizer.pad_token_id), np.int64)
        labels, mask = np.full_like(input_ids, IGNORED_LABEL), np.zeros_like(input_ids)
        places = []
        for row, (talk, count, size, speed) in enumerate(
            zip(talks, num_tokens, sizes, speeds, strict=True)
        ):
            first = len(talk.before)
            input_ids[row, :first] = talk.before
            input_ids[row, first : first + count] = audio_token_id
            input_ids[row, first + count : size] = talk.after
            labels[row, first + count : size] = talk.labels
            mask[row, :size] = 1
            for token in talk.said:
                begin, end = audio_span(token, Timeline(speed, 0.0), count)
                query = first + count + token.position - 1
                places.append((row, query, first + begin, first + end))
        for row, line in enumerate(lines, start=len(talks)):
            input_ids[row, : len(line)] = labels[row, : len(line)] = line
            mask[row, : len(line)] = 1
        arrays = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
        rows = {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}
        return rows, as_places(places).to(self.device)

    @property
    def _tokenizer(self) -> Any:
        return self.world.processor.tokenizer
