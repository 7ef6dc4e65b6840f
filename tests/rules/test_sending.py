"""What must hold before a document leaves; ids are those of the requirement catalogue (D28, N30, packet format)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import Business, Capabilities, Change, Document, Organization, Part, PartRole, Replacement
from lienthong.config import Profile
from lienthong.errors import Refused
from lienthong.rules.sending import Surroundings, check_document, refuse_secret

NOON = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
EVERYWHERE = Surroundings(
    now=NOON,
    profile=Profile(),
    capabilities=Capabilities(),
    unknown_recipients=frozenset({"H99.99"}),
    number_used=False,
)


def part(role: PartRole = PartRole.MAIN, size: int = 1000) -> Part:
    return Part(role=role, name="15.pdf", media_type="application/pdf", size=size, sha256="ab" * 32)


def to(*codes: str) -> tuple[Organization, ...]:
    return tuple(Organization(code=code) for code in codes)


def change(kind: Business, **values: Any) -> dict[str, Change]:
    return {"change": Change(kind=kind, **{"reason": "Sai nơi nhận", "document_id": "D1", **values})}


REPLACED = (Replacement(document_id="D1"),)


@dataclass(frozen=True)
class Case:
    """A good document with ``document`` changed is refused with ``code`` at ``where``."""

    id: str
    code: str
    where: str
    document: dict[str, Any]
    around: dict[str, Any] | None = None


REFUSED = [
    Case("ENV-05 number", "rules.field-missing", "number", {"number": ""}),
    Case("ENV-05 notation", "rules.field-missing", "notation", {"notation": " "}),
    Case("ENV-07 subject", "rules.field-missing", "subject", {"subject": "\t\n"}),
    Case("ENV-08 type", "rules.field-missing", "type_name", {"type_name": ""}),
    Case("ENV-05 long number", "rules.field-too-long", "number", {"number": "1" * 12}),
    Case("ENV-05 long notation", "rules.field-too-long", "notation", {"notation": "Đ" * 31}),
    Case("ENV-07 long subject", "rules.field-too-long", "subject", {"subject": "Đ" * 501}),
    Case("ENV-08 long type", "rules.field-too-long", "type_name", {"type_name": "Đ" * 101}),
    Case("ENV-06 future", "rules.date-in-future", "promulgated", {"promulgated": date(2026, 3, 3)}),
    Case("ENV-03 no recipient", "rules.no-recipient", "recipients", {"recipients": ()}),
    Case("ENV-03 twice", "rules.recipient-twice", "recipients", {"recipients": to("H53.02", "A", "H53.02")}),
    Case("SND-09 no main", "rules.no-main-file", "parts", {"parts": (part(PartRole.ATTACHMENT),)}),
    Case("SND-09 no file", "rules.no-main-file", "parts", {"parts": ()}),
    Case("CHG-06 recall", "rules.no-reason", "change.reason", change(Business.RECALL, reason="")),
    Case("ENV-15 update", "rules.no-reason", "change.reason", change(Business.UPDATE, reason=" ")),
    Case("ENV-15 replace", "rules.no-reason", "change.reason", change(Business.REPLACE, reason="")),
    Case("CHG-10", "rules.changes-nothing", "change.document_id", change(Business.UPDATE, document_id="")),
    Case("CHG-01", "rules.changes-nothing", "change.document_id", change(Business.RECALL, document_id="")),
    Case("CHG-12", "rules.replaces-nothing", "change.replaces", change(Business.REPLACE)),
    Case("IDN-10", "rules.node-code", "recipients", {"recipients": to("00.53.W00")}),
    Case("SND-07 self", "rules.to-self", "recipients", {"recipients": to("000.00.01.H53")}),
    Case("SND-07 unknown", "rules.unknown-recipient", "recipients", {"recipients": to("H53.02", "H99.99")}),
    Case("ENV-26 profile", "rules.too-large", "parts", {}, {"profile": Profile(max_document_bytes=999)}),
    Case("ENV-26 axis", "rules.too-large", "parts", {}, {"capabilities": Capabilities(max_bytes=999)}),
    Case("ENV-07 axis", "rules.field-too-long", "subject", {}, {"capabilities": Capabilities(max_title=5)}),
    Case("SND-10", "rules.number-used", "number", {}, {"number_used": True}),
]


def check(document: Document, **around: Any) -> None:
    check_document(document, replace(EVERYWHERE, **around))


def test_a_good_document_may_go(document):
    refuse_secret(document)
    check(document)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_a_document_is_refused_with_the_field_that_is_wrong(document, case):
    with pytest.raises(Refused) as caught:
        check(replace(document, **case.document), **(case.around or {}))
    assert (caught.value.code, caught.value.where) == (case.code, case.where)
    assert "?" not in caught.value.text("vi").partition("→")[0]


@pytest.mark.parametrize(
    "values",
    [
        {"number": "1" * 11, "notation": "Đ" * 30, "subject": "ệ" * 500, "type_name": "Đ" * 100},
        {"promulgated": date(2026, 3, 2)},
        {"recipients": to("000.00.02.H53", "H53.02")},
        {"parts": (part(), part(PartRole.ATTACHMENT))},
        {"parts": (), **change(Business.RECALL)},
        change(Business.UPDATE),
        change(Business.REPLACE, replaces=REPLACED),
    ],
)
def test_what_just_fits_may_go(document, values):
    check(replace(document, **values))


@pytest.mark.parametrize(
    ("now", "may_go"),
    [(datetime(2026, 3, 1, 16, 59, tzinfo=UTC), False), (datetime(2026, 3, 1, 17, 0, tzinfo=UTC), True)],
)
def test_today_is_today_in_vietnam(document, now, may_go):
    if may_go:
        check(document, now=now)
    else:
        with pytest.raises(Refused, match="2026-03-02 is in the future"):
            check(document, now=now)


def test_an_axis_without_a_directory_lets_any_recipient_pass(document):
    check(replace(document, recipients=to("H99.99")), unknown_recipients=frozenset())


@pytest.mark.parametrize("kind", [Business.UPDATE, Business.RECALL])
def test_a_correction_keeps_its_number(document, kind):
    check(replace(document, **change(kind)), number_used=True)


def test_the_size_is_that_of_all_files_together(document):
    parts = (part(size=600), part(PartRole.ATTACHMENT, size=600))
    with pytest.raises(Refused) as caught:
        check(replace(document, parts=parts), profile=Profile(max_document_bytes=1199))
    assert caught.value.facts == {"size": 1200, "limit": 1199}
    check(replace(document, parts=parts), profile=Profile(max_document_bytes=1200))


# --- LV-01: state secrets ---------------------------------------------------------------------------------------

marks = st.sampled_from(["mật", "tối mật", "tuyệt mật"])
brackets = st.sampled_from(["()", "[]"])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(words.filter(str.strip))
def test_whatever_mark_the_office_states_keeps_a_document_here(document, mark):
    with pytest.raises(Refused) as caught:
        refuse_secret(replace(document, secrecy=mark))
    assert caught.value.code == "rules.secret"


@given(marks, brackets, words, words, st.sampled_from([str.lower, str.upper, str.title]), st.integers(0, 2))
def test_a_mark_in_the_subject_keeps_a_document_here(document, mark, pair, before, after, spelled, spaces):
    marked = f"{pair[0]}{' ' * spaces}{spelled(mark)}{' ' * spaces}{pair[1]}"
    with pytest.raises(Refused):
        refuse_secret(replace(document, subject=f"{before}{marked}{after}"))


@pytest.mark.parametrize(
    "subject", ["Về bảo vệ bí mật nhà nước", "Mật ong xuất khẩu", "Ong (lấy mật)", "Mật độ (dân số)", "(thường)"]
)
def test_a_subject_that_only_speaks_of_secrets_may_go(document, subject):
    refuse_secret(replace(document, subject=subject))


def test_a_refusal_for_secrecy_says_nothing_about_the_document(document):
    with pytest.raises(Refused) as caught:
        refuse_secret(replace(document, subject="Kế hoạch Z (tối mật)", secrecy="tối mật"))
    assert caught.value.facts == {}
    assert "Kế hoạch" not in caught.value.text("vi")


@pytest.mark.parametrize("form", ["NFD", "NFKD"])
def test_a_decomposed_mark_keeps_a_document_here(document, form):
    with pytest.raises(Refused):
        refuse_secret(replace(document, subject=unicodedata.normalize(form, "Kế hoạch Z (TỐI MẬT)")))
