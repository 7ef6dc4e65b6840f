"""What signatures are worth in law, and whose they are."""

from __future__ import annotations

import pytest

from lienthong import FileVerification, Organization, SignatureFinding, Verdict
from lienthong.model import Party
from lienthong.rules.legal import LegalClass, belongs_to, legal_value, missing_party, strangers

AN_LAC = Organization(code="000.00.01.H53", name="Ủy ban nhân dân huyện An Lạc")


def found(**known: object) -> SignatureFinding:
    return SignatureFinding(**{"field_name": "S", "signer": "", "verdict": Verdict.VALID, **known})  # type: ignore[arg-type]


def file_of(*findings: SignatureFinding) -> FileVerification:
    return FileVerification(part="15.pdf", verdict=Verdict.VALID, signatures=findings)


@pytest.mark.parametrize("verdict", Verdict)
def test_only_a_valid_signature_makes_it_equal_to_paper(verdict):
    value = legal_value(verdict)
    assert (value.legal_class is LegalClass.EQUIVALENT) == (verdict is Verdict.VALID)
    assert value.article in value.text_vi


@pytest.mark.parametrize(
    "names",
    [
        {"signer": "Ủy ban nhân dân huyện An Lạc"},
        {"signer": "UY BAN NHAN DAN HUYEN AN LAC"},
        {"signer": "UBND huyện An Lạc"},
        {"signer": "UBND huyện An Lạc - tỉnh Lạc Hồng"},
        {"signer": "Nguyễn Văn An", "organization": "Uỷ ban nhân dân huyện An Lạc"},
        {"signer": "An Lạc", "identifiers": ("000.00.01.H53",)},
    ],
)
def test_a_certificate_that_names_the_agency_is_its_own(names):
    assert belongs_to(found(**names), AN_LAC)


@pytest.mark.parametrize(
    "names",
    [
        {"signer": "Ủy ban nhân dân huyện An Dương"},
        {"signer": "Ủy ban nhân dân"},
        {"signer": ""},
        {"signer": "Nguyễn Văn An", "organization": "Sở Nội vụ", "identifiers": ("MST:0100000001",)},
    ],
)
def test_another_certificate_is_not(names):
    assert not belongs_to(found(**names), AN_LAC)


def test_the_configuration_may_say_whose_a_certificate_is():
    finding = found(signer="Văn phòng X", identifiers=("MST:0100000001",))
    assert not belongs_to(finding, AN_LAC)
    assert belongs_to(finding, AN_LAC, {AN_LAC.code: ("0100000001",)})
    assert belongs_to(finding, AN_LAC, {AN_LAC.code: ("Văn phòng X",)})


def test_one_signature_of_the_sender_is_enough():
    own, other = found(signer=AN_LAC.name), found(signer="Cục Tần số")
    assert strangers(file_of(other), AN_LAC, {}) == ("Cục Tần số",)
    assert strangers(file_of(other, own), AN_LAC, {}) == ()
    assert strangers(file_of(found(signer="Cục Tần số", verdict=Verdict.INVALID)), AN_LAC, {}) == ()


@pytest.mark.parametrize(
    ("parties", "told"),
    [
        ((Party.PERSON,), "của cơ quan, tổ chức"),
        ((Party.ORGANIZATION,), "của người có thẩm quyền"),
        ((Party.PERSON, Party.ORGANIZATION), ""),
        ((Party.PERSON, Party.UNKNOWN), ""),
        ((), ""),
    ],
)
def test_a_missing_party_is_told(parties, told):
    line = missing_party(file_of(*(found(party=party) for party in parties)))
    assert line.startswith(f"Chưa thấy chữ ký số {told}") if told else line == ""
