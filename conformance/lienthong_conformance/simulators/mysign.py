"""Viettel MySign, simulated from its integration guide: strict about what it is sent, with answers of the real shapes.

Numbers come as strings, a bad login is a bad request, the list of certificates is a bare array, a request is named by
the service, and digests and names are base64 (one public client sends hexadecimal digits; here that is refused).
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Mapping, Sequence

from lienthong_conformance.pki import KeyFile
from lienthong_conformance.simulators.server import Call, Fault, Journal, Record, Reply, SimulatorServer, json_reply
from lienthong_conformance.simulators.telephone import AnswerForm, Decision, RemoteKey, Telephone, held_key, subject_of

PROFILE = "adss:ras:profile:001"
_PATH = "/vtss/service/"
_LONGEST_NAME = 100
_STATUS = {Decision.WAITING: "4000", Decision.EXPIRED: "4001", Decision.REFUSED: "4002"}
_TIME = "%Y%m%d%H%M%S+0000"


class MySignSimulator:
    """MySign on the loopback address. ``keys`` are each user's; ``form`` is how signatures are wrapped.

    ``status`` answers every question for a result with this code instead of what the person decided ("6000", "4005").
    Faults match ``operation`` (login, certificates, sign, status).
    """

    def __init__(
        self, keys: Mapping[str, Sequence[KeyFile]], *, client_id: str, client_secret: str, port: int = 0
    ) -> None:
        self.telephone = Telephone()
        self.form = AnswerForm.RAW
        self.status = ""
        self.login_seconds = "3600"
        self._keys = {user: [held_key(file) for file in files] for user, files in keys.items()}
        self._client = (client_id, client_secret, PROFILE)
        self._tokens: dict[str, str] = {}
        self._signer: dict[str, RemoteKey] = {}
        self._numbers = itertools.count(1)
        self._journal = Journal()
        self._server = SimulatorServer(self._answer, journal=self._journal, reset=self.telephone.clear, port=port)
        self._operations = {
            "ras/v1/login": self._login,
            "certificates/info": self._certificates,
            "signHash": self._sign,
            "requests/status": self._status,
        }

    @property
    def base_url(self) -> str:
        return self._server.endpoint

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def script(self, *faults: Fault) -> None:
        self._server.script(*faults)

    def records(self, event: str = "") -> list[Record]:
        return self._journal.records(event)

    def forget_logins(self) -> None:
        """Every token ends now, before its time."""
        self._tokens.clear()

    def _answer(self, call: Call) -> Reply:
        body = json.loads(call.read() or b"null")
        operation = self._operations.get(call.path.removeprefix(_PATH))
        if operation is None or call.method != "POST" or not isinstance(body, dict):
            return json_reply({"error": f"no operation {call.path}"}, 404)
        return operation(call, body)

    def _login(self, call: Call, body: Mapping[str, object]) -> Reply:
        call.about({"operation": "login"})
        if tuple(body.get(name) for name in ("client_id", "client_secret", "profile_id")) != self._client:
            return _refused("58007", "client is not known")
        if body.get("user_id") not in self._keys:
            return _refused("59033", "user is not known")
        token = f"token-{next(self._numbers)}-{body['user_id']}"
        self._tokens[token] = str(body["user_id"])
        return json_reply(
            {"access_token": token, "token_type": "bearer", "expires_in": self.login_seconds, "refresh_token": ""}
        )

    def _certificates(self, call: Call, body: Mapping[str, object]) -> Reply:
        user = self._user(call)
        if user is None or user != body.get("user_id"):
            return json_reply({"error": "invalid_token", "error_description": "token is not known"}, 401)
        call.about({"operation": "certificates"})
        return json_reply([_row(key) for key in self._keys[user]])

    def _sign(self, call: Call, body: Mapping[str, object]) -> Reply:
        user = self._user(call)
        if user is None:
            return json_reply({"error": "invalid_token", "error_description": "token is not known"}, 401)
        keys = [key for key in self._keys[user] if _name(key) == body.get("credentialID")]
        digest, problem = _digest(body)
        if problem or not keys:
            return _refused("invalid_request", problem or "credentialID is not known")
        call.about({"operation": "sign"})
        name = f"transaction-{next(self._numbers)}"
        self._signer[name] = keys[0]
        self.telephone.ring(name, digest, base64.b64decode(str(body["description"])).decode())
        return json_reply({"transactionId": name})

    def _status(self, call: Call, body: Mapping[str, object]) -> Reply:
        if self._user(call) is None:
            return json_reply({"error": "invalid_token", "error_description": "token is not known"}, 401)
        call.about({"operation": "status"})
        name = str(body.get("transactionId"))
        question = self.telephone.question(name)
        if question is None:
            return _refused("invalid_request", "transactionId is not known")
        if self.status or question.decision is not Decision.CONFIRMED:
            return json_reply({"status": self.status or _STATUS[question.decision], "signatures": []})
        return json_reply({"status": "1", "signatures": [self._signer[name].answer(question.digest, self.form)]})

    def _user(self, call: Call) -> str | None:
        return self._tokens.get(call.header("Authorization").removeprefix("Bearer "))


def _refused(error: str, description: str) -> Reply:
    return json_reply({"error": error, "error_description": description}, 400)


def _digest(body: Mapping[str, object]) -> tuple[bytes, str]:
    """The digest to sign, or what is wrong with the request."""
    hashed, documents = body.get("hash"), body.get("documents")
    if not (isinstance(hashed, list) and isinstance(documents, list) and len(hashed) == len(documents) == 1):
        return b"", "one hash and one document"
    if body.get("numSignatures") != 1 or body.get("async") != 1:
        return b"", "numSignatures and async must be 1"
    if (body.get("hashAlgo"), body.get("signAlgo")) != ("2.16.840.1.101.3.4.2.1", "1.2.840.113549.1.1.1"):
        return b"", "hashAlgo or signAlgo"
    name = str(documents[0].get("document_name", ""))
    try:
        base64.b64decode(name, validate=True).decode()
        digest = base64.b64decode(str(hashed[0]), validate=True)
    except (binascii.Error, UnicodeDecodeError):
        return b"", "hash and document_name must be base64"
    if len(name) >= _LONGEST_NAME or len(digest) != 32:
        return b"", "document_name too long, or no SHA-256 in hash"
    return digest, ""


def _name(key: RemoteKey) -> str:
    return f"credential-{key.serial_number}"


def _row(key: RemoteKey) -> dict[str, object]:
    return {
        "credential_id": _name(key),
        "key": {"status": "enabled", "algo": ["1.2.840.113549.1.1.1"], "len": 2048},
        "cert": {
            "status": "valid",
            "certificates": key.chain(),
            "issuerDN": key.certificate.issuer.rfc4514_string(),
            "serialNumber": key.serial_number,
            "subjectDN": subject_of(key.certificate),
            "validFrom": key.certificate.not_valid_before_utc.strftime(_TIME),
            "validTo": key.certificate.not_valid_after_utc.strftime(_TIME),
        },
        "authMode": "explicit",
        "multisign": 1,
        "scal": "2",
    }


__all__ = ["MySignSimulator"]
