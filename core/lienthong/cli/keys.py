"""The keys of a configuration, opened for one command; and waiting for a person who must confirm."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import typer

from lienthong.config import Config
from lienthong.errors import ConfigError, Unavailable, catalogue
from lienthong.hookspecs import Pending, Signature, SignRequest
from lienthong.registry import OpenConnection, discover, open_connection


def signer_names(config: Config) -> list[str]:
    """The connections whose plugin signs, in the order of the file; also those that no agency uses."""
    plugins = discover(frozenset(each.plugin for each in config.connection.values()))
    roles = {name: plugin.manifest.role for name, plugin in plugins.items() if plugin.manifest is not None}
    return [name for name, each in config.connection.items() if roles.get(each.plugin) == "signer"]


@contextmanager
def opened_signer(config: Config, name: str) -> Iterator[OpenConnection]:
    """One signer's connection.

    :raises ConfigError: there is none of this name, or its keys are wrong
    """
    known = signer_names(config)
    if name not in known:
        raise ConfigError("cli.no-signer", where=str(config.file), name=name, known=", ".join(known) or "-")
    plugins = discover(frozenset({config.connection[name].plugin}))
    folder = config.path(config.adapter.data)
    connection = open_connection(config, name, plugins, folder, lambda: datetime.now(UTC))
    try:
        yield connection
    finally:
        connection.close()


def asking(connection: OpenConnection) -> Callable[[SignRequest], Signature | Pending]:
    """The connection's ``sign`` hook as a function."""

    def ask(request: SignRequest) -> Signature | Pending:
        answer: Signature | Pending = connection.call("sign", request=request).result()
        return answer

    return ask


def wait_for_signer(pending: Pending | None, again: Callable[[], Pending | None], *, timeout: float, lang: str) -> None:
    """Ask ``again`` until the signer has answered, telling on stderr what is being waited for.

    :raises Unavailable: it has not answered within ``timeout`` seconds
    """
    end, told = time.monotonic() + timeout, False
    while pending is not None:
        left = end - time.monotonic()
        if left <= 0:
            raise Unavailable("cli.not-confirmed", seconds=round(timeout))
        told = _tell_waiting(round(left), lang, told)
        time.sleep(min(pending.retry_after, left))
        with suppress(Unavailable):  # nothing is decided: the request still stands
            pending = again()
    if told and sys.stderr.isatty():
        typer.echo("", err=True)


def _tell_waiting(seconds: int, lang: str, told: bool) -> bool:
    """One line that counts down on a terminal, and is written once elsewhere."""
    text = catalogue()["cli.waits-for-person"]["en" if lang == "en" else "vi"].format(seconds=seconds)
    if sys.stderr.isatty():
        typer.echo(f"\r{text} ", err=True, nl=False)
    elif not told:
        typer.echo(text, err=True)
    return True
