"""The model under training: which of its tensors learn, and its losses. Stage 1, Stage 2 and
supervised fine-tuning differ only in their values.

Source: paper sections 4 and 5.2.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from eureka_audio.errors import ConfigError
from eureka_audio.model.modeling import (
    IGNORED_LABEL,
    AudioFeaturesOutput,
    EurekaAudioForConditionalGeneration,
)
from eureka_audio.text.letters import BLANK
from eureka_audio.training.collator import SHAPE_MULTIPLE
from eureka_audio.training.ctc import SAMPLED_TOKENS, ctc_loss_sum, sampled_tokens
from eureka_audio.training.lora import LoraConfig
from eureka_audio.training.recipe import LossWeights
from eureka_audio.training.trainer import BatchLoss

PARTS = ("audio_encoder", "adapter", "ctc_head", "language_model")
FIXED = "audio_encoder.embed_positions."  # Whisper's are sines
UPDATES = ("lora_down", "lora_up")
TOKEN_WEIGHT = 4.0  # a token that is spelt, beside a blank, in the loss `cosine`
GROUP_COST = 40  # tokens' worth of work that a further pass over the weights costs on a CPU


class MultimodalModel(nn.Module):
    """The model with the losses of a stage, each a share of what the step learns.

    Args:
        model: what learns.
        losses: what is learnt, and how much it weighs.
        blank_id: the token that stands for nothing said, in `ctc`.
    """

    def __init__(
        self, model: EurekaAudioForConditionalGeneration, losses: LossWeights, blank_id: int
    ) -> None:
        super().__init__()
        self.model = model
        self.losses = losses
        self.blank_id = blank_id

    def forward(
        self,
        totals: Mapping[str, float],
        targets: Mapping[str, Tensor],
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **audio: Tensor,
    ) -> BatchLoss:
        """The batch's share of a step's loss.

        Args:
            totals: what the whole step learns, by kind (`MultimodalCollator`'s counts).
            targets: of the two spellings.
            input_ids: `(B, T)`, `None` where no answer is learnt; with its mask and labels.
            attention_mask: `(B, T)`.
            labels: `(B, T)`.
            **audio: what `get_audio_features` takes.
        """
        heard = self.model.get_audio_features(**audio)
        parts: dict[str, Tensor] = {}
        if self.losses.next_token:
            assert input_ids is not None
            assert labels is not None
            parts["next_token"] = self._next_token_sum(heard, input_ids, attention_mask, labels)
        if self.losses.ctc:
            parts |= self._spelling_sums(heard, targets["tokens"], targets["token_lengths"])
        if self.losses.letters:
            parts["letters"] = self._letters_sum(heard, targets)
        shares = {name: part / max(totals[name], 1) for name, part in parts.items()}
        loss = torch.stack([getattr(self.losses, name) * shares[name] for name in shares]).sum()
        metrics: dict[str, float | Tensor] = {
            f"{name}_loss": share.detach() for name, share in shares.items()
        }
        if heard.router_statistics is not None:
            share = len(heard.audio_embeds) / totals["audio_tokens"]
            balance = heard.router_statistics.load_balancing_loss * share
            loss = loss + self.model.config.adapter_config.router_aux_loss_coef * balance
            busy = heard.router_statistics.tokens_per_expert.float()
            metrics["load_balancing_loss"] = balance.detach()
            metrics["busiest_expert_share"] = busy.max() / busy.sum() * share
        return BatchLoss(loss, metrics)

    def _next_token_sum(
        self,
        heard: AudioFeaturesOutput,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        labels: Tensor,
    ) -> Tensor:
        """Eq. 2, summed over the tokens learnt."""
        assert attention_mask is not None
        embeds = self.model.embed(input_ids, heard)
        sums: list[Tensor] = []
        for rows, length in rows_by_length(attention_mask):
            learnt = labels[rows, :length]
            output = self.model(
                inputs_embeds=embeds[rows, :length],
                attention_mask=attention_mask[rows, :length],
                labels=learnt,
                use_cache=False,
            )
            sums.append(output.ntp_loss * (learnt[:, 1:] != IGNORED_LABEL).sum())
        return torch.stack(sums).sum()

    def _spelling_sums(
        self, heard: AudioFeaturesOutput, targets: Tensor, lengths: Tensor
    ) -> dict[str, Tensor]:
        """How badly the targets are spelt, and how far what is said is from what it spells."""
        vocab_size = len(self.model.get_input_embeddings().weight)
        number = SAMPLED_TOKENS if self.training else vocab_size
        tokens, added = sampled_tokens(targets, self.blank_id, vocab_size, number)
        places = torch.zeros(vocab_size, dtype=targets.dtype, device=targets.device)
        places[tokens] = torch.arange(len(tokens), dtype=targets.dtype, device=targets.device)
        logits_AUK = self.token_logits(heard, tokens)
        sums = {
            "ctc": ctc_loss_sum(
                logits_AUK + added,
                heard.token_lengths,
                places[targets],
                lengths,
                int(places[self.blank_id]),
            )
        }
        if self.losses.cosine:
            best = zip(logits_AUK.argmax(dim=-1), heard.token_lengths.tolist(), strict=True)
            spelt = tokens[torch.cat([row[:length] for row, length in best])]
            meant = self.model.get_input_embeddings().weight.detach()[spelt]
            near = nn.functional.cosine_similarity(heard.audio_embeds.float(), meant.float())
            weights = torch.where(spelt == self.blank_id, 1.0, TOKEN_WEIGHT)
            sums["cosine"] = (weights * (1 - near)).sum()
        return sums

    def token_logits(self, heard: AudioFeaturesOutput, tokens: Tensor) -> Tensor:
        """Scores `(A, U, K)` of tokens `(K,)` at every audio token: the angle between the two,
        times twice the square root of the width. How loud the adapter speaks plays no part: it
        would learn to shout, and the language model would read over it.
        """
        embeddings_VD = self.model.get_input_embeddings().weight.detach()
        scale = 2 * embeddings_VD.float().pow(2).mean().rsqrt() / embeddings_VD.shape[1] ** 0.5
        heard_AUD = heard.by_window()
        even_AUD = nn.functional.rms_norm(heard_AUD.float(), heard_AUD.shape[-1:], eps=1e-6)
        return nn.functional.linear(even_AUD * scale, embeddings_VD[tokens])

    def _letters_sum(self, heard: AudioFeaturesOutput, targets: Mapping[str, Tensor]) -> Tensor:
        assert heard.ctc_logits is not None
        return ctc_loss_sum(
            heard.ctc_logits,
            targets["frame_lengths"],
            targets["letters"],
            targets["letter_lengths"],
            BLANK,
        )


def rows_by_length(attention_mask: Tensor) -> list[tuple[Tensor, int]]:
    """Rows `(R,)` to be read together, and how far.

    On a GPU all of a batch: it is wide. On a CPU, where what costs are the tokens, padding among
    them, rows of like length, grouped so that all groups together cost least.

    Args:
        attention_mask: `(B, T)`, padded at the end.
    """
    lengths = attention_mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    padded = [-(-n // SHAPE_MULTIPLE) * SHAPE_MULTIPLE for n in lengths[order].tolist()]
    sizes = _cheapest_groups(padded) if order.device.type == "cpu" else [len(padded)]
    ends = list(accumulate(sizes))
    return [(rows, padded[end - 1]) for rows, end in zip(order.split(sizes), ends, strict=True)]


def _cheapest_groups(lengths: Sequence[int]) -> list[int]:
    """Sizes of the groups of ascending lengths that cost least: a group is as long as its longest
    row in each row, and costs `GROUP_COST` beside. By dynamic programming.
    """
    best: list[tuple[int, list[int]]] = [(0, [])]  # of the first rows: the cost, the sizes
    for end, length in enumerate(lengths, start=1):
        best.append(
            min(
                (cost + (end - start) * length + GROUP_COST, [*sizes, end - start])
                for start, (cost, sizes) in enumerate(best)
            )
        )
    return best[-1][1]


def choose_trainable(
    model: nn.Module, trainable: Sequence[str], lora: LoraConfig | None = None
) -> None:
    """Let these tensors learn, and no others.

    Args:
        model: of which.
        trainable: names of parts, and regular expressions that match whole names of tensors.
        lora: the language model learns by its updates, its own tensors stay.

    Raises:
        ConfigError: something matches no tensor.
    """
    chosen: set[str] = set()
    names = [name for name, _ in model.named_parameters()]
    for pattern in trainable:
        found = {name for name in names if _matches(name, pattern, lora is not None)}
        if not found:
            raise ConfigError(
                f"trainable: expected parts ({', '.join(PARTS)}) or regular expressions that match "
                f"names of tensors, got {pattern!r}, which matches none of {len(names)}, such as "
                f"{names[len(names) // 2]}"
            )
        chosen |= found
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


def _matches(name: str, pattern: str, has_lora: bool) -> bool:
    if pattern not in PARTS:
        return re.fullmatch(pattern, name) is not None
    prefixes = ("adapter.", "feature_mix.") if pattern == "adapter" else (f"{pattern}.",)
    if not name.startswith(prefixes) or name.startswith(FIXED):
        return False
    return not (has_lora and pattern == "language_model") or name.endswith(UPDATES)
