"""``lienthong sign``: one PDF, signed by hand with a key of the configuration, or shown as it would look."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from lienthong.cli.files import claimed, working_folder
from lienthong.cli.files import replace as put_over
from lienthong.cli.keys import asking, opened_signer, wait_for_signer
from lienthong.cli.printing import print_json
from lienthong.config import AgencySettings, Config, load
from lienthong.edxml.attachments import storage_errors
from lienthong.errors import ConfigError, ContentError, Refused, catalogue
from lienthong.hookspecs import Credential, Pending
from lienthong.model import Party, SignatureLevel, vietnam_time
from lienthong.pipeline.proving import open_proving
from lienthong.pipeline.signing import is_already_signed
from lienthong.registry import OpenConnection
from lienthong.signing import pades
from lienthong.signing.keys.credentials import signer_certificate
from lienthong.signing.proof.levels import TIMESTAMP_ROOM
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind, colour_doubt, lay_out, preview
from lienthong.signing.stamp.placing import parse_place
from lienthong.signing.verification.parties import party_of
from lienthong.signing.verification.trust import configured_trust

_FIELD_NAMES = {Party.PERSON: "LienthongPerson"}


@dataclass(frozen=True)
class Wish:
    """What ``sign`` was told about what the signature shows; ``kind`` ``none`` is an invisible one."""

    kind: str
    image: Path | None
    place: str
    name: str
    title: str
    number: str
    copy_of: str
    agency: str


@dataclass(frozen=True)
class Order:
    """What ``sign`` was given."""

    file: Path
    signer: str
    output: Path | None
    preview: Path | None
    level: str
    wish: Wish
    reason: str
    timeout: float
    force: bool


def sign_file(config_file: Path, order: Order, *, json_out: bool, lang: str) -> int:
    """Sign, or paint a preview; either writes one whole file or none."""
    config = load(config_file)
    target = order.output or order.preview
    assert target is not None, "the command asks for one of them"
    if target.exists() and not order.force:
        raise ContentError("cli.file-exists", where=str(target), file=target)
    appearance = _appearance(config, order)
    doubt = colour_doubt(appearance) if appearance else None
    if doubt is not None:
        typer.echo(f"lienthong: {doubt.text('en' if lang == 'en' else 'vi')}", err=True)
    with working_folder(target.parent) as folder:
        made = folder / "made"
        if order.preview is not None:
            view = _painted(order, appearance, made)
        else:
            view = _signed(config, order, appearance, made, lang)
        if order.force:
            put_over(made, target)
        elif not claimed(made, target):
            raise ContentError("cli.file-exists", where=str(target), file=target)
    view = {"file": str(target), **view}
    if json_out:
        print_json(view)
    else:
        typer.echo(_told(view, lang))
    return 0


def _told(view: Mapping[str, object], lang: str) -> str:
    """What was done, as a line for people."""
    done = "cli.signed" if "signer" in view else "cli.previewed"
    return catalogue()[done]["en" if lang == "en" else "vi"].format_map(view)


# --- what is shown ----------------------------------------------------------------------------------------------------


def _appearance(config: Config, order: Order) -> Appearance | None:
    wish = order.wish
    if wish.kind == "none":
        return None
    kind, agency = AppearanceKind(wish.kind), _agency(config, order)
    texts: tuple[str, ...] = ()
    if kind is AppearanceKind.ATTACHMENT:
        texts = (wish.number,)
    elif kind is AppearanceKind.COPY:
        texts = (wish.copy_of.upper(), agency.name)
    shown = agency.appearance
    seal = shown.seal if kind is AppearanceKind.AGENCY else None
    return Appearance(
        kind=kind,
        image=wish.image or (config.path(seal) if seal else None),
        seal_mm=shown.seal_mm,
        texts=texts,
        signer_name=wish.name,
        signer_title=wish.title,
        place=parse_place(wish.place) if wish.place else None,
        font=config.path(shown.font) if shown.font else None,
    )


def _agency(config: Config, order: Order) -> AgencySettings:
    """For whom the file is signed: the agency that was named, the one whose key it is, or the only one."""
    if order.wish.agency:
        candidates = [agency for agency in config.agency if agency.code == order.wish.agency]
    else:
        candidates = [agency for agency in config.agency if agency.signer == order.signer] or list(config.agency)
    if len(candidates) != 1:
        known = ", ".join(agency.code for agency in config.agency)
        raise ConfigError("cli.agency-unclear", where="--agency", known=known)
    return candidates[0]


def _painted(order: Order, appearance: Appearance | None, made: Path) -> dict[str, Any]:
    if appearance is None:
        raise typer.BadParameter("an invisible signature has no preview", param_hint="--appearance")
    picture = preview(order.file, appearance, at=datetime.now(UTC))
    with storage_errors(str(order.preview)):
        made.write_bytes(picture)
    return {"size": len(picture)}


# --- the signature ----------------------------------------------------------------------------------------------------


def _signed(config: Config, order: Order, appearance: Appearance | None, made: Path, lang: str) -> dict[str, Any]:
    level = SignatureLevel(order.level) if order.level else config.signing.level
    if level is not SignatureLevel.BASIC and not config.signing.timestamp_authority:
        raise ConfigError("sign.level-unreachable", where="--level", level=level.value)
    with opened_signer(config, order.signer) as connection:
        credential: Credential = connection.call("credential").result()
        if is_already_signed(order.file, credential):
            raise Refused("cli.already-signed", where=order.file.name, holder=signer_certificate(credential).holder)
        room = 0 if level is SignatureLevel.BASIC else TIMESTAMP_ROOM
        at = _add_signature(connection, credential, order, appearance, made, room, lang)
    _prove(config, made, level)
    return _described(credential, made, level, at)


def _add_signature(
    connection: OpenConnection,
    credential: Credential,
    order: Order,
    appearance: Appearance | None,
    made: Path,
    room: int,
    lang: str,
) -> datetime:
    """Make ``made`` out of the file; returns the time that the signature states."""
    ask, at, summary = asking(connection), datetime.now(UTC), order.file.name
    parked = pades.sign_pdf(
        order.file,
        made,
        credential=credential,
        sign=ask,
        at=at,
        field_name=_FIELD_NAMES.get(party_of(credential.certificates[0]), "LienthongAgency"),
        reason=order.reason,
        summary=summary,
        stamp=lay_out(order.file, appearance, at=at) if appearance else None,
        room=room,
    )

    def again() -> Pending | None:
        nonlocal parked
        assert parked is not None, "nobody asks again when it is signed"
        parked = pades.resume(made, parked, credential=credential, sign=ask, summary=summary)
        return parked.pending if parked else None

    wait_for_signer(parked.pending if parked else None, again, timeout=order.timeout, lang=lang)
    return at


def _prove(config: Config, made: Path, level: SignatureLevel) -> None:
    now = datetime.now(UTC)
    folder = config.path(config.adapter.data) / "revocation"
    trust = configured_trust(config.trust, config.path)
    proving = open_proving(config.signing, folder, trust, lambda: datetime.now(UTC))
    try:
        proving.raise_level(made, at=now, ours=True, level=level)
    finally:
        proving.close()


def _described(credential: Credential, made: Path, level: SignatureLevel, at: datetime) -> dict[str, Any]:
    signer = signer_certificate(credential)
    with made.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "signer": signer.holder,
        "party": party_of(signer.der).value,
        "level": level.value,
        "signed_at": vietnam_time(at),
        "size": made.stat().st_size,
        "sha256": digest,
    }
