"""What the signing tests do again and again: open a signer, sign a file, check it, change it, and build odd PDFs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import BinaryIO

import pytest
from pyhanko.pdf_utils.generic import ArrayObject, DictionaryObject, TextStringObject, pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.signers.cms_embedder import PdfCMSEmbedder, SigIOSetup, SigObjSetup
from pyhanko.sign.signers.pdf_byterange import SignatureObject

from lienthong.errors import LienthongError, catalogue
from lienthong.hookspecs import Connection, Credential, Signature, SignRequest
from lienthong.model import VIETNAM, FileVerification
from lienthong.signing import pades
from lienthong.signing.keys import pkcs12
from lienthong_conformance.pki import KeyFile

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=VIETNAM)


def open_signer(key: KeyFile, now: datetime = NOW) -> Connection:
    config = pkcs12.Pkcs12Config(file=key.path, password=key.password)
    return Connection(name="signer", agencies=(), config=config, http=None, folder=key.path.parent, now=lambda: now)


@cache
def _kept_open(key: KeyFile, now: datetime) -> Connection:
    return open_signer(key, now)


def credential_of(key: KeyFile, now: datetime = NOW) -> Credential:
    return pkcs12.credential(_kept_open(key, now))


def asker(key: KeyFile, now: datetime = NOW) -> Callable[[SignRequest], Signature]:
    """The ``sign`` hook of a signer, as ``sign_pdf`` wants it."""
    connection = _kept_open(key, now)
    return lambda request: pkcs12.sign(connection, request)


def sign(source: Path, target: Path, key: KeyFile, at: datetime = NOW, **options: str) -> Path:
    credential = credential_of(key, at)
    assert pades.sign_pdf(source, target, credential=credential, sign=asker(key, at), at=at, **options) is None
    return target


def sign_with_pyhanko(source: Path, target: Path, key: KeyFile, *, digest: str = "sha256") -> Path:
    """A signature that this product refuses to make: weak, or by a certificate that is not valid."""
    with source.open("rb") as stream, target.open("w+b") as output:
        embed_with_pyhanko(IncrementalPdfFileWriter(stream), output, key, digest)
    return target


def embed_with_pyhanko(writer: IncrementalPdfFileWriter, output: BinaryIO, key: KeyFile, digest: str) -> None:
    signer = signers.SimpleSigner.load_pkcs12(str(key.path), passphrase=key.password.encode())
    steps = PdfCMSEmbedder().write_cms("Signature1", writer)
    next(steps)
    placeholder = SignatureObject(timestamp=NOW, subfilter=SigSeedSubFilter.ADOBE_PKCS7_DETACHED, bytes_reserved=16384)
    steps.send(SigObjSetup(sig_placeholder=placeholder))
    place, _ = steps.send(SigIOSetup(md_algorithm=digest, output=output))
    steps.send(asyncio.run(signer.async_sign(place.document_digest, digest)))


@contextmanager
def updating(source: Path, target: Path) -> Iterator[IncrementalPdfFileWriter]:
    """An incremental update of ``source``, written to ``target`` at the end."""
    with source.open("rb") as stream, target.open("w+b") as output:
        writer = IncrementalPdfFileWriter(stream)
        yield writer
        writer.write(output)


def add_text_field(writer: IncrementalPdfFileWriter, name: str, value: str) -> None:
    field = DictionaryObject({pdf_name("/FT"): pdf_name("/Tx"), pdf_name("/T"): TextStringObject(name)})
    field[pdf_name("/V")] = TextStringObject(value)
    fields = ArrayObject([writer.add_object(field)])
    writer.root[pdf_name("/AcroForm")] = DictionaryObject({pdf_name("/Fields"): fields})
    writer.update_root()


def pdf_of(objects: list[bytes], *, root: int = 1) -> bytes:
    """A PDF with a classic table, from the bodies of its objects (number 1 first)."""
    content = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    content += b"".join(b"%010d 00000 n \n" % place for place in places)
    content += b"trailer\n<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, root, start)
    return bytes(content)


def reasons(verification: FileVerification) -> set[str]:
    return {reason for finding in verification.signatures for reason in finding.reasons}


def altered(source: Path, target: Path, old: bytes, new: bytes) -> Path:
    content = source.read_bytes()
    assert old in content
    assert len(old) == len(new), "offsets must stay"
    target.write_bytes(content.replace(old, new, 1))
    return target


def write_at(path: Path, offset: int, value: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:offset] + value + content[offset + len(value) :])


def code_of(error: type[LienthongError], action: Callable[[], object]) -> str:
    """The code of the error that ``action`` must raise, whose text must be whole."""
    with pytest.raises(error) as caught:
        action()
    assert set(catalogue()[caught.value.code]) == {"en", "vi", "next_en", "next_vi"}
    assert "?" not in caught.value.text("vi"), "every placeholder has its fact"
    return caught.value.code
