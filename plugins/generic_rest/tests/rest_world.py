"""What the tests of this plugin share: agencies, a clock, stored parts, edits of the mapping, messages to deliver."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from lienthong import (
    Change,
    Connection,
    Delivery,
    Document,
    DocumentReference,
    Organization,
    Part,
    PartRole,
    Staff,
    StatusCode,
    StatusReport,
)
from lienthong.http import HttpSettings
from lienthong_conformance.simulators.office import MAPPING

FINANCE = Organization(code="H37.STC", name="Sở Tài chính")
HEALTH = Organization(code="H37.SYT", name="Sở Y tế")
KEY = "01K0000000000000000000KEY1"
QUICK = HttpSettings(tries=1, deadline_seconds=20)
START = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Blobs:
    """Stored parts: what ``open_part`` opens."""

    contents: dict[str, bytes] = field(default_factory=dict)

    def part(self, name: str, content: bytes, role: PartRole = PartRole.MAIN) -> Part:
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[sha256] = content
        return Part(role=role, name=name, media_type="application/pdf", size=len(content), sha256=sha256)

    def open(self, part: Part) -> io.BytesIO:
        return io.BytesIO(self.contents[part.sha256])


Connect = Callable[..., Connection]


def edited(*edits: tuple[str, ...]) -> str:
    """The simulator's mapping with replacements: (old, new), or (section, old, new) inside one section."""
    text = MAPPING.read_text("utf-8")
    for *section, old, new in edits:
        start = text.index(f"[{section[0]}]\n") if section else 0
        end = text.find("\n[", start + 1) if section else len(text)
        assert text[start:end].count(old) == 1, f"{old!r} stands {text[start:end].count(old)} times there"
        text = text[:start] + text[start:end].replace(old, new) + text[end:]
    return text


def without(first: str, after: str) -> tuple[str, str]:
    """The edit that takes everything from one line of the mapping up to another out of it."""
    text = MAPPING.read_text("utf-8")
    return text[text.index(first) : text.index(after)], ""


def document(*parts: Part, **changes: object) -> Document:
    whole = Document(
        sender=HEALTH,
        recipients=(FINANCE,),
        document_id="H37.SYT,2026/11/20,7/SYT-KHTC",
        number="7",
        notation="SYT-KHTC",
        promulgated=date(2026, 11, 20),
        subject="Về việc mua sắm thiết bị",
        parts=parts,
    )
    return replace(whole, **changes)


def delivery(message: Document | StatusReport, blobs: Blobs, **more: object) -> Delivery:
    facts = {"key": KEY, "message_id": "M1", "recipient": FINANCE.code, **more}
    return Delivery(message=message, open_part=blobs.open, **facts)


def status(code: StatusCode = StatusCode.ACCEPTED) -> StatusReport:
    return StatusReport(
        sender=HEALTH,
        about=DocumentReference(organ=FINANCE.code, code="12/QĐ-STC"),
        code=code,
        at=datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC),
        description="Đã vào sổ",
        staff=Staff(name="Lê Thị C"),
    )


def change(**facts: object) -> Change:
    return replace(Change(), **facts)
