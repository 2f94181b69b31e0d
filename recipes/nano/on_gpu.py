"""The life of nano on one GPU, by the clock: a few minutes give what two CPU cores take days for.

    python recipes/nano/on_gpu.py pack --recordings DIR --run runs/nano --pack PACK
    python recipes/nano/on_gpu.py train --pack PACK --out DIR --seconds 600

`pack` compresses the training clips to Opus (they may have to travel), with their records, the
processor and the text of a run whose tokenizer stage is done, and the phones of real speech if its
alignment is. `train` decodes them, composes
scenes, keeps all of it on the GPU (`training/resident.py`) and trains: encoder under its heads,
decoder on the oracle, Stage 1, fine-tuning. Losses and parts are those of `recipe.yaml`; how much
of each source, how long a stage and how fast it learns are set here, since batches are ten times
larger.
"""

import argparse
import gzip
import io
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, Pool
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eureka_audio.audio import clock
from eureka_audio.config import load_config
from eureka_audio.data.augment import Timeline
from eureka_audio.data.mixture import MixturePlan
from eureka_audio.data.synthesis.parts import Material
from eureka_audio.data.synthesis.scenes import compose_scene, render_sound
from eureka_audio.data.tasks import draw_task
from eureka_audio.errors import TrainingError
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.records import AudioClip
from eureka_audio.text.chat import IGNORED_LABEL, encode_chat
from eureka_audio.training.encoder_pretraining import EncoderWithHeads
from eureka_audio.training.encoder_stage import look_through
from eureka_audio.training.guidance import SaidToken, as_places, audio_span, said_tokens
from eureka_audio.training.heads import EncoderHeadsConfig
from eureka_audio.training.local_start import start_local
from eureka_audio.training.multimodal import MultimodalModel
from eureka_audio.training.optimizer import OptimizerConfig, build_optimizers
from eureka_audio.training.oracle import OracleModel
from eureka_audio.training.recipe import Recipe, read_clips
from eureka_audio.training.resident import ResidentClips, clip_targets
from eureka_audio.training.stages import Workspace, match_loudness
from eureka_audio.training.text_pretraining import encode_line
from eureka_audio.training.trainer import TrainerConfig, train_step

RECIPE = load_config(Recipe, Path(__file__).with_name("recipe.yaml"))
# Opus: libsndfile's compression level, 1 for 6 kbit/s, 0 for 256.
PACKED = {
    "synthetic": 0.981,
    "sentences": 0.974,
    "digits": 0.968,
    "sounds": 0.90,
    "instruments": 0.945,
}
NUM_LINES = 60_000
TALKS_PER_CLIP = {
    "oracle": {
        "synthetic": 2,
        "sentences": 3,
        "scenes": 3,
        "rendered": 3,
        "sounds": 6,
        "instruments": 3,
    },
    "sft": {
        "synthetic": 2,
        "sentences": 5,
        "digits": 8,
        "scenes": 4,
        "rendered": 3,
        "sounds": 16,
        "instruments": 8,
    },
}
SHARES = {"encoder": 0.42, "oracle": 0.2, "stage1": 0.05}  # of the time; fine-tuning has the rest
MAX_FAILED_STEPS = 20
STARTED = time.perf_counter()


def say(*words: object) -> None:
    """Print with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:6.1f} s", *words, flush=True)


# ---- packing -----------------------------------------------------------------------------------


def pack(args: argparse.Namespace) -> None:
    """Write audio.bin, clips.jsonl.gz, lines.txt.gz and processor/."""
    args.pack.mkdir(parents=True, exist_ok=True)
    jobs = [
        (name, clip)
        for name in PACKED
        for clip in read_clips(RECIPE, name, args.data, args.recordings, args.run_folder)[
            : args.most
        ]
    ]
    offset, rows = 0, []
    with (args.pack / "audio.bin").open("wb") as file, multiprocessing.Pool() as pool:
        for (name, clip), (data, size) in zip(
            jobs, pool.imap(_compressed, jobs, chunksize=50), strict=True
        ):
            file.write(data)
            record = clip.model_dump_json(exclude_defaults=True)
            rows.append(json.dumps([name, offset, len(data), size, record]))
            offset += len(data)
    _write_lines(args.pack / "clips.jsonl.gz", rows)
    lines = [
        line for line in (args.run_folder / "text.txt").read_text().splitlines() if line.strip()
    ]
    random.Random(0).shuffle(lines)
    _write_lines(args.pack / "lines.txt.gz", lines[:NUM_LINES])
    shutil.copytree(args.run_folder / "processor", args.pack / "processor", dirs_exist_ok=True)
    say(f"packed {len(rows)} clips, {offset / 2**20:.1f} MiB")


def _compressed(job: tuple[str, AudioClip]) -> tuple[bytes, int]:
    """A clip as Ogg Opus, and its number of samples."""
    name, clip = job
    samples, rate = soundfile.read(clip.path, dtype="float32", always_2d=True)
    file = io.BytesIO()
    soundfile.write(
        file,
        samples.mean(axis=1),
        rate,
        format="OGG",
        subtype="OPUS",
        compression_level=PACKED[name],
    )
    return file.getvalue(), len(samples)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def _read_lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


# ---- clips and conversations, made by many processes ---------------------------------------------


@dataclass
class World:
    """What the worker processes see; filled before they are forked."""

    pack: Path
    processor: EurekaAudioProcessor
    sources: list[str]
    clips: list[AudioClip]
    waves: list[NDArray[np.int16]]
    material: Material


@dataclass(frozen=True)
class Talk:
    """A conversation round one audio: ids before its placeholders, ids after, and the labels of
    those after; and which of them are said when, counted from the first one after.
    """

    before: NDArray[np.int32]
    after: NDArray[np.int32]
    labels: NDArray[np.int32]
    said: list[SaidToken]


WORLD: World


def workers() -> Pool:
    """Processes that see the world as it is now."""
    return multiprocessing.get_context("fork").Pool(max(2, (os.cpu_count() or 2) - 1))


def gather(folder: Path, work: Path, num_scenes: int, num_rendered: int) -> None:
    """Decode the pack, compose scenes of it and render sounds."""
    global WORLD
    rows = [json.loads(line) for line in _read_lines(folder / "clips.jsonl.gz")]
    work.mkdir(parents=True, exist_ok=True)
    clips = [
        AudioClip.model_validate_json(row[4]).model_copy(update={"path": str(work / f"{i}.wav")})
        for i, row in enumerate(rows)
    ]
    processor = EurekaAudioProcessor.from_pretrained(folder / "processor")
    material = Material("train", tuple(clips))
    WORLD = World(folder, processor, [row[0] for row in rows], clips, [], material)
    with workers() as pool:
        jobs = [(i, *row[1:4]) for i, row in enumerate(rows)]
        WORLD.waves.extend(pool.map(_decode, jobs, chunksize=32))
    say("decoded", len(rows))
    made = [("scenes", i) for i in range(num_scenes)] + [
        ("rendered", i) for i in range(num_rendered)
    ]
    with workers() as pool:
        for source, wave, clip in pool.imap(_compose, made, chunksize=16):
            WORLD.sources.append(source)
            WORLD.waves.append(wave)
            WORLD.clips.append(clip)
    say("composed", len(made))


def _decode(job: tuple[int, int, int, int]) -> NDArray[np.int16]:
    """Samples of a packed clip, which are also written where its record says."""
    index, offset, size, num_samples = job
    with (WORLD.pack / "audio.bin").open("rb") as file:
        file.seek(offset)
        samples, rate = soundfile.read(io.BytesIO(file.read(size)), dtype="int16")
    fitted = np.zeros(num_samples, np.int16)
    fitted[: min(num_samples, len(samples))] = samples[:num_samples]
    soundfile.write(WORLD.clips[index].path, fitted, rate, subtype="PCM_16")
    return fitted


def _compose(job: tuple[str, int]) -> tuple[str, NDArray[np.int16], AudioClip]:
    source, index = job
    seed = RECIPE.seed
    if source == "scenes":
        waveform, clip = compose_scene(seed, index, WORLD.material)
    else:
        waveform, clip = render_sound(seed, index, "train")
    return source, (np.clip(waveform, -1, 1) * 32767).astype(np.int16), clip


def _targets(index: int) -> Any:
    torch.set_num_threads(1)
    return clip_targets(WORLD.clips[index], len(WORLD.waves[index]))


def _line(text: str) -> NDArray[np.int32]:
    return np.array(encode_line(text, WORLD.processor.tokenizer).input_ids, np.int32)


def _talk(job: tuple[str, int, int]) -> tuple[int, Talk | None]:
    """One conversation about a clip, drawn by its number."""
    stage, index, draw = job
    tasks = RECIPE.oracles["oracle"].tasks if stage == "oracle" else RECIPE.stages["sft"].tasks
    weights = tasks.get(WORLD.sources[index], {})
    drawn = draw_task(WORLD.clips[index], None, weights, np.random.default_rng([draw, index]))
    if drawn is None:
        return index, None
    processor = WORLD.processor
    chat = encode_chat(drawn[1], processor.tokenizer, [[1]], add_generation_prompt=False)
    place = chat.input_ids.index(processor.audio_token_id)
    parts = (chat.input_ids[:place], chat.input_ids[place + 1 :], chat.labels[place + 1 :])
    clip, tokenizer = WORLD.clips[index], processor.tokenizer
    said = [
        token._replace(position=token.position - place - 1)
        for token in said_tokens(chat.input_ids, chat.labels, clip, tokenizer)
    ]
    return index, Talk(*(np.array(part, np.int32) for part in parts), said)


def draw_talks(stage: str, pool: Pool) -> AsyncResult[list[tuple[int, Talk | None]]]:
    """Start drawing the conversations of a stage."""
    jobs = [
        (stage, index, draw)
        for index, source in enumerate(WORLD.sources)
        for draw in range(TALKS_PER_CLIP[stage].get(source, 0))
    ]
    return pool.map_async(_talk, jobs, chunksize=128)


class Talks:
    """Conversations by clip, and lines of text, ready to become a batch."""

    def __init__(
        self,
        drawn: Sequence[tuple[int, Talk | None]],
        lines: Sequence[NDArray[np.int32]],
        device: torch.device,
    ) -> None:
        self.of_clip: dict[int, list[Talk]] = {}
        for index, talk in drawn:
            if talk is not None:
                self.of_clip.setdefault(index, []).append(talk)
        self.lines = lines
        self.device = device
        self.rng = np.random.default_rng(RECIPE.seed)

    def fit(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the clips that have a conversation."""
        return np.array([index for index in ids if int(index) in self.of_clip])

    def rows(
        self,
        ids: NDArray[np.int64],
        num_tokens: Sequence[int],
        speeds: Sequence[float],
        num_lines: int,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Ids `(B, T)`, mask and labels of a conversation about each clip, then of lines of text;
        and where to listen, `(G, 4)`.
        """
        options = [self.of_clip[int(index)] for index in ids]
        talks = [some[int(self.rng.integers(len(some)))] for some in options]
        lines = [self.lines[int(i)] for i in self.rng.integers(len(self.lines), size=num_lines)]
        sizes = [
            len(talk.before) + count + len(talk.after)
            for talk, count in zip(talks, num_tokens, strict=True)
        ]
        width = clock.ceil_div(max([*sizes, *map(len, lines)]), 16) * 16
        tokenizer = WORLD.processor.tokenizer
        input_ids = np.full((len(talks) + len(lines), width), int(tokenizer.pad_token_id), np.int64)
        labels, mask = np.full_like(input_ids, IGNORED_LABEL), np.zeros_like(input_ids)
        places = []
        for row, (talk, count, size, speed) in enumerate(
            zip(talks, num_tokens, sizes, speeds, strict=True)
        ):
            first = len(talk.before)
            input_ids[row, :first] = talk.before
            input_ids[row, first : first + count] = WORLD.processor.audio_token_id
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


# ---- training ----------------------------------------------------------------------------------


def run_phase(
    name: str,
    model: nn.Module,
    batch: Callable[[float, int], dict[str, Any]],
    seconds: float,
    optimizer: OptimizerConfig,
    hold: float,
    max_steps: int,
) -> None:
    """Train for so many seconds; the rate falls to zero from the share `hold` of them on.

    Args:
        name: of the stage, for what is printed.
        model: called as `model(**batch)`.
        batch: from the share of the time that is over, and the step.
        seconds: how long.
        optimizer: peak rate and warm-up.
        hold: share of the time at the peak rate.
        max_steps: end before the time is over, for trials.
    """
    model.train()
    optimizers = build_optimizers(model, optimizer)
    config = TrainerConfig(optimizer=optimizer)
    start, step, told, failed = time.perf_counter(), 0, 0.0, 0
    means: dict[str, float] = {}
    while (elapsed := time.perf_counter() - start) < seconds and step < max_steps:
        part = elapsed / seconds
        rate = min(1.0, (step + 1) / optimizer.warmup_steps)
        rate *= min(1.0, (1 - part) / (1 - hold)) if hold < 1 else 1.0
        try:
            metrics = train_step(model, batch(part, step), optimizers, rate, config)
        except TrainingError as error:  # one bad batch must not end a run by the clock
            say(name, step, error)
            failed += 1
            if failed > MAX_FAILED_STEPS:
                raise
            for each in optimizers:
                each.zero_grad(set_to_none=True)
            continue
        step += 1
        for key, value in metrics.items():
            means[key] = means.get(key, float(value)) * 0.95 + float(value) * 0.05
        if elapsed - told > 5:
            told = elapsed
            say(name, step, {key: round(value, 3) for key, value in means.items()})
    say(name, "done after", step, {key: round(value, 3) for key, value in means.items()})


@dataclass(frozen=True)
class Trial:
    """How long, how large, and where."""

    seconds: float
    batch_seconds: float
    max_steps: int
    device: torch.device


class Life:
    """The stages, in order, on one model."""

    def __init__(self, clips: ResidentClips, trial: Trial) -> None:
        self.clips, self.trial = clips, trial
        torch.manual_seed(RECIPE.seed)
        space = Workspace(RECIPE, WORLD.pack, WORLD.pack, WORLD.pack)
        self.model = EurekaAudioForConditionalGeneration(space.config())
        start_local(self.model.audio_encoder)
        heads = EncoderHeadsConfig(tag_loss_weight=0.3, phone_loss_weight=0.7, dropout=0.1)
        parts = ("audio_encoder", "adapter", "language_model")
        look_through(self.model.language_model)
        self.wrapped = MultimodalModel(self.model, parts, heads=heads, guidance_weight=0.3)
        self.wrapped.to(trial.device)

    def plan(
        self, weights: Mapping[str, float], share: float, max_seconds: float, seed: int
    ) -> MixturePlan:
        """Batches of a share of the usual size."""
        return self.clips.plan(weights, share * self.trial.batch_seconds, max_seconds, seed)

    def phase(
        self,
        name: str,
        model: nn.Module,
        batch: Callable[[float, int], dict[str, Any]],
        seconds: float,
        rate: float,
        hold: float,
    ) -> None:
        """Run one stage."""
        optimizer = OptimizerConfig(
            name="muon", learning_rate=rate, weight_decay=0.05, warmup_steps=80
        )
        run_phase(name, model, batch, seconds, optimizer, hold, self.trial.max_steps)

    def listen(self, seconds: float) -> None:
        """The encoder under its heads: short clean clips first."""
        first = self.plan({"synthetic": 8, "sentences": 1, "digits": 1}, 0.25, 3.2, 1)
        weights = {
            "synthetic": 7,
            "sentences": 5,
            "digits": 2.5,
            "sounds": 1,
            "instruments": 2,
            "rendered": 0.8,
            "scenes": 1,
        }
        then = self.plan(weights, 1.0, 12.0, 2)

        def batch(part: float, step: int) -> dict[str, Any]:
            early = part < 0.1
            ids = self._on_device(self.clips.ids(first if early else then, step))
            speeds = (1.0, 1.0) if early else (0.86, 1.16)
            inputs, targets = self.clips.batch(ids, spoil=not early, speeds=speeds)
            return {**inputs, **targets}

        ear = EncoderWithHeads(self.model.audio_encoder, self.wrapped.heads.config)
        ear.heads = self.wrapped.heads
        self.phase("encoder", ear, batch, seconds, 2.5e-3, 0.75)

    def read(self, talks: Talks, seconds: float) -> None:
        """The decoder on the oracle: short clips first."""
        weights = {
            "synthetic": 7,
            "sentences": 0.5,
            "scenes": 2,
            "rendered": 0.5,
            "sounds": 0.4,
            "instruments": 0.5,
        }
        plans = (
            (0.4, self.plan({"synthetic": 1}, 0.25, 2.0, 3)),
            (0.65, self.plan(weights, 0.5, 4.0, 4)),
            (1.0, self.plan(weights, 1.0, 12.0, 5)),
        )

        def batch(part: float, step: int) -> dict[str, Any]:
            plan = next(plan for until, plan in plans if part < until)
            ids = talks.fit(self.clips.ids(plan, step))
            on_device = self._on_device(ids)
            num_tokens = self.clips.num_tokens(self.clips.log_mels.lengths[on_device])
            rows, places = talks.rows(ids, num_tokens.tolist(), [1.0] * len(ids), len(ids) // 5)
            symbols = self.clips.symbols(on_device, num_tokens, 0.3)
            return {**rows, "symbols": symbols, "places": places}

        reader = OracleModel(self.model.language_model, WORLD.processor.audio_token_id, 0.5)
        reader.oracle = self.wrapped.oracle.requires_grad_(True)
        reader.to(self.trial.device).match_loudness()
        self.phase("oracle", reader, batch, seconds, 2.5e-3, 0.8)
        self.wrapped.oracle.requires_grad_(False)

    def converse(self, talks: Talks, seconds: float, *, adapter_only: bool) -> None:
        """Stage 1, in which the adapter alone learns what the oracle says; then everything."""
        weights = {
            "synthetic": 3,
            "sentences": 4,
            "digits": 2.5,
            "sounds": 1.2,
            "instruments": 2.5,
            "rendered": 0.5,
            "scenes": 2,
        }
        short, long = self.plan(weights, 0.5, 5.0, 6), self.plan(weights, 0.5, 12.0, 7)

        def batch(part: float, step: int) -> dict[str, Any]:
            ids = talks.fit(self.clips.ids(short if adapter_only or part < 0.3 else long, step))
            on_device = self._on_device(ids)
            # The oracle knows clips at their own speed only.
            speeds = (1.0, 1.0) if adapter_only else (0.9, 1.12)
            inputs, targets = self.clips.batch(on_device, spoil=True, speeds=speeds)
            lengths = inputs["feature_lengths"]
            num_tokens = self.clips.num_tokens(lengths)
            if adapter_only:
                targets["symbols"] = self.clips.symbols(on_device, num_tokens, 0.0)
                known = self.clips.all_known[on_device]
                targets["symbols_known"] = known.repeat_interleave(num_tokens)
            heard_faster = (self.clips.log_mels.lengths[on_device] / lengths).tolist()
            num_lines = 0 if adapter_only else len(ids) // 12
            rows, targets["places"] = talks.rows(ids, num_tokens.tolist(), heard_faster, num_lines)
            return {**rows, **inputs, "targets": targets}

        for part in (self.model.audio_encoder, self.model.language_model, self.wrapped.heads):
            part.requires_grad_(not adapter_only)
        self.model.audio_encoder.embed_positions.requires_grad_(False)
        self.wrapped.heads_weight = 0.0 if adapter_only else 0.4
        self.wrapped.oracle_weight = 2.0 if adapter_only else 0.0
        if adapter_only:
            match_loudness(self.model)
            self.phase("stage1", self.wrapped, batch, seconds, 3e-3, 1.0)
        else:
            self.phase("sft", self.wrapped, batch, seconds, 1.5e-3, 0.3)

    def _on_device(self, ids: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(ids).to(self.trial.device)


def train(args: argparse.Namespace) -> None:
    """Everything, within `args.seconds`; the model is written to `args.out`."""
    gather(args.pack, args.work, args.scenes, args.rendered)
    pool = workers()
    targets = pool.map(_targets, range(len(WORLD.clips)), chunksize=128)
    talks = {stage: draw_talks(stage, pool) for stage in TALKS_PER_CLIP}
    lines = pool.map_async(_line, _read_lines(args.pack / "lines.txt.gz"), chunksize=500)
    device = torch.device(args.device)
    num_mel_bins = WORLD.processor.feature_extractor.feature_size
    clips = ResidentClips(WORLD.sources, WORLD.waves, targets, num_mel_bins, device)
    say(f"{len(targets)} clips on the device, {clips.seconds.sum() / 3600:.1f} h")
    life = Life(clips, Trial(args.seconds, args.batch_seconds, args.max_steps, device))
    left = args.seconds - (time.perf_counter() - STARTED)
    life.listen(SHARES["encoder"] * left)
    read = lines.get()
    life.read(Talks(talks["oracle"].get(), read, device), SHARES["oracle"] * left)
    asked = Talks(talks["sft"].get(), read, device)
    life.converse(asked, SHARES["stage1"] * left, adapter_only=True)
    rest = args.seconds - (time.perf_counter() - STARTED)
    life.converse(asked, rest, adapter_only=False)
    pool.terminate()
    life.model.generation_config.max_chunk_seconds = 12.0  # as long as it has learnt to hear
    save_checkpoint(life.model.to("cpu", torch.bfloat16), args.out, WORLD.processor)
    say("saved", args.out)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    packing, training = commands.add_parser("pack"), commands.add_parser("train")
    packing.set_defaults(run=pack)
    packing.add_argument("--data", type=Path, default=Path("data/synthetic"))
    packing.add_argument("--recordings", type=Path, required=True)
    packing.add_argument("--run", type=Path, default=Path("runs/nano"), dest="run_folder")
    packing.add_argument("--most", type=int, help="clips of each source")
    training.set_defaults(run=train)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--work", type=Path, default=Path("/dev/shm/nano"))
    training.add_argument("--seconds", type=float, default=600.0, help="in all")
    training.add_argument("--device", default="cuda")
    training.add_argument("--scenes", type=int, default=3000)
    training.add_argument("--rendered", type=int, default=1200)
    training.add_argument("--batch-seconds", type=float, default=800.0)
    training.add_argument("--max-steps", type=int, default=10**9, help="of each stage, for a trial")
    for command in (packing, training):
        command.add_argument("--pack", type=Path, required=True)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
