"""``signers list`` and ``signers check``: what the configured keys are, and whether they really sign."""

# asn1crypto has no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from asn1crypto import x509 as asn1
from cryptography import x509

from lienthong.cli.keys import asking, opened_signer, signer_names, wait_for_signer
from lienthong.cli.printing import print_json, print_table
from lienthong.config import Config, load
from lienthong.errors import Language, LienthongError, Refused, catalogue
from lienthong.hookspecs import Credential, Pending, Signature, SignRequest
from lienthong.model import Party, vietnam_time
from lienthong.pipeline.certificates import days_left
from lienthong.registry import OpenConnection
from lienthong.signing.keys.answers import signature_value
from lienthong.signing.keys.credentials import SignerCertificate, signer_certificate
from lienthong.signing.verification.parties import party_of
from lienthong.signing.verification.trust import configured_trust, find_chain
from lienthong.signing.verification.verify import explain

_STATES = {
    "usable": "cli.signer-usable",
    "unusable": "cli.signer-unusable",
    "not-asked": "cli.signer-not-asked",
}

_PARTIES = {"person": "cá nhân", "organization": "cơ quan, tổ chức", "unknown": "chưa rõ"}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a test signature showed. ``state`` is one of ``_STATES``."""

    name: str
    state: str
    detail: str


def show_signers(config_file: Path, *, json_out: bool, lang: str) -> int:
    config = load(config_file)
    views = [_described(config, name, lang) for name in signer_names(config)]
    if json_out:
        print_json(views)
    else:
        _print_signers(views, lang)
    return 1 if any(view["problem"] or view["days_left"] < 0 for view in views) else 0


def _described(config: Config, name: str, lang: str) -> dict[str, Any]:
    agencies = [agency.code for agency in config.agency if agency.signer == name]
    view: dict[str, Any] = {"name": name, "plugin": config.connection[name].plugin, "agencies": agencies}
    try:
        with opened_signer(config, name) as connection:
            view["key"] = connection.capabilities.key
            credential: Credential = connection.call("credential").result()
        return {**view, **_certificate_view(config, signer_certificate(credential), bool(agencies), lang)}
    except LienthongError as problem:
        empty = dict.fromkeys(("holder", "party", "issuer", "serial", "not_after", "days_left", "warning"))
        return {"key": "", **view, **empty, "note": "", "problem": problem.text(_language(lang))}


def _certificate_view(config: Config, signer: SignerCertificate, is_agencys: bool, lang: str) -> dict[str, Any]:
    certificate, now = x509.load_der_x509_certificate(signer.der), datetime.now(UTC)
    party, left = party_of(signer.der), days_left(signer.not_after, now)
    note = _text("cli.signer-is-person", lang) if is_agencys and party is Party.PERSON else ""
    return {
        "holder": signer.holder,
        "party": party.value,
        "issuer": _issuer_of(certificate),
        "serial": f"{certificate.serial_number:x}",
        "not_after": vietnam_time(signer.not_after),
        "days_left": left,
        "warning": left <= max(config.profile.certificate_warning_days, default=0),
        "note": note,
        "problem": "",
    }


def _issuer_of(certificate: x509.Certificate) -> str:
    """The issuer's common name, or all of its name."""
    names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.issuer.rfc4514_string()


def _print_signers(views: Sequence[dict[str, Any]], lang: str) -> None:
    headings = _text("cli.signers-headings", lang).split("|")
    rows = [
        (
            view["name"],
            view["holder"] or "-",
            _PARTIES.get(view["party"], "-") if _language(lang) == "vi" else view["party"] or "-",
            view["issuer"] or "-",
            view["serial"] or "-",
            view["not_after"] or "-",
            "-" if view["days_left"] is None else f"{view['days_left']}{' (!)' if view['warning'] else ''}",
            view["key"] or view["plugin"],
        )
        for view in views
    ]
    print_table(headings, rows)
    for view in views:
        for text in (view["problem"], view["note"]):
            if text:
                typer.echo(f"{view['name']}: {text}", err=True)


# --- a real signature -------------------------------------------------------------------------------------------------


def check_keys(config_file: Path, name: str, *, ask_persons: bool, timeout: float, json_out: bool, lang: str) -> int:
    config = load(config_file)
    checked = [
        _checked(config, each, ask_persons=ask_persons, timeout=timeout, lang=lang)
        for each in ([name] if name else signer_names(config))
    ]
    if json_out:
        print_json([vars(each) for each in checked])
    else:
        for each in checked:
            typer.echo(f"{each.name}: {_text(_STATES[each.state], lang)} {each.detail}".rstrip())
    unusable = any(each.state == "unusable" for each in checked)
    return 1 if unusable or (name and checked[0].state != "usable") else 0


def _checked(config: Config, name: str, *, ask_persons: bool, timeout: float, lang: str) -> Checked:
    try:
        with opened_signer(config, name) as connection:
            if connection.capabilities.key == "remote" and not ask_persons:
                return Checked(name=name, state="not-asked", detail=_text("cli.signer-needs-yes", lang))
            credential: Credential = connection.call("credential").result()
            signer = signer_certificate(credential)
            signer.require_valid(datetime.now(UTC))
            _sign_a_number(connection, signer, timeout=timeout, lang=lang)
            _require_trust(config, credential, lang)
    except LienthongError as problem:
        return Checked(name=name, state="unusable", detail=problem.text(_language(lang)))
    left = days_left(signer.not_after, datetime.now(UTC))
    detail = _text("cli.signer-detail", lang).format(
        holder=signer.holder, ends=vietnam_time(signer.not_after), days=left
    )
    return Checked(name=name, state="usable", detail=detail)


def _sign_a_number(connection: OpenConnection, signer: SignerCertificate, *, timeout: float, lang: str) -> None:
    """Have a random number signed, and check the signature.

    :raises LienthongError: there is none, or it does not fit the certificate
    """
    ask = asking(connection)
    request = SignRequest(
        digest=secrets.token_bytes(32),
        algorithm="sha256",
        mechanism=signer.mechanism,
        summary="lienthong signers check",
    )
    answer: Signature | Pending = ask(request)

    def again() -> Pending | None:
        nonlocal answer
        token = answer.token if isinstance(answer, Pending) else None
        answer = ask(replace(request, token=token))
        return answer if isinstance(answer, Pending) else None

    wait_for_signer(answer if isinstance(answer, Pending) else None, again, timeout=timeout, lang=lang)
    assert isinstance(answer, Signature), "nothing is pending any more"
    signature_value(answer.value, request, signer)


def _require_trust(config: Config, credential: Credential, lang: str) -> None:
    """:raises Refused: the certificate leads to none of the trusted roots, so receivers like us would not believe it"""
    leaf, *others = (asn1.Certificate.load(der) for der in credential.certificates)
    chain = find_chain(configured_trust(config.trust, config.path), leaf, others, datetime.now(UTC))
    if chain.problem:
        raise Refused("cli.signer-untrusted", reason=explain(chain.problem, _language(lang)))


def _language(lang: str) -> Language:
    return "en" if lang == "en" else "vi"


def _text(code: str, lang: str) -> str:
    return catalogue()[code][_language(lang)]
