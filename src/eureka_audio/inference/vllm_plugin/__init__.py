"""vLLM runs our models: `vllm serve FOLDER`, with this package installed beside vLLM.

vLLM calls `register` in each of its processes, since the package names it as an entry point of
`vllm.general_plugins`. Nothing else here imports vLLM.
"""

from pathlib import Path

from eureka_audio.text.tokenizer import THINK_START

FOLDER = Path(__file__).parent
ARCHITECTURE = "EurekaAudioForConditionalGeneration"


def register() -> None:
    """Tell vLLM of the architecture and of its chat template."""
    from vllm import ModelRegistry
    from vllm.transformers_utils.chat_templates.registry import register_chat_template_fallback_path

    from eureka_audio.model import EurekaAudioConfig  # its package tells transformers of it

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        place = f"{__name__}.model:EurekaAudioForVllm"
        ModelRegistry.register_model(ARCHITECTURE, place)
        register_chat_template_fallback_path(EurekaAudioConfig.model_type, chat_template_path)


def chat_template_path(name: str) -> Path:
    """The template that spells what `text.chat` assembles, for the tokenizer of a folder."""
    tokenizer = Path(name) / "tokenizer.json"
    thinks = tokenizer.exists() and f'"{THINK_START}"' in tokenizer.read_text("utf-8")
    return FOLDER / ("chat_think.jinja" if thinks else "chat.jinja")
