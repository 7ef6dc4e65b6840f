"""``lienthong sign`` and ``lienthong signers`` as a person runs them, with keys in files and with a key far away."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.town import letter
from signing.outgoing_desk import HUYEN, NOI_VU, Phone
from signing.workshop import sign as sign_file
from typer.testing import CliRunner

from lienthong import LienthongError, Pending, SigningError, Unavailable, registry
from lienthong.cli import app
from lienthong.cli.failing import exit_code
from lienthong.model import Party, Verdict
from lienthong.signing.verification.parties import signed_parties
from lienthong.signing.verification.trust import load_trust
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.world import Member, write_adapter, write_secret

from .desk import Said

HASTY = Pending(token="t", retry_after=0.01)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return make_pki(tmp_path_factory.mktemp("pki"), (HUYEN, NOI_VU), now=datetime.now(UTC))


@pytest.fixture
def config(tmp_path: Path, pki: TestPki) -> Path:
    """An adapter's configuration with the agency's key, a person's, and one that has ended."""
    member = Member(organization=HUYEN, office={"plugin": "folder", "path": "vb"})
    file = write_adapter(tmp_path / "a", member, "http://127.0.0.1:1", pki)
    keys = {"chu-tich": pki.person, "cu": pki.expired, "la": pki.foreign}
    with file.open("a", encoding="utf-8") as sink:
        for name, key in keys.items():
            write_secret(file.parent / f"{name}-password", key.password)
            sink.write(f'\n[connection.{name}]\nplugin = "pkcs12"\nfile = "{key.path}"\n')
            sink.write(f'password = "file:{name}-password"\n')
    return file


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    file = tmp_path / "cv.pdf"
    file.write_bytes(letter("cv"))
    return file


@pytest.fixture
def run(config: Path) -> Callable[..., Said]:
    """Runs a command as ``main`` does: errors of ours become text and an exit code, anything else fails the test."""

    def run_command(*arguments: object) -> Said:
        result = CliRunner().invoke(app, [*map(str, arguments), "--config", str(config)])
        if isinstance(result.exception, LienthongError):
            return Said(exit_code(result.exception), result.stdout, result.stderr + result.exception.text("en"))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run_command


@pytest.fixture
def phone(config: Path, pki: TestPki, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """A signer far away, as the connection ``mobile``."""
    with config.open("a", encoding="utf-8") as sink:
        sink.write('\n[connection.mobile]\nplugin = "phone"\n')
    made = Phone(pki.agencies[HUYEN.code])
    installed = registry.entry_points

    class Point:
        name, dist = "phone", None

        def load(self) -> Phone:
            return made

    monkeypatch.setattr(registry, "entry_points", lambda group: [*installed(group=group), Point()])
    return made


def verdicts(file: Path, pki: TestPki) -> list[Verdict]:
    trust = load_trust([pki.roots], [pki.intermediates])
    return [finding.verdict for finding in verify_pdf(file, file.name, trust, at=datetime.now(UTC)).signatures]


# --- sign ---------------------------------------------------------------------------------------------------------


def test_a_file_is_signed_and_stays_a_prefix(run, pdf, pki, tmp_path):
    said = run("sign", pdf, "--signer", "seal", "-o", tmp_path / "out.pdf", "--json")
    assert said.code == 0, said
    signed = (tmp_path / "out.pdf").read_bytes()
    assert signed.startswith(pdf.read_bytes())
    assert verdicts(tmp_path / "out.pdf", pki) == [Verdict.VALID]
    assert said.json["sha256"] == hashlib.sha256(signed).hexdigest()
    assert (said.json["signer"], said.json["party"], said.json["level"]) == (HUYEN.name, "organization", "B-B")
    assert said.json["signed_at"].endswith("+07:00")


def test_the_person_signs_before_the_agency(run, pdf, pki, tmp_path):
    assert run("sign", pdf, "--signer", "chu-tich", "-o", tmp_path / "1.pdf").code == 0
    assert run("sign", tmp_path / "1.pdf", "--signer", "seal", "-o", tmp_path / "2.pdf").code == 0
    assert verdicts(tmp_path / "2.pdf", pki) == [Verdict.VALID, Verdict.VALID]
    assert signed_parties(tmp_path / "2.pdf")[1].party is Party.ORGANIZATION


def test_a_person_does_not_sign_after_an_agency(run, pdf, pki, tmp_path, monkeypatch):
    monkeypatch.setattr("lienthong.pipeline.signing.party_of", lambda _: Party.PERSON)
    sealed = sign_file(pdf, tmp_path / "sealed.pdf", pki.agencies[HUYEN.code], datetime.now(UTC))
    said = run("sign", sealed, "--signer", "chu-tich", "-o", tmp_path / "out.pdf")
    assert said.code == 1
    assert "Art. 14 and 32" in said.err
    assert not (tmp_path / "out.pdf").exists()


def test_nobody_signs_twice(run, pdf, pki, tmp_path):
    assert run("sign", pdf, "--signer", "seal", "-o", tmp_path / "1.pdf").code == 0
    said = run("sign", tmp_path / "1.pdf", "--signer", "seal", "-o", tmp_path / "2.pdf")
    assert (said.code, "signed by" in said.err) == (1, True)


def test_a_file_is_not_overwritten_unless_asked(run, pdf, pki, tmp_path):
    (tmp_path / "out.pdf").write_text("mine")
    said = run("sign", pdf, "--signer", "seal", "-o", tmp_path / "out.pdf")
    assert said.code == 1
    assert (tmp_path / "out.pdf").read_text() == "mine"
    assert run("sign", pdf, "--signer", "seal", "-o", tmp_path / "out.pdf", "--force").code == 0
    assert verdicts(tmp_path / "out.pdf", pki) == [Verdict.VALID]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--signer", "nobody"], 3),
        (["--signer", "office"], 3),
        (["--signer", "cu"], 1),
        (["--signer", "seal", "--level", "B-T"], 3),
        (["--signer", "seal", "--level", "B-X"], 2),
        (["--signer", "seal", "--appearance", "agency", "--place", "middle"], 3),
        (["--signer", "seal", "--appearance", "attachment", "--agency", "H1"], 3),
    ],
)
def test_what_cannot_be_done_says_so_and_leaves_nothing(run, pdf, tmp_path, arguments, code):
    before = sorted(tmp_path.iterdir())
    assert run("sign", pdf, *arguments, "-o", tmp_path / "out.pdf").code == code
    assert sorted(tmp_path.iterdir()) == before


def test_output_or_preview_must_be_given_and_not_both(run, pdf, tmp_path):
    assert run("sign", pdf, "--signer", "seal").code == 2
    assert run("sign", pdf, "--signer", "seal", "-o", tmp_path / "o.pdf", "--preview", tmp_path / "p.png").code == 2
    assert run("sign", pdf, "--signer", "seal", "--preview", tmp_path / "p.png").code == 2


def test_a_preview_paints_the_page_and_signs_nothing(run, pdf, tmp_path):
    look = ["--appearance", "attachment", "--number", "15/UBND-VP"]
    assert run("sign", pdf, "--signer", "seal", *look, "--preview", tmp_path / "page.png").code == 0
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["cv.pdf", "page.png"]


def test_a_text_is_shown_on_an_attachment(run, pdf, pki, tmp_path):
    look = ["--appearance", "attachment", "--number", "15/UBND-VP"]
    assert run("sign", pdf, "--signer", "seal", *look, "-o", tmp_path / "out.pdf").code == 0
    assert verdicts(tmp_path / "out.pdf", pki) == [Verdict.VALID]
    assert b"/Subtype /Form" in (tmp_path / "out.pdf").read_bytes()


# --- a person who must confirm ------------------------------------------------------------------------------------


def test_the_command_waits_for_the_person(run, phone, pdf, pki, tmp_path):
    phone.script = [HASTY, HASTY, Unavailable("peer.busy", peer="phone", status=503)]
    said = run("sign", pdf, "--signer", "mobile", "-o", tmp_path / "out.pdf", "--lang", "en")
    assert said.code == 0, said
    assert "Waiting for the signer" in said.err
    assert verdicts(tmp_path / "out.pdf", pki) == [Verdict.VALID]
    assert [request.token for request in phone.asked] == [None, "t", "t", "t"]


def test_nobody_confirms_in_time(run, phone, pdf, tmp_path):
    phone.script = [HASTY] * 1000
    said = run("sign", pdf, "--signer", "mobile", "-o", tmp_path / "out.pdf", "--timeout", "1")
    assert (said.code, "Nobody confirmed" in said.err) == (4, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "cv.pdf"]


@pytest.mark.parametrize(
    ("problem", "code"), [(SigningError("sign.user-refused"), 1), (KeyboardInterrupt(), 130), (SystemExit(143), 143)]
)
def test_a_refusal_or_an_interruption_leaves_nothing(run, phone, pdf, tmp_path, problem, code, monkeypatch):
    phone.script = [HASTY]
    refuse = iter([problem])

    def interrupted(_seconds: float) -> None:
        if not isinstance(problem, SigningError):
            raise problem
        phone.script = [next(refuse)]

    monkeypatch.setattr("lienthong.cli.keys.time.sleep", interrupted)
    assert run("sign", pdf, "--signer", "mobile", "-o", tmp_path / "out.pdf").code == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "cv.pdf"]


# --- signers ------------------------------------------------------------------------------------------------------


def test_every_key_is_listed_with_its_holder_and_its_end(run, pki):
    said = run("signers", "list", "--json")
    assert said.code == 1, "one key has ended"
    views = {view["name"]: view for view in said.json}
    assert list(views) == ["seal", "chu-tich", "cu", "la"]
    seal = views["seal"]
    assert (seal["holder"], seal["party"], seal["key"]) == (HUYEN.name, "organization", "shared")
    assert (seal["issuer"], seal["agencies"]) == ("CA cơ quan thử nghiệm", [HUYEN.code])
    assert seal["not_after"].endswith("+07:00")
    assert (seal["days_left"] in (364, 365), seal["warning"], seal["problem"]) == (True, False, "")
    assert "hết hạn" in views["cu"]["problem"]


def test_a_key_that_ends_soon_is_marked(config, tmp_path):
    near = make_pki(tmp_path / "near", (HUYEN,), now=datetime.now(UTC) - timedelta(days=360))
    text = config.read_text("utf-8")
    seal = text.index("[connection.seal]")
    file = text.index("file = ", seal)
    config.write_text(text[:file] + f'file = "{near.agencies[HUYEN.code].path}"' + text[text.index("\n", file) :])
    result = CliRunner().invoke(app, ["signers", "list", "--config", str(config)])
    line = next(line for line in result.stdout.splitlines() if line.startswith("seal"))
    assert "(!)" in line


def test_a_key_is_tried_for_real(run):
    assert run("signers", "check", "seal").code == 0
    said = run("signers", "check", "--json")
    assert said.code == 1
    states = {each["name"]: each["state"] for each in said.json}
    assert states == {"seal": "usable", "chu-tich": "usable", "cu": "unusable", "la": "unusable"}
    untrusted = next(each["detail"] for each in said.json if each["name"] == "la")
    assert "không được tin cậy" in untrusted


def test_nobody_is_asked_to_confirm_without_yes(run, phone):
    said = run("signers", "check", "mobile")
    assert (said.code, phone.asked) == (1, [])
    assert "--yes" in said.out
    assert run("signers", "check", "mobile", "--yes").code == 0


def test_a_signature_that_does_not_fit_is_found(run, phone, pki):
    phone.script = [HASTY, SigningError("sign.user-refused")]
    said = run("signers", "check", "mobile", "--yes", "--json")
    assert (said.code, said.json[0]["state"]) == (1, "unusable")


# --- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["sign"], ["signers", "list"], ["signers", "check"]])
def test_help_shows_examples_and_exit_codes(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "Exit codes" in result.stdout


def test_showing_help_loads_nothing_heavy():
    heavy = ("pyhanko", "asn1crypto", "cryptography", "sqlalchemy", "pypdfium2")
    probe = f"import lienthong.cli, sys; print([name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.replace("'", '"')) == []
