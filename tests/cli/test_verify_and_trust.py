"""``lienthong verify`` and ``lienthong trust``: verdicts, exit codes, and who comes to be believed."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from typer.testing import CliRunner

from lienthong import Organization
from lienthong.cli import app
from lienthong.config import load
from lienthong.errors import LienthongError
from lienthong.signing import pades
from lienthong.signing.keys import pkcs12
from lienthong.signing.verification.trust import configured_trust
from lienthong_conformance.letters import letter_of, render
from lienthong_conformance.pki import KeyFile, TestPki, make_pki

CODE = "000.00.01.H53"
PLAIN = """\
[[agency]]
code = "000.00.01.H53"
name = "Ủy ban nhân dân huyện An Lạc"
office = "drop"
axis = "drop"

[connection.drop]
plugin = "folder"
path = "office"
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    agency = Organization(code=CODE, name="Ủy ban nhân dân huyện An Lạc")
    return make_pki(tmp_path_factory.mktemp("pki"), (agency,), now=datetime.now(UTC))


@pytest.fixture(scope="module")
def letter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(letter_of("ra-soat-van-ban"), tmp_path_factory.mktemp("letter")).main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "lienthong.toml"
    file.write_text(PLAIN, "utf-8")
    return file


@pytest.fixture
def trusting(config: Path, pki: TestPki) -> Path:
    """A configuration that trusts the test PKI, made by the commands that are tested."""
    root = ("trust", "add", pki.roots, "--sha256", digest_of(pki.roots), "-c", config)
    above = ("trust", "add", pki.intermediates, "--intermediate", "--yes", "-c", config)
    assert [run(*root)[0], run(*above)[0]] == [0, 0]
    return config


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def digest_of(path: Path) -> str:
    return x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()


def signed(letter: Path, target: Path, key: KeyFile) -> Path:
    from lienthong.hookspecs import Connection

    now = datetime.now(UTC)
    settings = pkcs12.Pkcs12Config(file=key.path, password=key.password)
    connection = Connection(name="seal", agencies=(), config=settings, http=None, folder=target.parent, now=lambda: now)
    credential = pkcs12.credential(connection)
    pades.sign_pdf(letter, target, credential=credential, sign=lambda r: pkcs12.sign(connection, r), at=now)
    return target


# --- verify ---------------------------------------------------------------------------------------------------------


def test_a_good_file_is_valid(trusting, letter, pki, tmp_path):
    path = signed(letter, tmp_path / "cv.pdf", pki.agencies[CODE])
    code, shown = run("verify", path, "-c", trusting)
    assert code == 0
    for told in (
        "HỢP LỆ",
        "Ủy ban nhân dân huyện An Lạc",
        "cơ quan, tổ chức",
        "B-B",
        "Điều 4.1",
        "Điều 5 Nghị định 30",
    ):
        assert told in shown
    assert "\x1b[" not in shown


def test_the_report_for_machines_has_everything(trusting, letter, pki, tmp_path):
    path = signed(letter, tmp_path / "cv.pdf", pki.agencies[CODE])
    code, shown = run("verify", path, "-c", trusting, "--json")
    (report,) = json.loads(shown)
    (found,) = report["signatures"]
    assert (code, report["verdict"], report["legal"]["class"]) == (0, "valid", "equivalent-to-paper")
    assert (found["party"], found["level"], found["time_source"]) == ("organization", "B-B", "stated")
    assert (found["coverage"], found["changes"], found["revocation"]) == ("file", "none", "not-offered")
    assert len(found["chain"]) == 3
    assert found["identifiers"] == [CODE]


def test_exit_codes_tell_broken_from_undecided(trusting, letter, pki, tmp_path):
    good = signed(letter, tmp_path / "good.pdf", pki.agencies[CODE])
    foreign = signed(letter, tmp_path / "foreign.pdf", pki.foreign)
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(good.read_bytes() + b"1 0 obj\n()\nendobj\n")
    assert run("verify", good, "-c", trusting)[0] == 0
    assert run("verify", foreign, good, "-c", trusting)[0] == 2
    assert run("verify", good, foreign, broken, "-c", trusting)[0] == 1
    assert run("verify", letter, "-c", trusting)[0] == 1


def test_reasons_are_explained_in_both_languages(trusting, letter, pki, tmp_path):
    foreign = signed(letter, tmp_path / "foreign.pdf", pki.foreign)
    assert "not among the trusted ones →" in run("verify", foreign, "-c", trusting, "--lang", "en")[1]
    assert "không nằm trong danh sách tin cậy" in run("verify", foreign, "-c", trusting)[1]


def test_another_time_may_be_asked_about(trusting, letter, pki, tmp_path):
    path = signed(letter, tmp_path / "cv.pdf", pki.agencies[CODE])
    assert run("verify", path, "-c", trusting, "--at", "2020-01-01T08:00")[0] == 2
    assert run("verify", path, "-c", trusting, "--at", "yesterday")[0] == 2


# --- trust ----------------------------------------------------------------------------------------------------------


def test_what_was_added_is_listed_and_used(trusting, pki):
    code, shown = run("trust", "list", "-c", trusting, "--json")
    assert code == 0
    assert [row["kind"] for row in json.loads(shown)] == ["root", "intermediate"]
    loaded = load(trusting)
    assert len(configured_trust(loaded.trust, loaded.path).roots) == 1
    assert run("trust", "check", "-c", trusting)[0] == 0


def test_nothing_is_believed_without_confirmation(config, pki):
    before = config.read_bytes()
    code, shown = run("trust", "add", pki.roots, "-c", config)
    assert code == 1
    assert "chưa được xác nhận" in shown
    assert config.read_bytes() == before


def test_another_fingerprint_is_refused(config, pki):
    before = config.read_bytes()
    with pytest.raises(LienthongError) as caught:
        run("trust", "add", pki.roots, "--sha256", "00" * 32, "-c", config)
    assert caught.value.code == "verify.trust-pin"
    assert config.read_bytes() == before


def test_a_certificate_is_added_once(trusting, pki):
    before = trusting.read_bytes()
    code, shown = run("trust", "add", pki.roots, "--yes", "-c", trusting)
    assert (code, trusting.read_bytes()) == (0, before)
    assert "đã được tin cậy" in shown


def test_a_signer_is_no_authority(config, pki, tmp_path):
    leaf = tmp_path / "leaf.cer"
    leaf.write_bytes(pki.person.certificate)
    with pytest.raises(LienthongError) as caught:
        run("trust", "add", leaf, "--yes", "-c", config)
    assert caught.value.code == "cli.trust-refused"


def test_a_replaced_file_is_noticed(trusting, pki):
    (root,) = (trusting.parent / "trust").glob("root-*.pem")
    shutil.copyfile(pki.foreign_roots, root)
    code, shown = run("trust", "check", "-c", trusting, "--json")
    assert code == 1
    assert {"verify.trust-pin", "trust.no-way-up"} == {each["code"] for each in json.loads(shown)}
    with pytest.raises(LienthongError) as caught:
        run("trust", "list", "-c", trusting)
    assert caught.value.code == "verify.trust-pin"


def test_an_intermediate_without_its_root_is_told(config, pki):
    assert run("trust", "add", pki.intermediates, "--intermediate", "--yes", "-c", config)[0] == 0
    code, shown = run("trust", "check", "-c", config)
    assert code == 1
    assert "không nối đến chứng thư gốc" in shown
