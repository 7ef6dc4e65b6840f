"""The ledger's chain: what was changed, taken out or put in is found, and where."""

from __future__ import annotations

import hashlib
import json

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from lienthong.store.ledger import GENESIS, event_hash, first_break
from lienthong.store.schema import event

from .rows import a_message

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
contents = st.tuples(st.floats(0, 4e9), texts, texts, texts, texts, texts)


def chained(events) -> list[tuple]:
    """Rows as in table ``event``."""
    rows, previous = [], GENESIS
    for seq, content in enumerate(events, start=1):
        digest = event_hash(previous, *content)
        rows.append((seq, *content, previous, digest))
        previous = digest
    return rows


chains = st.lists(contents, min_size=2, max_size=6).map(chained)
places = st.integers(0, 4)
quick = settings(max_examples=40, deadline=None)


@quick
@given(chains)
def test_an_untouched_chain_has_no_break(rows):
    assert first_break(rows) is None


@quick
@given(chains, places, st.integers(1, 6), texts)
def test_a_changed_event_is_found(rows, place, column, text):
    place %= len(rows)
    changed = list(rows[place])
    changed[column] = 5e9 if column == 1 else f"{text}!{changed[column]}"
    assert first_break([*rows[:place], tuple(changed), *rows[place + 1 :]]) == rows[place][0]


@quick
@given(chains, places)
def test_an_event_taken_out_is_found_at_the_one_behind_it(rows, place):
    place %= len(rows) - 1
    assert first_break(rows[:place] + rows[place + 1 :]) == rows[place + 1][0]


@quick
@given(chains, places, contents)
def test_an_event_put_in_is_found(rows, place, content):
    place %= len(rows) - 1
    previous = rows[place][-1]
    forged = (99, *content, previous, event_hash(previous, *content))
    assert first_break([*rows[: place + 1], forged, *rows[place + 1 :]]) == rows[place + 1][0]


@quick
@given(chains, places)
def test_two_events_that_changed_places_are_found(rows, place):
    place %= len(rows) - 1
    swapped = [*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]]
    assert first_break(swapped) == rows[place + 1][0]


@given(contents, contents)
def test_different_events_have_different_hashes(one, other):
    assert (event_hash(GENESIS, *one) == event_hash(GENESIS, *other)) == (repr(one) == repr(other))


def test_the_hash_is_that_of_one_json_array_which_anybody_can_write():
    array = f'["{GENESIS}", 1.5, "M1", "", "accepted", "api", "{{\\"to\\": \\"Sở\\"}}"]'
    assert (
        event_hash(GENESIS, 1.5, "M1", "", "accepted", "api", '{"to": "Sở"}')
        == hashlib.sha256(array.encode()).hexdigest()
    )


# --- in the store -----------------------------------------------------------------------------------------------


@pytest.fixture
def told(store):
    """A store whose ledger has ten events about two messages."""
    with store.write() as tx:
        for name in ("M1", "M2"):
            tx.add_message(a_message(id=name))
        for number in range(10):
            detail = {"số": number, "to": ["Sở Nội vụ"]}
            tx.event(f"M{number % 2 + 1}", "noted", 100.25 + number, actor="test", detail=detail, delivery_key="K")
    return store


def broken(store) -> int | None:
    with store.read() as reader:
        return reader.ledger_break()


def tamper(store, statement) -> None:
    engine = sa.create_engine(f"sqlite:///{store.blobs.work.parent.parent / 'lienthong.db'}")
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def test_what_was_told_is_read_back_in_order(told):
    with told.read() as reader:
        events = reader.events("M2")
    assert [row["detail"]["số"] for row in events] == [1, 3, 5, 7, 9]
    assert [row["at"] for row in events] == [101.25, 103.25, 105.25, 107.25, 109.25]
    assert {(row["kind"], row["actor"], row["delivery_key"]) for row in events} == {("noted", "test", "K")}


def test_the_chain_holds_over_all_messages(told):
    assert broken(told) is None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("detail", json.dumps({"số": 4})),
        ("at", 1.0),
        ("message_id", "M9"),
        ("delivery_key", ""),
        ("kind", "delivered"),
        ("actor", "văn thư"),
        ("hash", "0" * 64),
        ("previous", "0" * 64),
    ],
)
def test_a_changed_row_is_located(told, column, value):
    tamper(told, sa.update(event).where(event.c.seq == 5).values({column: value}))
    assert broken(told) == 5


def test_a_deleted_row_is_located_at_the_one_behind_it(told):
    tamper(told, sa.delete(event).where(event.c.seq == 5))
    assert broken(told) == 6


def test_the_first_row_is_protected_too(told):
    tamper(told, sa.delete(event).where(event.c.seq == 1))
    assert broken(told) == 2


def test_the_last_hash_kept_elsewhere_shows_that_the_end_was_cut_off(told):
    with told.read() as reader:
        kept = reader.events("M2")[-1]["hash"]
    tamper(told, sa.delete(event).where(event.c.seq == 10))
    assert broken(told) is None, "a shorter chain is whole"
    with told.read() as reader:
        assert kept not in {row["hash"] for name in ("M1", "M2") for row in reader.events(name)}


@pytest.mark.parametrize("said", ["a\ud800b", "\udc80", "\0", "\u2028"])
def test_whatever_a_peer_said_can_be_told(told, said):
    with told.write() as tx:
        tx.event("M1", "refused", 200.5, actor=said, detail={"said": said})
    assert broken(told) is None
    with told.read() as reader:
        assert reader.events("M1")[-1]["detail"]["said"] == said.replace("\ud800", "?").replace("\udc80", "?")


def test_a_whole_second_is_a_time(told):
    with told.write() as tx:
        tx.event("M1", "noted", 200, actor="test", detail={})
    assert broken(told) is None


def test_an_inserted_row_is_located(told):
    content = {"at": 1.0, "message_id": "M1", "delivery_key": "", "kind": "x", "actor": "x", "detail": "{}"}
    forged = {"seq": 0, **content, "previous": GENESIS, "hash": event_hash(GENESIS, *content.values())}
    tamper(told, sa.insert(event).values(**forged))
    assert broken(told) == 1
