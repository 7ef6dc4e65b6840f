"""What happens to a document that arrived; ids are those of the requirement catalogue."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import Business, Change, FileVerification, Part, PartRole, Verdict
from lienthong.config import Profile
from lienthong.errors import catalogue
from lienthong.rules.receiving import Admission, admit

LEGAL = "Văn bản đã ký số hợp lệ"
FOR_REFERENCE = "Văn bản không ký số: chỉ để biết, tham khảo"
NOT_RECOGNISED = "Chữ ký số chưa được công nhận: chỉ để biết, tham khảo"


def found(verdict: Verdict, part: str = "15.pdf") -> FileVerification:
    return FileVerification(part=part, verdict=verdict)


def decided(document, *findings, addressed_to_us=True, known_original=True, holders=None, **profile) -> Admission:
    settings = Profile(**profile)
    return admit(
        document,
        findings,
        settings,
        addressed_to_us=addressed_to_us,
        known_original=known_original,
        holders=holders or {},
    )


def test_a_signed_document_goes_on_with_its_legal_value(document):
    admission = decided(document, found(Verdict.VALID))
    assert (admission.hold, admission.refusal) == ("", "")
    assert [line for line in admission.lines if line.startswith(LEGAL)]


@pytest.mark.parametrize(
    ("rule", "admission"),
    [
        ("LV-02", {"document": {"secrecy": "mật"}, "hold": "received.secret", "refused": True}),
        ("RCV-06", {"addressed_to_us": False, "hold": "received.not-for-us", "refused": True}),
        ("RCV-02", {"verdict": Verdict.INVALID, "hold": "received.signature-broken", "refused": True}),
        ("RCV-02 by hand", {"verdict": Verdict.INVALID, "hold": "received.signature-broken", "refuse_broken": False}),
        ("RCV-03", {"verdict": Verdict.UNTRUSTED, "hold": "received.signer-untrusted"}),
        ("RCV-03 let go", {"verdict": Verdict.UNTRUSTED, "hold": "", "hold_untrusted": False}),
        ("LV-03", {"verdict": Verdict.UNSIGNED, "hold": ""}),
        ("LV-03 held", {"verdict": Verdict.UNSIGNED, "hold": "received.unsigned", "hold_unsigned": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_is_held_or_refused_as_the_rule_says(document, rule, admission):
    admission = dict(admission)
    given_document = replace(document, **admission.pop("document", {}))
    hold, refused = admission.pop("hold"), admission.pop("refused", False)
    result = decided(given_document, found(admission.pop("verdict", Verdict.VALID)), **admission)
    assert result.hold == hold
    assert bool(result.refusal) == refused


@pytest.mark.parametrize(
    ("verdict", "says"),
    [(Verdict.VALID, LEGAL), (Verdict.UNSIGNED, FOR_REFERENCE), (Verdict.UNTRUSTED, NOT_RECOGNISED)],
)
def test_the_clerk_is_told_what_the_document_is_worth(document, verdict, says):
    lines = decided(document, found(verdict), hold_untrusted=False).lines
    assert [line for line in lines if line.startswith(says)]


def test_the_main_file_decides_what_the_document_is_worth(document):
    other = Part(role=PartRole.ATTACHMENT, name="phụ lục.pdf", media_type="application/pdf", size=1, sha256="cd" * 32)
    both = replace(document, parts=(other, *document.parts))
    lines = decided(both, found(Verdict.UNSIGNED, other.name), found(Verdict.VALID)).lines
    assert lines[0].startswith(LEGAL)


def test_a_broken_attachment_breaks_the_document_and_is_named(document):
    admission = decided(document, found(Verdict.VALID), found(Verdict.INVALID, "phụ lục.pdf"))
    assert admission.hold == "received.signature-broken"
    assert "phụ lục.pdf" in admission.refusal


def test_a_document_whose_main_file_nobody_checked_counts_as_unsigned(document):
    assert decided(document).lines[0].startswith(FOR_REFERENCE)
    assert decided(document, hold_unsigned=True).hold == "received.unsigned"


@pytest.mark.parametrize(("kind", "says"), [(1, "YÊU CẦU THU HỒI"), (2, "CẬP NHẬT"), (3, "THAY THẾ")])
def test_a_change_and_its_reason_stand_first(document, kind, says):
    changed = replace(document, change=Change(kind=Business(kind), reason="Sai số liệu"))
    first, *_ = decided(changed, found(Verdict.VALID)).lines
    assert says in first
    assert "Sai số liệu" in first


def test_a_change_without_a_reason_is_shown_as_such(document):
    changed = replace(document, change=Change(kind=Business.RECALL))
    assert "Lý do: không nêu" in decided(changed, found(Verdict.VALID)).lines[0]


@pytest.mark.parametrize("known", [True, False])
def test_the_clerk_is_warned_when_the_original_is_not_here(document, known):
    recall = replace(document, change=Change(kind=Business.RECALL, reason="Nhầm"))
    lines = decided(recall, found(Verdict.VALID), known_original=known).lines
    assert bool([line for line in lines if "Không tìm thấy văn bản gốc" in line]) != known
    assert not [line for line in decided(document, known_original=False).lines if "văn bản gốc" in line]


def test_a_reason_with_braces_is_only_text(document):
    recall = replace(document, change=Change(kind=Business.RECALL, reason="{0} {reason} {"))
    assert "{0} {reason} {" in decided(recall, found(Verdict.VALID)).lines[0]


@pytest.mark.parametrize("paper", [True, False])
def test_paper_that_follows_is_announced(document, paper):
    lines = decided(replace(document, paper=paper), found(Verdict.VALID)).lines
    assert ("Có văn bản giấy gửi kèm." in lines) == paper


def test_a_recall_without_files_claims_no_legal_value(document):
    recall = replace(document, parts=(), change=Change(kind=Business.RECALL, reason="Nhầm"))
    assert not [line for line in decided(recall).lines if "ký số" in line]


@given(
    st.sampled_from(["", "mật"]),
    st.booleans(),
    st.lists(st.sampled_from(Verdict), max_size=3),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_whatever_arrives_the_decision_is_explained(document, secrecy, ours, verdicts, switches):
    profile = dict(zip(("refuse_broken", "hold_unsigned", "hold_untrusted"), switches, strict=True))
    findings = [found(verdict, f"{number}.pdf") for number, verdict in enumerate(verdicts)]
    admission = decided(replace(document, secrecy=secrecy), *findings, addressed_to_us=ours, **profile)
    assert admission.hold in catalogue() or admission.hold == ""
    assert admission.hold or not admission.refusal, "a refusal without a hold would go on to the office"


def test_what_a_secret_says_is_not_told_to_the_clerk(document):
    for ours, verdict in product((True, False), Verdict):
        admission = decided(replace(document, secrecy="tối mật"), found(verdict), addressed_to_us=ours)
        assert admission.hold == "received.secret"
        assert admission.lines == ()
        assert document.subject not in admission.refusal


@pytest.mark.parametrize("subject", ["Kế hoạch Z (tối mật)", unicodedata.normalize("NFD", "[MẬT] Z")])
def test_a_received_document_with_a_mark_in_its_subject_is_held(document, subject):
    admission = decided(replace(document, subject=subject))
    assert admission.hold == "received.secret"
