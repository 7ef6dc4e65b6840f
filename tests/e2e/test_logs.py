"""Canaries: unique marks in everything that is private, looked for wherever they must not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lienthong_conformance.simulators.axis import Fault, FaultKind

from .children import Nursery
from .town import A, B, Town, letter

SUBJECT, CONTENT, FILE_NAME = "CHIMUNG-trichyeu", "CHIMUNG-noidung", "CHIMUNG-tentep"
AXIS_SECRET, PIN = "CHIMUNG-khoatruc-4711", "CHIMUNG-matkhau-4712"


def marks_in(text: str, *allowed: str) -> list[str]:
    marks = (SUBJECT, CONTENT, FILE_NAME, AXIS_SECRET, PIN)
    return [mark for mark in marks if mark in text and mark not in allowed]


@pytest.fixture
def marked(town: Town) -> Iterator[Town]:
    """A town in which A's secrets are marks too; the key's password is wrong at first."""
    member = replace(town.a.member, secret=AXIS_SECRET)
    for desk in town.desks.values():
        desk.close()
    town.members[A.code] = town.a.member = member
    town.axis.stop()
    town.restart_axis()
    town.configure(town.a, key=replace(town.pki.agencies[A.code], password=PIN))
    return town


def exchange(town: Town, nursery: Nursery) -> str:
    """A whole exchange through the command line, with everything going wrong once; returns all that was logged."""
    files = {f"{FILE_NAME}.pdf": letter(CONTENT), f"{FILE_NAME}.txt": CONTENT.encode()}
    town.a.drop("12", files=files, subject=SUBJECT)
    logged = worked(town, nursery, "a")
    town.configure(town.a)
    for kind in (FaultKind.LOST_ANSWER, FaultKind.ERROR_BEFORE, FaultKind.UNAUTHORIZED, FaultKind.TRUNCATED):
        town.axis.script(Fault(kind=kind, match={"operation": "sendEdoc"}))
        town.axis.script(Fault(kind=kind, match={"operation": "getEdoc"}))
        logged += worked(town, nursery, "a", "b")
    town.run()
    return logged


def worked(town: Town, nursery: Nursery, *names: str) -> str:
    logged = ""
    for name in names:
        town.desks[name].close()
        ended = nursery.command("run", "--once", "-c", town.desks[name].config)
        assert ended.code == 0, ended.err
        logged += ended.out + ended.err
    return logged


def test_no_private_mark_leaves_its_place(marked: Town, nursery: Nursery) -> None:
    logged = exchange(marked, nursery)
    assert marked.a.statuses_of("12") == ["01"]
    assert [path.name for path in marked.b.inbox()[0].glob("*.pdf")] == [f"{FILE_NAME}.pdf"]
    assert logged
    assert marks_in(logged) == []
    assert [row.subject for row in marked.a.messages(kind="edoc")] == [SUBJECT], "the marks are really there"
    for desk in marked.desks.values():
        with desk.adapter.store.read() as reader:
            for row in desk.messages():
                assert marks_in(str(reader.exchanges(row.id))) == []
                assert marks_in(str(reader.events(row.id)), FILE_NAME) == [], "a file may be named where it is judged"
                assert marks_in(row.reason_text + row.ack_detail, FILE_NAME) == []


def test_no_secret_stands_in_any_file_of_the_store(marked: Town, nursery: Nursery) -> None:
    exchange(marked, nursery)
    for desk in marked.desks.values():
        desk.close()
        kept = b"".join(path.read_bytes() for path in (desk.config.parent / "data").rglob("*") if path.is_file())
        assert not any(mark.encode() in kept for mark in (AXIS_SECRET, PIN))


@pytest.mark.parametrize("command", [("list",), ("trace", "12/UBND-VX"), ("plugins", "show", "vxp")])
def test_no_command_shows_a_secret(marked: Town, nursery: Nursery, command: tuple[str, ...]) -> None:
    marked.a.drop("12", to=(B.code,))
    worked(marked, nursery, "a")
    where: tuple[str | Path, ...] = () if command[0] == "plugins" else ("-c", marked.a.config)
    ended = nursery.command(*command, *where)
    assert ended.out
    assert marks_in(ended.out + ended.err) == []
