"""TOML -> typed configuration. Secrets by reference only: ``env:NAME``, ``file:PATH``, ``keyring:SERVICE/USER``.

Every mistake is reported with file, line and key, all of them at once.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from datetime import time
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from lienthong.errors import ConfigError
from lienthong.model import Organization
from lienthong.tomltext import line_of, nearest


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AdapterSettings(Strict):
    """How the daemon runs."""

    data: Path = Field(Path("data"), description="folder of the store; relative to the configuration file")
    workers: int = Field(4, ge=1, le=64, description="threads that carry documents")
    signing_processes: int = Field(2, ge=0, le=64, description="processes that sign; 0 signs in the worker threads")
    lease_seconds: float = Field(120.0, gt=0, description="how long a worker holds an item before another may take it")


class ApiSettings(Strict):
    """The sidecar HTTP API, on loopback."""

    listen: str = Field("127.0.0.1:8028", pattern=r"^[^:]+:\d+$", description="address:port")
    token: SecretStr = Field(description="reference to the bearer token that `lienthong init` made")


class TrustSettings(Strict):
    """Whose signatures count. Without roots every signature is `untrusted`."""

    roots: tuple[Path, ...] = Field((), description="PEM or DER files of trusted root certificates")
    intermediates: tuple[Path, ...] = Field(
        (), description="certificates that complete chains with only the leaf inside"
    )


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

    def organization(self) -> Organization:
        known = self.model_dump(exclude={"office", "axis", "signer"})
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
    retry_first_seconds: float = Field(2.0, gt=0, description="first pause after a peer was not available")
    retry_cap_seconds: float = Field(300.0, gt=0, description="longest pause between tries")
    strikes: int = Field(5, ge=1, description="crashes over one item before it is quarantined")
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
    profile: Profile = Profile()
    agency: tuple[AgencySettings, ...] = Field(min_length=1)
    connection: dict[str, ConnectionSettings]
    file: Path = Field(Path("lienthong.toml"), exclude=True)

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        for agency in self.agency:
            for role in ("office", "axis", "signer"):
                name = getattr(agency, role)
                if name is not None and name not in self.connection:
                    raise ValueError(f"agency {agency.code}: {role} = {name!r} names no [connection.{name}]")
        codes = [agency.code for agency in self.agency]
        if len(set(codes)) != len(codes):
            raise ValueError("two [[agency]] tables have the same code")
        return self

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
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError as problem:
        raise ConfigError("config.missing", where=str(file)) from problem
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("config.unreadable", where=str(file), reason=problem) from problem
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError("config.syntax", where=str(file), reason=problem) from problem
    if isinstance(values.get("api"), dict) and "token" in values["api"]:
        values["api"]["token"] = resolve_secret(values["api"]["token"], file, "api.token")
    try:
        return Config.model_validate({**values, "file": file.absolute()})
    except ValidationError as problem:
        raise mistakes(problem, file, text, Config) from problem


def plugin_config(model: type[BaseModel], config: Config, connection: str) -> BaseModel:
    """The plugin's own keys of one connection, checked by the plugin's model, secrets and paths resolved.

    :raises ConfigError: with file:line and key of every mistake
    """
    base = ("connection", connection)
    keys = config.connection[connection].plugin_keys()
    values = {name: _resolved(model, name, value, config, ".".join((*base, name))) for name, value in keys.items()}
    try:
        return model.model_validate(values)
    except ValidationError as problem:
        raise mistakes(problem, config.file, config.file.read_text("utf-8"), model, base) from problem


def _resolved(model: type[BaseModel], name: str, value: Any, config: Config, key: str) -> Any:
    field = model.model_fields.get(name)
    kinds = _kinds(field.annotation) if field is not None else set()
    if SecretStr in kinds and isinstance(value, dict):
        return {inner: resolve_secret(v, config.file, f"{key}.{inner}") for inner, v in value.items()}
    if SecretStr in kinds:
        return resolve_secret(value, config.file, key)
    if Path in kinds and isinstance(value, str):
        return config.path(Path(value))
    nested = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
    if nested is not None and isinstance(value, dict):
        return {inner: _resolved(nested, inner, v, config, f"{key}.{inner}") for inner, v in value.items()}
    return value


def _kinds(annotation: Any) -> set[Any]:
    if get_origin(annotation) is None:
        return {annotation}
    return set().union(*(_kinds(argument) for argument in get_args(annotation)))


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
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError("config.secret-unreadable", where=where, path=path, reason=problem) from problem


def _from_keyring(rest: str, where: str) -> str:
    service, _, user = rest.partition("/")
    try:
        keyring = importlib.import_module("keyring")  # optional: a headless server has none
    except ImportError as problem:
        raise ConfigError("config.no-keyring", where=where) from problem
    return str(keyring.get_password(service, user) or "")


def mistakes(
    problem: ValidationError, file: Path, text: str, model: type[BaseModel], base: tuple[str | int, ...] = ()
) -> ConfigError:
    """All of pydantic's complaints as one error, a line each: file:line, key, what is wrong."""
    lines = []
    for complaint in problem.errors(include_url=False, include_input=False):
        path = (*base, *complaint["loc"])
        key = ".".join(str(step) for step in path) or "(file)"
        hint = nearest(str(path[-1]), model) if complaint["type"] == "extra_forbidden" else ""
        lines.append(f"{file}:{line_of(text, path)}: {key}: {complaint['msg']}{hint}")
    return ConfigError("config.invalid", mistakes="\n  ".join(lines), count=len(lines))
