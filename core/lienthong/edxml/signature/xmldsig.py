"""The part of XML-DSig that envelopes may use, read from a closed list: whatever else a signature holds is refused.

Sources: XML Signature Syntax and Processing (W3C xmldsig-core1), RFC 6931 for the names
of algorithms, and the W3C's best practices for the attacks that the list keeps out (XPath, XSLT, external references,
``Manifest``, key retrieval, HMAC).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree

DSIG = "http://www.w3.org/2000/09/xmldsig#"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = f"{DSIG}enveloped-signature"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
_INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"

DIGESTS = {
    f"{DSIG}sha1": "sha1",
    SHA256: "sha256",
    f"{_MORE}sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
SIGNATURES = {
    f"{DSIG}rsa-sha1": "rsa-sha1",
    **{f"{_MORE}{kind}-sha{bits}": f"{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)},
}
CANONICAL = frozenset(
    f"{method}{comments}"
    for method, comments in (
        (_INCLUSIVE, ""),
        (_INCLUSIVE, "#WithComments"),
        ("http://www.w3.org/2006/12/xml-c14n11", ""),
        ("http://www.w3.org/2006/12/xml-c14n11", "#WithComments"),
        (EXCLUSIVE, ""),
        (EXCLUSIVE, "WithComments"),
    )
)
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - only ever to check what others signed; it is reported as weak
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_SAME_DOCUMENT = re.compile(r"(?:#[^\W\d][\w.\-]*)?")
_MOST_REFERENCES = 16
"""An envelope has three things to cover, and a signature a few of its own; each costs a pass over what it covers."""


class Distrust(Exception):
    """A signature cannot be relied on. ``reason`` is a stable code, ``place`` names what it is about, or is empty."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A canonicalisation: one of ``CANONICAL``, and prefixes that the exclusive one must keep."""

    uri: str = _INCLUSIVE
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One ``ds:Reference``: ``uri`` is empty for the whole document, else ``#`` and an id."""

    uri: str
    enveloped: bool
    method: Method
    digest: str
    value: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Dissected:
    """A signature taken apart. ``algorithm`` is a value of ``SIGNATURES``; certificates are DER, in written order."""

    signed_info: etree._Element
    method: Method
    algorithm: str
    references: tuple[Reference, ...]
    value: bytes
    certificates: tuple[bytes, ...]

    @property
    def uses_sha1(self) -> bool:
        return "sha1" in (self.algorithm.partition("-")[2], *(reference.digest for reference in self.references))


def dissect(signature: etree._Element) -> Dissected:
    """Take a ``ds:Signature`` apart.

    :raises Distrust: it holds anything beyond the closed list, or is not built as XML-DSig says
    """
    for element in signature.iter(etree.Element):
        if _local(element) in ("Manifest", "RetrievalMethod", "KeyInfoReference", "EncryptedKey"):
            # Verifiers follow these to other files and servers.
            raise Distrust("reference-not-allowed", _local(element))
    info, value, *others = _children(signature, "SignedInfo", "SignatureValue")
    _only_named(others, "KeyInfo", "Object")
    method, algorithm, *references = _children(info, "CanonicalizationMethod", "SignatureMethod")
    _only_named(references, "Reference")
    if not 0 < len(references) <= _MOST_REFERENCES:
        raise Distrust("structure-not-allowed", "Reference")
    return Dissected(
        signed_info=info,
        method=_method(method),
        algorithm=_named(algorithm, SIGNATURES),
        references=tuple(map(_reference, references)),
        value=_octets(value),
        certificates=tuple(_certificates(signature)),
    )


def canonical(element: etree._Element, method: Method) -> bytes:
    """The canonical bytes of an element with all below it (``xml:`` attributes from above it are not looked for)."""
    # Written and read once, the element stands alone and still knows the namespaces that were declared above it.
    alone = etree.fromstring(etree.tostring(element, with_tail=False), _whole_text())
    exclusive, comments = method.uri.startswith(EXCLUSIVE), method.uri.endswith("WithComments")
    prefixes = list(method.prefixes) or None
    return etree.tostring(
        alone, method="c14n", exclusive=exclusive, with_comments=comments, inclusive_ns_prefixes=prefixes
    )


def digest_matches(element: etree._Element, reference: Reference) -> bool:
    digest = hashlib.new(reference.digest, canonical(element, reference.method), usedforsecurity=False)
    return digest.digest() == reference.value


def _whole_text() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _children(element: etree._Element, *names: str) -> list[etree._Element]:
    """The child elements, the first of which must have these names."""
    children = [child for child in element if isinstance(child.tag, str)]
    if [child.tag for child in children[: len(names)]] != [f"{{{DSIG}}}{name}" for name in names]:
        raise Distrust("structure-not-allowed", _local(element))
    return children


def _only_named(elements: list[etree._Element], *names: str) -> None:
    for element in elements:
        if element.tag not in [f"{{{DSIG}}}{name}" for name in names]:
            raise Distrust("structure-not-allowed", _local(element))


def _named(element: etree._Element, known: dict[str, str]) -> str:
    """What an algorithm element names; it must have no parameters."""
    name = known.get(element.get("Algorithm", ""))
    if name is None or _children(element):
        raise Distrust("algorithm-not-allowed", element.get("Algorithm", ""))
    return name


def _method(element: etree._Element) -> Method:
    uri = element.get("Algorithm", "")
    if uri not in CANONICAL:
        raise Distrust("algorithm-not-allowed", uri)
    prefixes: list[str] = []
    for parameter in element.iterchildren(etree.Element):
        if parameter.tag != f"{{{EXCLUSIVE}}}InclusiveNamespaces" or not uri.startswith(EXCLUSIVE):
            raise Distrust("algorithm-not-allowed", uri)
        prefixes += parameter.get("PrefixList", "").split()
    return Method(uri=uri, prefixes=tuple(prefixes))


def _reference(element: etree._Element) -> Reference:
    uri = element.get("URI")
    if uri is None or not _SAME_DOCUMENT.fullmatch(uri):
        # Another file, a server, an XPointer, or whatever the application thinks best.
        raise Distrust("reference-not-allowed", uri or "")
    transforms = list(element.iterchildren(f"{{{DSIG}}}Transforms"))
    expected = ["Transforms"] * min(len(transforms), 1) + ["DigestMethod", "DigestValue"]
    *_, digest, value = children = _children(element, *expected)
    if len(children) != len(expected):
        raise Distrust("structure-not-allowed", uri)
    steps = [step for transform in transforms for step in _children(transform)]
    enveloped, method = _transforms(steps)
    return Reference(uri=uri, enveloped=enveloped, method=method, digest=_named(digest, DIGESTS), value=_octets(value))


def _transforms(steps: list[etree._Element]) -> tuple[bool, Method]:
    """Whether the signature itself is left out, and how the rest becomes bytes: nothing else may happen to it."""
    _only_named(steps, "Transform")
    # Only as the first step does it mean what everybody takes it for.
    enveloped = bool(steps) and steps[0].get("Algorithm") == ENVELOPED and not _children(steps[0])
    methods = steps[1:] if enveloped else steps
    if len(methods) > 1:
        raise Distrust("algorithm-not-allowed", methods[1].get("Algorithm", ""))
    return enveloped, _method(methods[0]) if methods else Method()


def _octets(element: etree._Element) -> bytes:
    try:
        return octets_of(_text(element))
    except ValueError:
        raise Distrust("structure-not-allowed", _local(element)) from None


def _text(element: etree._Element) -> str:
    """:raises ValueError: something stands within the text, of which readers disagree what it means"""
    if len(element):
        raise ValueError("not text alone")
    return element.text or ""


def octets_of(text: str) -> bytes:
    """:raises ValueError: it is not base64"""
    return base64.b64decode("".join(text.split()), validate=True)


def _certificates(signature: etree._Element) -> Iterator[bytes]:
    path = "/".join(f"{{{DSIG}}}{name}" for name in ("KeyInfo", "X509Data", "X509Certificate"))
    for element in signature.iterfind(path):
        # A packet with a placeholder for its certificate: there is none.
        with contextlib.suppress(ValueError):
            yield octets_of(_text(element))


# --- keys -------------------------------------------------------------------------------------------------------------


def public_key(certificate: x509.Certificate) -> PublicKey | None:
    """The key of a certificate; None when it cannot be read or is of a kind that ``SIGNATURES`` cannot use."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else None


def kind_of(key: PublicKey) -> str:
    """How the names in ``SIGNATURES`` begin for this key."""
    return "rsa" if isinstance(key, rsa.RSAPublicKey) else "ecdsa"


def value_fits(key: PublicKey, algorithm: str, value: bytes, data: bytes) -> bool:
    """Whether ``value``, in the form of XML-DSig, is the key's signature over ``data``."""
    kind, _, digest = algorithm.partition("-")
    if kind != kind_of(key):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(value, data, padding.PKCS1v15(), _HASHES[digest])
        else:
            half = len(value) // 2
            integers = (int.from_bytes(piece, "big") for piece in (value[:half], value[half:]))
            key.verify(encode_dss_signature(*integers), data, ec.ECDSA(_HASHES[digest]))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True
