from __future__ import annotations

import unicodedata
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import VIETNAM
from lienthong.edxml import detect_media_type, safe_name
from lienthong.edxml.codes import (
    is_document_triple,
    names_impossible_day,
    parse_moment,
    tidy,
    types_agree,
    wire_date,
    wire_timestamp,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026/11/05", datetime(2026, 11, 5, tzinfo=VIETNAM)),
        ("2026-11-05", datetime(2026, 11, 5, tzinfo=VIETNAM)),
        ("05/11/2026", datetime(2026, 11, 5, tzinfo=VIETNAM)),
        ("5-11-2026", datetime(2026, 11, 5, tzinfo=VIETNAM)),
        ("05/11/2026 17:04:09", datetime(2026, 11, 5, 17, 4, 9, tzinfo=VIETNAM)),
        ("2026/11/05 17:04", datetime(2026, 11, 5, 17, 4, tzinfo=VIETNAM)),
        ("2026-11-05T17:04:09.25", datetime(2026, 11, 5, 17, 4, 9, 250_000, tzinfo=VIETNAM)),
        ("2026-11-05T17:04:09Z", datetime(2026, 11, 6, 0, 4, 9, tzinfo=VIETNAM)),
        ("2026-11-05T23:04:09+09:00", datetime(2026, 11, 5, 21, 4, 9, tzinfo=VIETNAM)),
        ("2026-11-05T23:04:09-0100", datetime(2026, 11, 6, 7, 4, 9, tzinfo=VIETNAM)),
    ],
)
def test_every_date_form_of_the_field_is_read_as_vietnam_time(text, expected):
    assert parse_moment(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("2014/02/30", "30/02/2014", "2026/11-05", "hôm nay", "", "2026/11/05 25:00:00", "2026-11-05T10:00:00+99:99"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00", "٢٠٢٦/١١/٠٥", "20261105"),
    ],
)
def test_what_is_no_date_gives_none(text):
    assert parse_moment(text) is None


@given(st.dates())
def test_a_written_date_is_read_back(day):
    moment = parse_moment(wire_date(day))
    assert moment is not None
    assert moment.date() == day


@given(st.datetimes(timezones=st.just(VIETNAM)))
def test_a_written_timestamp_is_read_back_to_the_second(moment):
    assert parse_moment(wire_timestamp(moment)) == moment.replace(microsecond=0)


def test_an_early_year_keeps_its_four_digits():
    assert wire_date(date(987, 3, 4)) == "0987/03/04"


@pytest.mark.parametrize(
    ("document_id", "triple"),
    [
        ("H07.03,2026/11/20,12/SXD-VP", True),
        ("H07.03,2014/02/30,12/SXD-VP", True),
        ("6c1e7a54-0000-4000-8000-000000000001", False),
        ("H07.03-2026-12", False),
        ("H07.03,2026/11/20,12/A,B", False),
    ],
)
def test_the_triple_form_of_an_id_is_recognised(document_id, triple):
    assert is_document_triple(document_id) is triple


def test_an_impossible_day_inside_an_id_is_noticed():
    assert names_impossible_day("H07.03,2014/02/30,12/SXD-VP")
    assert not names_impossible_day("H07.03,2014/02/28,12/SXD-VP")
    assert not names_impossible_day("VB-2014/02/30")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Công văn 12.pdf", "Công văn 12.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("7816/VPCP-TTĐT.pdf", "7816_VPCP-TTĐT.pdf"),
        ("C:\\Users\\a.doc", "C__Users_a.doc"),
        ("a\x00\nb\u202efdp.exe", "a bfdp.exe"),
        ("  .pdf. ", "pdf"),
        ("con.pdf", "_con.pdf"),
        ("COM1", "_COM1"),
        ("....", "file"),
        ("", "file"),
        (unicodedata.normalize("NFD", "Tiếng Việt.pdf"), "Tiếng Việt.pdf"),
    ],
)
def test_a_file_name_becomes_safe(written, expected):
    assert safe_name(written) == expected


def test_a_long_file_name_keeps_its_ending():
    name = safe_name("ệ" * 300 + ".pdf")
    assert name.endswith("ệ.pdf")
    assert len(name.encode()) <= 200


@given(st.text(max_size=300))
def test_any_text_becomes_one_safe_component_and_stays_so(text):
    name = safe_name(text)
    assert name
    assert not set(name) & set('/\\\0\n:*?"<>|')
    assert name not in (".", "..")
    assert len(name.encode()) <= 200
    assert safe_name(name) == name
    assert tidy(name) == name


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"%PDF-1.4", "a.doc", "application/pdf"),
        (b"\xef\xbb\xbf\r\n%PDF-1.4", "a.pdf", "application/pdf"),
        (b"PK\x03\x04", "a.DOCX", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"PK\x03\x04", "a.pdf", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.xls", "application/vnd.ms-excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.pdf", "application/x-ole-storage"),
        (b"\xff\xd8\xff\xe0", "a", "image/jpeg"),
        (b"<?xml version='1.0'?>", "a.edxml", "application/xml"),
        ("Kính gửi: Ủy ban".encode(), "a.txt", "text/plain"),
        ("Kính gử".encode()[:-1], "a.txt", "text/plain"),
        (b"text\x00", "a.txt", "application/octet-stream"),
        (b"\xc3\x28", "a.txt", "application/octet-stream"),
        (b"", "a.pdf", "application/octet-stream"),
    ],
)
def test_the_content_tells_the_media_type(head, name, expected):
    assert detect_media_type(head, name) == expected


@pytest.mark.parametrize(
    ("declared", "detected", "agree"),
    [
        ("application/pdf", "application/pdf", True),
        ("Application/X-PDF; name=a", "application/pdf", True),
        ("", "application/pdf", True),
        ("application/octet-stream", "image/png", True),
        ("text/csv", "text/plain", True),
        ("application/pdf", "text/plain", False),
        ("application/zip", "application/pdf", False),
    ],
)
def test_declared_and_detected_types_are_compared_by_meaning(declared, detected, agree):
    assert types_agree(declared, detected) is agree
