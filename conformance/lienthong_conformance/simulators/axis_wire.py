"""The VXP axis's side of the wire: checking a request's signature, rows and answers. No state.

Written from the observed protocol alone; it shares nothing with the adapter's plugin.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lienthong_conformance.simulators.boxes import AxisAgency, Item
from lienthong_conformance.simulators.packets import chunks, tampering
from lienthong_conformance.simulators.server import Call, Fault, FaultKind, Reply, json_reply

_PREFIX = "XroadVnpt-"
_TIMESTAMP = re.compile(r"\d{8}T\d{6}\+\d{4}")
DAY_FIRST = "%d/%m/%Y %H:%M:%S"
_OK: Mapping[str, object] = {"status": "OK", "ErrorCode": "0", "ErrorDesc": ""}


class Refusal(Exception):
    """The answer is FAIL with this code and text, and nothing was done."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, kw_only=True)
class Signed:
    """The parameters that a request's signature covers, in order, and that signature. Others do not count."""

    parameters: Mapping[str, str]
    signed: bytes
    mac: str

    def parameter(self, name: str) -> str:
        """A parameter, its name in any case; empty if absent."""
        wanted = name.lower()
        return next((value for key, value in self.parameters.items() if key.lower() == wanted), "")

    def is_made_with(self, secret: str) -> bool:
        expected = hmac.new(secret.encode(), self.signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), self.mac.encode("utf-8", "replace"))


def read_signed(call: Call) -> Signed:
    """The signed parameters of a request; the secret is not checked yet.

    :raises Refusal: headers are missing, or do not say what the signed JSON says
    """
    text = _header(call, "sign-header")
    names = _header(call, "sign-header-key").split(";")
    parameters = _flat_object(text)
    if list(parameters) != [_PREFIX + name for name in names]:
        raise Refusal("15", "sign-header-key and sign-header differ")
    for name in names:
        if parameters[_PREFIX + name] != _header(call, name):
            raise Refusal("15", f"header {name} is not what was signed")
    signed = Signed(
        parameters={name: parameters[_PREFIX + name] for name in names},
        signed=text.encode(),
        mac=_header(call, "hash-header"),
    )
    _check_constants(call, signed)
    return signed


def _check_constants(call: Call, signed: Signed) -> None:
    # The SDK computes its timestamp once per object, so an old one is no fault; only its form is checked.
    if not _TIMESTAMP.fullmatch(signed.parameter("timestamp")):
        raise Refusal("1", "timestamp is not ddMMyyyyTHHmmss+SSSS")
    if not signed.parameter("Content-Type") or signed.parameter("Content-Type") != call.header("Content-Type"):
        raise Refusal("1", "Content-Type and its copy differ")
    if _header(call, "version") != "3.0.201608":
        raise Refusal("1", "version is not 3.0.201608")


def _header(call: Call, name: str) -> str:
    """A parameter header. The bytes are taken as UTF-8, whatever HTTP says: that is what is signed."""
    return call.header(_PREFIX + name).encode("latin-1", "replace").decode("utf-8", "replace")


def _flat_object(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError as problem:
        raise Refusal("15", "sign-header is not JSON") from problem
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise Refusal("15", "sign-header is not an object of texts")
    return value


def names_file(given: str, sha256: str) -> bool:
    """Whether ``hash-file`` is right: 64 characters, or each byte printed without its leading zero as the SDK does."""
    pairs = [sha256[place : place + 2] for place in range(0, len(sha256), 2)]
    short = "".join(pair.lstrip("0") or "0" for pair in pairs)
    return given.lower() in (sha256, short)


def receive(call: Call, path: Path) -> tuple[int, str]:
    """Stream a body to a file: its size in bytes and SHA-256 in hex."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as packet:
        for chunk in call.chunks():
            packet.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def ok(**facts: object) -> Reply:
    return json_reply({**_OK, **facts})


def failure(refusal: Refusal) -> Reply:
    return json_reply({"status": "FAIL", "ErrorCode": refusal.code, "ErrorDesc": refusal.text})


def raw_packet(path: Path, fault: Fault | None) -> Reply:
    """A packet as it is, or tampered with."""
    body = chunks(path, _changes(path, fault))
    return Reply(body=body, length=path.stat().st_size, content_type="application/octet-stream")


def packet_in_json(path: Path, fault: Fault | None, turn: int) -> Reply:
    """A packet as base64 in ``data``, streamed.

    ``turn`` varies what JSON leaves open: ``data`` before or after the rest, ``=`` plain or escaped as Gson does.
    """
    size, equals = path.stat().st_size, (b"=", b"\\u003d")[turn // 2 % 2]
    rest = json.dumps(_OK, separators=(",", ":")).encode()
    before, after = (rest[:-1] + b',"data":"', b'"}') if turn % 2 else (b'{"data":"', b'",' + rest[1:])
    padding = -size % 3
    encoded = (size + 2) // 3 * 4 - padding + padding * len(equals)
    body = _framed(before, chunks(path, _changes(path, fault)), after, equals)
    return Reply(body=body, length=len(before) + encoded + len(after))


def _framed(before: bytes, packet: Iterable[bytes], after: bytes, equals: bytes) -> Iterator[bytes]:
    yield before
    for chunk in packet:
        text = base64.b64encode(chunk)
        yield text if equals == b"=" else text.replace(b"=", equals)
    yield after


def _changes(path: Path, fault: Fault | None) -> dict[int, int]:
    return tampering(path) if fault and fault.kind is FaultKind.TAMPER else {}


def repeated(rows: list[dict[str, str]], fault: Fault | None) -> list[dict[str, str]]:
    twice = fault is not None and fault.kind is FaultKind.DUPLICATE_LISTING
    return [row for row in rows for _ in range(2)] if twice else rows


def received_row(item: Item, doc_id_key: str) -> dict[str, str]:
    return {
        doc_id_key: item.doc_id,
        "serviceType": "eDoc",
        "messageType": item.sent.routing.messagetype,
        "created_time": item.sent.at.strftime(DAY_FIRST),
        "updated_time": item.updated.strftime(DAY_FIRST),
        "from": item.sent.routing.sender,
        "to": item.to,
        "status": item.status,
        "status_desc": item.description,
    }


def sent_row(item: Item) -> dict[str, str]:
    sent, done = item.sent, item.status == "done"
    return {
        "senderDocId": sent.doc_id,
        "fromCode": sent.routing.sender,
        "receiverDocId": item.doc_id,
        "toCode": item.to,
        "sendStatus": "done",
        "sendStatusDesc": "",
        "receiveStatus": item.status,
        "receiveStatusDesc": item.description,
        "sentTime": sent.at.strftime(DAY_FIRST),
        "receivedTime": item.updated.strftime(DAY_FIRST) if done else "",
        "title": sent.routing.title,
        "notation": sent.routing.notation,
        "serviceType": "eDoc",
        "messageType": sent.routing.messagetype,
    }


def agency_row(agency: AxisAgency, ids: Mapping[str, int]) -> dict[str, str]:
    return {
        "id": str(ids.get(agency.code, "")),
        "pid": str(ids.get(agency.parent, "")),
        "code": agency.code,
        "name": agency.name,
        "mail": agency.mail,
        "oldCode": agency.old_code,
    }


def unit_row(agency: AxisAgency, ids: Mapping[str, int], modified: str, *, deleted: bool) -> dict[str, object]:
    row = agency_row(agency, ids)
    del row["oldCode"]
    return {**row, "centerCode": "", "version": 1, "deleted": deleted, "modifyDate": modified, "isAgency": True}


def agency_facts(body: bytes) -> dict[str, str]:
    try:
        value = json.loads(body)
    except ValueError as problem:
        raise Refusal("1", "the body is not JSON") from problem
    if not isinstance(value, dict):
        raise Refusal("1", "the body is not a JSON object")
    return {str(name): str(text).strip() for name, text in value.items()}
