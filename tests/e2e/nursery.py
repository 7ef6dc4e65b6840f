"""A process that has imported everything once and forks a child for each job: fast lives for tests that kill.

Run as a script; jobs come as JSON lines on stdin, one answer line each; ``children.py`` has the other end.
A job is a command line (``argv``), or one life of a small town (``life``), which may end by SIGKILL at a chosen point.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator

from town import AGENCIES, B, Desk, await_next_due, document_id

from lienthong.registry import Call, OpenConnection
from lienthong.store.store import Store, Transaction
from lienthong_conformance.world import Member

IMPORTED_ONCE = (
    "lienthong.api.app",
    "lienthong.cli.documents",
    "lienthong.cli.running",
    "lienthong.edxml.reader",
    "lienthong.edxml.writer",
    "lienthong.offices.folder",
    "lienthong.signing.keys.pkcs12",
    "lienthong_vnpt.vxp",
)
LIFE_SECONDS = 20.0


class Points:
    """Counts the places where this life could end, and ends it at one of them. ``log`` names them all."""

    def __init__(self, log: pathlib.Path, kill_at: int) -> None:
        self._log = log.open("w", encoding="utf-8", buffering=1)
        self._kill_at = kill_at
        self._passed = 0

    def passed(self, name: str) -> None:
        self._passed += 1
        self._log.write(f"{name}\n")
        if self._passed == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def instrument(points: Points) -> None:
    """A point before and after every hook call, every commit, and every rename of a file or folder."""
    write, guarded = Store.write, OpenConnection._guarded

    @contextlib.contextmanager
    def counted_write(self: Store) -> Iterator[Transaction]:
        with write(self) as transaction:
            yield transaction
            points.passed("before commit")
        points.passed("after commit")

    def counted_guarded(self: OpenConnection, hook: str, function: Callable[[], object]) -> Call:
        points.passed(f"before {self.name}.{hook}")
        call = guarded(self, hook, function)
        points.passed(f"after {self.name}.{hook}")
        return call

    Store.write, OpenConnection._guarded = counted_write, counted_guarded
    for name in ("rename", "replace"):
        setattr(os, name, _counted_move(getattr(os, name), points))


def _counted_move(move: Callable, points: Points) -> Callable:
    def counted(source: os.PathLike, target: os.PathLike) -> None:
        points.passed(f"before {move.__name__} to {pathlib.Path(target).parent.name}")
        move(source, target)
        points.passed(f"after {move.__name__} to {pathlib.Path(target).parent.name}")

    return counted


def live(root: pathlib.Path, kill_at: int) -> None:
    """A's clerk has dropped document 12. B's answers 03 when it sees it, A's recalls when it sees that."""
    instrument(Points(root / "points", kill_at))
    a, b = (_desk(root / name, agency) for name, agency in zip("ab", AGENCIES, strict=False))
    with contextlib.closing(a), contextlib.closing(b):
        end = time.monotonic() + LIFE_SECONDS
        while not _is_over(a, b):
            if time.monotonic() > end:
                raise TimeoutError(f"A has {a.statuses_of('12')}, B has {b.statuses_of('12', place='inbox')}")
            worked = a.work() + b.work()
            _clerks_act(a, b)
            if not worked:
                await_next_due()


def _desk(folder: pathlib.Path, agency: object) -> Desk:
    return Desk(organization=agency, member=Member(organization=agency, office={}), config=folder / "lienthong.toml")


def _clerks_act(a: Desk, b: Desk) -> None:
    received = b.received()
    if received and not _has_reported(b, "03"):
        b.report(received[0]["id"], "03", "Đã tiếp nhận")
    if "03" in a.statuses_of("12") and not _has_reported(a, "13"):
        a.report(document_id("12"), "13", "Nhầm số liệu", to=B.code)


def _has_reported(desk: Desk, code: str) -> bool:
    return any((desk.folder / "status").rglob(f"{code}-*.json"))


def _is_over(a: Desk, b: Desk) -> bool:
    told = a.statuses_of("12")[-1:] == ["03"] and b.statuses_of("12", place="inbox") == ["13"]
    return told and a.is_quiet() and b.is_quiet()


def command(argv: list[str]) -> None:
    from lienthong.cli import main

    sys.argv = ["lienthong", *argv]
    main()


def _child(job: dict) -> int:
    os.environ.update(job["environment"])
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(job[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    try:
        if "argv" in job:
            command(job["argv"])
        else:
            live(pathlib.Path(job["life"]), job["kill_at"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def main() -> None:
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = _child(json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
