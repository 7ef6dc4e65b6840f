"""An axis with three agencies, connections to it, and small packets written by hand."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from vxp_samples import COMMUNE, DISTRICT, MINISTRY, agency, packet_bytes

from lienthong import VIETNAM, Attempt, Connection, Delivery, Document, Message, Organization, PacketFile
from lienthong.http import HttpClient, HttpSettings
from lienthong_conformance.simulators.axis import AxisSimulator
from lienthong_vnpt.vxp import VxpConfig


class Clock:
    """The real time, shifted by hand."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(VIETNAM) + self.shift


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def axis(tmp_path: Path) -> Iterator[AxisSimulator]:
    """The district and its commune share a system; the ministry has its own."""
    simulator = AxisSimulator([agency(DISTRICT), agency(MINISTRY), agency(COMMUNE, DISTRICT)], tmp_path / "axis")
    simulator.start()
    yield simulator
    simulator.stop()
    assert simulator.records("crash") == []


Connect = Callable[..., Connection]


@pytest.fixture(scope="session")
def client() -> Iterator[Callable[[HttpSettings], HttpClient]]:
    """One HTTP client per settings for all tests: reading the system's CA certificates takes a tenth of a second."""
    made: dict[HttpSettings, HttpClient] = {}

    def make(settings: HttpSettings) -> HttpClient:
        if settings not in made:
            made[settings] = HttpClient(settings, peer="trục", now=lambda: datetime.now(VIETNAM))
        return made[settings]

    yield make
    for each in made.values():
        each.close()


@pytest.fixture
def connect(axis: AxisSimulator, client: Callable[[HttpSettings], HttpClient], clock: Clock, tmp_path: Path) -> Connect:
    """``connect(code, **config)``: a connection of that agency, its config changed by ``config``."""

    def make(code: str = DISTRICT, **changes: object) -> Connection:
        settings: dict[str, object] = {
            "endpoint": f"{axis.endpoint}/XrdAdapter/adapter",
            "system_id": f"sys-{code}",
            "secret": f"not-a-real-secret-{code}",
            "http": {"tries": 1, "deadline_seconds": 5.0},
            **changes,
        }
        config = VxpConfig.model_validate(settings)
        agencies, http = (Organization(code=code, name=f"Cơ quan {code}"),), client(config.http)
        return Connection(name="trục", agencies=agencies, config=config, http=http, folder=tmp_path, now=clock)

    return make


Deliveries = Callable[..., Delivery]


@pytest.fixture
def delivery(tmp_path: Path) -> Deliveries:
    """``delivery(packed)``: a delivery, its packet written to disk (``raw``, or one with ``content`` as its file).

    ``message`` is the message that the packet is a copy of, if it is another.
    """

    def make(
        packed: Message, content: bytes = b"%PDF-1.7", message: Message | None = None, raw: bytes = b""
    ) -> Delivery:
        raw = raw or packet_bytes(packed, content)
        sha256 = hashlib.sha256(raw).hexdigest()
        path = tmp_path / f"{sha256}.edxml"
        path.write_bytes(raw)
        recipient = packed.recipients[0].code if isinstance(packed, Document) else packed.about.organ
        return Delivery(
            key=f"key-{sha256[:8]}",
            message_id="01J0000000000000000000000M",
            message=message or packed,
            recipient=recipient,
            open_part=lambda part: io.BytesIO(b""),
            packet=PacketFile(path=path, size=len(raw), sha256=sha256),
        )

    return make


@pytest.fixture
def attempt(clock: Clock) -> Callable[..., Attempt]:
    """``attempt(delivery, age, known)``: an attempt begun ``age`` seconds ago."""

    def make(delivery: Delivery, age: float = 1.0, known: frozenset[str] = frozenset()) -> Attempt:
        moment = clock() - timedelta(seconds=age)
        return Attempt(delivery=delivery, started=moment, ended=moment, known_peer_ids=known)

    return make
