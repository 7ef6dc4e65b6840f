"""``lienthong trust ...``: whose signatures count."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

trust_app = typer.Typer(
    help="Xem, thêm và kiểm tra chứng thư gốc, chứng thư trung gian được tin cậy.\n\n"
    "The authorities whose signatures count: list, add, check.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="LIENTHONG_CONFIG", help="Configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LanguageOption = Annotated[str, typer.Option("--lang", envvar="LIENTHONG_LANG", help="vi or en.")]
FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="PEM or DER file.")]
DigestOption = Annotated[
    str, typer.Option("--sha256", help="The fingerprint that the authority publishes; the file must have it.")
]
DEFAULT_CONFIG = Path("lienthong.toml")


@trust_app.command("list", epilog="Exit codes: 0 done, 3 configuration.")
def list_trust(
    config: ConfigOption = DEFAULT_CONFIG, json_out: JsonOption = False, lang: LanguageOption = "vi"
) -> None:
    """List the certificates that are trusted, with validity and fingerprint.

    Example: lienthong trust list --json
    """
    from lienthong.cli.authorities import show_trust

    raise typer.Exit(show_trust(config, json_out=json_out, lang=lang))


@trust_app.command(epilog="Exit codes: 0 added or there already, 1 refused or not confirmed, 2 usage, 3 configuration.")
def add(
    file: FileArgument,
    intermediate: Annotated[
        bool, typer.Option("--intermediate", help="It stands between a root and the signers.")
    ] = False,
    sha256: DigestOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="The fingerprint was compared; do not ask.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    lang: LanguageOption = "vi",
) -> None:
    """Copy a certificate beside the configuration and trust it, once its fingerprint is confirmed.

    Example: lienthong trust add rootca.crt --sha256 f04ba4b459a7c9a1b971ad9b1cb833e695a80c79aea63b174b66a70edfe2fdb8
    """
    from lienthong.cli.authorities import add_trust

    raise typer.Exit(add_trust(config, file, intermediate=intermediate, sha256=sha256, confirmed=yes, lang=lang))


@trust_app.command(epilog="Exit codes: 0 usable (there may be warnings), 1 something does not work, 3 configuration.")
def check(config: ConfigOption = DEFAULT_CONFIG, json_out: JsonOption = False, lang: LanguageOption = "vi") -> None:
    """Check that files are readable, pins are right, chains are complete and nothing expires soon.

    Example: lienthong trust check
    """
    from lienthong.cli.authorities import check_trust

    raise typer.Exit(check_trust(config, json_out=json_out, lang=lang))
