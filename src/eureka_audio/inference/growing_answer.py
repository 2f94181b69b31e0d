"""One answer while it grows: its tokens, what of its text can be shown, and when it ends."""

from collections.abc import Collection
from copy import copy

from torch import Tensor
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.inference.sampling import GenerationOptions
from eureka_audio.protocols import FinishReason

REPLACEMENT = "\ufffd"  # what the bytes of half a character decode to


class GrowingAnswer:
    """Takes tokens one by one until it has finished.

    Args:
        tokenizer: turns tokens into text.
        end_ids: tokens that end an answer; they are not part of it.
        max_new_tokens: the limit.
        options: stop strings and the limit on repetition.

    Attributes:
        token_ids: so far, without the one that ends the answer.
        finish_reason: why it ended; `None` while it grows.
        ctc_logits: what a CTC head heard in the audio of the prompt `(L, letters)`, if it did.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        end_ids: Collection[int],
        max_new_tokens: int,
        options: GenerationOptions,
    ) -> None:
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.ctc_logits: Tensor | None = None
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._max_new_tokens = max_new_tokens
        self._stop = options.stop
        self._max_repeats = options.max_repeats
        self._num_shown = 0  # characters handed out by `new_text`

    @property
    def has_finished(self) -> bool:
        """Whether no token may be added any more."""
        return self.finish_reason is not None

    def add(self, token: int) -> None:
        """Take the next token and judge whether it ends the answer."""
        if token in self._end_ids:
            self.finish_reason = "stop"
            return
        self.token_ids.append(token)
        if self._stop and self._stop_position(self._decode()) is not None:
            self.finish_reason = "stop"
        elif self._max_repeats and repeats_itself(self.token_ids, self._max_repeats):
            self.finish_reason = "repetition"
        elif len(self.token_ids) >= self._max_new_tokens:
            self.finish_reason = "length"

    def clear(self) -> None:
        """Say nothing after all."""
        self.token_ids = []
        self.finish_reason = "stop"

    def fork(self) -> "GrowingAnswer":
        """The same answer, to grow another way."""
        branch = copy(self)
        branch.token_ids = list(self.token_ids)
        return branch

    @property
    def text(self) -> str:
        """The text of all tokens, up to a stop string."""
        text = self._decode()
        return text[: self._stop_position(text)]

    def new_text(self) -> str:
        """What can be shown since the last call; all calls together give `text`.

        Half a character, and what may turn out to begin a stop string, wait for the next token.
        """
        text = self.text
        if not self.has_finished:
            text = text.rstrip(REPLACEMENT)
            text = text[: len(text) - self._num_held_back(text)]
        piece = text[self._num_shown :]
        self._num_shown += len(piece)
        return piece

    def _decode(self) -> str:
        return str(
            self._tokenizer.decode(
                self.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _stop_position(self, text: str) -> int | None:
        """Where the first stop string begins."""
        found = [place for place in map(text.find, self._stop) if place >= 0]
        return min(found, default=None)

    def _num_held_back(self, text: str) -> int:
        """Characters at the end of a text that may be the beginning of a stop string."""
        return max(
            (
                length
                for stop in self._stop
                for length in range(1, len(stop))
                if text.endswith(stop[:length])
            ),
            default=0,
        )


def repeats_itself(token_ids: list[int], max_repeats: int) -> bool:
    """Whether the last tokens are one group, of any length, `max_repeats` times in a row.

    Example:
        >>> repeats_itself([7, 1, 2, 1, 2, 1, 2], max_repeats=3)
        True
    """
    last = len(token_ids) - 1
    for length in range(1, len(token_ids) // max_repeats + 1):
        first = len(token_ids) - length * (max_repeats - 1)
        if all(token_ids[i] == token_ids[i - length] for i in range(last, first - 1, -1)):
            return True
    return False
