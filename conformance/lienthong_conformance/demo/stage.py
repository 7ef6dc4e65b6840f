"""The processes of the demo: an axis, a REST office and three adapters, each one started as a person would start it.

Every process leads a group of its own, and ``Stage`` ends all groups whatever happens: asked first, killed after that.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lienthong.errors import ConfigError, Unavailable
from lienthong.model import Organization
from lienthong_conformance.demo.loopback import ask, asked, told
from lienthong_conformance.demo.offices import FolderOffice, Office, RestOffice
from lienthong_conformance.demo.plan import ROLES
from lienthong_conformance.demo.product import Product
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.simulators.by_hand import STOPPING
from lienthong_conformance.simulators.office import MAPPING, SECRETS
from lienthong_conformance.world import Member, write_adapter, write_secret

_START_SECONDS = 30.0
_STOP_SECONDS = 12.0
_POLL_SECONDS = 0.1
_LIENTHONG = (sys.executable, "-c", "from lienthong.cli import main; main()")
"""The same command line, whatever the scripts of this environment are called."""
_TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the programs of the demo listen."""

    axis: str
    office: str
    api: str


class Stage:
    """A context: everything runs inside and nothing after it. ``root`` holds configurations, records and logs."""

    def __init__(self, root: Path, now: datetime) -> None:
        self._root = root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[str, ...]] = {}
        ports = _free_ports(3)
        axis, office, api = (f"http://127.0.0.1:{port}" for port in ports)
        self.addresses = Addresses(axis=axis, office=office, api=api)
        self._configs = self._write_configurations(now)
        self._product = self._make_product()
        self.offices: Mapping[str, Office] = {
            "tinh": FolderOffice("tinh", root / "tinh" / "van-ban"),
            "so": RestOffice("so", office, root / "so-qlvb"),
            "xa": self._product,
        }

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self._close)
            self._start_all()
            undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def wait_until_up(self) -> None:
        """Until simulators and the API answer; then the product begins to work.

        :raises ConfigError: one of them ends at once, or does not answer in time
        """
        until = time.monotonic() + _START_SECONDS
        asking = {
            "truc": (self.addresses.axis, "/_sim/audit"),
            "so-qlvb": (self.addresses.office, "/_sim/audit"),
            "xa": (self.addresses.api, "/livez"),
        }
        for name, (base, path) in asking.items():
            while not _answers(base, path):
                if time.monotonic() > until or self._processes[name].poll() is not None:
                    raise self._not_started(name)
                time.sleep(_POLL_SECONDS)
        self._product.start()

    def kill(self, role: str) -> int:
        """SIGKILL to an adapter's process, which cannot put anything in order; its process id."""
        process = self._processes[role]
        process.kill()
        process.wait()
        _kill_group(process.pid)
        return process.pid

    def start(self, name: str) -> None:
        """Start a program (again) with its own command line; its log goes on in the same file."""
        with _uninterrupted(), self._log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603 (our own program)
                [*_LIENTHONG, *self._commands[name]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop_adapters(self) -> None:
        """Ask the adapters to end, so that the records stand still; the simulators go on."""
        self._end(list(ROLES))

    def script(self, fault: Mapping[str, object]) -> None:
        """Let the axis misbehave once."""
        told(self.addresses.axis, "/_sim/faults", fault)

    def audit(self) -> list[dict[str, Any]]:
        """The axis's own account: per message and recipient, how often committed and how often acknowledged."""
        rows: list[dict[str, Any]] = asked(self.addresses.axis, "/_sim/audit")
        return rows

    def fallen(self) -> list[str]:
        """Programs that ended by themselves."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def logs(self) -> dict[str, str]:
        """The end of each program's log."""
        ends = {name: _tail(self._log(name)) for name in self._commands}
        return {**ends, "xa-phan-mem": "\n".join(self._product.problems()[-_TAIL_LINES:])}

    def _write_configurations(self, now: datetime) -> dict[str, Path]:
        pki = make_pki(self._root / "pki", list(ROLES.values()), now=now)
        secrets = {name: f"file:office-{name}" for name in SECRETS}
        rest = {"plugin": "rest", "base_url": f"{self.addresses.office}/api/v2", "dedup": "native"}
        offices: dict[str, dict[str, object]] = {
            "tinh": {"plugin": "folder", "path": "van-ban"},
            "so": {**rest, "mapping": str(MAPPING), "secrets": secrets},
            "xa": {"plugin": "sidecar"},
        }
        return {role: self._write_configuration(role, ROLES[role], offices[role], pki) for role in ROLES}

    def _write_configuration(
        self, role: str, organization: Organization, office: Mapping[str, object], pki: TestPki
    ) -> Path:
        folder = self._root / role
        folder.mkdir()
        if role == "so":
            for name, value in SECRETS.items():
                write_secret(folder / f"office-{name}", value)
        listen = self.addresses.api.removeprefix("http://") if role == "xa" else ""
        member = Member(organization=organization, office=office)
        adapter = {"signing_processes": 1}
        return write_adapter(folder, member, self.addresses.axis, pki, listen=listen, adapter=adapter)

    def _make_product(self) -> Product:
        token = (self._root / "xa" / "api-token").read_text("utf-8").strip()
        return Product("xa", self.addresses.api, token, self._root / "xa-phan-mem")

    def _start_all(self) -> None:
        configs = [part for file in self._configs.values() for part in ("--for", str(file))]
        axis_port, office_port = (
            address.rpartition(":")[2] for address in (self.addresses.axis, self.addresses.office)
        )
        self._commands["truc"] = ("sim", "axis", *configs, "--port", axis_port, "--folder", str(self._root / "truc"))
        place = ("--folder", str(self._root / "so-qlvb"))
        self._commands["so-qlvb"] = ("sim", "office", "--port", office_port, *place, "--clerk", "none")
        for role, file in self._configs.items():
            self._commands[role] = ("run", "-c", str(file))
        for name in self._commands:
            self.start(name)

    def _close(self) -> None:
        with _uninterrupted():
            self._end([*ROLES, "so-qlvb", "truc"])
            self._product.stop()

    def _end(self, names: Sequence[str]) -> None:
        processes = [self._processes.pop(name) for name in names if name in self._processes]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            _kill_group(process.pid)
            process.wait()

    def _log(self, name: str) -> Path:
        return self._root / f"{name}.log"

    def _not_started(self, name: str) -> ConfigError:
        log = _tail(self._log(name))
        return ConfigError("demo.not-started", where=name, program=name, seconds=int(_START_SECONDS), log=log)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in held]
    for listener in held:
        listener.close()
    return ports


def _answers(base: str, path: str) -> bool:
    try:
        return ask(base, "GET", path).status == 200
    except Unavailable:
        return False


def _kill_group(leader: int) -> None:
    """End what a process left behind: an adapter's signing processes are in its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C and its like wait for the end of this: between starting a process and knowing it, and while tidying up."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda given, _: came.append(given)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _tail(file: Path) -> str:
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    return "\n".join(lines[-_TAIL_LINES:])
