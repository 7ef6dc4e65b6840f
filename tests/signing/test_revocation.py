"""Asking whether a certificate was revoked: OCSP, then the list, then what was kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from asn1crypto import pem

from lienthong.model import RevocationStatus
from lienthong.signing.proof.revocation import RevocationAnswers, RevocationSource
from lienthong.signing.verification.revoked import standing

from .authorities import Fault
from .proofs import real_time

NO_ANSWER = RevocationAnswers(offered=True, unreachable=True)


@pytest.fixture
def source_of(authorities_http, tmp_path, clock):
    """Makes a source that keeps its answers where the one before kept them, as after a restart."""
    clock.moment = real_time()

    def make(address_map: dict[str, str] | None = None) -> RevocationSource:
        return RevocationSource(authorities_http, tmp_path / "answers", address_map=address_map or {}, now=clock)

    return make


@pytest.fixture
def about(authorities):
    """A certificate and its issuer's, by the first one's label."""
    issuers = {"ca": "root", "silent": "quiet-ca", "below_revoked_ca": "revoked-ca", "root-ocsp": "root"}
    return lambda label: (authorities.certificate(label), authorities.certificate(issuers.get(label, "ca")))


def kind(answers: RevocationAnswers) -> str:
    assert answers.offered
    assert not answers.unreachable
    assert len(answers.ocsps) + len(answers.crls) == 1
    return "ocsp" if answers.ocsps else "crl"


# --- whom to ask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["agency", "ca", "tsa", "elliptic"])
def test_ocsp_is_asked_first(source_of, about, clock, label):
    certificate, issuer = about(label)
    answers = source_of().answers(certificate, issuer)
    assert kind(answers) == "ocsp"
    found = standing(certificate, issuer, moment=clock(), ocsps=answers.ocsps, crls=())
    assert found.status is RevocationStatus.GOOD


@pytest.mark.parametrize(
    "fault",
    [Fault.DOWN, Fault.STALE, Fault.GARBAGE, Fault.TAMPERED, Fault.REFUSED, Fault.WRONG_IMPRINT],
    ids=lambda fault: fault.name.lower(),
)
def test_the_list_stands_in_for_ocsp(source_of, about, authorities, fault):
    with authorities.fault("ocsp", fault):
        assert kind(source_of().answers(*about("agency"))) == "crl"


@pytest.mark.parametrize("fault", [None, Fault.DOWN], ids=["ocsp", "crl"])
def test_a_revocation_is_an_answer(source_of, about, authorities, clock, fault):
    certificate, issuer = about("revoked")
    if fault is None:
        answers = source_of().answers(certificate, issuer)
    else:
        with authorities.fault("ocsp", fault):
            answers = source_of().answers(certificate, issuer)
    found = standing(certificate, issuer, moment=clock(), ocsps=answers.ocsps, crls=answers.crls)
    assert found.status is RevocationStatus.REVOKED
    assert found.revoked_at == authorities.now - timedelta(days=1)


def test_a_list_may_be_text(source_of, about, authorities):
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.PEM):
        answers = source_of().answers(*about("agency"))
    assert kind(answers) == "crl"
    assert not pem.detect(answers.crls[0])


@pytest.mark.parametrize(
    "fault", [Fault.DOWN, Fault.STALE, Fault.GARBAGE, Fault.TAMPERED], ids=lambda f: f.name.lower()
)
def test_nobody_to_be_believed_is_nobody(source_of, about, authorities, fault):
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", fault):
        assert source_of().answers(*about("agency")) == NO_ANSWER


@pytest.mark.parametrize("label", ["silent", "root-ocsp"])
def test_a_certificate_may_name_nobody(source_of, about, label):
    assert source_of().answers(*about(label)) == RevocationAnswers()


def test_what_is_no_certificate_names_nobody(source_of):
    assert source_of().answers(b"\x30\x00", b"") == RevocationAnswers()


def test_the_longest_beginning_of_an_address_is_replaced(source_of, about, authorities):
    elsewhere = {
        authorities.url: "http://127.0.0.1:9",
        f"{authorities.url}/world/crls": f"{authorities.url}/world/crls",
    }
    asked = authorities.requests["ocsp"]
    assert kind(source_of(elsewhere).answers(*about("agency"))) == "crl"
    assert authorities.requests["ocsp"] == asked


# --- what is kept -------------------------------------------------------------------------------------------------


def test_an_answer_is_asked_for_once(source_of, about, authorities):
    source = source_of()
    first, asked = source.answers(*about("agency")), authorities.requests.copy()
    assert source.answers(*about("agency")) == first
    assert authorities.requests == asked


@pytest.mark.parametrize("service", ["ocsp", "crl"])
def test_answers_outlive_an_outage_and_a_restart(source_of, about, authorities, service):
    other = "crl" if service == "ocsp" else "ocsp"
    with authorities.fault(other, Fault.DOWN):
        first = source_of().answers(*about("agency"))
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.DOWN):
        assert source_of().answers(*about("agency")) == first


def test_a_list_answers_for_all_of_its_issuer(source_of, about, authorities):
    source = source_of()
    with authorities.fault("ocsp", Fault.DOWN):
        source.answers(*about("agency"))
        asked = authorities.requests["crl"]
        assert kind(source.answers(*about("person"))) == "crl"
    assert authorities.requests["crl"] == asked


def test_no_answer_outlives_its_time(source_of, about, authorities, clock):
    source = source_of()
    source.answers(*about("agency"))
    clock.advance(3600)
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.DOWN):
        assert source.answers(*about("agency")) == NO_ANSWER


def test_a_signature_wants_an_answer_younger_than_itself(source_of, about, authorities, clock):
    source = source_of()
    old = source.answers(*about("agency"))
    clock.advance(30)
    asked, signed_at = authorities.requests["ocsp"], clock()
    source.answers(*about("agency"), since=signed_at)
    assert authorities.requests["ocsp"] == asked + 1
    source.answers(*about("agency"), since=signed_at)
    assert authorities.requests["ocsp"] == asked + 1
    clock.advance(30)
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.DOWN):
        assert kind(source.answers(*about("agency"), since=clock())) == "ocsp"
    assert kind(old) == "ocsp"


def test_a_kept_answer_that_was_damaged_is_asked_for_again(source_of, about, tmp_path):
    first = source_of().answers(*about("agency"))
    kept = [path for path in (tmp_path / "answers").iterdir() if path.read_bytes() == first.ocsps[0]]
    kept[0].write_bytes(first.ocsps[0][:-1] + b"\0")
    assert kind(source_of().answers(*about("agency"))) == "ocsp"


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(authorities_http, about, tmp_path, clock):
    clock.moment = real_time()
    folder = tmp_path / "a-file"
    folder.write_text("not a folder")
    source = RevocationSource(authorities_http, folder, address_map={}, now=clock)
    assert kind(source.answers(*about("agency"))) == "ocsp"


def test_who_failed_is_left_alone_and_asked_again_later(source_of, about, authorities, clock):
    source = source_of()
    with authorities.fault("ocsp", Fault.DOWN), authorities.fault("crl", Fault.DOWN):
        source.answers(*about("agency"))
        asked = authorities.requests.copy()
        assert source.answers(*about("agency")) == NO_ANSWER
        assert authorities.requests == asked
    clock.advance(6)
    assert kind(source.answers(*about("agency"))) == "ocsp"


def test_many_may_ask_at_once(source_of, about):
    source, question = source_of(), about("agency")
    with ThreadPoolExecutor(8) as threads:
        assert {kind(answers) for answers in threads.map(lambda _: source.answers(*question), range(40))} == {"ocsp"}
