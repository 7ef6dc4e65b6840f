"""``lienthong edxml build``: metadata and files in, a packet out, with and without a signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509.oid import NameOID
from edxml.builders import PDF

from .desk import SHEET, STATUS, Desk, Said, run

# --- build ------------------------------------------------------------------------------------------------------------


def test_build_inspect_extract_and_diff_come_full_circle(desk):
    letter, sheet = desk.file("12.doc", SHEET), desk.file("Phụ lục.xls", SHEET)
    packet = desk.folder / "vb.edxml"
    assert run("build", desk.meta(), letter, sheet, "-o", packet).code == 0
    assert run("extract", packet, desk.folder / "out").code == 0
    assert (desk.folder / "out" / "Phụ lục.xls").read_bytes() == SHEET
    again = desk.file("out/view.json", run("inspect", packet, "--json").out)
    assert run("build", again, "-o", desk.folder / "2.edxml").code == 0
    assert (desk.folder / "2.edxml").read_bytes() == packet.read_bytes()
    assert run("diff", packet, desk.folder / "2.edxml", "--json").json == {"same": True, "differences": []}


def test_build_takes_toml_with_its_own_dates(desk):
    text = """
from = "H07.03"
to = ["H07.11"]
number = "12"
notation = "SXD-VP"
date = 2025-03-03
subject = "Về việc kiểm tra cầu treo"
[[trace]]
organ = "H07.03"
at = 2025-03-03T08:30:00+07:00
"""
    packet = desk.folder / "vb.edxml"
    meta = desk.file("meta.toml", text)
    run("build", meta, desk.file("12.doc", SHEET), "-o", packet, "--sender-name", "Sở Xây dựng")
    view = desk.inspected(packet)
    assert (view["from"]["name"], view["promulgation"]["date"]) == ("Sở Xây dựng", "2025-03-03")
    assert view["trace"][0]["timestamp"] == "2025-03-03T08:30:00+07:00"


def test_the_sender_is_the_first_hop_when_no_trace_is_given(desk):
    (hop,) = desk.inspected(desk.built(trace=None))["trace"]
    assert hop["organ_id"] == "H07.03"
    assert abs(datetime.fromisoformat(hop["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_time_without_a_zone_is_vietnam_time(desk):
    view = desk.inspected(desk.built(trace=[{"organ": "H07.03", "at": "2025-03-03T08:30:00"}]))
    assert view["trace"][0]["timestamp"] == "2025-03-03T08:30:00+07:00"


def test_every_mistake_in_the_metadata_is_told_at_once(desk):
    meta = desk.meta(subject=None, to=[{"code": "có dấu"}], dat="2025-03-03", number=12)
    said = run("build", meta, "-o", desk.folder / "vb.edxml")
    assert said.code == 1
    for key in ("subject:", "to.0.code:", "dat:", "did you mean 'date'", "number:"):
        assert key in said.err
    assert not (desk.folder / "vb.edxml").exists()


def test_a_mistake_in_toml_is_told_with_its_line(desk):
    text = 'from = "H07.03"\nto = ["H07.11"]\nnumber = 12\nnotation = "X"\ndate = 2025-03-03\nsubject = "a"\n'
    said = run("build", desk.file("meta.toml", text), "-o", desk.folder / "vb.edxml")
    assert "meta.toml:3: number:" in said.err


@pytest.mark.parametrize("content", ["{", "[1]", b"\xff\xfe", '"text"', "[" * 100_000])
def test_metadata_that_is_no_table_is_said(desk, content):
    said = run("build", desk.file("meta.json", content), "-o", desk.folder / "vb.edxml")
    assert (said.code, "metadata file cannot be read" in said.err) == (1, True)


@pytest.mark.parametrize("change", [{"to": 7}, {"parts": [{}]}, {"priority": 9}, {"change": 3}, {"signer": []}])
def test_a_spoilt_view_is_refused_with_words(desk, change):
    view = desk.inspected(desk.built())
    said = run("build", desk.meta(view, **change), "-o", desk.folder / "2.edxml")
    assert said.code == 1
    assert "metadata" in said.err


def test_build_does_not_replace_a_file_unless_told(desk):
    packet = desk.file("vb.edxml", b"older")
    arguments = ("build", desk.meta(), desk.file("12.doc", SHEET), "-o", packet)
    said = run(*arguments)
    assert (said.code, packet.read_bytes()) == (1, b"older")
    assert "--force" in said.err
    assert run(*arguments, "--force").code == 0
    assert packet.read_bytes().startswith(b"<?xml")


def test_a_failed_build_leaves_what_was_there(desk):
    packet = desk.file("vb.edxml", b"older")
    before = set(desk.folder.iterdir())
    meta = desk.meta(secrecy="mật")
    said = run("build", meta, desk.file("12.doc", SHEET), "-o", packet, "--force")
    assert said.code == 1
    assert packet.read_bytes() == b"older"
    assert set(desk.folder.iterdir()) - before == {meta, desk.folder / "12.doc"}


def test_build_judges_what_it_wrote_and_keeps_it(desk):
    packet = desk.folder / "vb.edxml"
    said = run("build", desk.meta(date="2199-01-01"), desk.file("12.doc", SHEET), "-o", packet, "--json")
    assert (said.code, packet.exists()) == (1, True)
    assert "ENV-06" in {problem["rule"] for problem in said.json["problems"]}
    text = run("build", desk.meta(date="2199-01-01"), desk.folder / "12.doc", "-o", packet, "--force").out
    assert "ENV-06" in text


def test_build_writes_as_the_profile_says(desk):
    own = desk.file("tinh.toml", "[write]\nzip_parts = true\n")
    packet = desk.folder / "vb.edxml"
    assert run("build", desk.meta(), desk.file("12.doc", SHEET), "-o", packet, "--profile", own).code == 0
    assert desk.inspected(packet)["parts"][0]["unzipped"] is True


def test_the_metadata_may_name_the_files_beside_it(desk):
    desk.file("12.doc", SHEET)
    desk.file("bảng.xls", SHEET)
    meta = desk.meta(main="12.doc", attachments=["bảng.xls"], descriptions={"bảng.xls": "Bảng 1"})
    packet = desk.folder / "vb.edxml"
    assert run("build", meta, "-o", packet).code == 0
    parts = desk.inspected(packet)["parts"]
    assert [(part["name"], part["role"]) for part in parts] == [("12.doc", "main"), ("bảng.xls", "attachment")]
    assert parts[1]["description"] == "Bảng 1"


def test_files_that_are_not_those_of_the_metadata_are_refused(desk):
    other = desk.file("other.pdf", PDF)
    meta = desk.meta(main="12.doc")
    assert "not there" in run("build", meta, "-o", desk.folder / "vb.edxml").err
    assert "command line gives" in run("build", meta, other, "-o", desk.folder / "vb.edxml").err


def test_a_status_report_carries_no_files(desk):
    said = run("build", desk.meta(STATUS), desk.file("12.doc", SHEET), "-o", desk.folder / "s.edxml")
    assert (said.code, "carries no files" in said.err) == (1, True)


def test_a_status_report_comes_full_circle(desk):
    first = desk.built("s.edxml", STATUS)
    view = desk.file("view.json", run("inspect", first, "--json").out)
    assert run("build", view, "-o", desk.folder / "2.edxml").code == 0
    assert (desk.folder / "2.edxml").read_bytes() == first.read_bytes()


@pytest.mark.parametrize("status", ["07", "3", 3])
def test_an_unknown_status_is_refused(desk, status):
    said = run("build", desk.meta(STATUS, status=status), "-o", desk.folder / "s.edxml")
    assert (said.code, "status:" in said.err) == (1, True)


# --- the envelope's signature -----------------------------------------------------------------------------------------


def key_file(desk: Desk, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, days: int = 30) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sở Xây dựng Bến Lức")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return desk.file(
        "dau.p12", serialize_key_and_certificates(b"", key, certificate, None, BestAvailableEncryption(b"pw"))
    )


def sealed(desk: Desk, key: Path, password: str) -> Said:
    letter = desk.file("12.doc", SHEET)
    return run("build", desk.meta(), letter, "-o", desk.folder / "vb.edxml", "--sign-with", key, "--password", password)


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())])
def test_a_signed_packet_is_intact_and_names_its_signer(desk, monkeypatch, key):
    monkeypatch.setenv("LIENTHONG_TEST_PASSWORD", "pw")
    assert sealed(desk, key_file(desk, key), "env:LIENTHONG_TEST_PASSWORD").code == 0
    finding = desk.inspected(desk.folder / "vb.edxml")["envelope_signature"]
    assert (finding["verdict"], finding["weak"]) == ("intact", False)
    assert "Sở Xây dựng Bến Lức" in finding["signer"]
    assert "nguyên vẹn" in run("inspect", desk.folder / "vb.edxml").out


def test_a_changed_packet_is_an_error_of_its_signature(desk, monkeypatch):
    monkeypatch.setenv("LIENTHONG_TEST_PASSWORD", "pw")
    sealed(desk, key_file(desk, ec.generate_private_key(ec.SECP256R1())), "env:LIENTHONG_TEST_PASSWORD")
    packet = desk.folder / "vb.edxml"
    changed = desk.file("changed.edxml", packet.read_text().replace("cầu treo", "cầu cứng"))
    said = run("validate", packet, changed, "--json")
    assert said.code == 1
    good, bad = said.json["files"]
    assert "envelope" not in {problem["rule"] for problem in good["problems"]}
    assert "envelope" in {problem["rule"] for problem in bad["problems"]}
    fields = [difference["field"] for difference in run("diff", packet, changed, "--json").json["differences"]]
    assert fields == ["subject", "envelope_signature"]


@pytest.mark.parametrize(
    ("password", "code", "words"),
    [
        ("pw", 3, "must not stand"),
        ("env:LIENTHONG_NO_SUCH", 3, "LIENTHONG_NO_SUCH"),
        ("env:LIENTHONG_TEST_PASSWORD", 1, "password does not open"),
        ("", 1, "password does not open"),
    ],
)
def test_a_key_that_cannot_be_opened_signs_nothing(desk, monkeypatch, password, code, words):
    monkeypatch.setenv("LIENTHONG_TEST_PASSWORD", "wrong")
    said = sealed(desk, key_file(desk, ec.generate_private_key(ec.SECP256R1())), password)
    assert (said.code, words in said.err) == (code, True)
    assert not (desk.folder / "vb.edxml").exists()


def test_an_expired_certificate_signs_nothing(desk, monkeypatch):
    monkeypatch.setenv("LIENTHONG_TEST_PASSWORD", "pw")
    key = key_file(desk, ec.generate_private_key(ec.SECP256R1()), days=-1)
    said = sealed(desk, key, "env:LIENTHONG_TEST_PASSWORD")
    assert (said.code, "expired" in said.err) == (1, True)


def test_a_file_that_is_no_key_is_said(desk):
    assert sealed(desk, desk.file("dau.p12", b"no key"), "").code == 1
