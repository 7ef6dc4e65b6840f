"""Simulators by hand: ``lienthong sim axis`` and ``lienthong sim office`` serve until Ctrl-C or SIGTERM."""

from __future__ import annotations

import errno
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import typer

from lienthong.config import AgencySettings, Config, load, resolve_secret
from lienthong.errors import ConfigError
from lienthong_conformance.simulators.axis import AxisAgency, AxisSimulator
from lienthong_conformance.simulators.faults import Fault, faults_from_json
from lienthong_conformance.simulators.office import MAPPING, SECRETS, OfficeSimulator
from lienthong_conformance.simulators.office_desk import Clerk

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CLERKS: dict[str, Clerk] = {"auto": "automatic", "none": "idle"}


class Simulator(Protocol):
    """What an axis and an office have in common."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


_Made = TypeVar("_Made", bound=Simulator)


def run_axis(configs: Sequence[Path], port: int, folder: Path | None, faults: Path | None) -> None:
    """Run an axis that knows the agencies of these configurations.

    :raises ConfigError: a configuration or the faults cannot be used, or the port is in use
    """
    agencies, script = agencies_of(configs), _faults(faults)
    with _kept_in(folder) as place:
        axis = _on_port(lambda: AxisSimulator(agencies, place, port), port)
        axis.script(*script)
        _serve(axis, lambda: _announce_axis(axis, agencies, configs, place))


def _announce_axis(axis: AxisSimulator, agencies: Sequence[AxisAgency], configs: Sequence[Path], place: Path) -> None:
    lines = [f"Trục mô phỏng / simulated axis: {axis.endpoint}   (Ctrl-C: dừng / stop)"]
    lines += [f"  {agency.code}  {agency.name}" for agency in agencies]
    for file, endpoint in pointing_elsewhere(configs, axis.endpoint):
        lines.append(f"  ! {file}: endpoint = {endpoint!r} không dẫn tới trục này / does not lead here")
    lines.append(f"  sổ ghi / records: {place}, {axis.endpoint}/_sim/audit")
    typer.echo("\n".join(lines))


def run_office(port: int, folder: Path | None, faults: Path | None, clerk: str) -> None:
    """Run a REST office. ``clerk``: auto or none.

    :raises ConfigError: the faults or the clerk's name cannot be used, or the port is in use
    """
    if clerk not in _CLERKS:
        raise ConfigError("sim.clerk", where="--clerk", clerk=clerk, known=", ".join(_CLERKS))
    script = _faults(faults)
    with _kept_in(folder) as place:
        office = _on_port(lambda: OfficeSimulator(port, place, clerk=_CLERKS[clerk]), port)
        office.script(*script)
        _serve(office, lambda: _announce_office(office, place))


def _announce_office(office: OfficeSimulator, place: Path) -> None:
    names = ", ".join(f'{name} = "file:secrets/office-{name}"' for name in SECRETS)
    lines = (
        f"QLVB mô phỏng / simulated office: {office.endpoint}   (Ctrl-C: dừng / stop)",
        "  [connection.office]",
        '  plugin = "rest"',
        '  dedup = "native"',
        f'  base_url = "{office.url}"',
        f'  mapping = "{MAPPING}"',
        f"  secrets = {{ {names} }}     # {', '.join(SECRETS.values())}",
        f"  sổ ghi / records: {place}, {office.endpoint}/_sim/incoming",
    )
    typer.echo("\n".join(lines))


@contextmanager
def _kept_in(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="lienthong-sim-") as place:
        yield Path(place)


def _on_port(make: Callable[[], _Made], port: int) -> _Made:
    try:
        return make()
    except OSError as problem:
        if problem.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise ConfigError("sim.folder", where="--folder", reason=problem) from problem
        raise ConfigError("sim.port", where="--port", port=port, reason=problem.strerror) from problem


def _serve(simulator: Simulator, announce: Callable[[], None]) -> None:
    """Serve until told to stop. The signals are waited for, not handled: an exception out of a handler can get lost in
    whatever the interrupted thread was doing."""
    for number in STOPPING:
        # Shells let what they start in the background ignore SIGINT.
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    simulator.start()
    try:
        announce()
        signal.sigwait(STOPPING)
    finally:
        simulator.stop()


def _faults(file: Path | None) -> list[Fault]:
    try:
        return faults_from_json(file.read_bytes()) if file else []
    except (OSError, ValueError) as problem:
        raise ConfigError("sim.faults", where=str(file), reason=problem) from problem


def agencies_of(files: Sequence[Path]) -> list[AxisAgency]:
    """Every agency of these configurations, with the system id and secret of its axis connection.

    :raises ConfigError: a configuration cannot be used, or two of them serve the same agency
    """
    configs = [load(file) for file in files]
    agencies = [_at_axis(config, agency) for config in configs for agency in config.agency]
    codes = [agency.code for agency in agencies]
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        raise ConfigError("sim.agency-twice", where=", ".join(map(str, files)), codes=", ".join(twice))
    return agencies


def _at_axis(config: Config, agency: AgencySettings) -> AxisAgency:
    key = f"connection.{agency.axis}"
    access = config.connection[agency.axis].plugin_keys()
    if not access.get("system_id") or "secret" not in access:
        raise ConfigError("sim.no-access", where=f"{config.file}: {key}", agency=agency.code)
    secret = resolve_secret(access["secret"], config.file, f"{key}.secret")
    return AxisAgency(
        code=agency.code,
        name=agency.name,
        system_id=str(access["system_id"]),
        secret=secret.get_secret_value(),
    )


def pointing_elsewhere(files: Sequence[Path], endpoint: str) -> list[tuple[Path, str]]:
    """The configurations, with the endpoint in each, that do not lead to the axis at ``endpoint``."""
    configs = [load(file) for file in files]
    named = {
        (config.file, str(config.connection[agency.axis].plugin_keys().get("endpoint", "")))
        for config in configs
        for agency in config.agency
    }
    return sorted((file, url) for file, url in named if _port(url) != _port(endpoint))


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None
