"""Attachments: decoded, unpacked and hashed by pieces into files, then joined with the manifest that lists them."""

from __future__ import annotations

import binascii
import contextlib
import errno
import hashlib
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from lienthong.edxml.codes import CONTENT_ID_PREFIX, detect_media_type, looks_zipped, safe_name, types_agree
from lienthong.edxml.tree import Element, Payload, QuirkLog, ReadLimits
from lienthong.errors import ContentError, StorageFull, StoreError
from lienthong.model import Part, PartRole

CHUNK = 57 * 1024 * 4
"""A multiple of three, so that base64 of a full chunk needs no padding."""

_HEAD = 4096
_BLANKS = b" \t\r\n"
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
        if kind is None:
            return
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
        self._digest = hashlib.sha256()
        self._head = b""

    def write(self, data: bytes) -> None:
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self.size += len(data)
        self._digest.update(data)
        self.file.write(data)

    def finish(self) -> Payload:
        self.file.close()
        return Payload(path=self.path, size=self.size, sha256=self._digest.hexdigest(), head=self._head)


class Base64Decoder:
    """Decodes base64 text that comes in pieces of any length. ``where`` names the element in errors."""

    def __init__(self, writer: PayloadWriter, where: str) -> None:
        self._writer = writer
        self._where = where
        self._pieces: list[str] = []
        self._held = 0
        self._rest = b""
        self._padded = False

    def feed(self, text: str) -> None:
        """:raises ContentError: it is not base64"""
        self._pieces.append(text)
        self._held += len(text)
        if self._held >= CHUNK:
            self._decode()

    def finish(self) -> Payload:
        """:raises ContentError: it is not base64, or ends within a group of four"""
        self._decode()
        if self._rest:
            raise self._broken()
        return self._writer.finish()

    def _decode(self) -> None:
        text = "".join(self._pieces)
        self._pieces, self._held = [], 0
        if not text.isascii():
            raise self._broken()
        block = self._rest + text.encode().translate(None, _BLANKS)
        whole = len(block) - len(block) % 4
        groups, self._rest = block[:whole], block[whole:]
        if self._padded and block:
            raise self._broken()
        try:
            self._writer.write(binascii.a2b_base64(groups, strict_mode=True))
        except binascii.Error:
            raise self._broken() from None
        self._padded = self._padded or groups.endswith(b"=")

    def _broken(self) -> ContentError:
        return ContentError("packet.base64", where=self._where, size=self._writer.size)


def unzip_single(packed: Payload, payloads: Payloads, most_bytes: int, where: str) -> Payload | None:
    """Unpack an archive of exactly one file; None when it holds another number of files.

    :raises ContentError: the archive is broken, encrypted or packed in an unusual way, or grows past ``most_bytes``
    """
    if _entry_count(packed, where) != 1:
        return None
    try:
        with zipfile.ZipFile(packed.path) as archive:
            (entry,) = archive.infolist()
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # lzma reserves as much memory as the archive asks for.
                raise ContentError("packet.zip-broken", where=where, reason=f"method {entry.compress_type}")
            unpacked = _unpacked(archive, entry, payloads, most_bytes, where)
    except _ZIP_PROBLEMS as problem:
        # A place outside the file, stated by the archive, is told by EINVAL; other trouble is the disk's.
        if isinstance(problem, OSError) and problem.errno != errno.EINVAL:
            raise
        raise ContentError("packet.zip-broken", where=where, reason=str(problem) or type(problem).__name__) from problem
    packed.path.unlink()
    return unpacked


def _unpacked(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, payloads: Payloads, most_bytes: int, where: str
) -> Payload:
    writer = payloads.create()
    with archive.open(entry) as packed:
        while data := packed.read(CHUNK):
            if writer.size + len(data) > most_bytes:
                raise ContentError("packet.zip-bomb", where=where, limit=most_bytes)
            writer.write(data)
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

    ``unzipped``: the packet held a zip of one file, and ``path`` is that file.
    """

    part: Part
    path: Path
    declared_type: str
    unzipped: bool


class Attachments:
    """Joins the manifest with the attachments and finds out what each file is."""

    def __init__(self, payloads: Payloads, limits: ReadLimits, quirks: QuirkLog) -> None:
        self._payloads = payloads
        self._limits = limits
        self._quirks = quirks
        self._unpacked_bytes = 0

    def read(self, root: Element) -> tuple[PartFile, ...]:
        """:raises ContentError: manifest and attachments are not one to one, or a zip cannot be unpacked"""
        listed = self._by_content_id(root, "edXMLBody/edXMLManifest/Reference")
        carried = self._by_content_id(root, "AttachmentEncoded/Attachment")
        _refuse_lone("packet.attachment-missing", listed, carried)
        _refuse_lone("packet.attachment-unlisted", carried, listed)
        roles = [PartRole.MAIN, *[PartRole.ATTACHMENT] * len(listed)]
        return tuple(
            self._part_file(role, reference, carried[content_id])
            for role, (content_id, reference) in zip(roles, listed.items(), strict=False)
        )

    def _by_content_id(self, root: Element, path: str) -> dict[str, Element]:
        found: dict[str, Element] = {}
        for element in [*root.every(path), *root.every(f"edXMLEnvelope/{path}")]:
            written = element.required("ContentId")
            content_id = written
            if written.lower().startswith(CONTENT_ID_PREFIX):
                content_id = written[len(CONTENT_ID_PREFIX) :].strip()
            else:
                self._quirks.note("cid-missing", element, written)
            if content_id in found:
                raise ContentError("packet.content-id-repeated", where=element.path, content_id=content_id)
            found[content_id] = element
        return found

    def _part_file(self, role: PartRole, reference: Element, attachment: Element) -> PartFile:
        encoded = attachment.at("ContentTransferEncoded")
        name = self._name(reference, attachment)
        if encoded is None or encoded.payload is None:
            raise _lone("packet.attachment-missing", attachment)
        packed = encoded.payload
        if packed.size == 0:
            self._quirks.note("attachment-empty", attachment, name)
        payload = self._unpacked(packed, name, attachment)
        part = Part(
            role=role,
            name=name,
            media_type=detect_media_type(payload.head, name),
            size=payload.size,
            sha256=payload.sha256,
            description=attachment.value("Description") or reference.value("Description"),
        )
        types = {part.media_type, detect_media_type(packed.head, name)}
        self._compare_types(attachment, reference, types)
        declared = attachment.value("ContentType") or reference.value("ContentType")
        return PartFile(part=part, path=payload.path, declared_type=declared, unzipped=payload is not packed)

    def _compare_types(self, attachment: Element, reference: Element, detected: set[str]) -> None:
        for element in (attachment, reference):
            declared = element.value("ContentType")
            if not any(types_agree(declared, media_type) for media_type in detected):
                self._quirks.note("type-differs", element, f"{declared} / {', '.join(sorted(detected))}")

    def _name(self, reference: Element, attachment: Element) -> str:
        listed, carried = reference.value("AttachmentName"), attachment.value("AttachmentName")
        if listed and carried and listed != carried:
            self._quirks.note("name-differs", attachment, f"{listed} / {carried}")
        written = carried or listed
        name = safe_name(written)
        if name != written:
            self._quirks.note("name-changed", attachment, written)
        return name

    def _unpacked(self, packed: Payload, name: str, attachment: Element) -> Payload:
        if not looks_zipped(packed.head, name):
            return packed
        unpacked = unzip_single(packed, self._payloads, self._room(packed), attachment.path)
        self._unpacked_bytes += unpacked.size if unpacked is not None else 0
        self._quirks.note("zip-kept" if unpacked is None else "zip-unpacked", attachment, name)
        return unpacked or packed

    def _room(self, packed: Payload) -> int:
        limits, used = self._limits, self._unpacked_bytes
        return min(limits.unzipped_bytes - used, max(limits.unzip_free_bytes - used, packed.size * limits.unzip_ratio))


def _refuse_lone(code: str, some: dict[str, Element], others: dict[str, Element]) -> None:
    for content_id, element in some.items():
        if content_id not in others:
            raise _lone(code, element)


def _lone(code: str, element: Element) -> ContentError:
    content_id, name = element.value("ContentId"), element.value("AttachmentName")
    return ContentError(code, where=element.path, content_id=content_id, name=name)
