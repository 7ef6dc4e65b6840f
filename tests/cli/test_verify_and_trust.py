"""``lienthong verify`` and ``lienthong trust``: verdicts, exit codes, and who comes to be believed."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from e2e.children import LIENTHONG
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

from .desk import SHEET, STATUS, Desk
from .desk import run as edxml

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


# --- verify: packets ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contents(letter, pki, tmp_path_factory) -> dict[str, bytes]:
    """Files by what is right or wrong with them."""
    folder = tmp_path_factory.mktemp("contents")
    good = signed(letter, folder / "good.pdf", pki.agencies[CODE]).read_bytes()
    foreign = signed(letter, folder / "foreign.pdf", pki.foreign).read_bytes()
    broken = good + b"1 0 obj\n()\nendobj\n"
    return {"good": good, "foreign": foreign, "broken": broken, "unsigned": letter.read_bytes(), "sheet": SHEET}


def packet_of(desk: Desk, contents: dict[str, bytes], *kinds: str) -> Path:
    names = {kind: f"{kind} số {number}.{'xls' if kind == 'sheet' else 'pdf'}" for number, kind in enumerate(kinds)}
    files = [desk.file(name, contents[kind]) for kind, name in names.items()]
    packet = desk.folder / "đến.edXML"
    said = edxml("build", desk.meta(), *files, "-o", packet)
    assert packet.exists(), said
    return packet


@pytest.mark.parametrize(
    ("kinds", "code", "verdicts"),
    [
        (["good"], 0, ["valid"]),
        (["good", "foreign"], 2, ["valid", "untrusted"]),
        (["foreign", "broken", "good"], 1, ["untrusted", "invalid", "valid"]),
        (["good", "unsigned"], 1, ["valid", "unsigned"]),
        (["good", "sheet"], 1, ["valid", "unsigned"]),
    ],
)
def test_a_packet_is_worth_what_its_worst_file_is(trusting, desk, contents, kinds, code, verdicts):
    packet = packet_of(desk, contents, *kinds)
    found, shown = run("verify", packet, "-c", trusting, "--json")
    reports = json.loads(shown)
    assert (found, [report["verdict"] for report in reports]) == (code, verdicts)
    assert [report["part"].split()[0] for report in reports] == kinds
    assert [report["file"] for report in reports] == [f"{packet}: {report['part']}" for report in reports]


def test_a_packets_files_are_told_by_their_own_names(trusting, desk, contents):
    packet = packet_of(desk, contents, "good", "foreign")
    shown = run("verify", packet, "-c", trusting)[1]
    assert f"{packet}: good số 0.pdf: HỢP LỆ" in shown
    assert f"{packet}: foreign số 1.pdf: CHƯA KẾT LUẬN ĐƯỢC" in shown


def test_a_packet_without_files_proves_nothing(trusting, desk):
    packet = desk.built("trạng thái.edxml", STATUS)
    code, shown = run("verify", packet, "-c", trusting, "--json")
    assert code == 1
    assert [(report["file"], report["verdict"]) for report in json.loads(shown)] == [(str(packet), "unsigned")]


def test_what_is_no_packet_is_refused(trusting, desk):
    with pytest.raises(LienthongError) as caught:
        run("verify", desk.file("cut.edxml", b"<edXML"), "-c", trusting)
    assert caught.value.code == "packet.malformed"


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


def typed(answer: str, *arguments: object) -> tuple[int, str]:
    """Run a command at a terminal on which somebody has typed this."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs) as terminal:
        keyboard.write(answer.encode())
        command = [str(each) for each in (LIENTHONG, *arguments)]
        done = subprocess.run(
            command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False
        )
    return done.returncode, done.stdout.decode()


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "only return", "end of input"])
def test_a_person_who_does_not_say_yes_adds_nothing(config, pki, answer):
    before = config.read_bytes()
    code, shown = typed(answer, "trust", "add", pki.roots, "-c", config)
    assert code == 1
    assert "Dấu vân tay đúng với bản công bố?" in shown
    assert digest_of(pki.roots)[:4] in shown.split("SHA-256: ")[1]
    assert config.read_bytes() == before
    assert not (config.parent / "trust").exists()


def test_a_person_who_says_yes_adds_it(config, pki):
    code, shown = typed("y\n", "trust", "add", pki.roots, "-c", config, "--lang", "en")
    assert code == 0
    assert "Is the fingerprint the published one?" in shown
    assert [root.sha256 for root in load(config).trust.root] == [digest_of(pki.roots)]
    assert run("trust", "check", "-c", config)[0] == 0


def test_an_answer_that_is_neither_is_asked_for_again(config, pki):
    code, shown = typed("maybe\ny\n", "trust", "add", pki.roots, "-c", config)
    assert code == 0
    assert shown.count("Dấu vân tay đúng với bản công bố?") == 2


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


def test_without_a_root_nothing_can_be_valid(config):
    code, shown = run("trust", "check", "-c", config)
    assert code == 1
    assert "không chữ ký nào được tin cậy" in shown


def test_a_root_whose_file_is_gone_is_told(trusting):
    (root,) = (trusting.parent / "trust").glob("root-*.pem")
    root.unlink()
    code, shown = run("trust", "check", "-c", trusting, "--json")
    assert code == 1
    assert {each["error"] for each in json.loads(shown)} == {True}


def test_a_warning_alone_is_no_failure(config, pki):
    """An intermediate that is believed by itself: usable, and worth a word."""
    assert run("trust", "add", pki.intermediates, "--yes", "-c", config)[0] == 0
    code, shown = run("trust", "check", "-c", config, "--json")
    assert [(each["code"], each["error"]) for each in json.loads(shown)] == [("trust.root-not-self-signed", False)]
    assert code == 0


def test_a_configuration_that_cannot_be_read_is_another_exit_code(tmp_path):
    done = subprocess.run([LIENTHONG, "trust", "check", "-c", tmp_path / "none.toml"], capture_output=True, check=False)
    assert done.returncode == 3
