"""Viettel MySign: the key is with Viettel, and its owner confirms each signature on a telephone.

A login belongs to one signer, so it belongs to one connection. MySign names a request only in its answer; when that
answer is lost, the request cannot be found again. It is then left alone until its time to be confirmed is over, and
only after that may the signer be asked anew: two questions for one document never stand on a telephone together.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

import lienthong
from lienthong import (
    Capabilities,
    Connection,
    Credential,
    Manifest,
    OutcomeUnknown,
    Pending,
    Probe,
    Rejected,
    Signature,
    SigningError,
    SignRequest,
    Unauthorized,
    Unavailable,
    hookimpl,
)
from lienthong.http import Answer, HttpSettings, pick
from lienthong.signing.keys.remote import (
    HASH_OIDS,
    Certificates,
    Listed,
    Logins,
    Ticket,
    chosen,
    post_json,
    refusals_are_final,
    request_name,
    signature_bytes,
)

_RSA = "1.2.840.113549.1.1.1"
_ASYNCHRONOUS = 1
_LONGEST_BASE64 = 99
_DONE, _TIMEOUT, _REFUSED, _NO_QUOTA, _BAD_CERTIFICATE, _INTERNAL = "1", "4001", "4002", "4005", "13004", "50000"
_WAITING = frozenset({"0", "4000", "6000"})
_VISIBLE = frozenset({"status", "transactionId", "error"})


class MySignConfig(BaseModel):
    """The connection's own keys. "Guide" is Viettel's integration guide for MySign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: AnyHttpUrl = Field(description="address of the gateway up to `/vtss`")
    client_id: str = Field(min_length=1, description="our id as an application (Guide: client_id)")
    client_secret: SecretStr = Field(min_length=1, description="our application's secret (Guide: client_secret)")
    profile_id: str = Field("adss:ras:profile:001", description="profile that the operator gave us (Guide: profile_id)")
    user_id: str = Field(min_length=1, description="the signer: CMT_ and personal id, or MST_ and tax number")
    credential_id: str = Field("", description="which certificate, when the signer has several valid ones")
    http: HttpSettings = Field(HttpSettings(), description="TLS, deadlines and size limits")
    poll_seconds: float = Field(2.0, gt=0, description="pause between two questions for the result (Guide: 2 s)")
    confirm_seconds: float = Field(
        120.0, gt=0, description="time that the signer has to confirm (Guide: 60 questions of 2 s)"
    )


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="mysign",
        version=lienthong.__version__,
        role="signer",
        summary="Viettel MySign: remote signing, confirmed on the signer's telephone",
        config=MySignConfig,
        capabilities=Capabilities(key="remote"),
    )


@hookimpl
def credential(connection: Connection) -> Credential:
    return _certificates.credential(connection)


@hookimpl
def sign(connection: Connection, request: SignRequest) -> Signature | Pending:
    if request.algorithm not in HASH_OIDS:
        raise SigningError("sign.digest-refused", algorithm=request.algorithm, bytes=len(request.digest))
    if request.mechanism != "rsassa_pkcs1v15":
        raise SigningError("sign.mechanism-refused", asked=request.mechanism, possible="rsassa_pkcs1v15")
    if request.token is None:
        return _begin(connection, request)
    return _ask_again(connection, Ticket.read(request.token))


@hookimpl
def probe(connection: Connection) -> Probe:
    return _certificates.probe(connection)


def _begin(connection: Connection, request: SignRequest) -> Signature | Pending:
    config, now = _config(connection), connection.now()
    body = {
        "client_id": config.client_id,
        "client_secret": config.client_secret.get_secret_value(),
        "credentialID": _certificates.details(connection),
        "numSignatures": 1,
        "description": _short_base64(request.summary),
        "documents": [{"document_id": 1, "document_name": _short_base64(request.summary)}],
        "hash": [base64.b64encode(request.digest).decode()],
        "hashAlgo": HASH_OIDS[request.algorithm],
        "signAlgo": _RSA,
        "async": _ASYNCHRONOUS,
    }
    try:
        with refusals_are_final():
            answer = _logins.post(connection, _url(connection, "signHash"), body, effect=True, visible=_VISIBLE)
        said = answer.json_object()
    except OutcomeUnknown:
        return Ticket(name="", asked=now, certain=False).pending(config.poll_seconds)
    if value := _signature(said):
        return Signature(value=signature_bytes(connection, value))
    if name := pick(said, "transactionId"):
        return Ticket(name=request_name(connection, name), asked=now).pending(config.poll_seconds)
    raise SigningError("sign.remote-unreadable", peer=connection.name, reason="neither transactionId nor signatures")


def _ask_again(connection: Connection, ticket: Ticket) -> Signature | Pending:
    config = _config(connection)
    if not ticket.name:
        ticket.require_time_left(connection.now(), config.confirm_seconds)
        return ticket.pending(config.poll_seconds)
    body = {"transactionId": ticket.name}
    with refusals_are_final():
        answer = _logins.post(connection, _url(connection, "requests/status"), body, visible=_VISIBLE)
    said = answer.json_object()
    status = str(pick(said, "status"))
    if status == _DONE:
        return Signature(value=signature_bytes(connection, _signature(said)))
    if status in _WAITING:
        ticket.require_time_left(connection.now(), config.confirm_seconds)
        return ticket.pending(config.poll_seconds)
    raise _failure(connection, status, str(pick(said, "description") or "")[:200])


def _failure(connection: Connection, status: str, text: str) -> SigningError | Unavailable:
    """What a ``status`` of a request means; the codes are the Guide's."""
    peer = connection.name
    if status == _REFUSED:
        return SigningError("sign.user-refused", where=peer)
    if status == _TIMEOUT:
        return SigningError("sign.confirmation-timeout", where=peer, seconds=f"{_config(connection).confirm_seconds:g}")
    if status == _NO_QUOTA:
        return SigningError("sign.quota", peer=peer)
    if status == _BAD_CERTIFICATE:
        _certificates.forget(connection)
        return SigningError("sign.credential-unusable", peer=peer, peer_text=text or status)
    if status == _INTERNAL:
        return Unavailable("peer.busy", peer=peer, status=status)
    return SigningError("sign.remote-failed", peer=peer, peer_code=status[:20], peer_text=text)


def _log_in(connection: Connection) -> tuple[str, float]:
    try:
        answer = post_json(connection, _url(connection, "ras/v1/login"), _who(connection), visible=_VISIBLE)
    except Rejected as problem:
        # A bad request is how MySign says no to a login; the document and its ticket are not at fault.
        text = problem.facts.get("peer_text", "")
        raise Unauthorized("sign.login-refused", peer=connection.name, peer_text=text) from problem
    said = answer.json_object()
    token = pick(said, "access_token")
    if not (isinstance(token, str) and token):
        text = str(pick(said, "error_description") or pick(said, "error") or "")[:200]
        raise Unauthorized("sign.login-refused", peer=connection.name, peer_text=text)
    return token, _seconds(pick(said, "expires_in"))


def _read_certificate(connection: Connection) -> Listed[str]:
    body = {**_who(connection), "certificates": "chain", "certInfo": True, "authInfo": True}
    with refusals_are_final():
        answer = _logins.post(connection, _url(connection, "certificates/info"), body)
    listed = [_listed(row) for row in _array(answer) if isinstance(row, dict)]
    return chosen(connection, listed, _config(connection).credential_id, "credential_id")


_logins = Logins(_log_in)
_certificates = Certificates(_read_certificate)


def _listed(row: Mapping[str, object]) -> Listed[str]:
    inside = pick(row, "cert")
    texts = pick(inside, "certificates") if isinstance(inside, dict) else None
    chain = [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []
    return Listed(certificates=chain, details=str(pick(row, "credential_id") or ""))


def _array(answer: Answer) -> Sequence[object]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise Unavailable("peer.answer-unreadable", peer=answer.peer, reason="not a JSON array")
    return value


def _signature(said: Mapping[str, object]) -> str:
    values = pick(said, "signatures")
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else ""


def _seconds(text: object) -> float:
    """``expires_in`` is a string. One that cannot be read makes the login last for this call only."""
    return float(text) if isinstance(text, int | str) and str(text).isdecimal() and len(str(text)) < 10 else 0.0


def _short_base64(text: str) -> str:
    """Base64 of UTF-8 below MySign's limit, cut between two characters."""
    room = _LONGEST_BASE64 // 4 * 3
    cut = text.encode()[:room].decode("utf-8", "ignore")
    return base64.b64encode(cut.encode()).decode()


def _who(connection: Connection) -> dict[str, object]:
    config = _config(connection)
    return {
        "client_id": config.client_id,
        "client_secret": config.client_secret.get_secret_value(),
        "profile_id": config.profile_id,
        "user_id": config.user_id,
    }


def _url(connection: Connection, operation: str) -> str:
    return f"{str(_config(connection).base_url).rstrip('/')}/vtss/service/{operation}"


def _config(connection: Connection) -> MySignConfig:
    return cast(MySignConfig, connection.config)
