"""What a packet holds beyond the format, and how its form differs from the usual: noted, and kept where it can be."""

from __future__ import annotations

import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping

from lienthong.edxml.codes import KNOWN_ATTRIBUTES, KNOWN_CHILDREN, NAMESPACE, USUAL_NAMES, VENDOR_EXTENSIONS
from lienthong.edxml.tree import Element, QuirkLog
from lienthong.model import ForeignElement

_ENVELOPE = re.compile(rb"<(?:([^\s:<>/]+):)?edXMLEnvelope[\s/>]", re.IGNORECASE)
_SHA1 = re.compile(r"[#-]sha1$")
_SHORTEST_SIGNATURE = 64
_HOMES = {"edxmlbody": "edXMLEnvelope", "attachmentencoded": ""}
"""Where these are written, wherever they stood."""
_WRITTEN_ONCE = ("edxmlbody", "edxmlmanifest", "attachmentencoded")
"""A packet may hold several of these, and what is in them is taken together."""


def note_form(root: Element, markup: bytes, quirks: QuirkLog) -> None:
    """Note how prefixes, namespaces, spellings and elements differ from what the usual writer sends."""
    if b"\r\n" in markup:
        quirks.note("crlf", "")
    if root.key == "edxmlenvelope":
        quirks.note("root-unusual", root, root.name)
    envelope = _ENVELOPE.search(markup)
    if envelope is not None and envelope[1] != b"edXML":
        prefix = (envelope[1] or b"").decode("utf-8", "replace")
        quirks.note("prefix-unusual" if prefix else "prefix-missing", root, prefix)
    _note_element(root, NAMESPACE, quirks)


def _note_element(element: Element, around: str, quirks: QuirkLog) -> None:
    """Note what is unusual about a known element and about those below it."""
    if element.namespace != NAMESPACE and element.namespace != around:
        quirks.note("namespace-foreign", element, element.namespace or "(none)")
    if element.name != USUAL_NAMES.get(element.key, element.name):
        quirks.note("name-spelling", element, element.name)
    for name, value in element.attributes.items():
        if name.rpartition("}")[2].lower() not in KNOWN_ATTRIBUTES.get(element.key, ()):
            quirks.note("unknown-attribute", element, f"{name}={value}")
    known = _known_children(element)
    if known is not None and element.text:
        quirks.note("stray-text", element, element.text)
    for child in element.children:
        if known is not None and child.key in known:
            if child.key != "signature":
                _note_element(child, element.namespace, quirks)
        else:
            kind = "vendor-extension" if child.key in VENDOR_EXTENSIONS else "unknown-element"
            quirks.note(kind, child, child.text)


def _known_children(element: Element) -> frozenset[str] | None:
    """Which elements may stand below a known one; None when it holds text."""
    # The code of a document has two elements; in an answer or an error the same name holds text.
    if element.key == "code" and element.parent is not None and element.parent.key in ("responsefor", "error"):
        return None
    return KNOWN_CHILDREN.get(element.key)


def note_signatures(root: Element, quirks: QuirkLog) -> None:
    """Note envelope signatures: none is verified here, and many in the field are worth nothing."""
    for element in root.walk():
        if element.key == "signature":
            quirks.note("signature-unchecked", element)
            if element.namespace == NAMESPACE:
                quirks.note("signature-namespace", element, element.namespace)
        elif _SHA1.search(element.attribute("Algorithm")):
            quirks.note("signature-sha1", element, element.attribute("Algorithm"))
        elif element.key == "signaturevalue" and is_dummy_signature(element.text):
            quirks.note("signature-dummy", element, element.text)


def is_dummy_signature(value: str) -> bool:
    """Whether a ``SignatureValue`` is empty, no base64, or shorter than any signature."""
    try:
        return len(binascii.a2b_base64("".join(value.split()), strict_mode=True)) < _SHORTEST_SIGNATURE
    except ValueError:
        return True


def foreign_elements(root: Element, order: Mapping[int, int], quirks: QuirkLog) -> tuple[ForeignElement, ...]:
    """All elements that the format does not know, outermost only, with the place where a writer puts them back.

    ``order``: which position a ``Reference`` or an ``Attachment`` (by ``id``) has among all. What stands below an
    element that the message leaves out is lost, and noted.
    """
    place = "" if root.key == "edxml" else "edXMLEnvelope"
    # A writer puts them last in their parents; sorted by these, they read the same after it.
    return tuple(sorted(_below(root, place, order, quirks), key=lambda element: element.parent))


def _below(element: Element, place: str | None, order: Mapping[int, int], quirks: QuirkLog) -> Iterator[ForeignElement]:
    """``place`` is None below what the message leaves out."""
    known = _known_children(element)
    positions: Counter[str] = Counter()
    for child in element.children:
        if known is not None and child.key in known:
            positions[child.key] += not child.left_out
            if child.key != "signature":
                position = order.get(id(child), positions[child.key])
                yield from _below(child, _place_of(child, place, position), order, quirks)
        elif known is None or place is None:
            quirks.note("foreign-dropped", child, child.text)
        else:
            yield _foreign(child, place)


def _place_of(element: Element, around: str | None, position: int) -> str | None:
    """The place of a known element in the packet that a writer makes of the same message."""
    if around is None or element.left_out:
        return None
    name = "MessageHeader" if element.key == "status" else USUAL_NAMES[element.key]
    around = _HOMES.get(element.key, around)
    if element.key in _WRITTEN_ONCE:
        position = 1
    return "/".join(filter(None, (around, name))) + (f"[{position}]" if position > 1 else "")


def _foreign(element: Element, place: str) -> ForeignElement:
    return ForeignElement(
        name=element.name,
        parent=place,
        namespace="" if element.namespace == NAMESPACE else element.namespace,
        text=element.text,
        attributes=tuple(element.attributes.items()),
        children=tuple(_foreign(child, "") for child in element.children),
    )
