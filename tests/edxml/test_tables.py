from __future__ import annotations

import unicodedata
from collections import Counter
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import Business, ContentError, Priority, StatusCode
from lienthong.edxml.tables import (
    agency_code_form,
    agency_levels,
    code_name,
    code_rows,
    competence_row,
    document_id_form,
    document_types,
    find_type,
    is_node_code,
    make_document_id,
    type_at,
)

names = st.sampled_from([name for each in document_types() for name in (each.name, *each.aliases)])


def rows_found(name: str) -> list[tuple[str, int]]:
    return [(each.table, each.row) for each in find_type(name).types]


# --- document types -----------------------------------------------------------------------------------------------


def test_both_tables_are_whole_and_their_rows_are_distinct():
    assert [each.row for each in document_types() if each.table == "A"] == list(range(1, 14))
    assert [each.row for each in document_types() if each.table == "B"] == [*range(1, 33), 0]


def test_the_27_abbreviations_of_decree_30_are_there_and_distinct():
    abbreviations = [each.abbreviation for each in document_types() if each.abbreviation]
    assert len(abbreviations) == len(set(abbreviations)) == 27
    assert {"NQ", "QyĐ", "CTr", "TTr", "GNP", "PB"} <= set(abbreviations)


def test_letters_have_no_abbreviation():
    assert [each.abbreviation for name in ("Công văn", "Thư công") for each in find_type(name).types] == ["", ""]


def test_every_row_says_how_sure_it_is_and_whence():
    assert Counter(each.confidence for each in document_types()).keys() == {"V", "I", "M"}
    assert all("Amendment 1:2022" in each.source for each in document_types())


def test_no_name_of_one_table_means_two_rows():
    for each in document_types():
        same_table = [found for found in find_type(each.name).types if found.type_code == each.type_code]
        assert same_table == [each]


@pytest.mark.parametrize(
    "written",
    [
        "Bản thỏa thuận",
        "Bản thoả thuận",
        "BẢN THOẢ THUẬN",
        "  bản\u00a0 thỏa\tthuận ",
        unicodedata.normalize("NFD", "Bản thoả thuận"),
    ],
)
def test_a_type_is_found_however_it_is_typed(written):
    assert rows_found(written) == [("B", 22)]
    assert not find_type(written).loose


@pytest.mark.parametrize("dash", ["-", " - ", "–", " — ", "\u2011", "\u2212"])
def test_any_dash_will_do(dash):
    name = f"Văn bản quy phạm pháp luật của đơn vị hành chính{dash}kinh tế đặc biệt"
    assert rows_found(name) == [("A", 13)]


@given(names, st.sampled_from(["NFC", "NFD"]), st.sampled_from([str.upper, str.lower, str.title]))
def test_every_name_is_found_in_every_case_and_form(name, form, case):
    match = find_type(unicodedata.normalize(form, case(name)))
    assert match == find_type(name)
    assert match.types
    assert not match.loose


@pytest.mark.parametrize("written", ["Cong van", "cong  VAN", "Công vãn", "Cộng văn"])
def test_without_its_marks_a_name_is_found_but_loosely(written):
    match = find_type(written)
    assert [each.name for each in match.types] == ["Công văn"]
    assert match.loose


@pytest.mark.parametrize("written", ["", " ", "Công", "Công văn hỏa tốc", "18", "-", "()"])
def test_an_unknown_name_matches_nothing(written):
    match = find_type(written)
    assert (match.types, match.loose, match.prefer(2)) == ((), False, None)


@given(st.text())
def test_any_text_can_be_looked_up(text):
    assert find_type(text).loose in (True, False)


def test_a_name_of_both_tables_means_both_and_the_stated_table_decides():
    match = find_type("Quyết định")
    assert rows_found("Quyết định") == [("A", 8), ("B", 2)]
    assert (match.prefer(1).table, match.prefer(2).table, match.prefer(18).table) == ("A", "B", "B")


@pytest.mark.parametrize("written", ["Quyết định (cá biệt)", "Quyết định(cá biệt)", "quyết định cá biệt"])
def test_an_individual_decision_is_administrative(written):
    assert rows_found(written) == [("B", 2)]


def test_a_legal_type_is_preferred_where_there_is_no_other():
    assert find_type("Nghị định").prefer(2).row == 7


def test_a_row_is_found_by_its_numbers():
    assert type_at(2, 18).name == "Công văn"
    assert type_at(1, 7).name == "Nghị định"
    assert [type_at(*numbers) for numbers in ((2, 0), (1, 0), (2, 33), (3, 1))] == [None] * 4


def test_the_tables_are_read_once():
    assert document_types() is document_types()
    assert code_rows("status") is code_rows("status")


# --- small code lists ---------------------------------------------------------------------------------------------


def test_every_value_that_the_model_knows_has_a_vietnamese_name():
    assert all(code_name("status", code.value) for code in StatusCode)
    assert all(code_name("priority", level.value) for level in Priority)
    assert all(code_name("business", kind.value) for kind in Business)
    assert {row.value for row in code_rows("status")} == {code.value for code in StatusCode}


def test_names_are_the_ones_of_the_decree():
    assert code_name("priority", 2) == "Thượng khẩn"
    assert code_name("copy", "TrS") == "Trích sao"
    assert code_name("paper", 1) == "Có gửi bản giấy"


@pytest.mark.parametrize("value", ["07", "1", "", 14, "khẩn"])
def test_a_value_that_is_not_in_the_list_has_no_name(value):
    assert code_name("status", value) == ""


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[("TM.", "TM."), ("tm. ỦY BAN NHÂN DÂN", "TM."), ("KT.CHỦ TỊCH", "KT."), ("TL. BO TRUONG", "TL.")],
        *[(" TUQ. GIÁM ĐỐC", "TUQ."), ("Q. GIÁM ĐỐC", "Q."), ("TL", "TL.")],
    ],
)
def test_a_competence_is_known_by_its_abbreviation(written, value):
    assert competence_row(written).value == value


@pytest.mark.parametrize("written", ["", "Trực tiếp", "QUYỀN GIÁM ĐỐC", ".", "N/A", "TMA."])
def test_other_words_are_no_competence(written):
    assert competence_row(written) is None


# --- agency codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "form", "levels"),
    [
        ("000.00.00.G22", "old", ("G22",)),
        ("000.00.13.H53", "old", ("H53", "13")),
        ("001.00.13.H53", "old", ("H53", "13", "00", "001")),
        ("H37.DN.001", "new", ("H37", "DN", "001")),
        ("G09.01", "new", ("G09", "01")),
        ("H53", "new", ("H53",)),
        ("H53.G22", "new", ("H53", "G22")),
        ("0101234567", "new", ("0101234567",)),
        ("H37." + "1" * 31, "new", ("H37", "1" * 31)),
        ("null", "irregular", ("null",)),
        ("28.22.H17", "irregular", ("H17", "22", "28")),
        ("79.H36", "irregular", ("H36", "79")),
        ("00.53.W00", "irregular", ("W00", "53")),
        ("h37.dn", "irregular", ("h37", "dn")),
        *[(code, "", ()) for code in ("", " ", "H37..DN", ".H37", "H37.", "H37 DN", "Sở", "H" * 36, "H37,DN")],
    ],
)
def test_the_form_of_an_agency_code(code, form, levels):
    assert agency_code_form(code) == form
    assert agency_levels(code) == levels


@given(st.text())
def test_any_text_has_a_form_and_levels(text):
    assert agency_code_form(text) in ("old", "new", "irregular", "")
    assert bool(agency_levels(text)) == bool(agency_code_form(text))


def test_the_code_of_a_connected_system_is_no_agency():
    assert is_node_code("00.53.W00")
    assert is_node_code("w00")
    assert not is_node_code("000.00.00.G22")
    assert not is_node_code("H37.W001")


# --- document codes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("000.00.00.G22,2015/09/30,7816/VPCP-TTĐT", "triple"),
        ("H07.03-2026-118", "year-number"),
        ("01b6b3f0-3c5b-4f0e-9a55-0e3b5a4f6d21", "uuid"),
        ("01B6B3F0-3C5B-4F0E-9A55-0E3B5A4F6D21", "uuid"),
        *[(value, "free") for value in ("VPCP-00021", "", "H07.03,2026/11/20", "H07.03-26-1", "{01b6b3f0}")],
    ],
)
def test_the_form_of_a_document_code(value, form):
    assert document_id_form(value) == form


def made(form, **changes):
    values = {"sender": "H07.03", "promulgated": date(2026, 11, 20), "number": "12", "notation": "SXD-VP", "seed": "a"}
    return make_document_id(form, **{**values, **changes})


def test_a_document_code_is_made_in_each_form():
    assert made("triple") == "H07.03,2026/11/20,12/SXD-VP"
    assert made("year-number") == "H07.03-2026-12"
    assert document_id_form(made("uuid")) == "uuid"


def test_the_same_seed_makes_the_same_code_and_another_seed_another():
    assert made("uuid") == made("uuid") != made("uuid", seed="b")


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("triple", {"notation": "SXD,VP"}),
        ("triple", {"sender": ""}),
        ("year-number", {"number": "12a"}),
        ("year-number", {"sender": "Sở Xây dựng"}),
        ("free", {}),
    ],
)
def test_values_that_cannot_make_the_form_are_refused(form, changes):
    with pytest.raises(ContentError) as refusal:
        made(form, **changes)
    assert refusal.value.code == "packet.document-id-form"
    assert refusal.value.facts["form"] == form
