"""A batch of rows that a language model reads on, whatever model of transformers it is."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eureka_audio.errors import ConfigError
from eureka_audio.inference.cache import RowCache
from eureka_audio.inference.single_row import kernels_for
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.model.modeling import CACHE_NAME

FULL, SLIDING = "full_attention", "sliding_attention"


class Decoding:
    """Rows of different length, each read on from where it is.

    Args:
        model: whose language model reads.
        cache: of what was read; a new one by default.

    Raises:
        ConfigError: a language model some of whose layers keep something else than keys and values.
    """

    def __init__(
        self, model: EurekaAudioForConditionalGeneration, cache: RowCache | None = None
    ) -> None:
        config = model.language_model.config
        self._model = model
        self._kinds = set(getattr(config, "layer_types", None) or ())
        is_sliding = not self._kinds or SLIDING in self._kinds
        self._window = getattr(config, "sliding_window", None) if is_sliding else None
        if unknown := self._kinds - {FULL, SLIDING}:
            raise ConfigError(
                f"text_config.layer_types: expected {FULL} or {SLIDING}, got "
                f"{', '.join(sorted(unknown))}; choose another language model"
            )
        self.cache = RowCache(config.num_hidden_layers) if cache is None else cache

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return len(self.cache.lengths)

    def start(self, num_rows: int) -> None:
        """Add empty rows, before anything is read."""
        self.cache.lengths += [0] * num_rows

    def extend(
        self,
        inputs_embeds: Tensor,
        num_new: Sequence[int] | None = None,
        *,
        keep_all: bool = False,
    ) -> Tensor:
        """Read the next tokens of every row.

        Args:
            inputs_embeds: `(B, C, D)`, padded on the right.
            num_new: how many of the C are real, in each row; `None` when all are.
            keep_all: whether the logits of all places are wanted.

        Returns:
            Logits after the last real token of each row, `(B, V)`; with `keep_all` after every
            token, `(B, C, V)`.
        """
        num_rows, num_tokens = inputs_embeds.shape[:2]
        language_model = self._model.language_model
        self.cache.begin_step(num_tokens, inputs_embeds.device)
        with kernels_for(language_model, num_rows * num_tokens, inputs_embeds.device):
            hidden_BCD = self._read(inputs_embeds)
            if not keep_all:
                last_B = torch.tensor(num_new or num_tokens, device=hidden_BCD.device) - 1
                hidden_BCD = hidden_BCD[torch.arange(num_rows, device=last_B.device), last_B]
            logits: Tensor = language_model.get_output_embeddings()(hidden_BCD)
        for row in range(num_rows):
            self.cache.lengths[row] += num_tokens if num_new is None else num_new[row]
        return logits

    def join(self, other: "Decoding", row: int) -> None:
        """Copy a row of another batch behind the last row."""
        self.cache.join(other.cache, row)

    def fork(self, rows: Sequence[int]) -> "Decoding":
        """Go on apart with the given rows; a row may be taken several times."""
        return Decoding(self._model, self.cache.fork(rows))

    def _read(self, inputs_embeds: Tensor) -> Tensor:
        """The last hidden states `(B, C, D)` of tokens that go where the cache's step says."""
        base_model = self._model.language_model.base_model
        positions_BC = self.cache.step.places
        hidden_BCD: Tensor = base_model(
            inputs_embeds=inputs_embeds,
            attention_mask=self._mask(positions_BC),
            position_ids=positions_BC,
            use_cache=True,
            **{CACHE_NAME: self.cache},
        ).last_hidden_state
        return hidden_BCD

    def _mask(self, positions_BC: Tensor) -> Any:
        """What each new token may look at: `(B, 1, C, T)`, for each kind of layer where there are
        several; `None` where transformers needs none.
        """
        step = self.cache.step
        num_tokens = positions_BC.shape[1]
        if self._window is None and step.start is not None and (num_tokens == 1 or step.start == 0):
            return None
        places_T = torch.arange(step.width, device=positions_BC.device)
        positions_B1C1 = positions_BC[:, None, :, None]
        full_B1CT = places_T <= positions_B1C1
        if self._window is None:
            return full_B1CT
        sliding_B1CT = full_B1CT & (places_T > positions_B1C1 - self._window)
        masks = {FULL: full_B1CT, SLIDING: sliding_B1CT}
        return {kind: masks[kind] for kind in self._kinds} if self._kinds else sliding_B1CT
