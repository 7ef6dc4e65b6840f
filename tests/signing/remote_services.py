"""Signing services on real sockets, each with a connection to it, under one handle for the tests that all must pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from lienthong.hookspecs import Connection, Credential, Pending, Signature, SignRequest
from lienthong.http import HttpClient, HttpSettings
from lienthong.signing import pades
from lienthong.signing.keys import csc
from lienthong_conformance.pki import KeyFile
from lienthong_conformance.simulators.csc import CscSimulator
from lienthong_conformance.simulators.mysign import MySignSimulator
from lienthong_conformance.simulators.smartca import SmartCaSimulator
from lienthong_viettel import mysign
from lienthong_vnpt import smartca

from .workshop import NOW

SECRET, PIN = "khong-ai-duoc-thay-bi-mat", "90817263"
WHO = "CMT_001080000001"
SUMMARY = "Ký 15/UBND-VP về việc báo cáo tình hình quý I"


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service and how to be its customer.

    ``handing_in`` is its operation that reaches the telephone, ``asking`` the one that asks for the result.
    """

    plugin: ModuleType
    simulator: Any
    settings: Mapping[str, object]
    handing_in: str = ""
    asking: str = ""

    @property
    def telephone(self) -> Any:
        return self.simulator.telephone

    @property
    def secret(self) -> str:
        """The key of the settings that holds our secret."""
        return next(name for name, value in self.settings.items() if value == SECRET)


Make = Callable[[KeyFile], Service]


def smartca_service(key: KeyFile) -> Service:
    simulator = SmartCaSimulator({WHO: [key]}, sp_id="app-1", sp_password=SECRET)
    settings = {"base_url": simulator.base_url, "sp_id": "app-1", "sp_password": SECRET, "user_id": WHO}
    return Service(plugin=smartca, simulator=simulator, settings=settings, handing_in="sign", asking="status")


def mysign_service(key: KeyFile) -> Service:
    simulator = MySignSimulator({WHO: [key]}, client_id="app-1", client_secret=SECRET)
    settings = {"base_url": simulator.base_url, "client_id": "app-1", "client_secret": SECRET, "user_id": WHO}
    return Service(plugin=mysign, simulator=simulator, settings=settings, handing_in="sign", asking="status")


def csc_service(key: KeyFile) -> Service:
    """Version 2, where the owner of the key consents on a telephone and signatures are finished later."""
    client = ("app-1", SECRET)
    simulator = CscSimulator(key, version="v2", credential_id="key-1", client=client)
    settings = {
        "base_url": simulator.base_url,
        "version": "v2",
        "credential_id": "key-1",
        "token_url": simulator.token_url,
        "client_id": client[0],
        "client_secret": client[1],
    }
    return Service(plugin=csc, simulator=simulator, settings=settings, handing_in="authorize", asking="authorizeCheck")


SERVICES: dict[str, Make] = {"smartca": smartca_service, "mysign": mysign_service, "csc": csc_service}


@contextlib.contextmanager
def running(service: Service) -> Iterator[Service]:
    service.simulator.start()
    try:
        yield service
    finally:
        service.simulator.stop()
        assert service.simulator.records("crash") == []


Connect = Callable[..., Connection]


def connecting(http_of: Callable[[HttpSettings], HttpClient], clock: Clock, folder: Path) -> Connect:
    """``connect(service, **changes)``: a new connection, as after a restart, its configuration changed."""

    def connect(service: Service, **changes: object) -> Connection:
        http = {"tries": 1, "deadline_seconds": 5.0}
        config = service.plugin.describe().config.model_validate({**service.settings, "http": http, **changes})
        client = http_of(config.http)
        return Connection(name="nguoi-ky", agencies=(), config=config, http=client, folder=folder, now=clock)

    return connect


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One document being signed through one connection."""

    service: Service
    connection: Connection
    source: Path
    target: Path

    def credential(self) -> Credential:
        return self.service.plugin.credential(self.connection)

    def ask(self, request: SignRequest) -> Signature | Pending:
        answer: Signature | Pending = self.service.plugin.sign(self.connection, request)
        return answer

    def begin(self) -> pades.Parked | None:
        """The first attempt."""
        return pades.sign_pdf(
            self.source, self.target, credential=self.credential(), sign=self.ask, at=NOW, summary=SUMMARY
        )

    def go_on(self, parked: pades.Parked) -> pades.Parked | None:
        return pades.resume(self.target, parked, credential=self.credential(), sign=self.ask, summary=SUMMARY)

    def go_on_until_signed(self, parked: pades.Parked | None) -> None:
        """Ask as often as a service with two unfinished calls can need."""
        for _ in range(4):
            if parked is None:
                return
            parked = self.go_on(parked)
        assert parked is None
