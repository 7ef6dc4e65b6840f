"""The demo's letters: what they say, and what they become as documents and as an office's metadata."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import unicodedata
from datetime import date
from importlib.resources import files
from typing import get_args

import pytest

from lienthong.errors import ContentError, catalogue
from lienthong.metadata import DocumentMetadata
from lienthong.model import Business, Organization, Priority, document_id
from lienthong_conformance import letters as package
from lienthong_conformance.letters import (
    agencies,
    as_document,
    as_metadata,
    letter_of,
    letters,
)
from lienthong_conformance.letters.letter import Scenario

LETTERS = list(letters().values())
ROLES = {role: Organization(code=f"000.00.0{n}.H99", name=role) for n, role in enumerate(("tinh", "so", "xa"))}
TYPE_NOTATIONS = {
    "Công điện": "CĐ",
    "Giấy mời": "GM",
    "Kế hoạch": "KH",
    "Báo cáo": "BC",
    "Tờ trình": "TTr",
    "Thông báo": "TB",
    "Quyết định": "QĐ",
}

every_letter = pytest.mark.parametrize("letter", LETTERS, ids=lambda letter: letter.key)


# --- what the letters say -----------------------------------------------------------------------------------


def test_the_letters_cover_every_scenario():
    assert len(LETTERS) >= 14
    assert {letter.scenario for letter in LETTERS} == set(get_args(Scenario))


@every_letter
def test_number_and_notation_follow_decree_30(letter):
    assert re.fullmatch(r"0[1-9]|[1-9]\d+", letter.number)
    group = r"[A-ZĐ]+"
    if letter.type_name == "Công văn":
        assert re.fullmatch(f"{group}-{group}", letter.notation)
        assert letter.notation.split("-")[0] not in TYPE_NOTATIONS.values()
    else:
        assert re.fullmatch(f"{TYPE_NOTATIONS[letter.type_name]}-{group}", letter.notation)


@every_letter
def test_fields_fit_the_packet(letter):
    assert len(letter.number) <= 11
    assert len(letter.notation) <= 30
    assert len(letter.subject) <= 500
    assert 0 < len(letter.signer.full_name) <= 50
    assert 0 < len(letter.signer.position) <= 100
    assert all(len(place) <= 150 for place in letter.to_places)


@every_letter
def test_text_is_composed_unicode_without_stray_spaces_and_ends_as_letters_do(letter):
    for text in (letter.subject, *letter.salutation, *letter.body, *letter.to_places, letter.signer.full_name):
        assert unicodedata.is_normalized("NFC", text)
        assert text == " ".join(text.split())
    assert letter.body[-1].endswith("./.")


@every_letter
def test_dates_are_working_days_in_order(letter):
    assert letter.promulgated.weekday() < 5
    assert letter.due is None or letter.due >= letter.promulgated
    for key in filter(None, (letter.responds_to, letter.concerns)):
        assert letter_of(key).promulgated <= letter.promulgated


def test_numbers_of_an_agency_are_used_once_and_files_have_distinct_names():
    codes = [(letter.sender, letter.code) for letter in LETTERS]
    names = [name for letter in LETTERS for name in (letter.main_name, *(one.name for one in letter.attachments))]
    assert len(set(codes)) == len(codes)
    assert len(set(names)) == len(names)


def test_only_the_letter_with_the_mistake_and_its_correction_name_a_wrong_weekday():
    weekdays = ["Hai", "Ba", "Tư", "Năm", "Sáu", "Bảy"]
    named = re.compile(r"thứ (\w+), ngày (\d+) tháng (\d+) năm (\d+)")
    wrong = set()
    for letter in LETTERS:
        for day_name, day, month, year in named.findall(" ".join(letter.body)):
            if weekdays[date(int(year), int(month), int(day)).weekday()] != day_name:
                wrong.add(letter.key)
    assert wrong == {"lich-tap-huan", "dinh-chinh-lich-tap-huan"}


def test_letters_cite_each_other_with_the_right_date():
    dates = {letter.code: letter.promulgated for letter in LETTERS}
    cited = re.compile(r"số (\d+/[\w-]+) ngày (\d+) tháng (\d+) năm (\d+)")
    found = [match for letter in LETTERS for match in cited.findall(" ".join(letter.body))]
    own = [match for match in found if match[0] in dates]
    assert len(own) >= 8
    assert all(dates[code] == date(int(year), int(month), int(day)) for code, day, month, year in own)


def test_a_change_comes_from_the_issuer_and_gives_a_reason():
    changes = [letter for letter in LETTERS if letter.business is not Business.NEW]
    assert {letter.business for letter in changes} == {Business.RECALL, Business.UPDATE, Business.REPLACE}
    for letter in changes:
        concerned = letter_of(letter.concerns)
        assert letter.reason
        assert letter.sender == concerned.sender
        assert set(letter.recipients) <= set(concerned.recipients)


def test_the_budget_adds_up():
    budget = next(one for one in letter_of("ke-hoach-ky-so-cap-xa").attachments if one.kind == "csv")
    *items, total = budget.rows
    assert all(int(row[3]) * int(row[4]) == int(row[5]) for row in items)
    assert sum(int(row[5]) for row in items) == int(total[5])


def test_an_unknown_letter_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ContentError, match="ra-soat-van-ban"):
        letter_of("khong-co")


# --- as documents and metadata ------------------------------------------------------------------------------


@every_letter
def test_a_letter_becomes_a_document_with_its_metadata(letter):
    document = as_document(letter, ROLES)
    assert document.sender == ROLES[letter.sender]
    assert document.document_id == document_id(ROLES[letter.sender].code, letter.promulgated, letter.code)
    assert (document.code, document.subject) == (letter.code, letter.subject)
    assert (document.priority, document.secrecy, document.due) == (letter.priority, letter.secrecy, letter.due)
    assert len(document.recipients) == len(letter.recipients)
    assert document.parts == ()


def test_a_reply_refers_to_the_document_that_it_answers():
    reply = as_document(letter_of("bao-cao-chu-ky-so"), ROLES)
    assert reply.responds_to == (as_document(letter_of("de-nghi-bao-cao"), ROLES).reference(),)


@pytest.mark.parametrize(("key", "kind"), [("thu-hoi-giay-moi", "RECALL"), ("dinh-chinh-lich-tap-huan", "UPDATE")])
def test_recall_and_update_name_the_document_that_they_concern(key, kind):
    change = as_document(letter_of(key), ROLES).change
    concerned = as_document(letter_of(letter_of(key).concerns), ROLES)
    assert change.kind is Business[kind]
    assert change.document_id == concerned.document_id
    assert change.content_changed is (kind == "UPDATE")
    assert change.reason


def test_a_replacement_lists_what_it_replaces_and_for_whom():
    change = as_document(letter_of("lich-tap-huan-moi"), ROLES).change
    (replaced,) = change.replaces
    assert replaced.document_id == as_document(letter_of("lich-tap-huan"), ROLES).document_id
    assert replaced.organs == (ROLES["xa"].code,)


def test_the_unknown_recipient_is_named_by_the_letters_unless_the_caller_does():
    letter = letter_of("ha-tang-vien-thong")
    assert as_document(letter, ROLES).recipients == (agencies()["la"].organization,)
    own = Organization(code="000.00.01.H98")
    assert as_document(letter, {**ROLES, "la": own}).recipients == (own,)


def test_a_role_without_agency_is_an_error_that_names_role_and_letter():
    with pytest.raises(ContentError, match=r"“xa”.*\[de-nghi-bao-cao\]"):
        as_document(letter_of("de-nghi-bao-cao"), {"so": ROLES["so"]})


@every_letter
def test_metadata_survives_json_and_agrees_with_the_document(letter):
    document, metadata = as_document(letter, ROLES), as_metadata(letter, ROLES)
    assert json.loads(json.dumps(metadata, ensure_ascii=False)) == metadata
    assert metadata["from"] == document.sender.code
    assert metadata["to"] == [recipient.code for recipient in document.recipients]
    assert date.fromisoformat(metadata["date"]) == document.promulgated
    assert metadata["signer"]["name"] == document.signer.full_name
    assert [one["document_id"] for one in metadata["responds_to"]] == [
        reference.document_id for reference in document.responds_to
    ]
    replaced = [one.document_id for one in document.change.replaces]
    assert metadata["concerns"] == (document.change.document_id or "".join(replaced))


@every_letter
def test_the_drop_folder_office_accepts_the_metadata(letter):
    read = DocumentMetadata.model_validate_json(json.dumps(as_metadata(letter, ROLES)))
    assert (read.number, read.notation, read.promulgated) == (letter.number, letter.notation, letter.promulgated)
    assert (read.main, read.due) == (letter.main_name, letter.due)


def test_metadata_has_the_keys_of_the_drop_folder_office():
    metadata = as_metadata(letter_of("cong-dien-bao"), ROLES)
    wanted = """from to number notation date type subject signer priority secrecy due responds_to to_places main
        attachments business reason concerns"""
    assert list(metadata) == wanted.split()
    assert (metadata["priority"], metadata["business"], metadata["due"]) == ("hoa-toc", "new", "2026-09-17")


def test_every_priority_has_a_word_in_the_metadata():
    letter = letter_of("cong-dien-bao")
    words = [as_metadata(dataclasses.replace(letter, priority=level), ROLES)["priority"] for level in Priority]
    assert words == ["thuong", "khan", "thuong-khan", "hoa-toc", "hoa-toc"]


# --- the package --------------------------------------------------------------------------------------------


def test_every_error_has_its_texts_and_every_text_its_error():
    sources = [path.read_text("utf-8") for path in files(package).iterdir() if path.name.endswith(".py")]
    raised = set(re.findall(r'Error\("(letters\.[a-z-]+)"', "".join(sources)))
    texts = {code: entry for code, entry in catalogue().items() if code.startswith("letters.")}
    assert raised == set(texts)
    assert all(set(entry) == {"en", "vi", "next_en", "next_vi"} for entry in texts.values())


def test_a_missing_demo_extra_is_an_error_that_says_what_to_install():
    code = "import sys; sys.modules['reportlab'] = None; import lienthong_conformance.letters"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert "pip install 'lienthong[demo]'" in done.stderr
