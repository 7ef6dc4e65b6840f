"""What was written is read back the same: every block, every place for what the format does not know, every profile.

``LIENTHONG_NIGHTLY=1`` runs fifty times as many messages.
"""

from __future__ import annotations

import io
import os
import random
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong import Business, ForeignElement, Message, StatusCode
from lienthong.edxml import open_packet, write_packet
from lienthong.edxml.profile import load_profile, profile_names

from .builders import DOCUMENT, REPORT, documents, read, reports, written
from .fuzz import FIXTURES
from .messages import in_order, is_unknown, places, random_document, random_profile, random_report
from .test_samples import SAMPLES

NIGHTLY = bool(os.environ.get("LIENTHONG_NIGHTLY"))
MESSAGES = 170 * (50 if NIGHTLY else 1)
EXAMPLES = settings(
    max_examples=5000 if NIGHTLY else 60,
    derandomize=not NIGHTLY,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

pytestmark = pytest.mark.timeout(4 * 3600 if NIGHTLY else 180)

# --- thousands of messages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_documents_and_their_files_arrive_as_they_were_sent(seed):
    for number in range(MESSAGES):
        chance = random.Random(f"{seed}/{number}")
        document, blobs = random_document(chance)
        reading = read(written(document, blobs, random_profile(chance)))
        assert in_order(reading.content.message) == document, f"message {seed}/{number}"
        assert reading.bytes_of == tuple(blobs[part.sha256] for part in document.parts), f"message {seed}/{number}"


@pytest.mark.parametrize("seed", range(4))
def test_status_reports_arrive_as_they_were_sent(seed):
    for number in range(MESSAGES):
        chance = random.Random(f"{seed}/{number}")
        report = random_report(chance)
        reading = read(written(report, profile=random_profile(chance)))
        assert in_order(reading.content.message) == report, f"message {seed}/{number}"
        assert reading.content.files == (), f"message {seed}/{number}"


def test_the_generator_reaches_every_field_and_place():
    made = [random_document(random.Random(number))[0] for number in range(300)]
    for field in ("due", "copies", "pages", "responds_to", "appendixes", "to_places", "parts", "foreign"):
        assert {bool(getattr(document, field)) for document in made} == {True, False}
    assert {document.change.kind for document in made} == set(Business)
    assert {random_report(random.Random(number)).code for number in range(300)} == set(StatusCode)
    reached = {element.parent.partition("[")[0] for document in made for element in document.foreign}
    assert reached >= {place.partition("[")[0] for document in made for place in places(document)}


# --- fewer, and shrunk to the smallest that fails -----------------------------------------------------------------


@EXAMPLES
@given(documents())
def test_a_document_arrives_as_it_was_sent(message):
    document, blobs = message
    assert read(written(document, blobs)).content.message == document


@EXAMPLES
@given(reports)
def test_a_status_report_arrives_as_it_was_sent(report):
    assert read(written(report)).content.message == report


names = st.from_regex(r"[A-Za-zĐđ_][A-Za-z0-9._\-đ]{0,8}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn")), max_size=12)
strangers = st.recursive(
    st.builds(ForeignElement, name=names, namespace=st.sampled_from(["", "urn:x", "u&\"<'>"]), text=names),
    lambda below: st.builds(
        ForeignElement,
        name=names,
        attributes=st.dictionaries(names, values, max_size=2).map(lambda found: tuple(found.items())),
        children=st.lists(below, max_size=3).map(tuple),
    ),
    max_leaves=4,
)


@EXAMPLES
@given(st.lists(st.tuples(st.sampled_from(places(DOCUMENT)), strangers), max_size=3))
def test_what_the_format_does_not_know_arrives_as_it_was_sent(chosen):
    foreign = filter(is_unknown, (replace(element, parent=place) for place, element in chosen))
    document = in_order(replace(DOCUMENT, foreign=tuple(foreign)))
    assert in_order(read(written(document)).content.message) == document


@pytest.mark.parametrize("place", places(DOCUMENT))
def test_every_place_holds_what_the_format_does_not_know(place):
    stranger = ForeignElement(name="Stranger", parent=place, namespace="urn:x", text="Ở đây", attributes=(("a", "1"),))
    document = replace(DOCUMENT, foreign=(stranger,))
    assert read(written(document)).content.message == document


def test_strangers_keep_their_order_at_one_place():
    here = places(DOCUMENT)[3]
    foreign = tuple(ForeignElement(name=name, parent=here, text="x") for name in ("Z", "A", "Z", "M"))
    assert read(written(replace(DOCUMENT, foreign=foreign))).content.message.foreign == foreign


# --- the same bytes -----------------------------------------------------------------------------------------------


class Dripping(io.BytesIO):
    """Reads in pieces of one size, as a socket may."""

    def __init__(self, content: bytes, piece: int) -> None:
        super().__init__(content)
        self._piece = piece

    def read(self, size=-1):
        return super().read(min(size, self._piece) if size > 0 else self._piece)


@pytest.mark.parametrize("seed", range(60))
def test_the_same_message_gives_the_same_bytes_however_its_files_are_read(seed):
    chance = random.Random(seed)
    (document, blobs), profile, piece = random_document(chance), random_profile(chance), chance.choice((1, 2, 3, 100))
    sink = io.BytesIO()
    write_packet(document, lambda part: Dripping(blobs[part.sha256], piece), sink, profile)
    assert sink.getvalue() == written(document, blobs, profile)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 1000, 4095])
@pytest.mark.parametrize("name", ["new.edxml", "many_files.edxml", "vendor_extensions.edxml", "lines_of_base64.edxml"])
def test_a_packet_reads_the_same_however_it_comes_in(name, piece, tmp_path):
    packet = (FIXTURES / name).read_bytes()
    whole = open_packet(io.BytesIO(packet), tmp_path / "whole")
    dripped = open_packet(Dripping(packet, piece), tmp_path / "dripped")
    assert (dripped.message, dripped.quirks, dripped.size) == (whole.message, whole.quirks, whole.size)
    assert dripped.markup == whole.markup


# --- one by one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Business)
def test_every_business_kind_travels(kind):
    document = replace(DOCUMENT, change=replace(DOCUMENT.change, kind=kind, reason="Lý do"))
    assert read(written(document)).content.message == document


@pytest.mark.parametrize("code", StatusCode)
def test_every_status_code_travels(code):
    report = replace(REPORT, code=code)
    assert read(written(report)).content.message == report


def test_a_plain_packet_of_ours_has_no_quirks():
    assert read(written(DOCUMENT)).quirks == {}
    assert read(written(REPORT)).quirks == {}


# --- packets of others --------------------------------------------------------------------------------------------


def with_a_hop(message: Message) -> Message:
    """No packet is written without a trace: who relays one adds its own hop."""
    return message if getattr(message, "trace", DOCUMENT.trace) else replace(message, trace=DOCUMENT.trace)


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.file)
def test_a_packet_of_others_keeps_its_meaning_when_we_write_it(sample, name, tmp_path):
    packet = open_packet(io.BytesIO((FIXTURES / sample.file).read_bytes()), tmp_path)
    blobs = {file.part.sha256: file.path.read_bytes() for file in packet.files}
    profile = replace(load_profile(name).write, document_id_form="any", type_codes="as-given", types=())
    message = with_a_hop(packet.message)
    again = read(written(message, blobs, profile))
    assert in_order(again.content.message) == in_order(message)
    assert again.bytes_of == tuple(blobs[part.sha256] for part in getattr(message, "parts", ()))
