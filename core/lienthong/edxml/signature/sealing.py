"""Signing the envelope of a packet with XML-DSig, in a form that any verifier of XML-DSig can check.

``<Signature>`` stands last in ``edXMLHeader``. Its references (SHA-256 over exclusive canonical XML) cover by ``Id``:

* ``MessageHeader``, and when they are there ``Bussiness`` and ``edXMLManifest``;
* an ``Object`` with one ``Digest`` for each attachment, of the attachment's own bytes: after base64, and after the zip
  of one file is opened. So a packet of any size is signed and checked without holding it in memory;
* ``KeyInfo``, so that the certificate cannot be changed for another one of the same key.

The hops in ``TraceHeaderList`` are not covered on purpose: every relaying node appends its own (catalogue, ENV-20).
The attachments' digests are not in a ``ds:Manifest``, because verifiers would try to open its ``cid:`` references.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.parsers import expat

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from lxml import etree

from lienthong.edxml.codes import CONTENT_ID_PREFIX
from lienthong.edxml.signature.xmldsig import (
    DSIG,
    EXCLUSIVE,
    SHA256,
    SIGNATURES,
    Method,
    canonical,
    kind_of,
    public_key,
    value_fits,
)
from lienthong.errors import ContentError, SigningError

DIGEST_LIST = "urn:lienthong:edxml:attachment-digests"
"""Namespace of ``AttachmentDigests`` and its ``Digest`` elements: ``ContentId`` with ``cid:``, the digest in base64."""

Algorithm = Literal["rsa-sha256", "ecdsa-sha256", "ecdsa-sha384"]
_EXCLUSIVE = Method(uri=EXCLUSIVE)
# The stubs of lxml do not know that None is the prefix of the default namespace.
_DEFAULT_DSIG: Any = {None: DSIG}
_DEFAULT_LIST: Any = {None: DIGEST_LIST}
_HEADER_END = "end"
_ENVELOPE = "edXML/edXML:edXMLEnvelope"
_HEADER = f"{_ENVELOPE}/edXML:edXMLHeader"
_COVERED = {
    f"{_HEADER}/edXML:MessageHeader": "header",
    f"{_HEADER}/edXML:TraceHeaderList/edXML:Bussiness": "business",
    f"{_ENVELOPE}/edXML:edXMLBody/edXML:edXMLManifest": "manifest",
}


@dataclass(frozen=True, kw_only=True)
class EnvelopeSigner:
    """A key that may be far away. ``certificates``: DER, leaf first.

    ``sign`` gets the bytes to sign (not their digest) and returns PKCS#1 v1.5 for RSA, DER (RFC 3279) for ECDSA.
    """

    certificates: tuple[bytes, ...]
    algorithm: Algorithm
    sign: Callable[[bytes], bytes]


def seal_envelope(envelope: bytes, parts: Sequence[tuple[str, str]], signer: EnvelopeSigner) -> bytes:
    """Put ``Id`` attributes and a signature into an envelope. The same bytes again for an RSA key.

    ``envelope``: what ``write_packet`` writes up to and including ``</edXML:edXMLEnvelope>``. ``parts``: each
    attachment's content id (without ``cid:``) and SHA-256 in hex, in the manifest's order.

    :raises ContentError: it is not an envelope of that form
    :raises SigningError: the certificate does not fit the algorithm, or the signature not the certificate
    """
    leaf = _leaf(signer)
    stem = "sig-" + hashlib.sha256(envelope).hexdigest()[:16]
    marked = _marked(envelope, stem)
    covered = [*_covered(marked, stem), *_own_parts(stem, parts, signer)]
    info = _signed_info(signer.algorithm, covered)
    value = _signed(signer, leaf, canonical(info, _EXCLUSIVE))
    signature = _signature(stem, info, value, covered)
    place = _places(marked)[_HEADER_END]
    return b"".join((marked[:place], b"  ", etree.tostring(signature), b"\n    ", marked[place:]))


# --- the envelope -----------------------------------------------------------------------------------------------------


def _marked(envelope: bytes, stem: str) -> bytes:
    """The envelope with an ``Id`` on each element that is to be covered."""
    marked = envelope
    for role, place in sorted(_places(envelope).items(), key=lambda found: -found[1]):
        if role != _HEADER_END:
            marked = marked[:place] + f' Id="{stem}-{role}"'.encode() + marked[place:]
    return marked


def _places(envelope: bytes) -> dict[str, int]:
    """Where the attributes of each covered element begin, and where the header ends, in bytes from the beginning.

    Found by a parser, because what an office calls its extensions must not be taken for the header.
    """
    parser = expat.ParserCreate()
    opened: list[str] = []
    found: dict[str, int] = {}

    def note(role: str | None, place: int) -> None:
        if role in found:
            raise ContentError("packet.ambiguous", where="/".join(opened), element=opened[-1])
        if role is not None:
            found[role] = place

    def start(name: str, _: object) -> None:
        opened.append(name)
        note(_COVERED.get("/".join(opened)), parser.CurrentByteIndex + 1 + len(name.encode()))

    def end(_: str) -> None:
        note(_HEADER_END if "/".join(opened) == _HEADER else None, parser.CurrentByteIndex)
        opened.pop()

    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(envelope, False)
        parser.Parse(b"</edXML>", True)
    except expat.ExpatError as problem:
        raise _malformed(problem.lineno, expat.ErrorString(problem.code)) from problem
    if not {"header", _HEADER_END} <= set(found):
        raise ContentError("packet.no-message", where=_HEADER)
    return found


def _covered(marked: bytes, stem: str) -> list[etree._Element]:
    try:
        root = etree.fromstring(marked + b"</edXML>")
    except etree.XMLSyntaxError as problem:
        raise _malformed(problem.lineno, problem.msg or "") from problem
    return [element for role in _COVERED.values() for element in root.iterfind(f".//*[@Id='{stem}-{role}']")]


def _malformed(line: int | None, reason: str) -> ContentError:
    return ContentError("packet.malformed", where=f"line {line}", reason=reason)


# --- the signature ----------------------------------------------------------------------------------------------------


def _own_parts(stem: str, parts: Sequence[tuple[str, str]], signer: EnvelopeSigner) -> list[etree._Element]:
    """``KeyInfo``, and ``Object`` when there are attachments, as they stand in the signature."""
    return [_key_info(stem, signer.certificates), *([_digest_list(stem, parts)] if parts else [])]


def _key_info(stem: str, certificates: tuple[bytes, ...]) -> etree._Element:
    info = _element("KeyInfo", Id=f"{stem}-key")
    data = _below(info, "X509Data")
    for certificate in certificates:
        _below(data, "X509Certificate", base64.b64encode(certificate).decode())
    return info


def _digest_list(stem: str, parts: Sequence[tuple[str, str]]) -> etree._Element:
    holder = _element("Object", Id=f"{stem}-attachments")
    listed = etree.SubElement(holder, f"{{{DIGEST_LIST}}}AttachmentDigests", nsmap=_DEFAULT_LIST)
    listed.set("Algorithm", SHA256)
    for content_id, digest in parts:
        entry = etree.SubElement(listed, f"{{{DIGEST_LIST}}}Digest", ContentId=f"{CONTENT_ID_PREFIX}{content_id}")
        entry.text = base64.b64encode(bytes.fromhex(digest)).decode()
    return holder


def _signed_info(algorithm: Algorithm, covered: Sequence[etree._Element]) -> etree._Element:
    info = _element("SignedInfo")
    _below(info, "CanonicalizationMethod", Algorithm=EXCLUSIVE)
    _below(info, "SignatureMethod", Algorithm=next(uri for uri, name in SIGNATURES.items() if name == algorithm))
    for element in covered:
        reference = _below(info, "Reference", URI=f"#{element.get('Id')}")
        _below(_below(reference, "Transforms"), "Transform", Algorithm=EXCLUSIVE)
        _below(reference, "DigestMethod", Algorithm=SHA256)
        digest = hashlib.sha256(canonical(element, _EXCLUSIVE)).digest()
        _below(reference, "DigestValue", base64.b64encode(digest).decode())
    return info


def _signature(stem: str, info: etree._Element, value: bytes, covered: Sequence[etree._Element]) -> etree._Element:
    signature = _element("Signature", Id=stem)
    signature.append(info)
    _below(signature, "SignatureValue", base64.b64encode(value).decode())
    signature.extend(element for element in covered if element.tag.startswith(f"{{{DSIG}}}"))
    return signature


def _element(name: str, **attributes: str) -> etree._Element:
    return etree.Element(f"{{{DSIG}}}{name}", attributes, nsmap=_DEFAULT_DSIG)


def _below(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    child = etree.SubElement(parent, f"{{{DSIG}}}{name}", attributes)
    child.text = text
    return child


# --- the key ----------------------------------------------------------------------------------------------------------


def _leaf(signer: EnvelopeSigner) -> x509.Certificate:
    if not signer.certificates:
        raise SigningError("sign.no-certificate")
    try:
        leaf = x509.load_der_x509_certificate(signer.certificates[0])
    except ValueError as problem:
        raise SigningError("sign.certificate-unreadable", reason=problem) from problem
    key = public_key(leaf)
    possible = kind_of(key) if key is not None else "unknown"
    if not signer.algorithm.startswith(f"{possible}-"):
        raise SigningError("sign.mechanism-refused", asked=signer.algorithm, possible=possible)
    return leaf


def _signed(signer: EnvelopeSigner, leaf: x509.Certificate, data: bytes) -> bytes:
    """The signature as XML-DSig wants it. What a key somewhere else answers is checked before it leaves."""
    key = public_key(leaf)
    value = signer.sign(data)
    if isinstance(key, ec.EllipticCurvePublicKey):
        value = _joined_integers(value, (key.curve.key_size + 7) // 8)
    if key is None or not value_fits(key, signer.algorithm, value, data):
        raise SigningError("sign.signature-unfit", holder=leaf.subject.rfc4514_string())
    return value


def _joined_integers(value: bytes, size: int) -> bytes:
    """The two integers of an ECDSA signature one after the other, each as long as the curve's order; empty if not."""
    try:
        return b"".join(integer.to_bytes(size, "big") for integer in decode_dss_signature(value))
    except (ValueError, OverflowError):
        return b""
