"""Tokens that exist in software (SoftHSM): made, filled, unplugged and plugged in again, read by the real driver."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from pydantic import SecretStr

from lienthong.hookspecs import Connection
from lienthong.signing.keys import pkcs11
from lienthong_conformance.pki import KeyFile

from .workshop import NOW

_DRIVERS = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")
DRIVER = next((Path(path) for path in _DRIVERS if Path(path).exists()), None)
needs_softhsm = pytest.mark.skipif(
    DRIVER is None or shutil.which("softhsm2-util") is None, reason="needs SoftHSM: apt-get install softhsm2"
)
PIN = "135790"
KEY_ID = "a1"


@dataclass(frozen=True)
class Token:
    """A token and where its files lie while it is plugged in."""

    label: str
    folder: Path
    away: Path

    def unplug(self) -> None:
        self.folder.rename(self.away)

    def plug_in(self) -> None:
        self.away.rename(self.folder)


class Cabinet:
    """The slots of one SoftHSM. Its driver is loaded once per process, so a process has one cabinet."""

    def __init__(self, folder: Path) -> None:
        self._slots = folder / "slots"
        self._away = folder / "away"
        self.configuration = folder / "softhsm2.conf"
        for each in (self._slots, self._away):
            each.mkdir(parents=True)
        self.configuration.write_text(f"directories.tokendir = {self._slots}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(self.configuration)

    def token(self, label: str, key: KeyFile | None = None, *, with_certificate: bool = True) -> Token:
        """A new token, with a key and its chain on it if one is given."""
        known = set(self._slots.iterdir())
        _tool("--init-token", "--free", "--label", label, "--so-pin", "24680246", "--pin", PIN)
        (folder,) = set(self._slots.iterdir()) - known
        token = Token(label, folder, self._away / folder.name)
        if key is not None:
            self._fill(label, key, with_certificate)
        return token

    def _fill(self, label: str, key: KeyFile, with_certificate: bool) -> None:
        bundle = load_pkcs12(key.path.read_bytes(), key.password.encode())
        pem = self._away / "key.pem"
        pem.write_bytes(bundle.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _tool("--import", str(pem), "--token", label, "--label", "signer", "--id", KEY_ID, "--pin", PIN)
        if with_certificate:
            chain = [bundle.cert.certificate, *(other.certificate for other in bundle.additional_certs)]
            store_certificates(label, [each.public_bytes(Encoding.DER) for each in chain])


def store_certificates(label: str, chain: list[bytes]) -> None:
    """Put certificates on a token, the first with the key's identifier. In a process of its own, as other tools do."""
    program = """
import sys
import pkcs11
from pkcs11.util.x509 import decode_x509_certificate
driver, label, pin, identifier, *chain = sys.argv[1:]
with pkcs11.lib(driver).get_token(token_label=label).open(rw=True, user_pin=pin) as session:
    for number, der in enumerate(chain):
        content = decode_x509_certificate(bytes.fromhex(der), extended_set=False)
        content[pkcs11.Attribute.TOKEN] = True
        content[pkcs11.Attribute.ID] = bytes.fromhex(identifier) if number == 0 else bytes([number])
        session.create_object(content)
"""
    arguments = [str(DRIVER), label, PIN, KEY_ID, *(der.hex() for der in chain)]
    subprocess.run([os.sys.executable, "-c", program, *arguments], check=True, capture_output=True)


def _tool(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)


def open_token(label: str = "", *, pin: str = PIN, folder: Path = Path("."), now: Callable = lambda: NOW, **more):
    """A connection of the ``pkcs11`` plugin."""
    config = pkcs11.Pkcs11Config(module=DRIVER, token_label=label, pin=SecretStr(pin), **more)
    return Connection(name="token", agencies=(), config=config, http=None, folder=folder, now=now)
