"""Blobs are whole or not there, named by their bytes, and stored once."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong.errors import StorageFull, StoreError
from lienthong.store.blobs import Blob, BlobStore


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path / "blobs")


def stored(blobs: BlobStore, *chunks: bytes) -> Blob:
    with blobs.writing() as writer:
        for chunk in chunks:
            writer.write(chunk)
    return writer.blob()


def files(blobs: BlobStore) -> list[str]:
    """Every file below the store's folder, temporary ones included."""
    root = blobs.work.parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_a_blob_is_its_bytes_under_their_digest(blobs, chunks):
    content = b"".join(chunks)
    blob = stored(blobs, *chunks)
    assert blob == Blob(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    with blobs.open(blob.sha256) as file:
        assert file.read() == content


def test_the_same_bytes_are_one_file(blobs):
    first, second = stored(blobs, b"abc"), stored(blobs, b"a", b"bc")
    assert first == second
    assert files(blobs) == [f"{first.sha256[:2]}/{first.sha256}"]


def test_a_blob_that_is_there_is_not_written_again(blobs):
    blob = stored(blobs, b"abc")
    before = blobs.path(blob.sha256).stat()
    stored(blobs, b"abc")
    after = blobs.path(blob.sha256).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_nothing_stays_of_a_blob_that_was_given_up(blobs):
    def give_up():
        with blobs.writing() as writer:
            writer.write(b"half of it")
            raise KeyError("the source broke off")

    with pytest.raises(KeyError):
        give_up()
    assert files(blobs) == []


def test_a_blob_appears_only_when_it_is_whole(blobs):
    name = hashlib.sha256(b"abc").hexdigest()
    with blobs.writing() as writer:
        writer.write(b"abc")
        assert not blobs.path(name).exists()
    assert blobs.path(name).read_bytes() == b"abc"


def test_eight_threads_may_write_the_same_bytes_at_once(blobs):
    ready, results = threading.Barrier(8), []

    def write():
        ready.wait()
        results.append(stored(blobs, b"x" * 300_000))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert files(blobs) == [f"{results[0].sha256[:2]}/{results[0].sha256}"]
    assert blobs.path(results[0].sha256).stat().st_size == 300_000


# --- adopting ---------------------------------------------------------------------------------------------------


def test_a_finished_file_is_adopted_by_moving_it(blobs):
    file = blobs.work / "signed.pdf"
    file.write_bytes(b"%PDF-")
    inode = file.stat().st_ino
    blob = blobs.adopt(file)
    assert blob == Blob(sha256=hashlib.sha256(b"%PDF-").hexdigest(), size=5)
    assert blobs.path(blob.sha256).stat().st_ino == inode
    assert not file.exists()


def test_adopting_what_is_there_already_only_clears_the_file_away(blobs):
    blob, file = stored(blobs, b"%PDF-"), blobs.work / "again.pdf"
    file.write_bytes(b"%PDF-")
    assert blobs.adopt(file) == blob
    assert files(blobs) == [f"{blob.sha256[:2]}/{blob.sha256}"]


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_what_cannot_be_adopted_is_an_error_of_the_store(blobs, name):
    (blobs.work / "folder").mkdir()
    with pytest.raises(StoreError) as caught:
        blobs.adopt(blobs.work / name)
    assert (caught.value.code, caught.value.where) == ("store.unusable", str(blobs.work / name))


# --- sweeping ---------------------------------------------------------------------------------------------------


def test_what_killed_processes_left_is_cleared_away_and_what_is_being_written_stays(blobs):
    for left in (blobs.work / "0123456789abcdef01234567", blobs.work / "upload" / "0"):
        left.parent.mkdir(exist_ok=True)
        left.write_bytes(b"x" * 1000)
        os.utime(left, (1000.0, 1000.0))
        os.utime(left.parent, (1000.0, 1000.0))
    with blobs.writing() as writer:
        writer.write(b"abc")
        assert blobs.sweep(older_than=2000.0) == 2
    assert files(blobs) == [f"{writer.blob().sha256[:2]}/{writer.blob().sha256}"]


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "abc", "../../etc/passwd", "AB" * 32, "ab" * 31, "ab" * 33, "ab" * 32 + "\n"])
def test_only_a_digest_is_a_name(blobs, name):
    with pytest.raises(StoreError) as caught:
        blobs.path(name)
    assert caught.value.code == "store.no-such-blob"


def test_a_blob_that_is_not_there_is_named(blobs):
    with pytest.raises(StoreError) as caught:
        blobs.open("ab" * 32)
    assert caught.value.facts == {"sha256": "ab" * 32}


def test_a_blob_that_cannot_be_read_is_not_called_missing(blobs):
    blobs.path("ab" * 32).mkdir(parents=True)
    with pytest.raises(StoreError) as caught:
        blobs.open("ab" * 32)
    assert caught.value.code == "store.unusable"


def test_a_store_without_its_folder_cannot_be_written(blobs):
    blobs.work.rmdir()
    with pytest.raises(StoreError, match="No such file or directory") as caught:
        stored(blobs, b"abc")
    assert caught.value.code == "store.unusable"


# --- a full disk ------------------------------------------------------------------------------------------------


@contextmanager
def files_of_at_most(size: int):
    """The operating system refuses larger files; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_blob_that_does_not_fit_is_refused_and_leaves_nothing(blobs, size):
    with files_of_at_most(50_000), pytest.raises(StorageFull) as caught:
        stored(blobs, *[b"x" * 10_000] * (size // 10_000))
    assert caught.value.code == "store.full"
    assert files(blobs) == []


def test_a_failure_that_is_not_the_disks_is_not_called_so(blobs):
    def fail():
        with blobs.writing():
            raise OSError(5, "the source's own error")

    with pytest.raises(OSError, match="the source's own error"):
        fail()


def test_blobs_and_folders_are_synced_before_they_count(blobs, monkeypatch):
    synced, real = [], os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    blob = stored(blobs, b"abc")
    file, *folders = synced
    assert file.startswith(str(blobs.work))
    assert folders == [str(blobs.work.parent), str(blobs.path(blob.sha256).parent)]
