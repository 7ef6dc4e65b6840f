"""A packet's XML as a small tree of local names. Attachments go to disk while they are read, so memory stays constant.

Namespaces, prefixes and case are ignored because builders disagree on all three (vendor field notes). No DOCTYPE is let
in at all: without one there are no entities, no external files and no expansion.

The text of an attachment never passes through the XML parser: once the parser has said that an attachment's content
begins, its bytes go straight to the decoder until the next ``<``. What the parser did see is kept as the packet's
markup, so that whoever checks a signature over it checks exactly what was read.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

from lxml import etree

from lienthong.edxml.codes import MOST_MARKS, NAMESPACE, has_piled_marks, key_of
from lienthong.errors import ContentError

_FEED = 256 * 1024
_JUNK = 1024
_PLACES = 10
_LONGEST_TAG = 4096
_ATTACHMENT_PATHS = frozenset(
    f"{place}/attachmentencoded/attachment" for place in ("edxml", "edxml/edxmlenvelope", "edxmlenvelope")
)
_UNDECLARED = "urn:lienthong:undeclared:"
_DECLARABLE = ("xlink", "edXML", "xsi", "xsd", "ds")
_NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})

_PROLOG = re.compile(rb"(?:\s+|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_DOCTYPE = re.compile(rb"<!DOCTYPE", re.IGNORECASE)
_ENCODING = re.compile(rb"<\?xml[^>]*?\bencoding\s*=\s*[\"']([\w.:-]+)[\"']")
_ROOT_TAG = re.compile(rb"<[^\s/<>!?]++(?P<attributes>(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>")
_DECLARED = re.compile(rb"xmlns:([^\s=:]+)\s*+=")
_CONTENT_WORD = re.compile(rb"contenttransferencoded", re.IGNORECASE)
_ANGLE = re.compile(rb"[<>]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quirk:
    """Something unusual that was tolerated: a stable ``id``, ``where`` by local names, ``detail`` the raw value."""

    id: str
    where: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLimits:
    """What a packet may ask of this machine. Generous: a packet to every agency of a province stays far below.

    ``attributes`` per element, ``text`` in characters and ``markup`` in bytes outside attachments. All zips of one
    packet may grow to ``unzipped_bytes`` and, above ``unzip_free_bytes``, each by ``unzip_ratio``.
    """

    depth: int = 64
    elements: int = 100_000
    attributes: int = 32
    text: int = 16 * 1024 * 1024
    markup: int = 16 * 1024 * 1024
    attachments: int = 500
    unzipped_bytes: int = 4 * 1024**3
    unzip_free_bytes: int = 256 * 1024**2
    unzip_ratio: int = 200


class QuirkLog:
    """Quirks in the order found, each place once. Of each kind as many places as a person would look at, and how many
    more there are."""

    def __init__(self) -> None:
        self._seen: dict[Quirk, None] = {}
        self._places: Counter[str] = Counter()

    def note(self, quirk_id: str, where: Element | str, detail: str = "") -> None:
        if self._places[quirk_id] >= _PLACES:
            self._places[quirk_id] += 1
            return
        quirk = Quirk(id=quirk_id, where=where if isinstance(where, str) else where.path, detail=detail[:200])
        if quirk not in self._seen:
            self._seen[quirk] = None
            self._places[quirk_id] += 1

    def found(self) -> tuple[Quirk, ...]:
        more = ((quirk_id, places - _PLACES) for quirk_id, places in self._places.items() if places > _PLACES)
        return (*self._seen, *(Quirk(id=quirk_id, where="", detail=f"+{count}") for quirk_id, count in more))


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """The decoded bytes of one attachment on disk: ``size`` in bytes, ``sha256`` in hex, ``head`` the first 4 KiB.

    ``fault``: why decoding stopped; the file then holds what came before, and ``damage`` is the text that was met.
    """

    path: Path
    size: int
    sha256: str
    head: bytes
    fault: ContentError | None = None
    damage: str = ""


class Decoder(Protocol):
    """Takes the base64 text of one attachment by pieces and ends with its bytes on disk."""

    def feed(self, text: bytes) -> None: ...

    def finish(self) -> Payload: ...


@dataclass(slots=True, eq=False)
class Element:
    """One element: ``key`` is its name in any case, ``text`` its own text (NFC, trimmed), ``payload`` its bytes.

    ``attributes`` by name, ``{namespace}name`` when it has a namespace. ``left_out``: the message does not hold it (an
    empty answer, a second naming of one recipient).
    """

    name: str
    key: str
    parent: Element | None
    namespace: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: _NO_ATTRIBUTES)
    children: list[Element] = field(default_factory=list)
    text: str = ""
    payload: Payload | None = None
    left_out: bool = False

    @property
    def path(self) -> str:
        """XPath by local names, with a position from the second of a name on: ``edXML/.../To[2]/OrganId``."""
        if self.parent is None:
            return self.name
        twins = [child for child in self.parent.children if child.key == self.key]
        position = next((n for n, twin in enumerate(twins, 1) if twin is self), len(twins) + 1)
        return f"{self.parent.path}/{self.name}" + (f"[{position}]" if position > 1 else "")

    def attribute(self, name: str) -> str:
        """An attribute by its local name in any case; empty when there is none."""
        found = (value for key, value in self.attributes.items() if key.rpartition("}")[2].lower() == name.lower())
        return next(found, "")

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


class Readable(Protocol):
    """Bytes from the beginning to the end, by pieces; an empty piece is the end."""

    def read(self, size: int, /) -> bytes: ...


NewDecoder = Callable[[Element], Decoder]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parsed:
    """What one pass over a packet gives. ``markup``: its bytes as they came, without junk in front and without the
    attachments' text. ``size``: bytes of the whole packet."""

    root: Element
    markup: bytes
    size: int


def parse(source: Readable, decoder_for: NewDecoder, limits: ReadLimits, quirks: QuirkLog) -> Parsed:
    """Read one packet to its end. ``decoder_for`` is asked for each attachment's content.

    :raises ContentError: not XML, not UTF-8, not well-formed, with a DOCTYPE, or beyond the limits
    """
    builder = _Builder(decoder_for, limits, quirks)
    splitter = _Splitter(builder, limits)
    head = _first_bytes(source)
    size = len(head)
    try:
        splitter.begin(_Beginning.of(head, quirks))
        while chunk := source.read(_FEED):
            size += len(chunk)
            splitter.feed(chunk)
        markup = splitter.close()
    except etree.XMLSyntaxError as problem:
        reason = (problem.msg or "no XML").splitlines()[0]
        raise ContentError("packet.malformed", where=f"line {problem.lineno}", reason=reason) from problem
    assert builder.root is not None, "the parser refuses a document without a root"
    return Parsed(root=builder.root, markup=markup, size=size)


class _Splitter:
    """Feeds the parser with markup, and the decoders with the text of attachments."""

    def __init__(self, builder: _Builder, limits: ReadLimits) -> None:
        target: Any = builder
        self._parser = etree.XMLParser(
            target=target, encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
        )
        self._builder = builder
        self._limit = limits.markup
        self._markup: list[bytes] = []
        self._seen = 0
        self._held = b""
        self._in_payload = False

    def begin(self, beginning: _Beginning) -> None:
        self._parse(beginning.until_root)
        if beginning.declarations:
            self._parser.feed(beginning.declarations)
        self.feed(beginning.rest)

    def feed(self, chunk: bytes) -> None:
        block = self._held + chunk
        self._held = b""
        while block:
            block = self._payload(block) if self._in_payload else self._up_to_payload(block)

    def close(self) -> bytes:
        """End of the packet; returns the markup."""
        self._parse(self._held)
        self._parser.close()
        return b"".join(self._markup)

    def _payload(self, block: bytes) -> bytes:
        end = block.find(b"<")
        self._builder.take_payload(block[:end] if end >= 0 else block)
        self._in_payload = end < 0
        return block[end:] if end >= 0 else b""

    def _up_to_payload(self, block: bytes) -> bytes:
        tag_end = _end_of_content_tag(block)
        if tag_end is not None:
            self._parse(block[:tag_end])
            # The parser decides, not the search: the tag may stand in a comment, or be an end tag.
            self._in_payload = self._builder.awaits_payload()
            return block[tag_end:]
        last = block.rfind(b"<")
        if last >= 0 and len(block) - last < _LONGEST_TAG and b">" not in block[last:]:
            # The next bytes may end this tag and begin an attachment.
            block, self._held = block[:last], block[last:]
        self._parse(block)
        return b""

    def _parse(self, markup: bytes) -> None:
        self._seen += len(markup)
        if self._seen > self._limit:
            where = self._builder.place()
            raise ContentError("packet.too-large", where=where, what="bytes outside attachments", limit=self._limit)
        self._markup.append(markup)
        if markup:
            self._parser.feed(markup)


def _end_of_content_tag(block: bytes) -> int | None:
    """Where the first tag that may begin an attachment's content ends. One pass, whatever the block holds."""
    at = 0
    while word := _CONTENT_WORD.search(block, at):
        angle = _ANGLE.search(block, word.end())
        if angle is None:
            return None
        if angle[0] == b">":
            return angle.end()
        at = angle.end()
    return None


def _first_bytes(source: Readable) -> bytes:
    head = b""
    while len(head) < _FEED and (chunk := source.read(_FEED - len(head))):
        head += chunk
    return head


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beginning:
    """The first bytes of a packet without junk in front, cut where declarations for the root can be put in."""

    until_root: bytes
    declarations: bytes
    rest: bytes

    @classmethod
    def of(cls, head: bytes, quirks: QuirkLog) -> _Beginning:
        start = head.find(b"<")
        if not 0 <= start <= _JUNK or head[start + 1 : start + 2] == b"\0":
            raise ContentError("packet.not-xml", begins=_printable(head[:16]))
        if start:
            quirks.note("leading-junk", "", _printable(head[:start]))
        xml = head[start:]
        encoding = _ENCODING.match(xml)
        if encoding and encoding[1].lower() not in (b"utf-8", b"utf8", b"us-ascii"):
            quirks.note("encoding-declared", "", encoding[1].decode("ascii", "replace"))
        prolog = _PROLOG.match(xml)
        content = prolog.end() if prolog else 0
        if _DOCTYPE.match(xml, content):
            raise ContentError("packet.doctype")
        tag = _ROOT_TAG.match(xml, content)
        if tag is None:
            return cls(until_root=b"", declarations=b"", rest=xml)
        at = tag.start("attributes")
        return cls(until_root=xml[:at], declarations=_declarations(tag["attributes"]), rest=xml[at:])


def _printable(junk: bytes) -> str:
    return repr(junk[:40])[2:-1]


def _declarations(attributes: bytes) -> bytes:
    """The usual prefixes that the root does not declare, under names that show the builder what was missing."""
    known = {name.decode("utf-8", "replace") for name in _DECLARED.findall(attributes)}
    missing = "".join(f' xmlns:{prefix}="{_UNDECLARED}{prefix}"' for prefix in _DECLARABLE if prefix not in known)
    return missing.encode()


class _Builder:
    """lxml's parser target: ``start``, ``data``, ``end``, ``doctype`` and ``close`` are its protocol."""

    def __init__(self, decoder_for: NewDecoder, limits: ReadLimits, quirks: QuirkLog) -> None:
        self.root: Element | None = None
        self._decoder_for = decoder_for
        self._limits = limits
        self._quirks = quirks
        self._open: list[tuple[Element, list[str]]] = []
        self._decoder: Decoder | None = None
        self._payload_begins = False
        self._elements = 0
        self._attachments = 0
        self._payload_depth = 0
        self._undeclared: set[str] = set()
        self._text = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        parent = self._open[-1][0] if self._open else None
        space, _, name = tag.rpartition("}")
        space = space.removeprefix("{")
        element = Element(name=name, key=key_of(name), parent=parent, namespace=_declared_space(space))
        self._check_limits(element, attributes)
        if attributes:
            element.attributes = {_declared_name(name): _plain(value) for name, value in attributes.items()}
        if parent is None:
            self.root = element
        else:
            parent.children.append(element)
        self._note_undeclared(element, [space, *attributes])
        if self._decoder is not None:
            # Anything but text in base64 makes it broken: the decoder says so, at the attachment.
            self._decoder.feed(b"<")
        elif element.key == "contenttransferencoded" and self._in_attachment():
            self._attachments += 1
            if self._attachments > self._limits.attachments:
                raise too_large(element, "attachments", self._limits.attachments)
            self._decoder = self._decoder_for(element)
            self._payload_begins = True
            self._payload_depth = len(self._open)
        self._open.append((element, []))

    def awaits_payload(self) -> bool:
        """Whether an attachment's content begins at this very place."""
        return self._payload_begins

    def take_payload(self, text: bytes) -> None:
        self._payload_begins = False
        assert self._decoder is not None, "asked awaits_payload before"
        self._decoder.feed(text)

    def place(self) -> str:
        return self._open[-1][0].path if self._open else ""

    def data(self, text: str) -> None:
        if self._decoder is not None:
            self._payload_begins = False
            self._decoder.feed(text.encode())
            return
        self._take_text(len(text))
        self._open[-1][1].append(text)

    def end(self, tag: str) -> None:
        element, pieces = self._open.pop()
        if self._decoder is not None:
            if len(self._open) > self._payload_depth:
                return
            self._payload_begins = False
            element.payload = self._decoder.finish()
            self._decoder = None
            return
        raw = "".join(pieces).strip()
        if has_piled_marks(raw):
            raise too_large(element, "combining marks in a row", MOST_MARKS)
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
            raise too_large(element, "elements", self._limits.elements)
        if len(self._open) >= self._limits.depth:
            raise too_large(element, "levels", self._limits.depth)
        if len(attributes) > self._limits.attributes:
            raise too_large(element, "attributes", self._limits.attributes)
        self._take_text(len(element.name) + sum(len(key) + len(value) for key, value in attributes.items()))

    def _take_text(self, letters: int) -> None:
        self._text += letters
        if self._text > self._limits.text:
            raise ContentError("packet.too-large", where=self.place(), what="characters", limit=self._limits.text)

    def _note_undeclared(self, element: Element, names: list[str]) -> None:
        for name in names:
            space = name.removeprefix("{")
            if space.startswith(_UNDECLARED):
                self._note_prefix(element, space.removeprefix(_UNDECLARED).partition("}")[0])

    def _note_prefix(self, element: Element, prefix: str) -> None:
        """Only where it first stands: a builder that forgets its own prefix does so on every element."""
        if prefix not in self._undeclared:
            self._undeclared.add(prefix)
            self._quirks.note("undeclared-prefix", element, prefix)


def too_large(element: Element, what: str, limit: int) -> ContentError:
    return ContentError("packet.too-large", where=element.path, what=what, limit=limit)


def _declared_name(name: str) -> str:
    return name.rpartition("}")[2] if name.startswith("{" + _UNDECLARED) else name


def _plain(value: str) -> str:
    # With entities left unresolved the parser hands the ampersand of an attribute over as its character reference.
    return value.replace("&#38;", "&")


def _declared_space(namespace: str) -> str:
    if not namespace.startswith(_UNDECLARED):
        return namespace
    return NAMESPACE if namespace == f"{_UNDECLARED}edXML" else ""
