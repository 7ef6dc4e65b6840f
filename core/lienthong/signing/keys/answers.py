"""What a signer answered: the plain signature, or a CMS around it (remote services send either, and some both).

The two are told apart by what they prove, not by their looks: a value counts when it verifies with the signer's
certificate over the digest that was asked. So an answer that passes here is the signature that the prepared document
needs, whatever it was wrapped in.
"""

# asn1crypto has no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from lienthong.errors import SigningError
from lienthong.hookspecs import SignRequest
from lienthong.signing.keys.credentials import SignerCertificate

_MOST_BYTES = 256 * 1024
"""Larger than any CMS with one signature and its certificates, small enough to parse at once."""
_MOST_SIGNERS = 8
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
"""The object identifier of CMS signed data (RFC 5652 section 5.1), as it stands at the beginning of such an answer."""


@dataclass(frozen=True, kw_only=True)
class _Inside:
    """One signer of a CMS. ``signed`` is the digest in its signed attributes; None when it has no attributes."""

    value: bytes
    signed: bytes | None
    serial_number: int | None


def signature_value(answer: bytes, request: SignRequest, signer: SignerCertificate) -> bytes:
    """The signature of ``signer`` over the requested digest: an RSA PKCS#1 v1.5 value, or an ECDSA value in DER.

    ``answer`` is that value, an ECDSA value as two integers side by side (IEEE P1363), or a CMS (DER or BER) that
    holds it: one without signed attributes, or one whose signed attributes are those that the document has.

    :raises SigningError: "sign.answer-foreign" when a CMS holds a signature over something else, else
        "sign.signature-unfit"; "sign.digest-refused" as in ``requested_digest``
    """
    unfit: SigningError | None = None
    for value in _plain(answer, signer):
        try:
            signer.require_signature(request, value)
        except SigningError as problem:
            unfit = problem
        else:
            return value
    inside = _signers(answer)
    for each in inside:
        with suppress(SigningError):
            signer.require_signature(request, each.value)
            return each.value
    if inside:
        raise _foreign(inside[0], request, signer)
    raise unfit or SigningError("sign.signature-unfit", holder=signer.holder)


def _plain(answer: bytes, signer: SignerCertificate) -> Iterator[bytes]:
    """What ``answer`` may be without a CMS around it."""
    if len(answer) > signer.signature_bytes:
        return
    yield answer
    if isinstance(signer.public_key, ec.EllipticCurvePublicKey):
        half = (signer.public_key.key_size + 7) // 8
        if len(answer) == 2 * half:
            yield encode_dss_signature(int.from_bytes(answer[:half]), int.from_bytes(answer[half:]))


def _signers(answer: bytes) -> list[_Inside]:
    """The signers of a CMS; empty when ``answer`` is none."""
    if _SIGNED_DATA not in answer[:32] or len(answer) > _MOST_BYTES:
        return []
    try:
        signers = cms.ContentInfo.load(answer)["content"]["signer_infos"]
        return [_inside(signers[index]) for index in range(min(len(signers), _MOST_SIGNERS))]
    except Exception:  # asn1crypto raises of every kind on damaged input; deep nesting ends in RecursionError
        return []


def _inside(info: cms.SignerInfo) -> _Inside:
    sid = info["sid"]
    serial = sid.chosen["serial_number"].native if sid.name == "issuer_and_serial_number" else None
    attributes = info["signed_attrs"]
    found = {each["type"].native: each["values"] for each in attributes} if len(attributes) else {}
    digest = found["message_digest"][0].native if "message_digest" in found else None
    return _Inside(value=info["signature"].native, signed=digest, serial_number=serial)


def _foreign(inside: _Inside, request: SignRequest, signer: SignerCertificate) -> SigningError:
    en, vi = _what_was_signed(inside, request, signer)
    return SigningError("sign.answer-foreign", holder=signer.holder, signed=en, signed_vi=vi)


def _what_was_signed(inside: _Inside, request: SignRequest, signer: SignerCertificate) -> tuple[str, str]:
    """In English and in Vietnamese. Attributes that name our digest are the usual mistake: the service took the digest
    of the signed attributes for that of a document, and made attributes of its own around it."""
    ours = x509.load_der_x509_certificate(signer.der).serial_number
    if inside.serial_number not in (None, ours):
        number = f"{inside.serial_number:x}"[:40]
        return f"made with another certificate, serial number {number}", f"ký bằng chứng thư khác, số sê-ri {number}"
    if inside.signed == request.digest:
        return "attributes of its own around the digest that was sent", "thuộc tính riêng bọc quanh giá trị băm đã gửi"
    if inside.signed is not None:
        start = inside.signed.hex()[:16]
        return f"content with the digest {start}…", f"nội dung có giá trị băm {start}…"
    return "a digest that was not sent", "giá trị băm không phải giá trị đã gửi"


__all__ = ["signature_value"]
