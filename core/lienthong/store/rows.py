"""Rows of the store as frozen types, and how messages stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter

from lienthong.errors import StoreError
from lienthong.model import Document, FileVerification, Message, MessageKind, StatusReport

_DOCUMENT = TypeAdapter(Document)
_STATUS = TypeAdapter(StatusReport)
_VERIFICATION = TypeAdapter(tuple[FileVerification, ...])


@dataclass(frozen=True, kw_only=True)
class Work:
    """The columns that every claimable row has."""

    state: str
    priority: int = 0
    run_at: float | None = None
    attempts: int = 0
    strikes: int = 0
    lease_owner: str | None = None
    lease_until: float | None = None
    fence: int = 0
    reason: str = ""
    reason_text: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MessageRow(Work):
    """One message, in either direction. ``body`` is the model as JSON; ``raw`` names the received packet's blob."""

    id: str
    direction: str
    kind: str
    agency: str
    connection: str
    source_id: str
    peer: str = ""
    intake_digest: str = ""
    document_id: str = ""
    code: str = ""
    promulgated: str = ""
    business: int = 0
    status: str = ""
    subject: str = ""
    lineage: str = ""
    business_key: str = ""
    concerns: str = ""
    body: str = ""
    raw: str = ""
    verification: str = "[]"
    parked: str = ""
    ack: str = "none"
    ack_detail: str = ""

    @cached_property
    def content(self) -> Message:
        if not self.body:
            raise StoreError("store.no-content", message_id=self.id)
        return _STATUS.validate_json(self.body) if self.is_status else _DOCUMENT.validate_json(self.body)

    @property
    def is_status(self) -> bool:
        return self.kind == MessageKind.STATUS

    @property
    def document(self) -> Document:
        if not isinstance(self.content, Document):
            raise StoreError("store.not-a-document", message_id=self.id)
        return self.content

    @property
    def report(self) -> StatusReport:
        if not isinstance(self.content, StatusReport):
            raise StoreError("store.not-a-status", message_id=self.id)
        return self.content

    @property
    def findings(self) -> tuple[FileVerification, ...]:
        return _VERIFICATION.validate_json(self.verification)


@dataclass(frozen=True, kw_only=True)
class DeliveryRow(Work):
    """One message to one destination. ``key`` is the idempotency key, minted once."""

    key: str
    message_id: str
    connection: str
    recipient: str
    lineage: str
    seq: int = 0
    packet_sha256: str = ""
    packet_size: int = 0
    lines: str = "[]"
    attempted_at: float | None = None
    ended_at: float | None = None
    peer_id: str = ""
    receipt: bytes | None = None
    last_status: str = ""


def encode(content: Message) -> str:
    adapter: TypeAdapter[Any] = _STATUS if isinstance(content, StatusReport) else _DOCUMENT
    return adapter.dump_json(content).decode()


def encode_findings(findings: Sequence[FileVerification]) -> str:
    return _VERIFICATION.dump_json(tuple(findings)).decode()
