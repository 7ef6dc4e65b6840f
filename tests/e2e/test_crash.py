"""kill -9 between any two steps of either path, and a stop in the middle of a call: every effect happens once.

``LIENTHONG_CRASH_ALL=1`` tries every point; otherwise points are chosen by a seed (``LIENTHONG_CRASH_SEED``).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lienthong.daemon import take_over
from lienthong.store.store import Store
from lienthong_conformance.pki import TestPki
from lienthong_conformance.simulators.axis import Fault, FaultKind

from .children import Nursery, children_of, is_alive, running_daemon
from .town import A, B, C, Desk, Town, await_condition, build_town, letter

TRIED = 24
ONCE = {
    (A.code, B.code, "edoc", "0"): (1, 1),
    (A.code, C.code, "edoc", "0"): (1, 0),
    (B.code, A.code, "status", "01"): (1, 1),
    (B.code, A.code, "status", "03"): (1, 1),
    (A.code, B.code, "status", "13"): (1, 1),
}
"""(from, to, type, business) -> (committed, acknowledged) of the whole story that ``nursery.live`` tells."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """A town whose adapters live in the nursery's children."""

    town: Town
    nursery: Nursery

    def live(self, kill_at: int = 0) -> int:
        ended = self.nursery.life(self.town.root, kill_at)
        assert ended.code in (0, -signal.SIGKILL), ended.err
        return ended.code

    def points(self) -> list[str]:
        return (self.town.root / "points").read_text("utf-8").splitlines()


@contextmanager
def begun(folder: Path, pki: TestPki, nursery: Nursery) -> Iterator[Story]:
    with contextlib.closing(build_town(folder, pki)) as town:
        # Two files to sign: the first signature is a commit of its own.
        files = {"cv.pdf": letter("crash"), "phụ lục.pdf": letter("annex"), "phụ lục.txt": b"text"}
        town.a.drop("12", to=(B.code, C.code), files=files)
        yield Story(town=town, nursery=nursery)


def check_everything_happened_once(town: Town) -> None:
    audit = {(r.sender, r.recipient, r.messagetype, r.business): (r.committed, r.acknowledged) for r in town.audit()}
    assert audit == ONCE
    assert [path.name for path in (town.b.folder / "inbox").iterdir()] == [path.name for path in town.b.inbox()]
    assert sorted(p.name for p in town.b.inbox()[0].iterdir()) == [
        "cv.pdf",
        "phụ lục.pdf",
        "phụ lục.txt",
        "trang-thai.json",
        "van-ban.json",
    ]
    assert len(town.b.inbox()) == 1
    assert town.a.statuses_of("12") == ["01", "03"]
    assert town.b.statuses_of("12", place="inbox") == ["13"]


def check_the_office_is_tidy(desk: Desk) -> None:
    assert [path for path in (desk.folder / "outbox").iterdir() if path.name[0] != "."] == []
    assert desk.rejected() == ""
    assert list((desk.folder / "status" / "rejected").iterdir()) == []


def check_the_store_is_sound(desk: Desk) -> None:
    assert desk.ledger_is_whole()
    assert [row for row in (*desk.messages(), *desk.deliveries()) if row.lease_owner or row.run_at] == []
    assert {row.state for row in desk.messages()} == {"dispatched"}
    assert {row.state for row in desk.deliveries()} == {"delivered"}


def check(town: Town) -> None:
    check_everything_happened_once(town)
    sent = [sorted(path.name for path in folder.iterdir()) for folder in (town.a.folder / "sent").iterdir()]
    assert sent == [["cv.pdf", "phụ lục.pdf", "phụ lục.txt", "trang-thai.json", "vb-12.json"]]
    for desk in town.desks.values():
        check_the_office_is_tidy(desk)
        check_the_store_is_sound(desk)


def chosen(count: int) -> list[int]:
    points = range(1, count + 1)
    if os.environ.get("LIENTHONG_CRASH_ALL") == "1":
        return list(points)
    seed = int(os.environ.get("LIENTHONG_CRASH_SEED", "28"))
    return sorted(random.Random(seed).sample(points, min(TRIED, count)))


@pytest.mark.timeout(900)
def test_a_kill_at_any_point_loses_and_doubles_nothing(
    tmp_path: Path, pki: TestPki, nursery: Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    with begun(tmp_path / "whole", pki, nursery) as whole:
        assert whole.live() == 0
        check(whole.town)
        points = whole.points()
    tried, failures = chosen(len(points)), []
    for number in tried:
        failures += _killed_at(number, tmp_path / str(number), pki, nursery)
    with capsys.disabled():
        print(f"\ncrash points: {len(points)}, tried: {len(tried)}, failed: {len(failures)}")
    assert not failures, "\n\n".join(failures)


def _killed_at(number: int, folder: Path, pki: TestPki, nursery: Nursery) -> list[str]:
    with begun(folder, pki, nursery) as story:
        if story.live(kill_at=number) == 0:
            return []
        where = story.points()[-1]
        try:
            story.live()
            check(story.town)
        except AssertionError as problem:
            return [f"killed at {number} ({where}): {problem}"]
    return []


def test_kills_again_and_again_lose_and_double_nothing(tmp_path: Path, pki: TestPki, nursery: Nursery) -> None:
    """Each life gets a little further than the one before it."""
    with begun(tmp_path, pki, nursery) as story:
        lives = 1
        while story.live(kill_at=9 * lives):
            lives += 1
        assert lives > 3
        check(story.town)


@pytest.fixture
def alone(tmp_path: Path, pki: TestPki) -> Iterator[Town]:
    """A town in which A's adapter is a real daemon with one signing process; B's works when the test lets it."""
    with contextlib.closing(build_town(tmp_path, pki)) as town:
        town.configure(town.a, adapter={"signing_processes": 1})
        yield town


def test_sigterm_in_the_middle_of_a_call_parks_it_and_it_completes_once(alone: Town) -> None:
    town = alone
    town.axis.script(Fault(kind=FaultKind.SLOW, match={"operation": "sendEdoc"}, seconds=60))
    town.a.drop("12")
    with running_daemon(town.a.config, town.root / "log") as daemon:
        await_condition(lambda: town.axis.records("sent"))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    assert '"parked"' in (town.root / "log").read_text("utf-8")
    with closing_store(town.a) as store, store.read() as reader:
        assert [row.state for row in reader.deliveries()] == ["unknown"]
    town.run()
    assert town.on_the_axis("12") == (1, 1)
    assert town.a.statuses_of("12") == ["01"]


@contextmanager
def closing_store(desk: Desk) -> Iterator[Store]:
    """The store of a stopped adapter, as it was left."""
    store = Store(desk.config.parent / "data")
    try:
        yield store
    finally:
        store.close()


def test_a_killed_daemon_leaves_no_signing_process_behind(alone: Town) -> None:
    town = alone
    town.a.drop("12")
    with running_daemon(town.a.config, town.root / "log") as daemon:
        await_condition(lambda: town.axis.records("sent"))
        children = children_of(daemon.pid)
        assert children
        daemon.kill()
        daemon.wait(10)
        await_condition(lambda: not any(is_alive(child) for child in children))


def test_what_a_dead_process_was_writing_is_swept_away_when_it_is_old(alone: Town) -> None:
    work = alone.a.adapter.store.blobs.work
    for name, age in (("old", 25 * 3600), ("young", 3600)):
        (work / name).mkdir()
        (work / name / "half.pdf").write_bytes(b"half")
        os.utime(work / name, (time.time() - age,) * 2)
    take_over(alone.a.adapter)
    assert [path.name for path in work.iterdir()] == ["young"]
