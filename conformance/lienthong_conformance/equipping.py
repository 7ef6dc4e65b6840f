"""A test PKI for configurations that ``lienthong init`` made: key and trust files beside each, and the lines for them.

A configuration that signs already, or trusts anybody, is left alone: test keys are not put beside real ones.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from lienthong.config import Config, TrustSettings, load
from lienthong.errors import ConfigError
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.world import trust_lines, write_secret

_KEY, _PASSWORD = Path("keys/agency.p12"), Path("secrets/key-password")
_ROOTS, _INTERMEDIATES = Path("trust/roots.pem"), Path("trust/intermediates.pem")
_SIGNER = 'signer = "seal"'
_SEAL = ("[connection.seal]", 'plugin = "pkcs12"', f'file = "{_KEY}"', f'password = "file:{_PASSWORD}"')


def equip(files: Sequence[Path], folder: Path | None, now: datetime) -> list[Path]:
    """Give each configuration's agency a key of one new test PKI; returns the files that were written or changed.

    ``folder`` keeps the whole PKI, also its expired and foreign signers; None keeps only what the configurations need.

    :raises ConfigError: one of the configurations cannot take a test key; nothing was changed then
    """
    configs = [_unequipped(file) for file in files]
    with tempfile.TemporaryDirectory(prefix="lienthong-pki-") as aside:
        agencies = [config.agency[0].organization() for config in configs]
        pki = make_pki(folder or Path(aside), agencies, now=now)
        texts = [_text_that_loads(config.file, trust_lines(pki, _ROOTS, _INTERMEDIATES)) for config in configs]
        return [path for config, text in zip(configs, texts, strict=True) for path in _equip(config, text, pki)]


def _unequipped(file: Path) -> Config:
    """A configuration that has room for a test key.

    :raises ConfigError: it has several agencies, signs already, trusts somebody, or key files lie there
    """
    config = load(file)
    if len(config.agency) > 1:
        raise ConfigError("sim.several-agencies", where=str(file), count=len(config.agency))
    if config.agency[0].signer or config.trust != TrustSettings() or "seal" in config.connection:
        raise ConfigError("sim.signs-already", where=str(file))
    for relative in (_KEY, _PASSWORD, _ROOTS, _INTERMEDIATES):
        if config.path(relative).exists():
            raise ConfigError("sim.key-there", where=str(file), file=config.path(relative))
    return config


def _equip(config: Config, text: str, pki: TestPki) -> list[Path]:
    seal = pki.agencies[config.agency[0].code]
    copies = {_KEY: seal.path, _ROOTS: pki.roots, _INTERMEDIATES: pki.intermediates}
    for relative in (*copies, _PASSWORD):
        config.path(relative).parent.mkdir(parents=True, exist_ok=True)
    for relative, source in copies.items():
        shutil.copy(source, config.path(relative))
    write_secret(config.path(_PASSWORD), seal.password)
    _replace(config.file, text)
    return [config.file, *(config.path(relative) for relative in (*copies, _PASSWORD))]


def _text_that_loads(file: Path, trust: Sequence[str]) -> str:
    """:raises ConfigError: the changed configuration would not load; nothing was changed"""
    text = with_seal(file.read_text("utf-8"), trust)
    aside = _replace(file.with_name(f".{file.name}.new"), text)
    try:
        load(aside)
    finally:
        aside.unlink()
    return text


def _replace(file: Path, text: str) -> Path:
    """Write a file whole: a reader sees the old text or the new one."""
    aside = file.with_name(f".{file.name}.part")
    aside.write_text(text, "utf-8")
    return aside.replace(file)


def with_seal(text: str, trust: Sequence[str]) -> str:
    """A configuration's text with signer, ``[connection.seal]`` and, at its end, the tables of ``trust``.

    The lines that ``lienthong init`` leaves commented are uncommented where they stand; what is missing is added.
    """
    for line in (_SIGNER, *_SEAL):
        text = re.sub(rf"^#[ \t]*({re.escape(line)})", r"\1", text, count=1, flags=re.MULTILINE)
    values = tomllib.loads(text)
    if "signer" not in values["agency"][0]:
        text = _below(text, "[[agency]]", (_SIGNER,))
    if "seal" not in values["connection"]:
        text = _below(text, _SEAL[0], _SEAL[1:])
    return "\n".join([text.rstrip("\n"), "", *trust, ""])


def _below(text: str, header: str, lines: Sequence[str]) -> str:
    """Add lines at the beginning of a table; the table comes last when it is not there yet."""
    header_line = re.compile(rf"^[ \t]*{re.escape(header)}.*$", re.MULTILINE)
    if not header_line.search(text):
        return "\n".join([text.rstrip("\n"), "", header, *lines, ""])
    return header_line.sub(lambda found: "\n".join([found[0], *lines]), text, count=1)
