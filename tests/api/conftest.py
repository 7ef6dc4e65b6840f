"""One server on a real socket; each test gets an adapter of its own behind it, but for those that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Clock

from lienthong.api.app import ServerHandle

from .workplace import TOKEN, Workplace, move_in, running_server, workplace


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerHandle]:
    with running_server(tmp_path_factory.mktemp("server"), Clock()) as handle:
        yield handle


@pytest.fixture(scope="session")
def stranger(server: ServerHandle) -> Iterator[httpx.Client]:
    """Somebody without the token."""
    with httpx.Client(base_url="http://{}:{}".format(*server.address), trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def product(server: ServerHandle) -> Iterator[httpx.Client]:
    """The document system beside the adapter."""
    url, headers = "http://{}:{}".format(*server.address), {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def place(tmp_path: Path, clock: Clock, server: ServerHandle, product: httpx.Client) -> Iterator[Workplace]:
    with workplace(tmp_path, clock, server, product) as made:
        yield move_in(made)


@pytest.fixture(scope="session")
def shared_place(
    tmp_path_factory: pytest.TempPathFactory, server: ServerHandle, product: httpx.Client
) -> Iterator[Workplace]:
    with workplace(tmp_path_factory.mktemp("untouched"), Clock(), server, product) as made:
        yield made


@pytest.fixture
def untouched(shared_place: Workplace) -> Iterator[Workplace]:
    """For requests that must change nothing."""
    yield move_in(shared_place)
    assert shared_place.rows() == []
