"""What signers answer: plain values and CMS, told apart by what they prove, and never a crash on what is neither."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lienthong.errors import SigningError
from lienthong.hookspecs import SignRequest
from lienthong.signing.cms import frame_of
from lienthong.signing.keys.answers import signature_value
from lienthong.signing.keys.credentials import signer_certificate

from .workshop import asker, code_of, credential_of


class Asked:
    """A signer, what it is asked to sign, and the answer that is right."""

    def __init__(self, key) -> None:
        self.credential = credential_of(key)
        self.signer = signer_certificate(self.credential)
        self.attributes = frame_of(self.credential).signed_attributes(hashlib.sha256(b"van ban").digest())
        self.request = SignRequest(
            digest=hashlib.sha256(self.attributes).digest(),
            algorithm="sha256",
            mechanism=self.signer.mechanism,
            summary="",
        )
        self.value = asker(key)(self.request).value

    def value_in(self, answer: bytes) -> bytes:
        return signature_value(answer, self.request, self.signer)

    def cms(self, value: bytes, attributes: bytes | None = None) -> bytes:
        return frame_of(self.credential).content(attributes or self.attributes, value)


@pytest.fixture(scope="session")
def rsa(agency) -> Asked:
    return Asked(agency)


@pytest.fixture(scope="session")
def elliptic(pki) -> Asked:
    return Asked(pki.elliptic)


@pytest.fixture(params=["rsa", "elliptic"])
def asked(request) -> Asked:
    return request.getfixturevalue(request.param)


def test_a_plain_value_is_the_signature(asked):
    assert asked.value_in(asked.value) == asked.value


def test_two_integers_side_by_side_become_an_ecdsa_value(elliptic):
    r, s = decode_dss_signature(elliptic.value)
    assert elliptic.value_in(r.to_bytes(32) + s.to_bytes(32)) == elliptic.value


def test_a_cms_with_the_attributes_of_the_document_holds_the_signature(asked):
    assert asked.value_in(asked.cms(asked.value)) == asked.value


def test_a_cms_over_another_document_is_foreign_and_says_what_was_signed(asked):
    other = frame_of(asked.credential).signed_attributes(hashlib.sha256(b"van ban khac").digest())
    with pytest.raises(SigningError) as caught:
        asked.value_in(asked.cms(b"\1" * len(asked.value), other))
    assert caught.value.code == "sign.answer-foreign"
    start = hashlib.sha256(b"van ban khac").hexdigest()[:16]
    assert start in caught.value.text("en")
    assert start in caught.value.text("vi")


def test_attributes_of_the_services_own_are_called_that(rsa):
    around = frame_of(rsa.credential).signed_attributes(rsa.request.digest)
    with pytest.raises(SigningError) as caught:
        rsa.value_in(rsa.cms(b"\1" * 256, around))
    assert "attributes of its own" in caught.value.text("en")


def test_another_certificate_is_named(rsa, pki):
    with pytest.raises(SigningError) as caught:
        rsa.value_in(Asked(pki.person).cms(b"\1" * 256))
    assert "another certificate" in caught.value.text("en")


def test_the_signature_of_another_key_is_not_taken(rsa, pki):
    assert code_of(SigningError, lambda: rsa.value_in(Asked(pki.person).value)) == "sign.signature-unfit"


NESTED = b"\x30\x80" * 20_000
SIGNED_DATA = bytes.fromhex("3080 06092a864886f70d010702 a080".replace(" ", ""))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x30",
        NESTED,
        SIGNED_DATA,
        SIGNED_DATA + NESTED,
        SIGNED_DATA + b"\x30\x84\xff\xff\xff\xff" * 100,
        SIGNED_DATA + bytes(5_000_000),
        bytes(256),
        b"\xff" * 256,
    ],
    ids=["empty", "cut", "nested", "head", "nested-cms", "lengths", "huge", "zeros", "ones"],
)
def test_hostile_answers_are_refused(asked, answer):
    assert code_of(SigningError, lambda: asked.value_in(answer)) in ("sign.signature-unfit", "sign.answer-foreign")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 5000), st.integers(0, 255), st.integers(0, 5000))
@example(0, 0x30, 4999)
def test_a_damaged_cms_gives_the_signature_or_an_error(rsa, place, byte, length):
    answer = bytearray(rsa.cms(rsa.value))
    answer[place % len(answer)] = byte
    assert outcome(rsa, bytes(answer[: length or None])) in (rsa.value, "sign.signature-unfit", "sign.answer-foreign")


def outcome(asked: Asked, answer: bytes) -> bytes | str:
    try:
        return asked.value_in(answer)
    except SigningError as problem:
        return problem.code


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_garbage_is_never_a_signature(elliptic, garbage, with_head):
    answer = SIGNED_DATA + garbage if with_head else garbage
    with pytest.raises(SigningError):
        elliptic.value_in(answer)
