from collections.abc import Iterator

import pytest

from audio.conftest import encode, tone_and_noise
from server.running import Running, running


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """One server around a tiny model, shared by all tests that leave it as it is."""
    with running() as one:
        yield one


@pytest.fixture(scope="session")
def encoded() -> dict[str, bytes]:
    """Good files that hostile ones are made of."""
    signal = tone_and_noise(1.0, 2)
    return {
        "wav": encode(signal, format="WAV", subtype="PCM_16"),
        "flac": encode(signal, format="FLAC", subtype="PCM_16"),
        "ogg": encode(signal, format="OGG", subtype="VORBIS"),
    }
