"""The order of events: who writes when, when the clerks answer, when an adapter is killed, and what comes out."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console

from lienthong.errors import ConfigError, Unavailable
from lienthong.model import VIETNAM
from lienthong_conformance.demo import report
from lienthong_conformance.demo.plan import KILLED, KILLED_FACING, ROLES, Pair, Step, killing_step, plan, role_of
from lienthong_conformance.demo.stage import Stage
from lienthong_conformance.demo.tally import Seen, Totals, count, differences, look, settled
from lienthong_conformance.letters import RenderedLetter, find_fonts, render
from lienthong_conformance.simulators.by_hand import STOPPING

LIMIT_SECONDS = 180.0
"""How long a slow machine may take; what else the demo needs is about half a minute."""
STILL_SECONDS = 30.0
"""Nothing has happened for so long: nothing will."""
_LOOK_SECONDS = 0.2
_SLOW_SECONDS = 120.0
_WIDE = 160


def run_demo(keep: Path | None, *, json_out: bool) -> int:
    """Play the whole demo; 0 when everything is as planned, else 1.

    :raises ConfigError: the folder or the fonts cannot be used, or a program does not start
    """
    console = _console(json_out=json_out)
    with _folder(keep) as root, _interruptible():
        steps = plan(datetime.now(VIETNAM).date())
        play = _Play(root, steps, report.Progress(console, steps))
        totals = play.run()
        wrong = play.differences()
        if json_out:
            typer.echo(json.dumps(asdict(totals)))
        else:
            console.print(report.document_table(steps, play.seen))
            console.print(report.totals_line(totals), highlight=False)
        if wrong:
            report.print_differences(console, wrong, play.logs)
    return 1 if wrong else 0


def _console(*, json_out: bool) -> Console:
    """With ``--json`` stdout holds nothing but the answer."""
    console = Console(stderr=json_out)
    return console if console.is_terminal else Console(stderr=json_out, width=_WIDE)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="lienthong-demo-") as root:
            yield Path(root)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigError("demo.keep", where=str(keep), reason="không trống / not empty")
    except OSError as problem:
        raise ConfigError("demo.keep", where=str(keep), reason=problem) from problem
    yield keep.absolute()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Being told to end is an exception like Ctrl-C, so that everything is tidied up."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Play:
    """One performance. ``seen`` and ``logs`` are what stood at its end."""

    def __init__(self, root: Path, steps: Sequence[Step], progress: report.Progress) -> None:
        self._root, self._steps, self._progress = root, steps, progress
        self._printed: dict[str, RenderedLetter] = {}
        self._waiting = list(steps)
        self._to_answer = {pair: step for step in steps for pair in step.pairs if step.answers}
        self._killing = killing_step(steps)
        self._misfortunes: list[str] = []
        self.seen = Seen()
        self.logs: Mapping[str, str] = {}

    def run(self) -> Totals:
        """Everything from the first process to the last record read; no process runs afterwards."""
        begun = time.monotonic()
        self._progress.say(report.introduction())
        with Stage(self._root, datetime.now(UTC)) as stage:
            self._print_letters()
            stage.wait_until_up()
            try:
                self._perform(stage, begun + LIMIT_SECONDS)
            except Unavailable as problem:
                self._misfortunes.append(problem.text("vi"))
            self.logs = stage.logs()
        return count(self._steps, self.seen, time.monotonic() - begun)

    def _perform(self, stage: Stage, deadline: float) -> None:
        self._prepare_faults(stage)
        self._play_until(stage, deadline)
        self._misfortunes += [f"{name}: chương trình tự dừng" for name in stage.fallen()]
        stage.stop_adapters()
        self.seen = look(stage)

    def differences(self) -> list[str]:
        """What is not as planned."""
        return [*self._misfortunes, *differences(self._steps, self.seen, self._printed)]

    def _print_letters(self) -> None:
        fonts = find_fonts()
        for step in self._steps:
            self._printed[step.letter.key] = render(step.letter, self._root / "van-ban" / step.letter.key, fonts=fonts)
        self._progress.say(f"{len(self._steps)} văn bản, phông chữ {fonts.family}")

    def _prepare_faults(self, stage: Stage) -> None:
        for step in self._steps:
            if step.fate == "quarantined":
                stage.script({"kind": "tamper", "match": {"operation": "getEdoc", "document_id": step.document_id}})
        if self._killing:
            about = {"operation": "sendEdoc", "document_id": self._killing.document_id}
            about["to"] = ROLES[KILLED_FACING].code
            stage.script({"kind": "slow", "match": about, "seconds": _SLOW_SECONDS})

    def _play_until(self, stage: Stage, deadline: float) -> None:
        """Act on what is seen, until nothing is left to do anywhere."""
        still_since = time.monotonic()
        while True:
            before, self.seen = self.seen, look(stage)
            self._progress.show(self.seen)
            still_since = still_since if before == self.seen else time.monotonic()
            if self._is_over() or time.monotonic() > min(deadline, still_since + STILL_SECONDS):
                return
            self._issue(stage)
            self._answer(stage)
            self._kill(stage)
            time.sleep(_LOOK_SECONDS)

    def _is_over(self) -> bool:
        done = all(settled(step, self.seen) for step in self._steps)
        return done and not self.seen.waiting and not self._killing

    def _issue(self, stage: Stage) -> None:
        over = {step.document_id for step in self._steps if settled(step, self.seen)}
        for step in [step for step in self._waiting if set(step.after) <= over]:
            self._waiting.remove(step)
            stage.offices[role_of(step.document.sender.code)].issue(step, self._printed[step.letter.key])

    def _answer(self, stage: Stage) -> None:
        """A clerk turns to a document as soon as it lies in the office."""
        for pair, step in list(self._to_answer.items()):
            if pair in self.seen.held_pairs:
                del self._to_answer[pair]
                stage.offices[role_of(pair.recipient)].answer(step)

    def _kill(self, stage: Stage) -> None:
        """The axis has the document and is slow to say so: the adapter dies without knowing."""
        if self._killing is None or Pair(self._killing.document_id, ROLES[KILLED_FACING].code) not in self.seen.axis:
            return
        pid = stage.kill(KILLED)
        stage.start(KILLED)
        killed = report.short(ROLES[KILLED].code)
        self._progress.say(
            f"[bold red]kill -9[/] bộ kết nối của {killed} (tiến trình {pid}) giữa lúc gửi; khởi động lại"
        )
        self._killing = None
