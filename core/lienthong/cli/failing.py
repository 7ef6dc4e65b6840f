"""Errors as the command line shows them: one paragraph in the chosen language, and a telling exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lienthong.errors import Language


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn lienthong's errors into text on stderr and an exit code; anything else is a defect and shows its trace."""
    try:
        yield
    except Exception as problem:
        from lienthong.errors import LienthongError

        if not isinstance(problem, LienthongError):
            raise
        typer.echo(f"lienthong: {problem.text(language())}", err=True)
        sys.exit(exit_code(problem))


def language() -> Language:
    """``--lang`` or LIENTHONG_LANG; errors must be readable even when the options could not be parsed."""
    arguments = sys.argv
    chosen = next((b for a, b in pairwise(arguments) if a == "--lang"), None)
    chosen = chosen or os.environ.get("LIENTHONG_LANG", "vi")
    return "en" if chosen == "en" else "vi"


def exit_code(problem: Exception) -> int:
    from lienthong import cli, errors

    by_kind = (
        (errors.ConfigError, cli.EXIT_CONFIG),
        (errors.PluginError, cli.EXIT_CONFIG),
        (errors.PeerError, cli.EXIT_PEER),
        (errors.StoreError, cli.EXIT_STORE),
    )
    return next((code for kind, code in by_kind if isinstance(problem, kind)), cli.EXIT_REFUSED)
