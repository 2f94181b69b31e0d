"""Audio encoder, adapter and language model, as one model of transformers.

Importing this package registers `eureka_audio` with transformers' Auto classes.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
)

from eureka_audio.model.configuration import EurekaAudioAdapterConfig, EurekaAudioConfig
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.presets import preset

__all__ = [
    "EurekaAudioAdapterConfig",
    "EurekaAudioConfig",
    "EurekaAudioForConditionalGeneration",
    "preset",
]

AutoConfig.register("eureka_audio", EurekaAudioConfig, exist_ok=True)
AutoConfig.register("eureka_audio_adapter", EurekaAudioAdapterConfig, exist_ok=True)
# The classes transformers gives its own audio language models, and AutoModelForCausalLM, which the
# released model asks for.
for auto_class in (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSpeechSeq2Seq,
):
    auto_class.register(EurekaAudioConfig, EurekaAudioForConditionalGeneration, exist_ok=True)
