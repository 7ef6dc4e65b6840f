"""A town for end-to-end tests: agencies with drop-folder offices, and an axis between them.

Tests act as clerks do, by dropping files, and look at what clerks and the axis's operator see: folders and the audit.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import httpx
from reportlab.pdfgen.canvas import Canvas

from lienthong import VIETNAM, Document, DocumentReference, Message, Organization, StatusCode, StatusReport, TraceHop
from lienthong.config import load
from lienthong.daemon import open_adapter, run_once, take_over
from lienthong.edxml import write_packet
from lienthong.pipeline.adapter import Adapter
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong_conformance.pki import TestPki
from lienthong_conformance.simulators.axis import AuditRow, AxisSimulator
from lienthong_conformance.world import Member, write_adapter
from lienthong_vnpt import wire

A = Organization(code="000.00.01.H99", name="UBND tỉnh Lạc Hồng")
B = Organization(code="000.00.02.H99", name="Sở Khoa học và Công nghệ")
C = Organization(code="000.00.03.H99", name="Sở Tài chính")
AGENCIES = (A, B, C)
"""A and B run adapters. C has access to the axis and nothing else: tests speak for it."""

TODAY = datetime.now(VIETNAM).date()
HASTY = {
    "profile": {"retry_first_seconds": 0.02, "retry_cap_seconds": 0.1},
    "axis": {"reconcile_settle_seconds": 0.0},
}
"""Settings at the pace of a test: nothing waits longer than it must."""
DEADLINE = 20.0


@cache
def letter(text: str = "hello", pages: int = 1) -> bytes:
    """A small unsigned PDF that shows ``text``."""
    content = io.BytesIO()
    canvas = Canvas(content)
    for _ in range(pages):
        canvas.drawString(100, 700, text)
        canvas.showPage()
    canvas.save()
    return content.getvalue()


def document_id(number: str, sender: Organization = A) -> str:
    return f"{sender.code},{TODAY:%Y/%m/%d},{number}/UBND-VX"


@dataclass
class Desk:
    """One agency's adapter with its drop folder."""

    organization: Organization
    member: Member
    config: Path
    _adapter: Adapter | None = None
    _closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def folder(self) -> Path:
        return self.config.parent / "vb"

    @property
    def adapter(self) -> Adapter:
        if self._adapter is None:
            self._adapter = self._closing.enter_context(open_adapter(load(self.config)))
            take_over(self._adapter)
        return self._adapter

    def close(self) -> None:
        self._adapter = None
        self._closing.close()

    def work(self) -> int:
        return run_once(self.adapter)

    def drop(self, number: str, to: tuple[str, ...] = (B.code,), *, name: str = "", **more: object) -> Path:
        """Drop a document with its files; ``files`` maps names to bytes, ``text`` is what the PDF shows."""
        name = name or f"vb-{number}"
        files = more.pop("files", None)
        if files is None:
            files = {} if more.get("business") == "recall" else {f"{name}.pdf": letter(str(more.pop("text", number)))}
        outbox = self.folder / "outbox"
        outbox.mkdir(parents=True, exist_ok=True)
        for file_name, content in files.items():
            (outbox / file_name).write_bytes(content)
        named = list(files)
        values = {"to": to, "number": number, "notation": "UBND-VX", "date": f"{TODAY}", "subject": f"V/v số {number}"}
        values |= {"main": named[0] if named else "", "attachments": named[1:]} | more
        return _dropped(outbox / f"{name}.json", values)

    def report(self, document: str, code: str, description: str = "", **more: object) -> Path:
        """Drop a processing status."""
        values = {"document": document, "code": code, "description": description, **more}
        return _dropped(self.folder / "status" / f"{code}-{time.monotonic_ns()}.json", values)

    def inbox(self) -> list[Path]:
        """The folders of received documents, oldest first."""
        return sorted(path for path in (self.folder / "inbox").glob("*") if path.is_dir() and path.name[0] != ".")

    def received(self) -> list[dict]:
        """What ``van-ban.json`` says in each received folder, oldest first."""
        return [json.loads((folder / "van-ban.json").read_text("utf-8")) for folder in self.inbox()]

    def statuses_of(self, number: str, *, place: str = "sent") -> list[str]:
        """The codes in the ``trang-thai.json`` of a sent (or received) document, in order."""
        found = [entry for file in (self.folder / place).glob("*/trang-thai.json") for entry in _entries(file)]
        return [entry["code"] for entry in found if entry["document_id"].endswith(f",{number}/UBND-VX")]

    def rejected(self) -> str:
        """All reasons in ``rejected/``."""
        return "\n".join(path.read_text("utf-8") for path in (self.folder / "rejected").glob("*/ly-do.txt"))

    def messages(self, **wanted: object) -> list[MessageRow]:
        with self.adapter.store.read() as reader:
            rows = reader.messages()
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def deliveries(self, **wanted: object) -> list[DeliveryRow]:
        with self.adapter.store.read() as reader:
            rows = reader.deliveries()
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def ledger_is_whole(self) -> bool:
        with self.adapter.store.read() as reader:
            return reader.ledger_break() is None

    def is_quiet(self) -> bool:
        return all(row.run_at is None for row in (*self.messages(), *self.deliveries()))


def await_condition(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Wait until something holds that another process or thread brings about."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        await_next_due()


def await_next_due() -> None:
    """Leave the processor to others for a moment, as an idle adapter does."""
    threading.Event().wait(0.01)


def _dropped(file: Path, values: Mapping[str, object]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".aside")
    aside.write_text(json.dumps(values, ensure_ascii=False), "utf-8")
    os.rename(aside, file)
    return file


def _entries(file: Path) -> list[dict]:
    return json.loads(file.read_text("utf-8"))


@dataclass
class Town:
    """The axis and the desks. ``run`` lets everybody work until something holds."""

    root: Path
    pki: TestPki
    axis: AxisSimulator
    members: dict[str, Member]
    desks: dict[str, Desk] = field(default_factory=dict)

    @property
    def a(self) -> Desk:
        return self.desks["a"]

    @property
    def b(self) -> Desk:
        return self.desks["b"]

    def open_desk(self, name: str, organization: Organization, **settings: object) -> Desk:
        member = self.members[organization.code]
        config = write_adapter(self.root / name, member, self.axis.endpoint, self.pki, **(HASTY | settings))
        self.desks[name] = Desk(organization=organization, member=member, config=config)
        return self.desks[name]

    def configure(self, desk: Desk, **settings: object) -> None:
        """Stop one adapter and give it another configuration; it opens again when it is used."""
        desk.close()
        write_adapter(desk.config.parent, desk.member, self.axis.endpoint, self.pki, **(HASTY | settings))

    def restart_axis(self) -> None:
        """A stopped axis comes back on its port with all that it had."""
        port = int(self.axis.endpoint.rpartition(":")[2])
        self.axis = _axis(self.members, self.root / "axis", port)

    def run(self, until: Callable[[], object] | None = None, desks: tuple[Desk, ...] = ()) -> None:
        """Let the desks work until a condition holds (default: until nobody has anything left to do)."""
        working = desks or tuple(self.desks.values())
        end = time.monotonic() + DEADLINE
        while True:
            did = sum([desk.work() for desk in working])
            if until() if until else not did and all(desk.is_quiet() for desk in working):
                return
            assert time.monotonic() < end, f"still not: {until or 'quiet'}; {self.state()}"
            if not did:
                await_next_due()

    def state(self) -> str:
        """For the message of a failed test."""
        rows = [
            f"{n}: {r.direction} {r.kind} {r.code} {r.state} {r.reason}" for n, d in self._each() for r in d.messages()
        ]
        rows += [f"{n}: -> {r.recipient} {r.state} {r.reason_text}" for n, d in self._each() for r in d.deliveries()]
        return "\n".join([*rows, *map(str, self.axis.audit())])

    def _each(self) -> list[tuple[str, Desk]]:
        return list(self.desks.items())

    def audit(self, **wanted: object) -> list[AuditRow]:
        rows = self.axis.audit()
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def on_the_axis(
        self, number: str, recipient: str = B.code, business: str = "0", sender: str = A.code
    ) -> tuple[int, int]:
        """How often a message was committed for a recipient, and how many of these were acknowledged done."""
        wanted = [
            row
            for row in self.audit(recipient=recipient, business=business, sender=sender)
            if row.document_id.endswith(f",{number}/UBND-VX")
        ]
        return sum(row.committed for row in wanted), sum(row.acknowledged for row in wanted)

    def sent_in_order(self) -> list[tuple[str, str]]:
        """(notation, business) of everything that the axis took, in order."""
        return [(str(record["notation"]), str(record["business"])) for record in self.axis.records("sent")]

    def send_by_hand(self, message: Message, content: Mapping[str, bytes] | None = None) -> None:
        """Put a packet on the axis as its sender's own system would."""
        packet = io.BytesIO()
        write_packet(message, lambda part: io.BytesIO((content or {})[part.name]), packet)
        self.send_packet(message, packet.getvalue())

    def send_packet(self, message: Message, packet: bytes) -> None:
        parameters = {
            "from": message.sender.code,
            "servicetype": "eDoc",
            "messagetype": wire.kind(message).value,
            "hash-file": wire.file_hash(hashlib.sha256(packet).hexdigest()),
        }
        self.call_axis(message.sender, "sendEdoc", parameters, packet)

    def call_axis(self, caller: Organization, operation: str, parameters: Mapping[str, str], body: bytes = b"") -> None:
        """One call as an agency's own system would make it; the axis must accept it."""
        member = self.members[caller.code]
        headers = wire.request_headers(
            system_id=member.system_id,
            secret=member.secret,
            parameters=parameters,
            now=datetime.now(UTC),
            content_type="application/octet-stream",
        )
        answer = httpx.post(f"{self.axis.endpoint}/{operation}", headers=headers, content=body)
        assert answer.json()["status"] == "OK", answer.text

    def status_by_hand(self, code: str, about: DocumentReference, sender: Organization = C, text: str = "") -> None:
        report = StatusReport(
            sender=sender,
            about=about,
            code=StatusCode(code),
            at=datetime.now(UTC).replace(microsecond=0),
            description=text,
        )
        self.send_by_hand(report)

    def close(self) -> None:
        for desk in self.desks.values():
            desk.close()
        self.axis.stop()


def build_town(root: Path, pki: TestPki) -> Town:
    """An axis that knows A, B and C, and an adapter each for A and B."""
    office = {"plugin": "folder", "path": "vb", "settle_seconds": 0.0}
    members = {agency.code: Member(organization=agency, office=office) for agency in AGENCIES}
    town = Town(root=root, pki=pki, axis=_axis(members, root / "axis"), members=members)
    town.open_desk("a", A)
    town.open_desk("b", B)
    return town


def _axis(members: Mapping[str, Member], folder: Path, port: int = 0) -> AxisSimulator:
    axis = AxisSimulator([member.at_axis() for member in members.values()], folder, port)
    axis.start()
    return axis


def document_by_hand(number: str, recipients: tuple[Organization, ...] = (B,), **more: object) -> Document:
    """A document of agency C, without files unless given."""
    values: dict = {
        "sender": C,
        "recipients": recipients,
        "document_id": document_id(number, C),
        "number": number,
        "notation": "UBND-VX",
        "promulgated": TODAY,
        "subject": f"V/v số {number}",
        "trace": (TraceHop(organ=C.code, at=datetime.now(UTC).replace(microsecond=0)),),
        **more,
    }
    return Document(**values)
