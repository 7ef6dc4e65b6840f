"""VNPT SmartCA, simulated from its integration guide: strict about what it is sent, with answers of the real shapes.

Everything is HTTP 200 with a ``status_code`` of its own. A request's name must be new. A key may be open to programs,
with a password and one-time codes instead of the telephone. What SmartCA says of a request that it does not know, that
was refused, or whose time is over is invented: nothing about that is public.
"""

from __future__ import annotations

import hmac
import json
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lienthong_conformance.pki import KeyFile
from lienthong_conformance.simulators.server import Call, Fault, Journal, Record, Reply, SimulatorServer, json_reply
from lienthong_conformance.simulators.telephone import (
    AnswerForm,
    Decision,
    Question,
    RemoteKey,
    Telephone,
    held_key,
    subject_of,
)

PATH = "/sca/sp769"
_STATUS = re.compile(r"/v1/signatures/sign/([^/]+)/status$")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{14}Z")
_ANSWERS = {
    Decision.WAITING: (200, "PENDING"),
    Decision.REFUSED: (200, "USER_REJECTED"),
    Decision.EXPIRED: (200, "TRANSACTION_EXPIRED"),
}


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What opens a key to programs."""

    password: str
    totp_secret: bytes
    now: Callable[[], datetime]

    def codes(self) -> set[str]:
        """The one-time codes of this half minute and of its neighbours (RFC 6238 section 5.2 allows for a clock)."""
        turn = int(self.now().timestamp() // 30)
        return {self._code(each) for each in (turn - 1, turn, turn + 1)}

    def _code(self, turn: int) -> str:
        digest = hmac.new(self.totp_secret, struct.pack(">Q", turn), "sha1").digest()
        (number,) = struct.unpack_from(">I", digest, digest[19] % 16)
        return str(number % 2**31 % 10**6).zfill(6)


class SmartCaSimulator:
    """SmartCA on the loopback address. ``keys`` are each user's; ``form`` is how signatures are wrapped.

    ``suspended``: certificates may not be used. ``opened``: users whose keys are open to programs. Faults match
    ``operation`` (get_certificate, sign, status, confirm) and ``transaction``.
    """

    def __init__(
        self,
        keys: Mapping[str, Sequence[KeyFile]],
        *,
        sp_id: str,
        sp_password: str,
        opened: Mapping[str, Opening] | None = None,
        port: int = 0,
    ) -> None:
        self.telephone = Telephone()
        self.form = AnswerForm.RAW
        self.suspended = False
        self._keys = {user: [held_key(file) for file in files] for user, files in keys.items()}
        self._provider = (sp_id, sp_password)
        self._opened = dict(opened or {})
        self._activations: dict[str, str] = {}
        self._signer: dict[str, RemoteKey] = {}
        self._journal = Journal()
        self._server = SimulatorServer(self._answer, journal=self._journal, reset=self.telephone.clear, port=port)

    @property
    def base_url(self) -> str:
        return f"{self._server.endpoint}{PATH}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def script(self, *faults: Fault) -> None:
        self._server.script(*faults)

    def records(self, event: str = "") -> list[Record]:
        return self._journal.records(event)

    def _answer(self, call: Call) -> Reply:
        body = json.loads(call.read() or b"null")
        if not isinstance(body, dict) or call.method != "POST":
            return _said(400, "BAD_REQUEST")
        if asked := _STATUS.search(call.path):
            return self._status(call, asked[1])
        if (body.get("sp_id"), body.get("sp_password")) != self._provider:
            return _said(401, "SP_CREDENTIAL_INVALID")
        if call.path.endswith("/v1/credentials/get_certificate"):
            return self._certificates(call, body)
        if call.path.endswith("/v1/signatures/sign"):
            return self._sign(call, body)
        if call.path.endswith("/v2/signatures/sign"):
            return self._sign_at_once(call, body)
        if call.path.endswith("/v2/signatures/confirm"):
            return self._confirm(call, body)
        return json_reply({"error": f"no operation {call.path}"}, 404)

    def _certificates(self, call: Call, body: Mapping[str, object]) -> Reply:
        call.about({"operation": "get_certificate"})
        keys = [key for key in self._of(body) if body.get("serial_number") in ("", key.serial_number)]
        return _said(200, "Success", {"user_certificates": [_row(key) for key in keys]})

    def _sign(self, call: Call, body: Mapping[str, object]) -> Reply:
        name, files = str(body.get("transaction_id", "")), body.get("sign_files")
        file = files[0] if isinstance(files, list) and len(files) == 1 else {}
        digest = str(file.get("data_to_be_signed", ""))
        wrong = not (_DIGEST.fullmatch(digest) and file.get("sign_type") == "hash" and file.get("doc_id") and name)
        if wrong or not _TIME.fullmatch(str(body.get("time_stamp", ""))):
            return _said(400, "BAD_REQUEST")
        keys = [key for key in self._of(body) if key.serial_number == body.get("serial_number")]
        if not keys or self.suspended:
            return _said(403, "CREDENTIAL_STATUS_INVALID")
        call.about({"operation": "sign", "transaction": name})
        if not self.telephone.ring(name, bytes.fromhex(digest), str(body.get("transaction_desc", ""))):
            return _said(400, "TRANSACTION_EXISTED")
        self._signer[name] = keys[0]
        return _said(200, "sig_wait_for_user_confirm", {"transaction_id": name, "tran_code": f"code-of-{name}"})

    def _sign_at_once(self, call: Call, body: Mapping[str, object]) -> Reply:
        opening = self._opened.get(str(body.get("user_id")))
        if opening is None or body.get("password") != opening.password:
            self._journal.note("password-refused")
            return _said(401, "SP_CREDENTIAL_INVALID")
        if body.get("otp") not in opening.codes():
            return _said(400, "OTP_INVALID")
        waiting = self._sign(call, body)
        name, sad = str(body.get("transaction_id")), f"sad-of-{body.get('transaction_id')}"
        if self.telephone.question(name) is None:
            return waiting
        self._activations[name] = sad
        data = {"transaction_id": name, "tran_code": f"code-of-{name}", "sad": sad, "expired_in": 299}
        return _said(200, "sig_wait_for_user_confirm", data)

    def _confirm(self, call: Call, body: Mapping[str, object]) -> Reply:
        name = str(body.get("transaction_id"))
        call.about({"operation": "confirm", "transaction": name})
        question = self.telephone.question(name)
        if question is None or self._activations.pop(name, None) != body.get("sad"):
            return _said(400, "SAD_INVALID")
        return _said(200, "SUCCESS", {"transaction_id": name, "signatures": [self._signature(question)]})

    def _status(self, call: Call, name: str) -> Reply:
        call.about({"operation": "status", "transaction": name})
        question = self.telephone.question(name)
        if question is None:
            return _said(400, "TRANSACTION_NOT_FOUND")
        if question.decision is not Decision.CONFIRMED:
            code, message = _ANSWERS[question.decision]
            return _said(code, message, {"signatures": None})
        return _said(200, "SUCCESS", {"transaction_id": name, "signatures": [self._signature(question)]})

    def _signature(self, question: Question) -> dict[str, object]:
        value = self._signer[question.name].answer(question.digest, self.form)
        return {"doc_id": question.digest.hex()[:20], "signature_value": value, "timestamp_signature": None}

    def _of(self, body: Mapping[str, object]) -> list[RemoteKey]:
        return self._keys.get(str(body.get("user_id")), [])


def _said(code: int, message: str, data: object = None) -> Reply:
    return json_reply({"status_code": code, "message": message, "data": data})


def _row(key: RemoteKey) -> dict[str, object]:
    own, *above = key.chain()
    return {
        "service_type": "SMARTCA",
        "service_name": "SmartCA cá nhân",
        "cert_id": f"id-{key.serial_number}",
        "cert_status": "Đang hoạt động",
        "serial_number": key.serial_number,
        "cert_subject": subject_of(key.certificate),
        "cert_valid_from": key.certificate.not_valid_before_utc.isoformat(),
        "cert_valid_to": key.certificate.not_valid_after_utc.isoformat(),
        "cert_data": own,
        "chain_data": {"ca_cert": above[0] if above else None, "root_cert": above[1] if len(above) > 1 else None},
    }


__all__ = ["Opening", "SmartCaSimulator"]
