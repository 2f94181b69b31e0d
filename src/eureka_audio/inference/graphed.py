"""Decoding on a GPU by CUDA graphs: a step is recorded once and replayed, whatever rows are in it.

Between two tokens a GPU waits for Python to launch hundreds of kernels; a graph launches them at
once. It can be replayed only where shapes and places in memory are the same, so rows and the places
that attention looks at are rounded up to few sizes, and the cache stays where it is. Rows and
places that are too many are computed and ignored.

Not tried yet: written without a GPU at hand. The steps are tested without recording them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eureka_audio.inference.cache import CacheStep, RowCache
from eureka_audio.inference.decoding import Decoding
from eureka_audio.model import EurekaAudioForConditionalGeneration

FEWEST_PLACES = 256
NUM_WARM_UP = 2  # runs before recording, in which libraries make up their minds


class GraphedDecoding(Decoding):
    """Rows that are read on by one token each, in steps that are recorded.

    Args:
        model: whose language model reads.
        record: makes a call that does again what a call did; by default by a CUDA graph.
    """

    def __init__(
        self,
        model: EurekaAudioForConditionalGeneration,
        record: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
    ) -> None:
        num_layers = model.language_model.config.num_hidden_layers
        super().__init__(model, RowCache(num_layers, keeps_memory=True))
        self._record = record or record_graph
        self._steps: dict[tuple[int, int], _RecordedStep] = {}
        self._address = 0

    def step(self, token_ids: Sequence[int], device: torch.device) -> Tensor:
        """Read one token in every row; returns logits `(B, V)`."""
        lengths = self.cache.lengths
        num_rows, num_places = _rounded_up(len(lengths)), _rounded_up(max(lengths) + 1)
        num_places = max(num_places, FEWEST_PLACES)
        address = self.cache.reserve(num_rows, num_places)
        if address != self._address:  # what was recorded reads and writes where nothing is now
            self._steps, self._address = {}, address
        size = num_rows, num_places
        if size not in self._steps:
            self._steps[size] = _RecordedStep(self, num_rows, num_places, device)
        logits_BV = self._steps[size](token_ids, lengths)
        self.cache.lengths = [length + 1 for length in lengths]
        return logits_BV


class _RecordedStep:
    """One step whose inputs and outputs always lie in the same place."""

    def __init__(
        self, decoding: GraphedDecoding, num_rows: int, num_places: int, device: torch.device
    ) -> None:
        self._decoding = decoding
        self._ids_B1 = torch.zeros(num_rows, 1, dtype=torch.long, device=device)
        self._places_B1 = torch.zeros_like(self._ids_B1)
        rows_B1 = torch.arange(num_rows, device=device)[:, None]
        self._step = CacheStep(num_places, None, rows_B1, self._places_B1)
        self._logits_BV: Tensor | None = None
        self._replay: Callable[[], None] | None = None

    def __call__(self, token_ids: Sequence[int], lengths: Sequence[int]) -> Tensor:
        """Logits after a token in each row; they are overwritten by the next call."""
        num_rows = len(token_ids)
        self._places_B1.zero_()
        self._places_B1[:num_rows, 0] = torch.tensor(lengths, device=self._ids_B1.device)
        self._ids_B1[:num_rows, 0] = torch.tensor(token_ids, device=self._ids_B1.device)
        if self._replay is None:
            self._replay = self._decoding._record(self._run)
        self._replay()
        assert self._logits_BV is not None
        return self._logits_BV[:num_rows].clone()

    def _run(self) -> None:
        decoding = self._decoding
        decoding.cache.step = self._step
        embeds_B1D = decoding._model.get_input_embeddings()(self._ids_B1)
        hidden_BD = decoding._read(embeds_B1D)[:, 0]
        self._logits_BV = decoding._model.get_output_embeddings()(hidden_BD)


def record_graph(run: Callable[[], None]) -> Callable[[], None]:
    """Record what a call does on the GPU; returns a call that does it again."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(NUM_WARM_UP):  # writes the same keys to the same places again
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _rounded_up(number: int) -> int:
    """The next power of two."""
    return 1 << (number - 1).bit_length()
