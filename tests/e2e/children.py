"""Processes that tests start: the nursery's quick children, and the real ``lienthong`` command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NURSERY = Path(__file__).with_name("nursery.py")
LIENTHONG = Path(sys.executable).with_name("lienthong")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended. ``code`` is its exit code, negative for a signal."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Nursery:
    """The other end of ``nursery.py``. One job at a time."""

    process: subprocess.Popen
    folder: Path

    def command(self, *argv: str | Path, environment: Mapping[str, str] | None = None) -> Ended:
        """Run ``lienthong`` with these arguments, as its entry point does."""
        return self._run({"argv": [str(argument) for argument in argv], "environment": dict(environment or {})})

    def life(self, root: Path, kill_at: int = 0) -> Ended:
        """One life of the town in ``root``, killed at a point (0: never)."""
        return self._run({"life": str(root), "kill_at": kill_at, "environment": {}})

    def _run(self, job: dict) -> Ended:
        files = {name: str(self.folder / name) for name in ("stdout", "stderr")}
        self.process.stdin.write(json.dumps(job | files) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        out, err = (Path(file).read_text("utf-8") for file in files.values())
        return Ended(code=code, out=out, err=err)


@contextmanager
def open_nursery(folder: Path) -> Iterator[Nursery]:
    process = subprocess.Popen([sys.executable, NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        yield Nursery(process=process, folder=folder)
        process.stdin.close()
        process.wait(20)


@contextmanager
def running_daemon(config: Path, log: Path) -> Iterator[subprocess.Popen]:
    """A real ``lienthong run``; killed at the end if it is still there."""
    with log.open("ab") as sink:
        process = subprocess.Popen([LIENTHONG, "run", "-c", config], stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not yet collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


__all__ = ["Ended", "Nursery", "children_of", "is_alive", "open_nursery", "running_daemon"]
