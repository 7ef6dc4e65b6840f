"""An adapter whose agency signs what it sends, and an axis in memory. A signer does what a test says or is a plugin."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from api.workplace import SmallAxis
from conftest import Clock
from pydantic import BaseModel

from lienthong import (
    Capabilities,
    Connection,
    Credential,
    Document,
    FileSource,
    Manifest,
    Organization,
    PartRole,
    Pending,
    Receipt,
    Signature,
    SignRequest,
    hookimpl,
)
from lienthong.config import load
from lienthong.daemon import run_once, take_over
from lienthong.edxml import load_profile
from lienthong.http import HttpClient, HttpSettings
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import Origin, submit
from lienthong.pipeline.proving import open_proving
from lienthong.pipeline.signing import ThreadSigning
from lienthong.registry import OpenConnection, Plugin, discover, open_connection
from lienthong.signing.verification.facts import FileFacts
from lienthong.signing.verification.reading import read_facts
from lienthong.signing.verification.verify import verify_pdf
from lienthong.store.rows import MessageRow
from lienthong.store.store import Store
from lienthong_conformance.pki import KeyFile

from .authorities import Authorities
from .workshop import asker, credential_of

HUYEN = Organization(code="000.00.01.H53", name="Ủy ban nhân dân huyện An Lạc")
NOI_VU = Organization(code="000.00.02.H53", name="Sở Nội vụ")
BASE = """\
[adapter]
data = "data"

[profile]
retry_first_seconds = 2
{profile}
[[agency]]
code = "000.00.01.H53"
name = "Ủy ban nhân dân huyện An Lạc"
office = "office"
axis = "axis"
{signer}
[agency.appearance]
{appearance}
[connection.office]
plugin = "office"

[connection.axis]
plugin = "small-axis"

[connection.phone]
{phone}

[signing]
level = "{level}"
{authorities}
"""
Answer = Pending | Exception | None
"""What the signer does when it is asked: needs time, fails, or (None) signs."""


class NoKeys(BaseModel):
    """Nothing here needs configuration."""


@dataclass
class Phone:
    """A signer with a key far away. ``script`` is what it answers next; then it signs whatever it is asked."""

    key: KeyFile
    script: list[Answer] = field(default_factory=list)
    asked: list[SignRequest] = field(default_factory=list)
    broken: Exception | None = None

    @hookimpl
    def describe(self) -> Manifest:
        capabilities = Capabilities(key="remote")
        return Manifest(
            name="phone", version="1", role="signer", summary="for tests", config=NoKeys, capabilities=capabilities
        )

    @hookimpl
    def credential(self, connection: Connection) -> Credential:
        if self.broken is not None:
            raise self.broken
        return credential_of(self.key, connection.now())

    @hookimpl
    def sign(self, connection: Connection, request: SignRequest) -> Signature | Pending:
        self.asked.append(request)
        answer = self.script.pop(0) if self.script else None
        if isinstance(answer, Exception):
            raise answer
        return answer or asker(self.key, connection.now())(request)

    @property
    def files_asked(self) -> list[str]:
        """The files that it was asked to sign anew, in order."""
        return [request.summary.rpartition(": ")[2] for request in self.asked if request.token is None]


class Office:
    """The agency's document system: it hands in by a test's own hand, and is told what became of it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool, str]] = []

    @hookimpl
    def describe(self) -> Manifest:
        return Manifest(name="office", version="1", role="office", summary="for tests", config=NoKeys)

    @hookimpl
    def deliver(self, connection: Connection, delivery: object) -> Receipt:
        return Receipt(peer_id="office")

    @hookimpl
    def acknowledge(self, connection: Connection, source_id: str, kind: str, stored: bool, detail: str) -> bool:
        self.told.append((source_id, stored, detail))
        return True


@dataclass
class OutgoingDesk:
    adapter: Adapter
    phone: Phone
    office: Office
    clock: Clock

    def hand_in(
        self, files: Mapping[str, Path], *, number: str = "15", type_name: str = "Công văn", **more: object
    ) -> str:
        """Hand a document in; the first file is the main one. Returns its id."""
        values: dict = {"sender": HUYEN, "recipients": (NOI_VU,), "number": number, "notation": "UBND-VP", **more}
        document = Document(
            document_id=f"{HUYEN.code},2026/03/02,{number}/UBND-VP",
            promulgated=date(2026, 3, 2),
            subject="V/v báo cáo",
            type_name=type_name,
            **values,
        )
        sources = [_source(name, path, first=not index) for index, (name, path) in enumerate(files.items())]
        origin = Origin(connection="office", source_id=number, actor="test", ack="due")
        row = submit(self.adapter, origin, document, sources)
        assert row.state == "cleared", row.reason_text
        return row.id

    def work(self) -> None:
        run_once(self.adapter)

    def later(self, seconds: float = 400.0) -> None:
        """Let time pass, longer than any pause, and work."""
        self.clock.advance(seconds)
        self.work()

    def row(self, message_id: str) -> MessageRow:
        with self.adapter.store.read() as reader:
            found = reader.message(message_id)
        assert found is not None
        return found

    def standing(self, message_id: str) -> tuple[str, str]:
        row = self.row(message_id)
        return row.state, row.reason

    def events(self, message_id: str) -> list[tuple[str, str]]:
        """The kinds of events in the ledger, each with its code."""
        with self.adapter.store.read() as reader:
            return [(event["kind"], event["detail"].get("code", "")) for event in reader.events(message_id)]

    def files(self, message_id: str) -> dict[str, Path]:
        """The document's files as they are now."""
        return {part.name: self.adapter.store.blobs.path(part.sha256) for part in self.row(message_id).document.parts}

    def facts(self, message_id: str, name: str) -> FileFacts:
        return read_facts(self.files(message_id)[name])

    def holders(self, message_id: str) -> dict[str, tuple[int, int]]:
        """File -> (signatures, timestamps inside the last one)."""
        found = {name: self.facts(message_id, name).signatures for name in self.files(message_id)}
        return {name: (len(each), len(each[-1].timestamps) if each else 0) for name, each in found.items()}


def _source(name: str, path: Path, *, first: bool) -> FileSource:
    role = PartRole.MAIN if first else PartRole.ATTACHMENT
    return FileSource(
        role=role, name=name, media_type="application/pdf", save=lambda sink: sink.write(path.read_bytes()) and None
    )


def configuration(
    folder: Path,
    authorities: Authorities,
    *,
    level: str = "B-B",
    signer: bool = True,
    phone: str = 'plugin = "phone"',
    profile: str = "",
    appearance: str = "",
) -> Path:
    tsa = f'[[signing.timestamp_authority]]\nurl = "{authorities.tsa_url}"\nseconds = 5\n'
    file = folder / "lienthong.toml"
    text = BASE.format(
        level=level,
        authorities="" if level == "B-B" else tsa,
        signer='signer = "phone"' if signer else "",
        phone=phone,
        profile=profile,
        appearance=appearance,
    )
    file.write_text(text, "utf-8")
    return file


@contextlib.contextmanager
def outgoing_desk(folder: Path, authorities: Authorities, key: KeyFile, **settings: object) -> Iterator[OutgoingDesk]:
    config = load(configuration(folder, authorities, **settings))
    clock, data = Clock(datetime.now(UTC)), folder / "data"
    phone, office = Phone(key), Office()
    peers = {"office": office, "axis": SmallAxis(listed=(HUYEN, NOI_VU)), "phone": phone}
    connections = {name: _opened(name, module, data, clock) for name, module in peers.items()}
    if (plugin := config.connection["phone"].plugin) != "phone":
        connections["phone"] = open_connection(config, "phone", discover(frozenset({plugin})), data, clock)
    trust = authorities.trust()
    adapter = Adapter(
        config=config,
        store=Store(data),
        connections=connections,
        signing=ThreadSigning(config.file, data, connections),
        proving=open_proving(config.signing, data / "revocation", trust, clock, most=3),
        trust=trust,
        verify=lambda path, name, at: verify_pdf(path, name, trust, at=at),
        received_packets=load_profile("lenient"),
        now=clock,
        entropy=os.urandom,
        wake=lambda: None,
        wait=lambda _seconds: None,
        owner="daemon:test:1",
    )
    try:
        yield OutgoingDesk(adapter=adapter, phone=phone, office=office, clock=clock)
    finally:
        adapter.proving.close()
        for connection in connections.values():
            connection.close()
        adapter.store.close()


def _opened(name: str, module: object, folder: Path, clock: Clock) -> OpenConnection:
    manifest = module.describe()
    connection = Connection(
        name=name,
        agencies=(HUYEN,),
        config=NoKeys(),
        http=HttpClient(HttpSettings(), peer=name, now=clock),
        folder=folder,
        now=clock,
    )
    hooks = frozenset(hook for hook in vars(type(module)) if not hook.startswith("_"))
    plugin = Plugin(name=manifest.name, distribution="tests", module=module, manifest=manifest, hooks=hooks)
    return OpenConnection(connection=connection, plugin=plugin, poll_seconds=30.0)


class Killed(BaseException):
    """The process ends here, as far as anything that handles errors can tell."""


@contextlib.contextmanager
def killed_after(desk: OutgoingDesk, commits: int, monkeypatch) -> Iterator[Callable[[], bool]]:
    """Inside, the process dies right after so many commits; then another one takes over."""
    write, left = Store.write, [commits]

    @contextlib.contextmanager
    def counted(self: Store):
        with write(self) as tx:
            yield tx
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", counted)
        with contextlib.suppress(Killed):
            yield lambda: left[0] <= 0
    take_over(desk.adapter)
