"""Poppler's ``pdfsig``, which shares no code with what signs here, accepts every kind of file that is signed here."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lienthong.model import SignatureLevel
from lienthong.signing import pades
from lienthong.signing.keys import pkcs11
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind, lay_out
from lienthong_conformance.letters import blank_pdf

from .proofs import pdfsig
from .tokens import Cabinet, needs_softhsm, open_token
from .workshop import NOW, asker, credential_of, sign

MB = 1000 * 1000
NIGHTLY = bool(os.environ.get("LIENTHONG_NIGHTLY"))
pytestmark = pytest.mark.skipif(shutil.which("pdfsig") is None, reason="needs pdfsig: apt-get install poppler-utils")


def accepted(path: Path, signatures: int) -> bool:
    """All signatures are valid, and the last one covers the whole file."""
    told = re.split(r"^Signature #\d+:$", pdfsig(path), flags=re.MULTILINE)[1:]
    assert len(told) == signatures
    assert all("Signature Validation: Signature is Valid." in each for each in told), told
    assert all("ETSI.CAdES.detached" in each for each in told), told
    assert "Total document signed" in told[-1], told[-1]
    assert not any("Total document signed" in each for each in told[:-1])
    return True


@pytest.mark.parametrize("count", range(1, 6))
def test_one_to_five_signatures_by_keys_of_both_kinds(letter, tmp_path, pki, agency, count):
    path = letter
    for number, key in enumerate([pki.person, pki.elliptic, agency, pki.agencies["000.00.02.H53"], agency][:count]):
        path = sign(path, tmp_path / f"{number}.pdf", key)
    assert accepted(path, count)


@pytest.mark.parametrize("count", [1, 5])
def test_signatures_that_show_something(letter, tmp_path, pki, agency, count):
    shown = Appearance(kind=AppearanceKind.ATTACHMENT, texts=("15/UBND-VP",))
    path = letter
    for number, key in enumerate([agency, pki.elliptic, pki.person, agency, agency][:count]):
        stamp = lay_out(letter, shown, at=NOW)
        target = tmp_path / f"{number}.pdf"
        pades.sign_pdf(path, target, credential=credential_of(key), sign=asker(key), at=NOW, stamp=stamp)
        path = target
    assert accepted(path, count)


@needs_softhsm
@pytest.mark.xdist_group("softhsm")
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_signatures_by_a_token(letter, tmp_path, tmp_path_factory, agency, pki, kind):
    Cabinet(tmp_path_factory.mktemp("softhsm")).token("poppler", agency if kind == "rsa" else pki.elliptic)
    restarted = open_token("poppler")
    credential = pkcs11.credential(restarted)
    target = tmp_path / "s.pdf"
    pades.sign_pdf(letter, target, credential=credential, sign=lambda r: pkcs11.sign(restarted, r), at=NOW)
    assert accepted(target, 1)


def test_a_signature_with_room_that_a_timestamp_fills(proofs):
    path = proofs.signed()
    assert accepted(path, 1), "before"
    proofs.raised(path, SignatureLevel.TIMESTAMPED)
    assert accepted(path, 1)


@pytest.mark.parametrize(
    "size", [20 * MB, pytest.param(250 * MB, marks=pytest.mark.skipif(not NIGHTLY, reason="long"))]
)
def test_large_files_signed_by_person_and_agency(tmp_path, pki, agency, size):
    large = tmp_path / "large.pdf"
    blank_pdf(large, size)
    once = sign(large, tmp_path / "1.pdf", pki.person)
    large.unlink()
    twice = sign(once, tmp_path / "2.pdf", agency, at=datetime.now(UTC))
    once.unlink()
    assert accepted(twice, 2)
