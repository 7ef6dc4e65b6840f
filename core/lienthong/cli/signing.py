"""``lienthong sign`` and ``lienthong signers ...``: sign a file by hand, look at the keys, try them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

signers_app = typer.Typer(
    help="Xem và thử các khóa ký đã khai báo.\n\nThe signing keys of the configuration: whose, until when, usable.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Look = Literal["none", "person", "agency", "attachment", "copy"]
Level = Literal["", "B-B", "B-T", "B-LT", "B-LTA"]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="LIENTHONG_CONFIG", help="Configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
LanguageOption = Annotated[str, typer.Option("--lang", envvar="LIENTHONG_LANG", help="vi or en.")]
DEFAULT_CONFIG = Path("lienthong.toml")
SIGN_CODES = (
    "Exit codes: 0 signed (or preview written), 1 refused: the file, the key, the order of signatures, or the person "
    "said no, 2 usage, 3 configuration, 4 nobody confirmed in time, or a signer or timestamp authority cannot be "
    "reached, 5 disk. Unless it is 0, no file was written."
)
SIGNERS_CODES = "Exit codes: 0 every key is usable, 1 at least one is not, 2 usage, 3 configuration."


FileArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The PDF to sign.")]
SignerOption = Annotated[str, typer.Option("--signer", help="Name of a signer's connection (`signers list`).")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", dir_okay=False, help="Signed PDF to write.")]
LevelOption = Annotated[Level, typer.Option(help="B-B, B-T, B-LT or B-LTA; default: [signing] level.")]
LookOption = Annotated[
    Look, typer.Option(help="none (invisible), person, agency, attachment or copy (Decree 30 Appendix I).")
]
ImageOption = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="PNG: handwriting (person), seal (agency; default: configured)."),
]
PlaceOption = Annotated[
    str, typer.Option(help="anchor:TEXT, field:NAME or page=1,x=120,y=40,width=50 (mm); default: as the decree says.")
]
NameOption = Annotated[str, typer.Option("--name", help="The signing person's name as printed on the page.")]
TitleOption = Annotated[str, typer.Option("--title", help="The signing person's title as printed on the page.")]
NumberOption = Annotated[str, typer.Option(help="Số, ký hiệu, shown on an attachment, e.g. 15/UBND-VP.")]
CopyOption = Annotated[str, typer.Option("--copy-of", help='Kind of copy: "SAO Y", "SAO LỤC" or "TRÍCH SAO".')]
AgencyOption = Annotated[str, typer.Option(help="Agency code, when several are configured.")]
PreviewOption = Annotated[
    Path | None, typer.Option(dir_okay=False, help="Write a PNG of the page as it will look; sign nothing.")
]
TimeoutOption = Annotated[float, typer.Option(min=1.0, help="Seconds to wait for a person who must confirm.")]


def sign(
    file: FileArgument,
    signer: SignerOption,
    output: OutputOption = None,
    level: LevelOption = "",
    appearance: LookOption = "none",
    image: ImageOption = None,
    place: PlaceOption = "",
    name: NameOption = "",
    title: TitleOption = "",
    number: NumberOption = "",
    copy_of: CopyOption = "",
    agency: AgencyOption = "",
    preview: PreviewOption = None,
    reason: Annotated[str, typer.Option(help="Reason, kept in the signature.")] = "",
    timeout: TimeoutOption = 300.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Sign a PDF by hand, with a key of the configuration.

    Earlier signatures stay valid: bytes are only added. A person signs before the agency does, never after it. When the
    key's holder must confirm (on a phone, say) the command waits; Ctrl-C leaves nothing behind.

    Examples: lienthong sign cv.pdf --signer seal -o cv-ky.pdf --level B-T
    |     lienthong sign cv.pdf --signer chu-tich --appearance person --image ky.png --name "Nguyễn Văn An" -o ky.pdf
    |     lienthong sign phu-luc.pdf --signer seal --appearance attachment --number 15/UBND-VP -o pl-ky.pdf
    |     lienthong sign cv.pdf --signer seal --appearance agency --preview trang.png
    """
    from lienthong.cli.signing_files import Order, Wish, sign_file

    if (output is None) == (preview is None):
        raise typer.BadParameter("give either --output or --preview", param_hint="--output")
    wish = Wish(appearance, image, place, name, title, number, copy_of, agency)
    order = Order(file, signer, output, preview, level, wish, reason, timeout, force)
    raise typer.Exit(sign_file(config, order, json_out=json_out, lang=lang))


@signers_app.command("list", epilog=SIGNERS_CODES)
def list_signers(
    config: ConfigOption = DEFAULT_CONFIG, json_out: JsonOption = False, lang: LanguageOption = "vi"
) -> None:
    """Every signer's connection: whose certificate, by whom, until when, what kind of key. Signs nothing.

    Examples: lienthong signers list     |     lienthong signers list --json
    """
    from lienthong.cli.signers import show_signers

    raise typer.Exit(show_signers(config, json_out=json_out, lang=lang))


@signers_app.command("check", epilog=SIGNERS_CODES)
def check_signers(
    name: Annotated[str, typer.Argument(help="One signer's connection; default: all.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Also keys whose holder must confirm: the person is asked.")
    ] = False,
    timeout: TimeoutOption = 300.0,
    config: ConfigOption = DEFAULT_CONFIG,
    json_out: JsonOption = False,
    lang: LanguageOption = "vi",
) -> None:
    """Make a real test signature with each key, and check it against its certificate and the trusted roots.

    What is signed is a random number, and nothing of it is kept. Without --yes a key of a remote service is not tried,
    because its holder would be asked to confirm.

    Examples: lienthong signers check     |     lienthong signers check chu-tich --yes
    """
    from lienthong.cli.signers import check_keys

    raise typer.Exit(check_keys(config, name, ask_persons=yes, timeout=timeout, json_out=json_out, lang=lang))
