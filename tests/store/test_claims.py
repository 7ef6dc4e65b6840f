"""Work is in one hand at a time: leases, fences, order and urgency."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from lienthong.errors import LeaseLost
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.store import Store

from .rows import a_message, add_deliveries, delivery_of

OPEN = ("ready", "sending", "unknown")


def claim(store, owner="worker-1", now=100.0, lease=60.0, kind=DeliveryRow):
    with store.write() as tx:
        return tx.claim(kind, owner, now, lease)


def commit(store, row, now=100.0, **changes) -> None:
    with store.write() as tx:
        tx.commit(row, now, **{"run_at": None, **changes})


# --- leases -----------------------------------------------------------------------------------------------------


def test_claiming_a_ready_delivery_is_its_intent(store):
    (key,) = add_deliveries(store, {})
    row = claim(store, now=100.0, lease=60.0)
    assert row == delivery_of(store, key)
    assert (row.state, row.attempted_at, row.attempts) == ("sending", 100.0, 1)
    assert (row.lease_owner, row.lease_until, row.fence) == ("worker-1", 160.0, 1)


def test_what_is_held_is_not_given_to_another(store):
    add_deliveries(store, {})
    assert claim(store, "worker-1") is not None
    assert claim(store, "worker-2", now=159.9) is None


def test_what_was_being_sent_when_its_holder_died_is_unknown(store):
    add_deliveries(store, {})
    first = claim(store, now=100.0, lease=60.0)
    second = claim(store, "worker-2", now=160.0)
    assert (second.key, second.state, second.fence) == (first.key, "unknown", 2)
    assert second.attempted_at == 100.0, "when it was really sent, not when it was looked at"


def test_a_late_result_is_refused(store):
    (key,) = add_deliveries(store, {})
    late, holder = claim(store, lease=60.0), claim(store, "worker-2", now=200.0)
    with pytest.raises(LeaseLost) as caught:
        commit(store, late, state="delivered")
    assert caught.value.facts["item"] == key
    commit(store, holder, state="delivered")
    assert delivery_of(store, key).state == "delivered"


def test_the_same_worker_cannot_use_its_earlier_lease_either(store):
    add_deliveries(store, {})
    late, _ = claim(store, lease=60.0), claim(store, "worker-1", now=200.0)
    with pytest.raises(LeaseLost):
        commit(store, late)


def test_a_refused_result_leaves_nothing_of_its_transaction(store):
    add_deliveries(store, {})
    late, _ = claim(store, lease=60.0), claim(store, "worker-2", now=200.0)

    def spawn_and_commit():
        with store.write() as tx:
            tx.add_message(a_message(id="SPAWNED"))
            tx.event("SPAWNED", "accepted", 100.0, actor="test", detail={})
            tx.commit(late, 100.0)

    with pytest.raises(LeaseLost):
        spawn_and_commit()
    with store.read() as reader:
        assert reader.message("SPAWNED") is None
        assert reader.events("SPAWNED") == []


def test_an_expired_lease_that_nobody_took_still_counts(store):
    (key,) = add_deliveries(store, {})
    commit(store, claim(store, lease=60.0), now=1000.0, state="delivered")
    assert delivery_of(store, key).state == "delivered"


def test_a_result_counts_once(store):
    add_deliveries(store, {})
    row = claim(store)
    commit(store, row, state="delivered")
    with pytest.raises(LeaseLost):
        commit(store, row, state="rejected")


def test_a_commit_gives_the_lease_back(store):
    add_deliveries(store, {})
    commit(store, claim(store), state="ready", run_at=100.0)
    assert claim(store, "worker-2").fence == 2


@pytest.mark.parametrize("run_at", [None, 100.1])
def test_what_is_settled_or_not_yet_due_is_not_claimed(store, run_at):
    add_deliveries(store, {"run_at": run_at})
    assert claim(store, now=100.0) is None


def test_messages_are_claimed_by_the_same_rules(store):
    with store.write() as tx:
        tx.add_message(a_message(id="M"))
    first = claim(store, kind=MessageRow)
    assert (first.id, first.state, first.fence) == ("M", "cleared", 1)
    assert claim(store, "worker-2", now=159.0, kind=MessageRow) is None
    assert claim(store, "worker-2", now=160.0, kind=MessageRow).fence == 2
    with pytest.raises(LeaseLost):
        commit(store, first)


def test_a_lease_may_be_parked_by_its_owners_name(store):
    keys = add_deliveries(store, {}, {}, {})
    held = [claim(store, "daemon:a:1"), claim(store, "daemon:a:1"), claim(store, "api:b:2")]
    with store.write() as tx:
        assert tx.park("daemon:", 120.0) == 2
    assert [delivery_of(store, key).state for key in keys] == ["unknown", "unknown", "sending"]
    with pytest.raises(LeaseLost):
        commit(store, held[0], state="delivered")
    commit(store, held[2], state="delivered")


# --- order and urgency ------------------------------------------------------------------------------------------


def test_the_urgent_go_first_then_the_oldest(store):
    plain, late, flash, old = add_deliveries(
        store, {"run_at": 2.0}, {"run_at": 3.0}, {"run_at": 9.0, "priority": 3}, {"run_at": 1.0}
    )
    assert [claim(store).key for _ in range(4)] == [flash, old, plain, late]


@pytest.mark.parametrize("state", OPEN)
def test_an_open_earlier_delivery_keeps_a_later_one_of_its_lineage_back(store, state):
    add_deliveries(store, {"lineage": "A", "state": state, "run_at": None}, {"lineage": "A", "priority": 4})
    assert claim(store) is None


@pytest.mark.parametrize("state", ["delivered", "offered", "rejected", "cancelled", "quarantined"])
def test_a_closed_earlier_delivery_lets_the_next_go(store, state):
    _, later = add_deliveries(store, {"lineage": "A", "state": state, "run_at": None}, {"lineage": "A"})
    assert claim(store).key == later


@pytest.mark.parametrize("other", [{"lineage": "B"}, {"lineage": "A", "recipient": "000.00.03.H53"}])
def test_another_lineage_or_recipient_does_not_wait(store, other):
    _, free = add_deliveries(store, {"lineage": "A", "run_at": None}, other)
    assert claim(store).key == free


def test_original_update_and_recall_leave_in_this_order(store):
    keys = add_deliveries(store, {"lineage": "A"}, {"lineage": "A", "priority": 1}, {"lineage": "A", "priority": 4})
    left = []
    while row := claim(store):
        left.append(row.key)
        commit(store, row, state="delivered")
    assert left == keys


def test_deliveries_are_nearest_to_their_end_and_go_before_messages(store):
    (key,) = add_deliveries(store, {"run_at": 50.0})
    with store.write() as tx:
        tx.add_message(a_message(id="M", run_at=10.0, priority=4))
    assert store.claim_next("worker-1", 100.0, 60.0).key == key
    assert store.claim_next("worker-1", 100.0, 60.0).id == "M"
    assert store.claim_next("worker-1", 100.0, 60.0) is None


# --- many hands ---------------------------------------------------------------------------------------------------


def work(store, owner, turns, lock):
    while row := claim(store, owner):
        with lock:
            turns.append((row.key, owner))
        commit(store, row, state="delivered")


def test_eight_threads_share_five_hundred_deliveries_and_none_is_taken_twice(store):
    keys = add_deliveries(store, *({"priority": number % 3} for number in range(500)))
    turns, lock = [], threading.Lock()
    threads = [threading.Thread(target=work, args=(store, f"worker-{n}", turns, lock)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(key for key, _ in turns) == Counter(keys)
    assert len({owner for _, owner in turns}) > 1


# --- the protocol against a model ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """What one delivery should be."""

    key: str
    lineage: str
    priority: int
    run_at: float | None
    state: str = "ready"
    fence: int = 0
    holder: str | None = None
    until: float | None = None
    attempts: int = 0

    def is_free(self, now: float) -> bool:
        return self.run_at is not None and self.run_at <= now and (self.until is None or self.until <= now)

    def taken(self, owner: str, until: float) -> Model:
        state = {"ready": "sending", "sending": "unknown"}.get(self.state, self.state)
        changes = {"state": state, "fence": self.fence + 1, "attempts": self.attempts + 1}
        return replace(self, holder=owner, until=until, **changes)


class Leases(RuleBasedStateMachine):
    """Workers claim, commit, come too late, die and are parked, in any order; the store does what the model says."""

    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name))
        self.now = 1000.0
        self.rows: list[Model] = []

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(lineage=st.sampled_from("AB"), priority=st.integers(0, 2), delay=st.sampled_from([0.0, 30.0]))
    def add(self, lineage, priority, delay):
        run_at = self.now + delay
        (key,) = add_deliveries(self.store, {"lineage": lineage, "priority": priority, "run_at": run_at})
        self.rows.append(Model(key, lineage, priority, run_at))

    @rule(seconds=st.sampled_from([1.0, 30.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds

    def expected(self) -> Model | None:
        def is_first(row: Model) -> bool:
            earlier = self.rows[: self.rows.index(row)]
            return not any(other.lineage == row.lineage and other.state in OPEN for other in earlier)

        free = [row for row in self.rows if row.is_free(self.now) and is_first(row)]
        return min(free, key=lambda row: (-row.priority, row.run_at, row.key), default=None)

    @precondition(lambda self: self.expected() is not None)
    @rule(target=claims, owner=st.sampled_from(["daemon:1", "daemon:2", "api:1"]))
    def claim(self, owner):
        wanted = self.expected()
        row = claim(self.store, owner, self.now, lease=60.0)
        assert row.key == wanted.key
        self.rows[self.rows.index(wanted)] = wanted.taken(owner, self.now + 60.0)
        return row

    @precondition(lambda self: self.expected() is None)
    @rule()
    def find_nothing(self):
        assert claim(self.store, "daemon:1", self.now) is None

    @rule(row=claims, state=st.sampled_from(["delivered", "ready", "unknown", "rejected"]))
    def commit(self, row, state):
        model = next(known for known in self.rows if known.key == row.key)
        run_at = self.now + 10.0 if state in OPEN else None
        if model.fence == row.fence and model.holder is not None:
            commit(self.store, row, self.now, state=state, run_at=run_at)
            done = replace(model, state=state, run_at=run_at, holder=None, until=None)
            self.rows[self.rows.index(model)] = done
        else:
            with pytest.raises(LeaseLost):
                commit(self.store, row, self.now, state=state, run_at=run_at)

    @rule()
    def restart_the_daemon(self):
        with self.store.write() as tx:
            parked = tx.park("daemon:", self.now)
        held = [row for row in self.rows if row.holder is not None and row.holder.startswith("daemon:")]
        assert parked == len(held)
        for row in held:
            state = "unknown" if row.state == "sending" else row.state
            self.rows[self.rows.index(row)] = replace(row, state=state, holder=None, until=None)

    @invariant()
    def the_store_is_what_the_model_says(self):
        with self.store.read() as reader:
            stored = [
                Model(
                    r.key, r.lineage, r.priority, r.run_at, r.state, r.fence, r.lease_owner, r.lease_until, r.attempts
                )
                for r in reader.deliveries()
            ]
        assert stored == self.rows


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
