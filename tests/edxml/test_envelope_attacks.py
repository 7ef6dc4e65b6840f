"""Whatever is changed, moved, added or taken away behind a signature is found, and nothing is opened on its word."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import tempfile
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from lienthong import ContentError, Document
from lienthong.edxml.signature.envelope import verify_envelope

from .builders import LETTER_BYTES, REPORT
from .envelopes import (
    DSIG,
    ENVELOPED,
    EXCLUSIVE,
    NOTE_BYTES,
    NS,
    RSA_SHA256,
    SHA256,
    between,
    by_reference_template,
    changed,
    check,
    key_of,
    needs_xmlsec1,
    opened,
    packet_of,
    put_in,
    reasons,
    reference,
    sealed,
    signature_in,
    signed_by_xmlsec1,
    template,
    usual,
    whole,
)

# --- one byte -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cầu treo", "cầu phao", "digest-differs"),
        ("Sửa số liệu", "Sửa số hiệu", "digest-differs"),
        ("<edXML:BussinessDocType>2<", "<edXML:BussinessDocType>1<", "digest-differs"),
        (' version="1.0">', ' version="1.1">', "digest-differs"),
        ('<Digest ContentId="cid:', '<Digest ContentId="cid:a', "digest-differs"),
        ("<X509Certificate>MII", "<X509Certificate> MII", "digest-differs"),
        ("<SignatureValue>", "<SignatureValue>AAAA", "signature-wrong"),
        ("<SignedInfo>", "<SignedInfo> ", "signature-wrong"),
    ],
)
def test_a_change_of_what_is_covered_is_found(old, new, expected, tmp_path):
    finding = check(changed(old, new), tmp_path)
    assert finding.verdict == "broken"
    assert expected in finding.reasons


def test_the_changed_element_is_named(tmp_path):
    finding = check(changed("cầu treo", "cầu phao"), tmp_path)
    assert (finding.reasons, finding.places) == (("digest-differs",), ("MessageHeader",))


def test_one_changed_byte_of_an_attachment_is_found(tmp_path):
    text = base64.b64encode(LETTER_BYTES).decode()
    finding = check(changed(text, base64.b64encode(LETTER_BYTES[:-1] + b"!").decode()), tmp_path)
    assert (finding.verdict, finding.reasons) == ("broken", ("digest-differs",))
    assert finding.places == ("edXML/AttachmentEncoded/Attachment",)


@needs_xmlsec1
def test_one_changed_byte_under_a_whole_document_signature_is_found(tmp_path):
    packet = whole(packet_of().decode(), tmp_path)
    assert reasons(changed("cầu treo", "cầu phao", packet), tmp_path) == ("digest-differs",)
    text = base64.b64encode(LETTER_BYTES).decode()
    other = changed(text, base64.b64encode(LETTER_BYTES[:-1] + b"!").decode(), packet)
    assert reasons(other, tmp_path) == ("digest-differs",)
    assert reasons(changed("<SignatureValue>", "<SignatureValue>AAAA", packet), tmp_path) == ("signature-wrong",)


def test_a_relay_may_append_its_hop(tmp_path):
    hop = "<edXML:TraceHeader><edXML:OrganId>00.53.W00</edXML:OrganId>"
    hop += "<edXML:Timestamp>2026/11/20 10:00:00</edXML:Timestamp></edXML:TraceHeader>"
    assert reasons(changed("<edXML:Bussiness ", f"{hop}<edXML:Bussiness "), tmp_path) == ()


def test_a_relay_may_zip_an_attachment_and_wrap_its_base64(tmp_path):
    text = base64.b64encode(LETTER_BYTES).decode()
    assert reasons(changed(text, text[:8] + "\r\n" + text[8:]), tmp_path) == ()


# --- wrapping -------------------------------------------------------------------------------------------------------


def signed_header() -> str:
    return between(usual(), "<edXML:MessageHeader", "</edXML:MessageHeader>")


def forged_header() -> str:
    return re.sub(r' Id="[^"]*"', "", signed_header()).replace("cầu treo", "cầu phao")


@pytest.mark.parametrize("hiding_place", ["</edXML:edXMLBody>", "</edXML:TraceHeaderList>", "</AttachmentEncoded>"])
def test_a_signed_header_moved_away_behind_a_forged_one_is_refused(hiding_place, tmp_path):
    text = changed(signed_header(), forged_header())
    box = f'<Box xmlns:edXML="{NS}">{signed_header()}</Box>'
    text = changed(hiding_place, f"{box}{hiding_place}", text)
    finding = check(text, tmp_path)
    assert finding.verdict == "broken"
    assert finding.reasons == ("reference-wrapped", "not-covered")


def test_a_signed_header_hidden_in_the_signature_is_refused(tmp_path):
    text = changed(signed_header(), forged_header())
    text = changed("</Signature>", f"<Object>{signed_header()}</Object></Signature>", text)
    assert "not-covered" in reasons(text, tmp_path)


def test_a_second_header_is_refused(tmp_path):
    text = changed("<edXML:TraceHeaderList>", f"{forged_header()}<edXML:TraceHeaderList>")
    assert reasons(text, tmp_path) == ("not-covered",)


@pytest.mark.parametrize("attribute", ["Id", "ID", "id", "xml:id"])
def test_an_id_that_stands_twice_is_refused(attribute, tmp_path):
    identity = re.search(r'MessageHeader Id="([^"]*)"', usual())[1]
    text = changed("<edXML:TraceHeaderList>", f'<edXML:TraceHeaderList {attribute}="{identity}">')
    assert reasons(text, tmp_path) == ("id-repeated",)


def test_an_id_moved_to_a_foreign_element_is_refused(tmp_path):
    identity = re.search(r'MessageHeader( Id="[^"]*")', usual())[1]
    text = changed(f"MessageHeader{identity}", "MessageHeader")
    text = changed("</edXML:TraceHeaderList>", f"<Vendor{identity}>x</Vendor></edXML:TraceHeaderList>", text)
    assert {"reference-wrapped", "not-covered"} <= set(reasons(text, tmp_path))


def test_an_id_that_is_only_nearly_an_id_counts_for_nothing(tmp_path):
    assert reasons(changed("MessageHeader Id=", "MessageHeader xml:id="), tmp_path) == ("reference-missing",)


def test_a_signed_element_taken_out_is_missed(tmp_path):
    block = between(usual(), "<edXML:Bussiness ", "</edXML:Bussiness>")
    assert reasons(changed(block, ""), tmp_path) == ("reference-missing",)


def test_a_business_block_put_into_a_packet_signed_without_one_is_refused(tmp_path):
    block = "<edXML:TraceHeaderList><edXML:Bussiness><edXML:BussinessDocType>1</edXML:BussinessDocType>"
    block += "</edXML:Bussiness></edXML:TraceHeaderList>"
    text = changed("</edXML:MessageHeader>", f"</edXML:MessageHeader>{block}", sealed(REPORT).decode())
    finding = check(text, tmp_path)
    assert finding.reasons == ("not-covered",)
    assert finding.places[0].endswith("TraceHeaderList/Bussiness")


def test_a_second_manifest_is_refused(tmp_path):
    body = between(usual(), "<edXML:edXMLBody>", "</edXML:edXMLBody>")
    text = changed(body, body + re.sub(r' Id="[^"]*"', "", body))
    assert "not-covered" in reasons(text, tmp_path)


def test_a_signature_that_stands_elsewhere_is_refused(tmp_path):
    signature = signature_in(usual())
    text = changed("</edXML:edXMLBody>", f"{signature}</edXML:edXMLBody>", changed(signature, ""))
    assert reasons(text, tmp_path) == ("signature-misplaced",)


def test_two_signatures_are_refused(tmp_path):
    signature = signature_in(usual())
    assert reasons(changed(signature, signature * 2), tmp_path) == ("signature-repeated",)


# --- files against digests ------------------------------------------------------------------------------------------


def test_contents_that_were_swapped_between_two_attachments_are_found(tmp_path):
    first, second = (base64.b64encode(content).decode() for content in (LETTER_BYTES, NOTE_BYTES))
    text = usual().replace(first, "SWAP").replace(second, first).replace("SWAP", second)
    finding = check(text, tmp_path)
    assert finding.reasons == ("digest-differs",)
    assert finding.places == ("edXML/AttachmentEncoded/Attachment, edXML/AttachmentEncoded/Attachment[3]",)


def test_digests_that_were_swapped_in_the_list_are_found(tmp_path):
    first, second = (
        base64.b64encode(hashlib.sha256(content).digest()).decode() for content in (LETTER_BYTES, NOTE_BYTES)
    )
    text = usual().replace(first, "SWAP").replace(second, first).replace("SWAP", second)
    finding = check(text, tmp_path)
    assert finding.reasons == ("digest-differs",)
    assert "Object" in finding.places[0]


def test_an_attachment_that_was_added_is_refused(tmp_path):
    more = "<Attachment><ContentId>cid:more</ContentId><AttachmentName>thêm.pdf</AttachmentName>"
    more += "<ContentType>application/pdf</ContentType><ContentTransferEncoded>JVBERi0=</ContentTransferEncoded>"
    text = changed("</AttachmentEncoded>", f"{more}</Attachment></AttachmentEncoded>")
    assert reasons(text, tmp_path) == ("attachment-unlisted", "attachment-differs")


def test_an_attachment_put_into_a_packet_signed_without_any_is_refused(tmp_path):
    attached = "<AttachmentEncoded><Attachment><ContentId>cid:more</ContentId><AttachmentName>a.pdf</AttachmentName>"
    attached += "<ContentTransferEncoded>JVBERi0=</ContentTransferEncoded></Attachment></AttachmentEncoded></edXML>"
    assert reasons(changed("</edXML>", attached, sealed(REPORT).decode()), tmp_path) == ("not-covered",)


def test_an_attachment_that_was_taken_out_is_missed(tmp_path):
    attachment = between(usual(), "    <Attachment>", "</Attachment>\n")
    assert reasons(changed(attachment, ""), tmp_path) == ("attachment-missing",)


@pytest.mark.parametrize("field", ["AttachmentName", "Description"])
def test_an_attachment_under_another_name_than_the_manifests_is_refused(field, tmp_path):
    carried = between(usual(), "<AttachmentEncoded>", "</AttachmentEncoded>")
    value = between(carried[carried.index("Bảng kê.xlsx") - 20 :], f"<{field}>", f"</{field}>")
    other = carried.replace(value, f"<{field}>Quyết định.xlsx</{field}>", 1)
    assert reasons(changed(carried, other), tmp_path) == ("attachment-differs",)


@needs_xmlsec1
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda text: re.sub(r"<Object.*?</Object>", '<Object Id="their-list"/>', text), "not-covered"),
        (lambda text: re.sub(r"(<AttachmentDigests.*</AttachmentDigests>)", r"\1\1", text), "digest-list-wrong"),
        (lambda text: re.sub(r"(<Digest .*?</Digest>)", r"\1\1", text, count=1), "digest-list-wrong"),
        (lambda text: re.sub(r'(<Digest ContentId="[^"]*">)', r"\1é", text, count=1), "digest-list-wrong"),
        (
            lambda text: re.sub(r'(<AttachmentDigests[^>]* Algorithm=)"[^"]*"', r'\1"md5"', text),
            "algorithm-not-allowed",
        ),
        (lambda text: text.replace(reference("#their-list", EXCLUSIVE), ""), "not-covered"),
        (lambda text: text.replace(reference("#their-Bussiness", EXCLUSIVE), ""), "not-covered"),
    ],
)
def test_a_good_signature_over_too_little_is_refused(spoil, expected, tmp_path):
    packet = spoil(by_reference_template())
    assert packet != by_reference_template()
    assert reasons(signed_by_xmlsec1(packet, tmp_path, key_of("rsa2048")), tmp_path) == (expected,)


# --- a closed list --------------------------------------------------------------------------------------------------

XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
XPATH_FILTER = "http://www.w3.org/2002/06/xmldsig-filter2"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            f'<Transform Algorithm="{EXCLUSIVE}"/>',
            f'<Transform Algorithm="{XSLT}"><a/></Transform>',
            "algorithm-not-allowed",
        ),
        (f'<Transform Algorithm="{EXCLUSIVE}"/>', f'<Transform Algorithm="{XPATH}"/>', "algorithm-not-allowed"),
        (f'<Transform Algorithm="{EXCLUSIVE}"/>', f'<Transform Algorithm="{XPATH_FILTER}"/>', "algorithm-not-allowed"),
        (f'<Transform Algorithm="{EXCLUSIVE}"/>', f'<Transform Algorithm="{EXCLUSIVE}"/>' * 2, "algorithm-not-allowed"),
        (f'<Transform Algorithm="{EXCLUSIVE}"/>', f'<Transform Algorithm="{ENVELOPED}"/>', "structure-not-allowed"),
        (RSA_SHA256, f"{DSIG}hmac-sha1", "algorithm-not-allowed"),
        (RSA_SHA256, f"{DSIG}dsa-sha1", "algorithm-not-allowed"),
        (SHA256, "http://www.w3.org/2001/04/xmldsig-more#md5", "algorithm-not-allowed"),
        ('Reference URI="#', 'Reference URI="#xpointer(/)" Id="', "reference-not-allowed"),
        ('Reference URI="#', 'Reference Type="', "reference-not-allowed"),
        ('Reference URI="#', 'Reference URI="cid:', "reference-not-allowed"),
        ('Reference URI="#', 'Reference URI="#no-', "reference-missing"),
        ("<KeyInfo ", '<KeyInfo><RetrievalMethod URI="#x"/></KeyInfo><KeyInfo ', "reference-not-allowed"),
        ("</Signature>", "<Object><Manifest/></Object></Signature>", "reference-not-allowed"),
        ("</Signature>", "<Other/></Signature>", "structure-not-allowed"),
        ("<SignedInfo>", "<Object/><SignedInfo>", "structure-not-allowed"),
        ("<DigestValue>", "<DigestValue>é", "structure-not-allowed"),
        ("<DigestValue>", "<DigestValue><!-- -->", "structure-not-allowed"),
        ("</Transforms>", "</Transforms><Transforms/>", "structure-not-allowed"),
    ],
)
def test_what_is_not_on_the_list_is_refused(old, new, expected, tmp_path):
    finding = check(changed(old, new), tmp_path)
    assert (finding.verdict, finding.reasons) == ("broken", (expected,))


def test_more_references_than_an_envelope_needs_are_refused(tmp_path):
    one = between(usual(), "<Reference URI", "</Reference>")
    assert reasons(changed(one, one * 20), tmp_path) == ("structure-not-allowed",)


@pytest.mark.parametrize("attribute", ['Reference URI="{}" Id="', 'Reference Type="x" URI="{}" Id="'])
def test_no_file_and_no_server_is_asked_for_what_a_reference_names(attribute, tmp_path):
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever opened it would wait for ever
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        for uri in (trap.as_uri(), str(trap), f"http://127.0.0.1:{port}/", f"//127.0.0.1:{port}/"):
            text = changed('Reference URI="#', attribute.format(uri))
            assert reasons(text, tmp_path) == ("reference-not-allowed",)
        with pytest.raises(BlockingIOError):
            server.accept()


@needs_xmlsec1
def test_a_whole_document_reference_without_the_enveloped_transform_is_refused(tmp_path):
    packet = changed(f'<Transform Algorithm="{ENVELOPED}"/>', "", whole(packet_of().decode(), tmp_path))
    assert reasons(packet, tmp_path) == ("structure-not-allowed",)


@needs_xmlsec1
def test_a_whole_document_reference_beside_one_by_id_is_refused(tmp_path):
    text = changed("<edXML:MessageHeader", '<edXML:MessageHeader Id="h"', packet_of().decode())
    signature = template(reference("", ENVELOPED), reference("#h", EXCLUSIVE))
    packet = signed_by_xmlsec1(put_in(text, signature), tmp_path, key_of("rsa2048"))
    assert reasons(packet, tmp_path) == ("reference-not-allowed",)


# --- whatever an attacker thinks of -----------------------------------------------------------------------------------


def judged(packet: bytes) -> tuple[str, object]:
    """The verdict and what a receiver would take the packet for, without what no signature covers."""
    with tempfile.TemporaryDirectory() as name:
        try:
            opened_packet, file = opened(packet, Path(name))
        except ContentError:
            return "unreadable", None
        finding = verify_envelope(opened_packet, file)
        message = opened_packet.message
    if isinstance(message, Document):
        message = replace(message, trace=(), foreign=())
    return finding.verdict if finding is not None else "unsigned", message


@cache
def signed_message() -> object:
    verdict, message = judged(usual().encode())
    assert verdict == "intact"
    return message


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_change_of_bytes_passes_for_signed(data):
    text = usual().encode()
    begin = data.draw(st.integers(0, len(text) - 1))
    end = begin + data.draw(st.integers(0, 40))
    other = data.draw(
        st.one_of(st.binary(max_size=20), st.sampled_from([text[begin:end] * 2, b"<a>", b"<!-- -->", b" "]))
    )
    verdict, message = judged(text[:begin] + other + text[end:])
    assert verdict != "intact" or message in (signed_message(), None)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_rearrangement_of_elements_passes_for_signed(data):
    root = etree.fromstring(usual().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        elements = list(root.iter("*"))[1:]
        moved, place = (elements[data.draw(st.integers(0, len(elements) - 1))] for _ in range(2))
        if data.draw(st.booleans()):
            moved = deepcopy(moved)
        elif moved in (place, *place.iterancestors()):
            continue
        data.draw(st.sampled_from((place.append, place.addnext, place.addprevious)))(moved)
    verdict, message = judged(etree.tostring(root))
    assert verdict != "intact" or message in (signed_message(), None)
