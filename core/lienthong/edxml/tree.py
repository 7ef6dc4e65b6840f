"""A packet's XML as a small tree of local names. Attachments go to disk while they are read, so memory stays constant.

Namespaces, prefixes and case are ignored because builders disagree on all three (vendor field notes). No DOCTYPE is let
in at all: without one there are no entities, no external files and no expansion.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn, Protocol

from lxml import etree

from lienthong.edxml.codes import KNOWN_CHILDREN, key_of
from lienthong.errors import ContentError

_FEED = 64 * 1024
_JUNK = 1024
_PLACES = 10
_ATTACHMENT_PATHS = frozenset(
    f"{place}/attachmentencoded/attachment" for place in ("edxml", "edxml/edxmlenvelope", "edxmlenvelope")
)
_UNDECLARED = "urn:lienthong:undeclared:"
_DECLARABLE = ("xlink", "edXML", "xsi", "xsd", "ds")
_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})

_PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DOCTYPE = re.compile(rb"<!DOCTYPE", re.IGNORECASE)
_ENCODING = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)[\"']")
_ROOT_TAG = re.compile(rb"<[^\s/<>!?]+(?P<attributes>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>")
_SHA1 = re.compile(r"[#-]sha1$")
_SHORTEST_SIGNATURE = 64
_DECLARED = re.compile(rb"xmlns:([^\s=]+)\s*=")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quirk:
    """Something unusual that was tolerated: a stable ``id``, ``where`` by local names, ``detail`` the raw value."""

    id: str
    where: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLimits:
    """What a packet may ask of this machine. Generous: a packet to every agency of a province stays far below.

    ``attributes`` per element, ``text`` in characters outside attachments. All zips of one packet may grow to
    ``unzipped_bytes`` and, above ``unzip_free_bytes``, each by ``unzip_ratio``.
    """

    depth: int = 64
    elements: int = 100_000
    attributes: int = 32
    text: int = 16 * 1024 * 1024
    attachments: int = 500
    unzipped_bytes: int = 4 * 1024**3
    unzip_free_bytes: int = 256 * 1024**2
    unzip_ratio: int = 200


class QuirkLog:
    """Quirks in the order found: each place once, and of each kind no more places than a person would look at."""

    def __init__(self) -> None:
        self._seen: dict[Quirk, None] = {}
        self._places: Counter[str] = Counter()

    def note(self, quirk_id: str, where: Element | str, detail: str = "") -> None:
        if self._places[quirk_id] >= _PLACES:
            return
        quirk = Quirk(id=quirk_id, where=where if isinstance(where, str) else where.path, detail=detail[:200])
        if quirk not in self._seen:
            self._seen[quirk] = None
            self._places[quirk_id] += 1

    def found(self) -> tuple[Quirk, ...]:
        return tuple(self._seen)


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """The decoded bytes of one attachment on disk: ``size`` in bytes, ``sha256`` in hex, ``head`` the first 4 KiB."""

    path: Path
    size: int
    sha256: str
    head: bytes


class Decoder(Protocol):
    """Takes the text of one attachment by pieces and ends with its bytes on disk."""

    def feed(self, text: str) -> None: ...

    def finish(self) -> Payload: ...


@dataclass(slots=True, eq=False)
class Element:
    """One element: ``key`` is its name in any case, ``text`` its own text (NFC, trimmed), ``payload`` its bytes."""

    name: str
    key: str
    parent: Element | None
    attributes: Mapping[str, str] = field(default_factory=lambda: _NO_ATTRIBUTES)
    children: list[Element] = field(default_factory=list)
    text: str = ""
    payload: Payload | None = None

    @property
    def path(self) -> str:
        """XPath by local names, with a position from the second of a name on: ``edXML/.../To[2]/OrganId``."""
        if self.parent is None:
            return self.name
        twins = [child for child in self.parent.children if child.key == self.key]
        position = next((n for n, twin in enumerate(twins, 1) if twin is self), len(twins) + 1)
        return f"{self.parent.path}/{self.name}" + (f"[{position}]" if position > 1 else "")

    def all(self, name: str) -> list[Element]:
        key = key_of(name)
        return [child for child in self.children if child.key == key]

    def every(self, path: str) -> list[Element]:
        """All elements at a path of names, through all branches, in document order."""
        found = [self]
        for name in path.split("/"):
            found = [child for element in found for child in element.all(name)]
        return found

    def at(self, path: str) -> Element | None:
        """The one element at a path of names (``Code/CodeNumber``).

        :raises ContentError: there are several, and they differ: nobody can say which one is meant
        """
        here: Element | None = self
        for name in path.split("/"):
            found = here.all(name) if here is not None else []
            if any(not other.same_as(found[0]) for other in found[1:]):
                raise ContentError("packet.ambiguous", where=found[1].path, element=name)
            here = found[0] if found else None
        return here

    def value(self, path: str) -> str:
        """The text at a path; empty when there is none."""
        element = self.at(path)
        return element.text if element is not None else ""

    def required(self, path: str) -> str:
        """:raises ContentError: it is missing or empty"""
        return self.value(path) or self.refuse_missing(path)

    def refuse_missing(self, path: str) -> NoReturn:
        raise ContentError("packet.field-missing", where=f"{self.path}/{path}", field=path.rpartition("/")[2])

    def same_as(self, other: Element) -> bool:
        if (self.key, self.text, len(self.children)) != (other.key, other.text, len(other.children)):
            return False
        pairs = zip(self.children, other.children, strict=True)
        return self.payload is other.payload and all(mine.same_as(theirs) for mine, theirs in pairs)

    def walk(self) -> Iterator[Element]:
        """This element and all below it, in document order."""
        waiting = [self]
        while waiting:
            element = waiting.pop()
            yield element
            waiting.extend(reversed(element.children))


NewDecoder = Callable[[Element], Decoder]


def parse(source: BinaryIO, decoder_for: NewDecoder, limits: ReadLimits, quirks: QuirkLog) -> Element:
    """Read one packet to its end. ``decoder_for`` is asked for each attachment's content.

    :raises ContentError: not XML, not UTF-8, not well-formed, with a DOCTYPE, beyond the limits, or with broken base64
    """
    builder: Any = _Builder(decoder_for, limits, quirks)
    parser = etree.XMLParser(
        target=builder, encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        parser.feed(_prepared(_first_bytes(source), quirks))
        while chunk := source.read(_FEED):
            parser.feed(chunk)
        parser.close()
    except etree.XMLSyntaxError as problem:
        reason = (problem.msg or "no XML").splitlines()[0]
        raise ContentError("packet.malformed", where=f"line {problem.lineno}", reason=reason) from problem
    root: Element = builder.root
    return root


def _first_bytes(source: BinaryIO) -> bytes:
    head = b""
    while len(head) < _FEED and (chunk := source.read(_FEED - len(head))):
        head += chunk
    return head


def _prepared(head: bytes, quirks: QuirkLog) -> bytes:
    """The first bytes of a packet without what stops a strict parser: junk in front, undeclared prefixes."""
    start = head.find(b"<")
    if not 0 <= start <= _JUNK or head[start + 1 : start + 2] == b"\0":
        raise ContentError("packet.not-xml", begins=_printable(head[:16]))
    if start:
        quirks.note("leading-junk", "", _printable(head[:start]))
    xml = head[start:]
    if b"\r\n" in xml:
        quirks.note("crlf", "")
    encoding = _ENCODING.match(xml)
    if encoding and encoding[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
        quirks.note("encoding-declared", "", encoding[1].decode("ascii", "replace"))
    prolog = _PROLOG.match(xml)
    content = prolog.end() if prolog else 0
    if _DOCTYPE.match(xml, content):
        raise ContentError("packet.doctype")
    return xml[:content] + _declared(xml[content:])


def _printable(junk: bytes) -> str:
    return repr(junk[:40])[2:-1]


def _declared(xml: bytes) -> bytes:
    """Declare the usual prefixes on the root when it does not, under a name that shows the builder what was missing."""
    tag = _ROOT_TAG.match(xml)
    if tag is None:
        return xml
    known = {name.decode("utf-8", "replace") for name in _DECLARED.findall(tag["attributes"])}
    missing = "".join(f' xmlns:{prefix}="{_UNDECLARED}{prefix}"' for prefix in _DECLARABLE if prefix not in known)
    at = tag.start("attributes")
    return xml[:at] + missing.encode() + xml[at:]


class _Builder:
    """lxml's parser target: ``start``, ``data``, ``end``, ``doctype`` and ``close`` are its protocol."""

    def __init__(self, decoder_for: NewDecoder, limits: ReadLimits, quirks: QuirkLog) -> None:
        self.root: Element | None = None
        self._decoder_for = decoder_for
        self._limits = limits
        self._quirks = quirks
        self._open: list[tuple[Element, list[str]]] = []
        self._decoder: Decoder | None = None
        self._elements = 0
        self._attachments = 0
        self._text = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        parent = self._open[-1][0] if self._open else None
        space, _, name = tag.rpartition("}")
        element = Element(name=name, key=key_of(name), parent=parent)
        self._check_limits(element, attributes)
        if attributes:
            element.attributes = {key.rpartition("}")[2].lower(): value for key, value in attributes.items()}
        if parent is None:
            self.root = element
        else:
            parent.children.append(element)
        self._note_undeclared(element, [space, *attributes])
        if self._decoder is not None:
            raise ContentError("packet.base64", where=element.path, size=0)
        if element.key == "contenttransferencoded" and self._in_attachment():
            self._attachments += 1
            if self._attachments > self._limits.attachments:
                raise _too_large(element, "attachments", self._limits.attachments)
            self._decoder = self._decoder_for(element)
        self._open.append((element, []))

    def data(self, text: str) -> None:
        if self._decoder is not None:
            self._decoder.feed(text)
            return
        self._take_text(len(text))
        self._open[-1][1].append(text)

    def end(self, tag: str) -> None:
        element, pieces = self._open.pop()
        if self._decoder is not None:
            element.payload = self._decoder.finish()
            self._decoder = None
            return
        raw = "".join(pieces).strip()
        element.text = unicodedata.normalize("NFC", raw).strip()
        if element.text != raw:
            self._quirks.note("not-nfc", element, raw)

    def doctype(self, name: str, public_id: str | None, system_id: str | None) -> None:
        raise ContentError("packet.doctype")

    def close(self) -> None:
        return None

    def _in_attachment(self) -> bool:
        return "/".join(element.key for element, _ in self._open) in _ATTACHMENT_PATHS

    def _check_limits(self, element: Element, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements > self._limits.elements:
            raise _too_large(element, "elements", self._limits.elements)
        if len(self._open) >= self._limits.depth:
            raise _too_large(element, "levels", self._limits.depth)
        if len(attributes) > self._limits.attributes:
            raise _too_large(element, "attributes", self._limits.attributes)
        self._take_text(len(element.name) + sum(len(key) + len(value) for key, value in attributes.items()))

    def _take_text(self, letters: int) -> None:
        self._text += letters
        if self._text > self._limits.text:
            where = self._open[-1][0].path if self._open else ""
            raise ContentError("packet.too-large", where=where, what="characters", limit=self._limits.text)

    def _note_undeclared(self, element: Element, names: list[str]) -> None:
        for name in names:
            if name.startswith("{" + _UNDECLARED):
                prefix = name.removeprefix("{" + _UNDECLARED).partition("}")[0]
                self._quirks.note("undeclared-prefix", element, prefix)


def _too_large(element: Element, what: str, limit: int) -> ContentError:
    return ContentError("packet.too-large", where=element.path, what=what, limit=limit)


def note_unknown(element: Element, quirks: QuirkLog) -> None:
    """Report what the format does not know below an element, outermost only."""
    for child in element.children:
        if child.key in KNOWN_CHILDREN.get(element.key, ()):
            note_unknown(child, quirks)
        elif element.key != "signature":
            quirks.note("unknown-element", child, child.text)


def note_signatures(root: Element, quirks: QuirkLog) -> None:
    """Report envelope signatures: none is verified here, and many in the field are worth nothing."""
    for element in root.walk():
        if element.key == "signature":
            quirks.note("signature-unchecked", element)
        elif _SHA1.search(element.attributes.get("algorithm", "")):
            quirks.note("signature-sha1", element, element.attributes["algorithm"])
        elif element.key == "signaturevalue" and _is_dummy(element.text):
            quirks.note("signature-dummy", element, element.text)


def _is_dummy(value: str) -> bool:
    try:
        return len(binascii.a2b_base64("".join(value.split()), strict_mode=True)) < _SHORTEST_SIGNATURE
    except ValueError:
        return True
