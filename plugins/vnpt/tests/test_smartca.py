"""What is SmartCA's own: names of requests, codes inside HTTP 200, several certificates, and odd answers.

What every signing service must live through is in ``tests/signing/test_remote_signing.py``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from pydantic import BaseModel
from pytest_httpserver import HTTPServer
from smartca_desk import NOW, PASSWORD, USER, Client, Clock, ask, connection_to, verify, wait

from lienthong import Connection, LienthongError, Pending, SigningError, Unauthorized, Unavailable
from lienthong_conformance.pki import TestPki, make_pki
from lienthong_conformance.simulators.faults import Fault, FaultKind
from lienthong_conformance.simulators.smartca import Opening, SmartCaSimulator
from lienthong_conformance.simulators.telephone import Decision
from lienthong_vnpt import smartca


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> TestPki:
    return make_pki(tmp_path_factory.mktemp("pki"), (), now=NOW)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(pki: TestPki) -> Iterator[SmartCaSimulator]:
    keys = {USER: [pki.person], "two": [pki.person, pki.timestamper], "renewed": [pki.expired, pki.person]}
    simulator = SmartCaSimulator(keys, sp_id="app-1", sp_password=PASSWORD)
    simulator.start()
    yield simulator
    simulator.stop()
    assert simulator.records("crash") == []


@pytest.fixture
def connect(client: Client, clock: Clock, tmp_path: Path) -> Callable[..., Connection]:
    """``connect(base_url, **config)``: a new connection, its configuration changed by ``config``."""
    return lambda base_url, **changes: connection_to(client, base_url, clock, tmp_path, **changes)


@pytest.fixture
def connection(service: SmartCaSimulator, connect: Callable[..., Connection]) -> Connection:
    return connect(service.base_url)


def code_of(kind: type[LienthongError], connection: Connection, before: Pending | None = None) -> str:
    with pytest.raises(kind) as caught:
        ask(connection, before)
    assert "?" not in caught.value.text("vi")
    return caught.value.code


# --- the name of a request ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED])
def test_a_request_whose_answer_was_lost_is_found_again_by_its_name(service, connection, pki, kind):
    service.script(Fault(kind=kind, match={"operation": "sign"}))
    pending = wait(connection)
    (question,) = service.telephone.questions
    assert json.loads(pending.token)["name"] == question.name
    service.telephone.decide(Decision.CONFIRMED)
    verify(ask(connection, pending), pki.person.certificate)
    assert len(service.telephone.questions) == 1


def test_a_request_that_never_arrived_is_repeated_under_the_same_name(service, connection, pki):
    service.script(Fault(kind=FaultKind.ERROR_BEFORE, match={"operation": "sign"}))
    pending = wait(connection)
    assert service.telephone.questions == []
    repeated = wait(connection, pending)
    (question,) = service.telephone.questions
    assert question.name == json.loads(pending.token)["name"] == json.loads(repeated.token)["name"]
    service.telephone.decide(Decision.CONFIRMED)
    verify(ask(connection, repeated), pki.person.certificate)


def test_a_repeat_that_is_lost_too_is_undecided_and_goes_on(service, connection, pki):
    service.script(Fault(kind=FaultKind.ERROR_BEFORE, match={"operation": "sign"}, times=2))
    pending = wait(connection)
    assert code_of(Unavailable, connection, pending) == "peer.answer-lost"
    repeated = wait(connection, pending)
    service.telephone.decide(Decision.CONFIRMED)
    verify(ask(connection, repeated), pki.person.certificate)


def test_a_first_request_that_arrives_after_all_is_not_asked_a_second_time(service, httpserver, connect):
    """SmartCA says that it does not know the name, and refuses the repeat because it knows it by then."""
    httpserver.expect_request(re.compile(".*/get_certificate")).respond_with_json(certificates_of(service))
    httpserver.expect_oneshot_request(re.compile(".*/status")).respond_with_json({"status_code": 400, "message": "?"})
    httpserver.expect_oneshot_request(re.compile(".*/sign")).respond_with_json({"status_code": 400, "message": "TWICE"})
    httpserver.expect_oneshot_request(re.compile(".*/status")).respond_with_json(
        {"status_code": 200, "message": "WAIT"}
    )
    made = connect(httpserver.url_for("/sca"))
    uncertain = Pending(token=json.dumps({"name": "abc", "asked": NOW.timestamp(), "certain": False}))
    again = wait(made, uncertain)
    assert json.loads(wait(made, again).token) == {"name": "abc", "asked": NOW.timestamp(), "certain": True}


def certificates_of(service: SmartCaSimulator) -> object:
    body = {"sp_id": "app-1", "sp_password": PASSWORD, "user_id": USER, "serial_number": ""}
    url = f"{service.base_url}/v1/credentials/get_certificate"
    with build_opener(ProxyHandler({})).open(Request(url, json.dumps(body).encode(), method="POST")) as answer:
        return json.loads(answer.read())


def test_a_repeat_that_is_always_refused_ends_with_its_time(httpserver, service, connect, clock):
    httpserver.expect_request(re.compile(".*/get_certificate")).respond_with_json(certificates_of(service))
    httpserver.expect_request(re.compile(".*/v1/signatures/.*")).respond_with_json({"status_code": 400, "message": ""})
    made = connect(httpserver.url_for("/sca"))
    uncertain = Pending(token=json.dumps({"name": "abc", "asked": NOW.timestamp(), "certain": False}))
    waiting = wait(made, uncertain)
    clock.advance(241)
    assert code_of(SigningError, made, waiting) == "sign.request-lost"


def test_a_later_request_for_the_same_digest_has_another_name(service, connection, clock):
    wait(connection)
    clock.advance(60)
    wait(connection)
    assert len({question.name for question in service.telephone.questions}) == 2


# --- what SmartCA says ----------------------------------------------------------------------------------------


def test_a_suspended_certificate_is_told_and_signs_again_later(service, connection):
    service.suspended = True
    assert code_of(SigningError, connection) == "sign.credential-unusable"
    service.suspended = False
    wait(connection)


def test_the_time_to_confirm_can_end_at_the_service(service, connection):
    pending = wait(connection)
    service.telephone.decide(Decision.EXPIRED)
    assert code_of(SigningError, connection, pending) == "sign.confirmation-timeout"


def test_a_message_that_means_refusal_is_learnt_from_the_configuration(service, connect):
    made = connect(service.base_url, refused_messages=(), expired_messages=("USER_REJ",))
    pending = wait(made)
    service.telephone.decide(Decision.REFUSED)
    assert code_of(SigningError, made, pending) == "sign.confirmation-timeout"


def test_a_request_that_the_service_forgot_is_over(service, connection):
    pending = wait(connection)
    service.telephone.clear()
    assert code_of(SigningError, connection, pending) == "sign.remote-refused"


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ({"status_code": 400, "message": "BAD_REQUEST"}, SigningError, "sign.remote-refused"),
        ({"status_code": 401, "message": "SP_CREDENTIAL_INVALID"}, Unauthorized, "sign.login-refused"),
        ({"status_code": 403, "message": "CREDENTIAL_STATUS_INVALID"}, SigningError, "sign.credential-unusable"),
        ({"status_code": 500, "message": "SERVER_INTERNAL_ERROR"}, Unavailable, "peer.busy"),
        ({"status_code": "many", "message": 7}, Unavailable, "peer.busy"),
        ({}, Unavailable, "peer.busy"),
        ([], Unavailable, "peer.answer-unreadable"),
        (
            {"status_code": 200, "data": {"signatures": [{"signature_value": "%%"}]}},
            SigningError,
            "sign.remote-unreadable",
        ),
    ],
)
def test_every_code_of_a_result_has_its_meaning(httpserver: HTTPServer, connect, said, kind, code):
    httpserver.expect_request(re.compile(".*/status")).respond_with_json(said)
    made = connect(httpserver.url_for("/sca"))
    token = Pending(token=json.dumps({"name": "abc", "asked": NOW.timestamp(), "certain": True}))
    assert code_of(kind, made, token) == code


@pytest.mark.parametrize(
    "said",
    [
        {"status_code": 200, "data": None},
        {"status_code": "200", "data": {"signatures": "none"}},
        {"status_code": 200, "data": {"signatures": [1, None, {"signature_value": None}]}},
        {"STATUS_CODE": 200, "data": [[[]]]},
    ],
)
def test_an_answer_without_a_signature_is_waited_on(httpserver: HTTPServer, connect, said):
    httpserver.expect_request(re.compile(".*/status")).respond_with_json(said)
    made = connect(httpserver.url_for("/sca"))
    token = Pending(token=json.dumps({"name": "abc", "asked": NOW.timestamp(), "certain": True}))
    assert wait(made, token).retry_after == 10.0


@pytest.mark.parametrize("token", ["", "[]", "{}", '{"name": "a", "asked": 1e999, "certain": true}', "[" * 100_000])
def test_a_token_that_is_not_ours_ends_the_request(connection, token):
    assert code_of(SigningError, connection, Pending(token=token)) == "sign.ticket-unreadable"


# --- a key without a telephone --------------------------------------------------------------------------------

CODES = b"not-a-real-totp-secret"
OPEN = {"password": "not-the-key's-password", "totp_secret": base64.b64encode(CODES).decode()}


@pytest.fixture
def sealing(pki: TestPki, clock: Clock) -> Iterator[SmartCaSimulator]:
    """A service where the key signs for programs."""
    opening = Opening(password=OPEN["password"], totp_secret=CODES, now=clock)
    simulator = SmartCaSimulator({USER: [pki.person]}, sp_id="app-1", sp_password=PASSWORD, opened={USER: opening})
    simulator.start()
    yield simulator
    simulator.stop()
    assert simulator.records("crash") == []


def test_a_key_that_is_open_to_programs_signs_at_once(sealing, connect, clock, pki):
    made = connect(sealing.base_url, **OPEN)
    for _ in range(3):
        verify(ask(made), pki.person.certificate)
        clock.advance(31)


@pytest.mark.parametrize("operation", ["sign", "confirm"])
def test_a_lost_answer_where_nobody_is_asked_is_simply_asked_for_again(sealing, connect, clock, pki, operation):
    made = connect(sealing.base_url, **OPEN)
    sealing.script(Fault(kind=FaultKind.LOST_ANSWER, match={"operation": operation}))
    assert code_of(Unavailable, made) == "peer.answer-lost"
    clock.advance(1)
    verify(ask(made), pki.person.certificate)


def test_a_refused_password_is_not_sent_again_until_it_changes(sealing, connect, pki):
    wrong = connect(sealing.base_url, **{**OPEN, "password": "sai"})
    for _ in range(3):
        assert code_of(SigningError, wrong) == "sign.remote-pin-refused"
    assert len(sealing.records("password-refused")) == 1
    verify(ask(connect(sealing.base_url, **OPEN)), pki.person.certificate)


def test_a_wrong_code_is_refused_and_told(sealing, connect):
    made = connect(sealing.base_url, **{**OPEN, "totp_secret": base64.b64encode(b"another").decode()})
    assert code_of(SigningError, made) == "sign.remote-refused"


@pytest.mark.parametrize(
    ("seconds", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_one_time_codes_are_those_of_rfc_6238(seconds, code):
    moment = datetime.fromtimestamp(seconds, UTC)
    assert smartca.one_time_code(b"12345678901234567890", moment) == code


@pytest.mark.parametrize("half", [{"password": "x"}, {"totp_secret": "eA=="}, {"password": "x", "totp_secret": "%"}])
def test_half_an_opening_is_a_mistake_of_the_configuration(connect, half):
    with pytest.raises(ValueError, match=r"belong together|base64|padding|Non-base64"):
        connect("http://127.0.0.1:9", **half)


# --- certificates ---------------------------------------------------------------------------------------------


def test_a_signer_with_two_certificates_must_say_which(service, connect, pki):
    made = connect(service.base_url, user_id="two")
    with pytest.raises(SigningError) as caught:
        smartca.credential(made)
    assert caught.value.code == "sign.certificate-ambiguous"
    serial = re.findall(r"[0-9a-f]{20,}", caught.value.text("en"))[0]
    named = connect(service.base_url, user_id="two", serial_number="00" + serial.upper())
    with pytest.raises(SigningError) as caught:
        smartca.credential(named)
    assert caught.value.code == "sign.certificate-absent", "SmartCA itself compares the number as it stands"
    named = connect(service.base_url, user_id="two", serial_number=serial)
    assert smartca.credential(named).certificates[0] in (pki.person.certificate, pki.timestamper.certificate)


def test_an_expired_certificate_beside_its_successor_is_passed_over(service, connect, pki):
    made = connect(service.base_url, user_id="renewed")
    assert smartca.credential(made).certificates[0] == pki.person.certificate
    wait(made)


@pytest.mark.parametrize(
    "data",
    [
        None,
        "none",
        {"user_certificates": None},
        {"user_certificates": [1, [], {}]},
        {"user_certificates": [{"cert_data": "%%", "chain_data": 7, "serial_number": None}]},
        {"user_certificates": [{"cert_data": "MAA=", "chain_data": {"ca_cert": [], "root_cert": "x"}}]},
    ],
)
def test_odd_certificates_are_errors_and_no_crash(httpserver: HTTPServer, connect, data):
    said = {"status_code": 200, "message": "Success", "data": data}
    httpserver.expect_request(re.compile(".*/get_certificate")).respond_with_json(said)
    made = connect(httpserver.url_for("/sca"))
    with pytest.raises(SigningError):
        smartca.credential(made)


def test_the_chain_comes_with_the_certificate(connection):
    assert len(smartca.credential(connection).certificates) == 3


# --- the README -----------------------------------------------------------------------------------------------

README = Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")


def test_the_readme_names_the_keys_and_their_defaults():
    section = README.split("\n## Configuration of `smartca`\n", 1)[1].split("\n## ", 1)[0]
    written = re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", section, re.MULTILINE)
    assert written == [(name, default_of(smartca.SmartCaConfig, name)) for name in smartca.SmartCaConfig.model_fields]


def default_of(model: type[BaseModel], name: str) -> str:
    info = model.model_fields[name]
    if info.is_required():
        return "required"
    if isinstance(info.default, tuple):
        return ", ".join(f"`{each}`" for each in info.default)
    return f"`{info.default:g}`" if isinstance(info.default, float) else ""
