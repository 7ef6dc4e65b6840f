"""An adapter with its API on a real socket: one product that calls it, and an axis small enough to hold in a test."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

import httpx
from conftest import Clock
from pydantic import BaseModel

from lienthong import (
    AgencyListing,
    Batch,
    Connection,
    Delivery,
    Document,
    FileVerification,
    Manifest,
    MessageKind,
    Organization,
    PacketItem,
    Part,
    PartRole,
    Receipt,
    SignatureFinding,
    StatusReport,
    TraceHop,
    Unavailable,
    Verdict,
    hookimpl,
)
from lienthong.api.app import Metrics, ServerHandle, serve
from lienthong.config import Config, load
from lienthong.daemon import run_once
from lienthong.edxml import load_profile, write_packet
from lienthong.http import HttpClient, HttpSettings
from lienthong.offices import sidecar
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.proving import open_proving
from lienthong.pipeline.signing import ThreadSigning
from lienthong.registry import OpenConnection, Plugin
from lienthong.signing.verification.trust import TrustStore
from lienthong.store.rows import DeliveryRow, MessageRow, encode, encode_findings
from lienthong.store.store import Store, Transaction

HUYEN = Organization(code="000.00.01.H53", name="Ủy ban nhân dân huyện An Lạc")
XA = Organization(code="000.01.01.H53", name="Ủy ban nhân dân xã Đông Sơn")
NOI_VU = Organization(code="000.00.02.H53", name="Sở Nội vụ")
TAI_CHINH = Organization(code="000.00.03.H53", name="Sở Tài chính Thanh Hóa")
TOKEN = "a-token-for-tests"
NOBODY = TrustStore(roots=())
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 8 + b"\n%%EOF\n"

CONFIGURATION = """\
[adapter]
data = "data"

[api]
listen = "127.0.0.1:0"
token = "file:token"

[profile]
max_document_bytes = 60_000_000

[[agency]]
code = "000.00.01.H53"
name = "Ủy ban nhân dân huyện An Lạc"
office = "product"
axis = "axis"

[[agency]]
code = "000.01.01.H53"
name = "Ủy ban nhân dân xã Đông Sơn"
office = "product"
axis = "axis"

[connection.product]
plugin = "sidecar"

[connection.axis]
plugin = "small-axis"
poll_seconds = 30
"""


class NoKeys(BaseModel):
    """The small axis needs no configuration."""


@dataclass
class SmallAxis:
    """An axis in memory. ``down`` makes it unreachable."""

    listed: tuple[Organization, ...] = (HUYEN, XA, NOI_VU, TAI_CHINH)
    down: bool = False
    waiting: dict[str, tuple[MessageKind, bytes]] = field(default_factory=dict)
    taken: list[tuple[str, dict]] = field(default_factory=list)
    forgotten: list[tuple[str, bool]] = field(default_factory=list)

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("peer.unreachable", peer="small-axis", reason="it is down")

    @hookimpl
    def describe(self) -> Manifest:
        return Manifest(name="small-axis", version="1", role="axis", summary="for tests", config=NoKeys)

    @hookimpl
    def fetch(self, connection: Connection, cursor: str | None) -> Batch:
        self._reach()
        return Batch(items=tuple(self._item(name, *packet) for name, packet in self.waiting.items()))

    def _item(self, name: str, kind: MessageKind, packet: bytes) -> PacketItem:
        return PacketItem(source_id=name, kind=kind, save=lambda sink: sink.write(packet) and None)

    @hookimpl
    def package(self, connection, message, open_part, sink) -> bool:
        kind = MessageKind.STATUS if isinstance(message, StatusReport) else MessageKind.DOCUMENT
        sink.write(json.dumps({"kind": kind, "message": encode(message)}).encode())
        return True

    @hookimpl
    def deliver(self, connection: Connection, delivery: Delivery) -> Receipt:
        self._reach()
        self.taken.append((delivery.recipient, json.loads(encode(delivery.message))))
        return Receipt(peer_id=f"axis-{len(self.taken)}")

    @hookimpl
    def acknowledge(self, connection, source_id: str, kind: MessageKind, stored: bool, detail: str) -> bool:
        self.forgotten.append((source_id, stored))
        self.waiting.pop(source_id, None)
        return True

    @hookimpl
    def directory(self, connection: Connection, since: datetime | None) -> AgencyListing:
        self._reach()
        return AgencyListing(agencies=self.listed)

    def offer(self, name: str, message: Document | StatusReport, content: bytes = PDF) -> None:
        """Put a packet into our box on the axis."""
        sink = io.BytesIO()
        write_packet(message, lambda part: io.BytesIO(content), sink)
        kind = MessageKind.STATUS if isinstance(message, StatusReport) else MessageKind.DOCUMENT
        self.waiting[name] = (kind, sink.getvalue())


@dataclass
class Workplace:
    """What a test works with. ``http`` carries the token."""

    adapter: Adapter
    axis: SmallAxis
    clock: Clock
    metrics: Metrics
    server: ServerHandle
    http: httpx.Client

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    def work(self) -> None:
        """Let the adapter look at the axis and do everything that is due."""
        run_once(self.adapter)

    def hand_in(self, key: str = "k1", files=None, **metadata) -> httpx.Response:
        sent = files if files is not None else {"cv.pdf": PDF}
        values = describe(**({"main": next(iter(sent), "")} | metadata))
        return self.http.post("/v1/documents", files=multipart(values, sent), headers={"Idempotency-Key": key})

    def rows(self, *conditions) -> list[MessageRow]:
        with self.adapter.store.read() as reader:
            return reader.messages(*conditions)

    def post(self, path: str, key: str = "", **body) -> httpx.Response:
        self.clock.advance(0.001)
        return self.http.post(path, json=body, headers={"Idempotency-Key": key} if key else {})

    def lease(self, **body) -> list[dict]:
        answer = self.post("/v1/inbox/lease", **body)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    def receive(self, number: str = "7", **changes) -> str:
        """Let a document arrive over the axis and be offered; returns its message id."""
        self.axis.offer(f"from-axis-{number}", incoming(number, **changes))
        self.work()
        rows = [row for row in self.rows() if row.source_id == f"from-axis-{number}"]
        assert [row.state for row in rows] == ["dispatched"], rows
        return rows[0].id


def describe(**changes) -> dict:
    """Metadata that every rule lets go."""
    usual = {
        "from": HUYEN.code,
        "to": [NOI_VU.code],
        "number": "15",
        "notation": "UBND-VP",
        "date": "2026-03-02",
        "subject": "Về việc báo cáo tình hình quý I",
    }
    return usual | changes


def multipart(metadata: dict, files: dict[str, object]) -> list[tuple[str, tuple]]:
    parts: list[tuple[str, tuple]] = [("metadata", (None, json.dumps(metadata), "application/json"))]
    return parts + [("file", (name, content, "application/octet-stream")) for name, content in files.items()]


def incoming(number: str, **changes) -> Document:
    """A document from another agency with one PDF."""
    document = Document(
        sender=NOI_VU,
        recipients=(HUYEN,),
        document_id=f"{NOI_VU.code},2026/02/27,{number}/SNV",
        number=number,
        notation="SNV",
        promulgated=date(2026, 2, 27),
        subject="Về việc rà soát biên chế",
        parts=(part_of(PDF),),
        trace=(TraceHop(organ=NOI_VU.code, at=datetime.fromisoformat("2026-03-01T09:00:00+07:00")),),
    )
    return replace(document, **changes)


def part_of(content: bytes, name: str = "Công văn số 7.pdf") -> Part:
    digest = hashlib.sha256(content).hexdigest()
    return Part(role=PartRole.MAIN, name=name, media_type="application/pdf", size=len(content), sha256=digest)


def verified(_path: Path, part: str, _at: datetime) -> FileVerification:
    """Every signature is good here: signatures have tests of their own."""
    finding = SignatureFinding(field_name="Signature1", signer="Nguyễn Văn A", verdict=Verdict.VALID)
    return FileVerification(part=part, verdict=Verdict.VALID, signatures=(finding,))


def put_offered(place: Workplace, number: int, *, lineage: str = "", **changes) -> str:
    """Write an offered delivery straight into the store; returns its key."""
    with place.adapter.store.write() as tx:
        return add_offered(tx, place.adapter.seconds(), number, lineage=lineage, **changes)


def add_offered(tx: Transaction, now: float, number: int, *, lineage: str = "", **changes) -> str:
    document = incoming(str(number))
    row = MessageRow(
        id=f"M{number:04}",
        direction="in",
        kind="edoc",
        agency=HUYEN.code,
        peer=NOI_VU.code,
        connection="axis",
        source_id=f"put-{number}",
        document_id=document.document_id,
        body=encode(document),
        verification=encode_findings(()),
        state="dispatched",
        ack="pending",
        created_at=now,
        updated_at=now,
    )
    delivery = DeliveryRow(
        key=f"D{number:04}",
        message_id=row.id,
        connection="product",
        recipient=HUYEN.code,
        lineage=lineage or f"line-{number}",
        state="offered",
        created_at=now,
        updated_at=now,
    )
    tx.add_message(row)
    tx.add_delivery(replace(delivery, **changes))
    return delivery.key


def write_configuration(folder: Path) -> Config:
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    file = folder / "lienthong.toml"
    file.write_text(CONFIGURATION, "utf-8")
    return load(file)


@contextlib.contextmanager
def opened_adapter(folder: Path, axis: SmallAxis, metrics: Metrics, clock: Clock) -> Iterator[Adapter]:
    adapter = build_adapter(write_configuration(folder), axis, metrics, clock)
    try:
        yield adapter
    finally:
        close_adapter(adapter)


def close_adapter(adapter: Adapter) -> None:
    for connection in adapter.connections.values():
        connection.close()
    adapter.store.close()


@contextlib.contextmanager
def running_server(folder: Path, clock: Clock) -> Iterator[ServerHandle]:
    """A server to which workplaces are moved in, one after the other."""
    metrics = Metrics()
    with opened_adapter(folder, SmallAxis(), metrics, clock) as adapter:
        server = serve(adapter, metrics)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def workplace(folder: Path, clock: Clock, server: ServerHandle, http: httpx.Client) -> Iterator[Workplace]:
    """An adapter of its own behind a running server."""
    axis, metrics = SmallAxis(), Metrics()
    with opened_adapter(folder, axis, metrics, clock) as adapter:
        yield Workplace(adapter=adapter, axis=axis, clock=clock, metrics=metrics, server=server, http=http)


def move_in(place: Workplace) -> Workplace:
    """Let the server answer for this workplace from now on."""
    app = place.server.server.config.app
    app.state.adapter, app.state.metrics = place.adapter, place.metrics
    return place


def build_adapter(config: Config, axis: SmallAxis, metrics: Metrics, clock: Clock) -> Adapter:
    folder = config.path(config.adapter.data)
    connections = {
        "product": _opened(
            "product", sidecar, sidecar.describe(), {"describe", "deliver", "probe"}, folder, clock, metrics
        ),
        "axis": _opened(
            "axis",
            axis,
            axis.describe(),
            {"describe", "fetch", "package", "deliver", "acknowledge", "directory"},
            folder,
            clock,
            metrics,
        ),
    }
    return Adapter(
        config=config,
        store=Store(folder),
        connections=connections,
        signing=ThreadSigning(config.file, folder, connections),
        proving=open_proving(config.signing, folder / "revocation", NOBODY, clock),
        trust=NOBODY,
        verify=verified,
        received_packets=load_profile("lenient"),
        now=clock,
        entropy=os.urandom,
        wake=lambda: None,
        wait=lambda _seconds: None,
        owner="daemon:test:1",
    )


def _opened(
    name: str, module: object, manifest: Manifest, hooks: set[str], folder: Path, clock, metrics: Metrics
) -> OpenConnection:
    connection = Connection(
        name=name,
        agencies=(HUYEN, XA),
        config=manifest.config(),
        http=HttpClient(HttpSettings(), peer=name, now=clock),
        folder=folder,
        now=clock,
    )
    plugin = Plugin(name=manifest.name, distribution="tests", module=module, manifest=manifest, hooks=frozenset(hooks))
    return OpenConnection(connection=connection, plugin=plugin, poll_seconds=30.0, observe=metrics.observe)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something becomes true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
