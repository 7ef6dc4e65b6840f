"""Statuses of one document keep their order when the first of them cannot be taken in yet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lienthong import Unavailable
from lienthong.config import load
from lienthong.daemon import open_adapter
from lienthong.pipeline import intake, outgoing
from lienthong.pipeline.adapter import Adapter
from lienthong.store.schema import message

CONFIGURATION = """\
[[agency]]
code = "000.00.01.H99"
name = "UBND tỉnh"
office = "office"
axis = "axis"

[connection.office]
plugin = "folder"
path = "office"

[connection.axis]
plugin = "vxp"
endpoint = "http://127.0.0.1:1"
system_id = "s"
secret = "env:AXIS_SECRET"
"""


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    monkeypatch.setenv("AXIS_SECRET", "x")
    (tmp_path / "lienthong.toml").write_text(CONFIGURATION, "utf-8")
    with open_adapter(load(tmp_path / "lienthong.toml")) as opened:
        yield opened


@pytest.fixture
def too_early_at_first(monkeypatch):
    """The document is committed between the first status and the second."""
    real, answers = intake.submit_status, iter([Unavailable("status.too-early", message_id="m")])

    def submit_status(*arguments):
        for problem in answers:
            raise problem
        return real(*arguments)

    monkeypatch.setattr(intake, "submit_status", submit_status)


def drop(tmp_path: Path, name: str, document: str, code: str) -> None:
    folder = tmp_path / "office" / "status"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps({"document": document, "code": code}), "utf-8")


def taken_in(adapter: Adapter) -> list[str]:
    with adapter.store.read() as reader:
        return [f"{row.document_id} {row.status}" for row in reader.messages(message.c.kind == "status")]


def test_a_later_status_waits_behind_one_that_comes_too_early(adapter, tmp_path, too_early_at_first):
    drop(tmp_path, "1.json", "D", "03")
    drop(tmp_path, "2.json", "D", "05")
    drop(tmp_path, "3.json", "E", "03")
    with pytest.raises(Unavailable):
        outgoing.collect(adapter, adapter.connections["office"])
    assert taken_in(adapter) == ["E 03"]
    outgoing.collect(adapter, adapter.connections["office"])
    assert taken_in(adapter) == ["E 03", "D 03", "D 05"]
