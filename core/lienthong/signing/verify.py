"""Checking the signatures of a PDF that somebody else made (Decree 30/2020 Art. 21.2a).

What is checked, for every signature: that the document's bytes are the signed ones, that the signature covers all of
its revision, that nothing but permitted updates followed it, and that its certificate leads to a configured root and
was valid when the document was signed. What is not checked in this version: revocation (CRL, OCSP), and signature
timestamps.

The time of signing is the signer's own statement (the signature dictionary's ``/M``, or the CMS attribute). Its
weakness: who keeps the key of an expired certificate can state an earlier time. A statement that lies after the check
is refused.

A last signature tolerates only what serves long-term validation (security store, timestamps, metadata); an earlier
one also tolerates what a later signer may do: fill form fields and sign. Everything else is
``modified-after-signing``.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from asn1crypto import x509
from pyhanko.pdf_utils.crypt import AuthStatus
from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY, DiffResult, ModificationLevel, StandardDiffPolicy
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.validation import EmbeddedPdfSignature, SignatureCoverageLevel
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from lienthong.errors import Language, StoreError, catalogue
from lienthong.model import VIETNAM, FileVerification, SignatureFinding, Verdict
from lienthong.signing.pdf import OutOfTime, is_disk_trouble, looks_like_pdf, seconds_for, signature_fields, within
from lienthong.signing.trust import TrustStore, chain_problem

REASONS: dict[str, Verdict] = {
    "check-timeout": Verdict.INVALID,
    "digest-mismatch": Verdict.INVALID,
    "encrypted": Verdict.INVALID,
    "malformed-signature": Verdict.INVALID,
    "modified-after-signing": Verdict.INVALID,
    "partial-coverage": Verdict.INVALID,
    "pdf-damaged": Verdict.INVALID,
    "signature-mismatch": Verdict.INVALID,
    "signature-removed": Verdict.INVALID,
    "too-many-signatures": Verdict.INVALID,
    "certificate-expired": Verdict.UNTRUSTED,
    "certificate-not-for-signing": Verdict.UNTRUSTED,
    "certificate-not-yet-valid": Verdict.UNTRUSTED,
    "chain-broken": Verdict.UNTRUSTED,
    "signed-in-the-future": Verdict.UNTRUSTED,
    "unknown-issuer": Verdict.UNTRUSTED,
    "unsupported-format": Verdict.UNTRUSTED,
    "weak-digest": Verdict.UNTRUSTED,
    "weak-key": Verdict.UNTRUSTED,
}
"""Every reason that a finding may have, and the verdict that it alone leads to."""
_SEVERITY = (Verdict.VALID, Verdict.UNTRUSTED, Verdict.INVALID)
_MAX_SIGNATURES = 64
_CLOCK_TOLERANCE = timedelta(minutes=10)
_WEAK_DIGESTS = frozenset({"md2", "md5", "sha1"})
_MIN_RSA_BITS = 2048
_SIGNING_USAGES = frozenset({"digital_signature", "non_repudiation"})
_OTHER_PURPOSES = frozenset({"time_stamping", "ocsp_signing", "server_auth", "code_signing"})
_CHECKABLE = frozenset(
    {
        SigSeedSubFilter.PADES.value,
        SigSeedSubFilter.ADOBE_PKCS7_DETACHED.value,
        SigSeedSubFilter.ETSI_RFC3161.value,
    }
)
_LAST_SIGNATURE_POLICY = StandardDiffPolicy(
    global_rules=DEFAULT_DIFF_POLICY.global_rules,
    form_rule=DEFAULT_DIFF_POLICY.form_rule,
    ignore_orphaned_objects=False,
)


def verify_pdf(path: Path, part_name: str, trust: TrustStore, *, at: datetime) -> FileVerification:
    """Check all signatures of one part at the time ``at``. ``part_name`` is the part's name in the document.

    Findings stand in the order of signing, document timestamps among them; a file with nothing but timestamps is
    ``unsigned``, and so is one that is not a PDF. A PDF that cannot be read, but speaks of a signature, is
    ``invalid``; so is one whose check takes unreasonably long (seconds, growing with the file's size).

    :raises StoreError: the file itself cannot be read from disk.
    """
    with _opened(path) as stream:
        findings = _checked(stream, trust, at) if looks_like_pdf(stream) else []
    verdict = _worst(finding.verdict for finding in findings) if findings else Verdict.UNSIGNED
    return FileVerification(part=part_name, verdict=verdict, signatures=tuple(findings))


def explain(reason: str, language: Language) -> str:
    """A reason code of ``SignatureFinding`` as a sentence, with what to do; an unknown code explains itself."""
    entry = catalogue().get(f"verify.{reason}")
    if entry is None:
        return reason
    return f"{entry[language]} → {entry[f'next_{language}']}"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as problem:
        raise StoreError("verify.file-unreadable", where=path.name, reason=problem.strerror) from problem


def _checked(stream: BinaryIO, trust: TrustStore, at: datetime) -> list[SignatureFinding]:
    try:
        return within(seconds_for(_size(stream)), lambda: _findings(stream, trust, at))
    except OutOfTime:
        return [_whole_file("check-timeout")]
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return [_whole_file("pdf-damaged")] if _speaks_of_signature(stream) else []


def _findings(stream: BinaryIO, trust: TrustStore, at: datetime) -> list[SignatureFinding]:
    reader = PdfFileReader(stream, strict=False)
    if reader.encrypted and reader.decrypt("").status is AuthStatus.FAILED:
        return [_whole_file("encrypted")] if _speaks_of_signature(stream) else []
    fields = signature_fields(reader)
    if len(fields) > _MAX_SIGNATURES:
        return [_whole_file("too-many-signatures")]
    if not fields:
        return [_whole_file("signature-removed")] if _was_signed(reader) else []
    signatures = [_read(reader, name, field) for name, field in fields]
    readable = sorted((s for s in signatures if isinstance(s, EmbeddedPdfSignature)), key=_revision)
    last = _revision(readable[-1]) if readable else 0
    judged = [_judged(signature, _revision(signature) == last, trust, at) for signature in readable]
    if len(readable) == len(signatures) and all(map(_is_timestamp, readable)):
        # A timestamp proves when a document existed, but nobody has put a name to it.
        return [finding for finding in judged if finding.verdict is Verdict.INVALID]
    return judged + [s for s in signatures if isinstance(s, SignatureFinding)]


def _read(reader: PdfFileReader, name: str, field: DictionaryObject) -> EmbeddedPdfSignature | SignatureFinding:
    try:
        subfilter = field["/V"].get("/SubFilter")
        if subfilter not in _CHECKABLE:
            return _finding(name, "", ["unsupported-format"])
        return EmbeddedPdfSignature(reader, field, name)
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return _finding(name, "", ["malformed-signature"])


def _revision(signature: EmbeddedPdfSignature) -> int:
    return int(signature.signed_revision)


def _judged(signature: EmbeddedPdfSignature, last: bool, trust: TrustStore, at: datetime) -> SignatureFinding:
    try:
        certificate = signature.signer_cert
        signed_at = _signing_time(signature)
        reasons = [
            *_content_reasons(signature),
            *_change_reasons(signature, last),
            *_algorithm_reasons(signature),
            *_trust_reasons(signature, trust, signed_at, at),
        ]
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return _finding(signature.field_name, "", ["malformed-signature"])
    return _finding(
        signature.field_name,
        _holder(certificate),
        reasons,
        signed_at=signed_at,
        certificate_serial=f"{certificate.serial_number:x}",
    )


def _content_reasons(signature: EmbeddedPdfSignature) -> Iterator[str]:
    """Whether the signed digest is the document's, and the signature the certificate's."""
    digest, content_type = signature.compute_digest(), "data"
    if _is_timestamp(signature):
        content_type = "tst_info"
        content = signature.signed_data["encap_content_info"]["content"]
        imprint = content.parsed["message_imprint"]["hashed_message"].native
        if digest != imprint:
            yield "digest-mismatch"
        digest = hashlib.new(signature.md_algorithm, bytes(content)).digest()
    intact, valid = validate_sig_integrity(signature.signer_info, signature.signer_cert, content_type, digest)
    if not intact:
        yield "digest-mismatch"
    if not valid:
        yield "signature-mismatch"


def _change_reasons(signature: EmbeddedPdfSignature, last: bool) -> Iterator[str]:
    """Whether the signature covers its whole revision, and what came after that."""
    signature.compute_integrity_info(_LAST_SIGNATURE_POLICY if last else DEFAULT_DIFF_POLICY)
    covered = signature.coverage in (SignatureCoverageLevel.ENTIRE_FILE, SignatureCoverageLevel.ENTIRE_REVISION)
    if not covered or not _gap_is_signature(signature):
        yield "partial-coverage"
    elif not _permitted(signature, last) or _has_unknown_tail(signature):
        yield "modified-after-signing"


def _permitted(signature: EmbeddedPdfSignature, last: bool) -> bool:
    result = signature.diff_result
    if not isinstance(result, DiffResult) or not signature.summarise_integrity_info()["docmdp_ok"]:
        return False
    tolerated = ModificationLevel.LTA_UPDATES if last else ModificationLevel.FORM_FILLING
    return bool(result.modification_level <= tolerated)


def _gap_is_signature(signature: EmbeddedPdfSignature) -> bool:
    """The bytes that the digest leaves out must be the signature itself, or they could be anything at all."""
    _, length, resume, _ = signature.byte_range
    if resume - length != 2 * len(signature.pkcs7_content) + 2:
        return False
    stream = signature.reader.stream
    stream.seek(length)
    gap = stream.read(resume - length)
    return bool(
        gap[:1] == b"<" and gap[-1:] == b">" and bytes.fromhex(gap[1:-1].decode("ascii")) == signature.pkcs7_content
    )


def _has_unknown_tail(signature: EmbeddedPdfSignature) -> bool:
    """Whether bytes follow the signed ones that belong to no revision.

    A reader that repairs files by looking for objects everywhere would show what stands there.
    """
    if _revision(signature) + 1 < signature.reader.total_revisions:
        return False
    stream = signature.reader.stream
    stream.seek(signature.byte_range[2] + signature.byte_range[3])
    while chunk := stream.read(65536):
        if chunk.strip(b"\0\t\n\f\r "):
            return True
    return False


def _algorithm_reasons(signature: EmbeddedPdfSignature) -> Iterator[str]:
    digests = {signature.md_algorithm, signature.external_md_algorithm}
    with suppress(ValueError):  # plain RSA, whose digest is the one above
        digests.add(signature.signer_info["signature_algorithm"].hash_algo)
    if not digests.isdisjoint(_WEAK_DIGESTS):
        yield "weak-digest"
    key = signature.signer_cert.public_key
    if key.algorithm == "rsa" and key.bit_size < _MIN_RSA_BITS:
        yield "weak-key"


def _trust_reasons(
    signature: EmbeddedPdfSignature, trust: TrustStore, signed_at: datetime | None, at: datetime
) -> Iterator[str]:
    moment = signed_at or at
    if moment > at + _CLOCK_TOLERANCE:
        yield "signed-in-the-future"
    certificate = signature.signer_cert
    if problem := chain_problem(trust, certificate, signature.other_embedded_certs, moment):
        yield problem
    if not _may_sign(certificate, _is_timestamp(signature)):
        yield "certificate-not-for-signing"


def _may_sign(certificate: x509.Certificate, timestamp: bool) -> bool:
    purposes = certificate.extended_key_usage_value
    if timestamp:
        return purposes is not None and "time_stamping" in purposes.native
    usage = certificate.key_usage_value
    if purposes is not None and _OTHER_PURPOSES.issuperset(purposes.native):
        return False
    return usage is None or not _SIGNING_USAGES.isdisjoint(usage.native)


def _signing_time(signature: EmbeddedPdfSignature) -> datetime | None:
    """When the document was signed, as the signature states it. Without a time zone it is Vietnam's."""
    try:
        if _is_timestamp(signature):
            token = signature.signed_data["encap_content_info"]["content"].parsed
            stated = token["gen_time"].native
        else:
            stated = signature.self_reported_timestamp
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return None
    if not isinstance(stated, datetime):
        return None
    return (stated if stated.tzinfo else stated.replace(tzinfo=VIETNAM)).astimezone(VIETNAM)


def _is_timestamp(signature: EmbeddedPdfSignature) -> bool:
    return bool(signature.sig_object_type == "/DocTimeStamp")


def _was_signed(reader: PdfFileReader) -> bool:
    """Whether an earlier revision has a signature. Updates that lead readers past it hide what was signed."""
    return any(signature_fields(reader.get_historical_resolver(n)) for n in range(reader.total_revisions - 1))


def _holder(certificate: x509.Certificate) -> str:
    names = certificate.subject.native
    return str(names.get("common_name") or names.get("organization_name") or certificate.subject.human_friendly)


def _finding(
    field_name: str,
    signer: str,
    reasons: list[str],
    *,
    signed_at: datetime | None = None,
    certificate_serial: str = "",
) -> SignatureFinding:
    return SignatureFinding(
        field_name=field_name,
        signer=signer,
        verdict=_worst(REASONS[reason] for reason in reasons),
        reasons=tuple(dict.fromkeys(reasons)),
        signed_at=signed_at,
        certificate_serial=certificate_serial,
    )


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=_SEVERITY.index, default=Verdict.VALID)


def _whole_file(reason: str) -> SignatureFinding:
    """A finding about the file, which has no readable signature to pin it to."""
    return _finding("", "", [reason])


def _speaks_of_signature(stream: BinaryIO) -> bool:
    """Whether the raw bytes hold a signature's ``/ByteRange``; it never stands inside a compressed object."""
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"/ByteRange") >= 0


def _size(stream: BinaryIO) -> int:
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    return size
