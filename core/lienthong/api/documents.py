"""Documents: hand one in, and see where it stands.

Every request that changes something carries an ``Idempotency-Key``: the same key with the same content gets the first
answer again, with other content it is refused (409), so that a caller may always repeat what it is not sure about.
"""

from __future__ import annotations

import mimetypes
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from lienthong.api.idempotency import IdempotencyKey, answered, known_document, origin_of, submit_once
from lienthong.api.problems import invalid, refused_response
from lienthong.api.schemas import Served, inline_schema
from lienthong.api.uploads import ReceivedFile, receive
from lienthong.config import AgencySettings
from lienthong.errors import ContentError, KeyConflict, Refused
from lienthong.hookspecs import FileSource, read_chunks
from lienthong.metadata import DocumentMetadata, as_document
from lienthong.model import Direction, Document, MessageKind, PartRole
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import Origin, submit
from lienthong.rules import sending
from lienthong.store.blobs import disk_errors
from lienthong.store.rows import MessageRow
from lienthong.store.schema import message as message_table
from lienthong.store.store import Reader
from lienthong.views import View, document_view, message_summary, trace_view

router = APIRouter(prefix="/v1/documents", tags=["documents"])

_UPLOAD_SHAPE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["metadata"],
                    "properties": {"metadata": inline_schema(DocumentMetadata)},
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            }
        },
    }
}


@router.post("", status_code=201, openapi_extra=_UPLOAD_SHAPE)
async def hand_in(request: Request, adapter: Served, key: IdempotencyKey) -> JSONResponse:
    """Hand in a document: the part ``metadata`` first, then one part with a file name for each file."""
    folder = await run_in_threadpool(_working_folder, adapter)
    intake = _Intake(adapter, key)
    try:
        files = await receive(request, folder, adapter.config.profile.max_document_bytes, intake.understand)
        return await run_in_threadpool(intake.submit, files)
    except Refused:
        return await run_in_threadpool(intake.submit_secret)
    finally:
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)


def _working_folder(adapter: Adapter) -> Path:
    with disk_errors():
        return Path(tempfile.mkdtemp(dir=adapter.store.blobs.work))


class _Intake:
    """One document on its way in."""

    def __init__(self, adapter: Adapter, key: str) -> None:
        self._adapter, self._key = adapter, key
        self._metadata: DocumentMetadata
        self._document: Document
        self._origin: Origin

    def understand(self, metadata: bytes) -> None:
        """Look at what is said about the document, before any of its files is written.

        :raises ContentError: the metadata cannot be used
        :raises Refused: the document is marked as a state secret
        """
        try:
            self._metadata = DocumentMetadata.model_validate_json(metadata, strict=True)
        except ValidationError as problem:
            raise invalid(problem) from problem
        agency = _sending_agency(self._adapter, self._metadata.sender)
        self._document = as_document(self._metadata, agency.organization())
        self._origin = origin_of(agency, self._key)
        sending.refuse_secret(self._document)

    def submit(self, files: Sequence[ReceivedFile]) -> JSONResponse:
        return _submitted(self._adapter, self._origin, self._document, _file_sources(self._metadata, files))

    def submit_secret(self) -> JSONResponse:
        """Only the refusal is kept, so there is nothing to compare a repetition with but that it is a secret, too."""
        known = known_document(self._adapter, self._origin)
        if known is not None and known.reason != "rules.secret":
            raise KeyConflict("store.key-conflict", source_id=self._key)
        row = known or submit(self._adapter, self._origin, self._document, ())
        with self._adapter.store.read() as reader:
            return refused_response(reader, row)


def _sending_agency(adapter: Adapter, code: str) -> AgencySettings:
    ours = adapter.config.agency
    found = ours[0] if not code and len(ours) == 1 else adapter.config.agency_of(code)
    if found is None:
        raise ContentError("rules.not-our-agency", where="from", code=code or "?")
    return found


def _file_sources(metadata: DocumentMetadata, files: Sequence[ReceivedFile]) -> tuple[FileSource, ...]:
    """The files in the order of the metadata. Each is named exactly once, and each name has its file.

    :raises ContentError: which name has no file, or which file no name
    """
    named = [unicodedata.normalize("NFC", name) for name in (metadata.main, *metadata.attachments)]
    sent = {file.name: file for file in files}
    for name in named[1:] if not named[0] else named:
        if name not in sent:
            raise ContentError("api.file-missing", where="attachments" if name in named[1:] else "main", name=name)
        if named.count(name) > 1:
            raise ContentError("api.file-twice", where="attachments", name=name)
    unnamed = [name for name in sent if name not in named]
    if unnamed:
        raise ContentError("api.file-not-named", where=unnamed[0], name=unnamed[0])
    roles = [PartRole.MAIN] + [PartRole.ATTACHMENT] * len(metadata.attachments)
    return tuple(_file_source(sent[name], role) for name, role in zip(named, roles, strict=True) if name)


def _file_source(file: ReceivedFile, role: PartRole) -> FileSource:
    """A main file is a PDF or is refused, and only what is known as a PDF is signed. What another file is follows from
    its name: many programs call every file ``application/octet-stream``."""
    guessed = mimetypes.guess_type(file.name)[0] or file.media_type or "application/octet-stream"
    kind = "application/pdf" if role is PartRole.MAIN else guessed
    return FileSource(role=role, name=file.name, media_type=kind, save=lambda sink: _copy(file.path, sink))


def _copy(file: Path, sink: BinaryIO) -> None:
    with file.open("rb") as source:
        for chunk in read_chunks(source):
            sink.write(chunk)


def _submitted(adapter: Adapter, origin: Origin, document: Document, files: Sequence[FileSource]) -> JSONResponse:
    known = known_document(adapter, origin)
    row = submit_once(adapter, origin, document, files)
    with adapter.store.read() as reader:
        if row.state == "refused":
            return refused_response(reader, row)
        return answered(document_view(reader, stored_message(reader, row.id)), row, known)


def stored_message(reader: Reader, message_id: str) -> MessageRow:
    row = reader.message(message_id)
    if row is None:
        raise ContentError("api.not-found", where=message_id, what=message_id)
    return row


@router.get("")
def list_documents(
    adapter: Served,
    direction: Direction | None = None,
    state: str | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> View:
    """Documents, newest first. ``before`` is the id of the last one seen, for the next page."""
    conditions = [message_table.c.kind == MessageKind.DOCUMENT.value]
    for column, value in (("direction", direction), ("state", state)):
        if value is not None:
            conditions.append(message_table.c[column] == str(value))
    if before is not None:
        conditions.append(message_table.c.id < before)
    with adapter.store.read() as reader:
        return {"documents": [message_summary(row) for row in reader.messages(*conditions, limit=limit, newest=True)]}


@router.get("/{message_id}")
def show(message_id: str, adapter: Served) -> View:
    """A document (or a status report) with its deliveries and the statuses about it."""
    with adapter.store.read() as reader:
        return document_view(reader, stored_message(reader, message_id))


@router.get("/{message_id}/trace")
def trace(message_id: str, adapter: Served) -> View:
    """Everything that happened to it, in order, with what went over the wire."""
    with adapter.store.read() as reader:
        return trace_view(reader, stored_message(reader, message_id))
