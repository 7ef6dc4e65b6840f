"""The commune's document system: a small product that speaks the sidecar API and keeps its own records.

It does what any product should: it stores an item durably before it acknowledges it, knows an item that it has seen by
its key, checks each file against the digest that it was told, and repeats what was not answered under the same
idempotency key.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lienthong.errors import LienthongError, Unavailable
from lienthong_conformance.demo.loopback import Answer, ask
from lienthong_conformance.demo.offices import STAFF
from lienthong_conformance.demo.plan import ROLES, Feedback, Held, Pair, Step
from lienthong_conformance.letters import RenderedLetter, as_metadata
from lienthong_conformance.simulators.journal import Journal, Record

_PAUSE_SECONDS = 0.2
_BUSY = (429, 503)


class Product:
    """One office that works in its own thread between ``start`` and ``stop``. ``api`` is ``http://127.0.0.1:port``."""

    def __init__(self, role: str, api: str, token: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._role, self._api, self._folder = role, api, folder
        self._authorization = {"Authorization": f"Bearer {token}"}
        self._journal = Journal(folder / "records.jsonl")
        self._outbox: deque[Callable[[], None]] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="product", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._journal.close()

    def issue(self, step: Step, files: RenderedLetter) -> None:
        key = f"issue-{step.letter.key}"
        body, kind = _multipart(as_metadata(step.letter, ROLES), (files.main, *files.attachments))
        self._journal.commit("issued", key=key, document_id=step.document_id)
        self._outbox.append(partial(self._hand_in, step.document_id, key, body, kind))

    def answer(self, step: Step) -> None:
        for code in step.answers:
            self._outbox.append(partial(self._report, step, code))

    def issued(self) -> list[str]:
        return [str(record["document_id"]) for record in self._journal.records("issued")]

    def held(self) -> list[Held]:
        return [self._held(record) for record in self._journal.records("received")]

    def feedback(self) -> list[Feedback]:
        told = self._journal.records("status")
        return [Feedback(str(each["document_id"]), str(each["from"]), str(each["code"])) for each in told]

    def refusals(self) -> Mapping[str, str]:
        refused = self._journal.records("refused")
        return {str(record["document_id"]): str(record["reason"]) for record in refused}

    def problems(self) -> list[str]:
        """What did not work, oldest first; most of it was tried again."""
        return [str(record["text"]) for record in self._journal.records("problem")]

    def _held(self, record: Record) -> Held:
        names, place = record["files"], self._place(str(record["key"]))
        assert isinstance(names, list), "_receive writes a list"
        pair = Pair(str(record["document_id"]), ROLES[self._role].code)
        return Held(pair=pair, files={name: place / name for name in names})

    def _place(self, key: str) -> Path:
        return self._folder / "received" / key

    def _work(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            for duty in (self._hand_out, self._collect):
                try:
                    duty()
                except LienthongError as problem:
                    self._journal.note("problem", text=problem.text("vi"))

    def _hand_out(self) -> None:
        """What the clerks did, in their order; what is not answered stays and is tried again."""
        while self._outbox:
            self._outbox[0]()
            self._outbox.popleft()

    def _hand_in(self, document_id: str, key: str, body: bytes, kind: str) -> None:
        answer = self._ask("POST", "/v1/documents", body, {"Content-Type": kind, "Idempotency-Key": key})
        if answer.status not in (200, 201):
            self._journal.commit("refused", document_id=document_id, reason=_reason(answer))

    def _report(self, step: Step, code: str) -> None:
        subject = self._message_id(step.answered)
        report = {"code": code, "description": "", "staff": {"name": STAFF[self._role], "department": "Văn thư"}}
        key = f"status-{step.letter.key}-{code}"
        answer = self._tell(f"/v1/documents/{subject}/statuses", report, {"Idempotency-Key": key})
        self._journal.commit("reported", document_id=step.answered, code=code, http=answer.status)
        if answer.status not in (200, 201):
            self._journal.note("problem", text=_reason(answer))

    def _message_id(self, document_id: str) -> str:
        received = self._journal.records("received")
        return next(str(each["message_id"]) for each in received if each["document_id"] == document_id)

    def _collect(self) -> None:
        leased = self._tell("/v1/inbox/lease", {"max": 20, "seconds": 30.0})
        for item in leased.json().get("items", []):
            office_id = self._receive(item)
            self._tell(f"/v1/inbox/{item['key']}/acknowledge", {"lease": item["lease"], "office_id": office_id})

    def _receive(self, item: Mapping[str, Any]) -> str:
        """Store an item, once; its id in this office."""
        known = [each for each in self._journal.records() if each.get("key") == item["key"]]
        if not known and item["kind"] == "status":
            content = item["content"]
            facts = {"document_id": item["concerns"]["document_id"], "from": content["from"], "code": content["code"]}
            self._journal.commit("status", key=item["key"], **facts)
        elif not known:
            names = [self._save(item, part) for part in item["parts"]]
            facts = {"message_id": item["message"]["id"], "document_id": item["message"]["document_id"]}
            self._journal.commit("received", key=item["key"], **facts, files=names, notes=item["notes"])
        return f"SV-{item['key']}"

    def _save(self, item: Mapping[str, Any], part: Mapping[str, Any]) -> str:
        answer = self._ask("GET", part["url"], headers={"Lease-Token": item["lease"]})
        if answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != part["sha256"]:
            raise Unavailable(
                "peer.answer-unreadable", where=part["url"], peer=self._api, reason=f"HTTP {answer.status}"
            )
        place = self._place(item["key"])
        place.mkdir(parents=True, exist_ok=True)
        (place / part["name"]).write_bytes(answer.body)
        return str(part["name"])

    def _tell(self, path: str, value: object, headers: Mapping[str, str] | None = None) -> Answer:
        named = {"Content-Type": "application/json", **(headers or {})}
        return self._ask("POST", path, json.dumps(value).encode(), named)

    def _ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """:raises Unavailable: not now; the same may be asked again"""
        answer = ask(self._api, method, path, body=body, headers={**self._authorization, **(headers or {})})
        if answer.status in _BUSY:
            raise Unavailable("peer.busy", where=path, peer=self._api, status=answer.status)
        return answer


def _reason(answer: Answer) -> str:
    try:
        error = answer.json()["error"]
        return f"{error['vi']} {error['next_vi']}".strip()
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status}"


def _multipart(metadata: Mapping[str, object], files: Sequence[Path]) -> tuple[bytes, str]:
    """A body of multipart/form-data and its media type: the metadata first, then each file."""
    boundary = secrets.token_hex(16)
    pieces = [('name="metadata"', "application/json", json.dumps(metadata, ensure_ascii=False).encode())]
    for number, file in enumerate(files):
        pieces.append((f'name="file{number}"; filename="{file.name}"', "application/octet-stream", file.read_bytes()))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\nContent-Type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, kind, content in pieces
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
