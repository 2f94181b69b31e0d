"""The released Eureka-Audio under our names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from eureka_audio.errors import CheckpointError
from eureka_audio.model.configuration import EurekaAudioConfig
from eureka_audio.model.joining import assemble
from eureka_audio.model.modeling import EurekaAudioForConditionalGeneration
from eureka_audio.model.part_tensors import weight_files
from eureka_audio.model.weights import tensor_shapes

RELEASED_PREFIXES = {
    "audio_encoder.speech_encoder.": "audio_encoder.",
    "backbone.": "language_model.",
}
RELEASED_ADAPTER_PREFIX = "audio_moe_adaptor."
# What the released class itself reports as unused; an embedding and a head for semantic audio
# tokens among them.
RELEASED_UNUSED_PREFIXES = (
    "audio_embed.",
    "audio_head.",
    "audio_out_projection.",
    "audio_ffn_adaptor.",
    "lm_head.",
)


@dataclass(frozen=True)
class ReleasedNames:
    """Tensor names of the released checkpoint, sorted by what can be done with them.

    Attributes:
        renamed: released name -> ours.
        adapter: names inside the released adapter, whose meaning is unpublished.
        unused: names the released class itself does not use; kept, not loaded.
    """

    renamed: dict[str, str]
    adapter: tuple[str, ...]
    unused: tuple[str, ...]


def sort_released_names(names: list[str]) -> ReleasedNames:
    """Sort the tensor names of the released checkpoint.

    Raises:
        CheckpointError: a name is of none of the known kinds.
    """
    renamed, adapter, unused, unknown = {}, [], [], []
    for name in names:
        prefix = next((prefix for prefix in RELEASED_PREFIXES if name.startswith(prefix)), None)
        if prefix is not None:
            renamed[name] = RELEASED_PREFIXES[prefix] + name.removeprefix(prefix)
        elif name.startswith(RELEASED_ADAPTER_PREFIX):
            adapter.append(name)
        elif name.startswith(RELEASED_UNUSED_PREFIXES):
            unused.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(
            f"released checkpoint: expected names that start with {', '.join(RELEASED_PREFIXES)} "
            f"or {RELEASED_ADAPTER_PREFIX}, got {', '.join(unknown)}; this is another checkpoint"
        )
    return ReleasedNames(renamed, tuple(adapter), tuple(unused))


def from_released(
    path: str | Path,
    config: EurekaAudioConfig,
    convert_adapter: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None,
) -> tuple[EurekaAudioForConditionalGeneration, dict[str, Tensor]]:
    """Load the released checkpoint under our names.

    The names and shapes inside the released adapter are unpublished, so encoder and decoder convert
    by themselves and the adapter needs a function written by someone who holds the file. Without it
    the error lists what that function will be given.

    Args:
        path: folder of the released checkpoint.
        config: the shapes it has, for example `preset("eureka-audio-1.7b")`.
        convert_adapter: released adapter tensors by name -> ours, by their names inside `adapter`.

    Returns:
        The model, and the tensors the released class itself leaves unused, for whoever wants to
        keep them.

    Raises:
        CheckpointError: files are unusable, the adapter cannot be converted, or tensors do not fit
            `config`.
    """
    tensors, shapes = {}, {}
    for file in weight_files(Path(path)):
        shapes.update(tensor_shapes(file))
        with safe_open(file, framework="pt") as stream:
            tensors.update({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
    names = sort_released_names(list(tensors))
    if convert_adapter is None:
        listed = "\n".join(f"  {name} {shapes[name][1]}" for name in names.adapter)
        raise CheckpointError(
            f"{path}: expected a convert_adapter function, since the names inside the released "
            f"adapter are unpublished, got None; map these {len(names.adapter)} tensors to "
            f"ours:\n{listed}"
        )
    adapter = convert_adapter({name: tensors[name] for name in names.adapter})
    weights = {ours: tensors[theirs] for theirs, ours in names.renamed.items()}
    weights.update({f"adapter.{name}": tensor for name, tensor in adapter.items()})
    model = assemble(config, weights, next(iter(weights.values())).dtype, str(path))
    return model, {name: tensors[name] for name in names.unused}
