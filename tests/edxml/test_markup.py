"""What the format does not know goes back to its place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lienthong import ContentError, Organization, PartRole
from lienthong.model import ForeignElement

from .builders import DOCUMENT, LETTER, REPORT, read, texts, written
from .test_writer import NS, names_below

HEADER = "edXMLEnvelope/edXMLHeader/MessageHeader"
FULL = replace(
    DOCUMENT,
    recipients=(*DOCUMENT.recipients, Organization(code="H07.12")),
    parts=(LETTER, replace(LETTER, role=PartRole.ATTACHMENT)),
    responds_to=(DOCUMENT.reference(),),
)


def carrying(*foreign: ForeignElement, document=FULL) -> bytes:
    return written(replace(document, foreign=foreign))


@pytest.mark.parametrize(
    ("parent", "above", "prefix"),
    [
        ("", [], ""),
        ("edXMLEnvelope", ["edXMLEnvelope"], "edXML:"),
        (HEADER, ["MessageHeader", "edXMLHeader", "edXMLEnvelope"], "edXML:"),
        (f"{HEADER}/To[2]", ["To", "MessageHeader", "edXMLHeader", "edXMLEnvelope"], "edXML:"),
        (f"{HEADER}/ToPlaces", ["ToPlaces", "MessageHeader", "edXMLHeader", "edXMLEnvelope"], "edXML:"),
        (f"{HEADER}/ResponseFor[1]", ["ResponseFor", "MessageHeader", "edXMLHeader", "edXMLEnvelope"], "edXML:"),
        ("AttachmentEncoded", ["AttachmentEncoded"], ""),
        ("AttachmentEncoded/Attachment[2]", ["Attachment", "AttachmentEncoded"], ""),
        ("edXMLEnvelope/AttachmentEncoded/Attachment", ["Attachment", "AttachmentEncoded"], ""),
        ("edXMLEnvelope/edXMLHeader/TraceHeaderList/Business", None, "edXML:"),
    ],
)
def test_an_unknown_element_goes_back_to_the_end_of_its_parent(parent, above, prefix):
    packet = carrying(ForeignElement(name="Mới", parent=parent, text="a & b"))
    found = etree.fromstring(packet).find(f".//{NS}Mới")
    assert f"<{prefix}Mới>a &amp; b</{prefix}Mới>\n".encode() in packet
    assert found.getnext() is None
    if above is not None:
        assert [element.tag.removeprefix(NS) for element in found.iterancestors()] == [*above, "edXML"]


def test_an_unknown_element_stands_at_the_right_one_of_twins():
    packet = carrying(ForeignElement(name="Mới", parent=f"{HEADER}/To[2]"))
    assert names_below(packet, "To")[-1] != "Mới"
    assert etree.fromstring(packet).findall(f".//{NS}To")[1][-1].tag == f"{NS}Mới"


def test_an_empty_unknown_element_survives_in_a_parent_that_is_empty_without_it():
    packet = carrying(ForeignElement(name="ApplicationType", parent=f"{HEADER}/OtherInfo/Appendixes"))
    assert b"<edXML:ApplicationType></edXML:ApplicationType>" in packet
    assert names_below(packet, "Appendixes") == ["ApplicationType"]


def test_another_namespace_is_declared_where_it_begins_and_ends():
    inner = ForeignElement(name="Trong", text="x")
    same = ForeignElement(name="Cùng", namespace="urn:khac", attributes=(("loại", '"1"'),))
    outer = ForeignElement(name="Ngoài", namespace="urn:khac", children=(same, inner))
    packet = carrying(replace(outer, parent=HEADER), replace(outer, parent="AttachmentEncoded")).decode()
    assert packet.count('<Ngoài xmlns="urn:khac">') == 2
    assert packet.count('<Cùng loại="&quot;1&quot;"></Cùng>') == 2
    assert "<edXML:Trong>x</edXML:Trong>" in packet
    assert '<Trong xmlns="http://www.mic.gov.vn/TBT/QCVN_102_2016">x</Trong>' in packet
    assert len(etree.fromstring(packet.encode()).findall(f".//{NS}Trong")) == 2


def test_attributes_are_escaped():
    packet = carrying(ForeignElement(name="Mới", parent=HEADER, attributes=(("a", "&amp;<'\">\r\n\t"),)))
    assert etree.fromstring(packet).find(f".//{NS}Mới").get("a") == "&amp;<'\">\r\n\t"


def test_a_report_carries_unknown_elements_too():
    foreign = (ForeignElement(name="ApplicationType", parent=HEADER, text="MCDT"),)
    report = replace(REPORT, foreign=foreign)
    assert read(written(report)).content.message == report


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("Mới", "edXMLEnvelope/edXMLHeader/Signature"),
        ("Mới", f"{HEADER}/To[3]"),
        ("Mới", f"{HEADER}/To[0]"),
        ("Mới", f"{HEADER}/To[-1]"),
        ("Mới", f"{HEADER}/../MessageHeader"),
        ("Mới", f"/{HEADER}"),
        ("Mới", "AttachmentEncoded/Attachment/ContentTransferEncoded"),
        ("Mới", "AttachmentEncoded/Attachment[3]"),
        ("Subject", HEADER),
        ("subject", HEADER),
        ("Signature", "edXMLEnvelope/edXMLHeader"),
        ("BusinessDocType", "edXMLEnvelope/edXMLHeader/TraceHeaderList/Bussiness"),
        ("AttachmentEncoded", ""),
    ],
)
def test_an_unknown_element_without_a_place_of_its_own_is_refused(name, parent):
    with pytest.raises(ContentError) as refusal:
        carrying(ForeignElement(name=name, parent=parent))
    assert (refusal.value.code, refusal.value.where) == ("packet.foreign-place", parent or "edXML")


def test_a_report_has_no_place_among_attachments():
    with pytest.raises(ContentError) as refusal:
        written(replace(REPORT, foreign=(ForeignElement(name="Mới", parent="AttachmentEncoded"),)))
    assert refusal.value.code == "packet.foreign-place"


@pytest.mark.parametrize(
    ("element", "code"),
    [
        *[(ForeignElement(name=name), "packet.foreign-name") for name in ("", " ", "a b", "a:b", "1a", "<a>", "a\0")],
        (ForeignElement(name="xmlns"), "packet.foreign-name"),
        (ForeignElement(name="a", attributes=(("xmlns", "b"),)), "packet.foreign-name"),
        (ForeignElement(name="a", attributes=(("b", ""), ("b", ""))), "packet.foreign-name"),
        (ForeignElement(name="a", attributes=(("xml:lang", ""),)), "packet.foreign-name"),
        (ForeignElement(name="a", namespace="http://www.w3.org/2000/xmlns/"), "packet.foreign-name"),
        (ForeignElement(name="a", namespace="\0"), "packet.character"),
        (ForeignElement(name="a", text="\x0b"), "packet.character"),
        (ForeignElement(name="a", attributes=(("b", "\ufffe"),)), "packet.character"),
    ],
)
def test_what_xml_cannot_carry_is_refused(element, code):
    for placed in (element, ForeignElement(name="ngoài", children=(element,))):
        with pytest.raises(ContentError) as refusal:
            carrying(replace(placed, parent=HEADER))
        assert refusal.value.code == code


def test_elements_deeper_than_readers_let_in_are_refused():
    deep = ForeignElement(name="a")
    for _ in range(2000):
        deep = ForeignElement(name="a", children=(deep,))
    with pytest.raises(ContentError) as refusal:
        carrying(replace(deep, parent=HEADER))
    assert refusal.value.code == "packet.too-large"


attributes = st.dictionaries(
    st.sampled_from(["a", "b2", "mã", "id"]), st.text("ab <>\"'\t\n\rệ", max_size=6), max_size=3
)
foreign_bodies = st.recursive(
    st.builds(
        ForeignElement,
        name=st.sampled_from(["ReplyFors", "X", "Mở-rộng", "_1"]),
        namespace=st.sampled_from(["", "urn:khac", "http://a/?b&c"]),
        text=texts,
        attributes=attributes.map(lambda values: tuple(values.items())),
    ),
    lambda inner: st.builds(replace, inner, children=st.lists(inner, max_size=3).map(tuple)),
    max_leaves=5,
)
# In the order in which a reader meets them.
places = ["", "edXMLEnvelope", "edXMLEnvelope/edXMLHeader", HEADER, f"{HEADER}/From", f"{HEADER}/To[2]"]
places += [f"{HEADER}/ToPlaces", "edXMLEnvelope/edXMLBody/edXMLManifest", "AttachmentEncoded/Attachment[2]"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(replace, foreign_bodies, parent=st.sampled_from(places)), max_size=5))
def test_unknown_elements_arrive_as_they_were_sent(foreign):
    arrived = read(carrying(*foreign)).content.message
    assert replace(arrived, foreign=()) == FULL
    for place in places:
        assert [each for each in arrived.foreign if each.parent == place] == [e for e in foreign if e.parent == place]
    assert len(arrived.foreign) == len(foreign)
