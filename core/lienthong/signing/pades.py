"""PAdES B-B signatures (ETSI EN 319 142-1), file to file, in constant memory, in steps that may lie days apart.

``prepare`` copies the document, adds the signature field and computes what is to be signed; a signer answers
``request``; ``finish`` puts the signature into its reserved place. ``sign_pdf`` is all three when the signer answers
at once. Between the steps only a ``Prepared`` and the target file must be kept.

The document's bytes are copied and added to, never written anew, so signatures that it has stay valid (Decision
28/2018 Art. 6.1). One signature is one CMS: its size is known from the certificates, so no trial signature is made to
measure it, and everything in it that depends on the certificates alone is encoded once per credential.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pyhanko.pdf_utils.generic import DictionaryObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigAppearanceSetup, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import PreparedByteRangeDigest, SignatureObject
from pyhanko.sign.validation.pdf_embedded import read_certification_data

from lienthong.errors import ContentError, SigningError
from lienthong.hookspecs import Credential, Pending, Signature, SignRequest
from lienthong.model import VIETNAM
from lienthong.signing.cms import DIGEST, frame_of
from lienthong.signing.keys.answers import signature_value
from lienthong.signing.keys.credentials import signer_certificate
from lienthong.signing.pdf import document_errors, reader_of, seconds_for, within
from lienthong.signing.stamp.appearance import Stamp

_HASH_CHUNK = 256 * 1024

Sign = Callable[[SignRequest], Signature | Pending]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A document that waits for its signature; with the target file, everything that is needed to finish later.

    ``signed_attributes`` (DER) is what the signer's digest is taken over; ``reserved_start`` and ``reserved_end`` are
    the file positions of the hexadecimal string, angle brackets included, that will hold the CMS.
    """

    field_name: str
    digest_algorithm: str
    document_digest: bytes
    signed_attributes: bytes
    reserved_start: int
    reserved_end: int
    certificate_sha256: bytes

    def to_json(self) -> str:
        values = asdict(self)
        return json.dumps({name: v.hex() if isinstance(v, bytes) else v for name, v in values.items()})

    @staticmethod
    def from_json(text: str) -> Prepared:
        """:raises SigningError: ``text`` is not what ``to_json`` wrote."""
        try:
            values = json.loads(text)
            if values["digest_algorithm"] != DIGEST:
                raise ValueError(values["digest_algorithm"])
            return Prepared(
                field_name=str(values["field_name"]),
                digest_algorithm=DIGEST,
                document_digest=bytes.fromhex(values["document_digest"]),
                signed_attributes=bytes.fromhex(values["signed_attributes"]),
                reserved_start=int(values["reserved_start"]),
                reserved_end=int(values["reserved_end"]),
                certificate_sha256=bytes.fromhex(values["certificate_sha256"]),
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise SigningError("sign.prepared-unreadable", reason=repr(problem)) from problem


@dataclass(frozen=True, kw_only=True)
class Parked:
    """A signature that its signer has not given yet. Keep it, and ask again with ``resume``."""

    prepared: Prepared
    pending: Pending


def sign_pdf(
    source: Path,
    target: Path,
    *,
    credential: Credential,
    sign: Sign,
    at: datetime,
    field_name: str = "LienthongAgency",
    reason: str = "",
    location: str = "",
    summary: str = "",
    stamp: Stamp | None = None,
    room: int = 0,
) -> Parked | None:
    """Sign ``source`` into ``target``; None when that is done, ``Parked`` when the signer needs time.

    Takes what ``prepare`` takes and raises what ``prepare`` and ``finish`` raise, and whatever ``sign`` raises; then
    there is no ``target``.
    ``summary`` is the line that a person who must confirm gets to see; without one it is the file's name.
    """
    prepared = prepare(
        source,
        target,
        credential=credential,
        at=at,
        field_name=field_name,
        reason=reason,
        location=location,
        stamp=stamp,
        room=room,
    )
    try:
        return _ask(target, prepared, None, credential=credential, sign=sign, summary=summary or source.name)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def resume(target: Path, parked: Parked, *, credential: Credential, sign: Sign, summary: str) -> Parked | None:
    """Ask the signer of a parked document again; None when ``target`` is signed now.

    :raises SigningError: as ``finish``.
    """
    _require_unchanged(target, parked.prepared)
    return _ask(target, parked.prepared, parked.pending.token, credential=credential, sign=sign, summary=summary)


def prepare(
    source: Path,
    target: Path,
    *,
    credential: Credential,
    at: datetime,
    field_name: str,
    reason: str = "",
    location: str = "",
    stamp: Stamp | None = None,
    room: int = 0,
) -> Prepared:
    """Copy ``source`` to ``target`` with an empty place for the signature, and say what is to be signed.

    An empty signature field of that name is used; if the name is taken otherwise, the next free one is (``Name2``,
    ...). ``at`` is the signing time that the signature states. ``stamp`` is what the signature shows, in the same
    revision; without one it is invisible. ``room`` is the number of bytes kept free beside the signature, for a
    timestamp to be added later. The file is not flushed to disk: that is the caller's to do.

    :raises ContentError: ``source`` is not a PDF, is encrypted, damaged, or closed to further signatures.
    :raises SigningError: the certificate cannot sign at ``at``, or a file cannot be read or written.
    """
    signer = signer_certificate(credential)
    signer.require_valid(at)
    frame = frame_of(credential)
    placeholder = SignatureObject(
        timestamp=at.astimezone(VIETNAM),
        subfilter=SigSeedSubFilter.PADES,
        reason=reason or None,
        location=location or None,
        bytes_reserved=frame.reserved_hex_digits + 2 * room,
    )
    with document_errors(source):
        shutil.copyfile(source, target)
        try:
            with target.open("r+b") as stream:
                name, place = within(
                    seconds_for(source.stat().st_size),
                    lambda: _write_placeholder(_writer(stream, source.name), field_name, placeholder, stamp, at),
                )
        except BaseException:
            target.unlink(missing_ok=True)
            raise
    return Prepared(
        field_name=name,
        digest_algorithm=DIGEST,
        document_digest=place.document_digest,
        signed_attributes=frame.signed_attributes(place.document_digest),
        reserved_start=place.reserved_region_start,
        reserved_end=place.reserved_region_end,
        certificate_sha256=hashlib.sha256(signer.der).digest(),
    )


def request(prepared: Prepared, credential: Credential, summary: str, token: str | None = None) -> SignRequest:
    """What to ask of the signer. ``token`` is that of an earlier ``Pending`` answer for the same document."""
    return SignRequest(
        digest=hashlib.new(prepared.digest_algorithm, prepared.signed_attributes).digest(),
        algorithm=prepared.digest_algorithm,
        mechanism=signer_certificate(credential).mechanism,
        summary=summary,
        token=token,
    )


def finish(target: Path, prepared: Prepared, credential: Credential, answer: bytes) -> None:
    """Put the signature that a signer answered (plain, or in a CMS) into the prepared file. May be done again with the
    same arguments.

    :raises SigningError: the signature is not one by this certificate over this document, the certificate is not the
        one that the document was prepared for, or the file is not as ``prepare`` left it.
    """
    _require_unchanged(target, prepared)
    _embed(target, prepared, credential, answer)


def _ask(
    target: Path, prepared: Prepared, token: str | None, *, credential: Credential, sign: Sign, summary: str
) -> Parked | None:
    answer = sign(request(prepared, credential, summary, token))
    if isinstance(answer, Pending):
        return Parked(prepared=prepared, pending=answer)
    _embed(target, prepared, credential, answer.value)
    return None


def _embed(target: Path, prepared: Prepared, credential: Credential, answer: bytes) -> None:
    signer = signer_certificate(credential)
    if hashlib.sha256(signer.der).digest() != prepared.certificate_sha256:
        raise SigningError("sign.certificate-changed", where=target.name, holder=signer.holder)
    value = signature_value(answer, request(prepared, credential, ""), signer)
    room = prepared.reserved_end - prepared.reserved_start - 2
    digits = frame_of(credential).content(prepared.signed_attributes, value).hex().encode().ljust(room, b"0")
    if len(digits) != room:
        raise SigningError("sign.prepared-changed", where=target.name)
    with document_errors(target), target.open("r+b") as stream:
        stream.seek(prepared.reserved_start)
        stream.write(b"<" + digits + b">")


def _require_unchanged(target: Path, prepared: Prepared) -> None:
    """A parked file lay on a disk for days: signing what it has become would make a signature that does not verify."""
    digest = hashlib.new(prepared.digest_algorithm)
    with document_errors(target), target.open("rb") as stream:
        _update(digest.update, stream, prepared.reserved_start)
        stream.seek(prepared.reserved_end)
        _update(digest.update, stream, None)
    if digest.digest() != prepared.document_digest:
        raise SigningError("sign.prepared-changed", where=target.name)


def _update(update: Callable[[bytes], None], stream: BinaryIO, length: int | None) -> None:
    left = length
    while chunk := stream.read(_HASH_CHUNK if left is None else min(left, _HASH_CHUNK)):
        update(chunk)
        left = None if left is None else left - len(chunk)


class _Update(IncrementalPdfFileWriter):
    """An update that leaves what the document says of itself alone: pyHanko would write its own name and the time into
    the document information, and XMP metadata anew."""

    def _update_meta(self) -> None:
        pass


def _writer(stream: BinaryIO, name: str) -> IncrementalPdfFileWriter:
    reader = reader_of(stream, name)
    certification = read_certification_data(reader)
    if certification is not None and certification.permission is MDPPerm.NO_CHANGES:
        raise ContentError("sign.pdf-closed", where=name)
    return _Update(stream, prev=reader)


def _free_name(reader: PdfFileReader, wanted: str) -> str:
    """``wanted`` if no field has that name or an empty signature field has it, else with the first free number."""
    taken = {str(field.get("/T", "")) for field in _form_fields(reader) if not _is_empty_signature(field)}
    number = 2
    name = wanted
    while name in taken:
        name, number = f"{wanted}{number}", number + 1
    return name


def _form_fields(reader: PdfFileReader) -> list[DictionaryObject]:
    try:
        fields = reader.root["/AcroForm"]["/Fields"]
    except KeyError:
        return []
    return [field.get_object() for field in fields]


def _is_empty_signature(field: DictionaryObject) -> bool:
    return field.get("/FT") == "/Sig" and "/V" not in field


def _write_placeholder(
    writer: IncrementalPdfFileWriter,
    wanted_name: str,
    placeholder: SignatureObject,
    stamp: Stamp | None,
    at: datetime,
) -> tuple[str, PreparedByteRangeDigest]:
    name = _free_name(writer.prev, stamp.field_name or wanted_name if stamp else wanted_name)
    look = None if stamp is None else SigAppearanceSetup(style=stamp.style, timestamp=at, name=None)
    page, box = (0, None) if stamp is None else (stamp.page, stamp.box)
    steps = PdfCMSEmbedder(SigFieldSpec(sig_field_name=name, on_page=page, box=box)).write_cms(name, writer)
    next(steps)
    steps.send(SigObjSetup(sig_placeholder=placeholder, appearance_setup=look))
    place: PreparedByteRangeDigest
    place, _ = steps.send(SigIOSetup(md_algorithm=DIGEST, in_place=True, chunk_size=_HASH_CHUNK))
    steps.close()
    return name, place
