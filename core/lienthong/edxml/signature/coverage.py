"""What an envelope's signature covers, and whether that is exactly what the reader reads.

A digest that fits proves nothing when it is another element that was digested (signature wrapping). So an id that a
signature names must stand once in the packet, what it names must be the very element that the reader reads, and every
element that the reader reads must be named. The attachments' bytes are compared with the digests that the reader made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from lienthong.edxml.codes import CONTENT_ID_PREFIX, safe_name
from lienthong.edxml.reader import Packet
from lienthong.edxml.signature.sealing import DIGEST_LIST
from lienthong.edxml.signature.xmldsig import DSIG, SHA256, Dissected, Distrust, Reference, octets_of
from lienthong.edxml.tree import Element
from lienthong.errors import ContentError
from lienthong.model import Part

_ID_NAMES = ("Id", "ID", "id")
_OWN = (f"{{{DSIG}}}KeyInfo", f"{{{DSIG}}}Object")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The one element with the id that a reference names. ``own``: it is within the signature itself."""

    reference: Reference
    node: etree._Element
    attribute: str
    own: bool


def strictly_parsed(markup: bytes) -> etree._Element:
    """The markup as verifiers of XML-DSig see it.

    :raises Distrust: they would not read it (a prefix that is not declared)
    """
    try:
        return etree.fromstring(markup, strict_parser(huge_tree=False))
    except etree.XMLSyntaxError as problem:
        raise Distrust("not-strict-xml", f"line {problem.lineno}") from problem


def strict_parser(*, huge_tree: bool) -> etree.XMLParser:
    """As the reader parses, but for names without a declaration. Only what is registered counts as an id."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=huge_tree,
        collect_ids=False,
    )


def steps_to(element: Element) -> tuple[int, ...]:
    """Which child to take at each level from the root, counting elements only."""
    steps = []
    while element.parent is not None:
        steps.append(next(n for n, child in enumerate(element.parent.children) if child is element))
        element = element.parent
    return tuple(reversed(steps))


def node_at(root: etree._Element, steps: tuple[int, ...]) -> etree._Element:
    """:raises Distrust: there is none: the two parsers do not agree on the packet"""
    node = root
    for step in steps:
        found = next((child for n, child in enumerate(node.iterchildren("*")) if n == step), None)
        if found is None:
            raise Distrust("not-strict-xml")
        node = found
    return node


def _element_at(root: Element, node: etree._Element) -> Element:
    """What the reader made of a node."""
    lineage = [node, *node.iterancestors()][:-1]
    element = root
    for below in reversed(lineage):
        element = element.children[sum(1 for _ in below.itersiblings("*", preceding=True))]
    if element.name != etree.QName(node).localname:
        raise Distrust("not-strict-xml", element.path)
    return element


# --- what is referenced -----------------------------------------------------------------------------------------------


def targets_of(root: etree._Element, signature: etree._Element, references: tuple[Reference, ...]) -> list[Target]:
    """What the references by id name.

    :raises Distrust: nothing has such an id, or several elements have it, or the reference is built oddly
    """
    named = [reference for reference in references if reference.uri]
    wanted = {reference.uri[1:] for reference in named}
    found: dict[str, list[tuple[etree._Element, str]]] = {name: [] for name in wanted}
    for node in root.iter("*"):
        for attribute, value in node.items():
            name, written = str(attribute), str(value).strip()
            # Verifiers differ in what they take for an id, so whatever looks like one counts.
            if name.rpartition("}")[2].lower() == "id" and written in wanted:
                found[written].append((node, name))
    return [_target(reference, found[reference.uri[1:]], signature) for reference in named]


def _target(reference: Reference, found: list[tuple[etree._Element, str]], signature: etree._Element) -> Target:
    if len(found) > 1:
        raise Distrust("id-repeated", reference.uri)
    if not found or found[0][1] not in _ID_NAMES or found[0][0].get(found[0][1]) != reference.uri[1:]:
        raise Distrust("reference-missing", reference.uri)
    if reference.enveloped:
        raise Distrust("structure-not-allowed", reference.uri)
    node, attribute = found[0]
    lineage = [node, *node.iterancestors()]
    own = any(above.getparent() is signature and above.tag in _OWN for above in lineage)
    return Target(reference=reference, node=node, attribute=attribute, own=own)


# --- the whole document -----------------------------------------------------------------------------------------------


def doubts_whole(dissected: Dissected, targets: list[Target]) -> Iterator[Distrust]:
    """What is wrong with what a signature over the whole document covers."""
    whole = [reference for reference in dissected.references if not reference.uri]
    if len(whole) != 1 or not whole[0].enveloped:
        yield Distrust("structure-not-allowed", "Reference")
    for target in targets:
        if not target.own:
            yield Distrust("reference-not-allowed", target.reference.uri)


# --- by reference -----------------------------------------------------------------------------------------------------


def doubts_by_reference(packet: Packet, signature: etree._Element, targets: list[Target]) -> Iterator[Distrust]:
    """What is wrong with what a signature by reference covers."""
    read = {id(element): element for element in _read_elements(packet)}
    for target in targets:
        element = None if target.own else _element_at(packet.root, target.node)
        if element is not None and read.pop(id(element), None) is None:
            yield Distrust("reference-wrapped", element.path)
    if packet.header is None:
        yield Distrust("not-covered", "MessageHeader")
    for element in read.values():
        yield Distrust("not-covered", element.path)
    yield from _doubts_about_files(packet, signature, targets)


def _read_elements(packet: Packet) -> Iterator[Element]:
    """Every element from which the reader takes what the message says, beside its hops."""
    for above in ("", "edXMLEnvelope/"):
        for name in ("MessageHeader", "Status", "TraceHeaderList/Bussiness"):
            yield from packet.root.every(f"{above}edXMLHeader/{name}")
        yield from packet.root.every(f"{above}edXMLBody/edXMLManifest")


def _doubts_about_files(packet: Packet, signature: etree._Element, targets: list[Target]) -> Iterator[Distrust]:
    lists = list(signature.iterfind(f".//{{{DIGEST_LIST}}}AttachmentDigests"))
    covered = [listed for listed in lists if any(_is_within(listed, target.node) for target in targets)]
    if lists != covered or (packet.files and not lists):
        yield Distrust("not-covered", "AttachmentEncoded")
        return
    if len(lists) > 1:
        yield Distrust("digest-list-wrong", "AttachmentDigests")
        return
    try:
        digests = _digests(lists[0]) if lists else {}
    except Distrust as distrust:
        yield distrust
        return
    for file in packet.files:
        if file.content_id not in digests:
            yield Distrust("attachment-unlisted", file.where)
        elif file.part.sha256 != digests.pop(file.content_id):
            yield Distrust("digest-differs", file.where)
    for content_id in digests:
        yield Distrust("attachment-missing", content_id)
    yield from _doubts_about_names(packet)


def _is_within(node: etree._Element, above: etree._Element) -> bool:
    return node is above or above in node.iterancestors()


def _digests(listed: etree._Element) -> dict[str, str]:
    """SHA-256 in hex by content id, as the signer saw them."""
    if listed.get("Algorithm") != SHA256:
        raise Distrust("algorithm-not-allowed", listed.get("Algorithm", ""))
    found: dict[str, str] = {}
    for entry in listed.iterchildren("*"):
        content_id = entry.get("ContentId", "").removeprefix(CONTENT_ID_PREFIX)
        try:
            digest = octets_of(entry.text or "").hex()
        except ValueError:
            digest = ""
        if entry.tag != f"{{{DIGEST_LIST}}}Digest" or content_id in found or not digest:
            raise Distrust("digest-list-wrong", content_id)
        found[content_id] = digest
    return found


def _doubts_about_names(packet: Packet) -> Iterator[Distrust]:
    """The reader prefers what stands at the attachment, and that is not covered: it must be what the manifest says."""
    listed: dict[str, Element] = {}
    for above in ("", "edXMLEnvelope/"):
        for reference in packet.root.every(f"{above}edXMLBody/edXMLManifest/Reference"):
            listed[_content_id(reference)] = reference
    for file in packet.files:
        said = listed.get(file.content_id)
        if said is None or not _says(said, file.part):
            yield Distrust("attachment-differs", file.where)


def _content_id(reference: Element) -> str:
    written = _value(reference, "ContentId")
    return written[len(CONTENT_ID_PREFIX) :].strip() if written.lower().startswith(CONTENT_ID_PREFIX) else written


def _says(reference: Element, part: Part) -> bool:
    named = _value(reference, "AttachmentName")
    return safe_name(named) == part.name and _value(reference, "Description") == part.description


def _value(element: Element, name: str) -> str:
    try:
        return element.value(name)
    except ContentError:
        # Two of a name that differ: the packet has a fault for it, and cannot be used.
        return ""
