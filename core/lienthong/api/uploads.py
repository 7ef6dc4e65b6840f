"""Streams an upload to disk: memory stays the same whatever its size, and nothing blocks the event loop.

The body is ``multipart/form-data`` (RFC 7578). Its first part is ``metadata`` (JSON), so that an upload that cannot be
used is refused before its files are written; each further part is a file and carries a file name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from lienthong.errors import ContentError, LienthongError
from lienthong.store.blobs import disk_errors

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

METADATA_BYTES = 1024 * 1024
_FRAMING_BYTES = 1024 * 1024
_MOST_FILES = 500
_LONGEST_NAME_BYTES = 255


@dataclass(frozen=True, kw_only=True)
class ReceivedFile:
    """One uploaded file: its name (NFC), the media type that the caller states, and its bytes at ``path``."""

    name: str
    media_type: str
    path: Path


async def receive(
    request: Request, folder: Path, max_bytes: int, understand: Callable[[bytes], None]
) -> tuple[ReceivedFile, ...]:
    """Write the uploaded files to ``folder`` (``max_bytes`` in all).

    ``understand`` is given the metadata before any file is written; an error that it raises ends the upload.

    :raises ContentError: not multipart, not complete, too large, or a file's name cannot be used
    :raises StorageFull: the disk is full
    """
    limit = max_bytes + METADATA_BYTES + _FRAMING_BYTES
    if int(request.headers.get("content-length", "0")) > limit:
        raise ContentError("api.too-large", where="body", limit=max_bytes)
    with ExitStack() as closing:
        reader = _Reader(_boundary(request), folder, max_bytes, understand, closing)
        stream = request.stream()
        try:
            async for chunk in stream:
                await run_in_threadpool(reader.feed, chunk)
            return reader.files()
        except LienthongError:
            await _drain(stream, limit)
            raise


async def _drain(stream: AsyncIterator[bytes], limit: int) -> None:
    """Let the caller finish: one that is cut off in its upload sees a broken connection instead of our answer."""
    async for chunk in stream:
        limit -= len(chunk)
        if limit < 0:
            return


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise ContentError("api.not-multipart", where="Content-Type")
    return boundary


class _Reader:
    """What has come so far. The parser calls back while it is fed."""

    def __init__(
        self, boundary: bytes, folder: Path, max_bytes: int, understand: Callable[[bytes], None], closing: ExitStack
    ) -> None:
        self._folder, self._max_bytes, self._understand, self._closing = folder, max_bytes, understand, closing
        self._files: list[ReceivedFile] = []
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._metadata: bytearray | None = None
        self._sink: FileIO | None = None
        self._written = 0
        self._understood = self._ended = False
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as problem:
            raise ContentError("api.multipart", where="Content-Type", reason=problem) from problem

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as problem:
            raise ContentError("api.multipart", where="body", reason=problem) from problem

    def files(self) -> tuple[ReceivedFile, ...]:
        """The files, once the last byte has come."""
        if not self._ended:
            raise ContentError("api.multipart", where="body", reason="it ends before its last boundary")
        if not self._understood:
            raise ContentError("api.metadata-first", where="metadata")
        return tuple(self._files)

    def _begin(self) -> None:
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        is_metadata = options.get(b"name") == b"metadata"
        if is_metadata == self._understood:
            raise ContentError("api.metadata-first", where="metadata")
        if is_metadata:
            self._metadata = bytearray()
        else:
            self._open_file(options.get(b"filename", b""))

    def _open_file(self, raw_name: bytes) -> None:
        name = _file_name(raw_name)
        if any(file.name == name for file in self._files):
            raise ContentError("api.file-twice", where=name, name=name)
        if len(self._files) == _MOST_FILES:
            raise ContentError("api.too-many-files", where="body", limit=_MOST_FILES)
        path = self._folder / str(len(self._files))
        with disk_errors():
            self._sink = self._closing.enter_context(path.open("xb", buffering=0))
        media_type, _ = parse_options_header(self._headers.get("content-type"))
        self._files.append(ReceivedFile(name=name, media_type=media_type.decode("latin-1"), path=path))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._metadata is not None:
            self._metadata += data[start:end]
            if len(self._metadata) > METADATA_BYTES:
                raise ContentError("api.too-large", where="metadata", limit=METADATA_BYTES)
        elif self._sink is not None:
            self._written += end - start
            if self._written > self._max_bytes:
                raise ContentError("api.too-large", where="body", limit=self._max_bytes)
            _write_all(self._sink, memoryview(data)[start:end])

    def _end(self) -> None:
        if self._metadata is not None:
            self._understand(bytes(self._metadata))
            self._metadata, self._understood = None, True
        elif self._sink is not None:
            self._sink.close()
            self._sink = None

    def _all(self) -> None:
        self._ended = True


def _write_all(sink: FileIO, data: memoryview) -> None:
    """Unbuffered, so that a full disk is met here and not when the file is closed."""
    with disk_errors():
        while data:
            data = data[sink.write(data) :]


def _file_name(raw: bytes) -> str:
    """A plain file name in NFC: macOS sends decomposed Vietnamese letters, and names are compared.

    :raises ContentError: no name, a path, or a name that some file system cannot hold
    """
    try:
        name = unicodedata.normalize("NFC", raw.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise ContentError("api.file-name", where="filename", name=ascii(raw)) from problem
    invisible = any(unicodedata.category(character).startswith("C") for character in name)
    if not name.strip(" .") or invisible or "/" in name or "\\" in name or len(name.encode()) > _LONGEST_NAME_BYTES:
        raise ContentError("api.file-name", where="filename", name=ascii(name))
    return name
