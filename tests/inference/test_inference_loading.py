"""From a name to a model: what is found, and what is said when it is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoProcessor, WhisperFeatureExtractor

import eureka_audio
from eureka_audio.checksums import write_checksums
from eureka_audio.errors import CheckpointError, ConfigError
from eureka_audio.inference import loading
from eureka_audio.inference.assistant import EurekaAudio
from eureka_audio.model.weights import save_checkpoint
from eureka_audio.parts import names
from eureka_audio.processor import EurekaAudioProcessor
from tiny import noise, tiny_model, tiny_processor

PARTS = (
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tiny_model(), tmp_path / "tiny", tiny_processor())
    return tmp_path / "tiny"


def test_a_saved_model_answers_as_before(checkpoint: Path) -> None:
    saved = EurekaAudio(tiny_model(), tiny_processor()).transcribe(noise(2))
    assert EurekaAudio.from_pretrained(checkpoint).transcribe(noise(2)) == saved
    assert EurekaAudio.from_pretrained(str(checkpoint), batch_size=2).batch_size == 2


def test_device_and_dtype_are_taken(checkpoint: Path) -> None:
    model = EurekaAudio.from_pretrained(checkpoint, device="cpu", dtype="bfloat16")
    assert model.model.dtype == torch.bfloat16
    assert EurekaAudio.from_pretrained(checkpoint).model.dtype == torch.float32
    reply = model.ask([noise(1), noise(2)], "?", ["a", "b"])
    assert [r.num_audio_tokens for r in reply] == [13, 25]


@pytest.mark.parametrize("setting", [{"device": "abacus"}, {"dtype": "int7"}, {"dtype": "x"}])
def test_a_device_or_dtype_that_is_none_is_refused(checkpoint: Path, setting: dict) -> None:
    with pytest.raises(ConfigError, match=f"^{next(iter(setting))}: expected"):
        EurekaAudio.from_pretrained(checkpoint, **setting)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"^device: expected"):
        EurekaAudio.from_pretrained(checkpoint, device="cuda")


@pytest.mark.parametrize("name", ["gone", "./gone", "/no/such/folder", "a/b/c", "nano2"])
def test_no_such_model(name: str) -> None:
    with pytest.raises(CheckpointError):
        EurekaAudio.from_pretrained(name)


def test_a_folder_of_something_else_is_not_searched(tmp_path: Path) -> None:
    (tmp_path / "code.py").touch()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        EurekaAudio.from_pretrained(tmp_path)


def test_a_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="got a file"):
        EurekaAudio.from_pretrained(tmp_path / "model.bin")


def test_a_packaged_model_that_was_not_packaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names.resources, "files", lambda _: tmp_path)
    with pytest.raises(CheckpointError, match=r"nano: expected its weights in .* train it"):
        EurekaAudio.from_pretrained("nano")


def test_a_packaged_model_is_found_in_the_package(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    checkpoint.rename(tmp_path / "weights" / "nano")
    monkeypatch.setattr(names.resources, "files", lambda _: tmp_path)
    assert EurekaAudio.from_pretrained("nano").transcribe(noise(1)).num_audio_tokens == 13


def test_a_hub_id_is_fetched_and_verified(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        names, "snapshot_download", lambda name, **_: asked.append(name) or str(checkpoint)
    )
    EurekaAudio.from_pretrained("someone/some-model")
    assert asked == ["someone/some-model"]


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LocalEntryNotFoundError("no network\nand more lines")

    monkeypatch.setattr(names, "snapshot_download", fail)
    with pytest.raises(CheckpointError, match=r"someone/gone: no such folder here.*no network\)"):
        EurekaAudio.from_pretrained("someone/gone")


def damage(checkpoint: Path, change) -> None:
    """Change tensors as if they had been saved so."""
    tensors = load_file(checkpoint / "model.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    write_checksums(checkpoint)


def test_a_missing_tensor_is_named(checkpoint: Path) -> None:
    damage(checkpoint, lambda tensors: tensors.pop("adapter.proj.weight"))
    with pytest.raises(CheckpointError, match=r"adapter\.proj\.weight"):
        EurekaAudio.from_pretrained(checkpoint)


def test_a_flipped_bit_is_noticed(checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: expected the SHA-256"):
        EurekaAudio.from_pretrained(checkpoint)


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
def test_a_processor_that_is_incomplete(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    write_checksums(checkpoint)
    with pytest.raises(CheckpointError, match="expected the processor beside the model"):
        EurekaAudio.from_pretrained(checkpoint)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, content) for name in PARTS for content in ("[]", "5", '"x"')),
        ("tokenizer.json", "{}"),
        ("processor_config.json", "{}"),
        ("tokenizer_config.json", "{}"),
        ("tokenizer.json", {"model": {}}),
        ("tokenizer.json", {"pre_tokenizer": {"type": "X"}}),
        ("generation_config.json", {"suppress_tokens": "x"}),
        ("generation_config.json", {"suppress_tokens": [1_000_000]}),
        ("generation_config.json", {"eos_token_id": {"a": 1}}),
        ("generation_config.json", {"eos_token_id": -1}),
        ("generation_config.json", {"max_chunk_seconds": 99}),
        ("generation_config.json", {"transcription_beams": 0}),
        ("generation_config.json", {"transcription_beams": "4"}),
        ("generation_config.json", {"transcription_ctc_weight": -0.1}),
        ("generation_config.json", {"transcription_ctc_weight": "a lot"}),
        ("generation_config.json", {"transcription_ctc_weight": True}),
        ("generation_config.json", {"transcription_no_speech_threshold": 1.1}),
    ],
)
def test_a_file_that_is_json_and_nonsense_is_a_typed_error(
    checkpoint: Path, name: str, content: str | dict
) -> None:
    file = checkpoint / name
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_text(content)
    write_checksums(checkpoint)
    with pytest.raises(CheckpointError, match=str(checkpoint) + r"|generation_config\.json"):
        EurekaAudio.from_pretrained(checkpoint)


def test_a_fault_that_is_not_the_files_is_not_blamed_on_them(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(EurekaAudioProcessor, "from_pretrained", fail)
    with pytest.raises(ZeroDivisionError):
        EurekaAudio.from_pretrained(checkpoint)


@pytest.mark.parametrize("marked_as_derived", [False, True])
def test_the_length_of_a_chunk_survives_saving_and_loading(
    tmp_path: Path, marked_as_derived: bool
) -> None:
    model = tiny_model()
    model.generation_config.max_chunk_seconds = 5
    save_checkpoint(model, tmp_path / "tiny", tiny_processor())
    if marked_as_derived:  # as every file says that an earlier version wrote
        file = tmp_path / "tiny" / "generation_config.json"
        settings = json.loads(file.read_text())
        file.write_text(json.dumps({**settings, "_from_model_config": True}))
        write_checksums(tmp_path / "tiny")
    else:
        loaded = type(model).from_pretrained(tmp_path / "tiny")
        assert loaded.generation_config.max_chunk_seconds == 5
    assistant = EurekaAudio.from_pretrained(tmp_path / "tiny")
    assert assistant.model.generation_config.max_chunk_seconds == 5
    assert assistant.model.generation_config.suppress_tokens == [tiny_processor().audio_token_id]


def test_a_folder_called_like_a_packaged_model_does_not_hide_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package" / "weights").mkdir(parents=True)
    packaged = checkpoint.rename(tmp_path / "package" / "weights" / "nano")
    monkeypatch.setattr(names.resources, "files", lambda _: tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert names.find_checkpoint("nano") == packaged
    (tmp_path / "nano" / "config.json").touch()
    assert names.find_checkpoint("nano") == Path("nano")


def test_a_processor_of_another_model(tmp_path: Path) -> None:
    other = EurekaAudioProcessor(
        WhisperFeatureExtractor(feature_size=128), tiny_processor().tokenizer
    )
    save_checkpoint(tiny_model(), tmp_path / "mixed", other)
    with pytest.raises(CheckpointError, match="mel bins 80, its processor gives 128"):
        EurekaAudio.from_pretrained(tmp_path / "mixed")


def test_a_tokenizer_larger_than_the_model(checkpoint: Path) -> None:
    model, processor = tiny_model(), tiny_processor()
    model.config.text_config.vocab_size = 100
    with pytest.raises(CheckpointError, match="embeddings for 100 tokens"):
        loading.check_match(model, processor, "x")


def test_a_checkpoint_that_asks_for_code_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Model"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    (checkpoint / "checksums.json").unlink()
    with pytest.raises(CheckpointError, match="auto_map"):
        EurekaAudio.from_pretrained(checkpoint)


def test_transformers_auto_classes_know_model_and_processor(checkpoint: Path) -> None:
    assert isinstance(AutoProcessor.from_pretrained(checkpoint), EurekaAudioProcessor)
    assert isinstance(AutoModel.from_pretrained(checkpoint), type(tiny_model()))


def test_public_names_resolve_and_no_others() -> None:
    for name in eureka_audio.__all__:
        assert getattr(eureka_audio, name) is not None
    assert set(eureka_audio.__all__) <= set(dir(eureka_audio))
    with pytest.raises(AttributeError, match="no attribute 'gone'"):
        _ = eureka_audio.gone


@pytest.mark.parametrize(
    "statement",
    [
        "import eureka_audio",
        "import eureka_audio.protocols",
        "import eureka_audio.cli.main",
        "from eureka_audio import EurekaAudioError, Reply",
        "from eureka_audio.cli.main import main; main(['transcribe', '--help'])",
    ],
)
def test_no_torch_before_it_is_needed(statement: str) -> None:
    check = "import sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    code = f"try:\n    {statement}\nexcept SystemExit: pass\n{check}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
