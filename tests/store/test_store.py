"""Transactions are whole, reads are consistent, and what is stored comes back as it was."""

from __future__ import annotations

import os
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong import DocumentReference, Organization, StatusCode, StatusReport
from lienthong.errors import KeyConflict, StoreError
from lienthong.http import Exchange
from lienthong.store.rows import MessageRow, encode
from lienthong.store.schema import delivery, message
from lienthong.store.store import Store

from .rows import a_delivery, a_message, add_deliveries, delivery_of

REPORT = StatusReport(
    sender=Organization(code="H53.02"),
    about=DocumentReference(organ="H53.01", document_id="D1"),
    code=StatusCode.ACCEPTED,
    at=datetime(2026, 3, 2, 3, 0, tzinfo=UTC),
    description="Đã tiếp nhận",
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def database(store: Store):
    return store.blobs.work.parent.parent / "lienthong.db"


def add(store: Store, *rows: MessageRow) -> None:
    with store.write() as tx:
        for row in rows:
            tx.add_message(row)


def message_of(store: Store, name: str) -> MessageRow | None:
    with store.read() as reader:
        return reader.message(name)


# --- rows ---------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, texts, st.floats(0, 4e9), st.integers(0, 4))
def test_a_message_comes_back_as_it_was(store, subject, reason, moment, priority):
    row = a_message(subject=subject, reason_text=reason, run_at=moment, created_at=moment, priority=priority)
    add(store, row)
    assert message_of(store, row.id) == row


def test_a_delivery_comes_back_as_it_was_with_its_turn(store):
    first = a_delivery("M", key="K1", receipt=b"\x00\xff", lines='["dòng"]', attempted_at=1.5)
    add(store, a_message(id="M"))
    with store.write() as tx:
        tx.add_delivery(first)
        tx.add_delivery(a_delivery("M", key="K2"))
    found = delivery_of(store, "K1")
    assert (found.receipt, found.lines, found.attempted_at) == (b"\x00\xff", '["dòng"]', 1.5)
    assert found.seq < delivery_of(store, "K2").seq


def test_content_is_kept_with_its_kind(store, document):
    add(store, a_message(id="D", body=encode(document)), a_message(id="S", kind="status", body=encode(REPORT)))
    assert message_of(store, "D").document == document
    assert message_of(store, "S").report == REPORT
    assert message_of(store, "D").findings == ()


@pytest.mark.parametrize(
    ("row", "asked", "code"),
    [
        (a_message(body=encode(REPORT), kind="status"), "document", "store.not-a-document"),
        (a_message(body=""), "content", "store.no-content"),
    ],
)
def test_asking_a_message_for_what_it_is_not_is_named(row, asked, code):
    with pytest.raises(StoreError) as caught:
        getattr(row, asked)
    assert caught.value.code == code


def test_a_document_is_not_a_status(document):
    with pytest.raises(StoreError) as caught:
        _ = a_message(body=encode(document)).report
    assert caught.value.code == "store.not-a-status"


def test_an_item_of_a_source_is_stored_once_for_each_kind(store):
    item = {"connection": "axis", "source_id": "7"}
    add(store, a_message(**item), a_message(**item, kind="status"), a_message(**item | {"connection": "other"}))
    with pytest.raises(KeyConflict) as caught:
        add(store, a_message(**item))
    assert caught.value.facts == {"source_id": "7"}


def test_a_message_is_found_by_its_source(store):
    add(store, a_message(id="M", connection="axis", source_id="7"))
    with store.read() as reader:
        assert reader.message_by_source("axis", "edoc", "7").id == "M"
        assert reader.message_by_source("axis", "status", "7") is None


# --- transactions -------------------------------------------------------------------------------------------------


def test_a_transaction_that_fails_leaves_nothing(store):
    def fail():
        with store.write() as tx:
            tx.add_message(a_message(id="M"))
            tx.event("M", "received", 1.0, actor="test", detail={})
            tx.polled("axis", 1.0, "2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as reader:
        assert reader.message("M") is None
        assert reader.events("M") == []
        assert reader.cursor("axis") is None


def test_after_a_failure_the_store_goes_on(store):
    with pytest.raises(ZeroDivisionError), store.write():
        raise ZeroDivisionError
    add(store, a_message(id="M"))
    assert message_of(store, "M") is not None


def test_a_read_sees_one_moment(store):
    add(store, a_message(id="M", state="cleared"))
    other = Store(database(store).parent)
    with store.read() as reader:
        assert reader.message("M").state == "cleared"
        with other.write() as tx:
            tx.amend_message("M", 2.0, state="dispatched")
        assert reader.message("M").state == "cleared"
    other.close()
    assert message_of(store, "M").state == "dispatched"


def test_a_writer_does_not_stop_a_reader(store):
    add(store, a_message(id="M"))
    seen = []
    reader = threading.Thread(target=lambda: seen.append(message_of(store, "M").state))
    other = Store(database(store).parent)
    with other.write() as tx:
        tx.amend_message("M", 2.0, state="dispatched")
        reader.start()
        reader.join(10)
        assert seen == ["cleared"]
    other.close()


def test_writers_of_several_threads_and_stores_take_turns(store):
    other = Store(database(store).parent)

    def tell(place: Store):
        for _ in range(20):
            with place.write() as tx:
                tx.event("M", "noted", 1.5, actor="test", detail={})

    threads = [threading.Thread(target=tell, args=(place,)) for place in (store, other, store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    with store.read() as reader:
        assert len(reader.events("M")) == 80
        assert reader.ledger_break() is None


def test_what_is_written_is_on_the_disk_when_the_transaction_ends(store):
    with sqlite3.connect(database(store)) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.close()
    with store.read() as reader:
        pragma = reader._connection.exec_driver_sql
        assert pragma("PRAGMA synchronous").scalar() == 2
        assert pragma("PRAGMA foreign_keys").scalar() == 1


def test_a_delivery_belongs_to_a_message(store):
    with pytest.raises(StoreError, match="FOREIGN KEY") as caught, store.write() as tx:
        tx.add_delivery(a_delivery("nobody"))
    assert caught.value.code == "store.unusable"


def test_a_delivery_stands_only_once(store):
    (key,) = add_deliveries(store, {})
    message_id = delivery_of(store, key).message_id
    with pytest.raises(KeyConflict) as caught, store.write() as tx:
        tx.add_delivery(a_delivery(message_id, key=key))
    assert caught.value.facts == {"source_id": key}


def test_what_is_no_text_in_a_peers_words_does_not_stop_the_store(store):
    add(store, a_message(id="M", reason_text="a\ud800"))
    with store.write() as tx:
        tx.poll_failed("axis", "b\ud800")
        tx.replace_agencies("axis", [Organization(code="H53", name="c\ud800")], 1.0)
        tx.amend_message("M", 2.0, ack_detail="d\ud800")
    with store.read() as reader:
        row = reader.message("M")
        assert (row.reason_text, row.ack_detail, reader.polls()["axis"][1]) == ("a?", "d?", "b?")
        assert reader.agencies("axis")["H53"].name == "c?"


# --- readers ------------------------------------------------------------------------------------------------------


def connections(store: Store) -> int:
    """How often this process has the database itself open."""
    opened = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.exists()]
    return opened.count(str(database(store)))


def in_threads(count: int, target) -> None:
    threads = [threading.Thread(target=target, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_as_many_threads_as_like_may_read_at_once(store):
    together, counted = threading.Barrier(24, timeout=10), []

    def read():
        with store.read() as reader:
            together.wait()
            counted.append(reader.counts())

    in_threads(24, read)
    assert counted == [{}] * 24


def test_reads_one_after_the_other_share_a_connection_whatever_their_threads(store):
    message_of(store, "M")
    before = connections(store)
    for _ in range(20):
        in_threads(1, lambda: message_of(store, "M"))
    assert connections(store) == before


def test_a_read_inside_a_write_sees_what_was_before_it(store):
    seen = []

    def nested():
        with store.write() as tx:
            tx.add_message(a_message(id="M"))
            seen.append(message_of(store, "M"))

    in_threads(1, nested)
    assert seen == [None]


def test_a_read_that_outlives_its_store_closes_its_own_connection(store):
    with store.read() as reader:
        store.close()
        assert reader.counts() == {}
        assert connections(store) > 0
    assert connections(store) == 0


def test_a_connection_that_failed_is_not_used_again(store):
    with pytest.raises(StoreError), store.read() as reader:
        reader._connection.exec_driver_sql("SELECT * FROM nothing")
    assert message_of(store, "M") is None


def test_a_database_that_cannot_be_read_is_named(store):
    with sqlite3.connect(database(store)) as raw:
        raw.execute("DROP TABLE wire")
    raw.close()
    with pytest.raises(StoreError) as caught, store.read() as reader:
        reader.exchanges("M")
    assert caught.value.code == "store.unusable"


# --- opening ------------------------------------------------------------------------------------------------------


def test_a_store_is_opened_again_with_everything_in_it(store):
    add(store, a_message(id="M"))
    store.close()
    again = Store(database(store).parent)
    assert message_of(again, "M").state == "cleared"
    again.close()


def test_a_store_of_another_version_is_left_alone(store):
    store.close()
    with sqlite3.connect(database(store)) as raw:
        raw.execute("UPDATE schema_version SET version = 99")
    raw.close()
    with pytest.raises(StoreError, match="schema version 99") as caught:
        Store(database(store).parent)
    assert caught.value.code == "store.schema"


def test_a_file_that_is_no_database_cannot_be_used(tmp_path):
    (tmp_path / "lienthong.db").write_bytes(b"something else " * 1000)
    with pytest.raises(StoreError, match="not a database") as caught:
        Store(tmp_path)
    assert caught.value.code == "store.unusable"


def test_a_database_that_is_spoilt_later_cannot_be_used(store):
    store.close()
    content = database(store).read_bytes()
    database(store).write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    with pytest.raises(StoreError, match="malformed"):
        Store(database(store).parent)


@pytest.mark.parametrize("spoilt", ["data", "data/blobs", "data/lienthong.db/x"])
def test_a_folder_that_cannot_be_one_cannot_be_used(tmp_path, spoilt):
    (tmp_path / spoilt).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / spoilt).touch()
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "data")
    assert caught.value.code == "store.unusable"


def test_several_stores_may_be_made_at_once(tmp_path):
    ready, failures = threading.Barrier(4), []

    def make():
        ready.wait()
        try:
            Store(tmp_path).close()
        except Exception as problem:
            failures.append(problem)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- queries ------------------------------------------------------------------------------------------------------


def test_the_cursor_moves_only_when_a_poll_succeeded(store):
    with store.write() as tx:
        tx.polled("axis", 10.0, "5")
    with store.write() as tx:
        tx.poll_failed("axis", "không kết nối được")
        tx.poll_failed("drop", "thư mục không có")
    with store.read() as reader:
        assert reader.cursor("axis") == "5"
        assert reader.polls() == {"axis": (10.0, "không kết nối được"), "drop": (None, "thư mục không có")}
    with store.write() as tx:
        tx.polled("axis", 20.0, None)
    with store.read() as reader:
        assert (reader.cursor("axis"), reader.polls()["axis"]) == (None, (20.0, ""))


def test_the_directory_of_an_axis_is_replaced_as_a_whole(store):
    old, new = Organization(code="H53.01", name="Cũ"), Organization(code="H53.02", name="Mới")
    with store.write() as tx:
        tx.replace_agencies("axis", [old, old], 1.0)
        tx.replace_agencies("other", [old], 1.0)
        tx.replace_agencies("axis", [new], 2.0)
    with store.read() as reader:
        assert reader.agencies("axis") == {"H53.02": new}
        assert (reader.listed_agency("axis", "H53.01"), reader.listed_agency("other", "H53.01")) == (None, old)
        assert (reader.agencies_seen_at("axis"), reader.agencies_seen_at("nobody")) == (2.0, None)


def test_receipts_are_known_by_destination(store):
    here = {"connection": "axis", "recipient": "A"}
    add_deliveries(store, {**here, "peer_id": "7"}, {**here, "peer_id": ""}, {**here, "recipient": "B", "peer_id": "8"})
    with store.read() as reader:
        assert reader.known_peer_ids("axis", "A") == {"7"}


def test_rows_are_counted_for_the_metrics(store):
    add(store, a_message(), a_message(), a_message(direction="in", kind="status", state="dispatched"))
    add_deliveries(store, {}, {"state": "unknown"})
    with store.read() as reader:
        counts = reader.counts()
    assert counts["message", "out", "edoc", "cleared"] == 2
    assert counts["message", "in", "status", "dispatched"] == 1
    assert counts["delivery", "axis", "", "unknown"] == 1


def test_lists_are_in_order_and_limited(store):
    add(store, *(a_message(id=f"M{n}") for n in (2, 1, 3)))
    with store.read() as reader:
        assert [row.id for row in reader.messages()] == ["M1", "M2", "M3"]
        assert [row.id for row in reader.messages(newest=True, limit=2)] == ["M3", "M2"]
        assert [row.id for row in reader.messages(message.c.id > "M1")] == ["M2", "M3"]


def test_deliveries_are_changed_by_condition(store):
    keys = add_deliveries(store, {"recipient": "A"}, {"recipient": "B"})
    with store.write() as tx:
        assert tx.amend_deliveries(5.0, delivery.c.recipient == "A", last_status="03") == 1
    assert [delivery_of(store, key).last_status for key in keys] == ["03", ""]


def test_what_went_over_the_wire_is_kept_in_order(store):
    exchange = Exchange(
        at="2026-03-02T08:30:00+07:00",
        method="POST",
        url="https://axis.example.vn/?k=<hidden>",
        request_headers={},
        request_bytes=3,
        status=200,
        answer_headers={},
        answer_bytes=0,
        answer={"ErrorDesc": "Thành công"},
        error="",
        milliseconds=12,
    )
    with store.write() as tx:
        tx.record_wire("axis", "deliver", [exchange, exchange], message_id="M", delivery_key="K")
        tx.record_wire("axis", "deliver", [], message_id="M")
    with store.read() as reader:
        kept = reader.exchanges("M")
    assert [(row["hook"], row["delivery_key"], row["exchange"]["answer"]) for row in kept] == [
        ("deliver", "K", {"ErrorDesc": "Thành công"})
    ] * 2
