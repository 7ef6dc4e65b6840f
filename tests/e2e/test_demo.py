"""``lienthong demo`` as a person runs it: the numbers, and nothing left running, however it ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

DEMO = [sys.executable, "-c", "from lienthong.cli import main; main()", "demo", "--json"]
MARK = "LIENTHONG_DEMO_TEST"

only_with_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")


@pytest.fixture
def marked() -> tuple[dict[str, str], Callable[[], list[str]]]:
    """An environment that every process of the demo inherits, and the command lines of those that are alive."""
    mark = secrets.token_hex(8)

    def alive() -> list[str]:
        return [line for folder in Path("/proc").glob("[0-9]*") if (line := _command_line(folder, mark))]

    return {**os.environ, MARK: mark}, alive


def _command_line(folder: Path, mark: str) -> str:
    try:
        ours = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode() if ours else ""
    except (OSError, UnicodeDecodeError):
        return ""


@only_with_proc
def test_the_demo_loses_nothing_and_leaves_nothing_running(marked, tmp_path):
    environment, alive = marked
    ended = subprocess.run(
        [*DEMO, "--keep", str(tmp_path / "kept")], env=environment, capture_output=True, text=True, timeout=150
    )
    assert ended.returncode == 0, ended.stderr
    totals = json.loads(ended.stdout)
    assert (totals["lost"], totals["duplicated"]) == (0, 0)
    assert (totals["issued"], totals["delivered"], totals["refused"]) == (19, 21, 2)
    assert (totals["quarantined"], totals["recalled"]) == (1, 1)
    assert totals["statuses"] == {"01": 21, "02": 1, "03": 19, "04": 5, "05": 12, "06": 16, "15": 2}
    assert totals["seconds"] < 90
    assert list(totals) == [
        "issued", "delivered", "refused", "quarantined", "recalled", "lost", "duplicated", "statuses", "seconds",
    ]  # fmt: skip
    assert "kill -9" in ended.stderr
    assert "took-over" in (tmp_path / "kept" / "tinh.log").read_text("utf-8")
    assert alive() == []


@only_with_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_running(marked, number):
    environment, alive = marked
    process = subprocess.Popen(
        DEMO, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        while "giao cho phần mềm" not in process.stderr.readline():
            assert process.poll() is None
        assert len(alive()) >= 6
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode not in (0, None)
    assert "Traceback" not in said
    assert alive() == []


def test_a_folder_that_is_not_empty_is_not_used(tmp_path):
    (tmp_path / "there").touch()
    ended = subprocess.run([*DEMO, "--keep", str(tmp_path)], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 3
    assert str(tmp_path) in ended.stderr
    assert ended.stdout == ""
