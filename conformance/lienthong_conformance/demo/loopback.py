"""HTTP to programs on this machine, with the standard library alone: what any product has."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from lienthong.errors import Unavailable

_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer. ``headers`` have lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


def ask(base: str, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """One request to ``base`` (``http://127.0.0.1:port``).

    :raises Unavailable: nobody answers there
    """
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=_SECONDS)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, body=response.read(), headers=named)
    except (OSError, http.client.HTTPException) as problem:
        raise Unavailable("peer.unreachable", where=f"{base}{path}", peer=base, reason=problem) from problem
    finally:
        connection.close()


def told(base: str, path: str, value: object) -> Any:
    """POST JSON to a simulator's control plane; its JSON answer.

    :raises Unavailable: nobody answers there, or it refuses
    """
    answer = ask(base, "POST", path, body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})
    if answer.status != 200:
        reason = answer.body.decode("utf-8", "replace")[:500]
        raise Unavailable(
            "peer.unreachable", where=f"{base}{path}", peer=base, reason=f"HTTP {answer.status}: {reason}"
        )
    return answer.json()


def asked(base: str, path: str) -> Any:
    """What a simulator's control plane shows.

    :raises Unavailable: nobody answers there
    """
    return ask(base, "GET", path).json()
