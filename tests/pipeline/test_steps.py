"""What comes next, as pure tables: the next step of a message, what a failure makes of an item, how long to pause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lienthong import (
    ContentError,
    ContractViolation,
    LienthongError,
    OutcomeUnknown,
    Rejected,
    SigningError,
    Unauthorized,
    Unavailable,
)
from lienthong.config import Profile
from lienthong.errors import PluginError, Refused, StorageFull, StoreError
from lienthong.pipeline.steps import Step, after_failure, due, next_step, pause
from lienthong.store.rows import DeliveryRow, MessageRow

NOW = 1_000_000.0
PROFILE = Profile(retry_first_seconds=2.0, retry_cap_seconds=300.0, strikes=5)
MESSAGE = MessageRow(
    id="M", direction="out", kind="edoc", agency="H53", connection="drop", source_id="1", state="cleared"
)
DELIVERY = DeliveryRow(
    key="K", message_id="M", connection="axis", recipient="H54", lineage="L", state="sending", attempts=1
)


# --- the next step of a message -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ack", ["none", "pending", "done"])
@pytest.mark.parametrize(
    ("state", "step"),
    [
        ("received", Step.READ),
        ("unmatched", Step.MATCH),
        ("cleared", Step.PREPARE),
        ("awaiting-signature", Step.PREPARE),
        ("awaiting-proof", Step.PREPARE),
        ("dispatched", None),
        ("refused", None),
        ("duplicate", None),
        ("quarantined", None),
    ],
)
def test_a_message_goes_on_by_its_state(state, step, ack):
    assert next_step(replace(MESSAGE, state=state, ack=ack)) is step


@pytest.mark.parametrize("ack", ["due", "failed-due"])
@pytest.mark.parametrize(
    "state",
    ["dispatched", "refused", "duplicate", "quarantined", "unmatched", "awaiting-signature", "awaiting-proof"],
)
def test_the_source_is_told_once_nothing_but_others_can_hold_the_message_up(state, ack):
    assert next_step(replace(MESSAGE, state=state, ack=ack)) is Step.ACKNOWLEDGE


@pytest.mark.parametrize("ack", ["due", "failed-due"])
@pytest.mark.parametrize(("state", "step"), [("received", Step.READ), ("cleared", Step.PREPARE)])
def test_acknowledging_is_the_last_write(state, step, ack):
    assert next_step(replace(MESSAGE, state=state, ack=ack)) is step


def test_a_message_is_due_while_something_is_left_to_do():
    assert due(MESSAGE, {"state": "dispatched", "ack": "due"}, NOW) == NOW
    assert due(MESSAGE, {"state": "dispatched", "ack": "done"}, NOW) is None
    assert due(MESSAGE, {}, NOW) == NOW


# --- failures -----------------------------------------------------------------------------------------------------


def raised(kind: type[LienthongError], **facts) -> LienthongError:
    return kind("peer.busy", peer="trục", status=503, **facts)


def after(row, error: LienthongError, chance: float = 0.0, profile: Profile = PROFILE):
    return after_failure(row, error, NOW, profile, chance)


@pytest.mark.parametrize(
    ("state", "kind", "becomes", "again"),
    [
        ("sending", Rejected, "rejected", False),
        ("sending", Refused, "rejected", False),
        ("sending", ContentError, "quarantined", False),
        ("sending", Unavailable, "ready", True),
        ("sending", Unauthorized, "ready", True),
        ("sending", OutcomeUnknown, "unknown", True),
        ("unknown", Unavailable, "unknown", True),
        ("unknown", Unauthorized, "unknown", True),
        ("unknown", OutcomeUnknown, "unknown", True),
        ("unknown", ContractViolation, "unknown", True),
        ("unknown", StorageFull, "unknown", True),
    ],
)
def test_what_a_failure_makes_of_a_delivery(state, kind, becomes, again):
    setback = after(replace(DELIVERY, state=state), raised(kind))
    assert setback.state == becomes
    assert (setback.run_at is not None) == again


@pytest.mark.parametrize("state", ["received", "cleared", "awaiting-signature", "awaiting-proof"])
@pytest.mark.parametrize(
    ("kind", "goes_on"),
    [
        (Rejected, False),
        (Refused, False),
        (ContentError, False),
        (Unavailable, True),
        (Unauthorized, True),
        (OutcomeUnknown, True),
        (StorageFull, True),
        (SigningError, True),
        (ContractViolation, True),
        (PluginError, True),
        (StoreError, True),
    ],
)
def test_what_a_failure_makes_of_a_message(state, kind, goes_on):
    setback = after(replace(MESSAGE, state=state), raised(kind))
    waits = "awaiting-signature" if (state, kind) == ("cleared", SigningError) else state
    assert setback.state == (waits if goes_on else "quarantined")
    assert (setback.run_at is not None) == goes_on


@pytest.mark.parametrize("row", [MESSAGE, DELIVERY], ids=["message", "delivery"])
@pytest.mark.parametrize(("strikes", "spent"), [(0, False), (3, False), (4, True), (7, True)])
def test_so_many_crashes_quarantine_an_item(row, strikes, spent):
    setback = after(replace(row, strikes=strikes), raised(ContractViolation))
    assert (setback.state == "quarantined") == spent
    assert (setback.run_at is None) == spent
    assert setback.strikes == strikes + 1


@pytest.mark.parametrize("row", [MESSAGE, DELIVERY], ids=["message", "delivery"])
@pytest.mark.parametrize("kind", [Unavailable, OutcomeUnknown, StorageFull, SigningError])
def test_bad_weather_is_no_strike_against_an_item(row, kind):
    assert after(replace(row, strikes=3), raised(kind)).strikes == 3


def refused_by_a_person() -> SigningError:
    return SigningError("sign.user-refused")


def test_a_person_who_refused_is_asked_again_after_a_long_pause():
    setback = after(replace(MESSAGE, state="awaiting-signature"), refused_by_a_person())
    assert (setback.state, setback.run_at) == ("awaiting-signature", NOW + PROFILE.refused_signature_pause_seconds)
    assert setback.strikes == 1


def test_enough_refusals_of_a_person_quarantine_a_document():
    setback = after(replace(MESSAGE, state="awaiting-signature", strikes=4), refused_by_a_person())
    assert (setback.state, setback.run_at, setback.reason) == ("quarantined", None, "sign.user-refused")


def test_a_revoked_certificate_is_tried_again_rarely_and_is_no_strike():
    setback = after(replace(MESSAGE, state="awaiting-proof", strikes=4), SigningError("sign.certificate-revoked"))
    assert (setback.state, setback.strikes) == ("awaiting-proof", 4)
    assert setback.run_at == NOW + PROFILE.refused_signature_pause_seconds


def test_a_failed_step_counts_as_an_attempt_of_a_message():
    assert after(replace(MESSAGE, attempts=3), raised(Unavailable)).attempts == 4


def test_a_failed_call_was_counted_when_the_delivery_was_claimed():
    assert after(replace(DELIVERY, attempts=3), raised(Unavailable)).attempts == 3


@pytest.mark.parametrize("row", [MESSAGE, DELIVERY], ids=["message", "delivery"])
@pytest.mark.parametrize(("wish", "pause_of"), [(60, 60.0), (0.5, 1.0), (None, 1.0)])
def test_the_peers_wish_is_honoured_when_it_is_longer_than_ours(row, wish, pause_of):
    assert after(row, raised(Unavailable, retry_after=wish)).run_at == NOW + pause_of


def test_the_reason_is_kept_as_a_code_and_in_vietnamese():
    setback = after(DELIVERY, raised(Unavailable))
    assert setback.reason == "peer.busy"
    assert setback.text.startswith("trục trả lời HTTP 503: hiện không phục vụ")


def test_a_setback_is_written_into_the_rows_columns():
    columns = set(after(DELIVERY, raised(Unavailable)).changes())
    assert columns == {"state", "run_at", "reason", "reason_text", "attempts", "strikes"}
    assert columns <= set(vars(DELIVERY)) & set(vars(MESSAGE))


kinds = st.sampled_from([Rejected, Refused, ContentError, Unavailable, OutcomeUnknown, StorageFull, ContractViolation])
rows = st.builds(
    lambda row, attempts, strikes: replace(row, attempts=attempts, strikes=strikes),
    st.sampled_from([MESSAGE, DELIVERY]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)


@given(rows, kinds, st.floats(0, 1, exclude_max=True))
def test_an_item_is_settled_or_due_later_and_no_strike_is_forgotten(row, kind, chance):
    setback = after(row, raised(kind), chance)
    assert (setback.run_at is None) == (setback.state in ("rejected", "quarantined"))
    assert setback.run_at is None or NOW < setback.run_at <= NOW + PROFILE.retry_cap_seconds
    assert setback.strikes >= row.strikes


# --- pauses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 1, 2), (2, 2, 4), (3, 4, 8), (8, 128, 256), (9, 150, 300), (5000, 150, 300)]
)
def test_pauses_double_up_to_the_cap_and_are_spread_over_their_upper_half(failures, least, most):
    assert pause(failures, PROFILE, 0.0) == least
    assert pause(failures, PROFILE, 0.999999) == pytest.approx(most, rel=1e-5)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1e4), st.floats(0.001, 1e6))
def test_a_pause_is_never_longer_than_the_cap(failures, chance, first, cap):
    profile = Profile(retry_first_seconds=first, retry_cap_seconds=cap)
    assert 0 < pause(failures, profile, chance) <= cap


@pytest.mark.parametrize("kind", [ContractViolation, PluginError, StoreError, StorageFull])
def test_a_crash_while_sending_leaves_the_outcome_unknown(kind):
    assert after(replace(DELIVERY, state="sending"), raised(kind)).state == "unknown"


@pytest.mark.parametrize("wish", [float("inf"), 1e12])
def test_a_peers_wish_has_an_end(wish):
    assert after(DELIVERY, raised(Unavailable, retry_after=wish)).run_at <= NOW + 86_400
