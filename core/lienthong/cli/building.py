"""``edxml build``: metadata and files become a packet, written whole or not at all and judged at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import PKCS12KeyAndCertificates, load_pkcs12

from lienthong.cli import packet_pages as pages
from lienthong.cli.files import claimed, reading, working_folder
from lienthong.cli.files import replace as put_over
from lienthong.cli.packet_metadata import Metadata, read_metadata
from lienthong.cli.packets import look_at
from lienthong.cli.printing import print_json
from lienthong.config import resolve_secret
from lienthong.edxml.attachments import CHUNK, storage_errors
from lienthong.edxml.codes import detect_media_type
from lienthong.edxml.profile import WriteProfile, load_profile
from lienthong.edxml.signature.sealing import Algorithm, EnvelopeSigner, seal_envelope
from lienthong.edxml.writer import write_packet
from lienthong.errors import ContentError, SigningError
from lienthong.hookspecs import Credential
from lienthong.model import Message, Part, PartRole, StatusReport
from lienthong.signing.keys.credentials import signer_certificate

_HEAD = 4096


@dataclass(frozen=True, kw_only=True)
class Order:
    """What ``build`` was given."""

    metadata: Path
    files: tuple[Path, ...]
    output: Path
    profile: str
    sender_name: str = ""
    force: bool = False
    key_file: Path | None = None
    password: str = ""
    work: Path | None = None


def build_packet(order: Order, *, json_out: bool, lang: str) -> int:
    """Write the packet, read it again, and judge it; 1 when it breaks its own profile."""
    profile = load_profile(order.profile)
    if order.output.exists() and not order.force:
        raise _taken(order.output)
    _write(order, profile.write)
    with working_folder(order.work) as folder:
        looked = look_at(order.output, folder, profile)
    view = {"file": str(order.output), "size": order.output.stat().st_size} | looked.view(pages.language(lang))
    if json_out:
        print_json({name: view[name] for name in ("file", "size", "usable", "problems")})
    else:
        pages.show_built(view, profile.name, pages.language(lang))
    return 1 if looked.errors else 0


def _write(order: Order, profile: WriteProfile) -> None:
    metadata = read_metadata(order.metadata, datetime.now(UTC))
    signer = envelope_signer(order.key_file, order.password) if order.key_file is not None else None
    seal = partial(seal_envelope, signer=signer) if signer is not None else None
    files = _files_in_order(order, metadata)
    with storage_errors(str(order.metadata)):
        parts = tuple(_part(number, file, metadata) for number, file in enumerate(files))
    message = _message(order, metadata, parts)
    opened = partial(_opened, dict(zip(parts, files, strict=True)))
    # Beside the packet, so that the finished file is renamed and never copied.
    with working_folder(order.output.parent) as folder:
        temporary = folder / "packet"
        with storage_errors(str(order.output)), temporary.open("wb") as sink:
            write_packet(message, opened, sink, profile, seal)
        if order.force:
            put_over(temporary, order.output)
        elif not claimed(temporary, order.output):
            raise _taken(order.output)


def _taken(output: Path) -> ContentError:
    return ContentError("cli.file-exists", where=str(output), file=output)


# --- the files --------------------------------------------------------------------------------------------------------


def _files_in_order(order: Order, metadata: Metadata) -> Sequence[Path]:
    """The main file first: as META names them, else as the command line does."""
    if isinstance(metadata.message, StatusReport):
        if order.files:
            raise ContentError("cli.files-on-status", where=str(order.metadata))
        return ()
    if not metadata.file_names:
        return order.files
    given = {file.name: file for file in order.files}
    if given and (sorted(given) != sorted(metadata.file_names) or len(given) < len(order.files)):
        named = ", ".join(metadata.file_names)
        raise ContentError("cli.files-differ", where=str(order.metadata), named=named, given=", ".join(given))
    files = [given.get(name, order.metadata.parent / name) for name in metadata.file_names]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise ContentError("cli.files-missing", where=str(order.metadata), names=", ".join(missing))
    return files


def _part(number: int, file: Path, metadata: Metadata) -> Part:
    size, digest, head = 0, hashlib.sha256(), b""
    with reading(file) as source:
        while chunk := source.read(CHUNK):
            head = head or chunk[:_HEAD]
            size += len(chunk)
            digest.update(chunk)
    return Part(
        role=PartRole.ATTACHMENT if number else PartRole.MAIN,
        name=file.name,
        media_type=detect_media_type(head, file.name),
        size=size,
        sha256=digest.hexdigest(),
        description=metadata.descriptions.get(file.name, ""),
    )


def _opened(files: dict[Part, Path], part: Part) -> BinaryIO:
    source: AbstractContextManager[BinaryIO] = reading(files[part])
    # What shows progress is entered before it can be read; the writer enters whatever it is given.
    return cast(BinaryIO, source)


def _message(order: Order, metadata: Metadata, parts: tuple[Part, ...]) -> Message:
    message = metadata.message
    if order.sender_name:
        message = replace(message, sender=replace(message.sender, name=order.sender_name))
    return message if isinstance(message, StatusReport) else replace(message, parts=parts)


# --- the key of the envelope's signature ------------------------------------------------------------------------------


def envelope_signer(file: Path, password: str) -> EnvelopeSigner:
    """The signer of a PKCS#12 file. ``password`` is a reference (``env:NAME``), empty for a file without one.

    :raises ConfigError: the reference leads nowhere, or is the password itself
    :raises SigningError: the file cannot be opened, or its key or certificate cannot sign now
    """
    secret = resolve_secret(password, Path("lienthong"), "--password").get_secret_value() if password else ""
    bundle = _bundle(file, secret)
    if bundle.cert is None:
        raise SigningError("sign.no-certificate", where=str(file))
    chain = [entry.certificate for entry in (bundle.cert, *bundle.additional_certs)]
    certificates = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain)
    signer_certificate(Credential(certificates=certificates)).require_valid(datetime.now(UTC))
    algorithm, sign = _way_to_sign(bundle.key, file)
    return EnvelopeSigner(certificates=certificates, algorithm=algorithm, sign=sign)


def _way_to_sign(key: object, file: Path) -> tuple[Algorithm, Callable[[bytes], bytes]]:
    match key:
        case rsa.RSAPrivateKey():
            return "rsa-sha256", partial(key.sign, padding=padding.PKCS1v15(), algorithm=hashes.SHA256())
        case ec.EllipticCurvePrivateKey() if key.curve.key_size > 256:
            return "ecdsa-sha384", partial(key.sign, signature_algorithm=ec.ECDSA(hashes.SHA384()))
        case ec.EllipticCurvePrivateKey():
            return "ecdsa-sha256", partial(key.sign, signature_algorithm=ec.ECDSA(hashes.SHA256()))
        case _:
            raise SigningError("sign.no-private-key", where=str(file))


def _bundle(file: Path, password: str) -> PKCS12KeyAndCertificates:
    where = f"{file}: --sign-with"
    try:
        return load_pkcs12(file.read_bytes(), password.encode() or None)
    except OSError as problem:
        raise SigningError("sign.p12-missing", where=where, file=file, reason=problem.strerror) from problem
    except UnsupportedAlgorithm as problem:
        raise SigningError("sign.p12-unsupported", where=where, reason=problem) from problem
    except ValueError as problem:
        # The library has one exception for both and keeps only the words apart.
        code = "sign.wrong-password" if "password" in str(problem).lower() else "sign.p12-unreadable"
        raise SigningError(code, where=where, reason=problem) from problem
