"""A document that carries proof of its time, over real daemons: the authority fails, a daemon dies, and it goes out."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from signing.authorities import Authorities, Fault

from lienthong.signing.verification.reading import read_facts

from .children import running_daemon
from .town import Desk, Town, await_condition


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authorities]:
    world = Authorities(tmp_path_factory.mktemp("authorities"))
    yield world
    world.close()


def configure_level(desk: Desk, authorities: Authorities, level: str) -> None:
    desk.close()
    lines = [
        f'[signing]\nlevel = "{level}"\n[[signing.timestamp_authority]]\nurl = "{authorities.tsa_url}"\nseconds = 5',
        f'[[trust.root]]\nfile = "{authorities.roots}"\nsha256 = "{_digest(authorities)}"',
        f'[[trust.intermediate]]\nfile = "{authorities.intermediates}"',
    ]
    with desk.config.open("a", encoding="utf-8") as sink:
        sink.write("\n" + "\n".join(lines) + "\n")


def _digest(authorities: Authorities) -> str:
    return hashlib.sha256(authorities.certificate("root")).hexdigest()


def states(desk: Desk) -> list[tuple[str, str]]:
    """State and reason of each outgoing document, read beside a running daemon."""
    file = desk.config.parent / "data" / "lienthong.db"
    if not file.exists():
        return []
    query = "SELECT state, reason FROM message WHERE direction = 'out' AND kind = 'edoc'"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        try:
            return [tuple(row) for row in database.execute(query)]
        except sqlite3.OperationalError:  # the tables are just being made
            return []


def received_pdf(desk: Desk) -> Path:
    return next(path for folder in desk.inbox() for path in folder.glob("*.pdf"))


def test_a_timestamp_that_comes_late_is_added_by_the_next_daemon(town: Town, authorities: Authorities) -> None:
    configure_level(town.a, authorities, "B-T")
    town.a.drop("12")
    log = town.root / "log"
    with authorities.fault("tsa", Fault.DOWN), running_daemon(town.a.config, log) as daemon:
        await_condition(lambda: ("awaiting-proof", "sign.tsa-unavailable") in states(town.a))
        daemon.kill()
        daemon.wait(10)
    with running_daemon(town.a.config, log):
        await_condition(lambda: states(town.a) == [("dispatched", "")], 60)
        town.run(lambda: town.b.inbox(), (town.b,))
    (signature,) = read_facts(received_pdf(town.b)).signatures
    assert len(signature.timestamps) == 1
    assert not signature.reasons
