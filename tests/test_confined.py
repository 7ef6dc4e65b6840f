"""What a confined function may do, and that nothing of it stays: no memory, no process, no file, no noise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lienthong.confined import ConfinedFailure, FailureKind, run_confined
from lienthong.errors import ConfigError, ContentError

MIB = 1024 * 1024
USUAL = {"memory_bytes": 200 * MIB, "seconds": 20.0}


def run(function: str, *arguments: object, **limits: float):
    return run_confined(function, *arguments, **{**USUAL, **limits})


def failure_of(function: str, *arguments: object, **limits: float) -> ConfinedFailure:
    with pytest.raises(ConfinedFailure) as caught:
        run(function, *arguments, **limits)
    return caught.value


def processes_named(mark: str) -> list[str]:
    """Command lines of living processes that hold a mark; a zombie has none."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return [line for line in lines if mark in line]


def children_of_this_process() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = re.sub(r"\(.*\)", "x", entry.read_text()).split()
        except OSError:
            continue
        if int(fields[3]) == os.getpid():
            found.append(entry.parent.name)
    return found


# --- results ------------------------------------------------------------------------------------------------------


def test_what_the_function_returns_comes_back():
    assert run("json:loads", '{"số": [1, "đỏ", null]}') == {"số": [1, "đỏ", None]}


def test_arguments_of_any_length_arrive():
    assert run("builtins:len", "x" * (3 * MIB)) == 3 * MIB


def test_a_long_result_comes_back_whole():
    assert run("builtins:eval", "'x' * 3_000_000") == "x" * 3_000_000


def test_what_is_printed_does_not_disturb_the_result():
    noise = "(print('x' * 200_000), __import__('os').system('echo noise'), 7)[2]"
    assert run("builtins:eval", noise) == 7


def test_many_threads_may_ask_at_once():
    results: list[int] = []
    threads = [threading.Thread(target=lambda n=n: results.append(run("math:gcd", n * 6, 6))) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [6, 6, 6, 6]


# --- failures -----------------------------------------------------------------------------------------------------


def test_one_large_allocation_is_refused():
    failure = failure_of("builtins:bytes", 10**10)
    assert (failure.kind, failure.facts) == (FailureKind.OUT_OF_MEMORY, {"limit": 200 * MIB})


def test_memory_taken_piece_by_piece_is_refused():
    hoard = "kept = []\nwhile True: kept.append(bytes(1000_000))"
    assert failure_of("builtins:exec", hoard, memory_bytes=80 * MIB).kind is FailureKind.OUT_OF_MEMORY


def test_too_little_memory_to_begin_with_is_a_failure_and_no_hang():
    assert failure_of("math:gcd", 4, 2, memory_bytes=MIB).kind in (FailureKind.OUT_OF_MEMORY, FailureKind.CRASHED)


def test_a_loop_ends_at_the_deadline():
    begin = time.monotonic()
    failure = failure_of("builtins:exec", "while True: pass", seconds=0.6)
    assert (failure.kind, failure.facts) == (FailureKind.TOO_SLOW, {"seconds": 0.6})
    assert time.monotonic() - begin < 5


def test_a_child_that_only_waits_ends_at_the_deadline():
    assert failure_of("time:sleep", 60, seconds=0.6).kind is FailureKind.TOO_SLOW


def test_processor_time_is_limited_by_itself():
    # As a child with several threads meets it: the clock has hardly begun.
    burn = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass"
    assert failure_of("builtins:exec", burn).kind is FailureKind.TOO_SLOW


def test_a_native_crash_is_told_by_its_signal():
    failure = failure_of("os:abort")
    assert (failure.kind, failure.facts) == (FailureKind.CRASHED, {"reason": "SIGABRT"})


def test_an_exit_without_answer_is_told_by_its_number():
    assert failure_of("os:_exit", 3).facts == {"reason": "exit 3"}


def test_a_defect_of_the_function_is_told_by_its_words():
    assert failure_of("json:loads", "{").facts["reason"].startswith("JSONDecodeError: ")


@pytest.mark.parametrize("function", ["no_such_module:f", "json:no_such_function", "builtins:object"])
def test_a_function_that_is_not_there_or_returns_no_json_is_a_crash(function):
    assert failure_of(function).kind is FailureKind.CRASHED


def test_an_endless_answer_does_not_fill_the_parent():
    flood = "import os\nwhile True: os.write(3, b' ' * 65536)"
    assert failure_of("builtins:exec", flood).facts == {"reason": "its answer is too long"}


@pytest.mark.parametrize("forged", [b"5", b"[]", b'{"code": "x", "facts": 5}', b"[" * 100_000, b"\xff"])
def test_a_forged_answer_is_a_crash(forged):
    program = f"import os\nos.write(3, {forged!r})\nos._exit(0)"
    assert failure_of("builtins:exec", program).kind is FailureKind.CRASHED


def test_a_content_error_comes_back_with_code_place_and_facts():
    raising = (
        "from lienthong.errors import ContentError\nraise ContentError('packet.too-large', where='edXML', limit=5)"
    )
    failure = failure_of("builtins:exec", raising)
    assert isinstance(failure, ContentError)
    assert (failure.kind, failure.code, failure.where) == (FailureKind.REFUSED, "packet.too-large", "edXML")
    assert failure.facts == {"limit": "5"}


def test_a_failure_can_be_read_in_both_languages():
    failure = failure_of("os:abort")
    assert "SIGABRT" in failure.text("en")
    assert "SIGABRT" in failure.text("vi")


# --- what the child has, and what stays of it -----------------------------------------------------------------------


def test_the_child_knows_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("LIENTHONG_SECRET", "do-not-tell")
    assert run("builtins:eval", "'LIENTHONG_SECRET' in __import__('os').environ") is False


def test_the_child_has_no_open_file_of_the_parent(tmp_path):
    with (tmp_path / "open").open("w") as kept:
        os.set_inheritable(kept.fileno(), True)
        listing = "[str(path.resolve()) for path in __import__('pathlib').Path('/proc/self/fd').iterdir()]"
        assert str(tmp_path / "open") not in run("builtins:eval", listing)


def test_the_child_writes_no_file(tmp_path):
    target = tmp_path / "written"
    failure = failure_of("builtins:exec", f"with open({str(target)!r}, 'w') as file: file.write('x')")
    assert failure.facts["reason"].startswith("OSError: [Errno 27]")
    assert target.read_bytes() == b""


def test_what_the_child_started_ends_with_it():
    mark = "77.0312"
    run("builtins:exec", f"import subprocess; subprocess.Popen(['sleep', '{mark}'])")
    failure_of("builtins:exec", f"import os; os.system('sleep {mark}')", seconds=0.6)
    wait_until(lambda: not processes_named(f"sleep\0{mark}"))


def wait_until(true, seconds: float = 5.0) -> None:
    """A killed process leaves /proc a moment after the kill."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert true()


def test_no_zombie_stays():
    before = children_of_this_process()
    run("math:gcd", 4, 2)
    failure_of("os:abort")
    failure_of("time:sleep", 60, seconds=0.4)
    assert set(children_of_this_process()) <= set(before)


def test_limits_stand_before_the_package_is_imported():
    probe = "__import__('resource').getrlimit(__import__('resource').RLIMIT_AS)[1]"
    assert run("builtins:eval", probe, memory_bytes=150 * MIB) == 150 * MIB


def test_a_platform_without_limits_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(ConfigError) as caught:
        run("math:gcd", 4, 2)
    assert caught.value.code == "confined.platform"


def test_a_parent_without_room_for_a_child_is_told():
    program = (
        "import resource, sys\n"
        "from lienthong.confined import ConfinedFailure, run_confined\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "try:\n    run_confined('math:gcd', 4, 2, memory_bytes=10**9, seconds=5.0)\n"
        "except ConfinedFailure as failure:\n    print(failure.kind)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "crashed"
