"""What the simulated signing services share: a key that only they hold, and the telephone of the person who owns it."""

# asn1crypto has no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import base64
import hashlib
import threading
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from lienthong_conformance.pki import KeyFile


class AnswerForm(StrEnum):
    """How a service wraps a signature. All have been seen or are asked about in the field."""

    RAW = "the PKCS#1 value"
    CMS = "a CMS without signed attributes"
    OWN_ATTRIBUTES = "a CMS whose signed attributes are the service's own"


class Decision(StrEnum):
    WAITING = "waiting"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What stands on the telephone: a request's name, the digest to sign, and the words that the person sees."""

    name: str
    digest: bytes
    text: str
    decision: Decision = Decision.WAITING


class Telephone:
    """A person's telephone. Nothing happens on it until a test decides for the person."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._questions: dict[str, Question] = {}

    def ring(self, name: str, digest: bytes, text: str) -> bool:
        """Ask the person; False when a question of this name was asked before."""
        with self._lock:
            if name in self._questions:
                return False
            self._questions[name] = Question(name=name, digest=digest, text=text)
            return True

    def question(self, name: str) -> Question | None:
        with self._lock:
            return self._questions.get(name)

    @property
    def questions(self) -> list[Question]:
        """Everything that the person was ever asked, in order."""
        with self._lock:
            return list(self._questions.values())

    def decide(self, decision: Decision) -> None:
        """What the person does about every question that waits (``EXPIRED``: nothing, for too long)."""
        with self._lock:
            for name, question in self._questions.items():
                if question.decision is Decision.WAITING:
                    self._questions[name] = replace(question, decision=decision)

    def clear(self) -> None:
        with self._lock:
            self._questions.clear()


class RemoteKey:
    """A key and its certificates, as a service holds them."""

    def __init__(self, file: KeyFile) -> None:
        bundle = load_pkcs12(file.path.read_bytes(), file.password.encode())
        assert isinstance(bundle.key, rsa.RSAPrivateKey), "the simulated services have RSA keys"
        assert bundle.cert is not None
        self._key = bundle.key
        self.certificate = bundle.cert.certificate
        self.above = [entry.certificate for entry in bundle.additional_certs]
        self.serial_number = f"{self.certificate.serial_number:x}"

    def chain(self) -> list[str]:
        """Base64, the signer's certificate first."""
        return [in_lines(each.public_bytes(Encoding.DER)) for each in (self.certificate, *self.above)]

    def answer(self, digest: bytes, form: AnswerForm) -> str:
        """The signature over a SHA-256 digest in base64, broken into lines as the real services do."""
        if form is AnswerForm.RAW:
            return in_lines(self._value(digest))
        attributes = None
        if form is AnswerForm.OWN_ATTRIBUTES:
            content_type = cms.CMSAttribute({"type": "content_type", "values": ["data"]})
            message_digest = cms.CMSAttribute({"type": "message_digest", "values": [digest]})
            attributes = cms.CMSAttributes([content_type, message_digest])
            digest = hashlib.sha256(attributes.dump()).digest()
        return in_lines(self._cms(self._value(digest), attributes))

    def _value(self, digest: bytes) -> bytes:
        return self._key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))

    def _cms(self, value: bytes, attributes: cms.CMSAttributes | None) -> bytes:
        leaf = asn1_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number}),
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signature_algorithm": {"algorithm": "sha256_rsa"},
            "signature": value,
        }
        if attributes is not None:
            signer["signed_attrs"] = attributes
        signed = {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data"},
            "certificates": [leaf],
            "signer_infos": [signer],
        }
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


@cache
def held_key(file: KeyFile) -> RemoteKey:
    """The key of a file. Opening one takes a tenth of a second, and simulators come and go."""
    return RemoteKey(file)


def in_lines(content: bytes) -> str:
    """Base64 with a CRLF after every 76 characters (RFC 2045)."""
    return base64.encodebytes(content).decode().replace("\n", "\r\n")


def subject_of(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
