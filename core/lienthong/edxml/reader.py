"""From packet to model: streaming, tolerant, and honest about what it tolerated.

A packet is taken apart first (``open_packet``), so that rules, people and signature checks can look at all of it, and
then has a message, or faults that say why nobody may use it. Quirk ids, each with its place and the raw value:

=========  =========================================================================================================
bytes      ``leading-junk``, ``crlf``, ``encoding-declared`` (not UTF-8, while the bytes are), ``undeclared-prefix``
form       ``prefix-missing``, ``prefix-unusual`` (the envelope's is not ``edXML:``), ``namespace-foreign``,
           ``root-unusual`` (no ``edXML`` around the envelope), ``name-spelling``, ``stray-text``
elements   ``vendor-extension``, ``unknown-element``, ``unknown-attribute``, ``foreign-dropped``, ``status-element``
           (``Status`` for ``MessageHeader``), ``response-for-empty``, ``trace-missing``, ``trace-incomplete``,
           ``trace-on-status``, ``parts-on-status``, ``business-missing``, ``type-name-missing``
values     ``not-nfc``, ``organ-id-null``, ``organ-id-missing``, ``recipient-repeated``, ``document-id-missing``,
           ``document-id-form``, ``document-id-day``, ``number-unreadable``, ``flag-unreadable``, ``priority-unknown``,
           ``date-form``, ``date-unreadable``, ``date-placeholder``, ``status-code-unpadded``
signature  ``signature-unchecked``, ``signature-namespace``, ``signature-sha1``, ``signature-dummy``
files      ``cid-missing``, ``name-changed``, ``name-differs``, ``type-differs``, ``zip-unpacked``, ``zip-kept``,
           ``zip-entry-differs``, ``zip-nested``, ``attachment-empty``, ``base64-broken``
=========  =========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lienthong.edxml.attachments import Attachments, PartFile, Payloads, storage_errors
from lienthong.edxml.codes import LEGACY_NAMESPACE
from lienthong.edxml.foreign import foreign_elements, note_form, note_signatures
from lienthong.edxml.message import message_of
from lienthong.edxml.tree import Element, Parsed, Quirk, QuirkLog, Readable, ReadLimits, parse
from lienthong.errors import ContentError
from lienthong.model import Message, Part

_LIMITS = ReadLimits()
_HEAD = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Packet:
    """A packet taken apart and not yet judged.

    ``header`` is the ``MessageHeader``. ``files`` are all attachments that are carried, in the manifest's order,
    unlisted ones last. ``message`` is None when ``faults`` say why it must not be used. ``markup``: the packet's bytes
    as they came, without junk in front and without the attachments' text. ``size`` in bytes.
    """

    root: Element
    header: Element | None
    files: tuple[PartFile, ...]
    quirks: tuple[Quirk, ...]
    message: Message | None
    faults: tuple[ContentError, ...]
    markup: bytes
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketContent:
    """A packet as read. The first of ``files`` is the main file of a document."""

    message: Message
    files: tuple[PartFile, ...]
    quirks: tuple[Quirk, ...]


def open_packet(source: BinaryIO, folder: Path, limits: ReadLimits = _LIMITS) -> Packet:
    """Take a packet apart in constant memory; its attachments become new files in ``folder``, none when this fails.

    The signature of the envelope is not verified here.

    :raises ContentError: not XML, no packet, hostile, or beyond the limits; ``where`` is the XPath by local names
    :raises StoreError: a file could not be read or written
    """
    quirks = QuirkLog()
    with storage_errors(str(folder)), Payloads(folder) as payloads:
        parsed = _parsed(source, payloads, limits, quirks)
        _refuse_other_formats(parsed.root)
        note_form(parsed.root, parsed.markup, quirks)
        note_signatures(parsed.root, quirks)
        return _Reading(parsed, payloads, limits, quirks).packet()


def read_packet(source: BinaryIO, folder: Path, limits: ReadLimits = _LIMITS) -> PacketContent:
    """Read a packet that may be used; as ``open_packet``, and nothing stays in ``folder`` when it may not.

    :raises ContentError: the packet cannot be used; ``where`` is the XPath by local names
    :raises StoreError: a file could not be read or written
    """
    packet = open_packet(source, folder, limits)
    if packet.message is None:
        for file in packet.files:
            file.path.unlink(missing_ok=True)
        raise packet.faults[0]
    return PacketContent(message=packet.message, files=packet.files, quirks=packet.quirks)


def _parsed(source: BinaryIO, payloads: Payloads, limits: ReadLimits, quirks: QuirkLog) -> Parsed:
    watched = _Watched(source)
    try:
        return parse(watched, payloads.decoder_for, limits, quirks)
    except ContentError as problem:
        if LEGACY_NAMESPACE.encode() in watched.head and problem.code in ("packet.malformed", "packet.not-xml"):
            # As it was sent: a MIME message with the SOAP envelope as its first part.
            raise ContentError("packet.legacy-2803", where="") from problem
        raise


class _Watched:
    """A source that remembers its first bytes."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self.head = b""

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        if len(self.head) < _HEAD:
            self.head += data[: _HEAD - len(self.head)]
        return data


def _refuse_other_formats(root: Element) -> None:
    if root.key in ("edxml", "edxmlenvelope"):
        return
    if any(element.namespace.startswith(LEGACY_NAMESPACE) for element in root.walk()):
        raise ContentError("packet.legacy-2803", where=root.path)
    raise ContentError("packet.not-edxml", where=root.path, root=root.name)


class _Reading:
    """Collects what is wrong on the way, so that a packet that cannot be used can still be looked at."""

    def __init__(self, parsed: Parsed, payloads: Payloads, limits: ReadLimits, quirks: QuirkLog) -> None:
        self._parsed = parsed
        self._payloads = payloads
        self._limits = limits
        self._quirks = quirks
        self._faults: list[ContentError] = []

    def packet(self) -> Packet:
        root = self._parsed.root
        header = self._header(root)
        joined = self._files(root)
        files = tuple(file for file, _ in joined)
        order = {id(element): position for position, (_, elements) in enumerate(joined, 1) for element in elements}
        message = self._message(root, header, tuple(file.part for file in files), order)
        return Packet(
            root=root,
            header=header,
            files=files,
            quirks=self._quirks.found(),
            message=None if self._faults else message,
            faults=tuple(self._faults),
            markup=self._parsed.markup,
            size=self._parsed.size,
        )

    def _header(self, root: Element) -> Element | None:
        headers = root.every("edXMLHeader" if root.key == "edxmlenvelope" else "edXMLEnvelope/edXMLHeader")
        if len(headers) > 1:
            self._faults.append(ContentError("packet.ambiguous", where=headers[1].path, element=headers[1].name))
        found = [found for header in headers for name in ("MessageHeader", "Status") for found in header.all(name)]
        if not found:
            self._faults.append(_no_message(root))
            return None
        if len(found) > 1:
            self._faults.append(ContentError("packet.ambiguous", where=found[1].path, element=found[1].name))
        if found[0].key == "status":
            self._quirks.note("status-element", found[0])
        return found[0]

    def _files(self, root: Element) -> tuple[tuple[PartFile, tuple[Element, ...]], ...]:
        attachments = Attachments(self._payloads, self._limits, self._quirks)
        try:
            return attachments.read(root)
        except ContentError as fault:
            if fault.code == "packet.too-large":
                raise
            self._faults.append(fault)
            self._payloads.discard()
            return ()
        finally:
            self._faults.extend(attachments.faults)

    def _message(
        self, root: Element, header: Element | None, parts: tuple[Part, ...], order: Mapping[int, int]
    ) -> Message | None:
        if header is None:
            return None
        try:
            return message_of(header, parts, partial(foreign_elements, root, order, self._quirks), self._quirks)
        except ContentError as fault:
            self._faults.append(fault)
            return None


def _no_message(root: Element) -> ContentError:
    """An axis answers a bad packet with a list of errors in the same envelope."""
    errors = [element for element in root.walk() if element.key == "error"]
    if not errors:
        return ContentError("packet.no-message", where=root.path)
    told = "; ".join(f"{error.value('Code')} {error.value('Description')}".strip() for error in errors)
    return ContentError("packet.error-list", where=errors[0].path, errors=told[:500])
