"""VNPT SmartCA: the key is with VNPT, and its owner confirms each signature on a telephone.

Every answer is HTTP 200 with a ``status_code`` of its own. A request's name (``transaction_id``) is ours and chosen
before it is sent: when the answer is lost, the status of that name is asked first, and the request is repeated under
the same name only if SmartCA does not know it. So nobody is asked twice for one document.

A key may also be opened to programs, as agencies' seals are ("TH" in the guide): then its password and a one-time code
take the place of the telephone.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Self, cast

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator

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
from lienthong.http import HttpSettings, pick
from lienthong.signing.keys.remote import (
    Certificates,
    Listed,
    Ticket,
    chosen,
    post_json,
    refusals_are_final,
    signature_bytes,
    sparing,
)

_VISIBLE = frozenset({"status_code", "message"})
_LONGEST_DESCRIPTION = 200
_STATUSES = frozenset(map(str, range(100, 600)))


class SmartCaConfig(BaseModel):
    """The connection's own keys. "Guide" is VNPT's integration guide for SmartCA."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: AnyHttpUrl = Field(description="address of the gateway up to `/v1` (Guide: …/sca/sp769)")
    sp_id: str = Field(min_length=1, description="our id as a service provider (Guide: sp_id)")
    sp_password: SecretStr = Field(min_length=1, description="our password as a service provider (Guide: sp_password)")
    user_id: str = Field(min_length=1, description="the signer: personal id or tax number (Guide: user_id)")
    serial_number: str = Field("", description="which certificate, when the signer has several valid ones")
    password: SecretStr | None = Field(None, description="password of a key that signs without a telephone")
    totp_secret: SecretStr | None = Field(None, description="base64 secret of such a key's one-time codes")
    http: HttpSettings = Field(HttpSettings(), description="TLS, deadlines and size limits")
    poll_seconds: float = Field(10.0, gt=0, description="pause between two questions for the result (Guide: 10 s)")
    confirm_seconds: float = Field(
        240.0, gt=0, description="time that the signer has to confirm (Guide: 24 questions of 10 s)"
    )
    refused_messages: tuple[str, ...] = Field(
        ("REJECT", "REFUSE", "CANCEL", "DENIED"),
        description="parts of a `message` that mean: the signer refused. None is public, learn them in the field",
    )
    expired_messages: tuple[str, ...] = Field(
        ("EXPIRE", "TIMEOUT", "TIME_OUT"),
        description="parts of a `message` that mean: the time to confirm is over. None is public",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.password is None) != (self.totp_secret is None):
            raise ValueError("password and totp_secret belong together")
        if self.totp_secret is not None:
            base64.b64decode(self.totp_secret.get_secret_value(), validate=True)
        return self


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="smartca",
        version=lienthong.__version__,
        role="signer",
        summary="VNPT SmartCA: remote signing, confirmed on the signer's telephone",
        config=SmartCaConfig,
        capabilities=Capabilities(key="remote"),
    )


@hookimpl
def credential(connection: Connection) -> Credential:
    return _certificates.credential(connection)


@hookimpl
def sign(connection: Connection, request: SignRequest) -> Signature | Pending:
    if request.algorithm != "sha256":
        raise SigningError("sign.digest-refused", algorithm=request.algorithm, bytes=len(request.digest))
    if request.token is None:
        return _begin(connection, request) if _config(connection).password is None else _at_once(connection, request)
    return _ask_again(connection, request, Ticket.read(request.token))


@hookimpl
def probe(connection: Connection) -> Probe:
    return _certificates.probe(connection)


def one_time_code(secret: bytes, now: datetime) -> str:
    """Six digits, new every thirty seconds (RFC 6238 with HMAC-SHA-1)."""
    turn = int(now.timestamp()) // 30
    digest = hmac.digest(secret, turn.to_bytes(8), "sha1")
    place = digest[-1] & 15
    number = int.from_bytes(digest[place : place + 4]) & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def _at_once(connection: Connection, request: SignRequest) -> Signature | Pending:
    """The two calls for a key without a telephone. A lost answer bothers nobody: both are made anew."""
    config, now = _config(connection), connection.now()
    assert config.password is not None
    assert config.totp_secret is not None
    name, password = _name(request, now), config.password.get_secret_value()
    who = {**_who(config), "password": password, "transaction_id": name}
    code = one_time_code(base64.b64decode(config.totp_secret.get_secret_value()), now)
    body = {**_order(connection, request, now), **who, "otp": code}
    key = f"{config.base_url} {config.user_id} {config.sp_password.get_secret_value()}"
    try:
        with sparing(connection, key, password):
            said = _with_password(connection, "v2/signatures/sign", body)
        sad = pick(_object(pick(said, "data")), "sad")
        if not sad:  # this key wants its owner's confirmation after all
            return Ticket(name=name, asked=now).pending(config.poll_seconds)
        said = _changing(connection, "v2/signatures/confirm", {**who, "sad": sad})
    except OutcomeUnknown as problem:
        raise Unavailable(problem.code, where=problem.where, **problem.facts) from problem
    return Signature(value=signature_bytes(connection, _signature(said)))


def _with_password(connection: Connection, operation: str, body: Mapping[str, object]) -> Mapping[str, object]:
    """:raises SigningError: "sign.remote-pin-refused" among others"""
    try:
        return _changing(connection, operation, body)
    except Unauthorized as problem:
        raise SigningError("sign.remote-pin-refused", peer=connection.name) from problem


def _begin(connection: Connection, request: SignRequest) -> Pending:
    now = connection.now()
    name = _name(request, now)
    try:
        return _hand_in(connection, request, name)
    except OutcomeUnknown:
        # Parked, not given up: the next question is whether SmartCA has a request of this name.
        return Ticket(name=name, asked=now, certain=False).pending(_config(connection).poll_seconds)


def _ask_again(connection: Connection, request: SignRequest, ticket: Ticket) -> Signature | Pending:
    config = _config(connection)
    try:
        url = _url(connection, f"v1/signatures/sign/{ticket.name}/status")
        answer = post_json(connection, url, {}, visible=_VISIBLE)
        said: Mapping[str, object] = answer.json_object()
    except Rejected as problem:
        said = {"status_code": 404, "message": str(problem.facts.get("peer_text", ""))}
    code, message = _status(said), _message(said)
    if value := _signature(said):
        return Signature(value=signature_bytes(connection, value))
    if _says(message, config.refused_messages):
        raise SigningError("sign.user-refused", where=connection.name)
    if _says(message, config.expired_messages):
        raise SigningError("sign.confirmation-timeout", where=connection.name, seconds=f"{config.confirm_seconds:g}")
    if code == 200:
        ticket.require_time_left(connection.now(), config.confirm_seconds)
        return Ticket(name=ticket.name, asked=ticket.asked).pending(config.poll_seconds)
    if code >= 500:
        raise Unavailable("peer.busy", peer=connection.name, status=code)
    if not ticket.certain:
        return _repeat(connection, request, ticket)
    raise _failure(connection, code, message)


def _repeat(connection: Connection, request: SignRequest, ticket: Ticket) -> Pending:
    """SmartCA does not know the request, so it has not reached the telephone."""
    try:
        return _hand_in(connection, request, ticket.name)
    except OutcomeUnknown as problem:
        raise Unavailable(problem.code, where=problem.where, **problem.facts) from problem
    except SigningError as problem:
        if problem.code != "sign.remote-refused":
            raise
        # Perhaps because the first request, late, took the name in between: then the next question finds it.
        config = _config(connection)
        ticket.require_time_left(connection.now(), config.confirm_seconds)
        return ticket.pending(config.poll_seconds)


def _hand_in(connection: Connection, request: SignRequest, name: str) -> Pending:
    """:raises OutcomeUnknown: the request may or may not be on the telephone"""
    config, now = _config(connection), connection.now()
    body = {**_order(connection, request, now), **_who(config), "transaction_id": name}
    _changing(connection, "v1/signatures/sign", body)
    return Ticket(name=name, asked=now).pending(config.poll_seconds)


def _name(request: SignRequest, now: datetime) -> str:
    return f"{request.digest.hex()[:20]}{int(now.timestamp()):x}"


def _order(connection: Connection, request: SignRequest, now: datetime) -> dict[str, object]:
    """What to sign, with which certificate."""
    file = {
        "file_type": "pdf",
        "data_to_be_signed": request.digest.hex(),
        "doc_id": request.digest.hex()[:20],
        "sign_type": "hash",
    }
    return {
        "transaction_desc": request.summary[:_LONGEST_DESCRIPTION],
        "serial_number": _certificates.details(connection),
        "time_stamp": now.astimezone(UTC).strftime("%Y%m%d%H%M%SZ"),
        "sign_files": [file],
    }


def _changing(connection: Connection, operation: str, body: Mapping[str, object]) -> Mapping[str, object]:
    """A call that changes something at SmartCA, and its answer when that is a yes."""
    with refusals_are_final():
        answer = post_json(connection, _url(connection, operation), body, effect=True, visible=_VISIBLE)
    said = answer.json_object()
    if _status(said) != 200:
        raise _failure(connection, _status(said), _message(said))
    return said


def _failure(connection: Connection, code: int, message: str) -> SigningError | Unavailable:
    """What a ``status_code`` other than 200 means; the codes are the Guide's."""
    peer = connection.name
    if code == 401:
        return Unauthorized("sign.login-refused", peer=peer, peer_text=message)
    if code == 403:
        _certificates.forget(connection)
        return SigningError("sign.credential-unusable", peer=peer, peer_text=message)
    if code >= 500:
        return Unavailable("peer.busy", peer=peer, status=code)
    return SigningError("sign.remote-refused", peer=peer, peer_code=code, peer_text=message)


def _read_certificate(connection: Connection) -> Listed[str]:
    config = _config(connection)
    body = {**_who(config), "serial_number": config.serial_number, "transaction_id": ""}
    with refusals_are_final():
        answer = post_json(connection, _url(connection, "v1/credentials/get_certificate"), body, visible=_VISIBLE)
    said = answer.json_object()
    if _status(said) != 200:
        raise _failure(connection, _status(said), _message(said))
    data = _object(pick(said, "data"))
    listed = [_listed(_object(row)) for row in _rows(pick(data, "user_certificates"))]
    return chosen(connection, listed, config.serial_number, "serial_number")


_certificates = Certificates(_read_certificate)


def _listed(row: Mapping[str, object]) -> Listed[str]:
    chain = _object(pick(row, "chain_data"))
    texts = [pick(row, "cert_data"), pick(chain, "ca_cert"), pick(chain, "root_cert")]
    return Listed(
        certificates=[text for text in texts if isinstance(text, str) and text],
        details=str(pick(row, "serial_number") or ""),
    )


def _signature(said: Mapping[str, object]) -> str:
    """The signature's base64, when there is one already."""
    for row in _rows(pick(_object(pick(said, "data")), "signatures")):
        value = pick(_object(row), "signature_value")
        if isinstance(value, str) and value.strip():
            return value
    return ""


def _says(message: str, parts: Sequence[str]) -> bool:
    return any(part.casefold() in message.casefold() for part in parts)


def _status(said: Mapping[str, object]) -> int:
    code = pick(said, "status_code")
    return int(code) if isinstance(code, int | str) and str(code) in _STATUSES else 500


def _message(said: Mapping[str, object]) -> str:
    return str(pick(said, "message") or "")[:200]


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _who(config: SmartCaConfig) -> dict[str, object]:
    return {"sp_id": config.sp_id, "sp_password": config.sp_password.get_secret_value(), "user_id": config.user_id}


def _url(connection: Connection, operation: str) -> str:
    return f"{str(_config(connection).base_url).rstrip('/')}/{operation}"


def _config(connection: Connection) -> SmartCaConfig:
    return cast(SmartCaConfig, connection.config)
