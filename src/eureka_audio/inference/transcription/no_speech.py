"""Does anybody speak? What the letters that a CTC head hears say to it.

A decoder that was asked for words always has some. Where the head finds it more probable that
nothing is said than that these words are, nothing should be written.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from eureka_audio.text.letters import BLANK, encode_characters


def no_speech_probability(ctc_logits_LV: Tensor, text: str) -> float:
    """How probable it is that nothing is said, where either that is so or this text is said.

    Args:
        ctc_logits_LV: of every encoder frame, `(L, letters)`.
        text: what might have been said; 1 is returned for one that does not fit into the frames.
    """
    nothing, said = text_log_probs(ctc_logits_LV, ["", text])
    return float(torch.sigmoid(torch.tensor(nothing - said)))


def text_log_probs(ctc_logits_LV: Tensor, texts: Sequence[str]) -> list[float]:
    """How probable each text is as the spelling of a sound: log-probabilities."""
    spelt = [encode_characters(text) for text in texts]
    log_probs_LV = ctc_logits_LV.float().cpu().log_softmax(-1)
    losses = functional.ctc_loss(
        log_probs_LV[:, None].expand(-1, len(texts), -1),
        torch.tensor([letter for letters in spelt for letter in letters], dtype=torch.long),
        torch.full((len(texts),), len(log_probs_LV)),
        torch.tensor([len(letters) for letters in spelt]),
        blank=BLANK,
        reduction="none",
    )
    return [-loss for loss in losses.tolist()]
