"""Keys, sealed packets and templates for the tests of envelope signatures, and how xmlsec1 is called."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from lienthong import Business, Change, PartRole
from lienthong.edxml.reader import Packet, open_packet
from lienthong.edxml.signature.envelope import EnvelopeFinding, verify_envelope
from lienthong.edxml.signature.sealing import EnvelopeSigner, seal_envelope
from lienthong.edxml.writer import write_packet

from .builders import DOCUMENT, LETTER, LETTER_BYTES, PDF, blob

NS = "http://www.mic.gov.vn/TBT/QCVN_102_2016"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
ENVELOPED = f"{DSIG}enveloped-signature"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
HOLDER = "CN=Sở Xây dựng Bến Lức"

needs_xmlsec1 = pytest.mark.skipif(shutil.which("xmlsec1") is None, reason="needs xmlsec1: apt-get install xmlsec1")

TABLE, TABLE_BYTES = blob(PartRole.ATTACHMENT, "Bảng kê.xlsx", "số liệu".encode(), "Bảng kê kèm theo")
NOTE, NOTE_BYTES = blob(PartRole.ATTACHMENT, "Ghi chú.pdf", PDF + b"% a note", "Ghi chú")
LETTER_TO_ALL = replace(
    DOCUMENT,
    parts=(LETTER, TABLE, NOTE),
    change=Change(kind=Business.UPDATE, reason="Sửa số liệu", document_id="H07.03,2026/11/20,12/SXD-VP"),
)
BLOBS = {LETTER.sha256: LETTER_BYTES, TABLE.sha256: TABLE_BYTES, NOTE.sha256: NOTE_BYTES}


# --- keys ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def sign(self, data: bytes, digest: hashes.HashAlgorithm) -> bytes:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), digest)
        return self.private.sign(data, ec.ECDSA(digest))

    def write_pem(self, folder: Path) -> None:
        key = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(key)
        (folder / "certificate.pem").write_bytes(self.certificate.public_bytes(Encoding.PEM))


def new_key(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Key:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOLDER.removeprefix("CN="))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2020, 1, 1))  # noqa: DTZ001 - the builder wants UTC without saying so
        .not_valid_after(datetime(2120, 1, 1))  # noqa: DTZ001
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    return Key(private, certificate)


@cache
def key_of(kind: str) -> Key:
    if kind.startswith("rsa"):
        return new_key(rsa.generate_private_key(65537, int(kind.removeprefix("rsa"))))
    return new_key(ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind]))


def signer_of(kind: str) -> EnvelopeSigner:
    key = key_of(kind)
    algorithm = {"p256": "ecdsa-sha256", "p384": "ecdsa-sha384"}.get(kind, "rsa-sha256")
    digest = hashes.SHA384() if algorithm.endswith("384") else hashes.SHA256()
    return EnvelopeSigner(certificates=(key.der,), algorithm=algorithm, sign=lambda data: key.sign(data, digest))


# --- packets ------------------------------------------------------------------------------------------------------


def packet_of(message=LETTER_TO_ALL, seal: Callable[..., bytes] | None = None) -> bytes:
    sink = io.BytesIO()
    write_packet(message, lambda part: io.BytesIO(BLOBS[part.sha256]), sink, seal=seal)
    return sink.getvalue()


def sealed(message=LETTER_TO_ALL, kind: str = "rsa2048") -> bytes:
    return packet_of(message, lambda envelope, parts: seal_envelope(envelope, parts, signer_of(kind)))


@cache
def usual() -> str:
    """The sealed packet that the attacks begin with."""
    return sealed().decode()


def opened(packet: bytes, folder: Path) -> tuple[Packet, Path]:
    file = folder / "packet.edxml"
    file.write_bytes(packet)
    with file.open("rb") as source:
        return open_packet(source, folder / "parts"), file


def check(packet: bytes | str, folder: Path) -> EnvelopeFinding:
    data = packet if isinstance(packet, bytes) else packet.encode()
    finding = verify_envelope(*opened(data, folder))
    assert finding is not None
    return finding


def reasons(packet: bytes | str, folder: Path) -> tuple[str, ...]:
    finding = check(packet, folder)
    assert (finding.verdict == "intact") == (finding.reasons == ())
    assert len(finding.places) == len(finding.reasons)
    return finding.reasons


def changed(old: str, new: str, packet: str | None = None) -> str:
    text = packet or usual()
    assert old in text
    return text.replace(old, new, 1)


def between(text: str, start: str, end: str) -> str:
    """The first stretch from ``start`` to ``end``, both included."""
    begin = text.index(start)
    return text[begin : text.index(end, begin) + len(end)]


def signature_in(text: str) -> str:
    return between(text, "<Signature", "</Signature>")


# --- xmlsec1 ------------------------------------------------------------------------------------------------------


def xmlsec1(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    ids = [
        option
        for name in ("MessageHeader", "Bussiness", "edXMLManifest", "Status")
        for option in ("--id-attr:Id", f"{NS}:{name}")
    ]
    command = ["xmlsec1", arguments[0], *ids, *arguments[1:]]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def accepted_by_xmlsec1(packet: bytes, folder: Path, key: Key) -> bool:
    key.write_pem(folder)
    (folder / "sealed.xml").write_bytes(packet)
    return xmlsec1("--verify", "--trusted-pem", folder / "certificate.pem", folder / "sealed.xml").returncode == 0


def signed_by_xmlsec1(template: str, folder: Path, key: Key) -> bytes:
    key.write_pem(folder)
    (folder / "template.xml").write_text(template, "utf-8")
    keys = f"{folder / 'key.pem'},{folder / 'certificate.pem'}"
    made = xmlsec1("--sign", "--privkey-pem", keys, "--output", folder / "signed.xml", folder / "template.xml")
    assert made.returncode == 0, made.stderr
    return (folder / "signed.xml").read_bytes()


def reference(uri: str, *transforms: str, digest: str = SHA256) -> str:
    steps = "".join(f'<Transform Algorithm="{transform}"/>' for transform in transforms)
    return (
        f'<Reference URI="{uri}"><Transforms>{steps}</Transforms><DigestMethod Algorithm="{digest}"/>'
        "<DigestValue></DigestValue></Reference>"
    )


def template(*references: str, method: str = RSA_SHA256, c14n: str = EXCLUSIVE, more: str = "") -> str:
    """A signature to be filled in."""
    return (
        f'<Signature xmlns="{DSIG}" Id="theirs"><SignedInfo><CanonicalizationMethod Algorithm="{c14n}"/>'
        f'<SignatureMethod Algorithm="{method}"/>{"".join(references)}</SignedInfo><SignatureValue></SignatureValue>'
        f"<KeyInfo><X509Data><X509Certificate></X509Certificate></X509Data></KeyInfo>{more}</Signature>"
    )


def put_in(packet: str, signature: str) -> str:
    return changed("</edXML:edXMLHeader>", f"{signature}</edXML:edXMLHeader>", packet)


def whole(packet: str, folder: Path, *transforms: str, key: str = "rsa2048", **options: str) -> str:
    steps = transforms or (ENVELOPED, EXCLUSIVE)
    signature = template(reference("", *steps, digest=options.pop("digest", SHA256)), **options)
    return signed_by_xmlsec1(put_in(packet, signature), folder, key_of(key)).decode()


def by_reference_template(more: str = "", **options: str) -> str:
    """Our form, made by hand: ids on the covered elements, and a digest list in an ``Object``."""
    text = packet_of().decode()
    for name in ("MessageHeader", "Bussiness", "edXMLManifest"):
        text = changed(f"<edXML:{name}", f'<edXML:{name} Id="their-{name}"', text)
    holder = between(usual(), "<Object", "</Object>")
    holder = re.sub(r'<Object Id="[^"]*"', '<Object Id="their-list"', holder)
    names = ("their-MessageHeader", "their-Bussiness", "their-edXMLManifest", "their-list")
    references = [reference(f"#{name}", options.get("transform", EXCLUSIVE)) for name in names]
    options.pop("transform", None)
    return put_in(text, template(*references, more=holder + more, **options))
