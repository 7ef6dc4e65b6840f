"""A signing service with the interface of the Cloud Signature Consortium, in its version 1.0.4 or 2.0.

Strict where a client could mix the versions up: fields of the other one are refused. Activation data is good for one
use on the digest that it was given for. ``credentials/info`` says how consent is obtained: "explicit" by a PIN,
"implicit" by the owner's telephone; then version 2 answers with a handle, and version 1 needs no question at all.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Literal
from urllib.parse import parse_qs

from lienthong_conformance.pki import KeyFile
from lienthong_conformance.simulators.server import Call, Fault, Journal, Record, Reply, SimulatorServer, json_reply
from lienthong_conformance.simulators.telephone import AnswerForm, Decision, Telephone, held_key

_SHA256 = "2.16.840.1.101.3.4.2.1"
_SHA256_RSA = "1.2.840.113549.1.1.11"
_UNDERWAY = (
    "The previous asynchronous signature request has been accepted for processing, "
    "but the processing has not yet been completed."
)
_FOREIGN = {"v1": ("hashes", "hashAlgorithmOID", "authData", "operationMode"), "v2": ("hash", "hashAlgo", "PIN")}


class CscSimulator:
    """The service on the loopback address, with one key. With a ``pin`` consent is explicit.

    ``busy_polls`` is how often ``signPolling`` says "not yet". Faults match ``operation``: token, info, authorize,
    authorizeCheck, signHash, signPolling.
    """

    def __init__(
        self,
        key: KeyFile,
        *,
        version: Literal["v1", "v2"],
        credential_id: str,
        client: tuple[str, str] | None = None,
        pin: str = "",
        port: int = 0,
    ) -> None:
        self.telephone = Telephone()
        self.form = AnswerForm.RAW
        self.busy_polls = 0
        self._key = held_key(key)
        self._version = version
        self._credential_id = credential_id
        self._client = client
        self._pin = pin
        self._numbers = itertools.count(1)
        self._tokens: set[str] = set()
        self._activations: dict[str, bytes] = {}
        self._finished: dict[str, str] = {}
        self._journal = Journal()
        self._server = SimulatorServer(self._answer, journal=self._journal, reset=self.telephone.clear, port=port)
        self._operations: dict[str, Callable[[Call, Mapping[str, object]], Reply]] = {
            "credentials/info": self._info,
            "credentials/authorize": self._authorize,
            "credentials/authorizeCheck": self._authorize_check,
            "signatures/signHash": self._sign_hash,
            "signatures/signPolling": self._sign_polling,
        }

    @property
    def base_url(self) -> str:
        return f"{self._server.endpoint}/csc/{self._version}"

    @property
    def token_url(self) -> str:
        return f"{self.base_url}/oauth2/token"

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
        operation = call.path.removeprefix(f"/csc/{self._version}/")
        content = call.read()
        if operation == "oauth2/token":
            return self._token(call, content)
        if operation not in self._operations:
            return json_reply({"error": "not_found"}, 404)
        if self._client and call.header("Authorization").removeprefix("Bearer ") not in self._tokens:
            return json_reply({"error": "invalid_token"}, 401)
        body = json.loads(content)
        if foreign := [name for name in _FOREIGN[self._version] if name in body]:
            return _refused("invalid_request", f"not in this version: {', '.join(foreign)}")
        return self._operations[operation](call, body)

    def _token(self, call: Call, content: bytes) -> Reply:
        call.about({"operation": "token"})
        form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
        if form.get("grant_type") != "client_credentials" or self._client != (
            form.get("client_id"),
            form.get("client_secret"),
        ):
            return _refused("invalid_client", "client is not known")
        token = f"bearer-{next(self._numbers)}"
        self._tokens.add(token)
        return json_reply({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def _info(self, call: Call, body: Mapping[str, object]) -> Reply:
        if body.get("credentialID") != self._credential_id:
            return _refused("invalid_request", "Invalid parameter credentialID")
        call.about({"operation": "info"})
        mode = "explicit" if self._pin else "implicit"
        consent = {"authMode": mode} if self._version == "v1" else {"auth": {"mode": mode}}
        key = {"status": "enabled", "algo": [_SHA256_RSA], "len": 2048}
        cert = {"status": "valid", "certificates": self._key.chain()}
        return json_reply({"key": key, "cert": cert, "SCAL": "2", "multisign": 1, **consent})

    def _authorize(self, call: Call, body: Mapping[str, object]) -> Reply:
        digest = self._digest(body)
        if digest is None or body.get("numSignatures") != 1 or body.get("credentialID") != self._credential_id:
            return _refused("invalid_request", "credentialID, numSignatures or digest")
        if self._pin and _pin_of(body) != self._pin:
            self._journal.note("pin-refused")
            return _refused("invalid_pin", "The PIN is invalid")
        call.about({"operation": "authorize"})
        if self._pin or self._version == "v1":
            return json_reply({"SAD": self._activation(digest), "expiresIn": 300})
        handle = f"handle-{next(self._numbers)}"
        self.telephone.ring(handle, digest, str(body.get("description", "")))
        return json_reply({"handle": handle}, 202)

    def _authorize_check(self, call: Call, body: Mapping[str, object]) -> Reply:
        call.about({"operation": "authorizeCheck"})
        handle = str(body.get("handle"))
        question = self.telephone.question(handle)
        if question is None:
            return _refused("invalid_request", "Invalid parameter handle")
        if question.decision is Decision.WAITING:
            return json_reply({"handle": handle}, 202)
        if question.decision is not Decision.CONFIRMED:
            return _refused("access_denied", "the owner of the key did not consent")
        return json_reply({"SAD": self._activation(question.digest), "expiresIn": 300})

    def _sign_hash(self, call: Call, body: Mapping[str, object]) -> Reply:
        digest = self._digest(body)
        algorithm = body.get("hashAlgo" if self._version == "v1" else "hashAlgorithmOID")
        if digest is None or algorithm != _SHA256 or body.get("signAlgo") != _SHA256_RSA:
            return _refused("invalid_request", "digest or algorithm")
        if self._activations.pop(str(body.get("SAD")), None) != digest:
            return _refused("invalid_request", "Invalid parameter SAD")
        call.about({"operation": "signHash"})
        signature = self._key.answer(digest, self.form)
        if body.get("operationMode") != "A":
            return json_reply({"signatures": [signature]})
        name = f"response-{next(self._numbers)}"
        self._finished[name] = signature
        return json_reply({"responseID": name})

    def _sign_polling(self, call: Call, body: Mapping[str, object]) -> Reply:
        call.about({"operation": "signPolling"})
        signature = self._finished.get(str(body.get("requestID")))
        if signature is None:
            return _refused("invalid_request", "Invalid parameter requestID")
        if self.busy_polls:
            self.busy_polls -= 1
            return _refused("invalid_request", _UNDERWAY)
        return json_reply({"signatures": [signature]})

    def _activation(self, digest: bytes) -> str:
        sad = f"sad-{next(self._numbers)}"
        self._activations[sad] = digest
        return sad

    def _digest(self, body: Mapping[str, object]) -> bytes | None:
        found = body.get("hash" if self._version == "v1" else "hashes")
        if not (isinstance(found, list) and len(found) == 1):
            return None
        try:
            digest = base64.b64decode(str(found[0]), validate=True)
        except binascii.Error:
            return None
        return digest if len(digest) == 32 else None


def _pin_of(body: Mapping[str, object]) -> object:
    if "PIN" in body:
        return body["PIN"]
    data = body.get("authData")
    return (
        next((each.get("value") for each in data if each.get("id") == "PIN"), None) if isinstance(data, list) else None
    )


def _refused(error: str, description: str) -> Reply:
    return json_reply({"error": error, "error_description": description}, 400)


__all__ = ["CscSimulator"]
