"""Text that an encoding spoilt is found, with what was meant; text that is as it should be is left alone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong.edxml.rules.spoilt_text import Damage, is_syllable, spoilt
from lienthong.errors import catalogue
from lienthong_conformance.letters import letters

SENTENCES = (
    "Về việc kiểm tra cầu treo",
    "V/v kết nối, liên thông phần mềm quản lý văn bản",
    "Ủy ban nhân dân xã Tân Trụ - Phòng Kinh tế",
    "Quyết định số 30/2020/NĐ-CP của Chính phủ về công tác văn thư",
)


def misread(text: str, codec: str = "cp1252") -> str:
    """UTF-8 bytes shown by a program that takes them for another encoding."""
    return "".join(shown(byte, codec) for byte in text.encode()).strip()


def shown(byte: int, codec: str) -> str:
    try:
        return bytes([byte]).decode(codec)
    except UnicodeDecodeError:
        return chr(byte)


@pytest.mark.parametrize("text", SENTENCES)
def test_utf8_that_was_read_as_another_encoding_is_found_and_read_again(text):
    found = spoilt(misread(text))
    assert found is not None
    assert (found.damage, found.meant) == (Damage.MISREAD, text)


def test_utf8_that_was_read_as_the_vietnamese_code_page_is_found():
    found = spoilt(misread("Đề nghị báo cáo tình hình", "cp1258"))
    assert found is not None
    assert found.damage is Damage.MISREAD
    assert "tình hình" in found.meant


@pytest.mark.parametrize(
    ("text", "damage", "meant"),
    [
        ("C«ng v¨n", Damage.TCVN3, "Công văn"),
        ("Céng hßa x· héi chñ nghÜa ViÖt Nam", Damage.TCVN3, "Cộng hòa xã hội chủ nghĩa Việt Nam"),
        ("§Ò nghÞ b¸o c¸o t×nh h×nh quý I/2026", Damage.TCVN3, "đề nghị báo cáo tình hình quý I/2026"),
        ("Coâng vaên soá 12", Damage.VNI, "công văn số 12"),
        ("Coäng hoøa xaõ hoäi chuû nghóa", Damage.VNI, "cộng hòa xã hội chủ nghĩa"),
        ("VŠ viŒc ki‹m tra cÀu treo, báo cáo", Damage.VPS, "Về việc kiểm tra cầu treo, báo cáo"),
    ],
)
def test_text_for_an_old_font_is_found_and_turned_into_unicode(text, damage, meant):
    found = spoilt(text)
    assert found is not None
    assert found.damage is damage
    assert found.meant.casefold() == meant.casefold()


@pytest.mark.parametrize("text", ["V? vi?c ki?m tra", "Ki?m tra c?u treo x\u00e3 T?n Tr?ng", "ki\ufffdm tra", "\ufffd"])
def test_letters_that_were_lost_are_found(text):
    found = spoilt(text)
    assert found is not None
    assert (found.damage, found.meant) == (Damage.REPLACED, "")


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        *(sentence.upper() for sentence in SENTENCES),
        *(unicodedata.normalize("NFD", sentence) for sentence in SENTENCES),
        "“UBND XÃ”",
        "XÃ”, XÃ… «Văn bản» 100µm, 20°C ±5 m² §12 © ® ™",
        "Đắk Lắk, Krông Pắc, Plei Kần, Ea H’leo, Mường Ảng",
        "Café, résumé, naïve, déjà vu; Hélène Müller, Zürich; Société Générale",
        "Anh hỏi gì?Em trả lời?Không",
        "https://example.gov.vn/tim?q=a?b&c=d?e",
        "000.00.13.H53,2026/11/20,12/SXD-VP",
        "PRO-TEST-CASE1 74fass22",
        "é à ù",
        "",
    ],
)
def test_text_that_is_as_it_should_be_is_left_alone(text):
    assert spoilt(text) is None


def test_the_letters_of_the_demo_and_our_own_texts_are_left_alone():
    ours = [text for entry in catalogue().values() for text in entry.values()]
    theirs = [text for letter in letters().values() for text in (letter.subject, letter.signer.position, *letter.body)]
    assert [text for text in (*ours, *theirs) if spoilt(text)] == []


@given(st.text(max_size=60))
def test_any_text_is_judged_without_an_error(text):
    found = spoilt(text)
    assert found is None or unicodedata.is_normalized("NFC", found.meant) or found.damage is not Damage.MISREAD


@given(st.text(st.characters(codec="ascii", exclude_characters="?")))
def test_ascii_is_never_taken_for_spoilt(text):
    assert spoilt(text) is None


@pytest.mark.parametrize(
    "word", ["nghĩa", "khuỷu", "giếng", "gì", "giữa", "quốc", "Quý", "thuế", "yêu", "Ủy", "ươm", "Nguyễn", "xoong"]
)
def test_syllables_of_the_language_are_known(word):
    assert is_syllable(word)
    assert is_syllable(unicodedata.normalize("NFD", word))


@pytest.mark.parametrize("word", ["", "café", "QĐ", "văng-tai", "bắ́n", "cat", "tôch", "zú", "microô", "àm2"])
def test_what_is_no_syllable_is_known_as_none(word):
    assert not is_syllable(word)
