"""Raising a signature's level: what comes out, what is kept, and what happens while somebody does not answer."""

from __future__ import annotations

import random
import shutil
import tracemalloc
from datetime import timedelta

import pytest

from lienthong.errors import ContentError, SigningError, Unavailable
from lienthong.model import SignatureLevel
from lienthong.signing.proof.levels import TIMESTAMP_ROOM
from lienthong_conformance.letters import blank_pdf

from .authorities import Fault
from .proofs import accepted_by_pyhanko, judged_by_pyhanko, pdfsig
from .workshop import code_of, write_at

needs_pdfsig = pytest.mark.skipif(shutil.which("pdfsig") is None, reason="needs pdfsig: apt-get install poppler-utils")
ABOVE_BASIC = [SignatureLevel.TIMESTAMPED, SignatureLevel.LONG_TERM, SignatureLevel.ARCHIVE]


# --- what comes out -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(SignatureLevel))
def test_another_validator_finds_the_level_too(proofs, authorities, level):
    path = proofs.signed()
    assert proofs.raised(path, level) is level
    assert judged_by_pyhanko(path, authorities, level) == "AdESPassed.OK"


@pytest.mark.parametrize("label", ["person", "elliptic", "careful"])
def test_whoever_signed(proofs, authorities, label):
    path = proofs.signed(label)
    proofs.raised(path, SignatureLevel.ARCHIVE)
    assert judged_by_pyhanko(path, authorities, SignatureLevel.ARCHIVE) == "AdESPassed.OK"


@needs_pdfsig
@pytest.mark.parametrize("level", ABOVE_BASIC)
def test_poppler_accepts_every_signature_and_timestamp(proofs, level):
    path = proofs.signed_again(proofs.signed("person"), "agency", name="both.pdf")
    proofs.raised(path, level)
    report = pdfsig(path)
    assert report.count("Signature is Valid") == report.count("Signature #") - report.count("Type: unknown")
    assert report.count("Signature is Valid") >= 2


@pytest.mark.parametrize("level", ABOVE_BASIC)
def test_a_level_that_is_there_is_left_alone(proofs, authorities, level):
    path = proofs.signed()
    proofs.raised(path, level)
    before, asked = path.read_bytes(), authorities.requests.copy()
    proofs.raised(path, level)
    assert (path.read_bytes(), authorities.requests) == (before, asked)


def test_levels_can_be_climbed_one_by_one(proofs, authorities):
    path, asked = proofs.signed(), authorities.requests["tsa"]
    for level in SignatureLevel:
        proofs.raised(path, level)
    assert judged_by_pyhanko(path, authorities, SignatureLevel.ARCHIVE) == "AdESPassed.OK"
    assert authorities.requests["tsa"] - asked == 2


@pytest.mark.parametrize("level", [SignatureLevel.LONG_TERM, SignatureLevel.ARCHIVE])
def test_a_file_that_another_tool_signed_is_only_added_to(proofs, authorities, level):
    path = proofs.signed_elsewhere()
    before = path.read_bytes()
    assert proofs.raised(path, level, ours=False) is level
    after = path.read_bytes()
    assert after.startswith(before)
    assert accepted_by_pyhanko(path, authorities)
    proofs.raised(path, level, ours=False)
    assert path.read_bytes() == after


@needs_pdfsig
def test_poppler_accepts_what_was_added_to_a_foreign_signature(proofs):
    path = proofs.signed_elsewhere()
    proofs.raised(path, SignatureLevel.ARCHIVE, ours=False)
    assert "Signature is Valid" in pdfsig(path)


@pytest.mark.parametrize("room", [0, 500])
def test_a_timestamp_that_does_not_fit_goes_behind_the_signature(proofs, authorities, room):
    path = proofs.signed(room=room)
    before = path.read_bytes()
    proofs.raised(path, SignatureLevel.LONG_TERM)
    assert path.read_bytes().startswith(before)
    assert accepted_by_pyhanko(path, authorities)


def test_the_signature_of_a_person_before_ours_is_proven_too(proofs, authorities):
    path = proofs.signed_again(proofs.signed_elsewhere("person"), "agency", name="both.pdf")
    proofs.raised(path, SignatureLevel.LONG_TERM)
    content = path.read_bytes()
    assert authorities.certificate("person") in content
    assert judged_by_pyhanko(path, authorities, SignatureLevel.LONG_TERM) == "AdESPassed.OK"


def test_an_earlier_signature_that_nobody_vouches_for_does_not_hold_up_ours(proofs, authorities):
    path = proofs.signed_again(proofs.signed_elsewhere("foreign"), "agency", name="both.pdf")
    proofs.raised(path, SignatureLevel.LONG_TERM)
    assert judged_by_pyhanko(path, authorities, SignatureLevel.LONG_TERM) == "AdESPassed.OK"


def test_a_certificate_that_names_nobody_to_ask_needs_no_answer(proofs):
    path = proofs.signed("silent")
    assert proofs.raised(path, SignatureLevel.LONG_TERM) is SignatureLevel.LONG_TERM


def test_the_file_keeps_its_mode(proofs):
    path = proofs.signed()
    path.chmod(0o600)
    proofs.raised(path, SignatureLevel.TIMESTAMPED)
    assert path.stat().st_mode & 0o777 == 0o600


def test_memory_does_not_grow_with_the_document(proofs, tmp_path):
    large = tmp_path / "large.pdf"
    blank_pdf(large, 20_000_000)
    path = proofs.signed_again(large, "agency", name="large-signed.pdf")
    tracemalloc.start()
    try:
        proofs.raised(path, SignatureLevel.ARCHIVE)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()


# --- who was revoked ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["revoked", "below_revoked_ca"])
def test_nothing_is_proven_of_a_revoked_certificate(proofs, label):
    path = proofs.signed(label)
    before = path.read_bytes()
    code = code_of(SigningError, lambda: proofs.raised(path, SignatureLevel.LONG_TERM))
    assert code == "sign.certificate-revoked"
    assert path.read_bytes() == before
    assert [each.name for each in proofs.folder.glob("*.raising")] == []


def test_a_revoked_signer_before_ours_stops_the_document(proofs):
    path = proofs.signed_again(proofs.signed_elsewhere("revoked"), "agency", name="both.pdf")
    code = code_of(SigningError, lambda: proofs.raised(path, SignatureLevel.LONG_TERM))
    assert code == "sign.certificate-revoked"


def test_who_was_revoked_after_the_timestamp_had_signed_in_time(proofs, authorities, clock):
    path = proofs.signed("revoked_later")
    proofs.raised(path, SignatureLevel.TIMESTAMPED)
    authorities.moment = clock.moment = authorities.now + timedelta(days=2)
    try:
        assert proofs.raised(path, SignatureLevel.LONG_TERM) is SignatureLevel.LONG_TERM
        unproven = proofs.signed("revoked_later", name="late.pdf")
        code = code_of(SigningError, lambda: proofs.raised(unproven, SignatureLevel.LONG_TERM))
    finally:
        authorities.moment = None
    assert code == "sign.certificate-revoked"


# --- what cannot be raised ----------------------------------------------------------------------------------------


def test_a_signer_who_leads_to_no_root_gets_no_proof(proofs):
    path = proofs.signed("foreign")
    code = code_of(SigningError, lambda: proofs.raised(path, SignatureLevel.LONG_TERM))
    assert code == "sign.chain-untrusted"


def test_a_broken_signature_gets_no_timestamp(proofs, authorities):
    path, asked = proofs.signed_elsewhere(), authorities.requests["tsa"]
    write_at(path, path.read_bytes().index(b"/MediaBox"), b"/mediaBox")
    code = code_of(SigningError, lambda: proofs.raised(path, SignatureLevel.TIMESTAMPED, ours=False))
    assert code == "sign.level-unfit"
    assert authorities.requests["tsa"] == asked


def test_a_file_without_signature_has_no_level(proofs, letter, tmp_path):
    path = shutil.copyfile(letter, tmp_path / "unsigned.pdf")
    assert code_of(ContentError, lambda: proofs.raised(path, SignatureLevel.TIMESTAMPED)) == "sign.nothing-signed"


def test_a_damaged_file_is_refused(proofs, tmp_path):
    path = proofs.signed()
    path.write_bytes(path.read_bytes()[:-600])
    assert code_of(ContentError, lambda: proofs.raised(path, SignatureLevel.TIMESTAMPED)).startswith("sign.")


@pytest.mark.parametrize("seed", range(12))
def test_damage_costs_the_level_and_never_the_file(proofs, seed):
    path, chance = proofs.signed_elsewhere(), random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(4):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)
    try:
        proofs.raised(path, SignatureLevel.TIMESTAMPED, ours=seed % 2 == 0)
    except (ContentError, SigningError):
        assert path.read_bytes() == content
    assert [each.name for each in proofs.folder.glob("*.raising")] == []


def test_a_missing_file_is_an_error_of_ours(proofs, tmp_path):
    missing = tmp_path / "missing.pdf"
    assert code_of(SigningError, lambda: proofs.raised(missing, SignatureLevel.TIMESTAMPED)) == "sign.file"


# --- while somebody does not answer -------------------------------------------------------------------------------


def test_the_file_waits_for_the_timestamp_authority_and_needs_no_restart(proofs, authorities, clock):
    path = proofs.signed()
    before = path.read_bytes()
    with authorities.fault("tsa", Fault.DOWN):
        code = code_of(Unavailable, lambda: proofs.raised(path, SignatureLevel.ARCHIVE))
    assert code == "sign.tsa-unavailable"
    assert path.read_bytes() == before
    clock.advance(10)
    assert proofs.raised(path, SignatureLevel.ARCHIVE) is SignatureLevel.ARCHIVE


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.STALE])
def test_without_ocsp_the_list_is_used(proofs, authorities, fault):
    path = proofs.signed()
    with authorities.fault("ocsp", fault):
        proofs.raised(path, SignatureLevel.ARCHIVE)
    assert judged_by_pyhanko(path, authorities, SignatureLevel.ARCHIVE) == "AdESPassed.OK"


def test_the_file_waits_for_somebody_to_say_who_was_revoked(proofs, authorities, clock):
    path = proofs.signed()
    before = path.read_bytes()
    with authorities.fault("ocsp", Fault.STALE), authorities.fault("crl", Fault.DOWN):
        code = code_of(Unavailable, lambda: proofs.raised(path, SignatureLevel.LONG_TERM))
    assert code == "sign.revocation-unavailable"
    assert path.read_bytes() == before
    clock.advance(10)
    assert proofs.raised(path, SignatureLevel.LONG_TERM) is SignatureLevel.LONG_TERM


def test_an_outage_shorter_than_an_answers_life_is_not_noticed(proofs, authorities):
    proofs.raised(proofs.signed(), SignatureLevel.LONG_TERM)
    path = proofs.signed(name="second.pdf")
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.DOWN):
        proofs.raised(path, SignatureLevel.LONG_TERM)
    assert judged_by_pyhanko(path, authorities, SignatureLevel.LONG_TERM) == "AdESPassed.OK"


def test_the_room_holds_a_token_with_its_chain(proofs, authorities):
    chain = sum(len(authorities.certificate(label)) for label in ("tsa", "ca", "root"))
    assert len(proofs.timestamps.token(bytes(32))) + chain < TIMESTAMP_ROOM / 2
