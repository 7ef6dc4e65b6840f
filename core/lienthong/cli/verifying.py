"""``lienthong verify``: judge the signatures of files, with reasons that a clerk can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CODES = (
    "Exit codes: 0 every file is validly signed, 1 at least one is not (broken, revoked, or not signed), 2 none is "
    "broken but at least one is undecided (also: wrong usage), 3 configuration, 5 a file cannot be read."
)
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True, help="PDFs or packets (.edxml)."),
]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="LIENTHONG_CONFIG", help="Configuration file.")]
AtOption = Annotated[str, typer.Option("--at", help="Judge as of this time (ISO 8601; Vietnam time without a zone).")]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Ask nobody about revocation; only what a file brings along counts.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LanguageOption = Annotated[str, typer.Option("--lang", envvar="LIENTHONG_LANG", help="vi or en.")]


def verify(
    files: Files,
    at: AtOption = "",
    offline: OfflineOption = False,
    config: ConfigOption = Path("lienthong.toml"),
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Check every signature of PDFs, or of the files in packets, against the configured trust.

    Examples: lienthong verify cv.pdf     |     lienthong verify den/*.pdf --json --offline
    """
    from lienthong.cli.verdicts import verify_files

    raise typer.Exit(verify_files(config, files, at=at, offline=offline, json_out=json_out, lang=lang))


def add_verifying(app: typer.Typer) -> None:
    app.command(epilog=CODES)(verify)
