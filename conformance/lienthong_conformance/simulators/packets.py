"""What an axis needs to know of an edXML packet: whose it is, whom it is for, and where its attachments lie.

Written for itself, apart from the adapter's own reader, so that the two check each other. Tolerant as axes are: any
namespace prefix, any order, stray bytes before the first ``<``, undeclared prefixes.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

_CHUNK = 57 * 1024
_HEADER_LIMIT = 4 * 1024 * 1024
_ENCODED = b"ContentTransferEncoded"
_TAMPERED_EIGHTHS = (1, 3, 5)


class NotRoutable(Exception):
    """The packet does not say who sends it, to whom, or which document it concerns. The text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """The envelope. For a status report, document and notation are those of the document that it is about.

    ``business`` is ``BussinessDocType`` (``0``..``3``) of a document, or the two-digit code of a status report.
    """

    messagetype: str
    sender: str
    recipients: tuple[str, ...]
    document_id: str
    notation: str
    business: str
    title: str


def read_routing(path: Path) -> Routing:
    """Read a packet up to the end of its header; attachments behind it are not looked at.

    :raises NotRoutable: it is no edXML packet, or its envelope is incomplete
    """
    header = _header(path)
    status = _text(header, "MessageHeader/StatusCode")
    routing = _status(header, status) if status else _document(header)
    for name, value in (("From", routing.sender), ("To", "".join(routing.recipients)), ("Code", routing.notation)):
        if not value:
            raise NotRoutable(f"{name} is missing")
    return routing


def _status(header: etree._Element, status: str) -> Routing:
    return Routing(
        messagetype="status",
        sender=_text(header, "MessageHeader/From/OrganId"),
        recipients=tuple(filter(None, [_text(header, "MessageHeader/ResponseFor/OrganId")])),
        document_id=_text(header, "MessageHeader/ResponseFor/DocumentId"),
        notation=_text(header, "MessageHeader/ResponseFor/Code"),
        business=status,
        title=_text(header, "MessageHeader/Description"),
    )


def _document(header: etree._Element) -> Routing:
    code = (_text(header, "MessageHeader/Code/CodeNumber"), _text(header, "MessageHeader/Code/CodeNotation"))
    return Routing(
        messagetype="edoc",
        sender=_text(header, "MessageHeader/From/OrganId"),
        recipients=tuple(dict.fromkeys(filter(None, _texts(header, "MessageHeader/To/OrganId")))),
        document_id=_text(header, "MessageHeader/DocumentId"),
        notation="/".join(filter(None, code)),
        business=_text(header, "TraceHeaderList/Bussiness/BussinessDocType") or "0",
        title=_text(header, "MessageHeader/Subject"),
    )


def _header(path: Path) -> etree._Element:
    parser = etree.XMLPullParser(
        events=("end",), recover=True, resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True
    )
    try:
        for chunk in _from_first_tag(path):
            parser.feed(chunk)
            for _, element in parser.read_events():
                if isinstance(element, etree._Element) and _local(element) == "edXMLHeader":
                    return element
    except etree.LxmlError as problem:
        raise NotRoutable(f"not XML: {problem}") from problem
    raise NotRoutable("there is no edXMLHeader")


def _from_first_tag(path: Path) -> Iterator[bytes]:
    with path.open("rb") as packet:
        head = packet.read(_CHUNK)
        yield head[max(head.find(b"<"), 0) :]
        while packet.tell() < _HEADER_LIMIT and (chunk := packet.read(_CHUNK)):
            yield chunk


def _local(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[2].rpartition(":")[2]


def _texts(element: etree._Element, path: str) -> list[str]:
    """The texts at a path of local names, below ``element``."""
    found = [element]
    for name in path.split("/"):
        found = [child for parent in found for child in parent if _local(child) == name]
    return [(each.text or "").strip() for each in found]


def _text(element: etree._Element, path: str) -> str:
    text = next(iter(_texts(element, path)), "")
    return "" if text == "null" else text


def tampering(path: Path) -> dict[int, int]:
    """Changes (offset in the packet -> other byte) that alter the first attachment and leave it base64.

    Three places, so that at least one lies outside the gap that a PDF signature does not cover. Empty: no attachment.
    """
    with path.open("rb") as packet, mmap.mmap(packet.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b">", max(content.find(_ENCODED), 0)) + 1
        end = content.find(b"<", start)
        if content.find(_ENCODED) < 0 or end <= start:
            return {}
        places = [_letter_from(content, start + (end - start) * eighths // 8) for eighths in _TAMPERED_EIGHTHS]
        return {place: ord("B") if content[place] == ord("A") else ord("A") for place in places if place < end}


def _letter_from(content: mmap.mmap, place: int) -> int:
    """The next place, from this one on, that holds a letter or digit and not a line break, an escape or padding."""
    while not content[place : place + 1].isalnum():
        place += 1
    return place


def chunks(path: Path, changes: Mapping[int, int]) -> Iterator[bytes]:
    """A packet's bytes, changed at some offsets. Chunks are multiples of three, so that base64 needs no carry."""
    position = 0
    with path.open("rb") as packet:
        while chunk := packet.read(_CHUNK):
            touched = {place - position: byte for place, byte in changes.items() if place - position < len(chunk)}
            position += len(chunk)
            yield _changed(chunk, touched)


def _changed(chunk: bytes, changes: Mapping[int, int]) -> bytes:
    if not changes:
        return chunk
    content = bytearray(chunk)
    for place, byte in changes.items():
        if place >= 0:
            content[place] = byte
    return bytes(content)
