"""The life of nano by the clock: on one GPU in minutes, or on a few CPU cores in hours.

    python recipes/nano/by_the_clock.py pack --recordings DIR --pack PACK
    python recipes/nano/by_the_clock.py train --pack PACK --parts PARTS --seconds 600
    python recipes/nano/by_the_clock.py assemble --parts PARTS --out MODEL
    python recipes/nano/by_the_clock.py take-apart --model nano --parts PARTS
    python recipes/nano/by_the_clock.py average --parts PARTS --earlier PARTS --out PARTS
    python recipes/nano/by_the_clock.py install --parts PARTS --run RUN

`pack` compresses the training clips of a run whose tokenizer stage is done, with the phones of real
speech if its alignment is: they may have to travel. `train` keeps clips and targets on the device
(`training/resident.py`) and trains the encoder under its heads, the decoder on the oracle, Stage 1,
and everything in fine-tuning. It writes the parts that a stage trains, now and then and at its end,
and goes on from parts (`--start`). `assemble` makes a model of them, `take-apart` parts of a model;
`average` lies between the parts of two runs; `install` writes parts into a run, for
`eureka-audio train` to go on with Stage 1. Losses, tasks and parts are those of `recipe.yaml`, but
that the encoder drops out and in fine-tuning the decoder goes on reading on the oracle; how much of
each source, how long a stage and how fast it learns are set here.

On a CPU, clips are read where they lie, splices among them, so the run's alignment must be done
(`eureka-audio train recipes/nano/recipe.yaml --only alignment`). Processes share the work. Encoder
and decoder need not wait for one another: two calls with the same `--prepared` and `--parts` train
them side by side. Two calls with other `--parts` and `--seed` train two branches, of which
`average` makes one.

    python recipes/nano/by_the_clock.py train --device cpu --processes 2 --batch-seconds 120
        --recordings DIR --start PARTS --parts MORE --stages stage1 sft --seconds 3000
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import Qwen3ForCausalLM
from world import (
    RECIPE,
    STARTED,
    Talks,
    World,
    enter,
    here,
    pack,
    say,
    targets_of,
    unpack,
    workers,
)

from eureka_audio.data.mixture import MixturePlan
from eureka_audio.errors import TrainingError
from eureka_audio.inference.loading import find_checkpoint
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.weights import save_checkpoint as save_model
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.training.checkpoint import save_checkpoint
from eureka_audio.training.encoder_pretraining import EncoderWithHeads
from eureka_audio.training.encoder_stage import build_encoder, look_through
from eureka_audio.training.heads import SILENCE, EncoderHeadsConfig
from eureka_audio.training.local_start import start_local
from eureka_audio.training.multimodal import MultimodalModel, oracle_loss
from eureka_audio.training.optimizer import OptimizerConfig, build_optimizers
from eureka_audio.training.oracle import OracleModel
from eureka_audio.training.resident import ResidentClips
from eureka_audio.training.stages import Workspace, match_loudness, prepare_to_transcribe
from eureka_audio.training.text_pretraining import TextModel
from eureka_audio.training.trainer import BatchLoss, TrainerConfig, train_step

SHARES = {"encoder": 0.42, "oracle": 0.2, "stage1": 0.05, "sft": 0.33}  # of the time
RATES = {"encoder": 2.5e-3, "oracle": 2.5e-3, "stage1": 6e-3, "sft": 1.5e-3}  # Muon's
ADAMW_SHARE = 0.4  # of Muon's rate
HELD = {"encoder": 0.5, "oracle": 0.5, "stage1": 0.3, "sft": 0.3}  # share of a stage at its peak
WARMUP_STEPS = 40
READ_BESIDE = 0.6  # seconds read on the oracle for each one heard in fine-tuning
READ_WEIGHT = 0.5  # of their loss
ORACLE_UNTIL = 0.4  # share of fine-tuning in which the oracle goes on teaching the adapter
# How much of each source the encoder hears, the decoder reads on the oracle, both converse about.
HEARD = {
    "synthetic": 6,
    "voices": 5,
    "sentences": 4,
    "splices": 5,
    "digits": 1.2,
    "spoken_digits": 1.8,
    "sounds": 1,
    "instruments": 2,
    "rendered": 0.8,
    "scenes": 1,
}
READ = {
    "readings": 14,
    "synthetic": 6,
    "sentences": 2,
    "digits": 0.8,
    "spoken_digits": 0.8,
    "sounds": 1,
    "instruments": 1.5,
    "rendered": 0.5,
    "scenes": 2,
}
CONVERSED = {
    "synthetic": 8,
    "voices": 8,
    "sentences": 2.2,
    "splices": 6,
    "digits": 1.5,
    "spoken_digits": 1.8,
    "sounds": 1.0,
    "instruments": 4,
    "rendered": 0.4,
    "scenes": 1.6,
}
TEACHERS = Path(__file__).with_name("teachers.safetensors")  # those of the shipped model
TRAINED = ("audio_encoder", "adapter", "language_model")
CHANGED = {  # the parts that a stage trains
    "encoder": ("encoder",),
    "oracle": ("decoder",),
    "stage1": ("adapter",),
    "sft": ("encoder", "decoder", "adapter"),
}
HEADS = EncoderHeadsConfig(tag_loss_weight=0.3, phone_loss_weight=0.7, dropout=0.1)
DROPOUT = 0.1  # of the encoder
WORDS_ALONE = {"transcribe", "digit", "digit_choice"}  # tasks that no voice matters to
NUM_CONFUSING = 12  # batches in which the encoder's mistakes are counted
MAX_FAILED_STEPS = 20
MAX_CHUNK_SECONDS = 12.0  # as long as it has learnt to hear


def num_processes() -> int:
    """Processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def agreed(value: float) -> float:
    """The first process's value, in all of them."""
    if num_processes() == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    distributed.broadcast(shared, 0)
    return float(shared)


@dataclass(frozen=True)
class Trial:
    """How large, how fast, how long at most, where, where the parts go, and by which dice: a run
    that goes on from parts hears the same batches again unless its seed is another.
    """

    batch_seconds: float
    rate: float
    max_steps: int
    device: torch.device
    parts: Path
    seed: int = RECIPE.seed


def run_phase(
    name: str,
    model: nn.Module,
    batch: Callable[[float, int], dict[str, Any]],
    seconds: float,
    trial: Trial,
    save: Callable[[], None],
) -> None:
    """Train for so many seconds; the rate falls to zero after the share of them in `HELD`.

    Args:
        name: of the stage.
        model: called as `model(**batch)`.
        batch: from the share of the time that is over, and the step.
        seconds: how long.
        trial: how fast, and how many steps at most.
        save: called now and then, and at the end, by the first process.
    """
    model.train()
    peak, hold = RATES[name] * trial.rate, HELD[name]
    optimizer = OptimizerConfig(
        name="muon",
        learning_rate=peak,
        adamw_learning_rate=peak * ADAMW_SHARE,
        warmup_steps=WARMUP_STEPS,
    )
    optimizers = build_optimizers(model, optimizer)
    config = TrainerConfig(optimizer=optimizer)
    shared = model
    if num_processes() > 1:
        shared = DistributedDataParallel(model, find_unused_parameters=True)
    start, step, told, failed = time.perf_counter(), 0, 0.0, 0
    means: dict[str, float] = {}
    while (elapsed := agreed(time.perf_counter() - start)) < seconds and step < trial.max_steps:
        part = elapsed / seconds
        rate = min(1.0, (step + 1) / WARMUP_STEPS)
        rate *= min(1.0, (1 - part) / (1 - hold)) if hold < 1 else 1.0
        try:
            metrics = train_step(shared, batch(part, step), optimizers, rate, config)
        except TrainingError as error:  # one bad batch must not end a run by the clock
            say(name, step, error)
            failed += 1
            if failed > MAX_FAILED_STEPS or num_processes() > 1:
                raise
            for each in optimizers:
                each.zero_grad(set_to_none=True)
            continue
        step += 1
        for key, value in metrics.items():
            means[key] = means.get(key, float(value)) * 0.95 + float(value) * 0.05
        if elapsed - told > seconds / 50 and rank() == 0:
            told = elapsed
            say(name, step, {key: round(value, 3) for key, value in means.items()})
            save()
    if rank() == 0:
        say(name, "done after", step, {key: round(value, 3) for key, value in means.items()})
        save()


class AdapterOnOracle(nn.Module):
    """The model up to its adapter, beside the oracle."""

    def __init__(self, wrapped: MultimodalModel) -> None:
        super().__init__()
        self.model, self.oracle = wrapped.model, wrapped.oracle

    def forward(
        self, input_features: Tensor, feature_lengths: Tensor, symbols: Tensor, known: Tensor
    ) -> BatchLoss:
        """Loss of clips `(A, F, M)` whose audio tokens hold `symbols` `(N, symbols)`."""
        audio = self.model.get_audio_features(input_features, feature_lengths)
        distance = oracle_loss(audio.audio_embeds, self.oracle(symbols), known)
        loss = distance
        if audio.router_statistics is not None:
            coef = self.model.config.adapter_config.router_aux_loss_coef
            loss = loss + coef * audio.router_statistics.load_balancing_loss
        return BatchLoss(loss, {"oracle_loss": distance.detach()})


class EarAndReader(nn.Module):
    """The model on what it hears, and its decoder on what the oracle tells of other clips."""

    def __init__(self, wrapped: MultimodalModel, reader: OracleModel) -> None:
        super().__init__()
        self.wrapped, self.reader = wrapped, reader

    def forward(self, heard: dict[str, Any], read: dict[str, Tensor]) -> BatchLoss:
        """Loss of a batch of each."""
        hearing, reading = self.wrapped(**heard), self.reader(**read)
        metrics = {**hearing.metrics, "read_loss": reading.loss.detach()}
        return BatchLoss(hearing.loss + READ_WEIGHT * reading.loss, metrics)


class Parts(TypedDict):
    """What is kept of a run, each in a file of its name."""

    encoder: EncoderWithHeads
    decoder: OracleModel
    adapter: nn.Module


class Life:
    """The stages on one model. Where parts were there to start from, nothing begins with short
    clips only.
    """

    def __init__(self, world: World, clips: ResidentClips, trial: Trial) -> None:
        self.world, self.clips, self.trial = world, clips, trial
        torch.manual_seed(RECIPE.seed)
        space = Workspace(RECIPE, world.run, world.run, world.run)
        config = space.config()
        config.audio_config.dropout = DROPOUT
        self.model = EurekaAudioForConditionalGeneration(config)
        start_local(self.model.audio_encoder)
        look_through(self.model.language_model)
        if trial.device.type == "cpu":
            look_through(self.model.audio_encoder)
        self.wrapped = MultimodalModel(self.model, TRAINED, heads=HEADS, guidance_weight=0.3)
        self.parts = parts_of(self.model, world.processor.audio_token_id)
        self.ear, self.reader = self.parts["encoder"], self.parts["decoder"]
        self.wrapped.heads = self.ear.heads
        self.wrapped.oracle = self.reader.oracle.requires_grad_(False)
        self.begun: set[str] = set()
        for part in (self.wrapped, self.reader):
            part.to(trial.device)
        torch.manual_seed(trial.seed + rank())  # from here on each process has its own dice

    def load(self, folder: Path) -> None:
        """Go on from the parts in a folder; the adapter may still be missing there."""
        for name, module in each_part(self.parts):
            path = folder / f"{name}.safetensors"
            if name != "adapter" or path.exists():
                load_part(path, module)
                self.begun.add(name)
        say("goes on from", *sorted(self.begun))

    def save(self, stage: str) -> None:
        """Write the parts that a stage trains."""
        save_parts(self.parts, self.trial.parts, CHANGED[stage])

    def run(self, stage: str, seconds: float, talks: Mapping[str, Talks]) -> None:
        """Run one stage; the oracle's is about its talks, fine-tuning about its own and those."""
        for part in (self.model.audio_encoder, self.model.language_model, self.wrapped.heads):
            part.requires_grad_(stage != "stage1")  # in which the adapter is alone
        self.model.audio_encoder.embed_positions.requires_grad_(False)
        if stage == "encoder":
            self.listen(seconds)
            self.begun.add(stage)
        elif stage == "stage1":
            self.adapt(seconds)
        elif stage == "oracle":
            self.read(talks["oracle"], seconds)
        else:
            self.converse(talks["sft"], talks["oracle"], seconds)

    def plan(
        self, weights: Mapping[str, float], share: float, max_seconds: float, seed: int
    ) -> MixturePlan:
        """Batches of a share of the usual size."""
        size = share * self.trial.batch_seconds
        dice = seed + 1000 * rank() + 100_000 * self.trial.seed
        return self.clips.plan(weights, size, max_seconds, dice)

    def listen(self, seconds: float) -> None:
        """The encoder under its heads: short clean clips first."""
        first = self.plan({"synthetic": 8, "sentences": 1, "digits": 1}, 0.25, 3.2, 1)
        then = self.plan(HEARD, 1.0, 12.0, 2)
        begun = "encoder" in self.begun

        def batch(part: float, step: int) -> dict[str, Any]:
            early = part < 0.1 and not begun
            ids = self._on_device(self.clips.ids(first if early else then, step))
            speeds = (1.0, 1.0) if early else (0.86, 1.16)
            inputs, targets = self.clips.batch(ids, spoil=not early, speeds=speeds)
            return {**inputs, **targets}

        self._train("encoder", self.ear, batch, seconds)

    def read(self, talks: Talks, seconds: float) -> None:
        """The decoder on the oracle: short clips first."""
        everything = self.plan(READ, 1.0, 12.0, 5)
        plans = [
            (0.4, self.plan({"synthetic": 1}, 0.25, 2.0, 3)),
            (0.65, self.plan(READ, 0.5, 4.0, 4)),
            (1.0, everything),
        ]
        if "decoder" in self.begun:
            plans = [(1.0, everything)]
        else:
            self.reader.match_loudness()
        oracle = self.reader.oracle.requires_grad_(True)
        if "encoder" in self.begun:
            self.listen_for_confusions()

        def batch(part: float, step: int) -> dict[str, Any]:
            plan = next(plan for until, plan in plans if part <= until)
            return self._to_read(talks, self.clips.ids(plan, step))

        self._train("oracle", self.reader, batch, seconds)
        oracle.requires_grad_(False)

    def adapt(self, seconds: float) -> None:
        """Stage 1: the adapter alone learns to say what the oracle would, which the decoder already
        reads; without the decoder a step costs a third.
        """
        plan = self.plan(CONVERSED, 1.0, 9.0, 6)
        if "adapter" not in self.begun:
            match_loudness(self.model, float(self.wrapped.oracle.loudness))
        self.begun.add("adapter")

        def batch(part: float, step: int) -> dict[str, Any]:
            on_device = self._on_device(self.clips.ids(plan, step))
            inputs, targets = self.clips.batch(on_device, spoil=step % 2 == 0)
            self._add_symbols(targets, on_device, inputs["feature_lengths"])
            return {**inputs, "symbols": targets["symbols"], "known": targets["symbols_known"]}

        self._train("stage1", AdapterOnOracle(self.wrapped), batch, seconds)

    def converse(self, talks: Talks, read: Talks, seconds: float) -> None:
        """Fine-tuning of everything; heads and, at first, the oracle go on teaching, and the
        decoder goes on reading.
        """
        plan = self.plan(CONVERSED, 0.5, 12.0, 7)
        to_read = self.plan(READ, 0.5 * READ_BESIDE, 12.0, 8)
        oracle = self.reader.oracle.requires_grad_(True)
        self.listen_for_confusions()

        def batch(part: float, step: int) -> dict[str, Any]:
            ids, about = talks.about(self.clips.ids(plan, step))
            on_device = self._on_device(ids)
            same_voice = torch.tensor([talk.task not in WORDS_ALONE for talk in about])
            inputs, targets = self.clips.batch(
                on_device,
                spoil=step % 4 > 0,
                speeds=(0.9, 1.12),
                same_voice=same_voice.to(on_device.device),
            )
            lengths = inputs["feature_lengths"]
            speed = self._add_symbols(targets, on_device, lengths)
            num_tokens = self.clips.num_tokens(lengths).tolist()
            rows, targets["places"] = talks.rows(about, num_tokens, speed, len(ids) // 12)
            self.wrapped.oracle_weight = max(0.0, 1 - part / ORACLE_UNTIL)
            heard = {**rows, **inputs, "targets": targets}
            return {"heard": heard, "read": self._to_read(read, self.clips.ids(to_read, step))}

        self.wrapped.heads_weight = 0.4
        self._train("sft", EarAndReader(self.wrapped, self.reader), batch, seconds)
        oracle.requires_grad_(False)

    def listen_for_confusions(self) -> None:
        """Let the oracle be wrong as the encoder is, now that there is one."""
        plan, counts = self.plan(HEARD, 1.0, 12.0, 9), torch.ones(len(PHONES), len(PHONES))
        self.ear.eval()
        for step in range(NUM_CONFUSING):
            ids = self._on_device(self.clips.ids(plan, step))
            inputs, targets = self.clips.batch(ids, spoil=True, speeds=(0.9, 1.12))
            with torch.no_grad():
                output = self.ear(**inputs, **targets)
            said = targets["phone_targets"]
            taken = output.heads.phone_logits[:, : said.shape[1]].argmax(-1)
            known = (said > SILENCE) & (taken > SILENCE) & (taken != said)
            pairs = (said[known] - 1).cpu(), (taken[known] - 1).cpu()
            counts.index_put_(pairs, torch.tensor(1.0), accumulate=True)
        self.clips.confusions = counts.fill_diagonal_(0.0).to(self.trial.device)

    def _to_read(self, talks: Talks, ids: NDArray[np.int64]) -> dict[str, Tensor]:
        """A batch for the decoder on the oracle."""
        ids, about = talks.about(ids)
        on_device = self._on_device(ids)
        num_tokens = self.clips.num_own_tokens(on_device)
        rows, places = talks.rows(about, num_tokens.tolist(), [1.0] * len(ids), len(ids) // 8)
        symbols = self.clips.symbols(on_device, num_tokens, 0.3)
        return {**rows, "symbols": symbols, "places": places}

    def _train(
        self,
        stage: str,
        model: nn.Module,
        batch: Callable[[float, int], dict[str, Any]],
        seconds: float,
    ) -> None:
        run_phase(stage, model, batch, seconds, self.trial, lambda: self.save(stage))

    def _add_symbols(
        self, targets: dict[str, Tensor], on_device: Tensor, lengths: Tensor
    ) -> list[float]:
        """Add what the oracle hears of clips that are heard `lengths` mel frames long.

        Returns:
            The speed of each.
        """
        speed = self.clips.log_mels.lengths[on_device] / lengths
        num_tokens = self.clips.num_tokens(lengths)
        targets["symbols"] = self.clips.symbols(on_device, num_tokens, 0.0, speed)
        targets["symbols_known"] = self.clips.all_known[on_device].repeat_interleave(num_tokens)
        return [float(each) for each in speed]

    def _on_device(self, ids: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(ids).to(self.trial.device)


def parts_of(model: EurekaAudioForConditionalGeneration, audio_token_id: int) -> Parts:
    """A model's parts, its encoder under heads and its decoder beside an oracle."""
    return {
        "encoder": EncoderWithHeads(model.audio_encoder, HEADS),
        "decoder": OracleModel(model.language_model, audio_token_id, guidance_weight=0.5),
        "adapter": model.adapter,
    }


def teachers_of(parts: Parts) -> dict[str, nn.Module]:
    """What taught the parts and is no part of the model."""
    return {"heads": parts["encoder"].heads, "oracle": parts["decoder"].oracle}


def each_part(parts: Parts) -> list[tuple[str, nn.Module]]:
    """The parts with their names."""
    return cast(list[tuple[str, nn.Module]], list(parts.items()))


def is_kept(key: str) -> bool:
    """Whether a tensor is neither made anew (sinusoids) nor tied to another (`lm_head`)."""
    return "embed_positions" not in key and "lm_head" not in key


def kept(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Those tensors of named modules that are kept, in bf16."""
    return {
        f"{name}.{key}" if name else key: value.to("cpu", torch.bfloat16).contiguous().clone()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
        if is_kept(key)
    }


def save_parts(parts: Parts, folder: Path, names: Collection[str]) -> None:
    """Write the named parts, each into a file of its own, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in each_part(parts):
        if name in names:
            unfinished = folder / f"{name}.unfinished"
            save_file(kept({"": module}), unfinished)
            unfinished.replace(folder / f"{name}.safetensors")


def load_part(path: Path, module: nn.Module) -> None:
    """Load what `save_parts` wrote of one part.

    Raises:
        TrainingError: a tensor is missing, or one is there that the part does not have.
    """
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    found = module.load_state_dict(tensors, strict=False)
    missing = [name for name in found.missing_keys if is_kept(name)]
    if missing or found.unexpected_keys:
        raise TrainingError(
            f"{path}: expected the parts of one model, got {len(missing)} tensors missing "
            f"and {len(found.unexpected_keys)} unknown"
        )


def write_pack(args: argparse.Namespace) -> None:
    """Compress the clips, to train elsewhere."""
    pack(args.pack, args.data, args.recordings, args.run_folder, args.most)


def train(args: argparse.Namespace) -> None:
    """The chosen stages, within `args.seconds`; parts are written after each."""
    if args.processes > 1:
        torch.set_num_threads(1)  # threads do not survive the fork
    if args.start:
        for name in ("encoder", "decoder"):  # before minutes are spent on preparing
            if not (args.start / f"{name}.safetensors").is_file():
                raise TrainingError(f"{args.start}: expected {name}.safetensors there, got none")
    world, clips = prepared(args)
    say(f"{len(world.clips)} clips on the device, {clips.seconds.sum() / 3600:.1f} h")
    if args.processes == 1:
        live(0, args, world, clips, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        together = [
            context.Process(target=live, args=(i, args, world, clips, f"file://{folder}/store"))
            for i in range(args.processes)
        ]
        for process in together:
            process.start()
        for process in together:
            process.join()
    if any(process.exitcode for process in together):
        raise SystemExit("a process failed")


def prepared(args: argparse.Namespace) -> tuple[World, ResidentClips]:
    """The clips and their targets, on the device; taken from `args.prepared` if they are there."""
    if args.prepared and args.prepared.exists():
        world, clips = torch.load(args.prepared, weights_only=False, mmap=True)
        enter(world)
        return world, clips
    if args.pack:
        world = unpack(args.pack, args.work, args.scenes, args.rendered, args.splices)
    else:
        world = here(args.data, args.recordings, args.run_folder, args.most)
    with workers() as pool:
        targets = targets_of(world, pool)
    num_mel_bins = world.processor.feature_extractor.feature_size
    device = torch.device(args.device)
    clips = ResidentClips(world.sources, world.waves, targets, num_mel_bins, device)
    world.waves.clear()
    if args.prepared:
        torch.save((world, clips), args.prepared)
    return world, clips


def live(
    process: int, args: argparse.Namespace, world: World, clips: ResidentClips, store: str
) -> None:
    """What one process does of the training."""
    if args.processes > 1:
        distributed.init_process_group(
            "gloo", init_method=store, rank=process, world_size=args.processes
        )
    trial = Trial(
        args.batch_seconds, args.rate, args.max_steps, clips.device, args.parts, args.seed
    )
    life = Life(world, clips, trial)
    if args.start:
        life.load(args.start)
    left = args.seconds - (time.perf_counter() - STARTED)
    total = sum(SHARES[stage] for stage in args.stages)
    pool = workers() if clips.device.type != "cpu" else None
    rng = np.random.default_rng([args.seed, process])
    needed = {"oracle", "sft"} if "sft" in args.stages else {"oracle"} & {*args.stages}
    talks = {  # begun now: a GPU that waits for them at its stage is idle
        stage: Talks(world, stage, rng, clips.device, pool) for stage in sorted(needed)
    }
    for stage in args.stages:
        life.run(stage, left * SHARES[stage] / total, talks)
    if pool is not None:
        pool.terminate()
    if args.processes > 1:
        distributed.destroy_process_group()


def assemble(args: argparse.Namespace) -> None:
    """A model of the parts, in bf16; what is no part of it, heads and oracle, beside it."""
    space = Workspace(RECIPE, args.run_folder, args.run_folder, args.run_folder)
    model = EurekaAudioForConditionalGeneration(space.config())
    parts = parts_of(model, space.processor.audio_token_id)
    for name, module in each_part(parts):
        load_part(args.parts / f"{name}.safetensors", module)
    save_file(kept(teachers_of(parts)), args.teachers)
    ctc_head = parts["encoder"].heads.ctc_head
    prepare_to_transcribe(model, space.processor, ctc_head, MAX_CHUNK_SECONDS)
    save_model(model.to(torch.bfloat16), args.out, space.processor)
    say("saved", args.out, "and", args.teachers)


def take_apart(args: argparse.Namespace) -> None:
    """Parts of a model and its teachers."""
    model = EurekaAudioForConditionalGeneration.from_pretrained(
        find_checkpoint(args.model), dtype=torch.float32
    )
    parts = parts_of(model, model.config.audio_token_id)
    load_part(args.teachers, nn.ModuleDict(teachers_of(parts)))
    save_parts(parts, args.parts, parts.keys())


def average(args: argparse.Namespace) -> None:
    """Parts between those of two runs, the later of which went on from the earlier, or of two
    branches of one.

    Raises:
        TrainingError: they are not parts of one model.
    """
    args.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.parts.glob("*.safetensors")):
        later, earlier = load_file(path), load_file(args.earlier / path.name)
        if later.keys() != earlier.keys():
            raise TrainingError(f"{path}: expected the tensors that {args.earlier} has")
        mixed = {
            name: earlier[name].float().lerp(tensor.float(), args.share).to(tensor.dtype)
            for name, tensor in later.items()
        }
        save_file(mixed, args.out / path.name)


def install(args: argparse.Namespace) -> None:
    """Write parts as what the stages before Stage 1 left in a run; the recipe goes on there."""
    run = args.run_folder
    space = Workspace(RECIPE, run, run, run)
    models: dict[str, tuple[nn.Module, TrainerConfig]] = {}
    for name, stage in RECIPE.encoders.items():
        ear = build_encoder(RECIPE, stage)
        load_part(args.parts / "encoder.safetensors", ear)
        models[name] = ear, stage.trainer
    language_model = Qwen3ForCausalLM(space.config().text_config)
    reader = OracleModel(language_model, space.processor.audio_token_id)
    load_part(args.parts / "decoder.safetensors", reader)
    models["decoder"] = TextModel(language_model), RECIPE.decoder.trainer
    models |= {name: (reader, stage.trainer) for name, stage in RECIPE.oracles.items()}
    for name, (model, trainer) in models.items():
        optimizers = build_optimizers(model, trainer.optimizer)
        say("wrote", save_checkpoint(run / name, trainer.max_steps, model, optimizers))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    packing = commands.add_parser("pack", help="compress the clips, to train elsewhere")
    packing.add_argument("--pack", type=Path, required=True)
    packing.set_defaults(act=write_pack)
    training = commands.add_parser("train", help="run stages by the clock")
    training.add_argument("--pack", type=Path, help="instead of clips where they lie")
    training.add_argument("--prepared", type=Path, help="keep the read clips here, or take them")
    training.add_argument("--parts", type=Path, required=True, help="where the parts go")
    training.add_argument("--start", type=Path, help="parts to go on from")
    training.add_argument("--stages", nargs="+", choices=list(SHARES), default=list(SHARES))
    training.add_argument("--seconds", type=float, default=600.0, help="in all")
    training.add_argument("--device", default="cuda")
    training.add_argument("--processes", type=int, default=1, help="that share a CPU's cores")
    training.add_argument("--batch-seconds", type=float, default=800.0, help="of each process")
    training.add_argument("--rate", type=float, default=1.0, help="times the usual rates")
    training.add_argument("--seed", type=int, default=RECIPE.seed, help="another than at --start")
    training.add_argument("--max-steps", type=int, default=10**9, help="of each stage, for a trial")
    training.add_argument("--work", type=Path, default=Path("/dev/shm/nano"), help="of a pack")
    training.add_argument("--scenes", type=int, default=3000, help="composed of a pack")
    training.add_argument("--rendered", type=int, default=1200, help="beside a pack")
    training.add_argument("--splices", type=int, default=15000, help="composed of a pack")
    training.set_defaults(act=train)
    assembling = commands.add_parser("assemble", help="make a model of parts")
    assembling.add_argument("--parts", type=Path, required=True)
    assembling.add_argument("--out", type=Path, required=True)
    assembling.set_defaults(act=assemble)
    taking = commands.add_parser("take-apart", help="make parts of a model and its teachers")
    taking.add_argument("--model", default="nano")
    taking.add_argument("--parts", type=Path, required=True)
    taking.set_defaults(act=take_apart)
    for command in (assembling, taking):
        command.add_argument("--teachers", type=Path, default=TEACHERS, help="heads and oracle")
    averaging = commands.add_parser("average", help="parts between those of two runs")
    averaging.add_argument("--parts", type=Path, required=True, help="of the later run")
    averaging.add_argument("--earlier", type=Path, required=True, help="of the other run")
    averaging.add_argument("--share", type=float, default=0.6, help="of the later run's weights")
    averaging.add_argument("--out", type=Path, required=True)
    averaging.set_defaults(act=average)
    installing = commands.add_parser("install", help="let the recipe go on from parts, at Stage 1")
    installing.add_argument("--parts", type=Path, required=True)
    installing.set_defaults(act=install)
    for command in (packing, training):
        command.add_argument("--data", type=Path, default=Path("data/synthetic"))
        command.add_argument("--recordings", type=Path, default=os.environ.get("EUREKA_AUDIO_DATA"))
        command.add_argument("--most", type=int, help="clips of each source, for a trial")
    for command in (packing, training, assembling, installing):
        command.add_argument("--run", type=Path, default=Path("runs/nano"), dest="run_folder")
    args = parser.parse_args()
    reads_recordings = args.act is write_pack or (args.act is train and not args.pack)
    if reads_recordings and args.recordings is None:
        parser.error("--recordings or EUREKA_AUDIO_DATA must name the folder of recordings")
    args.act(args)


if __name__ == "__main__":
    main()
