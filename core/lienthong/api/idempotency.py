"""The same request again gets the first answer: the caller's key becomes the id under which a message is stored.

What a document holds is compared by the pipeline (its intake digest). Of a request that becomes statuses or a recall, a
digest is part of the stored id, because one request may become several messages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Header
from fastapi.responses import JSONResponse

from lienthong.config import AgencySettings
from lienthong.errors import ContentError, KeyConflict, Unavailable
from lienthong.hookspecs import FileSource
from lienthong.model import Document, MessageKind
from lienthong.pipeline.adapter import Adapter
from lienthong.pipeline.intake import Origin, submit
from lienthong.store.rows import MessageRow
from lienthong.store.schema import message as message_table
from lienthong.views import View

ACTOR = "api"
PREFIX = "api:"
_KEY = re.compile(r"[!-~]{1,200}")


async def idempotency_key(idempotency_key: Annotated[str | None, Header()] = None) -> str:
    """The header ``Idempotency-Key``: 1 to 200 printable ASCII characters without spaces.

    :raises ContentError: it is missing or cannot be used
    """
    if idempotency_key is None or not _KEY.fullmatch(idempotency_key):
        raise ContentError("api.idempotency-key", where="Idempotency-Key")
    return idempotency_key


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


def key_of(row: MessageRow) -> str:
    """The key under which a message was handed in; empty when it did not come through the API."""
    return row.source_id.removeprefix(PREFIX).partition(" ")[0] if row.source_id.startswith(PREFIX) else ""


def origin_of(agency: AgencySettings, identity: str) -> Origin:
    """Where a message of the API comes in; ``identity`` is the caller's key, or begins with it."""
    return Origin(connection=agency.office, source_id=PREFIX + identity, actor=ACTOR)


def recognised(
    adapter: Adapter, connection: str, prefix: str, key: str, content: Sequence[object]
) -> tuple[str, MessageRow | None]:
    """The key with a digest of the request, and a message that the same request became before.

    The source ids of the messages that a request becomes begin with ``prefix`` and this identity.

    :raises KeyConflict: the key stands for another request
    """
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    identity = f"{key} {digest}"
    begin, end = f"{prefix}{key} ", f"{prefix}{key}!"  # "!" is next to the space, which no key holds
    with adapter.store.read() as reader:
        used = reader.messages(
            message_table.c.connection == connection,
            message_table.c.source_id >= begin,
            message_table.c.source_id < end,
            limit=1,
        )
    known = used[0] if used else None
    if known is not None and not known.source_id.startswith(prefix + identity):
        raise KeyConflict("store.key-conflict", source_id=key)
    return identity, known


def known_document(adapter: Adapter, origin: Origin) -> MessageRow | None:
    """The document that was stored under this origin before."""
    with adapter.store.read() as reader:
        return reader.message_by_source(origin.connection, MessageKind.DOCUMENT, origin.source_id)


def submit_once(adapter: Adapter, origin: Origin, document: Document, files: Sequence[FileSource]) -> MessageRow:
    """``intake.submit``, also when two callers bring the same key at once.

    :raises KeyConflict: the key stands for another document
    :raises Unavailable: the axis directory cannot be read now; nothing was accepted
    """
    try:
        return submit(adapter, origin, document, files)
    except KeyConflict as problem:
        if problem.code != "store.known-source":
            raise
        # The other caller was faster: now the key is known, and the contents will be compared.
        return submit(adapter, origin, document, files)
    except Unavailable as problem:
        raise _not_now(problem) from problem


def _not_now(problem: Unavailable) -> Unavailable:
    """The pipeline's own text says that it tries again by itself; of what was not accepted that is not true."""
    reason, reason_vi = (problem.text(language).partition(" → ")[0] for language in ("en", "vi"))
    return Unavailable(
        "api.no-directory", where=problem.where, reason=reason, reason_vi=reason_vi, retry_after=problem.retry_after
    )


def answered(view: View, row: MessageRow, known: MessageRow | None) -> JSONResponse:
    """201 for the first time, 200 for a repetition (``known`` is what was there before)."""
    status = 201 if known is None else 200
    return JSONResponse(view, status_code=status, headers={"Location": f"/v1/documents/{row.id}"})
