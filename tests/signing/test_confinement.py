"""Reading strangers' files in processes that are kept, and what happens when one of them breaks."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lienthong.confined import ConfinedFailure, ConfinedWorkers, FailureKind
from lienthong.errors import ContentError, StoreError
from lienthong.model import Verdict
from lienthong.signing.verification.confinement import ConfinedReading
from lienthong.signing.verification.facts import FileFacts
from lienthong.signing.verification.reading import read_facts
from lienthong.signing.verification.verify import verify_pdf

from .workshop import NOW, altered, reasons


@pytest.fixture(scope="module")
def reading():
    with contextlib.closing(ConfinedReading()) as reading:
        yield reading


@pytest.fixture
def workers():
    with contextlib.closing(ConfinedWorkers(memory_bytes=300 * 1024 * 1024)) as workers:
        yield workers


def test_facts_are_the_same_as_here(signed, letter, reading, tmp_path):
    broken = altered(signed, tmp_path / "altered.pdf", b"/MediaBox [ 0 0 595", b"/MediaBox [ 0 0 599")
    for path in (signed, letter, broken):
        assert reading(path) == read_facts(path)


def test_a_verdict_may_rest_on_them(signed, trust, reading):
    assert verify_pdf(signed, "15.pdf", trust, at=NOW, read=reading).verdict is Verdict.VALID


def test_a_reading_that_breaks_off_leaves_the_file_undecided(signed, trust):
    found = verify_pdf(signed, "15.pdf", trust, at=NOW, read=lambda _: FileFacts(problem="check-failed"))
    assert (found.verdict, reasons(found)) == (Verdict.UNTRUSTED, {"check-failed"})


def test_a_missing_file_is_a_store_error(tmp_path, reading):
    with pytest.raises(StoreError):
        reading(tmp_path / "nowhere.pdf")


def test_a_worker_is_kept_for_the_next_call(workers):
    first, second = (workers.call("os:getpid", seconds=20) for _ in range(2))
    assert first == second != os.getpid()


def test_a_refusal_keeps_it_too(workers):
    before = workers.call("os:getpid", seconds=20)
    with pytest.raises(ContentError):
        workers.call("lienthong.signing.pades:never", seconds=20)
    raising = "from lienthong.errors import ContentError\nraise ContentError('packet.too-large', limit=5)"
    with pytest.raises(ConfinedFailure) as caught:
        workers.call("builtins:exec", raising, seconds=20)
    assert caught.value.kind is FailureKind.REFUSED
    assert workers.call("os:getpid", seconds=20) == before


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import os; os._exit(3)", FailureKind.CRASHED),
        ("b'x' * 10**9", FailureKind.OUT_OF_MEMORY),
        ("while True: pass", FailureKind.TOO_SLOW),
    ],
)
def test_a_broken_worker_is_replaced(workers, code, kind):
    before = workers.call("os:getpid", seconds=20)
    with pytest.raises(ConfinedFailure) as caught:
        workers.call("builtins:exec", code, seconds=2 if kind is FailureKind.TOO_SLOW else 20)
    assert caught.value.kind is kind
    assert workers.call("os:getpid", seconds=20) != before


def test_callers_do_not_wait_for_each_other(workers):
    with ThreadPoolExecutor(2) as pool:
        pids = set(pool.map(lambda _: workers.call("os:getpid", seconds=20), range(4)))
    assert len(pids) <= 2


def test_a_closed_set_of_workers_leaves_no_process():
    workers = ConfinedWorkers(memory_bytes=300 * 1024 * 1024)
    pid = workers.call("os:getpid", seconds=20)
    workers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
