"""Identifiers, times and the two spellings that a document has for its own name."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import (
    VIETNAM,
    Business,
    DocumentReference,
    MessageKind,
    Priority,
    StatusCode,
    document_id,
    mint_id,
    model,
    vietnam_time,
)

moments = st.floats(946684800.0, 7258118400.0).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
entropies = st.binary(min_size=10, max_size=10)
zones = st.timedeltas(timedelta(hours=-12), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)


@given(moments, entropies)
def test_an_id_is_26_letters_of_crockfords_alphabet(now, entropy):
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", mint_id(now, entropy))


@given(moments, st.timedeltas(timedelta(milliseconds=1), timedelta(days=365)), entropies, entropies)
def test_ids_sort_by_the_time_at_which_they_were_minted(now, later, entropy, other):
    assert mint_id(now, entropy) < mint_id(now + later, other)


@given(moments, entropies, entropies)
def test_ids_of_one_moment_are_as_different_as_their_entropy(now, entropy, other):
    assert (mint_id(now, entropy) == mint_id(now, other)) == (entropy == other)


@given(moments, entropies)
def test_an_id_says_when_it_was_minted(now, entropy):
    value = 0
    for letter in mint_id(now, entropy):
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter)
    assert value >> 80 == int(now.timestamp() * 1000)
    assert value & (2**80 - 1) == int.from_bytes(entropy, "big")


@given(moments, zones)
def test_vietnam_time_names_the_same_second_whatever_the_zone_it_came_in(moment, zone):
    text = vietnam_time(moment.astimezone(zone))
    assert text.endswith("+07:00")
    assert datetime.fromisoformat(text) == moment.replace(microsecond=0)


def test_vietnam_time_passes_midnight_seven_hours_early():
    assert vietnam_time(datetime(2026, 3, 1, 17, 0, tzinfo=UTC)) == "2026-03-02T00:00:00+07:00"


def test_vietnam_has_no_other_offset_than_seven_hours():
    assert VIETNAM.utcoffset(None) == timedelta(hours=7)


def test_a_document_id_is_organ_date_and_code_between_commas():
    assert document_id("000.00.01.H53", date(2026, 3, 2), "15/UBND-VP") == "000.00.01.H53,2026/03/02,15/UBND-VP"


@given(st.dates(date(1, 1, 1)))
def test_a_document_id_has_three_parts_that_can_be_read_back(day):
    organ, when, code = document_id("H53.01", day, "7816/VPCP-TTĐT").split(",")
    assert (organ, code) == ("H53.01", "7816/VPCP-TTĐT")
    assert [int(piece) for piece in when.split("/")] == [day.year, day.month, day.day]


def test_a_document_refers_to_itself_as_statuses_do(document):
    assert document.reference() == DocumentReference(
        organ=document.sender.code,
        code="15/UBND-VP",
        promulgated=document.promulgated,
        document_id=document.document_id,
    )


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(model).values() if dataclasses.is_dataclass(kind)],
    ids=lambda kind: kind.__name__,
)
def test_values_cannot_be_changed_and_are_named_when_they_are_made(kind):
    parameters = kind.__dataclass_params__
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))


def test_the_codes_are_those_of_the_packet_format():
    assert {kind.name: int(kind) for kind in Business} == {"NEW": 0, "RECALL": 1, "UPDATE": 2, "REPLACE": 3}
    assert [int(priority) for priority in Priority] == [0, 1, 2, 3, 4]
    assert [code.value for code in StatusCode] == ["01", "02", "03", "04", "05", "06", "13", "15", "16"]
    assert {kind.value for kind in MessageKind} == {"edoc", "status"}
