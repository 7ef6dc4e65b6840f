"""What several test modules need: a clock set by hand, a document, a configuration file, a peer that misbehaves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from peers import Behaviour, Peer

from lienthong import Document, Organization, Part, PartRole
from lienthong.http import HttpClient, HttpSettings


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """The gate installs the packages that tests need, so there a skip for want of one is a failure."""
    report = yield
    if report.skipped and os.environ.get("LIENTHONG_NO_SKIPS") and "apt-get install" in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report


MORNING = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)


@dataclass
class Clock:
    """Time that passes only when a test says so."""

    moment: datetime = MORNING

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    @property
    def seconds(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def document() -> Document:
    """A document that every rule lets go: one main file, one recipient."""
    return Document(
        sender=Organization(code="000.00.01.H53", name="Ủy ban nhân dân huyện An Lạc"),
        recipients=(Organization(code="000.00.02.H53", name="Sở Nội vụ"),),
        document_id="000.00.01.H53,2026/03/02,15/UBND-VP",
        number="15",
        notation="UBND-VP",
        promulgated=date(2026, 3, 2),
        subject="Về việc báo cáo tình hình quý I",
        parts=(Part(role=PartRole.MAIN, name="15.pdf", media_type="application/pdf", size=1000, sha256="ab" * 32),),
    )


CONFIGURATION = """\
[adapter]
data = "data"

[[agency]]
code = "000.00.01.H53"
name = "Ủy ban nhân dân huyện An Lạc"
office = "drop"
axis = "axis"

[connection.drop]
plugin = "folder"
path = "office"

[connection.axis]
plugin = "sample-axis"
"""


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Path]:
    """Writes ``lienthong.toml`` into the test's folder and returns its path."""

    def write(text: str = CONFIGURATION) -> Path:
        file = tmp_path / "lienthong.toml"
        file.write_text(text, "utf-8")
        return file

    return write


@pytest.fixture
def peer_of() -> Iterator[Callable[..., Peer]]:
    """Starts a peer that plays the given behaviours."""
    with contextlib.ExitStack() as stack:

        def start(*script: Behaviour) -> Peer:
            peer = Peer(list(script))
            stack.callback(peer.close)
            peer.start()
            return peer

        yield start


@pytest.fixture
def client_of(clock):
    """Makes clients named ``axis``, closed when the test ends; settings as in a connection's ``http`` table."""
    with contextlib.ExitStack() as stack:

        def make(**settings) -> HttpClient:
            client = HttpClient(HttpSettings(**{"tries": 1, **settings}), peer="axis", now=clock)
            stack.callback(client.close)
            return client

        yield make
