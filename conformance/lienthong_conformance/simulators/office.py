"""A document system (QLVB&ĐH) with a REST interface, simulated. No product: its oddities are those seen in the field.

Awkward on purpose: HTTP 200 carries refusals, ids are floats (``101.0``), booleans are texts, dates are day first in
documents and milliseconds in statuses, a session ends with a code in HTTP 200, the directory is a bare list without the
usual envelope. ``office-mapping.toml`` beside this file describes it to the plugin ``rest``, of which the simulator
itself knows nothing.

A clerk acts through ``put_document`` and ``report_status``, or from another process through ``POST /_sim/issue`` and
``POST /_sim/status`` with the fields of ``Draft`` and ``Report`` as JSON.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lienthong_conformance.simulators.office_desk import (
    AuditRow,
    Clerk,
    Dedup,
    Desk,
    Draft,
    DraftFile,
    Existing,
    Report,
    Upload,
)
from lienthong_conformance.simulators.server import (
    Call,
    Fault,
    FaultKind,
    Journal,
    Record,
    Reply,
    SimulatorServer,
    json_reply,
)

MAPPING = Path(str(files("lienthong_conformance.simulators").joinpath("office-mapping.toml")))
"""The mapping file that describes this office."""
SECRETS = {"user": "lienthong", "password": "simulated-password"}
"""The account that the simulator accepts, under the names that the mapping uses."""

_DRAFT = TypeAdapter(Draft)
_REPORT = TypeAdapter(Report)
_FEEDBACK = ("khoa", "vanBan", "donVi", "trangThai", "noiDung", "thoiDiem")


class Refusal(Exception):
    """The office says no, with HTTP 200."""

    def __init__(self, code: str, text: str, data: object = None) -> None:
        super().__init__(code)
        self.reply = json_reply({"code": code, "message": text, "data": data})


def _ok(data: object) -> Reply:
    return json_reply({"code": "0", "message": "Thành công", "data": data})


class OfficeSimulator:
    """One office on the loopback address. ``folder`` keeps records and files; a new simulator on it has them all.

    ``clerk`` "automatic" answers each incoming document with 03, 05 and 06, a recall with 15. ``dedup`` "none" makes an
    office that ignores idempotency keys. A list gives at most ``page_limit`` entries a page.
    """

    def __init__(
        self,
        port: int = 0,
        folder: Path | None = None,
        *,
        clerk: Clerk = "idle",
        dedup: Dedup = "native",
        agencies: Sequence[tuple[str, str]] = (),
        page_limit: int = 100,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="office-") if folder is None else None
        place = folder or Path(self._temporary.name if self._temporary else "")
        place.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(place / "records.jsonl")
        self._desk = Desk(place, self._journal, clerk=clerk, dedup=dedup)
        self._agencies, self._page_limit = agencies, page_limit
        self._sessions: set[str] = set()
        self._server = _ClerkServer(self, self._journal, port)
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = [
            ("GET", re.compile("phien"), self._session),
            ("GET", re.compile("van-ban-di"), self._list_documents),
            ("GET", re.compile("van-ban-di/([^/]+)"), self._document),
            ("GET", re.compile("van-ban-di/([^/]+)/tep/([^/]+)"), self._file),
            ("GET", re.compile("trang-thai"), self._list_reports),
            ("POST", re.compile("(van-ban-di|trang-thai)/([^/]+)/xac-nhan"), self._acknowledge),
            ("POST", re.compile("van-ban-den"), self._create),
            ("GET", re.compile("van-ban-den"), self._find),
            ("POST", re.compile("phan-hoi"), self._receive_status),
            ("GET", re.compile("don-vi"), self._directory),
        ]

    @property
    def url(self) -> str:
        """What the paths of the mapping follow."""
        return f"{self._server.endpoint}/api/v2"

    @property
    def endpoint(self) -> str:
        """What ``/_sim/`` follows."""
        return self._server.endpoint

    def start(self) -> None:
        self._server.start()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def stop(self) -> None:
        self._server.stop()
        self._journal.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def script(self, *faults: Fault) -> None:
        """Facts to match: operation (login, documents, document, file, statuses, acknowledge, create, find, feedback,
        directory, session) and, where they are known, id, key, code, document_id, business."""
        self._server.script(*faults)

    def put_document(self, draft: Draft) -> str:
        """A clerk issues a document; its id in this office."""
        return self._desk.issue(draft)

    def report_status(self, report: Report) -> str:
        """A clerk sets a status; its id in this office.

        :raises KeyError: no such incoming document, or no such status code
        """
        return self._desk.report(report)

    def end_sessions(self) -> None:
        """Every token given so far ends now."""
        self._sessions.clear()

    def records(self, event: str = "") -> list[Record]:
        """Events: request, issued, reported, acknowledged, created, repeated, feedback."""
        return self._journal.records(event)

    def incoming(self) -> list[Record]:
        """The incoming documents that were created, with name, size and sha256 of each file."""
        return self._journal.records("created")

    def feedback(self) -> list[Record]:
        """The statuses that came back for documents of this office."""
        return self._journal.records("feedback")

    def audit(self) -> list[AuditRow]:
        """Per (document id, business kind): how often an incoming document was created."""
        return self._desk.audit()

    def reset(self) -> None:
        self._desk.clear()
        self._sessions.clear()

    def answer(self, call: Call) -> Reply:
        """Answer a request of the office's interface."""
        path = call.path.removeprefix("/api/v2/")
        try:
            if (call.method, path) == ("POST", "dang-nhap"):
                return self._login(call)
            if call.header("X-Auth-Token") not in self._sessions:
                raise Refusal("HET_PHIEN", "Phiên làm việc đã hết hạn")
            for method, pattern, answer in self._routes:
                if method == call.method and (match := pattern.fullmatch(path)):
                    return answer(call, *match.groups())
        except Refusal as refusal:
            return refusal.reply
        return json_reply({"code": "404", "message": "Không có dịch vụ này"}, 404)

    def _login(self, call: Call) -> Reply:
        body = _body(call)
        call.about({"operation": "login"})
        if (body.get("taiKhoan"), body.get("matKhau")) != (SECRETS["user"], SECRETS["password"]):
            raise Refusal("SAI_MAT_KHAU", "Sai tài khoản hoặc mật khẩu")
        token = uuid.uuid4().hex
        self._sessions.add(token)
        return _ok({"token": token})

    def _session(self, call: Call) -> Reply:
        call.about({"operation": "session"})
        return _ok({"taiKhoan": SECRETS["user"]})

    def _list_documents(self, call: Call) -> Reply:
        return self._page(call, "documents", self._desk.waiting("van-ban-di"))

    def _list_reports(self, call: Call) -> Reply:
        return self._page(call, "statuses", self._desk.waiting("trang-thai"))

    def _page(self, call: Call, operation: str, entries: list[Any]) -> Reply:
        fault = call.about({"operation": operation}, {FaultKind.DUPLICATE_LISTING})
        size = min(int(call.query.get("soLuong", "20")), self._page_limit)
        start = (int(call.query.get("trang", "1")) - 1) * size
        page = [self._shown(call, entry) for entry in entries[start : start + size]]
        if fault and fault.kind is FaultKind.DUPLICATE_LISTING:
            page = [entry for entry in page for _ in range(2)]
        return _ok({"tongSo": str(len(entries)), "danhSach": page or None})

    def _document(self, call: Call, identity: str) -> Reply:
        call.about({"operation": "document", "id": identity})
        return _ok({"vanBan": self._shown(call, self._issued(identity))})

    def _shown(self, call: Call, entry: dict[str, Any]) -> dict[str, Any]:
        """An entry as asked for: with the contents of its files when ``kemNoiDung`` is 1."""
        if call.query.get("kemNoiDung") != "1":
            return entry
        return {**entry, "tepDinhKem": [self._with_content(file) for file in entry["tepDinhKem"]]}

    def _with_content(self, file: dict[str, Any]) -> dict[str, Any]:
        """A file with its base64, in lines as MIME libraries write it."""
        lines = base64.encodebytes(self._desk.content(file["sha256"])).decode()
        return {**file, "noiDung": lines.replace("\n", "\r\n")}

    def _file(self, call: Call, identity: str, file_id: str) -> Reply:
        fault = call.about({"operation": "file", "id": identity}, {FaultKind.TAMPER})
        file = next((f for f in self._issued(identity)["tepDinhKem"] if f["tepId"] == file_id), None)
        if file is None:
            raise Refusal("KHONG_CO_TEP", "Không có tệp này")
        content = self._desk.content(file["sha256"])
        if fault and fault.kind is FaultKind.TAMPER:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if call.query.get("dang") == "json":
            return _ok({"noiDung": base64.b64encode(content).decode()})
        pdf = file["ten"].lower().endswith(".pdf")
        return Reply(body=content, content_type="application/pdf" if pdf else "application/octet-stream")

    def _issued(self, identity: str) -> dict[str, Any]:
        entry = self._desk.issued(identity)
        if entry is None:
            raise Refusal("KHONG_CO", "Không có văn bản này")
        return entry

    def _acknowledge(self, call: Call, name: str, identity: str) -> Reply:
        body = _body(call)
        call.about({"operation": "acknowledge", "id": identity})
        known = self._desk.acknowledge(name, identity, str(body.get("ketQua")), str(body.get("ghiChu", "")))
        if not known:
            raise Refusal("DA_XAC_NHAN", "Đã xác nhận trước đó")
        return _ok("TRUE")

    def _create(self, call: Call) -> Reply:
        body = _body(call)
        upload = _upload(call.header("Idempotency-Key"), body)
        call.about({"operation": "create", "key": upload.key, **upload.facts})
        try:
            return _ok({"id": self._desk.create(upload)})
        except Existing as existing:
            self._journal.note("repeated", key=upload.key, id=existing.identity)
            raise Refusal("DA_TON_TAI", "Văn bản đã tồn tại", {"id": existing.identity}) from None

    def _find(self, call: Call) -> Reply:
        key = call.query.get("khoa", "")
        call.about({"operation": "find", "key": key})
        return _ok({"danhSach": [{"id": identity} for identity in self._desk.ids_of_key(key)]})

    def _receive_status(self, call: Call) -> Reply:
        body = _body(call)
        facts = {name: str(body.get(name, "")) for name in _FEEDBACK}
        call.about({"operation": "feedback", "key": facts["khoa"], "id": facts["vanBan"], "code": facts["trangThai"]})
        self._issued(facts["vanBan"])
        if not self._desk.receive(facts):
            raise Refusal("DA_TON_TAI", "Trạng thái đã ghi nhận")
        return _ok("TRUE")

    def _directory(self, call: Call) -> Reply:
        call.about({"operation": "directory"})
        start, size = int(call.query.get("tu", "0")), int(call.query.get("soLuong", "50"))
        rows = [{"maDinhDanh": code, "tenDonVi": name} for code, name in self._agencies]
        return json_reply([{"maDinhDanh": None, "tenDonVi": "Phòng nội bộ"}, *rows][start : start + size])


class _ClerkServer(SimulatorServer):
    """A simulator's server whose control plane also lets a clerk act."""

    def __init__(self, office: OfficeSimulator, journal: Journal, port: int) -> None:
        views: dict[str, Callable[[], object]] = {
            "audit": lambda: [asdict(row) for row in office.audit()],
            "incoming": office.incoming,
        }
        super().__init__(office.answer, journal=journal, reset=office.reset, views=views, port=port)
        self._office = office

    def control(self, call: Call) -> Reply:
        acts: dict[str, Callable[[bytes], str]] = {
            "/_sim/issue": lambda body: self._office.put_document(_DRAFT.validate_json(body)),
            "/_sim/status": lambda body: self._office.report_status(_REPORT.validate_json(body)),
        }
        if call.method != "POST" or call.path not in acts:
            return super().control(call)
        try:
            return json_reply({"id": acts[call.path](call.read())})
        except (ValueError, KeyError) as problem:
            return json_reply({"error": str(problem)}, 400)


def _body(call: Call) -> dict[str, Any]:
    try:
        body = json.loads(call.read())
    except ValueError as problem:
        raise Refusal("SAI_JSON", str(problem)) from problem
    if not isinstance(body, dict):
        raise Refusal("SAI_JSON", "Nội dung phải là đối tượng JSON")
    return body


def _upload(key: str, body: dict[str, Any]) -> Upload:
    """An incoming document as it was handed in; what a registrar cannot do without must be there."""
    missing = [name for name in ("maVanBan", "soKyHieu", "trichYeu", "donViGui") if not body.get(name)]
    if missing:
        raise Refusal("THIEU_DU_LIEU", f"Thiếu: {', '.join(missing)}")
    facts = {
        "document_id": str(body["maVanBan"]),
        "business": str(body.get("nghiepVu", "MOI")),
        "code": str(body["soKyHieu"]),
        "subject": str(body["trichYeu"]),
        "organ": str(body["donViGui"].get("ma", "")),
        "note": str(body.get("ghiChu", "")),
        "stated": json.dumps({k: v for k, v in body.items() if k != "tep"}, ensure_ascii=False),
    }
    try:
        files = [(dict(file), base64.b64decode(file.pop("noiDung"), validate=True)) for file in body.get("tep", [])]
    except (ValueError, KeyError) as problem:
        raise Refusal("SAI_TEP", f"Tệp không phải base64: {problem}") from problem
    return Upload(key=key, facts=facts, files=files)


__all__ = ["MAPPING", "SECRETS", "Draft", "DraftFile", "OfficeSimulator", "Report"]
