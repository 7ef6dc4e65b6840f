from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lienthong.errors import SigningError
from lienthong.hookspecs import Pending, SignRequest
from lienthong.model import Verdict
from lienthong.signing.pades import Parked, Prepared, finish, request, resume, sign_pdf

from .workshop import (
    NOW,
    asker,
    code_of,
    credential_of,
)


@pytest.fixture
def parked(letter, tmp_path, agency):
    """A document whose signer answered ``Pending``, and the file that waits."""
    target = tmp_path / "parked.pdf"
    waiting = sign_pdf(
        letter, target, credential=credential_of(agency), sign=lambda _: Pending(token="m-1"), at=NOW, summary="15/UBND"
    )
    assert isinstance(waiting, Parked)
    return target, waiting


def test_a_parked_document_is_finished_later_from_what_was_kept(parked, agency, check):
    target, waiting = parked
    kept = Parked(prepared=Prepared.from_json(waiting.prepared.to_json()), pending=waiting.pending)
    asked = []

    def answer(wanted):
        asked.append(wanted)
        return asker(agency)(wanted)

    assert resume(target, kept, credential=credential_of(agency), sign=answer, summary="15/UBND") is None
    assert [(wanted.token, wanted.summary) for wanted in asked] == [("m-1", "15/UBND")]
    assert check(target).verdict is Verdict.VALID


def test_a_signer_that_needs_still_more_time_keeps_the_document_parked(parked, agency, check):
    target, waiting = parked
    before = target.read_bytes()
    again = resume(
        target, waiting, credential=credential_of(agency), sign=lambda _: Pending(token="m-2"), summary="15/UBND"
    )
    assert again == Parked(prepared=waiting.prepared, pending=Pending(token="m-2"))
    assert target.read_bytes() == before


def test_every_question_is_about_the_same_digest(parked, agency):
    _, waiting = parked
    credential = credential_of(agency)
    first, second = (request(waiting.prepared, credential, "x", token) for token in (None, "m-1"))
    assert first.digest == second.digest == hashlib.sha256(waiting.prepared.signed_attributes).digest()


def test_a_parked_file_that_was_changed_is_not_signed(parked, agency):
    target, waiting = parked
    content = bytearray(target.read_bytes())
    content[200] ^= 1
    target.write_bytes(content)
    credential = credential_of(agency)
    refused = code_of(
        SigningError, lambda: resume(target, waiting, credential=credential, sign=asker(agency), summary="x")
    )
    assert refused == "sign.prepared-changed"


def test_a_parked_file_that_was_cut_or_lost_is_not_signed(parked, agency):
    target, waiting = parked
    target.write_bytes(target.read_bytes()[:1000])
    assert code_of(SigningError, lambda: finish(target, waiting.prepared, credential_of(agency), b"")) == (
        "sign.prepared-changed"
    )
    target.unlink()
    assert code_of(SigningError, lambda: finish(target, waiting.prepared, credential_of(agency), b"")) == "sign.file"


def test_a_certificate_that_was_renewed_meanwhile_does_not_finish(parked, pki):
    target, waiting = parked
    other = credential_of(pki.person)
    signature = asker(pki.person)(request(waiting.prepared, other, "")).value
    refused = code_of(SigningError, lambda: finish(target, waiting.prepared, other, signature))
    assert refused == "sign.certificate-changed"


@pytest.mark.parametrize("signature", [b"", b"\0" * 256, b"\x30\x82" + b"x" * 3000])
def test_an_answer_that_is_no_signature_of_this_document_is_not_embedded(parked, agency, signature):
    target, waiting = parked
    before = target.read_bytes()
    refused = code_of(SigningError, lambda: finish(target, waiting.prepared, credential_of(agency), signature))
    assert refused == "sign.signature-unfit"
    assert target.read_bytes() == before


def test_finishing_twice_is_finishing_once(parked, agency, check):
    target, waiting = parked
    credential = credential_of(agency)
    signature = asker(agency)(request(waiting.prepared, credential, "")).value
    finish(target, waiting.prepared, credential, signature)
    once = target.read_bytes()
    finish(target, waiting.prepared, credential, signature)
    assert target.read_bytes() == once
    assert check(target).verdict is Verdict.VALID


def test_an_answer_for_another_document_is_found_at_once(letter, tmp_path, agency):
    digest = hashlib.sha256(b"another document").digest()
    other = SignRequest(digest=digest, algorithm="sha256", mechanism="rsassa_pkcs1v15", summary="")
    stale = asker(agency)(other)
    credential, target = credential_of(agency), tmp_path / "s.pdf"
    refused = code_of(
        SigningError, lambda: sign_pdf(letter, target, credential=credential, sign=lambda _: stale, at=NOW)
    )
    assert refused == "sign.signature-unfit"


prepared_values = st.builds(
    Prepared,
    field_name=st.text(min_size=1),
    digest_algorithm=st.just("sha256"),
    document_digest=st.binary(min_size=32, max_size=32),
    signed_attributes=st.binary(),
    reserved_start=st.integers(0, 2**40),
    reserved_end=st.integers(0, 2**40),
    certificate_sha256=st.binary(min_size=32, max_size=32),
)


@settings(max_examples=100, deadline=None)
@given(prepared_values)
def test_what_is_kept_of_a_parked_document_comes_back_unchanged(prepared):
    assert Prepared.from_json(prepared.to_json()) == prepared


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"field_name": "S"}', "not json"])
def test_a_record_that_cannot_be_read_says_so(text):
    assert code_of(SigningError, lambda: Prepared.from_json(text)) == "sign.prepared-unreadable"


@pytest.mark.parametrize("field", [f for f in Prepared.__dataclass_fields__ if f not in ("field_name",)])
def test_a_record_with_a_damaged_field_says_so(parked, field):
    values = json.loads(parked[1].prepared.to_json())
    values[field] = "hỏng"
    assert code_of(SigningError, lambda: Prepared.from_json(json.dumps(values))) == "sign.prepared-unreadable"


def test_a_record_that_names_another_place_is_refused(parked, agency):
    target, waiting = parked
    moved = replace(waiting.prepared, reserved_end=waiting.prepared.reserved_end - 2000)
    credential = credential_of(agency)
    signature = asker(agency)(request(moved, credential, "")).value
    assert code_of(SigningError, lambda: finish(target, moved, credential, signature)) == "sign.prepared-changed"
