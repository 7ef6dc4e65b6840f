"""Errors as callers see them: a status code and ``{"error": {code, vi, en, where, next_vi, next_en}}``, nothing more.

401 token, 404 not there, 409 key or lease conflict, 413 too large, 415 and 422 the request or the document is not as it
must be, 503 not now (``Retry-After``), 507 the disk is full, 502 a peer, 500 this program.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from lienthong.errors import (
    ContentError,
    KeyConflict,
    LeaseLost,
    LienthongError,
    PeerError,
    Refused,
    StorageFull,
    Unavailable,
)
from lienthong.store.rows import MessageRow
from lienthong.store.store import Reader

_RETRY_SECONDS = 30.0
_NEXT = " → "
_BY_CODE = {
    "api.token": 401,
    "api.idempotency-key": 400,
    "api.not-found": 404,
    "api.no-such-address": 404,
    "api.method": 405,
    "api.length": 411,
    "api.too-large": 413,
    "api.not-multipart": 415,
    "store.unusable": 503,
}
_BY_KIND: tuple[tuple[type[LienthongError], int], ...] = (
    (StorageFull, 507),
    (KeyConflict, 409),
    (LeaseLost, 409),
    (Unavailable, 503),
    (PeerError, 502),
    (Refused, 422),
    (ContentError, 422),
    (LienthongError, 500),
)


def status_of(error: LienthongError) -> int:
    """The HTTP status code of an error."""
    by_kind = next(status for kind, status in _BY_KIND if isinstance(error, kind))
    return _BY_CODE.get(error.code, by_kind)


def error_response(error: LienthongError) -> JSONResponse:
    """The answer for an error that a public function raised."""
    status = status_of(error)
    headers = {}
    if status == 503:
        wished = error.retry_after if isinstance(error, Unavailable) else None
        headers["Retry-After"] = str(math.ceil(_RETRY_SECONDS if wished is None else wished))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = _body(error.code, error.where, error.text("vi"), error.text("en"))
    return JSONResponse({"error": body}, status_code=status, headers=headers)


def refused_response(reader: Reader, row: MessageRow) -> JSONResponse:
    """The answer for a document that was stored as refused: why, and the id under which it stands.

    The ledger keeps an error as its code and its two texts.
    """
    events = reader.events(row.id)
    told: Mapping[str, Any] = next((each["detail"] for each in events if each["kind"] == "refused"), {})
    vietnamese, english = told.get("vi", row.reason_text), told.get("en", row.reason_text)
    body = _body(row.reason, _where(vietnamese), vietnamese, english)
    return JSONResponse({"id": row.id, "error": body}, status_code=422)


def _where(paragraph: str) -> str:
    head = paragraph.partition(_NEXT)[0]
    return head[:-1].rpartition(" [")[2] if head.endswith("]") else ""


def _body(code: str, where: str, vietnamese: str, english: str) -> dict[str, str]:
    """Takes an error's text apart, which is one paragraph: what happened [where] → what to do next."""
    vi, _, next_vi = vietnamese.partition(_NEXT)
    en, _, next_en = english.partition(_NEXT)
    place = f" [{where}]"
    return {
        "code": code,
        "vi": vi.removesuffix(place),
        "en": en.removesuffix(place),
        "where": where,
        "next_vi": next_vi,
        "next_en": next_en,
    }


def invalid(problem: RequestValidationError | ValidationError) -> ContentError:
    """Everything that is wrong with a request, without repeating what the caller sent; the first one gives the code."""
    mistakes = problem.errors()
    places = [_place(mistake["loc"]) for mistake in mistakes]
    listed = "; ".join(f"{place}: {mistake['msg']}" for place, mistake in zip(places, mistakes, strict=True))
    code = {"extra_forbidden": "api.unknown-key", "missing": "api.missing-key"}.get(mistakes[0]["type"], "api.invalid")
    return ContentError(code, where=places[0], key=places[0], mistakes=listed)


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location if step not in ("body", "query", "path", "header")) or "body"


def answer_errors(app: FastAPI) -> None:
    """Let every error of a route leave in one shape."""

    async def on_error(_request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, LienthongError), "registered for this type"
        return error_response(problem)

    async def on_invalid(_request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, RequestValidationError), "registered for this type"
        return error_response(invalid(problem))

    async def on_http(request: Request, problem: Exception) -> JSONResponse:
        assert isinstance(problem, HTTPException), "registered for this type"
        return _http_response(request, problem)

    app.add_exception_handler(LienthongError, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


def _http_response(request: Request, problem: HTTPException) -> JSONResponse:
    """What the framework itself refuses: an unknown address, a wrong method, a body that is not JSON."""
    code = {404: "api.no-such-address", 405: "api.method"}.get(problem.status_code, "api.invalid")
    error = ContentError(code, where=f"{request.method} {request.url.path}", mistakes=problem.detail)
    answer = error_response(error)
    answer.headers.update(problem.headers or {})
    return answer
