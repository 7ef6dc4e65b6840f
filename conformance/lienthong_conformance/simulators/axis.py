"""The national document axis (VXP), simulated from the observed wire protocol alone.

It shares no code with the adapter's plugin: two readings of the same protocol check each other. It is strict where a
client could be wrong (HMAC over exactly what was sent, ``hash-file``, whose box it is) and awkward where the real axis
is: the spelling of ``docId`` changes from answer to answer, ``data`` comes before or after ``status``, base64 may be
escaped, a packet is delivered as often as it is sent.

The error codes are the simulator's own, after those of a provincial axis (10 file, 15 credentials, 18 recipient,
19 sender, 22 packet); 1 (bad parameter) and 11 (no such item) are invented. No list of the national axis is public.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from lienthong.model import VIETNAM
from lienthong_conformance.simulators.axis_wire import (
    DAY_FIRST,
    Refusal,
    Signed,
    agency_facts,
    agency_row,
    failure,
    names_file,
    ok,
    packet_in_json,
    raw_packet,
    read_signed,
    receive,
    received_row,
    repeated,
    sent_row,
    unit_row,
)
from lienthong_conformance.simulators.boxes import AuditRow, AxisAgency, Boxes, Item
from lienthong_conformance.simulators.packets import NotRoutable, Routing, read_routing
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

_DOC_ID_SPELLINGS = ("docId", "docid", "DocId", "DocID")
_GET_TOO = frozenset({"downloadEdoc", "countReceiveEdoc", "countReceiveStatus"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """An authenticated call, and the agencies of the system that signed it."""

    call: Call
    operation: str
    signed: Signed
    agencies: tuple[AxisAgency, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(agency.code for agency in self.agencies)

    def parameter(self, name: str) -> str:
        return self.signed.parameter(name)

    def about(self, facts: Mapping[str, str], *also: FaultKind) -> Fault | None:
        """Where scripted faults fire."""
        return self.call.about({"operation": self.operation, **facts}, also)


class AxisSimulator:
    """One axis on the loopback address. ``folder`` keeps packets and records; a new simulator on it has them all."""

    def __init__(self, agencies: Sequence[AxisAgency], folder: Path, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(folder / "records.jsonl")
        self._boxes = Boxes(agencies, folder, self._journal, _now)
        self._spellings = itertools.cycle(_DOC_ID_SPELLINGS)
        self._turns = itertools.count()
        views = {"audit": lambda: [asdict(row) for row in self.audit()]}
        self._server = SimulatorServer(
            self._answer, journal=self._journal, reset=self._boxes.reset, views=views, port=port
        )
        self._operations: dict[str, Callable[[Request], Reply]] = {
            "sendEdoc": self._send_edoc,
            "getReceivedEdocList": self._received_list,
            "getEdoc": self._get_edoc,
            "downloadEdoc": self._download_edoc,
            "updateStatus": self._update_status,
            "getSentEdocList": self._sent_list,
            "countReceiveEdoc": lambda request: self._count(request, "edoc"),
            "countReceiveStatus": lambda request: self._count(request, "status"),
            "getAgenciesList": self._agencies_list,
            "getAgenciesListQD20": self._agencies_list_qd20,
            "getSynchronizeUnit": self._synchronize_unit,
            "registerAgency": self._register_agency,
            "deleteAgency": self._delete_agency,
        }

    @property
    def endpoint(self) -> str:
        return self._server.endpoint

    def start(self) -> None:
        self._server.start()

    def serve_forever(self) -> None:
        self._server.serve_forever()

    def stop(self) -> None:
        self._server.stop()
        self._journal.close()

    def script(self, *faults: Fault) -> None:
        """Facts to match: operation, from, to, messagetype, document_id, notation, business, docId, status."""
        self._server.script(*faults)

    def records(self, event: str = "") -> list[Record]:
        """What was received and committed; events: request, refused, sent, status, repeated, registered, deleted."""
        return self._journal.records(event)

    def audit(self) -> list[AuditRow]:
        """Per message and recipient: how often committed, how often acknowledged done."""
        return self._boxes.audit()

    def _answer(self, call: Call) -> Reply:
        operation = call.path.rpartition("/")[2]
        answer = self._operations.get(operation)
        if answer is None:
            return json_reply({"error": f"no operation {operation}"}, 404)
        if call.method != "POST" and not (call.method == "GET" and operation in _GET_TOO):
            return Reply(status=405, headers={"Allow": "POST"})
        try:
            return answer(self._authenticated(call, operation))
        except Refusal as refusal:
            self._journal.note("refused", operation=operation, code=refusal.code, text=refusal.text)
            return failure(refusal)

    def _authenticated(self, call: Call, operation: str) -> Request:
        signed = read_signed(call)
        agencies = tuple(self._boxes.of_system(signed.parameter("systemid")))
        if not any(signed.is_made_with(agency.secret) for agency in agencies):
            raise Refusal("15", "wrong system id or secret")
        return Request(call=call, operation=operation, signed=signed, agencies=agencies)

    def _send_edoc(self, request: Request) -> Reply:
        if request.parameter("from") not in request.codes:
            raise Refusal("19", f"{request.parameter('from')} is not an agency of this system")
        if request.parameter("servicetype") != "eDoc" or request.parameter("messagetype") not in ("edoc", "status"):
            raise Refusal("1", "servicetype must be eDoc, messagetype edoc or status")
        upload = self._boxes.upload()
        try:
            size, sha256 = receive(request.call, upload)
            if not names_file(request.parameter("hash-file"), sha256):
                raise Refusal("10", "hash-file is not that of the body")
            routing = self._routing(request, upload)
            request.about(_routing_facts(routing, routing.recipients))
            sent = self._boxes.commit(upload, routing, size, sha256)
        finally:
            upload.unlink(missing_ok=True)
        return ok(**{next(self._spellings): sent.doc_id})

    def _routing(self, request: Request, upload: Path) -> Routing:
        """The packet's envelope; an optional ``to`` parameter narrows it to one of its recipients."""
        try:
            routing = read_routing(upload)
        except NotRoutable as problem:
            raise Refusal("22", str(problem)) from problem
        if (routing.messagetype, routing.sender) != (request.parameter("messagetype"), request.parameter("from")):
            raise Refusal("22", f"the packet is a {routing.messagetype} from {routing.sender}")
        only = request.parameter("to")
        if only and only not in routing.recipients:
            raise Refusal("18", f"the packet is not for {only}")
        recipients = (only,) if only else routing.recipients
        if unknown := [code for code in recipients if not self._boxes.knows(code)]:
            raise Refusal("18", f"not connected: {', '.join(unknown)}")
        return replace(routing, recipients=recipients)

    def _received_list(self, request: Request) -> Reply:
        messagetype = request.parameter("messagetype")
        since, until = _date(request, "fromDate"), _date(request, "toDate")
        if since or until:
            bounds = since or datetime.min.replace(tzinfo=VIETNAM), until or _now()
            items = self._boxes.received(request.codes, messagetype, *bounds)
        else:
            items = self._boxes.waiting(request.codes, messagetype)
        items = _page(request, items)
        fault = request.about(self._listing_facts(request), FaultKind.DUPLICATE_LISTING)
        key = next(self._spellings)
        return ok(data=repeated([received_row(item, key) for item in items], fault))

    def _sent_list(self, request: Request) -> Reply:
        items = self._boxes.sent_items(request.codes, request.parameter("messagetype"))
        wanted = request.parameter("docId")
        fault = request.about(self._listing_facts(request), FaultKind.DUPLICATE_LISTING)
        rows = [sent_row(item) for item in items if wanted in ("", item.sent.doc_id)]
        return ok(data=repeated(rows, fault))

    def _count(self, request: Request, messagetype: str) -> Reply:
        request.about({"messagetype": messagetype})
        return ok(count=len(self._boxes.waiting(request.codes, messagetype)))

    def _get_edoc(self, request: Request) -> Reply:
        item = self._item(request)
        fault = request.about(_item_facts(item), FaultKind.TAMPER)
        return packet_in_json(self._boxes.packet(item.sent.doc_id), fault, next(self._turns))

    def _download_edoc(self, request: Request) -> Reply:
        item = self._item(request)
        fault = request.about(_item_facts(item), FaultKind.TAMPER)
        return raw_packet(self._boxes.packet(item.sent.doc_id), fault)

    def _update_status(self, request: Request) -> Reply:
        item, status = self._item(request), request.parameter("status")
        if status not in ("done", "fail", "processing"):
            raise Refusal("1", f"status {status} is not done, fail or processing")
        request.about({**_item_facts(item), "status": status})
        if item.status == "done":
            self._journal.note("repeated", docId=item.doc_id, status=status)
        else:
            self._boxes.mark(item, status, request.parameter("description"))
        return ok()

    def _agencies_list(self, request: Request) -> Reply:
        request.about({})
        return ok(data=[agency_row(agency, ids) for agency, ids in self._directory()])

    def _agencies_list_qd20(self, request: Request) -> Reply:
        """What ``level`` selects is not known; it selects nothing here."""
        request.about({})
        return ok(data=[{**agency_row(agency, ids), "code102": agency.old_code} for agency, ids in self._directory()])

    def _synchronize_unit(self, request: Request) -> Reply:
        request.about({})
        today = _now().strftime(DAY_FIRST)
        rows = [unit_row(agency, ids, today, deleted=False) for agency, ids in self._directory()]
        gone = [unit_row(agency, {}, today, deleted=True) for agency in self._boxes.deleted_agencies()]
        return ok(data=rows + gone)

    def _register_agency(self, request: Request) -> Reply:
        facts = agency_facts(request.call.read())
        code = facts.get("code", "")
        if not code or self._boxes.knows(code):
            raise Refusal("1", f"code {code} is missing or taken")
        request.about({"from": code})
        owner = request.agencies[0]
        self._boxes.register(
            AxisAgency(
                code=code,
                name=facts.get("name", ""),
                system_id=owner.system_id,
                secret=owner.secret,
                parent=facts.get("pcode", ""),
                mail=facts.get("mail", ""),
            )
        )
        return ok()

    def _delete_agency(self, request: Request) -> Reply:
        code = request.parameter("AgencyCode")
        if code not in request.codes:
            raise Refusal("19", f"{code} is not an agency of this system")
        request.about({"from": code})
        self._boxes.delete(code)
        return ok()

    def _item(self, request: Request) -> Item:
        """The item named, if it lies in a box of the caller. Another's box is not even admitted to hold something."""
        item = self._boxes.item(request.parameter("docId"), request.codes)
        if item is None:
            raise Refusal("11", "no such item in your box")
        return item

    def _directory(self) -> list[tuple[AxisAgency, dict[str, int]]]:
        agencies = self._boxes.agencies()
        ids = {agency.code: number for number, agency in enumerate(agencies, 1)}
        return [(agency, ids) for agency in agencies]

    def _listing_facts(self, request: Request) -> dict[str, str]:
        return {"messagetype": request.parameter("messagetype"), "to": ";".join(request.codes)}


def _now() -> datetime:
    return datetime.now(VIETNAM)


def _routing_facts(routing: Routing, recipients: Sequence[str]) -> dict[str, str]:
    return {
        "from": routing.sender,
        "to": ";".join(recipients),
        "messagetype": routing.messagetype,
        "document_id": routing.document_id,
        "notation": routing.notation,
        "business": routing.business,
    }


def _item_facts(item: Item) -> dict[str, str]:
    return {**_routing_facts(item.sent.routing, (item.to,)), "docId": item.doc_id}


def _date(request: Request, name: str) -> datetime | None:
    text = request.parameter(name)
    try:
        return datetime.strptime(text, DAY_FIRST).replace(tzinfo=VIETNAM) if text else None
    except ValueError as problem:
        raise Refusal("1", f"{name} is not dd/MM/yyyy HH:mm:ss") from problem


def _page(request: Request, items: list[Item]) -> list[Item]:
    size, index = request.parameter("pageSize"), request.parameter("pageIndex") or "1"
    if not size:
        return items
    if not (size.isdecimal() and index.isdecimal() and int(size) > 0 and int(index) > 0):
        raise Refusal("1", "pageSize and pageIndex must be positive numbers")
    start = (int(index) - 1) * int(size)
    return items[start : start + int(size)]


__all__ = ["AuditRow", "AxisAgency", "AxisSimulator", "Fault", "FaultKind"]
