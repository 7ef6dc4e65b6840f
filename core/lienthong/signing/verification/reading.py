"""Reading the signatures out of a PDF that somebody else made: its bytes become ``FileFacts``.

What is found here needs no trust and no clock: whether the document's bytes are the signed ones, whether a signature
covers all of its revision, what was added after it, how strong its algorithms are, and which certificates, timestamps
and revocation answers came along.

A last signature tolerates only what serves long-term validation (security store, timestamps, metadata); an earlier
one also tolerates what a later signer may do: fill form fields and sign. Everything else is
``modified-after-signing``.
"""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from asn1crypto import cms, x509
from pyhanko.pdf_utils.crypt import AuthStatus
from pyhanko.pdf_utils.generic import DictionaryObject, parse_pdf_date
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import DEFAULT_DIFF_POLICY, DiffResult, ModificationLevel, StandardDiffPolicy
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.general import extract_signer_info
from pyhanko.sign.validation import EmbeddedPdfSignature, SignatureCoverageLevel
from pyhanko.sign.validation.errors import SignatureValidationError
from pyhanko.sign.validation.generic_cms import (
    extract_certs_for_validation,
    extract_self_reported_ts,
    extract_tst_data_iter,
    get_signing_cert_attr,
    validate_sig_integrity,
)

from lienthong.errors import StoreError
from lienthong.model import VIETNAM
from lienthong.signing.pdf import OutOfTime, is_disk_trouble, looks_like_pdf, seconds_for, signature_fields, within
from lienthong.signing.verification.facts import FileFacts, SignatureFacts, TokenFacts

_MAX_SIGNATURES = 64
_MAX_TOKENS = 8
_MAX_MATERIAL = 6 * 1024 * 1024
"""Bytes of certificates, OCSP answers and lists that are taken from one file; more than any honest file has."""
_WEAK_DIGESTS = frozenset({"md2", "md5", "sha1"})
_MIN_RSA_BITS = 2048
_ZONE_ERROR = timedelta(hours=7)
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
_COVERAGES = {SignatureCoverageLevel.ENTIRE_FILE: "file", SignatureCoverageLevel.ENTIRE_REVISION: "revision"}


def read_facts(path: Path) -> FileFacts:
    """What one file's signatures say; nothing when it is not a PDF or has no signatures.

    A PDF that cannot be read, but speaks of a signature, has a ``problem``; so has one that takes unreasonably long
    (seconds, growing with the file's size).

    :raises StoreError: the file itself cannot be read from disk.
    """
    with _opened(path) as stream:
        return _facts(stream) if looks_like_pdf(stream) else FileFacts()


def facts_as_json(path: str) -> str:
    """``read_facts`` for a confined process."""
    return read_facts(Path(path)).to_json()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except OSError as problem:
        raise StoreError("verify.file-unreadable", where=path.name, reason=problem.strerror) from problem


def _facts(stream: BinaryIO) -> FileFacts:
    try:
        return within(seconds_for(_size(stream)), lambda: _read_all(stream))
    except OutOfTime:
        return FileFacts(problem="check-timeout")
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return FileFacts(problem="pdf-damaged") if _speaks_of_signature(stream) else FileFacts()


def _read_all(stream: BinaryIO) -> FileFacts:
    reader = PdfFileReader(stream, strict=False)
    if reader.encrypted and reader.decrypt("").status is AuthStatus.FAILED:
        return FileFacts(problem="encrypted") if _speaks_of_signature(stream) else FileFacts()
    fields = signature_fields(reader)
    if len(fields) > _MAX_SIGNATURES:
        return FileFacts(problem="too-many-signatures")
    if not fields:
        return FileFacts(problem="signature-removed") if _was_signed(reader) else FileFacts()
    read = [_read(reader, name, field) for name, field in fields]
    readable = sorted((one for one in read if isinstance(one, EmbeddedPdfSignature)), key=_revision)
    last = _revision(readable[-1]) if readable else 0
    described = [_described(signature, _revision(signature) == last) for signature in readable]
    certificates, ocsps, crls = _material(reader, readable)
    return FileFacts(
        signatures=(*described, *(one for one in read if isinstance(one, SignatureFacts))),
        certificates=certificates,
        ocsps=ocsps,
        crls=crls,
    )


def _read(reader: PdfFileReader, name: str, field: DictionaryObject) -> EmbeddedPdfSignature | SignatureFacts:
    try:
        subfilter = field["/V"].get("/SubFilter")
        if subfilter not in _CHECKABLE:
            return SignatureFacts(field_name=name, reasons=("unsupported-format",), format=str(subfilter or "")[1:])
        return EmbeddedPdfSignature(reader, field, name)
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return SignatureFacts(field_name=name, reasons=("malformed-signature",))


def _described(signature: EmbeddedPdfSignature, last: bool) -> SignatureFacts:
    try:
        return _description(signature, last)
    except SignatureValidationError as problem:
        named = "signing certificate" in str(problem).lower()
        reason = "signing-certificate-mismatch" if named else "malformed-signature"
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        reason = "malformed-signature"
    return SignatureFacts(field_name=signature.field_name, reasons=(reason,), revision=_revision(signature))


def _description(signature: EmbeddedPdfSignature, last: bool) -> SignatureFacts:
    signer = signature.signer_cert
    changes = list(_change_reasons(signature, last))
    digests = _digests(signature.signer_info, signature.external_md_algorithm)
    reasons = [*_content_reasons(signature), *changes, *_weaknesses(digests, signer)]
    attributes = signature.signer_info["signed_attrs"]
    return SignatureFacts(
        field_name=signature.field_name,
        reasons=tuple(dict.fromkeys(reasons)),
        document_timestamp=_is_timestamp(signature),
        revision=_revision(signature),
        format=str(signature.sig_object.get("/SubFilter"))[1:],
        certificates=_encoded([signer, *signature.other_embedded_certs]),
        stated_at=_stated_time(signature),
        timestamps=() if _is_timestamp(signature) else tuple(_tokens(signature.signer_info)),
        names_signer=bool(attributes) and get_signing_cert_attr(attributes) is not None,
        security_store="/DSS" in _revision_root(signature),
        coverage=_coverage(signature, changes),
        changes=_extent(signature, changes),
        algorithms=(*sorted(digests), signer.public_key.algorithm, str(signer.public_key.bit_size)),
        gap=(signature.byte_range[1], signature.byte_range[2]),
    )


def _revision(signature: EmbeddedPdfSignature) -> int:
    return int(signature.signed_revision)


def _revision_root(signature: EmbeddedPdfSignature) -> Any:
    return signature.reader.get_historical_root(_revision(signature))


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
    if signature.coverage not in _COVERAGES or not _gap_is_signature(signature):
        yield "partial-coverage"
    elif not _permitted(signature, last) or _has_unknown_tail(signature):
        yield "modified-after-signing"


def _coverage(signature: EmbeddedPdfSignature, reasons: Sequence[str]) -> str:
    if signature.coverage is None or "partial-coverage" in reasons:
        return "partial"
    return _COVERAGES.get(signature.coverage, "partial")


def _extent(signature: EmbeddedPdfSignature, reasons: Sequence[str]) -> str:
    if reasons:
        return "forbidden"
    result = signature.diff_result
    untouched = isinstance(result, DiffResult) and result.modification_level is ModificationLevel.NONE
    return "none" if untouched else "permitted"


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


def _digests(signer_info: cms.SignerInfo, external: str) -> set[str]:
    digests = {signer_info["digest_algorithm"]["algorithm"].native, external}
    with suppress(ValueError):  # plain RSA, whose digest is the one above
        digests.add(signer_info["signature_algorithm"].hash_algo)
    return digests


def _weaknesses(digests: set[str], signer: x509.Certificate) -> Iterator[str]:
    if not digests.isdisjoint(_WEAK_DIGESTS):
        yield "weak-digest"
    key = signer.public_key
    if key.algorithm == "rsa" and key.bit_size < _MIN_RSA_BITS:
        yield "weak-key"


def _tokens(signer_info: cms.SignerInfo) -> Iterator[TokenFacts]:
    """The timestamps over a signature's value that stand in its unsigned attributes."""
    imprinted = signer_info["signature"].native
    for number, signed_data in enumerate(extract_tst_data_iter(signer_info, signed=False)):
        if number == _MAX_TOKENS:
            return
        try:
            yield _token(signed_data, imprinted)
        except Exception as problem:
            if is_disk_trouble(problem):
                raise
            yield TokenFacts(at=None, reasons=("malformed-signature",))


def _token(signed_data: cms.SignedData, imprinted: bytes) -> TokenFacts:
    known = extract_certs_for_validation(signed_data)
    signer_info = extract_signer_info(signed_data)
    content = signed_data["encap_content_info"]["content"]
    info = content.parsed
    imprint = info["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    digest = hashlib.new(signer_info["digest_algorithm"]["algorithm"].native, bytes(content)).digest()
    intact, valid = validate_sig_integrity(signer_info, known.signer_cert, "tst_info", digest)
    reasons = list(_weaknesses(_digests(signer_info, algorithm), known.signer_cert))
    if not intact or hashlib.new(algorithm, imprinted).digest() != imprint["hashed_message"].native:
        reasons.append("digest-mismatch")
    if not valid:
        reasons.append("signature-mismatch")
    return TokenFacts(
        at=info["gen_time"].native,
        reasons=tuple(reasons),
        certificates=_encoded([known.signer_cert, *known.other_certs]),
    )


def _stated_time(signature: EmbeddedPdfSignature) -> datetime | None:
    """When the document was signed, as the signature states it. Without a time zone it is Vietnam's.

    Some Vietnamese signing tools write local time into the CMS as if it were UTC (vendors.md section 10, seen in issued
    files). The signature dictionary beside it says so: its time has a zone and is seven hours earlier.
    """
    try:
        if _is_timestamp(signature):
            token = signature.signed_data["encap_content_info"]["content"].parsed
            return _zoned(token["gen_time"].native)
        inside = _zoned(extract_self_reported_ts(signature.signer_info))
        written = signature.sig_object.get("/M")
        beside = _zoned(parse_pdf_date(written, strict=False)) if written is not None else None
    except Exception as problem:
        if is_disk_trouble(problem):
            raise
        return None
    if inside and beside and abs(inside - beside - _ZONE_ERROR) < timedelta(minutes=10):
        return beside
    return inside or beside


def _zoned(moment: object) -> datetime | None:
    if not isinstance(moment, datetime):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=VIETNAM)).astimezone(VIETNAM)


def _is_timestamp(signature: EmbeddedPdfSignature) -> bool:
    return bool(signature.sig_object_type == "/DocTimeStamp")


def _was_signed(reader: PdfFileReader) -> bool:
    """Whether an earlier revision has a signature. Updates that lead readers past it hide what was signed."""
    return any(signature_fields(reader.get_historical_resolver(n)) for n in range(reader.total_revisions - 1))


Material = tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]


def _material(reader: PdfFileReader, signatures: Iterable[EmbeddedPdfSignature]) -> Material:
    """Certificates, OCSP answers and revocation lists that the file brings: in its security store (ISO 32000-2
    clause 12.8.4.3) and in the signatures (Adobe's attribute, CMS). None of it is believed before it is judged."""
    certificates, ocsps, crls = ([*_stored(reader, name)] for name in ("/Certs", "/OCSPs", "/CRLs"))
    for signature in signatures:
        with suppress(ValueError, KeyError, TypeError):
            for attribute in signature.signer_info["signed_attrs"] or ():
                if attribute["type"].native == "adobe_revocation_info_archival":
                    ocsps += [bytes(one.dump()) for one in attribute["values"][0]["ocsp"] or ()]
                    crls += [bytes(one.dump()) for one in attribute["values"][0]["crl"] or ()]
    return _bounded(certificates), _bounded(ocsps), _bounded(crls)


def _stored(reader: PdfFileReader, name: str) -> Iterator[bytes]:
    try:
        for item in reader.root["/DSS"][name]:
            yield bytes(item.get_object().data)
    except Exception as problem:
        # A store that is missing or broken adds nothing; the signatures are judged without it.
        if is_disk_trouble(problem):
            raise


def _encoded(certificates: Iterable[x509.Certificate]) -> tuple[bytes, ...]:
    return _bounded(bytes(certificate.dump()) for certificate in certificates)


def _bounded(pieces: Iterable[bytes]) -> tuple[bytes, ...]:
    left, kept = _MAX_MATERIAL // 3, []
    for piece in dict.fromkeys(pieces):
        left -= len(piece)
        if left < 0:
            break
        kept.append(piece)
    return tuple(kept)


def _speaks_of_signature(stream: BinaryIO) -> bool:
    """Whether the raw bytes hold a signature's ``/ByteRange``; it never stands inside a compressed object."""
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"/ByteRange") >= 0


def _size(stream: BinaryIO) -> int:
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(0)
    return size
