"""``lienthong edxml ...``: look at packets, judge, unpack, build and compare them, without configuration or adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

edxml_app = typer.Typer(
    help="Xem, kiểm tra, tách, đóng gói và so sánh gói tin edXML (QCVN 102).\n\n"
    "Look at edXML packets, judge, unpack, build and compare them. Nothing is sent.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Packet = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="Packet (.edxml).")]
ProfileOption = Annotated[
    str, typer.Option("--profile", "-p", help="Rules to judge by: a name from `edxml profiles`, or a TOML file.")
]
WorkOption = Annotated[
    Path | None,
    typer.Option(
        "--work", exists=True, file_okay=False, help="Where attachments lie meanwhile; default: the system's folder."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LanguageOption = Annotated[str, typer.Option("--lang", envvar="LIENTHONG_LANG", help="vi or en.")]
DEFAULT_PROFILE = "qcvn102"


@edxml_app.command()
def inspect(
    file: Packet,
    profile: ProfileOption = DEFAULT_PROFILE,
    work: WorkOption = None,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Show what is in a packet: sender, recipients, code, files, signature, what is unusual, what is wrong.

    Exit code 0: it could be opened, even if it must not be used. 1: it is no edXML packet.

    Examples: lienthong edxml inspect vb.edxml     |     lienthong edxml inspect vb.edxml --json
    """
    from lienthong.cli.packets import inspect_packet

    raise typer.Exit(inspect_packet(file, profile=profile, work=work, json_out=json_out, lang=lang))


@edxml_app.command()
def validate(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, readable=True, help="Packets (.edxml)."),
    ],
    profile: ProfileOption = DEFAULT_PROFILE,
    work: WorkOption = None,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Judge packets by the rules of a profile, the main PDF included. Exit code 1 when there is any error.

    Examples: lienthong edxml validate vb.edxml --profile strict     |     lienthong edxml validate den/*.edxml --json
    """
    from lienthong.cli.packets import validate_packets

    raise typer.Exit(validate_packets(files, profile=profile, work=work, json_out=json_out, lang=lang))


@edxml_app.command()
def profiles(json_out: JsonOption = False) -> None:
    """List the built-in profiles; a file of your own may extend one of them.

    Example: lienthong edxml profiles
    """
    from lienthong.cli.packets import show_profiles

    raise typer.Exit(show_profiles(json_out=json_out))


@edxml_app.command()
def rules(
    profile: ProfileOption = DEFAULT_PROFILE,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """List the rules: what each asks, who asks it, and how much it matters under a profile.

    Example: lienthong edxml rules --profile lenient --lang en
    """
    from lienthong.cli.packets import show_rules

    raise typer.Exit(show_rules(profile=profile, json_out=json_out, lang=lang))


@edxml_app.command()
def extract(
    file: Packet,
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where to; made when missing.")],
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Write the files of a packet into a folder, unzipped, under safe names. Nothing is ever overwritten.

    Exit code 1: a file is broken or missing; it is named, and the others are written.

    Example: lienthong edxml extract vb.edxml tep-vb
    """
    from lienthong.cli.packets import extract_parts

    raise typer.Exit(extract_parts(file, folder, json_out=json_out, lang=lang))


@edxml_app.command()
def build(
    metadata: Annotated[
        Path,
        typer.Argument(metavar="META", exists=True, dir_okay=False, readable=True, help="Metadata, .json or .toml."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="Packet to write.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...", exists=True, dir_okay=False, readable=True, help="Files; the first is the main file."
        ),
    ] = None,
    profile: ProfileOption = DEFAULT_PROFILE,
    sender_name: Annotated[str, typer.Option(help="Name of the sending agency, when META gives its code only.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a packet that is there already.")] = False,
    sign_with: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Sign the envelope with the key in this PKCS#12 file."),
    ] = None,
    password: Annotated[str, typer.Option(help="Its password, as a reference: env:NAME or file:PATH.")] = "",
    work: WorkOption = None,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Build a packet from metadata and files, and judge it by the same profile. Exit code 1 when it has errors.

    META of a document has the words of the drop folder and the API:
    {"from": {"code": "000.00.01.H99", "name": "UBND tỉnh Lạc Hồng"}, "to": [{"code": "000.00.02.H99", "name":
    "Sở Y tế"}], "number": "12", "notation": "UBND-VX", "date": "2026-11-20", "subject": "V/v họp giao ban"}; an agency
    may also be its code alone. META of a status report: {"from": ..., "about": {"organ": ..., "code": ...,
    "document_id": ...}, "status": "03", "description": ...}. What `edxml inspect --json` printed is taken as META too.

    Examples: lienthong edxml build cv.json cv.pdf phu-luc.xlsx -o cv.edxml
    |     lienthong edxml build cv.toml cv.pdf -o cv.edxml --sign-with dau.p12 --password env:MAT_KHAU
    """
    from lienthong.cli.building import Order, build_packet

    order = Order(
        metadata=metadata,
        files=tuple(files or ()),
        output=output,
        profile=profile,
        sender_name=sender_name,
        force=force,
        key_file=sign_with,
        password=password,
        work=work,
    )
    raise typer.Exit(build_packet(order, json_out=json_out, lang=lang))


@edxml_app.command()
def diff(
    ours: Annotated[Path, typer.Argument(metavar="A", exists=True, dir_okay=False, readable=True, help="A packet.")],
    theirs: Annotated[Path, typer.Argument(metavar="B", exists=True, dir_okay=False, readable=True, help="Another.")],
    work: WorkOption = None,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Compare what two packets say, not their bytes: order, prefixes, zips and spelling count as form.

    Exit codes: 0 same meaning, 1 different, 2 a file is no packet.

    Example: lienthong edxml diff da-gui.edxml nhan-lai.edxml
    """
    from lienthong.cli.packets import compare_packets

    raise typer.Exit(compare_packets(ours, theirs, work=work, json_out=json_out, lang=lang))
