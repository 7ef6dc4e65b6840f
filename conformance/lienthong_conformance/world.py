"""A small world on this machine: configuration files for adapters that meet on one axis simulator, with a test PKI.

The demo, the end-to-end and crash tests and the benchmarks all build theirs here.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lienthong import Organization
from lienthong_conformance.pki import KeyFile, TestPki
from lienthong_conformance.simulators.axis import AxisAgency

QUICK_PROFILE = {"retry_first_seconds": 0.2, "retry_cap_seconds": 2.0}
"""Retries at the pace of a test; nothing else of the profile is changed."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One agency of the world: who it is, its access to the axis, and its own office's configuration lines."""

    organization: Organization
    office: Mapping[str, object]
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def system_id(self) -> str:
        return f"sys-{self.organization.code}"

    def at_axis(self) -> AxisAgency:
        return AxisAgency(
            code=self.organization.code, name=self.organization.name, system_id=self.system_id, secret=self.secret
        )


def write_adapter(
    folder: Path,
    member: Member,
    endpoint: str,
    pki: TestPki,
    *,
    listen: str = "",
    profile: Mapping[str, object] = QUICK_PROFILE,
    adapter: Mapping[str, object] | None = None,
    key: KeyFile | None = None,
    poll_seconds: float = 0.3,
    axis: Mapping[str, object] | None = None,
) -> Path:
    """Write one adapter's configuration and secrets into ``folder``; returns the configuration file.

    ``axis`` and ``adapter``: keys of these tables beyond, or instead of, the ones that every member has.
    """
    organization = member.organization
    folder.mkdir(parents=True, exist_ok=True)
    seal = key or pki.agencies[organization.code]
    for name, value in (
        ("axis-secret", member.secret),
        ("key-password", seal.password),
        ("api-token", secrets.token_urlsafe(24)),
    ):
        write_secret(folder / name, value)
    tables: dict[str, Mapping[str, object]] = {
        "adapter": {"data": "data", **(adapter or {})},
        "profile": profile,
        "connection.office": {"poll_seconds": poll_seconds, **member.office},
        "connection.axis": {
            "plugin": "vxp",
            "endpoint": endpoint,
            "system_id": member.system_id,
            "secret": "file:axis-secret",
            "poll_seconds": poll_seconds,
            "reconcile_settle_seconds": 1.0,
            **(axis or {}),
        },
        "connection.seal": {"plugin": "pkcs12", "file": str(seal.path), "password": "file:key-password"},
    }
    if listen:
        tables["api"] = {"listen": listen, "token": "file:api-token"}
    wiring = {
        "code": organization.code,
        "name": organization.name,
        "office": "office",
        "axis": "axis",
        "signer": "seal",
    }
    lines = ["[[agency]]", *_keys(wiring)]
    for name, keys in tables.items():
        lines += ["", f"[{name}]", *_keys(keys)]
    lines += ["", *trust_lines(pki, pki.roots, pki.intermediates)]
    file = folder / "lienthong.toml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def trust_lines(pki: TestPki, root: Path, intermediate: Path) -> list[str]:
    """The tables that make a configuration trust this PKI, whose certificates it finds in these files."""
    return [
        "[[trust.root]]",
        *_keys({"file": str(root), "sha256": pki.root_sha256}),
        "",
        "[[trust.intermediate]]",
        *_keys({"file": str(intermediate)}),
    ]


def write_secret(file: Path, value: str) -> None:
    """Write a secret that only its owner can read, as the configuration asks."""
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
        sink.write(value + "\n")


def _keys(values: Mapping[str, object]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in values.items()]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
