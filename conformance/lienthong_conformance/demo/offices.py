"""The folder office and the REST office, each as its clerks use it: never through the adapter."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lienthong.model import Business, Document, Priority
from lienthong_conformance.demo.loopback import asked, told
from lienthong_conformance.demo.plan import ROLES, Feedback, Held, Pair, Step
from lienthong_conformance.letters import RenderedLetter, as_metadata
from lienthong_conformance.simulators.office_desk import STATUS_WORDS

_URGENCY = {Priority.NORMAL: "Thường", Priority.URGENT: "Khẩn", Priority.VERY_URGENT: "Thượng khẩn"}
_BUSINESS = {Business.NEW: "MOI", Business.RECALL: "THU_HOI", Business.UPDATE: "CAP_NHAT", Business.REPLACE: "THAY_THE"}
STAFF = {"tinh": "Mạc Thị Thu", "so": "Hứa Văn Bách", "xa": "Nông Thị Hiền"}
"""The clerks (văn thư)."""


class Office(Protocol):
    """A document system: what its clerks do, and what it holds."""

    def issue(self, step: Step, files: RenderedLetter) -> None:
        """Hand a document in to be sent."""

    def answer(self, step: Step) -> None:
        """Report the planned statuses about a received document."""

    def issued(self) -> list[str]:
        """The ids of the documents that were handed in."""

    def held(self) -> list[Held]:
        """The documents that were received."""

    def feedback(self) -> list[Feedback]:
        """The statuses that came back."""

    def refusals(self) -> Mapping[str, str]:
        """Document id -> why it was not sent."""


class FolderOffice:
    """The drop folder of the province. ``root`` is the folder that the adapter is configured with."""

    def __init__(self, role: str, root: Path) -> None:
        self._role, self._root = role, root
        self._numbers = itertools.count(1)
        for name in ("outbox", "status"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def issue(self, step: Step, files: RenderedLetter) -> None:
        for file in (files.main, *files.attachments):
            shutil.copy(file, self._root / "outbox" / file.name)
        # The metadata comes last and whole, so the adapter never takes half a drop.
        _drop(self._root / "outbox" / f"{step.letter.key}.json", as_metadata(step.letter, ROLES))

    def answer(self, step: Step) -> None:
        for code in step.answers:
            report = {"document": step.answered, "code": code, "staff": STAFF[self._role], "department": "Văn thư"}
            _drop(self._root / "status" / f"{next(self._numbers):04d}.json", report)

    def issued(self) -> list[str]:
        taken = (file for name in ("sent", "rejected") for file in self._root.glob(f"{name}/*/*.json"))
        drops = (_read(file) for file in (*self._root.glob("outbox/*.json"), *taken))
        return [_document_id(drop) for drop in drops if isinstance(drop, dict)]

    def held(self) -> list[Held]:
        return [_held_in(file.parent, ROLES[self._role].code) for file in self._root.glob("inbox/[!.]*/van-ban.json")]

    def feedback(self) -> list[Feedback]:
        files = self._root.glob("*/*/trang-thai.json")
        entries = (entry for file in files for entry in json.loads(file.read_text("utf-8")))
        return [Feedback(entry["document_id"], entry["from"], entry["code"]) for entry in entries]

    def refusals(self) -> Mapping[str, str]:
        found = {}
        for reason in self._root.glob("rejected/*/ly-do.txt"):
            for metadata in reason.parent.glob("*.json"):
                found[_document_id(json.loads(metadata.read_text("utf-8")))] = reason.read_text("utf-8").strip()
        return found


def _read(file: Path) -> Any:
    """A JSON file's value; None when the adapter has just moved it."""
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None


def _drop(file: Path, values: Mapping[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(json.dumps(values, ensure_ascii=False), "utf-8")
    aside.rename(file)


def _document_id(drop: Mapping[str, Any]) -> str:
    return _triple(drop["from"], drop["date"], f"{drop['number']}/{drop['notation']}")


def _triple(organ: str, day: str, code: str) -> str:
    return f"{organ},{day.replace('-', '/')},{code}"


def _held_in(folder: Path, recipient: str) -> Held:
    described = json.loads((folder / "van-ban.json").read_text("utf-8"))
    parts = [part["name"] for part in described["document"]["parts"]]
    pair = Pair(described["document"]["document_id"], recipient)
    return Held(pair=pair, files={name: folder / name for name in parts})


class RestOffice:
    """The department's REST office, through the control plane of its simulator; ``folder`` holds its files."""

    def __init__(self, role: str, endpoint: str, folder: Path) -> None:
        self._role, self._endpoint, self._folder = role, endpoint, folder

    def issue(self, step: Step, files: RenderedLetter) -> None:
        told(self._endpoint, "/_sim/issue", _draft(step, files))

    def answer(self, step: Step) -> None:
        about = {"document_id": step.answered, "organ": step.document.sender.code, "staff": STAFF[self._role]}
        for code in step.answers:
            told(self._endpoint, "/_sim/status", {"code": code, **about})

    def issued(self) -> list[str]:
        return list(self._issued().values())

    def held(self) -> list[Held]:
        return [self._held(record) for record in self._records("created")]

    def feedback(self) -> list[Feedback]:
        documents, codes = self._issued(), {word: code for code, word in STATUS_WORDS.items()}
        return [
            Feedback(documents[record["vanBan"]], record["donVi"], codes[record["trangThai"]])
            for record in self._records("feedback")
        ]

    def refusals(self) -> Mapping[str, str]:
        documents = self._issued()
        failed = (record for record in self._records("acknowledged") if record["result"] == "LOI")
        return {documents[each["id"]]: each["note"] for each in failed if each["list"] == "van-ban-di"}

    def _issued(self) -> dict[str, str]:
        """The office's own id -> document id."""
        own = ROLES[self._role].code
        return {record["id"]: _entry_id(own, record["entry"]) for record in self._records("issued")}

    def _held(self, record: Mapping[str, Any]) -> Held:
        files = {file["ten"]: self._folder / "files" / file["sha256"] for file in record["files"]}
        return Held(pair=Pair(record["document_id"], ROLES[self._role].code), files=files)

    def _records(self, event: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = asked(self._endpoint, f"/_sim/records?event={event}")
        return found


def _entry_id(organ: str, entry: Mapping[str, Any]) -> str:
    day, month, year = entry["ngayBanHanh"].split("/")
    return _triple(organ, f"{year}-{month}-{day}", entry["soKyHieu"])


def _draft(step: Step, files: RenderedLetter) -> dict[str, object]:
    document = step.document
    return {
        "code": document.code,
        "subject": document.subject,
        "recipients": [[recipient.code, recipient.name] for recipient in document.recipients],
        "files": [_draft_file(file) for file in (files.main, *files.attachments)],
        "promulgated": document.promulgated.isoformat(),
        "kind": document.type_name,
        "urgency": _URGENCY.get(document.priority, "Hỏa tốc"),
        "signer": document.signer.full_name,
        "position": document.signer.position,
        "business": _BUSINESS[document.change.kind],
        "concerns": _concerned(document),
        "reason": document.change.reason,
    }


def _draft_file(file: Path) -> dict[str, str]:
    return {"name": file.name, "content": base64.b64encode(file.read_bytes()).decode()}


def _concerned(document: Document) -> str:
    replaced = (replacement.document_id for replacement in document.change.replaces)
    return document.change.document_id or next(replaced, "")
