"""A drop folder in the test's own folder."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lienthong import Connection
from lienthong.offices import folder

from .drops import OURS, connection_of


@pytest.fixture
def office(tmp_path, clock) -> Connection:
    """A connection to a drop folder that has been looked at once. Its clock starts now, as files have the real time."""
    clock.moment = datetime.now(UTC)
    connection = connection_of(tmp_path, clock, OURS)
    folder.fetch(connection, None)
    return connection
