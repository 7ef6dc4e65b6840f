"""Attachments: decoded, unpacked and hashed by pieces into files, then joined with the manifest that lists them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import pybase64

from lienthong.edxml.codes import (
    CONTENT_ID_PREFIX,
    detect_media_type,
    is_zip,
    looks_zipped,
    safe_name,
    suffix_of,
    types_agree,
)
from lienthong.edxml.tree import Element, Payload, QuirkLog, ReadLimits, too_large
from lienthong.errors import ContentError, StorageFull, StoreError
from lienthong.model import Part, PartRole

CHUNK = 57 * 1024 * 4
"""A multiple of three, so that base64 of a full chunk needs no padding."""

_HEAD = 4096
_DECODE_AT = 64 * 1024
_BLANKS = b" \t\r\n"
_ESCAPED_BLANK = re.compile(rb"&#(?:x0*(?:[dDaA9]|20)|0*(?:13|10|9|32));")
_ESCAPE_BEGUN = re.compile(rb"&#?x?[0-9a-fA-F]{0,8}\Z")
_SHOWN = 60
_ZIP_TAIL = 22 + 0xFFFF
_ZIP_DIRECTORY = 46 + 3 * 0xFFFF
_ZIP_PROBLEMS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    OSError,
    struct.error,
)


@contextlib.contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """Turn what the disk says into the tree of errors.

    :raises StorageFull: no room is left
    :raises StoreError: any other trouble with a file
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("packet.storage-full", where=where) from problem
        raise StoreError("packet.storage", where=where, reason=problem.strerror or str(problem)) from problem


class Payloads:
    """The attachment files of one packet in one folder. They are taken away again when the packet proves unusable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: list[PayloadWriter] = []

    def __enter__(self) -> Payloads:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()

    def discard(self) -> None:
        """Take all files of this packet away again."""
        for writer in self._writers:
            # Closing flushes, and the disk that failed may fail again.
            with contextlib.suppress(OSError):
                writer.file.close()
            writer.path.unlink(missing_ok=True)

    def create(self) -> PayloadWriter:
        # The system picks the name: none from a packet touches the disk, and left-overs of a crash do not clash.
        handle, path = tempfile.mkstemp(prefix="part-", dir=self._folder)
        writer = PayloadWriter(path=Path(path), file=os.fdopen(handle, "wb"))
        self._writers.append(writer)
        return writer

    def decoder_for(self, element: Element) -> Base64Decoder:
        return Base64Decoder(self.create(), element.path)


class PayloadWriter:
    """Writes one file and hashes it on the way."""

    def __init__(self, *, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = 0
        self.damage = ""
        self._digest = hashlib.sha256()
        self._head = b""

    def write(self, data: bytes) -> None:
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self.size += len(data)
        self._digest.update(data)
        self.file.write(data)

    def finish(self, fault: ContentError | None = None) -> Payload:
        self.file.close()
        digest = self._digest.hexdigest()
        return Payload(path=self.path, size=self.size, sha256=digest, head=self._head, fault=fault, damage=self.damage)

    def discard(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)


class Base64Decoder:
    """Decodes base64 text that comes in pieces of any length. ``where`` names the element in its fault.

    Lines may be wrapped, and line ends escaped as some XML libraries do (``&#13;``). Text that is not base64 ends the
    decoding; what came before stays.
    """

    def __init__(self, writer: PayloadWriter, where: str) -> None:
        self._writer = writer
        self._where = where
        self._pieces: list[bytes] = []
        self._held = 0
        self._rest = b""
        self._wrapped = False
        self._padded = False
        self._fault: ContentError | None = None

    def feed(self, text: bytes) -> None:
        self._pieces.append(text)
        self._held += len(text)
        if self._held >= _DECODE_AT:
            self._decode()

    def finish(self) -> Payload:
        self._decode()
        if self._rest:
            self._stop(self._rest)
        return self._writer.finish(self._fault)

    def _decode(self) -> None:
        block = self._rest + b"".join(self._pieces)
        self._pieces, self._held, self._rest = [], 0, b""
        if self._fault is not None or (not self._wrapped and self._decoded(block)):
            return
        self._wrapped = True
        begun = _ESCAPE_BEGUN.search(block)
        whole = begun.start() if begun else len(block)
        if self._decoded(_ESCAPED_BLANK.sub(b"", block[:whole]).translate(None, _BLANKS)):
            self._rest += block[whole:]
        else:
            self._stop(block)

    def _decoded(self, block: bytes) -> bool:
        """Write what a block of clean text holds; False, and nothing done, when it is not clean."""
        whole = len(block) - len(block) % 4
        if self._padded and block:
            return False
        try:
            self._writer.write(pybase64.b64decode(block[:whole], validate=True))
        except ValueError:
            return False
        self._rest = block[whole:]
        self._padded = self._padded or block[:whole].endswith(b"=")
        return True

    def _stop(self, block: bytes) -> None:
        self._fault = ContentError("packet.base64", where=self._where, size=self._writer.size)
        self._writer.damage = block[:_SHOWN].decode("utf-8", "replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """The one file of an archive: ``entry_name`` as the archive states it."""

    payload: Payload
    entry_name: str


def unzip_single(packed: Payload, payloads: Payloads, most_bytes: int, where: str) -> Unpacked | None:
    """Unpack an archive of exactly one file; None when it holds another number of files.

    :raises ContentError: the archive is broken, encrypted or packed in an unusual way, or grows past ``most_bytes``;
        the packed file stays
    """
    if _entry_count(packed, where) != 1:
        return None
    try:
        with zipfile.ZipFile(packed.path) as archive:
            (entry,) = archive.infolist()
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # lzma reserves as much memory as the archive asks for.
                raise ContentError("packet.zip-broken", where=where, reason=f"method {entry.compress_type}")
            payload = _unpacked(archive, entry, payloads, most_bytes, where)
    except _ZIP_PROBLEMS as problem:
        # A place outside the file, stated by the archive, is told by EINVAL; other trouble is the disk's.
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:
            raise
        raise ContentError("packet.zip-broken", where=where, reason=str(problem) or type(problem).__name__) from problem
    packed.path.unlink()
    return Unpacked(payload=payload, entry_name=entry.filename)


def _unpacked(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, payloads: Payloads, most_bytes: int, where: str
) -> Payload:
    writer = payloads.create()
    try:
        with archive.open(entry) as packed:
            while data := packed.read(CHUNK):
                if writer.size + len(data) > most_bytes:
                    raise ContentError("packet.zip-bomb", where=where, limit=most_bytes)
                writer.write(data)
    except (ContentError, *_ZIP_PROBLEMS):
        writer.discard()
        raise
    return writer.finish()


def _entry_count(packed: Payload, where: str) -> int:
    """How many files the end record states (APPNOTE.TXT 4.3.16), read before a directory is trusted with memory."""
    with packed.path.open("rb") as archive:
        archive.seek(max(0, packed.size - _ZIP_TAIL))
        tail = archive.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise ContentError("packet.zip-broken", where=where, reason="no end record")
    entries, directory_size = struct.unpack_from("<HI", tail, at + 10)
    if entries == 1 and (directory_size > _ZIP_DIRECTORY or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07")):
        raise ContentError("packet.zip-broken", where=where, reason="directory too large for one file")
    return int(entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartFile:
    """One attachment on disk: ``part`` states what the bytes in ``path`` are, ``declared_type`` what the packet says.

    ``unzipped``: the packet held a zip of one file, by the name ``entry_name`` in it, and ``path`` is that file.
    ``content_id`` without ``cid:``; ``where`` is the XPath of the attachment. ``fault``: the bytes are not the whole
    file, or could not be unpacked; then ``path`` holds what could be had.
    """

    part: Part
    path: Path
    declared_type: str
    unzipped: bool
    content_id: str
    where: str
    entry_name: str = ""
    fault: ContentError | None = None


class Attachments:
    """Joins the manifest with the attachments and finds out what each file is.

    ``faults``: why the files must not be taken for the document's: something is missing, unlisted, named twice, broken.
    """

    def __init__(self, payloads: Payloads, limits: ReadLimits, quirks: QuirkLog) -> None:
        self._payloads = payloads
        self._limits = limits
        self._quirks = quirks
        self._unpacked_bytes = 0
        self.faults: list[ContentError] = []

    def read(self, root: Element) -> tuple[tuple[PartFile, tuple[Element, ...]], ...]:
        """Every attachment that is carried, with its elements: in the manifest's order, unlisted ones last."""
        listed = self._by_content_id(root, "edXMLBody/edXMLManifest/Reference")
        carried = self._by_content_id(root, "AttachmentEncoded/Attachment")
        self._note_lone("packet.attachment-missing", listed, carried)
        self._note_lone("packet.attachment-unlisted", carried, listed)
        order = [*(found for found in listed if found in carried), *(found for found in carried if found not in listed)]
        roles = [PartRole.MAIN, *[PartRole.ATTACHMENT] * len(order)]
        joined = ((role, found, listed.get(found), carried[found]) for role, found in zip(roles, order, strict=False))
        read = ((self._part_file(*each), each[2:]) for each in joined)
        return tuple((file, tuple(filter(None, elements))) for file, elements in read if file is not None)

    def _by_content_id(self, root: Element, path: str) -> dict[str, Element]:
        found: dict[str, Element] = {}
        elements = [*root.every(path), *root.every(f"edXMLEnvelope/{path}")]
        if len(elements) > self._limits.attachments:
            raise too_large(elements[0], "attachments", self._limits.attachments)
        for element in elements:
            content_id = self._content_id(element)
            if content_id in found:
                fault = ContentError("packet.content-id-repeated", where=element.path, content_id=content_id)
                self.faults.append(fault)
                # Nobody can say which file was meant: none stands in for another, and all can still be looked at.
                content_id = f"{content_id} [{len(found) + 1}]"
            found[content_id] = element
        return found

    def _content_id(self, element: Element) -> str:
        try:
            written = element.required("ContentId")
        except ContentError as fault:
            self.faults.append(fault)
            return ""
        if written.lower().startswith(CONTENT_ID_PREFIX):
            return written[len(CONTENT_ID_PREFIX) :].strip()
        self._quirks.note("cid-missing", element, written)
        return written

    def _note_lone(self, code: str, some: dict[str, Element], others: dict[str, Element]) -> None:
        self.faults.extend(_lone(code, element) for content_id, element in some.items() if content_id not in others)

    def _part_file(
        self, role: PartRole, content_id: str, reference: Element | None, attachment: Element
    ) -> PartFile | None:
        packed = _payload(attachment)
        if packed is None:
            self.faults.append(_lone("packet.attachment-missing", attachment))
            return None
        name = self._name(reference, attachment)
        if packed.size == 0 and packed.fault is None:
            self._quirks.note("attachment-empty", attachment, name)
        payload, entry_name, fault = self._unpacked(packed, name, attachment)
        part = Part(
            role=role,
            name=name,
            media_type=detect_media_type(payload.head, name),
            size=payload.size,
            sha256=payload.sha256,
            description=_stated("Description", attachment, reference),
        )
        if fault is None:
            types = {part.media_type, detect_media_type(packed.head, name)}
            self._compare_types([attachment, *([reference] if reference else [])], types)
        else:
            self.faults.append(fault)
        return PartFile(
            part=part,
            path=payload.path,
            declared_type=_stated("ContentType", attachment, reference),
            unzipped=payload is not packed,
            content_id=content_id,
            where=attachment.path,
            entry_name=entry_name,
            fault=fault,
        )

    def _compare_types(self, elements: list[Element], detected: set[str]) -> None:
        for element in elements:
            declared = element.value("ContentType")
            if not any(types_agree(declared, media_type) for media_type in detected):
                self._quirks.note("type-differs", element, f"{declared} / {', '.join(sorted(detected))}")

    def _name(self, reference: Element | None, attachment: Element) -> str:
        listed = reference.value("AttachmentName") if reference is not None else ""
        carried = attachment.value("AttachmentName")
        if listed and carried and listed != carried:
            self._quirks.note("name-differs", attachment, f"{listed} / {carried}")
        written = carried or listed
        name = safe_name(written)
        if name != written:
            self._quirks.note("name-changed", attachment, written)
        return name

    def _unpacked(self, packed: Payload, name: str, attachment: Element) -> tuple[Payload, str, ContentError | None]:
        """The file itself, its name in the zip that it came in, and why it is not whole."""
        if packed.fault is not None:
            self._quirks.note("base64-broken", attachment, packed.damage)
            return packed, "", packed.fault
        if not looks_zipped(packed.head, name):
            return packed, "", None
        try:
            unpacked = unzip_single(packed, self._payloads, self._room(packed), attachment.path)
        except ContentError as fault:
            return packed, "", fault
        if unpacked is None:
            self._quirks.note("zip-kept", attachment, name)
            return packed, "", None
        self._note_unpacked(unpacked, name, attachment)
        return unpacked.payload, unpacked.entry_name, None

    def _note_unpacked(self, unpacked: Unpacked, name: str, attachment: Element) -> None:
        self._unpacked_bytes += unpacked.payload.size
        self._quirks.note("zip-unpacked", attachment, name)
        if suffix_of(unpacked.entry_name) != suffix_of(name):
            self._quirks.note("zip-entry-differs", attachment, unpacked.entry_name)
        if is_zip(unpacked.payload.head):
            self._quirks.note("zip-nested", attachment, unpacked.entry_name)

    def _room(self, packed: Payload) -> int:
        limits, used = self._limits, self._unpacked_bytes
        return min(limits.unzipped_bytes - used, max(limits.unzip_free_bytes - used, packed.size * limits.unzip_ratio))


def _payload(attachment: Element) -> Payload | None:
    # Not ``at``: two contents in one attachment are two different payloads, and ambiguous.
    found = [element.payload for element in attachment.all("ContentTransferEncoded") if element.payload is not None]
    if len(found) > 1:
        raise ContentError("packet.ambiguous", where=attachment.path, element="ContentTransferEncoded")
    return found[0] if found else None


def _stated(name: str, attachment: Element, reference: Element | None) -> str:
    return attachment.value(name) or (reference.value(name) if reference is not None else "")


def _lone(code: str, element: Element) -> ContentError:
    content_id, name = element.value("ContentId"), element.value("AttachmentName")
    return ContentError(code, where=element.path, content_id=content_id, name=name)
