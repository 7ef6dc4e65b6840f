"""Remote signing by the interface of the Cloud Signature Consortium (CSC API 1.0.4 and 2.0), which many services have.

Signing is two calls: ``credentials/authorize`` turns our right to use the key (a PIN, or a person who confirms) into
signature activation data for one digest, and ``signatures/signHash`` spends it. Version 2 renamed the digest's fields,
may let both calls be finished later (``credentials/authorizeCheck``, ``signatures/signPolling``), and is otherwise the
same. A one-time password is not offered: in a configuration file it would be neither.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, cast
from urllib.parse import urlencode

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, model_validator

from lienthong.errors import OutcomeUnknown, Rejected, SigningError, Unauthorized, Unavailable
from lienthong.hookspecs import (
    Capabilities,
    Connection,
    Credential,
    Manifest,
    Pending,
    Probe,
    Signature,
    SignRequest,
    hookimpl,
)
from lienthong.http import HttpSettings, pick
from lienthong.signing.keys.remote import (
    HASH_OIDS,
    Certificates,
    Listed,
    Logins,
    Ticket,
    post_json,
    refusals_are_final,
    request_name,
    signature_bytes,
    sparing,
)

_ALGORITHMS = {
    ("rsassa_pkcs1v15", "sha256"): ("1.2.840.113549.1.1.11", "1.2.840.113549.1.1.1"),
    ("rsassa_pkcs1v15", "sha384"): ("1.2.840.113549.1.1.12", "1.2.840.113549.1.1.1"),
    ("rsassa_pkcs1v15", "sha512"): ("1.2.840.113549.1.1.13", "1.2.840.113549.1.1.1"),
    ("ecdsa", "sha256"): ("1.2.840.10045.4.3.2", "1.2.840.10045.2.1"),
    ("ecdsa", "sha384"): ("1.2.840.10045.4.3.3", "1.2.840.10045.2.1"),
    ("ecdsa", "sha512"): ("1.2.840.10045.4.3.4", "1.2.840.10045.2.1"),
}
"""How services name a signature scheme: with its digest, or as the bare kind of key beside ``hashAlgo``."""
_STILL_WORKING = "not yet been completed"
"""Part of the sentence with which ``signPolling`` says, as a bad request, that it is not done (CSC API 2.0, 11.15)."""
_REFUSED_PIN, _REFUSED_BY_PERSON = "invalid_pin", "access_denied"
"""Errors of the calls that must not be repeated soon (CSC API 1.0.4, 11.6; RFC 6749, 4.1.2.1)."""
_HANDLE, _RESPONSE = "handle ", "response "
"""What a ticket's name begins with: which of the two calls is unfinished."""
_LONGEST_DESCRIPTION = 500
_USUAL_SECONDS = 3600.0
_VISIBLE = frozenset({"error"})


class CscConfig(BaseModel):
    """The configuration of a ``csc`` connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: AnyHttpUrl = Field(description="address of the service up to `/credentials`, as https://…/csc/v1")
    version: Literal["v1", "v2"] = Field("v1", description="version of the interface")
    credential_id: str = Field(min_length=1, description="name of the key at the service (credentialID)")
    pin: SecretStr | None = Field(None, description="PIN of the key, as a reference, where the service asks for one")
    token_url: AnyHttpUrl | None = Field(
        None, description="where client_id and client_secret get an access token (OAuth 2.0 client credentials)"
    )
    client_id: str = Field("", description="our id at token_url")
    client_secret: SecretStr | None = Field(None, description="our secret at token_url, as a reference")
    asynchronous: bool = Field(False, description="v2: let the service finish a signature later (operationMode A)")
    http: HttpSettings = Field(HttpSettings(), description="TLS (also a client certificate), deadlines, size limits")
    poll_seconds: float = Field(5.0, gt=0, description="pause between two questions for the result")
    confirm_seconds: float = Field(300.0, gt=0, description="time that a person has to confirm")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        access = (self.token_url is not None, bool(self.client_id), self.client_secret is not None)
        if any(access) and not all(access):
            raise ValueError("token_url, client_id and client_secret belong together")
        if self.asynchronous and self.version == "v1":
            raise ValueError("asynchronous needs version v2")
        return self


@dataclass(frozen=True, kw_only=True)
class _Key:
    """What ``credentials/info`` says of a key. ``asks_person``: the service itself obtains the owner's consent."""

    algorithms: frozenset[str]
    asks_person: bool


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="csc",
        version="1",
        role="signer",
        summary="Signs with a service that has the Cloud Signature Consortium's interface (v1, v2)",
        config=CscConfig,
        capabilities=Capabilities(key="remote"),
    )


@hookimpl
def credential(connection: Connection) -> Credential:
    return _certificates.credential(connection)


@hookimpl
def sign(connection: Connection, request: SignRequest) -> Signature | Pending:
    if request.algorithm not in HASH_OIDS:
        raise SigningError("sign.digest-refused", algorithm=request.algorithm, bytes=len(request.digest))
    ticket = None if request.token is None else Ticket.read(request.token)
    if ticket is None:
        return _first(connection, request)
    if not ticket.name:
        return _wait(connection, ticket)
    if ticket.name.startswith(_HANDLE):
        return _consented(connection, request, ticket)
    return _finished(connection, ticket)


@hookimpl
def probe(connection: Connection) -> Probe:
    return _certificates.probe(connection)


def _first(connection: Connection, request: SignRequest) -> Signature | Pending:
    config = _config(connection)
    body: dict[str, object] = {
        "credentialID": config.credential_id,
        "numSignatures": 1,
        "description": request.summary[:_LONGEST_DESCRIPTION],
        **_digest(config, request, "authorize"),
    }
    asked = connection.now()
    try:
        said = _authorized(connection, body)
        if handle := pick(said, "handle"):
            return Ticket(name=_HANDLE + request_name(connection, handle), asked=asked).pending(config.poll_seconds)
        return _spend(connection, request, said)
    except OutcomeUnknown as problem:
        return _lost(connection, problem, Ticket(name="", asked=asked, certain=False))


def _authorized(connection: Connection, body: Mapping[str, object]) -> Mapping[str, object]:
    config = _config(connection)
    if config.pin is None:
        return _post(connection, "credentials/authorize", body, effect=True)
    pin = config.pin.get_secret_value()
    proof = {"PIN": pin} if config.version == "v1" else {"authData": [{"id": "PIN", "value": pin}]}
    with sparing(connection, f"{config.base_url} {config.credential_id}", pin):
        return _post(connection, "credentials/authorize", {**body, **proof}, effect=True)


def _consented(connection: Connection, request: SignRequest, ticket: Ticket) -> Signature | Pending:
    """Version 2: has the owner of the key consented meanwhile?"""
    said = _post(connection, "credentials/authorizeCheck", {"handle": ticket.name.removeprefix(_HANDLE)})
    if not pick(said, "SAD"):
        return _wait(connection, ticket)
    try:
        return _spend(connection, request, said)
    except OutcomeUnknown as problem:
        return _lost(connection, problem, Ticket(name="", asked=ticket.asked, certain=False))


def _spend(connection: Connection, request: SignRequest, authorized: Mapping[str, object]) -> Signature | Pending:
    """:raises OutcomeUnknown: the activation data may be spent; the signature is lost"""
    config, asked = _config(connection), connection.now()
    sad = pick(authorized, "SAD")
    if not isinstance(sad, str):
        raise SigningError("sign.remote-unreadable", peer=connection.name, reason="no SAD")
    body: dict[str, object] = {
        "credentialID": config.credential_id,
        "SAD": sad,
        "signAlgo": _algorithm(connection, request),
        **_digest(config, request, "sign"),
    }
    if config.version == "v2":
        body["operationMode"] = "A" if config.asynchronous else "S"
    said = _post(connection, "signatures/signHash", body, effect=True)
    if name := pick(said, "responseID"):
        return Ticket(name=_RESPONSE + request_name(connection, name), asked=asked).pending(config.poll_seconds)
    return _signature(connection, said)


def _finished(connection: Connection, ticket: Ticket) -> Signature | Pending:
    """Version 2: is the signature made meanwhile?"""
    try:
        said = _post(connection, "signatures/signPolling", {"requestID": ticket.name.removeprefix(_RESPONSE)})
    except SigningError as problem:
        if _STILL_WORKING in str(problem.facts.get("peer_text", "")):
            return _wait(connection, ticket)
        raise
    return _signature(connection, said) if pick(said, "signatures") else _wait(connection, ticket)


def _wait(connection: Connection, ticket: Ticket) -> Pending:
    config = _config(connection)
    ticket.require_time_left(connection.now(), config.confirm_seconds)
    return ticket.pending(config.poll_seconds)


def _lost(connection: Connection, problem: OutcomeUnknown, ticket: Ticket) -> Pending:
    """Where a person is asked, the question may stand on a telephone: it is left to run out before another one comes.
    Elsewhere a signature that nobody gets harms nobody, and the next try may come at once."""
    if _certificates.details(connection).asks_person:
        return _wait(connection, ticket)
    raise Unavailable(problem.code, where=problem.where, **problem.facts) from problem


def _signature(connection: Connection, said: Mapping[str, object]) -> Signature:
    values = pick(said, "signatures")
    if not (isinstance(values, list) and len(values) == 1):
        raise SigningError("sign.remote-unreadable", peer=connection.name, reason="not one signature")
    return Signature(value=signature_bytes(connection, values[0]))


def _digest(config: CscConfig, request: SignRequest, call: Literal["authorize", "sign"]) -> dict[str, object]:
    """The digest's fields in one of the calls, as the version names them."""
    digests, oid = [base64.b64encode(request.digest).decode()], HASH_OIDS[request.algorithm]
    if config.version == "v2":
        return {"hashes": digests, "hashAlgorithmOID": oid}
    return {"hash": digests} if call == "authorize" else {"hash": digests, "hashAlgo": oid}


def _algorithm(connection: Connection, request: SignRequest) -> str:
    known = _certificates.details(connection).algorithms
    for name in _ALGORITHMS[request.mechanism, request.algorithm]:
        if name in known:
            return name
    asked = f"{request.mechanism} {request.algorithm}"
    raise SigningError("sign.mechanism-refused", asked=asked, possible=", ".join(sorted(known))[:200])


def _read_key(connection: Connection) -> Listed[_Key]:
    config = _config(connection)
    body = {"credentialID": config.credential_id, "certificates": "chain", "certInfo": False, "authInfo": True}
    said = _post(connection, "credentials/info", body)
    key, cert, auth = (_object(pick(said, name)) for name in ("key", "cert", "auth"))
    texts, algorithms = pick(cert, "certificates"), pick(key, "algo")
    mode = pick(auth, "mode") or pick(said, "authMode")
    status = str(pick(key, "status") or "enabled")
    if status != "enabled":
        raise SigningError("sign.credential-unusable", peer=connection.name, peer_text=status[:200])
    return Listed(
        certificates=[str(text) for text in texts] if isinstance(texts, list) else [],
        details=_Key(
            algorithms=frozenset(map(str, algorithms)) if isinstance(algorithms, list) else frozenset(),
            asks_person=mode != "explicit",
        ),
    )


def _log_in(connection: Connection) -> tuple[str, float]:
    config = _config(connection)
    assert config.client_secret is not None
    secret = config.client_secret.get_secret_value()
    form = {"grant_type": "client_credentials", "client_id": config.client_id, "client_secret": secret}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    body = urlencode(form | {"scope": "service"}).encode()
    try:
        answer = connection.http.call("POST", str(config.token_url), effect=False, headers=headers, body=body)
    except Rejected as problem:
        text = problem.facts.get("peer_text", "")
        raise Unauthorized("sign.login-refused", peer=connection.name, peer_text=text) from problem
    said = answer.json_object()
    token, seconds = pick(said, "access_token"), pick(said, "expires_in")
    if not (isinstance(token, str) and token):
        raise Unauthorized("sign.login-refused", peer=connection.name, peer_text="no access_token")
    return token, float(seconds) if isinstance(seconds, int | float) else _USUAL_SECONDS


_logins = Logins(_log_in)
_certificates = Certificates(_read_key)


def _post(
    connection: Connection, operation: str, body: Mapping[str, object], *, effect: bool = False
) -> Mapping[str, object]:
    config = _config(connection)
    url = f"{str(config.base_url).rstrip('/')}/{operation}"
    post = post_json if config.token_url is None else _logins.post
    try:
        with refusals_are_final():
            return post(connection, url, body, effect=effect, visible=_VISIBLE).json_object()
    except SigningError as problem:
        raise _refusal(connection, problem) from problem.__cause__


def _refusal(connection: Connection, problem: SigningError) -> SigningError:
    """A service's "no", under a name of its own where something else must follow."""
    said = str(problem.facts.get("peer_text", ""))
    if _REFUSED_PIN in said:
        return SigningError("sign.remote-pin-refused", peer=connection.name)
    if _REFUSED_BY_PERSON in said:
        return SigningError("sign.user-refused", where=connection.name)
    return problem


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _config(connection: Connection) -> CscConfig:
    return cast(CscConfig, connection.config)
