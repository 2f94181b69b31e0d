"""The model as vLLM runs it: our own ears, and vLLM's implementation of the language model.

A request on its way:

    prompt with one placeholder for each recording
      -> windows as log-mel, and the placeholder spelled out as `text.chat` does
      -> encoder and adapter (ours) -> embeddings -> language model (vLLM's, with its cache)
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BatchFeature
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsMultiModal
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
    PromptUpdateDetails,
)

from eureka_audio.audio import clock
from eureka_audio.model import EurekaAudioForConditionalGeneration
from eureka_audio.processor import EurekaAudioProcessor, pad_features
from eureka_audio.text.chat import audio_ids
from eureka_audio.text.tokenizer import AUDIO_PAD

WINDOW_SAMPLES = clock.WINDOW_SECONDS * clock.SAMPLING_RATE


class Info(BaseProcessingInfo):
    """What vLLM asks before it processes anything."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Any number of recordings."""
        return {"audio": None}

    def get_data_parser(self) -> MultiModalDataParser:
        """Recordings come as mono at our sampling rate, by the resampler that we use."""
        return MultiModalDataParser(
            target_sr=clock.SAMPLING_RATE, target_channels=1, audio_resample_method="soxr"
        )

    @property
    def processor(self) -> EurekaAudioProcessor:
        """The processor beside the model."""
        return self.ctx.get_hf_processor(EurekaAudioProcessor)


class Dummies(BaseDummyInputsBuilder[Info]):
    """The largest input that memory is reserved for: one window."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Placeholders alone."""
        return AUDIO_PAD * mm_counts.get("audio", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Silence of 30 s."""
        count = mm_counts.get("audio", 0)
        return {"audio": self._get_dummy_audios(length=WINDOW_SAMPLES, num_audios=count)}


class Processor(BaseMultiModalProcessor[Info]):
    """Recordings become windows of log-mel, and their placeholders as many tokens as they have."""

    def _call_hf_processor(
        self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, object]
    ) -> BatchFeature:
        features, lengths = [], []
        for waveform in hf_data["audio"]:
            samples = np.asarray(waveform, dtype=np.float32)
            window = pad_features(self.info.processor.window_features(samples))
            features.append(window["input_features"])
            lengths.append(window["feature_lengths"])
        return BatchFeature({"input_features": features, "feature_lengths": lengths})

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "input_features": MultiModalFieldConfig.batched("audio"),
            "feature_lengths": MultiModalFieldConfig.batched("audio", keep_on_cpu=True),
        }

    def _get_prompt_updates(
        self,
        mm_items: Any,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: Any,
    ) -> Sequence[PromptReplacement]:
        processor = self.info.processor
        pad = processor.audio_token_id

        def spelled(index: int) -> PromptUpdateDetails:
            lengths = out_mm_kwargs["audio"][index]["feature_lengths"].data
            counts = [clock.num_audio_tokens(length) for length in lengths.tolist()]
            return PromptUpdateDetails.select_token_id(audio_ids(processor.tokenizer, counts), pad)

        return [PromptReplacement(modality="audio", target=[pad], replacement=spelled)]


@MULTIMODAL_REGISTRY.register_processor(Processor, info=Info, dummy_inputs=Dummies)
class EurekaAudioForVllm(nn.Module, SupportsMultiModal):
    """Encoder and adapter as in training; the language model by vLLM's own class of its kind."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={
            name: f"ears.{name}"
            for name in ("audio_encoder.", "feature_mix.", "adapter.", "ctc_head.")
        }
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for a recording in a prompt."""
        return AUDIO_PAD if modality == "audio" else None

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.audio_token_id = config.audio_token_id
        with self._mark_tower_model(vllm_config, "audio"):  # type: ignore[operator]
            with torch.device("meta"):
                ears = EurekaAudioForConditionalGeneration(config)
            del ears.language_model
            self.ears = ears.to_empty(device=vllm_config.device_config.device)
        with self._mark_language_model(vllm_config):  # type: ignore[operator]
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(
        self, input_features: Any = (), feature_lengths: Any = (), **kwargs: object
    ) -> list[Tensor]:
        """Hear recordings: `(A, M, F)` and `(A,)` of each become embeddings `(N, D)`."""
        return [
            self.ears.get_audio_features(features, lengths).audio_embeds
            for features, lengths in zip(input_features, feature_lengths, strict=True)
        ]

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> Any:
        """Hidden states of the language model."""
        return self.language_model.model(
            input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds
        )

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Logits; a placeholder cannot be said."""
        logits: Tensor | None = self.language_model.compute_logits(hidden_states)
        if logits is not None:
            logits[..., self.audio_token_id] = float("-inf")
        return logits

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Take the weights of a folder."""
        loaded: set[str] = AutoWeightsLoader(self).load_weights(
            weights, mapper=self.hf_to_vllm_mapper
        )
        return loaded
