"""``init`` and ``run``."""

from __future__ import annotations

import logging
import os
import queue
import secrets
import signal
import sys
from importlib.resources import files
from pathlib import Path
from string import Template

import structlog
import typer

from lienthong.config import load
from lienthong.daemon import Daemon, open_adapter, run_once, sole_daemon, take_over
from lienthong.errors import ConfigError
from lienthong.pipeline import certificates


def initialise(folder: Path, *, code: str, name: str, axis_url: str, system_id: str, listen: str, office: str) -> None:
    """Write what a first start needs; existing files are never overwritten."""
    file = folder / "lienthong.toml"
    if file.exists():
        raise ConfigError("config.exists", where=str(file))
    if office not in _OFFICES:
        raise ConfigError("config.office", where="--office", office=office, known=", ".join(_OFFICES))
    for sub in ("secrets", "keys", "trust"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    _write_secret(folder / "secrets" / "api-token")
    _write_secret(folder / "secrets" / "axis-secret")
    template = Template(files("lienthong.cli").joinpath("lienthong.toml.template").read_text("utf-8"))
    quoted = {"code": code, "name": name, "axis_url": axis_url, "system_id": system_id or code, "listen": listen}
    text = template.substitute(
        {key: _toml_string(value) for key, value in quoted.items()}, office_lines=_OFFICES[office]
    )
    file.write_text(text, "utf-8")
    load(file)
    typer.echo(f"{file}: đã tạo / written")
    typer.echo(f"{folder / 'secrets' / 'axis-secret'}: thay bằng khóa do trục cấp / replace by the axis's secret")
    typer.echo(f"Tiếp theo / next: lienthong run -c {file}")


_OFFICES = {
    "folder": 'plugin = "folder"\npath = "van-ban"          # drop documents into van-ban/outbox\npoll_seconds = 2',
    "sidecar": 'plugin = "sidecar"        # your product calls the API above',
}


def _toml_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_secret(file: Path) -> None:
    if file.exists():
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        sink.write(secrets.token_urlsafe(32) + "\n")


def run_adapter(config_file: Path, *, once: bool) -> None:
    """Run until told to stop."""
    configure_logging()
    config = load(config_file)
    log = structlog.get_logger("lienthong")
    if once:
        with sole_daemon(config.path(config.adapter.data)), open_adapter(config) as adapter:
            take_over(adapter)
            log.info("ran-once", work=run_once(adapter))
            certificates.look(adapter)
        return
    from lienthong.api.app import serve
    from lienthong.api.operations import Metrics

    metrics = Metrics()
    told_to_stop: queue.SimpleQueue[int] = queue.SimpleQueue()  # unlike an Event, safe to use in a signal handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: told_to_stop.put(received))
    with (
        sole_daemon(config.path(config.adapter.data)),
        open_adapter(config, pool=True, observe=metrics.observe) as adapter,
    ):
        daemon = Daemon(adapter)
        server = serve(adapter, metrics) if config.api else None
        daemon.start()
        log.info("started", agencies=[a.code for a in config.agency], api=config.api.listen if config.api else None)
        told_to_stop.get()
        log.info("stopping")
        if server is not None:
            server.stop()
        finished = daemon.stop()
        log.info("stopped", finished=finished)
        if not finished:
            sys.stderr.flush()
            os._exit(0)  # a thread that hangs in a peer's call was parked; it must not keep the process alive


def configure_logging() -> None:
    """JSON lines on stderr, Vietnam time; names and ids only, never content."""
    logging.getLogger("pyhanko").setLevel(logging.CRITICAL)  # its warnings quote broken documents
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _vietnam_timestamp,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def _vietnam_timestamp(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    from datetime import UTC, datetime

    from lienthong.model import vietnam_time

    return {"at": vietnam_time(datetime.now(UTC)), **event}
