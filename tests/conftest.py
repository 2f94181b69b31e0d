"""What a test may count on: no network; no haste; real recordings only where present.

A test that needs the recordings asks for the fixture `recordings_pack` or is marked `shared_data`;
where they are absent it is skipped and says so. No outcome may hang on the speed of the machine.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from browser import Pages, open_browser

REPOSITORY = Path(__file__).resolve().parent.parent
RECORDINGS_BESIDE = REPOSITORY.parent / "shared" / "data"


def pytest_configure() -> None:
    """Before any test module is imported: stay offline, take time, and find the recordings."""
    # Both judge by the clock, and a machine may be busy.
    settings.register_profile(
        "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("unhurried")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # sums of several threads differ in the last bit
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if "EUREKA_AUDIO_DATA" not in os.environ and RECORDINGS_BESIDE.is_dir():
        os.environ["EUREKA_AUDIO_DATA"] = str(RECORDINGS_BESIDE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_recordings = pytest.mark.skip(reason="EUREKA_AUDIO_DATA names no folder of recordings")
    for item in items:
        if item.get_closest_marker("shared_data") and not _recordings():
            item.add_marker(no_recordings)


def _recordings() -> Path | None:
    folder = os.environ.get("EUREKA_AUDIO_DATA")
    return Path(folder) if folder and Path(folder).is_dir() else None


@pytest.fixture(scope="session")
def recordings_pack() -> Path:
    """The folder of real recordings, read-only."""
    folder = _recordings()
    if folder is None:
        pytest.skip("EUREKA_AUDIO_DATA names no folder of recordings")
    return folder


@pytest.fixture(scope="session")
def need_parts() -> Callable[..., None]:
    """Called with names of the catalogue: skips the test where the cache lacks one of them."""

    def need(*names: str) -> None:
        from eureka_audio.parts.catalogue import PARTS
        from eureka_audio.parts.fetch import part_folder

        for name in names:
            if not part_folder(PARTS[name]).is_dir():
                pytest.skip(f"{name} is not in the cache")

    return need


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One real browser for the tests of a file, as it takes seconds to start."""
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def pages(browser: Any) -> Iterator[Pages]:
    """Opens pages; at the end nothing has gone wrong on them, and nothing was asked of others."""
    opened = Pages(browser)
    yield opened
    opened.close()
    assert opened.wrongs == []
