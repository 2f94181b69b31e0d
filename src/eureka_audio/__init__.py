"""Compact audio intelligence: Whisper encoder -> Mixture-of-Experts adapter -> Qwen3 decoder.

Names are resolved when they are first used: `import eureka_audio` alone loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eureka_audio.audio.decode import DecodedAudio as DecodedAudio
    from eureka_audio.audio.decode import load_audio as load_audio
    from eureka_audio.errors import EurekaAudioError as EurekaAudioError
    from eureka_audio.inference.assistant import EurekaAudio as EurekaAudio
    from eureka_audio.model import EurekaAudioConfig as EurekaAudioConfig
    from eureka_audio.model import (
        EurekaAudioForConditionalGeneration as EurekaAudioForConditionalGeneration,
    )
    from eureka_audio.processor import EurekaAudioProcessor as EurekaAudioProcessor
    from eureka_audio.protocols import Reply as Reply

__version__ = "0.1.0"

_HOMES = {
    "DecodedAudio": "eureka_audio.audio.decode",
    "EurekaAudio": "eureka_audio.inference.assistant",
    "EurekaAudioConfig": "eureka_audio.model",
    "EurekaAudioError": "eureka_audio.errors",
    "EurekaAudioForConditionalGeneration": "eureka_audio.model",
    "EurekaAudioProcessor": "eureka_audio.processor",
    "Reply": "eureka_audio.protocols",
    "load_audio": "eureka_audio.audio.decode",
}
# Whoever asks for one of these may go on with transformers' Auto classes.
_REGISTERED = {"EurekaAudioConfig", "EurekaAudioForConditionalGeneration", "EurekaAudioProcessor"}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _REGISTERED:
        import_module("eureka_audio.inference")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
