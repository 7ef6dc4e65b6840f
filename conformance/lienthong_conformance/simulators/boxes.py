"""The axis's memory: who may use it, what was sent, what waits in whose box. Survives a restart.

Packets are files in a spool folder; everything else is rebuilt from the journal. There is no deduplication: what is
sent twice is two items, so a double delivery shows in the audit.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from lienthong_conformance.simulators.journal import Journal, Record
from lienthong_conformance.simulators.packets import Routing


@dataclass(frozen=True, kw_only=True)
class AxisAgency:
    """An agency that uses the axis through a system with an id and a secret. Systems may serve several agencies."""

    code: str
    name: str
    system_id: str
    secret: str
    parent: str = ""
    mail: str = ""
    old_code: str = ""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One committed ``sendEdoc``. ``receivers``: recipient code -> docId in its box."""

    doc_id: str
    routing: Routing
    size: int
    sha256: str
    at: datetime
    receivers: dict[str, str]


@dataclass(kw_only=True)
class Item:
    """One sent packet in one recipient's box. ``status``: initial, processing, fail or done."""

    doc_id: str
    to: str
    sent: Sent
    status: str = "initial"
    description: str = ""
    updated: datetime = field(default_factory=datetime.now)


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """How often one message was committed for one recipient, and how many of those items were acknowledged done."""

    sender: str
    recipient: str
    messagetype: str
    document_id: str
    business: str
    committed: int
    acknowledged: int


class Boxes:
    """Thread-safe. ``now`` gives aware datetimes."""

    def __init__(
        self, agencies: Sequence[AxisAgency], folder: Path, journal: Journal, now: Callable[[], datetime]
    ) -> None:
        self._lock = threading.RLock()
        self._configured = tuple(agencies)
        self._journal = journal
        self._now = now
        self._spool = folder / "spool"
        self._spool.mkdir(parents=True, exist_ok=True)
        for cut_off in self._spool.glob("*.part"):
            cut_off.unlink()
        self._start_empty()
        for record in journal.records():
            self._replay(record)

    def _start_empty(self) -> None:
        self._agencies = {agency.code: agency for agency in self._configured}
        self._deleted: dict[str, AxisAgency] = {}
        self._sent: dict[str, Sent] = {}
        self._items: dict[str, Item] = {}
        self._boxes: dict[str, dict[str, Item]] = {}
        self._uploads = 0

    def reset(self) -> None:
        """Back to the configured agencies and empty boxes; the journal is cleared by the server."""
        with self._lock:
            self._start_empty()
            for packet in self._spool.iterdir():
                packet.unlink()

    def agencies(self) -> list[AxisAgency]:
        with self._lock:
            return list(self._agencies.values())

    def deleted_agencies(self) -> list[AxisAgency]:
        with self._lock:
            return list(self._deleted.values())

    def knows(self, code: str) -> bool:
        return code in self._agencies

    def of_system(self, system_id: str) -> list[AxisAgency]:
        """The agencies whose boxes a system may read, the configured ones first."""
        with self._lock:
            return [agency for agency in self._agencies.values() if agency.system_id == system_id]

    def register(self, agency: AxisAgency) -> None:
        with self._lock:
            facts = asdict(agency)
            # It shares its system's secret, which has no place in records that anybody may read.
            del facts["secret"]
            self._replay(self._journal.commit("registered", **facts))

    def delete(self, code: str) -> None:
        with self._lock:
            self._replay(self._journal.commit("deleted", code=code))

    def upload(self) -> Path:
        """A new file to receive a packet into."""
        with self._lock:
            self._uploads += 1
            return self._spool / f"{self._uploads}.part"

    def commit(self, upload: Path, routing: Routing, size: int, sha256: str) -> Sent:
        """Put a received packet into each recipient's box; it is there for good when this returns."""
        with self._lock:
            doc_id = f"{len(self._sent) + 1:08d}"
            upload.rename(self.packet(doc_id))
            receivers = {code: f"{doc_id}-{place}" for place, code in enumerate(routing.recipients, 1)}
            # The record is flushed to disk; the packet only has to outlive this process, not a power cut.
            facts = {"docId": doc_id, "size": size, "sha256": sha256, "receivers": receivers, **asdict(routing)}
            self._replay(self._journal.commit("sent", **facts, time=self._now().isoformat()))
            return self._sent[doc_id]

    def packet(self, doc_id: str) -> Path:
        """The file of a sent packet, by the sender's docId."""
        return self._spool / f"{doc_id}.edxml"

    def item(self, doc_id: str, codes: Iterable[str]) -> Item | None:
        """An item by the receiver's docId, if it lies in the box of one of these agencies."""
        item = self._items.get(doc_id)
        return item if item and item.to in set(codes) else None

    def mark(self, item: Item, status: str, description: str) -> None:
        with self._lock:
            facts = {"docId": item.doc_id, "status": status, "description": description}
            self._replay(self._journal.commit("status", **facts, time=self._now().isoformat()))

    def waiting(self, codes: Iterable[str], messagetype: str) -> list[Item]:
        """What is not done yet, oldest first within each box."""
        with self._lock:
            boxes = [self._boxes.get(code, {}) for code in codes]
            return [item for box in boxes for item in box.values() if item.sent.routing.messagetype == messagetype]

    def received(self, codes: Iterable[str], messagetype: str, since: datetime, until: datetime) -> list[Item]:
        """What arrived in a time, done or not."""
        owners = set(codes)
        with self._lock:
            items = [item for item in self._items.values() if item.to in owners]
        items = [item for item in items if item.sent.routing.messagetype == messagetype]
        return [item for item in items if since <= item.sent.at <= until]

    def sent_items(self, codes: Iterable[str], messagetype: str) -> list[Item]:
        """What these agencies sent, one item per recipient."""
        senders = set(codes)
        with self._lock:
            items = [item for item in self._items.values() if item.sent.routing.sender in senders]
        return [item for item in items if item.sent.routing.messagetype == messagetype]

    def audit(self) -> list[AuditRow]:
        """One row per message and recipient, from what was committed; a repeated packet shows as a higher count."""
        with self._lock:
            items = list(self._items.values())
        committed = Counter(_identity(item) for item in items)
        acknowledged = Counter(_identity(item) for item in items if item.status == "done")
        names = ("sender", "recipient", "messagetype", "document_id", "business")
        return [
            AuditRow(**dict(zip(names, identity, strict=True)), committed=count, acknowledged=acknowledged[identity])
            for identity, count in committed.items()
        ]

    def _replay(self, record: Record) -> None:
        match record["event"]:
            case "sent":
                self._replay_sent(record)
            case "status":
                self._replay_status(record)
            case "registered":
                self._replay_registered(record)
            case "deleted":
                code = str(record["code"])
                self._deleted[code] = self._agencies.pop(code)

    def _replay_registered(self, record: Record) -> None:
        facts = {name: str(record[name]) for name in AxisAgency.__dataclass_fields__ if name != "secret"}
        secrets = (agency.secret for agency in self._configured if agency.system_id == facts["system_id"])
        agency = AxisAgency(**facts, secret=next(secrets, ""))
        self._agencies[agency.code] = agency
        self._deleted.pop(agency.code, None)

    def _replay_sent(self, record: Record) -> None:
        facts = cast("dict[str, Any]", {name: record[name] for name in Routing.__dataclass_fields__})
        routing = Routing(**{**facts, "recipients": tuple(facts["recipients"])})
        sent = Sent(
            doc_id=str(record["docId"]),
            routing=routing,
            size=cast(int, record["size"]),
            sha256=str(record["sha256"]),
            at=datetime.fromisoformat(str(record["time"])),
            receivers=cast("dict[str, str]", record["receivers"]),
        )
        self._sent[sent.doc_id] = sent
        for code, doc_id in sent.receivers.items():
            item = Item(doc_id=doc_id, to=code, sent=sent, updated=sent.at)
            self._items[doc_id] = item
            self._boxes.setdefault(code, {})[doc_id] = item

    def _replay_status(self, record: Record) -> None:
        item = self._items[str(record["docId"])]
        item.status, item.description = str(record["status"]), str(record["description"])
        item.updated = datetime.fromisoformat(str(record["time"]))
        if item.status == "done":
            self._boxes[item.to].pop(item.doc_id, None)


def _identity(item: Item) -> tuple[str, ...]:
    routing = item.sent.routing
    return routing.sender, item.to, routing.messagetype, routing.document_id, routing.business
