"""How a stage is judged while it learns: the loss per token on clips it does not learn from."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from eureka_audio.data.feature_bank import FeatureBank
from eureka_audio.data.mixture import Batch, Sample
from eureka_audio.data.sources import ClipSource
from eureka_audio.processor import EurekaAudioProcessor
from eureka_audio.training.collator import MultimodalCollator
from eureka_audio.training.multimodal import MultimodalModel
from eureka_audio.training.recipe import StageConfig

MAX_CLIPS, BATCH_SIZE = 160, 16  # of each source, all over it


class Evaluation:
    """Losses of the sources that a stage is to be evaluated on.

    Each clip is put to the one task named, its wording drawn by its own number; nothing is
    augmented, so the figures of two runs can be compared.

    Args:
        sources: clips by source.
        processor: makes tensors.
        stage: says which sources and tasks.
        banks: what a frozen encoder hears of each clip, if it is frozen.
    """

    def __init__(
        self,
        sources: Mapping[str, ClipSource],
        processor: EurekaAudioProcessor,
        stage: StageConfig,
        banks: Mapping[str, FeatureBank] | None,
    ) -> None:
        self.sources = {name: sources[name] for name in stage.evaluate}
        self.tasks = stage.evaluate
        tasks = {name: {task: 1.0} for name, task in stage.evaluate.items()}
        plain = stage.model_copy(update={"tasks": tasks, "text_share": 0.0})
        self.collate = MultimodalCollator(
            self.sources, processor, plain, banks=banks, augmented=False
        )

    def __call__(self, model: MultimodalModel) -> dict[str, float]:
        """Loss per token (or letter) learnt, by source, task and kind of loss."""
        figures: dict[str, float] = {}
        for name, source in self.sources.items():
            sums: Counter[str] = Counter()
            counts: Counter[str] = Counter()
            for batch in self._batches(name, source):
                tensors = _to(self.collate(batch), model)
                counted = tensors.pop("counts")
                metrics = model(**tensors, totals=counted).metrics
                for kind, count in counted.items():
                    if f"{kind}_loss" in metrics:
                        sums[kind] += float(metrics[f"{kind}_loss"]) * count
                        counts[kind] += count
            figures |= {
                f"{name}/{self.tasks[name]}/{kind}_loss": total / max(counts[kind], 1)
                for kind, total in sums.items()
            }
        return figures

    def _batches(self, name: str, source: ClipSource) -> list[Batch]:
        durations = source.durations_seconds
        indices = range(0, len(source.clips), max(1, len(source.clips) // MAX_CLIPS))
        ordered = sorted(indices, key=durations.__getitem__)
        samples = [Sample(name, index, index) for index in ordered if durations[index] <= 30]
        return [
            Batch(tuple(samples[start : start + BATCH_SIZE]))
            for start in range(0, len(samples), BATCH_SIZE)
        ]


def _to(batch: dict[str, Any], model: MultimodalModel) -> dict[str, Any]:
    device = model.model.device
    return {
        name: _to(value, model)
        if name == "targets"
        else value.to(device)
        if isinstance(value, Tensor)
        else value
        for name, value in batch.items()
    }
