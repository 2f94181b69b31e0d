"""Training data that lives on the device: log-mels and targets of all clips, a batch by indices.

On a processor a batch is heard, spoilt and encoded clip by clip. A GPU trains a small model faster
than any number of processes can do that, so here the log-mels of all clips lie on the GPU (an hour
takes 60 MB), and stretching, another vocal tract, noise and masks are a few operations on a batch.
What is learnt is the same: targets are those of the heads and of the oracle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eureka_audio.audio import clock
from eureka_audio.audio.features import DYNAMIC_RANGE, bins_of_other_pitch, log_mel_power
from eureka_audio.data.augment import UNMOVED
from eureka_audio.data.mixture import MixturePlan
from eureka_audio.errors import TrainingError
from eureka_audio.model.encoder import encoder_frame_lengths
from eureka_audio.records import AudioClip
from eureka_audio.synthesis.phones import PHONES
from eureka_audio.text.letters import encode_characters
from eureka_audio.training.heads import (
    NUM_EVENT_TAGS,
    SILENCE,
    UNKNOWN_FRAME,
    frame_phones,
    spoken_words,
    tag_targets,
)
from eureka_audio.training.oracle import SYMBOLS, knows, token_symbols

SPANS = 14  # most stretches of one symbol, phones apart, that are kept of a clip
FULL_SCALE = 32767.0
FRAME_MULTIPLE = 32  # mel frames: few shapes
LONGEST = 2990  # mel frames that a stretched clip may have
SAME_SPEED = (1.0, 1.0)
TRACTS = (0.93, 1.08)  # factors on formants and pitch that leave a voice what it is
OTHER_TRACTS = (0.8, 1.25)  # and those that make it somebody else's
OTHER_SHARE = 0.5  # of the voices that need not stay what they are
NARROW_SHARE = 0.3
NARROW_FROM = 0.7  # of the mel bins, the least that a narrow band leaves: about 3.3 kHz
TELEPHONE = 0.775  # of them, what a rate of 8 kHz leaves, and half of the narrow bands do
NOISY_SHARE = 0.45
MAX_COLOUR = 1.2  # log10 of power, by which a noise has more or less at a few frequencies
NOTHING = -10.0  # log10 of power
RESPONSE_KNOTS = 7
MAX_RESPONSE = 0.8  # log10 of power, 8 dB
LN10 = 2.302585

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ClipTargets:
    """What is to be learnt of one clip, as arrays that travel between processes.

    Attributes:
        phones: `(L,)` class of every encoder frame.
        segments: `(L,)` 1 where another phone begins.
        letters: ids of what is said, and one more.
        num_letters: how many of them count; -1 where the words are unknown.
        tags: `(tags,)`; tags_known: which of them are known.
        spans: `(SPANS, 3)` symbol, first frame, end frame, of what is not a phone.
        all_known: whether the oracle knows everything of the clip.
    """

    phones: Integers
    segments: Integers
    letters: Integers
    num_letters: int
    tags: NDArray[np.float32]
    tags_known: NDArray[np.bool_]
    spans: Integers
    all_known: bool


def clip_targets(clip: AudioClip, num_samples: int) -> ClipTargets:
    """The targets of a clip at its own speed."""
    num_frames = clock.num_encoder_frames(clock.num_mel_frames(num_samples))
    if clip.is_speechless:
        phones = np.full(num_frames, SILENCE)
    elif clip.phones is None:
        phones = np.full(num_frames, UNKNOWN_FRAME)
    else:
        phones = frame_phones(clip, UNMOVED, num_frames).numpy()
    words = spoken_words([clip])
    letters = [] if words is None else encode_characters(words)
    tags, known = tag_targets([clip])
    return ClipTargets(
        phones.astype(np.int64),
        np.r_[1, phones[1:] != phones[:-1]].astype(np.int64),
        np.array([*letters, 0], np.int64),
        -1 if words is None else len(letters),
        tags.numpy(),
        known.numpy(),
        _spans(clip, num_frames),
        knows(clip),
    )


def _spans(clip: AudioClip, num_frames: int) -> Integers:
    """Where sounds and voices are heard, to a whole audio token."""
    group = clock.ENCODER_FRAMES_PER_AUDIO_TOKEN
    num_tokens = clock.ceil_div(num_frames, group)
    symbols = token_symbols(clip, num_tokens, None, np.random.default_rng(0))
    spans = []
    for column in range(len(PHONES), len(SYMBOLS)):
        edges = np.flatnonzero(np.diff(np.r_[0, symbols[:, column] > 0.5, 0]))
        pairs = zip(edges[::2], edges[1::2], strict=True)
        spans += [[column, group * first, group * end] for first, end in pairs]
    nothing = [len(SYMBOLS), 0, 0]
    return np.array([*spans[:SPANS], *[nothing] * (SPANS - len(spans))], np.int64)


class Ragged:
    """Rows of different length, end to end on a device.

    Args:
        rows: `(length, ...)` each; taken one by one, so that they need not all exist twice.
        lengths: of the rows, at least one.
        device: where they lie.
    """

    def __init__(
        self, rows: Iterable[Tensor], lengths: Sequence[int], device: torch.device
    ) -> None:
        ends = torch.tensor(lengths).cumsum(0)
        self.lengths = torch.tensor(lengths, device=device)
        self.starts = ends.to(device) - self.lengths
        for row, end in zip(rows, ends.tolist(), strict=True):
            if end == len(row):
                self.values = row.new_empty((int(ends[-1]), *row.shape[1:]), device=device)
            self.values[end - len(row) : end] = row

    def take(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Values `(A, P, ...)` at `positions` `(A, P)` or `(1, P)` of the rows `ids` `(A,)`; a
        position past the end of its row gives the last value.
        """
        inside = torch.minimum(positions, (self.lengths[ids] - 1)[:, None])
        return self.values[self.starts[ids][:, None] + inside]


class ResidentClips:
    """Clips of several sources on a device.

    Args:
        sources: the source of each clip.
        waves: 16-bit samples of each clip; none of one that is only read (`symbols`).
        targets: `clip_targets` of each clip.
        num_mel_bins: of the encoder.
        device: where everything lies.

    Attributes:
        confusions: `(phones, phones)`, how often an ear takes each phone for another, in any unit;
            `None` for all alike.
    """

    confusions: Tensor | None = None

    def __init__(
        self,
        sources: Sequence[str],
        waves: Sequence[NDArray[np.int16]],
        targets: Sequence[ClipTargets],
        num_mel_bins: int,
        device: torch.device,
    ) -> None:
        self.device = device
        names = np.array(sources)
        num_frames = np.array([len(known.phones) for known in targets])
        self.seconds = num_frames / clock.ENCODER_FRAMES_PER_SECOND
        self.ids_of = {name: np.flatnonzero(names == name) for name in sorted(set(sources))}
        self.log_mels = Ragged(
            (self._log_mel(wave, num_mel_bins) for wave in waves),
            [clock.num_mel_frames(len(wave)) for wave in waves],
            device,
        )

        def ragged(name: str) -> Ragged:
            rows = [torch.from_numpy(getattr(known, name)) for known in targets]
            return Ragged(rows, [len(row) for row in rows], device)

        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(known, name) for known in targets])).to(
                device
            )

        self.phones, self.letters, self.segments = map(ragged, ("phones", "letters", "segments"))
        self.segments.values = self.segments.values.cumsum(0) - 1
        self.num_letters = torch.tensor([known.num_letters for known in targets], device=device)
        self.tags, self.tags_known, self.spans = map(stacked, ("tags", "tags_known", "spans"))
        self.all_known = torch.tensor([known.all_known for known in targets], device=device)

    def _log_mel(self, wave: NDArray[np.int16], num_mel_bins: int) -> Tensor:
        """Log-mel power `(F, M)` in half precision."""
        if not len(wave):
            return torch.empty(0, num_mel_bins, dtype=torch.half)
        samples = torch.from_numpy(wave).to(self.device).float() / FULL_SCALE
        return log_mel_power(samples, num_mel_bins).T.half()

    def plan(
        self, weights: Mapping[str, float], batch_seconds: float, max_seconds: float, seed: int
    ) -> MixturePlan:
        """Batches over those of the weighted sources that have clips of at most `max_seconds`."""
        durations = {name: self.seconds[ids] for name, ids in self.ids_of.items()}
        usable = {
            name: weight
            for name, weight in weights.items()
            if name in durations and (durations[name] <= max_seconds).any()
        }
        return MixturePlan(
            durations,
            usable,
            samples_per_epoch=24_000,
            batch_seconds=batch_seconds,
            max_batch_size=1500,
            seed=seed,
            max_clip_seconds=max_seconds,
        )

    def ids(self, plan: MixturePlan, step: int) -> Integers:
        """The clips of one batch of a plan."""
        samples = plan.batch(step).samples
        return np.array([self.ids_of[sample.source][sample.index] for sample in samples])

    def num_tokens(self, feature_lengths: Tensor) -> Tensor:
        """Audio tokens `(A,)` of log-mels `(A,)`."""
        return cast(Tensor, clock.num_audio_tokens(cast(int, feature_lengths)))

    def num_own_tokens(self, ids: Tensor) -> Tensor:
        """Audio tokens `(A,)` of clips at their own speed."""
        frames = cast(int, self.phones.lengths[ids])
        return cast(Tensor, clock.ceil_div(frames, clock.ENCODER_FRAMES_PER_AUDIO_TOKEN))

    def batch(
        self,
        ids: Tensor,
        *,
        spoil: bool,
        speeds: tuple[float, float] = SAME_SPEED,
        same_voice: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Clips `(A,)` as a model hears them, and what its heads are to learn.

        Args:
            ids: which clips.
            spoil: with another vocal tract, a narrow band, noise, a microphone, level and masks.
            speeds: the range that each clip's speed is drawn from; the pitch stays.
            same_voice: `(A,)`, which must not become somebody else's: the heads are not taught what
                is known of a speaker who did. `None` for those whose words are unknown.

        Returns:
            `input_features` `(A, M, F)` with `feature_lengths` `(A,)`, and the targets of
            `heads.head_targets`.

        Raises:
            TrainingError: a clip has no sound.
        """
        if not bool(self.log_mels.lengths[ids].all()):
            raise TrainingError("expected clips that can be heard, got one that is only read")
        speed = torch.empty(len(ids), device=self.device).uniform_(*speeds)
        lengths = (self.log_mels.lengths[ids] / speed).round().long().clamp(min=4, max=LONGEST)
        width = clock.ceil_div(int(lengths.max()), FRAME_MULTIPLE) * FRAME_MULTIPLE
        frames_F = torch.arange(width, device=self.device)
        valid_AF = frames_F < lengths[:, None]
        mel_AFM = self._stretched(ids, frames_F * speed[:, None], speeds == SAME_SPEED)
        tract = torch.ones_like(speed)
        if spoil:
            may_change = self.num_letters[ids] > 0
            tract = _tracts(may_change if same_voice is None else may_change & ~same_voice)
            mel_AFM = _spoilt(mel_AFM, valid_AF, tract)
        mel_AFM = mel_AFM.masked_fill(~valid_AF[..., None], -torch.inf)
        loudest = mel_AFM.amax(dim=(1, 2), keepdim=True)
        mel_AFM = (torch.maximum(mel_AFM, loudest - DYNAMIC_RANGE) + 4.0) / 4.0
        if spoil:
            mel_AFM = _masked(mel_AFM, valid_AF, lengths)
        mel_AFM = mel_AFM.masked_fill(~valid_AF[..., None], 0.0)
        inputs = {
            "input_features": mel_AFM.transpose(1, 2).contiguous(),
            "feature_lengths": lengths,
        }
        targets = self._targets(ids, encoder_frame_lengths(lengths), speed)
        is_other = (tract < TRACTS[0]) | (tract > TRACTS[1])
        targets["tag_known"][is_other, NUM_EVENT_TAGS:] = False
        return inputs, targets

    def _stretched(self, ids: Tensor, at_AF: Tensor, at_whole_frames: bool) -> Tensor:
        """Log-mels `(A, F, M)` at places between the frames of clips."""
        low_AF = at_AF.floor().long()
        mel_AFM = self.log_mels.take(ids, low_AF).float()
        if at_whole_frames:
            return mel_AFM
        after_AFM = self.log_mels.take(ids, low_AF + 1).float()
        return mel_AFM.lerp(after_AFM, (at_AF - low_AF)[..., None])

    def _targets(self, ids: Tensor, num_frames: Tensor, speed: Tensor) -> dict[str, Tensor]:
        frames_L = torch.arange(int(num_frames.max()), device=self.device)
        phones_AL = self.phones.take(ids, _middles(frames_L, speed))
        num_letters = self.num_letters[ids]
        letters = torch.arange(max(1, int(num_letters.max())), device=self.device)
        return {
            "ctc_targets": self.letters.take(ids, letters[None]),
            "ctc_lengths": num_letters,
            "phone_targets": phones_AL.masked_fill(frames_L >= num_frames[:, None], UNKNOWN_FRAME),
            "tag_targets": self.tags[ids],
            "tag_known": self.tags_known[ids],
        }

    def symbols(
        self,
        ids: Tensor,
        num_tokens: Tensor,
        max_phone_error: float,
        speed: Tensor | None = None,
    ) -> Tensor:
        """What the oracle hears of clips: `(N, symbols)`, row by row.

        Args:
            ids: which clips `(A,)`.
            num_tokens: audio tokens of each.
            max_phone_error: as in `OracleNoise`; above 0 sounds are heard at any strength from 0.4.
            speed: at which each is heard `(A,)`; `None` for its own.
        """
        group, device = clock.ENCODER_FRAMES_PER_AUDIO_TOKEN, self.device
        frames_L = torch.arange(int(num_tokens.max()) * group, device=device)
        at_AL = frames_L[None].expand(len(ids), -1)
        if speed is not None:
            at_AL = _middles(frames_L, speed)
        classes_AL = self.phones.take(ids, at_AL)
        if max_phone_error > 0:
            classes_AL = self._misheard(ids, at_AL, classes_AL, max_phone_error)
        past_AL = at_AL >= self.phones.lengths[ids][:, None]
        classes_AL = classes_AL.masked_fill(past_AL | (classes_AL < 0), SILENCE)
        # One column more, for what is no symbol.
        heard = torch.zeros(len(ids), len(frames_L), len(SYMBOLS) + 1, device=device)
        column = torch.where(classes_AL > 0, classes_AL - 1, len(SYMBOLS))
        heard.scatter_(2, column[..., None], 1.0)
        for label, first, end in self.spans[ids].permute(1, 2, 0):
            strength = torch.empty(len(ids), 1, device=device)
            strength.uniform_(0.4 if max_phone_error > 0 else 1.0, 1.0)
            on_AL = (at_AL >= first[:, None]) & (at_AL < end[:, None])
            column = label[:, None, None].expand(-1, len(frames_L), 1)
            heard.scatter_add_(2, column, (on_AL * strength)[..., None])
        tokens = heard[..., : len(SYMBOLS)].unflatten(1, (-1, group)).mean(2).clamp(max=1.0)
        return tokens[torch.arange(tokens.shape[1], device=device) < num_tokens[:, None]]

    def _misheard(
        self, ids: Tensor, at_AL: Tensor, classes_AL: Tensor, max_phone_error: float
    ) -> Tensor:
        """Whole phones become others, and half as many go unheard."""
        segment_AL = self.segments.take(ids, at_AL)
        of_clip_AL = segment_AL - segment_AL[:, :1]

        def drawn() -> Tensor:
            return torch.rand(segment_AL.shape, device=self.device).gather(1, of_clip_AL)

        rate_A1 = torch.rand(len(ids), 1, device=self.device) * max_phone_error
        dice_AL, spoken_AL = drawn(), classes_AL > 0
        lost_AL = spoken_AL & (dice_AL >= rate_A1) & (dice_AL < 1.5 * rate_A1)
        others_AL = self._taken_for(classes_AL.clamp(min=1) - 1, drawn()) + 1
        changed_AL = torch.where(spoken_AL & (dice_AL < rate_A1), others_AL, classes_AL)
        return changed_AL.masked_fill(lost_AL, SILENCE)

    def _taken_for(self, phones_AL: Tensor, dice_AL: Tensor) -> Tensor:
        """Another phone for each, as its dice in [0, 1) fall."""
        if self.confusions is None:
            return (dice_AL * len(PHONES)).long()
        shares_PP = self.confusions / self.confusions.sum(1, keepdim=True)
        passed_ALP = shares_PP.cumsum(1)[phones_AL] <= dice_AL[..., None]
        return passed_ALP.sum(-1).clamp(max=len(PHONES) - 1)


def _middles(frames_L: Tensor, speed_A: Tensor) -> Tensor:
    """Which frame of its clip each frame `(A, L)` was, heard at a speed: the one in its middle."""
    return ((frames_L + 0.5) * speed_A[:, None]).floor().long()


def _tracts(may_change: Tensor) -> Tensor:
    """Factors `(A,)` on formants and pitch; half of the voices that may become somebody else's."""

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(len(may_change), device=may_change.device).uniform_(low, high)

    changes = may_change & (drawn(0, 1) < OTHER_SHARE)
    return torch.where(changes, drawn(*OTHER_TRACTS), drawn(*TRACTS))


def _spoilt(mel_AFM: Tensor, valid_AF: Tensor, tract_A: Tensor) -> Tensor:
    """Another vocal tract, a noise below the sound, a narrow band of both, a microphone and level.

    Works on log10 of power, where noise adds as powers do.
    """
    device, (count, num_frames, bins) = mel_AFM.device, mel_AFM.shape

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(count, 1, 1, device=device).uniform_(low, high)

    at_AM = bins_of_other_pitch(bins, tract_A).clamp(max=bins - 1.001)
    low_AM = at_AM.floor().long()
    index = low_AM[:, None, :].expand(-1, num_frames, -1)
    share = (at_AM - low_AM)[:, None, :]
    mel_AFM = mel_AFM.gather(2, index).lerp(mel_AFM.gather(2, index + 1), share)
    audible = (mel_AFM.clamp(min=-6) * valid_AF[..., None]).sum((1, 2), keepdim=True)
    mean_A11 = audible / valid_AF.sum(1)[:, None, None] / bins
    level = mean_A11 + 0.8 - drawn(0.5, 3.5)
    level = torch.where(drawn(0, 1) < NOISY_SHARE, level, torch.full_like(level, -20.0))
    slope = torch.linspace(-1, 1, bins, device=device)
    colour = drawn(-0.8, 0.4) * slope + _curves(mel_AFM, MAX_COLOUR)
    noise = level + colour + 0.25 * torch.randn_like(mel_AFM)
    mel_AFM = torch.logaddexp(mel_AFM * LN10, noise * LN10) / LN10
    narrow = torch.where(drawn(0, 1) < 0.5, TELEPHONE, drawn(NARROW_FROM, 1.0)) * bins
    highest = torch.where(drawn(0, 1) < NARROW_SHARE, narrow, bins)
    mel_AFM = mel_AFM.masked_fill(torch.arange(bins, device=device) > highest, NOTHING)
    return mel_AFM + _responses(mel_AFM) + drawn(-0.3, 0.3) * slope + drawn(-1.2, 0.6)


def _responses(mel_AFM: Tensor) -> Tensor:
    """What a microphone makes of each clip's bands, `(A, 1, M)`; nothing in half of the clips."""
    hears_alike = torch.rand(len(mel_AFM), 1, 1, device=mel_AFM.device) < 0.5
    return _curves(mel_AFM, MAX_RESPONSE).masked_fill(hears_alike, 0.0)


def _curves(mel_AFM: Tensor, largest: float) -> Tensor:
    """A change of its own to the bands of each clip, `(A, 1, M)`: up to ``largest`` more or less at
    a few frequencies, straight between them.
    """
    count, _, bins = mel_AFM.shape
    knots = torch.empty(count, 1, RESPONSE_KNOTS, device=mel_AFM.device)
    knots.uniform_(-largest, largest)
    return nn.functional.interpolate(knots, size=bins, mode="linear", align_corners=True)


def _masked(mel_AFM: Tensor, valid_AF: Tensor, lengths: Tensor) -> Tensor:
    """SpecAugment: two stretches of time and two of frequency become the clip's mean."""
    device, (count, num_frames, bins) = mel_AFM.device, mel_AFM.shape
    total = mel_AFM.masked_fill(~valid_AF[..., None], 0.0).sum((1, 2))
    hidden = torch.zeros(mel_AFM.shape, dtype=torch.bool, device=device)

    def stretch(positions: Tensor, sizes: Tensor, max_share: float) -> Tensor:
        size = torch.rand(count, device=device) * max_share * sizes
        start = torch.rand(count, device=device) * (sizes - size)
        return (positions >= start[:, None]) & (positions < (start + size)[:, None])

    frames_F, bins_M = (torch.arange(n, device=device) for n in (num_frames, bins))
    for _ in range(2):
        hidden |= stretch(frames_F, lengths, 0.07)[..., None]
        hidden |= stretch(bins_M, torch.full_like(lengths, bins), 0.15)[:, None, :]
    return torch.where(hidden, (total / lengths / bins)[:, None, None], mel_AFM)
