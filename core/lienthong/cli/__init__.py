"""The command line: thin commands, each importing what it needs only when it runs (``--help`` stays quick)."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Literal

import typer

from lienthong.cli.edxml import edxml_app
from lienthong.cli.signing import SIGN_CODES, sign, signers_app
from lienthong.cli.trusting import trust_app
from lienthong.cli.verifying import add_verifying

COMMANDS_GROUP = "lienthong.commands"
"""Entry points whose modules add commands through the ``register_commands`` hook. A group of its own, so that showing
help does not load every plugin."""

EXIT_REFUSED, EXIT_USAGE, EXIT_CONFIG, EXIT_PEER, EXIT_STORE = 1, 2, 3, 4, 5

app = typer.Typer(
    name="lienthong",
    help="Gửi, nhận văn bản điện tử ký số qua trục liên thông (Quyết định 28/2018/QĐ-TTg).\n\n"
    "Exchange signed electronic documents between a document system and the document axis.",
    epilog="Exit codes: 0 done, 1 refused or not found, 2 usage, 3 configuration, 4 peer not available, 5 store.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
plugins_app = typer.Typer(help="What is installed, and whether it can be used.", no_args_is_help=True)
app.add_typer(plugins_app, name="plugins")
app.add_typer(edxml_app, name="edxml")
app.add_typer(trust_app, name="trust")
add_verifying(app)
app.add_typer(signers_app, name="signers")
app.command(epilog=SIGN_CODES)(sign)

Language = Literal["vi", "en"]
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="LIENTHONG_CONFIG", help="Configuration file.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LanguageOption = Annotated[str, typer.Option("--lang", envvar="LIENTHONG_LANG", help="vi or en.")]
DEFAULT_CONFIG = Path("lienthong.toml")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to put the configuration.")],
    code: Annotated[str, typer.Option(help="Agency code (OrganId), e.g. 000.00.01.H99.")],
    name: Annotated[str, typer.Option(help="Full name of the agency.")],
    axis_url: Annotated[str, typer.Option(help="Endpoint of the document axis.")] = "http://127.0.0.1:8085",
    system_id: Annotated[str, typer.Option(help="System id that the axis gave you; default: the agency code.")] = "",
    listen: Annotated[str, typer.Option(help="Address of the sidecar API.")] = "127.0.0.1:8028",
    office: Annotated[str, typer.Option(help="folder or sidecar.")] = "folder",
) -> None:
    """Write a configuration, a token for the API and the drop folder.

    Example: lienthong init a --code 000.00.01.H99 --name "UBND tỉnh Lạc Hồng"
    """
    from lienthong.cli.running import initialise

    initialise(folder, code=code, name=name, axis_url=axis_url, system_id=system_id, listen=listen, office=office)


@app.command()
def run(
    config: ConfigOption = DEFAULT_CONFIG,
    once: Annotated[bool, typer.Option("--once", help="Look at every peer once, do what is due, and end.")] = False,
    lang: LanguageOption = "vi",
) -> None:
    """Run the adapter until SIGTERM or Ctrl-C (work in hand is finished or parked within 10 seconds).

    Examples: lienthong run -c a/lienthong.toml     |     lienthong run --once   (from cron)
    """
    from lienthong.cli.running import run_adapter

    run_adapter(config, once=once)


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="The main file, a PDF.")],
    to: Annotated[list[str], typer.Option("--to", help="Recipient's agency code; repeat for several.")],
    number: Annotated[str, typer.Option(help="Số.")],
    notation: Annotated[str, typer.Option(help="Ký hiệu, e.g. UBND-VX.")],
    subject: Annotated[str, typer.Option(help="Trích yếu.")],
    date: Annotated[str, typer.Option(help="Date of issue YYYY-MM-DD; default: today.")] = "",
    type_name: Annotated[str, typer.Option("--type", help="Document type.")] = "Công văn",
    sender: Annotated[str, typer.Option("--from", help="Agency code; needed when several are configured.")] = "",
    attach: Annotated[list[Path] | None, typer.Option("--attach", help="Attachment; repeat for several.")] = None,
    priority: Annotated[str, typer.Option(help="thuong, khan, thuong-khan or hoa-toc.")] = "thuong",
    secrecy: Annotated[str, typer.Option(help="Secrecy mark; such a document is refused.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Hand a document in; the running adapter signs and sends it.

    Example: lienthong send cv.pdf --to 000.00.02.H99 --number 12 --notation UBND-VX --subject "V/v họp giao ban"
    """
    from lienthong.cli.documents import Draft, send_document

    draft = Draft(
        file, tuple(to), number, notation, subject, date, type_name, sender, tuple(attach or ()), priority, secrecy
    )
    raise typer.Exit(send_document(config, draft, json_out=json_out, lang=lang))


@app.command("list")
def list_documents(
    direction: Annotated[str, typer.Option(help="in, out or all.")] = "all",
    state: Annotated[str, typer.Option(help="Only this state, e.g. quarantined.")] = "",
    kind: Annotated[str, typer.Option(help="edoc (documents), status, or all.")] = "edoc",
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """List documents, newest first.

    Examples: lienthong list --direction in     |     lienthong list --state quarantined --json
    """
    from lienthong.cli.documents import show_list

    show_list(config, direction=direction, state=state, kind=kind, limit=limit, json_out=json_out)


@app.command()
def trace(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="Our id, a DocumentId, or number/notation.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Show the whole life of a document, paired with what was on the wire.

    Example: lienthong trace 01KA2B3C4D5E6F7G8H9J0K1M2N
    """
    from lienthong.cli.documents import show_trace

    raise typer.Exit(show_trace(config, message_id, json_out=json_out, lang=lang))


@app.command()
def recall(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="Our id or the DocumentId of a sent document.")],
    reason: Annotated[str, typer.Option(help="Why (the receivers see it).")],
    form: Annotated[str, typer.Option("--as", help="status (code 13) or document (business kind 1).")] = "status",
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Ask every receiver to give a sent document back.

    Example: lienthong recall 000.00.01.H99,2026/11/20,12/UBND-VX --reason "Nhầm số liệu ở mục 2"
    """
    from lienthong.cli.documents import recall_document

    raise typer.Exit(recall_document(config, message_id, reason=reason, form=form, json_out=json_out, lang=lang))


@app.command()
def status(
    message_id: Annotated[str, typer.Argument(metavar="ID", help="Our id or the DocumentId of a received document.")],
    code: Annotated[str, typer.Argument(help="02..06, 15 or 16.")],
    description: Annotated[str, typer.Option("--description", "-m", help="Text or reason (02 needs one).")] = "",
    staff: Annotated[str, typer.Option(help="Who did it.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Report a processing status about a received document.

    Example: lienthong status 01KA2B3C4D5E6F7G8H9J0K1M2N 03 --staff "Văn thư"
    """
    from lienthong.cli.documents import report_status

    raise typer.Exit(
        report_status(config, message_id, code, description=description, staff=staff, json_out=json_out, lang=lang)
    )


@app.command()
def agencies(
    query: Annotated[str, typer.Argument(help="Part of a code or name.")] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Show the agencies that the axis can reach, as last read.

    Example: lienthong agencies H99
    """
    from lienthong.cli.documents import show_agencies

    raise typer.Exit(show_agencies(config, query, json_out=json_out))


@plugins_app.command("list")
def plugins_list(json_out: JsonOption = False) -> None:
    """Every installed plugin: role, state, what it says of its evidence.

    Example: lienthong plugins list --json
    """
    from lienthong.cli.plugins import show_plugins

    show_plugins(json_out=json_out)


@plugins_app.command("show")
def plugins_show(
    name: Annotated[str, typer.Argument(help="Plugin name.")],
    json_out: JsonOption = False,
) -> None:
    """One plugin: hooks, capabilities, and every configuration key.

    Example: lienthong plugins show folder
    """
    from lienthong.cli.plugins import show_plugin

    raise typer.Exit(show_plugin(name, json_out=json_out))


def _register_extensions() -> None:
    for point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda point: point.name):
        try:
            point.load().register_commands(app)
        except Exception as problem:  # the border to foreign code: a broken extension must not take the rest away
            typer.echo(f"lienthong: commands of {point.name!r} are missing: {problem}", err=True)


def main() -> None:
    """Entry point of the ``lienthong`` command."""
    _register_extensions()
    from lienthong.cli.failing import reporting_errors

    with reporting_errors():
        app()
