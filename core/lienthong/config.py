"""TOML -> typed configuration. Secrets by reference only: ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/USER``.

Every mistake is reported with file, line and key, all of them at once.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from lienthong.errors import ConfigError
from lienthong.model import Organization, SignatureLevel
from lienthong.tomltext import KeyPath, key_lines, nearest, nearest_line


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AdapterSettings(Strict):
    """How the daemon runs."""

    data: Path = Field(Path("data"), description="folder of the store; relative to the configuration file")
    workers: int = Field(4, ge=1, le=64, description="threads that carry documents")
    signing_processes: int = Field(
        default_factory=lambda: min(os.cpu_count() or 1, 64),
        ge=0,
        le=64,
        description="processes that sign; 0 signs in the worker threads; default: one for each processor",
    )
    lease_seconds: float = Field(120.0, gt=0, description="how long a worker holds an item before another may take it")


class ApiSettings(Strict):
    """The sidecar HTTP API, on loopback."""

    listen: str = Field("127.0.0.1:8028", pattern=r"^[^:]+:\d+$", description="address:port")
    token: SecretStr = Field(description="reference to the bearer token that `lienthong init` made")


class RootSettings(Strict):
    """A certification authority that is believed. The digest makes sure that it is the one that was meant."""

    file: Path = Field(description="PEM or DER file of the root certificate; relative to the configuration file")
    sha256: str = Field(
        pattern=r"^(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
        description="SHA-256 of the certificate (DER) in hexadecimal, as the authority publishes it",
    )


class IntermediateSettings(Strict):
    """An authority between a root and the signers, for signatures that bring their own certificate only."""

    file: Path = Field(description="PEM or DER file, one or more certificates; relative to the configuration file")
    sha256: str = Field(
        "",
        pattern=r"^((?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2})?$",
        description="SHA-256 of the certificate (DER) in hexadecimal; may be left out, for its root vouches for it",
    )


class TrustSettings(Strict):
    """Whose signatures count. Without roots every signature is `untrusted`."""

    root: tuple[RootSettings, ...] = ()
    intermediate: tuple[IntermediateSettings, ...] = ()
    revocation: Literal["when-offered", "required", "off"] = Field(
        "when-offered",
        description="whether a certificate that was not declared good leaves its signature undecided: when it names "
        "somebody to ask (OCSP, CRL), always, or never (Decree 30 Art. 5.2)",
    )
    revocation_wait_hours: float = Field(
        24.0, ge=0, description="how long a received document waits for an answer before it goes on undecided"
    )
    holders: dict[str, tuple[str, ...]] = Field(
        {},
        description="agency code -> names or numbers (MST, organisation identifier) by which its certificates go "
        "beside its own name (SIG-12)",
    )


class TimestampAuthoritySettings(Strict):
    """One authority that states the time (RFC 3161). Several are asked in the order of the file."""

    url: str = Field(pattern=r"^https?://", description="address that takes RFC 3161 requests by POST")
    seconds: float = Field(20.0, gt=0, description="time for one answer; the public one was seen taking 2 to 131 s")


class SigningSettings(Strict):
    """How much the signatures made here prove, and who is asked for the proof."""

    level: SignatureLevel = Field(
        SignatureLevel.BASIC,
        description="B-B, B-T (time), B-LT (time and revocation answers) or B-LTA (kept provable for the archive)",
    )
    timestamp_authority: tuple[TimestampAuthoritySettings, ...] = ()
    address_map: dict[str, str] = Field(
        {},
        description="beginnings of OCSP and CRL addresses in certificates, and what to ask instead",
    )


class AppearanceSettings(Strict):
    """What the agency's signatures show on the page (Decree 30 Appendix I). With everything off they are invisible."""

    seal: Path | None = Field(None, description="the agency's seal, red, PNG with a transparent background")
    seal_mm: float = Field(
        36.0, gt=10, lt=60, description="the seal's real width in mm; it differs by kind of agency, so measure yours"
    )
    main: bool = Field(False, description="show the seal on the main file (Appendix I Part I II.8a); needs `seal`")
    attachments: bool = Field(
        False, description="show number and time on separate PDF attachments (Appendix I Part I II.8b)"
    )
    copies: bool = Field(
        False, description="show form, agency and time on SAO Y, SAO LỤC, TRÍCH SAO (Appendix I Part II I.3)"
    )
    font: Path | None = Field(None, description="TrueType file for the texts; default: Times New Roman or its like")


class AgencySettings(Strict):
    """One agency that this adapter serves, and its connections."""

    code: str = Field(pattern=r"^[0-9A-Za-z.]{1,35}$", description="agency code (OrganId)")
    name: str = Field(min_length=1, description="full name")
    office: str = Field(description="name of the connection to its document system")
    axis: str = Field(description="name of the connection to the axis")
    signer: str | None = Field(None, description="name of the connection that holds the agency's key")
    in_charge: str = ""
    address: str = ""
    email: str = ""
    telephone: str = ""
    fax: str = ""
    website: str = ""
    appearance: AppearanceSettings = AppearanceSettings()

    def organization(self) -> Organization:
        known = self.model_dump(exclude={"office", "axis", "signer", "appearance"})
        return Organization(**known)


class Profile(Strict):
    """What the law or the province leaves open. Each default names its source; change it here, not in code."""

    morning_end: time = Field(time(12, 0), description="end of 'buổi sáng' (Decision 28 Art. 6.2 gives no hour)")
    require_directory: bool = Field(
        True, description="refuse recipients that the axis does not list (Decision 28 Art. 8.2)"
    )
    paper_types: tuple[str, ...] = Field(
        (), description="document types sent with paper (Decision 28 Art. 7.2b: local list)"
    )
    refuse_broken: bool = Field(
        True,
        description="answer 02 by itself when a signature is broken (Decision 28 Art. 9.1 asks for timely feedback)",
    )
    hold_unsigned: bool = Field(
        False, description="quarantine unsigned documents instead of marking them 'for reference'"
    )
    hold_untrusted: bool = Field(True, description="quarantine documents whose signer is not trusted (RCV-03)")
    received_packets: Path | None = Field(
        None,
        description="packet profile (TOML) that received packets are judged by: its errors hold a packet for a person; "
        "default: the built-in `lenient` (`lienthong edxml profiles`)",
    )
    retry_first_seconds: float = Field(2.0, gt=0, description="first pause after a peer was not available")
    retry_cap_seconds: float = Field(300.0, gt=0, description="longest pause between tries")
    strikes: int = Field(5, ge=1, description="crashes over one item, or refusals to sign it, before it is quarantined")
    require_person_signature: bool = Field(
        False,
        description="refuse to sign for the agency what no competent person has signed (Decree 30 Art. 5 wants both "
        "signatures; Decision 28 Art. 4 says only 'signed')",
    )
    refused_signature_pause_seconds: float = Field(
        3600.0,
        gt=0,
        description="pause before a person who refused to sign is asked again, and before a signature whose "
        "certificate was revoked is made anew (no legal figure)",
    )
    certificate_warning_days: tuple[int, ...] = Field(
        (60, 30, 14, 7, 1), description="days before a certificate ends at which the log and `readyz` warn"
    )
    unmatched_hours: float = Field(72.0, gt=0, description="how long a status may wait for the document it is about")
    max_document_bytes: int = Field(
        2 * 1024**3, gt=0, description="largest document, all files together (no legal limit)"
    )


class ConnectionSettings(BaseModel):
    """One connection. Keys beyond these belong to its plugin and are checked by the plugin's own model."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str = Field(description="name of the plugin (`lienthong plugins list`)")
    poll_seconds: float = Field(30.0, gt=0, description="pause between two looks at this peer")

    def plugin_keys(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Config(Strict):
    """The whole configuration file."""

    adapter: AdapterSettings = AdapterSettings()
    api: ApiSettings | None = None
    trust: TrustSettings = TrustSettings()
    signing: SigningSettings = SigningSettings()
    profile: Profile = Profile()
    agency: tuple[AgencySettings, ...] = Field(min_length=1)
    connection: dict[str, ConnectionSettings]
    file: Path = Field(Path("lienthong.toml"), exclude=True)

    def agency_of(self, code: str) -> AgencySettings | None:
        return next((agency for agency in self.agency if agency.code == code), None)

    def role_of(self, connection: str) -> str | None:
        """What a connection is used as: office, axis or signer; None when no agency uses it."""
        for agency in self.agency:
            for role in ("office", "axis", "signer"):
                if getattr(agency, role) == connection:
                    return role
        return None

    def served_by(self, connection: str) -> tuple[AgencySettings, ...]:
        return tuple(a for a in self.agency if connection in (a.office, a.axis, a.signer))

    def path(self, relative: Path) -> Path:
        """Paths in the file are relative to the file."""
        return relative if relative.is_absolute() else self.file.parent / relative


def load(file: Path) -> Config:
    """Read and check a configuration file.

    :raises ConfigError: with file:line and key of every mistake
    """
    text = _text(file)
    try:
        values = tomllib.loads(text)
    except RecursionError as problem:
        raise ConfigError("config.syntax", where=str(file), reason="nested too deeply") from problem
    except ValueError as problem:
        raise ConfigError("config.syntax", where=str(file), reason=problem) from problem
    references = _References(file=file)
    api = values.get("api")
    if isinstance(api, dict) and "token" in api:
        api["token"] = references.secret(api["token"], ("api", "token"))
    try:
        config = Config.model_validate({**values, "file": file.absolute()})
    except ValidationError as problem:
        raise references.mistakes(text, list(_complaints(problem, Config))) from None
    mistakes = [*_strangers(config), *_contradictions(config)]
    if mistakes or references.wrong:
        raise references.mistakes(text, mistakes)
    return config


def plugin_config(model: type[BaseModel], config: Config, connection: str) -> BaseModel:
    """The plugin's own keys of one connection, checked by the plugin's model, secrets and paths resolved.

    :raises ConfigError: with file:line and key of every mistake
    """
    base = ("connection", connection)
    references = _References(file=config.file)
    values = references.resolved(model, config.connection[connection].plugin_keys(), base)
    try:
        checked = model.model_validate(values)
    except ValidationError as problem:
        complaints = list(_complaints(problem, model, base))
        raise references.mistakes(_text(config.file), complaints) from None
    if references.wrong:
        raise references.mistakes(_text(config.file), [])
    return checked


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError as problem:
        raise ConfigError("config.missing", where=str(file)) from problem
    except (OSError, ValueError) as problem:
        raise ConfigError("config.unreadable", where=str(file), reason=problem) from problem


@dataclass(frozen=True, kw_only=True)
class _References:
    """Follows what a file only refers to; ``wrong`` keeps each secret that could not be had, by its key."""

    file: Path
    wrong: dict[KeyPath, ConfigError] = field(default_factory=dict)

    def secret(self, reference: object, path: KeyPath) -> SecretStr:
        try:
            return resolve_secret(reference, self.file, _dotted(path))
        except ConfigError as problem:
            self.wrong[path] = problem
            return SecretStr("")

    def resolved(self, kind: Any, value: Any, path: KeyPath) -> Any:
        """A value as a field of this type takes it: secrets fetched, paths relative to the file, at any depth.

        ``kind`` None: nothing is known of the value, and the model will have its say.
        """
        if kind is None:
            return value
        inside = [inner for inner in get_args(kind) if inner is not Ellipsis]
        if get_origin(kind) in (Union, UnionType, Annotated):
            for member in inside:
                value = self.resolved(member, value, path)
            return value
        if kind is SecretStr and not isinstance(value, SecretStr):
            return self.secret(value, path)
        if kind is Path and isinstance(value, str):
            return self.file.parent / value
        if isinstance(value, dict):
            kinds = _field_kinds(kind) or dict.fromkeys(value, inside[-1] if inside else None)
            return {name: self.resolved(kinds.get(name), v, (*path, name)) for name, v in value.items()}
        if isinstance(value, list) and inside:
            last = len(inside) - 1
            return [self.resolved(inside[min(i, last)], v, (*path, i)) for i, v in enumerate(value)]
        return value

    def mistakes(self, text: str, others: list[tuple[KeyPath, str]]) -> ConfigError:
        """Everything that is wrong as one error, a line each: file:line, key, what is wrong."""
        lines = key_lines(text)
        # What stands in for a secret that could not be had may be complained of as well: once is enough.
        others = [(path, what) for path, what in others if not any(path[: len(key)] == key for key in self.wrong)]
        if len(self.wrong) == 1 and not others:
            ((path, problem),) = self.wrong.items()
            where = f"{self.file}:{nearest_line(lines, path)}: {_dotted(path)}"
            return ConfigError(problem.code, where=where, **problem.facts)
        told = [
            (path, str(ConfigError(problem.code, where="", **problem.facts))) for path, problem in self.wrong.items()
        ]
        placed = sorted((nearest_line(lines, path), _dotted(path), what) for path, what in told + others)
        shown = [f"{self.file}:{line}: {key}: {what}" for line, key, what in placed]
        return ConfigError("config.invalid", mistakes="\n  ".join(shown), count=len(shown))


def _field_kinds(kind: Any) -> dict[str, Any]:
    """What a model's keys in the file hold, under each name by which the file may call them."""
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return {}
    kinds: dict[str, Any] = {}
    for name, known in kind.model_fields.items():
        choices = getattr(known.validation_alias, "choices", [known.validation_alias])
        kinds |= {key: known.annotation for key in (name, known.alias, *choices) if isinstance(key, str)}
    return kinds


def _dotted(path: KeyPath) -> str:
    return ".".join(str(step) for step in path) or "(file)"


def _complaints(problem: ValidationError, model: type[BaseModel], base: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Pydantic's complaints by key. They are all that may be told of its error, which quotes values."""
    for complaint in problem.errors(include_url=False, include_input=False):
        path = (*base, *complaint["loc"])
        hint = nearest(str(path[-1]), model) if complaint["type"] == "extra_forbidden" else ""
        yield path, f"{complaint['msg']}{hint}"


def _strangers(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Names of connections that are not there, and agencies that stand twice."""
    seen = set()
    for index, agency in enumerate(config.agency):
        for role in ("office", "axis", "signer"):
            name = getattr(agency, role)
            if name is not None and name not in config.connection:
                yield ("agency", index, role), f"agency {agency.code}: {role} = {name!r} names no [connection.{name}]"
        if agency.code in seen:
            yield ("agency", index, "code"), "two [[agency]] tables have the same code"
        seen.add(agency.code)


_PROOF_MARGIN_SECONDS = 30.0
"""Time of a step with a timestamp in it that is not the authorities': reading, adding, writing, revocation answers."""


def _contradictions(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Keys that are right alone and cannot work together."""
    for index, agency in enumerate(config.agency):
        if agency.appearance.main and agency.appearance.seal is None:
            yield ("agency", index, "appearance", "main"), "the seal cannot be shown without an image: set `seal`"
    level, authorities = config.signing.level, config.signing.timestamp_authority
    if level is SignatureLevel.BASIC:
        return
    if not authorities:
        yield ("signing", "level"), f"{level} needs at least one [[signing.timestamp_authority]]"
    timestamps = 2 if level is SignatureLevel.ARCHIVE else 1
    longest = timestamps * sum(authority.seconds for authority in authorities) + _PROOF_MARGIN_SECONDS
    if config.adapter.lease_seconds < longest:
        yield (
            ("adapter", "lease_seconds"),
            f"{config.adapter.lease_seconds:g} s is too short: {timestamps} timestamp(s) for {level} may take the "
            f"{len(authorities)} authorities {longest - _PROOF_MARGIN_SECONDS:g} s, and the step needs "
            f"{_PROOF_MARGIN_SECONDS:g} s more; raise it to {longest:g} or shorten signing.timestamp_authority.seconds",
        )


def resolve_secret(reference: object, file: Path, key: str) -> SecretStr:
    """Fetch a secret by its reference. A secret written out in the file is refused.

    :raises ConfigError: no reference, or nothing there
    """
    where = f"{file}: {key}"
    kind, _, rest = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind == "env":
        value = os.environ.get(rest, "")
    elif kind == "file":
        value = _secret_file(file.parent / rest, where)
    elif kind == "keyring":
        value = _from_keyring(rest, where)
    else:
        raise ConfigError("config.secret-in-clear", where=where)
    if not value:
        raise ConfigError("config.secret-empty", where=where, reference=f"{kind}:{rest}")
    return SecretStr(value)


def _secret_file(path: Path, where: str) -> str:
    try:
        if path.stat().st_mode & 0o077 and os.name == "posix":
            raise ConfigError("config.secret-readable", where=where, path=path)
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as problem:
        raise ConfigError("config.secret-unreadable", where=where, path=path, reason=problem) from problem


def _from_keyring(rest: str, where: str) -> str:
    service, _, user = rest.partition("/")
    try:
        keyring = importlib.import_module("keyring")  # optional: a headless server has none
        return str(keyring.get_password(service, user) or "")
    except ImportError as problem:
        raise ConfigError("config.no-keyring", where=where) from problem
    except Exception as problem:  # the border to foreign code: each desktop's keyring fails in its own way
        reason = type(problem).__name__
        raise ConfigError("config.keyring-failed", where=where, reference=f"keyring:{rest}", reason=reason) from problem
