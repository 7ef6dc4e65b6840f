"""The application and its server. Every route but the three for operators needs the bearer token of ``[api]``."""

from __future__ import annotations

import errno
import hmac
import socket
import threading
from dataclasses import dataclass

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lienthong import __version__
from lienthong.api import documents, inbox, operations, statuses
from lienthong.api.operations import Metrics
from lienthong.api.problems import answer_errors, error_response
from lienthong.api.schemas import ErrorAnswer
from lienthong.config import ApiSettings
from lienthong.errors import ConfigError, ContentError, LienthongError
from lienthong.pipeline.adapter import Adapter

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_BODY_BYTES = 1024 * 1024
_STOP_SECONDS = 5
log = structlog.get_logger("lienthong.api")


def build_app(adapter: Adapter, metrics: Metrics) -> FastAPI:
    """The API of one adapter.

    :raises ConfigError: the configuration has no ``[api]``
    """
    app = FastAPI(
        title="lienthong",
        version=__version__,
        summary="Sidecar of an agency's document system: documents out, documents and statuses in",
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        responses={"4XX": {"model": ErrorAnswer}, "5XX": {"model": ErrorAnswer}},
    )
    app.state.adapter, app.state.metrics = adapter, metrics
    for module in (documents, statuses, inbox, operations):
        app.include_router(module.router)
    answer_errors(app)
    app.add_middleware(_Gate, token=_settings(adapter).token.get_secret_value())
    return app


def _settings(adapter: Adapter) -> ApiSettings:
    if adapter.config.api is None:
        raise ConfigError("api.not-configured", where=str(adapter.config.file))
    return adapter.config.api


class _Gate:
    """What every request passes first: the token, the size of a plain body, and, on the way out, nothing foreign."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is not None:
            await error_response(refusal)(scope, receive, send)
            return
        await self._guarded(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> LienthongError | None:
        if path in OPEN_PATHS:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            return ContentError("api.token", where="Authorization")
        return None if headers.get("content-type", "").startswith("multipart/") else _body_refusal(headers)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as problem:  # a defect: it is logged by kind and place, for its text may hold content
            log.error("api-defect", method=scope["method"], problem=type(problem).__name__, place=_place(problem))
            if not started:
                await _defect()(scope, receive, send)


def _body_refusal(headers: Headers) -> LienthongError | None:
    """JSON is read into memory, so its size is known and small."""
    if "transfer-encoding" in headers:
        return ContentError("api.length", where="Content-Length")
    if int(headers.get("content-length", "0")) > _BODY_BYTES:
        return ContentError("api.too-large", where="body", limit=_BODY_BYTES)
    return None


def _place(problem: BaseException) -> str:
    """Where it was raised, as file:line of the innermost frame."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"


def _defect() -> JSONResponse:
    return error_response(LienthongError("api.defect"))


@dataclass(frozen=True, kw_only=True)
class ServerHandle:
    """A running server. ``address`` is where it really listens."""

    address: tuple[str, int]
    server: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        """Answer what is in hand, for a few seconds at most, then end."""
        self.server.should_exit = True
        self.thread.join(_STOP_SECONDS + 5)


def serve(adapter: Adapter, metrics: Metrics) -> ServerHandle:
    """Serve the API in a thread; it listens when this returns.

    :raises ConfigError: no ``[api]``, or its address cannot be used
    """
    app, listener = build_app(adapter, metrics), _listener(_settings(adapter).listen)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="api", daemon=True)
    thread.start()
    return ServerHandle(address=listener.getsockname()[:2], server=server, thread=thread)


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen()
    except (OSError, OverflowError) as problem:
        listener.close()
        in_use = isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE
        code = "api.port-in-use" if in_use else "api.cannot-listen"
        raise ConfigError(code, where="[api] listen", listen=listen, reason=problem) from problem
    return listener


__all__ = ["Metrics", "ServerHandle", "build_app", "serve"]
