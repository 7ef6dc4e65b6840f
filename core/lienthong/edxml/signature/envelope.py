"""Checking the signature of a packet's envelope: what it covers, whether that is what was read, and whether it holds.

Nothing is said about trust in the certificate, nor about signatures within the attached files.

Two forms are known. *By reference* (``sealing`` makes it): header, business block, manifest and a list of the
attachments' digests are covered by ``Id``. Only the packet's markup is needed, so the size of the attachments does not
matter. *Whole document*: one reference with ``URI=""`` and the enveloped-signature transform covers all bytes; the
whole file must then stand in memory, so it is checked in a confined process.

Not covered by a signature by reference, on purpose: the hops of ``TraceHeaderList`` (every node appends its own),
elements that the format does not know outside the covered ones, and the ``ContentType`` of an attachment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from lxml import etree

from lienthong.confined import ConfinedFailure, FailureKind, run_confined
from lienthong.edxml.attachments import storage_errors
from lienthong.edxml.foreign import is_dummy_signature
from lienthong.edxml.reader import Packet
from lienthong.edxml.signature.coverage import (
    Target,
    doubts_by_reference,
    doubts_whole,
    node_at,
    steps_to,
    strict_parser,
    strictly_parsed,
    targets_of,
)
from lienthong.edxml.signature.xmldsig import (
    DSIG,
    SIGNATURES,
    Dissected,
    Distrust,
    PublicKey,
    canonical,
    digest_matches,
    dissect,
    octets_of,
    public_key,
    value_fits,
)
from lienthong.edxml.tree import Element
from lienthong.errors import ContentError, Language

Form = Literal["by-reference", "whole-document", "unknown"]
EnvelopeVerdict = Literal["intact", "broken", "dummy", "undecided"]

"""Bytes; what is shorter is no signature of any key that may sign."""
_WEAK_RSA_BITS = 2048
_MIB = 1024 * 1024
_LEAST_MEMORY, _MOST_MEMORY = 192 * _MIB, 2048 * _MIB
_MEMORY_PER_BYTE = 6
"""The text, its tree and its canonical form while they grow (measured: 4)."""
_LEAST_SECONDS, _MOST_SECONDS = 20.0, 120.0
_BYTES_PER_SECOND = 4 * _MIB
_JUNK = 1024
_SHOWN_PLACES = 3
_MOST_CERTIFICATES = 16
_OPEN_REASONS = frozenset(
    {
        "no-certificate",
        "namespace-wrong",
        "not-strict-xml",
        "form-unknown",
        "out-of-memory",
        "too-slow",
        "not-checkable",
    }
)
"""Reasons that leave open whether the signature is good; every other one says that it is not."""
_FAILURES = {FailureKind.OUT_OF_MEMORY: "out-of-memory", FailureKind.TOO_SLOW: "too-slow"}
_REFERENCE_TRANSFORMS = (
    xmlsec.constants.TransformEnveloped,
    xmlsec.constants.TransformInclC14N,
    xmlsec.constants.TransformInclC14NWithComments,
    xmlsec.constants.TransformInclC14N11,
    xmlsec.constants.TransformInclC14N11WithComments,
    xmlsec.constants.TransformExclC14N,
    xmlsec.constants.TransformExclC14NWithComments,
    xmlsec.constants.TransformSha1,
    xmlsec.constants.TransformSha256,
    xmlsec.constants.TransformSha384,
    xmlsec.constants.TransformSha512,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvelopeFinding:
    """What a check of the envelope's signature found.

    ``verdict``: ``intact``, what must be covered is covered and unchanged; ``broken``, it is not, or the signature is
    built in a way that nobody may rely on; ``dummy``, there is a place for a signature and none in it; ``undecided``.
    ``reasons`` are stable codes (texts: ``envelope.*``), ``places`` beside them say where, or are empty. ``weak``:
    SHA-1, or RSA below 2048 bits. ``signer`` is the subject (RFC 4514) of ``certificate`` (DER, empty for none).
    """

    form: Form
    verdict: EnvelopeVerdict
    algorithm: str = ""
    weak: bool = False
    reasons: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    signer: str = ""
    certificate: bytes = b""

    def explained(self, language: Language) -> tuple[str, ...]:
        """One paragraph for each reason: what it means, where, and what to do."""
        pairs = zip(self.reasons, self.places, strict=True)
        return tuple(ContentError(f"envelope.{reason}", where=place).text(language) for reason, place in pairs)


def verify_envelope(packet: Packet, source: Path) -> EnvelopeFinding | None:
    """Check the signature of an envelope; None when there is none.

    ``source``: the file that ``packet`` was read from, unchanged. It is opened for the whole-document form only.

    :raises StoreError: it cannot be opened
    """
    signatures = _signatures(packet.root)
    if not signatures:
        return None
    outline = _outline(signatures[0])
    if len(signatures) > 1:
        return _judged(outline, [Distrust("signature-repeated", signatures[1].path)])
    return outline if outline.reasons else _checked(packet, signatures[0], outline, source)


# --- what can be said without computing -------------------------------------------------------------------------------


def _signatures(root: Element) -> list[Element]:
    """Signatures by namespace, by content, or by the place where the samples have theirs in the packet's namespace."""
    found = [element for element in root.walk() if element.key == "signature" and _looks_signed(element)]
    return found or [element for element in root.walk() if element.key == "digitalsignature"]


def _looks_signed(element: Element) -> bool:
    in_place = element.parent is not None and element.parent.key == "edxmlheader"
    return element.namespace == DSIG or in_place or bool(element.all("SignedInfo"))


def _outline(signature: Element) -> EnvelopeFinding:
    """What a signature says of itself, read as tolerantly as the packet: dummies are rarely well built."""
    references = signature.every("SignedInfo/Reference")
    uris = {reference.attribute("URI") for reference in references}
    methods = [method.attribute("Algorithm") for method in signature.every("SignedInfo/SignatureMethod")]
    digests = [found.attribute("Algorithm") for reference in references for found in reference.all("DigestMethod")]
    form: Form = "unknown"
    if uris:
        form = "whole-document" if "" in uris else "by-reference"
    written = (element.text for element in signature.every("KeyInfo/X509Data/X509Certificate"))
    finding = EnvelopeFinding(
        form=form,
        verdict="undecided",
        algorithm=SIGNATURES.get(methods[0], methods[0]) if methods else "",
        weak=any(uri.endswith("sha1") for uri in (*methods, *digests)),
    )
    finding = _identified(finding, _leaf(_octets_of_each(written)))
    doubt = _doubt_at_sight(signature)
    return finding if doubt is None else _judged(finding, [doubt])


def _doubt_at_sight(signature: Element) -> Distrust | None:
    values = signature.all("SignatureValue")
    if signature.key == "digitalsignature" and (signature.text or signature.children):
        return Distrust("form-unknown", signature.path)
    if not values or any(is_dummy_signature(value.text) for value in values):
        return Distrust("dummy-value", signature.path)
    return Distrust("namespace-wrong", signature.path) if signature.namespace != DSIG else None


def _octets_of_each(texts: Iterable[str]) -> list[bytes]:
    """The bytes of those texts that are base64."""
    found = []
    for text in texts:
        try:
            found.append(octets_of(text))
        except ValueError:
            continue
    return found


def _leaf(certificates: Iterable[bytes]) -> x509.Certificate | None:
    """The signer's certificate: the first that did not issue another one of them."""
    read = map(_certificate, islice(certificates, _MOST_CERTIFICATES))
    known = [certificate for certificate in read if certificate is not None]
    issuers = [each.issuer for each in known if each.issuer != each.subject]
    return next((each for each in known if each.subject not in issuers), None)


def _certificate(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # A name that breaks X.520 is found out only when it is read.
        names = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    except ValueError:
        return None
    return certificate if any(names) else None


def _identified(finding: EnvelopeFinding, leaf: x509.Certificate | None) -> EnvelopeFinding:
    if leaf is None:
        return finding
    key = public_key(leaf)
    return replace(
        finding,
        weak=finding.weak or (isinstance(key, rsa.RSAPublicKey) and key.key_size < _WEAK_RSA_BITS),
        signer=leaf.subject.rfc4514_string(),
        certificate=leaf.public_bytes(Encoding.DER),
    )


def _judged(finding: EnvelopeFinding, doubts: Sequence[Distrust]) -> EnvelopeFinding:
    """The verdict that the doubts add up to, each reason once with the places where it was met."""
    places: dict[str, list[str]] = {}
    for doubt in doubts:
        places.setdefault(doubt.reason, []).append(doubt.place)
    verdict: EnvelopeVerdict = "intact"
    if "dummy-value" in places:
        verdict = "dummy"
    elif places:
        verdict = "undecided" if _OPEN_REASONS.issuperset(places) else "broken"
    return replace(finding, verdict=verdict, reasons=tuple(places), places=tuple(map(_listed, places.values())))


def _listed(places: list[str]) -> str:
    more = f" (+{len(places) - _SHOWN_PLACES})" if len(places) > _SHOWN_PLACES else ""
    return ", ".join(places[:_SHOWN_PLACES]) + more


# --- the check --------------------------------------------------------------------------------------------------------


def _checked(packet: Packet, signature: Element, outline: EnvelopeFinding, source: Path) -> EnvelopeFinding:
    try:
        if packet.header is None or signature.parent is not packet.header.parent:
            raise Distrust("signature-misplaced", signature.path)
        root = strictly_parsed(packet.markup)
        node = node_at(root, steps_to(signature))
        dissected = dissect(node)
        targets = targets_of(root, node, dissected.references)
        if outline.form == "whole-document":
            doubts = list(doubts_whole(dissected, targets))
        else:
            doubts = list(doubts_by_reference(packet, node, targets))
    except Distrust as distrust:
        return _judged(outline, [distrust])
    leaf = _leaf(dissected.certificates)
    key = public_key(leaf) if leaf is not None else None
    if key is None:
        doubts.append(Distrust("no-certificate"))
    elif outline.form == "by-reference":
        doubts += _computed(node, dissected, targets, key)
    elif not doubts:
        doubts += _computed_apart(packet, signature, key, source)
    return _judged(_identified(outline, leaf), doubts)


def _computed(
    signature: etree._Element, dissected: Dissected, targets: Sequence[Target], key: PublicKey
) -> list[Distrust]:
    """What computing finds wrong."""
    context = xmlsec.SignatureContext()
    for transform in _REFERENCE_TRANSFORMS:
        context.enable_reference_transform(transform)
    # With a key given, KeyInfo is not looked at.
    context.key = xmlsec.Key.from_memory(_pem(key), xmlsec.constants.KeyDataFormatPem)
    for target in targets:
        context.register_id(target.node, target.attribute)
    try:
        context.verify(signature)
    except xmlsec.VerificationError:
        return _diagnosed(dissected, targets, key)
    except xmlsec.Error as problem:
        return [Distrust("not-checkable", str(problem))]
    return []


def _pem(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _diagnosed(dissected: Dissected, targets: Sequence[Target], key: PublicKey) -> list[Distrust]:
    """Why a signature does not hold: which element is another than was signed, or the signature itself."""
    differing = [target for target in targets if not digest_matches(target.node, target.reference)]
    doubts = [Distrust("digest-differs", etree.QName(target.node).localname) for target in differing]
    if not value_fits(key, dissected.algorithm, dissected.value, canonical(dissected.signed_info, dissected.method)):
        return [*doubts, Distrust("signature-wrong")]
    return doubts or [Distrust("digest-differs", "edXML")]


# --- the whole document, apart ----------------------------------------------------------------------------------------


def _computed_apart(packet: Packet, signature: Element, key: PublicKey, source: Path) -> list[Distrust]:
    """As ``_computed`` over the whole file, in a process of its own: it takes several times the file in memory."""
    with storage_errors(str(source)):
        size = source.stat().st_size
    if size != packet.size:
        return [Distrust("not-checkable", str(source))]
    try:
        found = run_confined(
            f"{__name__}:check_whole_document",
            str(source),
            steps_to(signature),
            _pem(key).decode(),
            memory_bytes=min(_LEAST_MEMORY + _MEMORY_PER_BYTE * size, _MOST_MEMORY),
            seconds=min(_LEAST_SECONDS + size / _BYTES_PER_SECOND, _MOST_SECONDS),
        )
    except ConfinedFailure as failure:
        return [Distrust(_FAILURES.get(failure.kind, "not-checkable"), str(source))]
    return [Distrust(reason, place) for reason, place in found]


def check_whole_document(file: str, steps: list[int], key_pem: str) -> list[tuple[str, str]]:
    """Check the signature at a place of a file; empty when it holds, else pairs of reason and place.

    Takes several times the file in memory, so it is meant to run confined.

    :raises MemoryError: that is not there
    """
    key = load_pem_public_key(key_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    root = _whole(Path(file))
    try:
        signature = node_at(root, tuple(steps))
        dissected = dissect(signature)
        doubts = _computed(signature, dissected, targets_of(root, signature, dissected.references), key)
    except Distrust as distrust:
        doubts = [distrust]
    if any(doubt.reason == "not-checkable" for doubt in doubts):
        # The library does not say that it ran out of memory; there is too little when this fails.
        bytearray(2 * Path(file).stat().st_size)
    return [(doubt.reason, doubt.place) for doubt in doubts]


def _whole(file: Path) -> etree._Element:
    with file.open("rb") as whole:
        whole.seek(max(whole.read(_JUNK).find(b"<"), 0))
        try:
            return etree.parse(whole, strict_parser(huge_tree=True)).getroot()
        except etree.XMLSyntaxError as problem:
            # The reader and a strict parser took the same markup before, so it is the parser that could not go on.
            raise MemoryError from problem
