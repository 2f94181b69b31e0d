"""The public face: a few names, resolved when first used, and typed."""

import importlib
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import eureka_audio

HEAVY = ("torch", "transformers", "numpy", "scipy", "soundfile", "av", "yaml", "pydantic")


def modules_after(statement: str) -> set[str]:
    """Modules that a fresh interpreter holds after `statement`."""
    report = "import json, sys; print('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = modules_after("import eureka_audio")
    assert "eureka_audio" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", "--help"], ["train", "--help"]])
def test_asking_for_help_imports_nothing_heavy(arguments: list[str]) -> None:
    statement = (
        "from eureka_audio.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as stop: assert not stop.code"
    )
    loaded = modules_after(statement)
    assert loaded.isdisjoint(("torch", "transformers", "scipy"))


def test_a_configuration_imports_no_model_but_its_own() -> None:
    """transformers has more than 400, and its mappings import all when they are walked through."""
    loaded = modules_after(
        "from eureka_audio.model import EurekaAudioConfig\n"
        "EurekaAudioConfig(text_config={'model_type': 'llama'})"
    )
    models = {name.split(".")[2] for name in loaded if name.startswith("transformers.models.")}
    assert {"llama", "whisper"} <= models
    assert len(models) < 20


@pytest.mark.parametrize("name", eureka_audio.__all__ if hasattr(eureka_audio, "__all__") else [])
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(eureka_audio, name) is not None


def test_the_public_names_are_few_and_listed() -> None:
    assert "EurekaAudio" in eureka_audio.__all__
    assert "EurekaAudioError" in eureka_audio.__all__
    assert len(eureka_audio.__all__) <= 12
    assert set(eureka_audio.__all__) <= set(dir(eureka_audio))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = eureka_audio.NoSuchName


def test_the_package_declares_its_types(repository: Path) -> None:
    assert files(eureka_audio).joinpath("py.typed").is_file()
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    assert "Typing :: Typed" in project["classifiers"]


def test_one_version_everywhere(repository: Path) -> None:
    version = eureka_audio.__version__
    assert importlib.metadata.version("eureka-audio") == version
    assert f"## [{version}]" in (repository / "CHANGELOG.md").read_text()


def test_registering_makes_the_auto_classes_know_us() -> None:
    transformers = importlib.import_module("transformers")
    importlib.import_module("eureka_audio.model")
    assert type(transformers.AutoConfig.for_model("eureka_audio")).__name__ == "EurekaAudioConfig"
