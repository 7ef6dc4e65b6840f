"""A full disk refuses and loses nothing; a process that is killed leaves a store in which every promise is kept."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lienthong.errors import StorageFull
from lienthong.store.store import Store

from .rows import a_message

# Takes in items for ever, as the pipeline does, and says the number of each one that is committed.
WRITER = """
import hashlib, sys
from pathlib import Path
from lienthong.store.rows import DeliveryRow, MessageRow
from lienthong.store.store import Store

store = Store(Path(sys.argv[1]))
for number in range(100_000):
    with store.blobs.writing() as writer:
        for _ in range(8):
            writer.write(hashlib.sha256(str(number).encode()).digest() * 2000)
    message = MessageRow(id=f"M{number:06}", direction="out", kind="edoc", agency="H53", connection="drop",
                         source_id=str(number), raw=writer.blob().sha256, state="dispatched")
    with store.write() as tx:
        tx.add_message(message)
        tx.event(message.id, "accepted", float(number), actor="writer", detail={"sha256": message.raw})
        tx.add_delivery(DeliveryRow(key=f"K{number:06}", message_id=message.id, connection="axis", recipient="H54",
                                    lineage=message.id, state="ready", run_at=0.0))
    print(number, flush=True)
"""


def killed_after(folder: Path, promises: int) -> int:
    """Kills a writer with SIGKILL after so many promises; returns the last number that it promised."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(promises):
            assert writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        return max([promises - 1, *(int(line) for line in rest[:-1])])


@pytest.mark.parametrize("promises", [1, 40])
def test_a_killed_process_leaves_all_that_it_promised_and_nothing_half_done(tmp_path, promises):
    last = killed_after(tmp_path, promises)
    store = Store(tmp_path)
    with store.read() as reader:
        messages, deliveries = reader.messages(limit=100_000), reader.deliveries()
        events = [reader.events(row.id) for row in messages]
        assert reader.ledger_break() is None
    assert len(messages) in (last + 1, last + 2), "one more may be committed and not yet said"
    assert [row.message_id for row in deliveries] == [row.id for row in messages]
    assert [len(told) for told in events] == [1] * len(messages)
    assert all(digest_of(store, row.raw) == row.raw for row in messages)
    assert all(path.name == hashlib.sha256(path.read_bytes()).hexdigest() for path in whole_blobs(tmp_path))
    with store.write() as tx:
        tx.add_message(a_message(id="LATER"))
    store.close()


def digest_of(store: Store, sha256: str) -> str:
    with store.blobs.open(sha256) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_blobs(folder: Path) -> list[Path]:
    return [path for path in folder.glob("blobs/??/*") if path.is_file()]


# --- a full disk --------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of two megabytes; only root can make one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("A FULL DISK IS NOT TESTED: mounting a tmpfs needs root (sudo .venv/bin/pytest tests/store)")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def cramped(tiny_disk):
    store = Store(tiny_disk / "data")
    yield store
    store.close()


def fill(disk: Path) -> Path:
    """Takes all space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def store_blob(store: Store, size: int) -> str:
    with store.blobs.writing() as writer:
        for _ in range(size // 1024):
            writer.write(os.urandom(1024))
    return writer.blob().sha256


def add_messages(store: Store, *names: str) -> None:
    with store.write() as tx:
        for name in names:
            tx.add_message(a_message(id=name, body="x" * 20_000))
            tx.event(name, "accepted", 1.5, actor="test", detail={})


def test_a_blob_on_a_full_disk_is_refused_and_its_space_given_back(cramped, tiny_disk):
    with pytest.raises(StorageFull):
        store_blob(cramped, 4 * 1024 * 1024)
    assert list((tiny_disk / "data" / "blobs" / "tmp").iterdir()) == []
    assert store_blob(cramped, 512 * 1024)


def test_a_transaction_on_a_full_disk_is_refused_as_a_whole_and_goes_through_later(cramped, tiny_disk):
    add_messages(cramped, "BEFORE")
    filler = fill(tiny_disk)
    with pytest.raises(StorageFull) as caught:
        add_messages(cramped, *(f"M{number}" for number in range(50)))
    assert caught.value.code == "store.full"
    assert stored(cramped) == ["BEFORE"]
    filler.unlink()
    add_messages(cramped, "LATER")
    assert stored(cramped) == ["BEFORE", "LATER"]


def stored(store: Store) -> list[str]:
    with store.read() as reader:
        assert reader.ledger_break() is None
        return [row.id for row in reader.messages()]


def test_a_store_that_was_full_is_whole_when_it_is_opened_again(cramped, tiny_disk):
    add_messages(cramped, "BEFORE")
    filler = fill(tiny_disk)
    with pytest.raises(StorageFull):
        add_messages(cramped, *(f"M{number}" for number in range(50)))
    cramped.close()
    filler.unlink()
    again = Store(tiny_disk / "data")
    assert stored(again) == ["BEFORE"]
    again.close()
