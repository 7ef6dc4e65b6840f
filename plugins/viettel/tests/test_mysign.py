"""What is MySign's own: codes as strings, base64 names with a limit, logins per signer, requests that it names itself.

What every signing service must live through is in ``tests/signing/test_remote_signing.py``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pytest_httpserver import HTTPServer

from lienthong import (
    VIETNAM,
    Connection,
    LienthongError,
    Pending,
    Signature,
    SigningError,
    SignRequest,
    Unauthorized,
    Unavailable,
)
from lienthong.http import HttpClient
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.simulators.faults import Fault, FaultKind
from lienthong_conformance.simulators.mysign import MySignSimulator
from lienthong_conformance.simulators.telephone import Decision
from lienthong_viettel import mysign

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=VIETNAM)
USER, SECRET = "CMT_001080000001", "not-a-real-secret"
DIGEST = hashlib.sha256(b"van ban").digest()
SUMMARY = "Ký 15/UBND-VP về việc báo cáo tình hình quý I và phương hướng, nhiệm vụ trọng tâm quý II năm 2026"


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


Connect = Callable[..., Connection]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return make_pki(tmp_path_factory.mktemp("pki"), (), now=NOW)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(pki: TestPki) -> Iterator[MySignSimulator]:
    keys = {USER: [pki.person], "MST_two": [pki.person, pki.timestamper]}
    simulator = MySignSimulator(keys, client_id="app-1", client_secret=SECRET)
    simulator.start()
    yield simulator
    simulator.stop()
    assert simulator.records("crash") == []


@pytest.fixture(scope="session")
def http() -> Iterator[HttpClient]:
    settings = mysign.HttpSettings(tries=1, deadline_seconds=5.0)
    client = HttpClient(settings, peer="mysign", now=lambda: NOW)
    yield client
    client.close()


@pytest.fixture
def connect(http: HttpClient, clock: Clock, tmp_path: Path) -> Connect:
    """``connect(base_url, **config)``: a new connection, its configuration changed by ``config``."""

    def make(base_url: str, **changes: object) -> Connection:
        settings = {"base_url": base_url, "client_id": "app-1", "client_secret": SECRET, "user_id": USER, **changes}
        config = mysign.MySignConfig.model_validate(settings)
        return Connection(name="mysign", agencies=(), config=config, http=http, folder=tmp_path, now=clock)

    return make


@pytest.fixture
def connection(service: MySignSimulator, connect: Connect) -> Connection:
    return connect(service.base_url)


def ask(connection: Connection, before: Pending | None = None, summary: str = SUMMARY) -> Signature | Pending:
    token = before.token if before else None
    request = SignRequest(digest=DIGEST, algorithm="sha256", mechanism="rsassa_pkcs1v15", summary=summary, token=token)
    return mysign.sign(connection, request)


def wait(connection: Connection, before: Pending | None = None) -> Pending:
    answer = ask(connection, before)
    assert isinstance(answer, Pending)
    return answer


def code_of(kind: type[LienthongError], action: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        action()
    assert "?" not in caught.value.text("vi")
    return caught.value.code


def operations(service: MySignSimulator) -> list[str]:
    return [each["facts"]["operation"] for each in service.records("request")]


def ticket(name: str = "t-1") -> Pending:
    return Pending(token=json.dumps({"name": name, "asked": NOW.timestamp(), "certain": True}))


# --- a request ------------------------------------------------------------------------------------------------


def test_a_signature_is_the_persons_over_the_digest(service, connection, pki):
    pending = wait(connection)
    assert pending.retry_after == 2.0
    service.telephone.decide(Decision.CONFIRMED)
    answer = ask(connection, pending)
    assert isinstance(answer, Signature)
    key = x509.load_der_x509_certificate(pki.person.certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(answer.value, DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def test_a_request_whose_answer_was_lost_runs_out_before_another_is_made(service, connection, clock):
    service.script(Fault(kind=FaultKind.LOST_ANSWER, match={"operation": "sign"}))
    pending = wait(connection)
    service.telephone.decide(Decision.CONFIRMED)
    clock.advance(119)
    pending = wait(connection, pending)
    clock.advance(2)
    assert code_of(SigningError, lambda: ask(connection, pending)) == "sign.request-lost"
    assert operations(service).count("sign") == 1
    wait(connection)
    assert len(service.telephone.questions) == 2


def test_a_key_that_is_not_rsa_is_not_asked(connection):
    request = SignRequest(digest=DIGEST, algorithm="sha256", mechanism="ecdsa", summary="")
    assert code_of(SigningError, lambda: mysign.sign(connection, request)) == "sign.mechanism-refused"


@given(st.text(max_size=200))
def test_a_name_is_cut_between_two_characters_below_the_limit(text):
    name = mysign._short_base64(text)
    assert len(name) < 100
    assert text.startswith(base64.b64decode(name, validate=True).decode())


def test_a_name_keeps_as_much_as_fits():
    assert len(base64.b64decode(mysign._short_base64("ệ" * 100))) == 72


# --- what MySign says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("4001", SigningError, "sign.confirmation-timeout"),
        ("4002", SigningError, "sign.user-refused"),
        ("4004", SigningError, "sign.remote-failed"),
        ("4005", SigningError, "sign.quota"),
        ("13004", SigningError, "sign.credential-unusable"),
        ("50000", Unavailable, "peer.busy"),
        ("4711", SigningError, "sign.remote-failed"),
        (4002, SigningError, "sign.user-refused"),
    ],
)
def test_every_status_has_its_meaning(service, connection, status, kind, code):
    pending = wait(connection)
    service.status = status
    assert code_of(kind, lambda: ask(connection, pending)) == code


@pytest.mark.parametrize("status", ["4000", "6000", "0", 6000])
def test_a_request_that_is_being_worked_on_is_waited_for(service, connection, status):
    pending = wait(connection)
    service.status = status
    wait(connection, pending)


def test_an_internal_error_passes(service, connection):
    pending = wait(connection)
    service.status = "50000"
    code_of(Unavailable, lambda: ask(connection, pending))
    service.status = ""
    service.telephone.decide(Decision.CONFIRMED)
    assert isinstance(ask(connection, pending), Signature)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"status": "1"}, "sign.remote-unreadable"),
        ({"status": "1", "signatures": []}, "sign.remote-unreadable"),
        ({"status": "1", "signatures": [None]}, "sign.remote-unreadable"),
        ({"status": "1", "signatures": ["%%%"]}, "sign.remote-unreadable"),
        ({"status": None}, "sign.remote-failed"),
        ({"status": {"a": ["b"] * 1000}}, "sign.remote-failed"),
        ({}, "sign.remote-failed"),
    ],
)
def test_an_odd_result_ends_the_request(httpserver: HTTPServer, connect, said, code):
    httpserver.expect_request(re.compile(".*/login")).respond_with_json({"access_token": "t", "expires_in": "3600"})
    httpserver.expect_request(re.compile(".*/status")).respond_with_json(said)
    assert code_of(SigningError, lambda: ask(connect(httpserver.url_for("")), ticket())) == code


@pytest.mark.parametrize("body", ["", "null", "[]", "{" * 10_000, '{"status": NaN', "<html>"])
def test_a_result_that_is_no_object_leaves_the_request_undecided(httpserver: HTTPServer, connect, body):
    httpserver.expect_request(re.compile(".*/login")).respond_with_json({"access_token": "t", "expires_in": "3600"})
    httpserver.expect_request(re.compile(".*/status")).respond_with_data(body)
    made = connect(httpserver.url_for(""))
    assert code_of(Unavailable, lambda: ask(made, ticket())) == "peer.answer-unreadable"


@pytest.mark.parametrize(
    "body", ["{}", "null", "[" * 100_000, '[1, {}, {"cert": []}]', '[{"cert": {"certificates": ["%"]}}]']
)
def test_odd_certificates_are_errors_and_no_crash(httpserver: HTTPServer, connect, body):
    httpserver.expect_request(re.compile(".*/login")).respond_with_json({"access_token": "t", "expires_in": "3600"})
    httpserver.expect_request(re.compile(".*/info")).respond_with_data(body)
    made = connect(httpserver.url_for(""))
    with pytest.raises((SigningError, Unavailable)):
        mysign.credential(made)


@pytest.mark.parametrize("said", [{}, {"transactionId": "x" * 1000}, {"transactionId": ["x"]}, {"signatures": "x"}])
def test_an_odd_answer_to_a_request_ends_it(httpserver: HTTPServer, service, connect, said):
    made = connect(httpserver.url_for(""))
    chain = [base64.b64encode(each).decode() for each in mysign.credential(connect(service.base_url)).certificates]
    listed = [{"credential_id": "a", "cert": {"certificates": chain}}]
    httpserver.expect_request(re.compile(".*/login")).respond_with_json({"access_token": "t", "expires_in": "3600"})
    httpserver.expect_request(re.compile(".*/info")).respond_with_json(listed)
    httpserver.expect_request(re.compile(".*/signHash")).respond_with_json(said)
    assert code_of(SigningError, lambda: ask(made)) == "sign.remote-unreadable"


# --- logins ---------------------------------------------------------------------------------------------------


def test_one_login_serves_until_its_time_is_over(service, connection, clock):
    pending = wait(connection)
    wait(connection, pending)
    assert operations(service).count("login") == 1
    clock.advance(3600)
    service.telephone.decide(Decision.CONFIRMED)
    ask(connection, pending)
    assert operations(service).count("login") == 2


def test_a_login_that_ended_before_its_time_is_made_anew(service, connection):
    pending = wait(connection)
    service.forget_logins()
    wait(connection, pending)
    assert operations(service).count("login") == 2


@pytest.mark.parametrize("lifetime", ["", "soon", "-5", None, "9" * 400, "1e3", 3600])
def test_a_login_may_say_anything_about_its_time(service, connection, lifetime):
    service.login_seconds = lifetime
    wait(connection, wait(connection))


def test_a_refused_login_leaves_a_parked_document_undecided(service, connection, connect):
    pending = wait(connection)
    wrong = connect(service.base_url, client_secret="sai")
    assert code_of(Unauthorized, lambda: ask(wrong, pending)) == "sign.login-refused"
    wait(connection, pending)


@pytest.mark.parametrize("said", [{"error": "59033"}, {"access_token": ""}, {"access_token": 5}, {}])
def test_a_login_without_a_token_is_refused(httpserver: HTTPServer, connect, said):
    httpserver.expect_request(re.compile(".*/login")).respond_with_json(said)
    made = connect(httpserver.url_for(""))
    assert code_of(Unauthorized, lambda: mysign.credential(made)) == "sign.login-refused"


def test_a_signer_with_two_certificates_must_say_which(service, connect, pki):
    assert code_of(SigningError, lambda: mysign.credential(connect(service.base_url, user_id="MST_two"))) == (
        "sign.certificate-ambiguous"
    )
    serial = x509.load_der_x509_certificate(pki.timestamper.certificate).serial_number
    named = connect(service.base_url, user_id="MST_two", credential_id=f"credential-{serial:x}")
    assert mysign.credential(named).certificates[0] == pki.timestamper.certificate


# --- the README -----------------------------------------------------------------------------------------------


def test_the_readme_names_the_keys_and_their_defaults():
    text = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")
    section = text.split("\n## Configuration\n", 1)[1].split("\n## ", 1)[0]
    written = re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", section, re.MULTILINE)
    assert written == [(name, default_of(mysign.MySignConfig, name)) for name in mysign.MySignConfig.model_fields]


def default_of(model: type[BaseModel], name: str) -> str:
    info = model.model_fields[name]
    if info.is_required():
        return "required"
    if isinstance(info.default, float):
        return f"`{info.default:g}`"
    return f"`{info.default}`" if isinstance(info.default, str) and info.default else ""
