"""Raising a signature's level (ETSI EN 319 142-1 clause 6): proof of time, proof of validity, proof for the archive.

- B-T: a timestamp. A signature that was just made here has it inside its CMS, where room was left for it; to a
  signature that somebody else's tool made, a document timestamp is appended.
- B-LT: the document security store holds the chains of all signatures and timestamps and the answers to whether their
  certificates were revoked, obtained after the timestamp.
- B-LTA: a document timestamp over all of that.

First it is decided, from what the file has, what is missing; then that is added. Work is done on a
copy beside the file, which takes the file's place at the end: whatever happens, the file is as before or complete.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from asn1crypto import cms, crl, ocsp, x509
from cryptography.x509 import load_der_x509_certificate
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import DocumentTimestamp, PreparedByteRangeDigest
from pyhanko.sign.validation.dss import DocumentSecurityStore, enumerate_ocsp_certs

from lienthong.errors import ContentError, SigningError, Unavailable
from lienthong.model import RevocationStatus, SignatureLevel, vietnam_time
from lienthong.signing.keys.credentials import holder_of
from lienthong.signing.pdf import document_errors, seconds_for, within
from lienthong.signing.proof.revocation import RevocationAnswers, RevocationSource
from lienthong.signing.proof.timestamps import TimestampAuthorities, read_token
from lienthong.signing.verification.facts import FileFacts, SignatureFacts, TokenFacts
from lienthong.signing.verification.reading import read_facts
from lienthong.signing.verification.revoked import Standing, standing
from lienthong.signing.verification.trust import TrustStore, find_chain

TIMESTAMP_ROOM = 12 * 1024
"""Bytes to keep free in a signature that is to get a timestamp. A token with its chain takes 2 to 8 KB, and every
reader of the file has to go through the room that is left."""
_LARGEST_TOKEN = 256 * 1024
_CHUNK = 256 * 1024
_SECONDS_TO_NEXT_TRY = 30.0
_DIGEST = "sha256"
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class _Signer:
    """A certificate in use: who signed at ``moment``. ``certificates`` came along, the signer's first.

    ``needed``: without proof of this one's validity the level is not reached. Others are those of earlier signatures:
    their proof is collected as far as it is to be had.
    """

    certificates: tuple[bytes, ...]
    moment: datetime
    needed: bool


@dataclass(kw_only=True)
class _Material:
    """What the security store must hold, DER."""

    certificates: dict[bytes, None] = field(default_factory=dict)
    ocsps: dict[bytes, None] = field(default_factory=dict)
    crls: dict[bytes, None] = field(default_factory=dict)

    def add(self, answers: RevocationAnswers) -> None:
        self.ocsps.update(dict.fromkeys(answers.ocsps))
        self.crls.update(dict.fromkeys(answers.crls))


def raise_level(
    path: Path,
    level: SignatureLevel,
    *,
    timestamps: TimestampAuthorities,
    revocation: RevocationSource,
    trust: TrustStore,
    at: datetime,
    ours: bool,
) -> SignatureLevel:
    """Bring the last signature of the PDF at ``path`` to ``level``, in place; what it has already is kept and used.

    ``ours``: it was just made here, with room for a timestamp. Else, and when the room is too small or something
    follows the signature, only updates are appended, and the file's bytes stay a prefix of what it becomes. May be
    repeated; the same level again changes nothing. A certificate that names nobody to ask about its revocation needs
    no answer: there is none to be had. Returns ``level``. The file is not flushed to disk: that is the caller's to do.

    :raises Unavailable: a timestamp or an answer about revocation cannot be had now
    :raises SigningError: a certificate was revoked before it signed, or is not trusted; the signature does not hold;
        the authorities refuse; or a file cannot be written
    :raises StoreError: the file cannot be read
    :raises ContentError: the file is not a PDF with a signature, is encrypted or damaged
    """
    if level is SignatureLevel.BASIC:
        return level
    copy = path.with_name(f"{path.name}.raising")
    with document_errors(path):
        try:
            shutil.copy(path, copy)  # its mode too: the copy becomes the file
            raising = _Raising(copy, path.name, timestamps, revocation, trust, at)
            raising.prove_time(inside=ours)
            if level.reaches(SignatureLevel.LONG_TERM):
                raising.prove_validity()
            if level is SignatureLevel.ARCHIVE:
                raising.seal()
            if raising.changed:
                os.replace(copy, path)
        finally:
            copy.unlink(missing_ok=True)
    return level


class _Raising:
    """The steps upon one copy. ``changed``: something was added to it."""

    def __init__(
        self,
        copy: Path,
        name: str,
        timestamps: TimestampAuthorities,
        revocation: RevocationSource,
        trust: TrustStore,
        at: datetime,
    ) -> None:
        self.changed = False
        self._copy = copy
        self._name = name
        self._timestamps = timestamps
        self._revocation = revocation
        self._trust = trust
        self._at = at
        self._facts = self._read()
        self._store_is_sealed = _is_seal(self._facts.signatures[-1])

    def prove_time(self, *, inside: bool) -> None:
        if self._proofs_of_time():
            return
        last = self._facts.signatures[-1]
        token = self._stamped_inside() if inside and last.coverage == "file" else None
        if token is not None:
            signatures = (*self._facts.signatures[:-1], replace(last, timestamps=(*last.timestamps, token)))
        else:
            token = self._append_timestamp()
            follower = SignatureFacts(
                field_name="",
                document_timestamp=True,
                revision=last.revision + 1,
                certificates=token.certificates,
                stated_at=token.at,
            )
            signatures = (*self._facts.signatures, follower)
        self._facts = replace(self._facts, signatures=signatures)

    def prove_validity(self) -> None:
        material = _Material()
        for signer in self._signers():
            self._collect(signer, material)
        with self._copy.open("r+b") as stream:
            if self._bounded(lambda: _write_store(stream, self._name, material)):
                self.changed, self._store_is_sealed = True, False

    def seal(self) -> None:
        """A document timestamp over the security store, unless that is what the file ends with."""
        if not self._store_is_sealed:
            self._append_timestamp()

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _read(self) -> FileFacts:
        facts = read_facts(self._copy)
        if facts.problem:
            raise ContentError("sign.level-unreadable", where=self._name, reason=facts.problem)
        signatures = [signature for signature in facts.signatures if not signature.document_timestamp]
        if not signatures:
            raise ContentError("sign.nothing-signed", where=self._name)
        if signatures[-1].reasons:
            raise SigningError("sign.level-unfit", where=self._name, reason=", ".join(signatures[-1].reasons))
        return facts

    def _last(self) -> SignatureFacts:
        return [signature for signature in self._facts.signatures if not signature.document_timestamp][-1]

    def _proofs_of_time(self) -> list[TokenFacts]:
        """The good timestamps over the last signature: inside it, and of the document."""
        return self._good_timestamps(self._last())

    def _good_timestamps(self, signature: SignatureFacts) -> list[TokenFacts]:
        later = [
            _as_token(other)
            for other in self._facts.signatures
            if other.document_timestamp and other.revision > signature.revision
        ]
        return [token for token in (*signature.timestamps, *later) if self._holds(token)]

    def _holds(self, token: TokenFacts) -> bool:
        if token.at is None or token.reasons or not token.certificates:
            return False
        signer, *others = map(x509.Certificate.load, token.certificates)
        purposes = signer.extended_key_usage_value
        may_stamp = purposes is not None and "time_stamping" in purposes.native
        return may_stamp and not find_chain(self._trust, signer, others, token.at).problem

    def _signers(self) -> Iterator[_Signer]:
        """Everybody whose certificate must be shown to have been good when it was used, and when that was.

        A seal at the end is not among them: its certificate is what the next seal is for.
        """
        last = self._last()
        proof = min(self._proofs_of_time(), key=_time_of)
        yield _Signer(certificates=last.certificates, moment=_time_of(proof), needed=True)
        yield _Signer(certificates=proof.certificates, moment=_time_of(proof), needed=True)
        for signature in self._facts.signatures:
            if signature is last or signature.reasons or _is_seal(signature):
                continue
            tokens = [_as_token(signature)] if signature.document_timestamp else self._good_timestamps(signature)
            if not signature.document_timestamp:
                moment = min(map(_time_of, [*tokens, proof]))
                yield _Signer(certificates=signature.certificates, moment=moment, needed=False)
            for token in filter(self._holds, tokens):
                yield _Signer(certificates=token.certificates, moment=_time_of(token), needed=False)

    def _collect(self, signer: _Signer, material: _Material) -> None:
        """Put the chain of a signer into ``material``, and answers about each certificate of it."""
        leaf, *others = map(x509.Certificate.load, signer.certificates)
        chain = find_chain(self._trust, leaf, others, signer.moment)
        if chain.problem:
            if signer.needed:
                holder = _holder(signer.certificates[0])
                raise SigningError("sign.chain-untrusted", where=self._name, holder=holder, reason=chain.problem)
            return
        material.certificates.update(dict.fromkeys(chain.certificates))
        for certificate, issuer in zip(chain.certificates, chain.certificates[1:], strict=False):
            self._answer(certificate, issuer, signer, material)

    def _answer(self, certificate: bytes, issuer: bytes, signer: _Signer, material: _Material) -> None:
        """Make sure that the file holds, or will hold, an answer about one certificate.

        That somebody was revoked after the moment is as good as never: the timestamp proves that the signature came
        first.
        """
        found = standing(certificate, issuer, moment=signer.moment, ocsps=self._facts.ocsps, crls=self._facts.crls)
        self._require_not_revoked(certificate, found, signer.moment)
        if found.status is not RevocationStatus.UNKNOWN:
            return
        since = signer.moment if certificate == signer.certificates[0] else None
        answers = self._revocation.answers(certificate, issuer, since=since)
        found = standing(certificate, issuer, moment=signer.moment, ocsps=answers.ocsps, crls=answers.crls)
        self._require_not_revoked(certificate, found, signer.moment)
        material.add(answers)
        for responder in _responders_to_check(answers.ocsps):
            material.add(self._revocation.lists(responder, issuer))
        if found.status is not RevocationStatus.UNKNOWN or not answers.offered:
            return
        # Nobody has to answer about an expired certificate, and an earlier signature is not ours to prove.
        if signer.needed or x509.Certificate.load(certificate).not_valid_after >= self._at:
            holder, wait = _holder(certificate), _SECONDS_TO_NEXT_TRY
            raise Unavailable("sign.revocation-unavailable", where=self._name, holder=holder, retry_after=wait)

    def _require_not_revoked(self, certificate: bytes, found: Standing, moment: datetime) -> None:
        if found.status is not RevocationStatus.REVOKED:
            return
        since = found.revoked_at or moment
        if since <= moment:
            holder = _holder(certificate)
            raise SigningError("sign.certificate-revoked", where=self._name, holder=holder, revoked=vietnam_time(since))

    # --- adding -----------------------------------------------------------------------------------------------------

    def _stamped_inside(self) -> TokenFacts | None:
        """Put a timestamp into the CMS of the last signature; None when it does not fit."""
        with self._copy.open("r+b") as stream:
            place = _place_of(stream, self._last())
            digest = hashlib.new(_DIGEST, place.value).digest()
            token = self._timestamps.token(digest, _DIGEST)
            digits = place.with_timestamp(token).hex().encode()
            if len(digits) > place.room:
                return None
            stream.seek(place.start)
            stream.write(digits.ljust(place.room, b"0"))
        self.changed = True
        return _token_facts(token, digest)

    def _append_timestamp(self) -> TokenFacts:
        size = self._copy.stat().st_size
        for room in (TIMESTAMP_ROOM, _LARGEST_TOKEN):
            if (token := self._appended(size, room)) is not None:
                self.changed = True
                return token
        raise SigningError("sign.tsa-refused", where=self._name, reason="the timestamp is too large")

    def _appended(self, size: int, room: int) -> TokenFacts | None:
        """A document timestamp behind the first ``size`` bytes; None when it takes more than ``room`` bytes."""
        with self._copy.open("r+b") as stream:
            stream.truncate(size)
            prepared = self._bounded(lambda: _write_empty_timestamp(stream, self._name, 2 * room))
            token = self._timestamps.token(prepared.document_digest, _DIGEST)
            if len(token) > room:
                return None
            prepared.fill_with_cms(stream, token)
        return _token_facts(token, prepared.document_digest)

    def _bounded(self, work: Callable[[], _T]) -> _T:
        return within(seconds_for(self._copy.stat().st_size), work)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a signature's CMS stands in the file: position and number of the hexadecimal digits."""

    start: int
    room: int
    content: bytes

    @property
    def value(self) -> bytes:
        """What a timestamp of the signature is taken over (RFC 3161 Appendix A)."""
        return bytes(self._signer_info(cms.ContentInfo.load(self.content))["signature"].native)

    def with_timestamp(self, token: bytes) -> bytes:
        """The CMS with a timestamp beside its signature; nothing that was signed is encoded anew."""
        content = cms.ContentInfo.load(self.content)
        signer_info = self._signer_info(content)
        stamp = cms.CMSAttribute({"type": "signature_time_stamp_token", "values": [cms.ContentInfo.load(token)]})
        signer_info["unsigned_attrs"] = cms.CMSAttributes([*(signer_info["unsigned_attrs"] or ()), stamp])
        return bytes(content.dump())

    @staticmethod
    def _signer_info(content: cms.ContentInfo) -> cms.SignerInfo:
        signer_info: cms.SignerInfo = content["content"]["signer_infos"][0]
        return signer_info


def _place_of(stream: BinaryIO, signature: SignatureFacts) -> _Place:
    begin, end = signature.gap[0] + 1, signature.gap[1] - 1
    stream.seek(begin)
    return _Place(start=begin, room=end - begin, content=bytes.fromhex(stream.read(end - begin).decode("ascii")))


def _writer(stream: BinaryIO, name: str) -> IncrementalPdfFileWriter:
    reader = PdfFileReader(stream, strict=False)
    if reader.encrypted:
        raise ContentError("sign.pdf-encrypted", where=name)
    return IncrementalPdfFileWriter(stream, prev=reader)


def _write_empty_timestamp(stream: BinaryIO, name: str, reserved_digits: int) -> PreparedByteRangeDigest:
    writer = _writer(stream, name)
    steps = PdfCMSEmbedder().write_cms(f"Timestamp-{uuid.uuid4()}", writer)
    next(steps)
    steps.send(SigObjSetup(sig_placeholder=DocumentTimestamp(bytes_reserved=reserved_digits)))
    prepared: PreparedByteRangeDigest
    prepared, _ = steps.send(SigIOSetup(md_algorithm=_DIGEST, in_place=True, chunk_size=_CHUNK))
    steps.close()
    return prepared


def _write_store(stream: BinaryIO, name: str, material: _Material) -> bool:
    """Add what the file's security store does not have yet; False when it has it all."""
    writer = _writer(stream, name)
    store = DocumentSecurityStore.supply_dss_in_writer(
        writer,
        None,
        certs=map(x509.Certificate.load, material.certificates),
        ocsps=map(ocsp.OCSPResponse.load, material.ocsps),
        crls=map(crl.CertificateList.load, material.crls),
    )
    if store.modified:
        writer.write_in_place()
    return bool(store.modified)


def _token_facts(token: bytes, digest: bytes) -> TokenFacts:
    info, signer, others = read_token(cms.ContentInfo.load(token)["content"], digest)
    certificates = tuple(bytes(certificate.dump()) for certificate in (signer, *others))
    return TokenFacts(at=info["gen_time"].native, certificates=certificates)


def _is_seal(signature: SignatureFacts) -> bool:
    """Whether the file ends with a document timestamp over a security store."""
    return signature.document_timestamp and signature.security_store and signature.coverage == "file"


def _responders_to_check(ocsps: Iterable[bytes]) -> Iterator[bytes]:
    """The OCSP responders' certificates that do not say that they need no check (RFC 6960 section 4.2.2.2.1)."""
    for response in map(ocsp.OCSPResponse.load, ocsps):
        for responder in enumerate_ocsp_certs(response):
            if responder.ocsp_no_check_value is None:
                yield bytes(responder.dump())


def _as_token(document_timestamp: SignatureFacts) -> TokenFacts:
    return TokenFacts(
        at=document_timestamp.stated_at,
        reasons=document_timestamp.reasons,
        certificates=document_timestamp.certificates,
    )


def _time_of(token: TokenFacts) -> datetime:
    assert token.at is not None, "a timestamp that states no time does not hold"
    return token.at


def _holder(certificate: bytes) -> str:
    return holder_of(load_der_x509_certificate(certificate))
