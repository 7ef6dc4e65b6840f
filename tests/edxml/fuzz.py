"""Reads damaged packets by the thousand: each is read or refused, in bounded time, and leaves nothing behind.

Case ``n`` of a seed is always the same bytes. The reading happens in processes of their own, so that memory is
measured, a read that never ends can be named, and several cores work.

From the tests' folder:

    python -m edxml.fuzz --mutations 200000             a night's run; exit status 1 when something was found
    python -m edxml.fuzz --seed 28 --only 4711 --keep F  one case again, its bytes written to F
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import os
import random
import re
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lienthong import ContentError
from lienthong.edxml import Packet, open_packet, safe_name, write_packet

from .messages import in_order
from .mutators import mutated

FIXTURES = Path(__file__).parent / "fixtures"
SEED = 28
CPU_SECONDS = 2.0
"""Far more than the largest case needs on a slow machine; a quadratic loop over 100 KB takes longer."""
HANGING_SECONDS = 20.0
STARTING_SECONDS = 60.0
GROWTH_MB = 64
MOST_MEMORY = 2 * 1024**3
ENOUGH_FINDINGS = 20


@dataclass(frozen=True)
class Finding:
    number: int
    what: str


@dataclass
class Report:
    """``outcomes``: how often a message came out, or which error. ``growth`` in MB, after the first cases."""

    read: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    growth: float = 0.0

    def add(self, other: Report) -> None:
        self.read += other.read
        self.outcomes += other.outcomes
        self.findings += other.findings
        self.slowest = max(self.slowest, other.slowest)
        self.growth = max(self.growth, other.growth)


@cache
def originals() -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in sorted(FIXTURES.glob("*.*ml")))


def case(seed: int, number: int) -> bytes:
    """The fixtures as they are first, then damaged ones."""
    packets = originals()
    if number < len(packets):
        return packets[number]
    chance = random.Random(f"{seed}/{number}")
    return mutated(chance.choice(packets), chance.choice(packets), chance)


# --- one read -----------------------------------------------------------------------------------------------------


def judged(packet: bytes, folder: Path) -> str:
    """What became of a packet: ``message``, or the code of the error that explains itself. Leaves ``folder`` empty.

    :raises AssertionError: what was read contradicts itself, or something stays behind
    """
    try:
        read = open_packet(io.BytesIO(packet), folder)
    except ContentError as refusal:
        assert os.listdir(folder) == [], "files stay behind after a refusal"
        return _explained(refusal)
    try:
        assert {file.path for file in read.files} == set(folder.iterdir()), "other files than those that are told"
        _check(read)
        return _explained(read.faults[0]) if read.faults else _rewritten(read, folder)
    finally:
        for file in folder.iterdir():
            file.unlink()


def _explained(refusal: ContentError) -> str:
    assert refusal.text("vi") != refusal.text("en"), f"{refusal.code} has no texts"
    return refusal.code


def _check(packet: Packet) -> None:
    assert (packet.message is None) == bool(packet.faults), "a message or faults, and not both"
    for file in packet.files:
        content = file.path.read_bytes()
        assert len(content) == file.part.size, "another size than was told"
        assert hashlib.sha256(content).hexdigest() == file.part.sha256, "another digest than was told"
        assert safe_name(file.part.name) == file.part.name, "a name that is not safe"


def _rewritten(packet: Packet, folder: Path) -> str:
    """What was read must be writable and mean the same again, or be refused for a reason."""
    paths = {file.part.sha256: file.path for file in packet.files}
    sink = io.BytesIO()
    try:
        write_packet(packet.message, lambda part: paths[part.sha256].open("rb"), sink)
    except ContentError as refusal:
        return f"message, not written: {_explained(refusal)}"
    again = open_packet(io.BytesIO(sink.getvalue()), folder)
    assert again.faults == (), "what was written cannot be read"
    assert in_order(again.message) == in_order(packet.message), "what was written means something else"
    return "message"


# --- one process --------------------------------------------------------------------------------------------------


Judge = Callable[[bytes, Path], str]


@dataclass(frozen=True)
class Order:
    judge: Judge
    seed: int
    start: int
    stop: int
    step: int

    def numbers(self) -> range:
        return range(self.start, self.stop, self.step)


def _work(order: Order, progress: Any, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    report, settled = Report(), 0.0
    with tempfile.TemporaryDirectory(prefix="lienthong-fuzz-") as name:
        for count, number in enumerate(order.numbers()):
            progress.value = number
            _read_one(order, number, Path(name), report)
            if len(report.findings) >= ENOUGH_FINDINGS:
                break
            if count == 300:
                settled = peak_mb()
    report.growth = peak_mb() - settled if settled else 0.0
    answer.send(report)


def _read_one(order: Order, number: int, folder: Path, report: Report) -> None:
    packet, descriptors = case(order.seed, number), len(os.listdir("/proc/self/fd"))
    started = time.process_time()
    try:
        report.outcomes[order.judge(packet, folder)] += 1
    except Exception as problem:
        report.findings.append(Finding(number, _told(problem)))
        problem.__traceback__ = None
    seconds = time.process_time() - started
    report.read += 1
    report.slowest = max(report.slowest, (seconds, number))
    if seconds > CPU_SECONDS:
        report.findings.append(Finding(number, f"took {seconds:.1f} s"))
    if len(os.listdir("/proc/self/fd")) != descriptors:
        report.findings.append(Finding(number, "leaves a file open"))


def _told(problem: Exception) -> str:
    place = traceback.extract_tb(problem.__traceback__)[-1]
    return f"{type(problem).__name__}: {problem} ({Path(place.filename).name}:{place.lineno})"


def peak_mb() -> float:
    """Unlike getrusage, this forgets what the process was before exec."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))[1]) / 1024


# --- all processes ------------------------------------------------------------------------------------------------


class Worker:
    """A process that reads every n-th case, watched from here: it may be stuck in C, where it cannot tell itself."""

    def __init__(self, order: Order) -> None:
        context = multiprocessing.get_context("spawn")
        self._progress = context.Value("q", -1, lock=False)
        self._answer, answer = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(order, self._progress, answer))
        self._process.start()
        answer.close()
        self._order = order
        self._seen, self._seen_at = -1, 0.0

    @property
    def done(self) -> int:
        return max(0, self._progress.value - self._order.start) // self._order.step

    def report(self) -> Report | None:
        """The outcome, once there is one."""
        if self._answer.poll():
            return self._received()
        number, used = self._progress.value, self._cpu_seconds()
        if number != self._seen:
            self._seen, self._seen_at = number, used
        if used - self._seen_at < (HANGING_SECONDS if number >= 0 else STARTING_SECONDS):
            return None
        self._process.kill()
        return self._ended(f"is still not read after {HANGING_SECONDS:.0f} s")

    def _received(self) -> Report:
        try:
            report: Report = self._answer.recv()
        except EOFError:
            return self._ended("ends the process")
        self._process.join()
        return report

    def _ended(self, what: str) -> Report:
        self._process.join()
        return Report(read=self.done, findings=[Finding(self._progress.value, what)])

    def _cpu_seconds(self) -> float:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text("utf-8").rpartition(") ")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self._seen_at


def run(seed: int, mutations: int, processes: int, judge: Judge = judged) -> Iterator[tuple[int, Report]]:
    """Yields how far it is and, last, the report of all."""
    stop = len(originals()) + mutations
    waiting = [Worker(Order(judge, seed, start, stop, processes)) for start in range(processes)]
    whole = Report()
    while waiting:
        time.sleep(0.05)
        for worker in list(waiting):
            if (report := worker.report()) is not None:
                whole.add(report)
                waiting.remove(worker)
        yield whole.read + sum(worker.done for worker in waiting), whole


def described(report: Report, seed: int, seconds: float) -> str:
    slowest, number = report.slowest
    lines = [
        f"seed {seed}: {report.read} packets in {seconds:.0f} s, {report.read / seconds:.0f}/s; the slowest read took "
        f"{slowest:.2f} s (case {number}); memory grew by {report.growth:.0f} MB",
        *(f"{count:9}  {outcome}" for outcome, count in report.outcomes.most_common()),
        *(
            f"FOUND  case {finding.number}: {finding.what}"
            for finding in sorted(report.findings, key=lambda finding: finding.number)
        ),
    ]
    return "\n".join(lines)


def fuzz(mutations: int, processes: int, seed: int = SEED, judge: Judge = judged) -> Report:
    """The report of a run, which shows its progress every ten seconds."""
    started = told = time.monotonic()
    report = Report()
    for done, report in run(seed, mutations, processes, judge):
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"seed {seed}: {done} of {mutations} read, {len(report.findings)} findings", flush=True)
    print(described(report, seed, time.monotonic() - started), flush=True)
    return report


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--mutations", type=int, default=200_000)
    arguments.add_argument("--seed", type=int, default=SEED)
    arguments.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--only", type=int, help="this case alone, in this process")
    arguments.add_argument("--keep", type=Path, help="with --only: write its bytes here")
    options = arguments.parse_args()
    if options.only is None:
        return bool(fuzz(options.mutations, options.processes, options.seed).findings)
    packet = case(options.seed, options.only)
    if options.keep:
        options.keep.write_bytes(packet)
    with tempfile.TemporaryDirectory() as name:
        print(judged(packet, Path(name)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
