from collections.abc import Iterator

import pytest

from server.running import Running, running


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    """One server around a tiny model, shared by all tests that leave it as it is."""
    with running() as one:
        yield one
