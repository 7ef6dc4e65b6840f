"""One test PKI for the session (keys are slow to make), and a new town for each test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lienthong_conformance.pki import TestPki, make_pki

from .children import Nursery, open_nursery
from .town import AGENCIES, Town, build_town


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return make_pki(tmp_path_factory.mktemp("pki"), AGENCIES, now=datetime.now(UTC))


@pytest.fixture
def town(tmp_path: Path, pki: TestPki) -> Iterator[Town]:
    built = build_town(tmp_path, pki)
    yield built
    built.close()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with open_nursery(tmp_path_factory.mktemp("nursery")) as opened:
        yield opened
