"""What the SmartCA tests share: connections to a service, requests, and a look at what came back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from lienthong import VIETNAM, Connection, Pending, Signature, SignRequest
from lienthong.http import HttpClient, HttpSettings
from lienthong_vnpt import smartca

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=VIETNAM)
USER, PASSWORD = "001080000001", "not-a-real-password"
DIGEST = hashlib.sha256(b"van ban").digest()


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


Client = Callable[[HttpSettings], HttpClient]


def connection_to(client: Client, base_url: str, clock: Clock, folder: Path, **changes: object) -> Connection:
    settings = {"base_url": base_url, "sp_id": "app-1", "sp_password": PASSWORD, "user_id": USER}
    http = {"tries": 1, "deadline_seconds": 5.0}
    config = smartca.SmartCaConfig.model_validate({**settings, "http": http, **changes})
    return Connection(name="smartca", agencies=(), config=config, http=client(config.http), folder=folder, now=clock)


def request(token: str | None = None) -> SignRequest:
    return SignRequest(
        digest=DIGEST, algorithm="sha256", mechanism="rsassa_pkcs1v15", summary="Ký 15/UBND-VP", token=token
    )


def ask(connection: Connection, before: Pending | None = None) -> Signature | Pending:
    return smartca.sign(connection, request(before.token if before else None))


def wait(connection: Connection, before: Pending | None = None) -> Pending:
    answer = ask(connection, before)
    assert isinstance(answer, Pending)
    return answer


def verify(answer: Signature | Pending, certificate: bytes) -> None:
    """The signature is the certificate's, over the digest."""
    assert isinstance(answer, Signature)
    key = x509.load_der_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(answer.value, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
