"""Which status may follow which, against the transition table of the requirement catalogue (STS-04)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import Business, DocumentReference, Organization, StatusCode, StatusReport
from lienthong.errors import Refused
from lienthong.rules.statuses import check_report

# One row of the table each: what was sent last -> what may be sent next, without a request of the sender.
TABLE = {
    "01": {"02", "03"},
    "02": set(),
    "03": {"04", "05", "06"},
    "04": {"04", "05", "06"},
    "05": {"04", "05", "06"},
    "06": set(),
}
PROGRESS = ("02", "03", "04", "05", "06")


def report(code: str, description: str = "Lý do") -> StatusReport:
    return StatusReport(
        sender=Organization(code="H53.02"),
        about=DocumentReference(organ="H53.01", document_id="D1"),
        code=StatusCode(code),
        at=datetime(2026, 3, 2, tzinfo=UTC),
        description=description,
    )


def allowed(code: str, *sent: str, asked: tuple[Business, ...] = (), recall_agreed: bool = False) -> bool:
    try:
        check_report(report(code), [StatusCode(before) for before in sent], asked, recall_agreed=recall_agreed)
    except Refused:
        return False
    return True


@pytest.mark.parametrize("last", TABLE)
@pytest.mark.parametrize("code", PROGRESS)
def test_only_what_the_table_names_may_follow(last, code):
    assert allowed(code, last) == (code in TABLE[last])


def test_the_first_status_is_the_arrival():
    assert allowed("01")
    assert [code for code in ("04", "05", "06") if allowed(code)] == []


@pytest.mark.parametrize("last", TABLE)
def test_nothing_arrives_twice(last):
    assert not allowed("01", last)


@given(st.lists(st.sampled_from(PROGRESS), max_size=12))
def test_every_walk_that_the_rule_allows_is_a_walk_through_the_table(codes):
    sent = ["01"]
    for code in codes:
        if allowed(code, *sent):
            assert code in TABLE[sent[-1]]
            sent.append(code)
    if "06" in sent:
        assert "03" in sent
        assert sent[-1] == "06"
    if "02" in sent:
        assert sent == ["01", "02"]


# --- recall and update --------------------------------------------------------------------------------------------

states = st.sampled_from(["01", "03", "04", "05", "06"])
answers = st.sampled_from(["15", "16"])
requests = st.sampled_from([Business.RECALL, Business.UPDATE])


@given(states, answers, requests)
def test_a_request_may_be_answered_in_any_state(last, answer, asked):
    assert allowed(answer, "01", last, asked=(asked,))


@given(st.lists(states, max_size=4), answers)
def test_nobody_answers_what_was_not_asked(sent, answer):
    with pytest.raises(Refused) as caught:
        check_report(report(answer), [StatusCode(code) for code in sent], ())
    assert caught.value.code == "status.nothing-to-answer"


@given(st.sampled_from(PROGRESS), st.sampled_from(["03", "04", "05"]))
def test_after_agreeing_to_a_recall_nothing_goes_on(code, last):
    assert not allowed(code, "01", last, "15", asked=(Business.RECALL,), recall_agreed=True)


@given(st.sampled_from(PROGRESS), st.sampled_from(list(TABLE)), answers)
def test_after_agreeing_to_an_update_work_goes_on_where_it_was(code, last, answer):
    assert allowed(code, last, answer, asked=(Business.UPDATE,)) == (code in TABLE[last])


@given(st.sampled_from(PROGRESS), st.sampled_from(list(TABLE)), requests)
def test_after_declining_work_goes_on_where_it_was(code, last, asked):
    assert allowed(code, last, "16", asked=(asked,)) == (code in TABLE[last])


def test_a_request_that_is_not_yet_answered_does_not_stop_the_work():
    assert allowed("05", "01", "03", asked=(Business.RECALL,))


# --- reasons ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "rule"), [("02", "RCV-07"), ("13", "CHG-06")], ids=lambda value: value)
@pytest.mark.parametrize("description", ["", "  \n"])
def test_a_refusal_and_a_recall_say_why(code, rule, description):
    with pytest.raises(Refused) as caught:
        check_report(report(code, description), [StatusCode.ARRIVED], ())
    assert (caught.value.code, caught.value.where) == ("status.no-reason", "description")


@pytest.mark.parametrize("code", ["03", "04", "05", "06"])
def test_other_statuses_need_no_words(code):
    check_report(report(code, ""), [StatusCode.ARRIVED, StatusCode.ACCEPTED][: 1 if code == "03" else 2], ())


@given(st.lists(st.sampled_from([*TABLE, "15", "16"]), max_size=4))
def test_a_sender_may_ask_for_its_document_back_at_any_time(sent):
    assert allowed("13", *sent)


def test_a_refusal_names_both_statuses():
    with pytest.raises(Refused, match="Status 06 cannot follow 01"):
        check_report(report("06"), [StatusCode.ARRIVED], ())


@pytest.mark.parametrize("answer", ["15", "16"])
def test_a_replacement_is_not_answered(answer):
    assert not allowed(answer, "01", "03", asked=(Business.REPLACE,))


@pytest.mark.parametrize("sent", [(), ("01", "02")])
def test_what_was_refused_or_never_arrived_is_not_agreed_to(sent):
    assert not allowed("15", *sent, asked=(Business.RECALL,))
