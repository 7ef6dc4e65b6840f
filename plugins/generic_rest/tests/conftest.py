"""A simulated office on a real socket, and connections to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rest_world import FINANCE, QUICK, Blobs, Clock, Connect, edited

from lienthong import Connection, Organization
from lienthong.http import HttpClient, HttpSettings
from lienthong_conformance.simulators.office import SECRETS, OfficeSimulator
from lienthong_generic_rest.rest import RestConfig


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def office() -> Iterator[OfficeSimulator]:
    simulator = OfficeSimulator(page_limit=2, agencies=[("H37.STC", "Sở Tài chính"), ("H37.SYT", "Sở Y tế")])
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def connect(office: OfficeSimulator, clock: Clock, tmp_path: Path) -> Iterator[Connect]:
    """Make connections to the office. ``edits`` are replacements in the text of its mapping."""
    clients = []

    def make(
        *edits: tuple[str, ...],
        agencies: tuple[Organization, ...] = (FINANCE,),
        secrets: dict[str, str] = SECRETS,
        http: HttpSettings = QUICK,
        **config: object,
    ) -> Connection:
        mapping = tmp_path / f"mapping-{len(clients)}.toml"
        mapping.write_text(edited(*edits), "utf-8")
        settings = RestConfig(base_url=office.url, mapping=mapping, secrets=secrets, http=http, **config)
        client = HttpClient(http, peer="qlvb", now=clock)
        clients.append(client)
        return Connection(
            name="qlvb", agencies=agencies, config=settings, http=client, folder=tmp_path / "work", now=clock
        )

    yield make
    for client in clients:
        client.close()
