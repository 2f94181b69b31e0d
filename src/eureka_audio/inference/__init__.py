"""Generation, and the friendly object.

Importing this package registers the processor with transformers' Auto classes, beside the model,
which knows nothing of it.
"""

from transformers import AutoProcessor

from eureka_audio.model import EurekaAudioConfig
from eureka_audio.processor import EurekaAudioProcessor

AutoProcessor.register(EurekaAudioConfig, EurekaAudioProcessor, exist_ok=True)
