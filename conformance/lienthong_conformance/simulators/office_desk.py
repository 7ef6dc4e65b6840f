"""What lies on the desk of a simulated office: documents to send, statuses to report, what came in. No HTTP here.

Everything is a record of the journal first; a desk on an old journal finds all of it again.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Base64Encoder, ConfigDict, EncodedBytes

from lienthong_conformance.simulators.journal import Journal, Record

STATUS_WORDS = {
    "01": "DEN",
    "02": "TU_CHOI",
    "03": "TIEP_NHAN",
    "04": "PHAN_CONG",
    "05": "DANG_XU_LY",
    "06": "HOAN_THANH",
    "13": "XIN_LAY_LAI",
    "15": "DONG_Y",
    "16": "KHONG_DONG_Y",
}
"""The office's words for business statuses."""
Business = Literal["MOI", "THU_HOI", "CAP_NHAT", "THAY_THE"]
Clerk = Literal["idle", "automatic"]
Dedup = Literal["native", "none"]
Entry = dict[str, Any]
_NO_MORE = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class DraftFile:
    """A file that a clerk attaches; the first of a document is its main file. In JSON its content is base64."""

    __pydantic_config__: ClassVar[ConfigDict] = _NO_MORE

    name: str
    content: Annotated[bytes, EncodedBytes(encoder=Base64Encoder)]


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a clerk fills in to issue a document. ``raw`` replaces values of the finished entry, to spoil it."""

    __pydantic_config__: ClassVar[ConfigDict] = _NO_MORE

    code: str = "12/QĐ-STC"
    subject: str = "Về việc phân bổ dự toán"
    recipients: tuple[tuple[str, str], ...] = ()
    files: tuple[DraftFile, ...] = ()
    sender: str = ""
    promulgated: date = date(2026, 11, 22)
    kind: str = "Quyết định"
    urgency: str = "Thường"
    secrecy: str = "Thường"
    signer: str = "Nguyễn Văn A"
    position: str = "Giám đốc"
    business: Business = "MOI"
    concerns: str = ""
    reason: str = ""
    paper: bool = False
    raw: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A status that a clerk sets: about an incoming document (its id here), or about any by the other fields."""

    __pydantic_config__: ClassVar[ConfigDict] = _NO_MORE

    code: str
    incoming: str = ""
    document_id: str = ""
    organ: str = ""
    number: str = ""
    note: str = ""
    staff: str = "Trần Thị B"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A document that was handed in: what it states of itself, its files, and the idempotency key of the request."""

    key: str
    facts: Mapping[str, str]
    files: Sequence[tuple[Mapping[str, str], bytes]]


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """How often one document was created with one business kind. More than once is a duplicate that a person sees."""

    document_id: str
    business: str
    created: int


class Existing(Exception):
    """The idempotency key was used before, for ``identity``."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        self.identity = identity


class Desk:
    """The office's state. Thread-safe; every change is in the journal before it is visible."""

    def __init__(self, folder: Path, journal: Journal, *, clerk: Clerk, dedup: Dedup) -> None:
        self._folder = folder / "files"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal = journal
        self._clerk, self._dedup = clerk, dedup
        self._lock = threading.RLock()
        self.clear()
        for record in journal.records():
            self._apply(record)

    def clear(self) -> None:
        with self._lock:
            self._last = 100
            self._waiting: dict[str, dict[str, Entry]] = {"van-ban-di": {}, "trang-thai": {}}
            self._issued: dict[str, Entry] = {}
            self._created: dict[str, Record] = {}
            self._ids_of_key: dict[str, list[str]] = {}
            self._feedback: set[str] = set()

    def waiting(self, name: str) -> list[Entry]:
        """Entries of a list that were not acknowledged, oldest first."""
        with self._lock:
            return list(self._waiting[name].values())

    def issued(self, identity: str) -> Entry | None:
        """A document of this office, acknowledged or not."""
        with self._lock:
            return self._issued.get(identity)

    def ids_of_key(self, key: str) -> list[str]:
        """The incoming documents that were created under an idempotency key."""
        with self._lock:
            return list(self._ids_of_key.get(key, ()))

    def content(self, sha256: str) -> bytes:
        return (self._folder / sha256).read_bytes()

    def audit(self) -> list[AuditRow]:
        counts = Counter((str(r["document_id"]), str(r["business"])) for r in self._journal.records("created"))
        return [AuditRow(document_id=d, business=b, created=n) for (d, b), n in counts.items()]

    def issue(self, draft: Draft) -> str:
        with self._lock:
            files = [self._kept(file.name, file.content) for file in draft.files]
            number = self._next()
            self._commit("issued", id=str(number), entry=_outgoing_entry(number, draft, files))
            return str(number)

    def report(self, report: Report) -> str:
        """:raises KeyError: no such incoming document, or no such status code"""
        with self._lock:
            about, number = self._about(report), self._next()
            entry = {
                "id": float(number),
                "vanBan": about,
                "trangThai": STATUS_WORDS[report.code],
                "ghiChu": report.note,
                "canBo": {"hoTen": report.staff, "phongBan": "Văn thư"},
            }
            self._commit("reported", id=str(number), entry=entry)
            return str(number)

    def acknowledge(self, name: str, identity: str, result: str, note: str) -> bool:
        """Take an entry off its list; False when it was off already."""
        with self._lock:
            known = identity in self._waiting[name]
            if known:
                self._commit("acknowledged", list=name, id=identity, result=result, note=note)
            return known

    def create(self, upload: Upload) -> str:
        """Register an incoming document; an automatic clerk answers it at once.

        :raises Existing: this office knows idempotency keys and has seen this one
        """
        with self._lock:
            if upload.key and self._dedup == "native" and (existing := self._ids_of_key.get(upload.key)):
                raise Existing(existing[0])
            kept = [{**facts, **self._kept(facts["ten"], content)} for facts, content in upload.files]
            identity = f"DEN-{self._next()}"
            self._commit("created", id=identity, key=upload.key, **upload.facts, files=kept)
            answers = ("15",) if upload.facts["business"] == "THU_HOI" else ("03", "05", "06")
            for code in answers if self._clerk == "automatic" else ():
                self.report(Report(code=code, incoming=identity))
            return identity

    def receive(self, facts: Mapping[str, str]) -> bool:
        """Note a status that came back; False when it was noted before."""
        with self._lock:
            new = facts["khoa"] not in self._feedback
            if new:
                self._commit("feedback", **facts)
            return new

    def _about(self, report: Report) -> Entry:
        if not report.incoming:
            return {"ma": report.document_id, "donVi": report.organ, "soKyHieu": report.number}
        record = self._created[report.incoming]
        return {"ma": record["document_id"], "donVi": record["organ"], "soKyHieu": record["code"]}

    def _kept(self, name: str, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        (self._folder / sha256).write_bytes(content)
        return {"ten": name, "kichThuoc": len(content), "sha256": sha256}

    def _next(self) -> int:
        self._last += 1
        return self._last

    def _commit(self, event: str, **facts: object) -> None:
        self._apply(self._journal.commit(event, **facts))

    def _apply(self, record: Record) -> None:
        """The change that a record stands for."""
        identity = str(record.get("id", ""))
        self._last = max(self._last, int(identity.rpartition("-")[2] or 0))
        match record:
            case {"event": "issued", "entry": dict() as entry}:
                self._issued[identity] = self._waiting["van-ban-di"][identity] = entry
            case {"event": "reported", "entry": dict() as entry, "at": float() | int() as at}:
                self._waiting["trang-thai"][identity] = {**entry, "thoiDiem": int(at * 1000)}
            case {"event": "feedback", "khoa": str() as key}:
                self._feedback.add(key)
            case {"event": "acknowledged", "list": str() as name}:
                self._waiting[name].pop(identity, None)
            case {"event": "created", "key": str() as key}:
                self._created[identity] = record
                self._ids_of_key.setdefault(key, []).append(identity)


def _outgoing_entry(number: int, draft: Draft, files: Sequence[Entry]) -> Entry:
    """A document as the office's lists show it."""
    kinds = ["CHINH", *["PHU_LUC"] * len(files)]
    return {
        "id": float(number),
        "soKyHieu": draft.code,
        "trichYeu": draft.subject,
        "ngayBanHanh": draft.promulgated.strftime("%d/%m/%Y"),
        "loaiVanBan": draft.kind,
        "doKhan": draft.urgency,
        "doMat": draft.secrecy,
        "donViGui": draft.sender or None,
        "noiNhan": [{"maDinhDanh": code, "tenDonVi": name} for code, name in draft.recipients],
        "nguoiKy": {"hoTen": draft.signer, "chucVu": draft.position},
        "nghiepVu": draft.business,
        "vanBanLienQuan": draft.concerns or None,
        "lyDo": draft.reason,
        "guiBanGiay": "TRUE" if draft.paper else "FALSE",
        "tepDinhKem": [{"tepId": f"T{n}", "loaiTep": kinds[n], **file} for n, file in enumerate(files)],
        **draft.raw,
    }
