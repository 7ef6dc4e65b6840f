from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong import Business, StatusCode
from lienthong.edxml import WriteProfile

from .builders import DOCUMENT, REPORT, documents, read, reports, written

patient = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
profiles = st.builds(WriteProfile, cid_in_both=st.booleans(), zip_parts=st.booleans())


@patient
@given(documents(), profiles)
def test_a_document_and_its_files_arrive_as_they_were_sent(message, profile):
    document, blobs = message
    reading = read(written(document, blobs, profile))
    assert reading.content.message == document
    assert reading.bytes_of == tuple(blobs[part.sha256] for part in document.parts)


@patient
@given(reports)
def test_a_status_report_arrives_as_it_was_sent(report):
    reading = read(written(report))
    assert reading.content.message == report
    assert reading.content.files == ()


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
