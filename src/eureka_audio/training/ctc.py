"""Connectionist temporal classification of what is heard: in tokens of the language model by the
adapter, in letters by the head on the encoder.

Departure: the paper's adapter learns from the language model's next token alone. Spelling with the
language model's own token embeddings first brings it near them in minutes, since the language
model is not run. The adapter spells who speaks and what sounds, too: taught words alone, it drops
the voice.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.records import AudioClip
from eureka_audio.tasks.catalogue import LANGUAGES
from eureka_audio.text.letters import BLANK, CHARACTERS
from eureka_audio.text.tokenizer import encode_plain

UNKNOWN = -1  # the length of a target that is not known
SAMPLED_TOKENS = 4096  # that stand for all of a vocabulary that no target of a batch holds


def ctc_loss_sum(
    logits_ALV: Tensor, frame_lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int
) -> Tensor:
    """The loss summed over all rows whose target is known.

    Only the symbols that occur are kept after the normalisation: a vocabulary has many thousands,
    a batch some hundred.

    Args:
        logits_ALV: `(A, L, V)`.
        frame_lengths: `(A,)` frames that are real.
        targets: `(A, W)` ids, padded.
        target_lengths: `(A,)`, `UNKNOWN` where not known, 0 where nothing is said.
        blank: the symbol of nothing said.
    """
    known = target_lengths >= 0
    if not bool(known.any()):
        return logits_ALV.sum() * 0.0
    targets, target_lengths = targets[known], target_lengths[known]
    symbols = torch.unique(torch.cat([targets.flatten(), targets.new_tensor([blank])]))
    logits_ALV = logits_ALV[known].float()
    log_probs = logits_ALV[..., symbols] - logits_ALV.logsumexp(-1, keepdim=True)
    blank_at = int(torch.searchsorted(symbols, targets.new_tensor(blank)))
    spelt = (torch.searchsorted(symbols, targets), frame_lengths[known], target_lengths, blank_at)
    if not torch.is_grad_enabled():
        return _plain_ctc(log_probs, *spelt)
    return _with_true_gradient(log_probs, *spelt)


def sampled_tokens(
    targets: Tensor, blank: int, vocab_size: int, number: int = SAMPLED_TOKENS
) -> tuple[Tensor, Tensor]:
    """Tokens `(K,)` to score in the place of a whole vocabulary, and what is added to their scores.

    All tokens of the targets and the blank, in order, and by chance `number` of the others, raised
    so that together they weigh as much as all others do. The whole vocabulary where it is small.

    Source: uniform sampled softmax (Bengio and Senecal, 2008).
    """
    kept = torch.unique(torch.cat([targets.flatten(), targets.new_tensor([blank])]))
    others = torch.ones(vocab_size, dtype=torch.bool, device=kept.device)
    others[kept] = False
    rest = others.nonzero().flatten()
    chosen = rest[torch.randperm(len(rest), device=rest.device)[:number]]
    raised = math.log(len(rest) / len(chosen)) if len(chosen) else 0.0
    added = torch.cat([torch.zeros(len(kept)), torch.full((len(chosen),), raised)])
    return torch.cat([kept, chosen]), added.to(kept.device)


def _plain_ctc(
    log_probs_ALK: Tensor, targets: Tensor, frame_lengths: Tensor, lengths: Tensor, blank: int
) -> Tensor:
    return nn.functional.ctc_loss(
        log_probs_ALK.transpose(0, 1),
        targets,
        frame_lengths,
        lengths,
        blank=blank,
        reduction="sum",
        zero_infinity=True,
    )


def _with_true_gradient(
    log_probs_ALK: Tensor, targets: Tensor, frame_lengths: Tensor, lengths: Tensor, blank: int
) -> Tensor:
    """The loss, with the gradient of log-probabilities that are not all there are.

    torch's own gradient is probability minus occupancy, which is right only behind a softmax over
    the very symbols given. The gradient of the loss itself is minus the occupancy alone.
    """
    given = log_probs_ALK.detach().requires_grad_()
    loss = _plain_ctc(given, targets, frame_lengths, lengths, blank)
    (gradient,) = torch.autograd.grad(loss, given)
    frames_L = torch.arange(given.shape[1], device=given.device)
    is_real_AL1 = (frames_L < frame_lengths[:, None]).unsqueeze(-1)
    slope = (gradient - given.detach().exp()) * is_real_AL1
    surrogate = (slope * log_probs_ALK).sum()
    return loss.detach() + surrogate - surrogate.detach()


def pad_targets(
    spelt: Sequence[Sequence[int] | None], num_frames: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Ids of what is said -> targets `(A, W)` and their lengths `(A,)`.

    What is unknown (`None`), or has not as many frames as it needs, has the length `UNKNOWN`.
    """
    fitting = [
        None if ids is None or frames_needed(ids) > frames else ids
        for ids, frames in zip(spelt, num_frames, strict=True)
    ]
    targets = torch.zeros(len(fitting), max([1, *(len(ids or ()) for ids in fitting)])).long()
    lengths = torch.full((len(fitting),), UNKNOWN)
    for row, ids in enumerate(fitting):
        if ids is not None:
            targets[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
            lengths[row] = len(ids)
    return targets, lengths


def frames_needed(ids: Sequence[int]) -> int:
    """Frames in which a target can be spelt: one each, and a blank between two of the same."""
    return len(ids) + sum(left == right for left, right in pairwise(ids))


def num_learnt(target_lengths: Tensor, frame_lengths: Tensor) -> int:
    """Symbols learnt; where nothing is said, every frame counts as one."""
    counts = torch.where(target_lengths > 0, target_lengths, frame_lengths)
    return int(counts[target_lengths >= 0].sum())


def greedy_ids(logits_ALV: Tensor, frame_lengths: Tensor, blank: int) -> list[list[int]]:
    """Best path of each row: repeats merged, blanks dropped."""
    paths = logits_ALV.argmax(-1)
    return [
        [i for i in torch.unique_consecutive(path[:length]).tolist() if i != blank]
        for path, length in zip(paths, frame_lengths.tolist(), strict=True)
    ]


def greedy_letters(logits_ALV: Tensor, frame_lengths: Tensor) -> list[str]:
    """What the letters' head spells, row by row."""
    spelt = greedy_ids(logits_ALV, frame_lengths, BLANK)
    return ["".join(CHARACTERS[i - 1] for i in ids).strip() for ids in spelt]


def blank_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that stands for nothing said, which most audio tokens spell: a lone space, which no
    normalised transcript holds and over which a language model reads on (`docs/decisions.md`). The
    padding where a vocabulary has no such token.
    """
    space = encode_plain(tokenizer, " ")
    return space[0] if len(space) == 1 else int(tokenizer.pad_token_id)


def spoken_words(clip: AudioClip) -> str | None:
    """What is said; empty when certainly nothing, `None` when unknown or in a language that no task
    transcribes.
    """
    if clip.transcript is not None:
        return clip.transcript if clip.language in LANGUAGES else None
    return "" if clip.is_speechless else None


def heard_words(clip: AudioClip) -> str | None:
    """What the adapter spells: what is said, then who says it, how, and what else sounds, each in
    the words that a question about it is answered with; empty when there is nothing, `None` when
    nothing is known.

    Example:
        "we call it bear female adult" of a clip of speech, "dog rain" of one without.
    """
    said = spoken_words(clip)
    told = [said] if said else []
    if clip.speaker is not None:
        told += [each for each in (clip.speaker.gender, clip.speaker.age_group) if each]
    if clip.emotion is not None:
        told.append(clip.emotion)
    if clip.events is not None:
        # What is said stands for the label of speech.
        events = [event for event in clip.events if not (said and event.kind == "speech")]
        told += dict.fromkeys(event.label for event in events)
    return " ".join(told) if told else said
