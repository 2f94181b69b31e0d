"""One answer while it grows: its tokens, what of its text can be shown, and when it ends."""

from collections.abc import Collection, Sequence
from copy import copy

from torch import Tensor
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from eureka_audio.protocols import FinishReason

REPLACEMENT = "\ufffd"  # what the bytes of half a character decode to
NUM_LEANT_ON = 8  # tokens: more than the bytes of a character


class GrowingAnswer:
    """Takes tokens one by one until it has finished.

    Args:
        tokenizer: turns tokens into text.
        end_ids: tokens that end an answer; they are not part of it.
        max_new_tokens: the limit.
        stop: the answer ends before the first of these strings.
        max_repeats: it ends, too, once its last tokens repeat themselves this often in a row.

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
        stop: Sequence[str] = (),
        max_repeats: int | None = None,
    ) -> None:
        self.token_ids: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.ctc_logits: Tensor | None = None
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._max_new_tokens = max_new_tokens
        self._stop = tuple(stop)
        self._max_repeats = max_repeats
        self._num_shown = 0  # characters handed out by `new_text`
        self._settled = ""  # the text of the first tokens, which no later one changes
        self._num_settled = 0  # how many those are
        self._num_before = 0  # and how many of them are left out when the rest is decoded
        self._tail = ""  # the text of the tokens after them
        self._num_decoded = 0

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
        self._settled = self._tail = ""
        self._num_settled = self._num_before = self._num_decoded = 0

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
        """The text of all tokens; only those that came since the last call are decoded.

        They are decoded together with a few before them, which the first of them may lean on.
        """
        num_tokens = len(self.token_ids)
        if self._num_decoded < num_tokens:
            before = self._text_of(self.token_ids[self._num_before : self._num_settled])
            fresh = self._text_of(self.token_ids[self._num_before :])[len(before) :]
            self._num_decoded = num_tokens
            if fresh.endswith(REPLACEMENT):  # half a character: what comes next may complete it
                self._tail = fresh
            else:
                self._settled, self._tail = self._settled + fresh, ""
                self._num_before = max(self._num_settled, num_tokens - NUM_LEANT_ON)
                self._num_settled = num_tokens
        return self._settled + self._tail

    def _text_of(self, token_ids: list[int]) -> str:
        return str(
            self._tokenizer.decode(
                token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
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
