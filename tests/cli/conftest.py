"""A tiny checkpoint and two recordings for commands to work on."""

import pytest
import soundfile

from eureka_audio.model.weights import save_checkpoint
from tiny import noise_samples, tiny_model, tiny_processor


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_checkpoint(tiny_model(), folder, tiny_processor())
    return str(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("clips")
    for name, seconds in (("one.wav", 1.0), ("two.flac", 2.0)):
        soundfile.write(folder / name, noise_samples(seconds), 16_000)
    return [str(folder / "one.wav"), str(folder / "two.flac")]
