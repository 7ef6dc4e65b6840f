"""What every signing service must live through: waiting, refusal, silence, lost answers, a network that goes and comes.

Everything runs over sockets against simulated services; the signed files are judged by pyHanko's validator too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyhanko.keys import load_certs_from_pemder
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from lienthong.errors import LienthongError, SigningError, Unauthorized, Unavailable
from lienthong.hookspecs import Pending
from lienthong.http import recording
from lienthong.model import Verdict
from lienthong.signing.pades import Parked, Prepared
from lienthong_conformance.simulators.faults import Fault, FaultKind
from lienthong_conformance.simulators.telephone import AnswerForm, Decision

from .remote_services import SECRET, SERVICES, SUMMARY, Clock, Connect, Desk, Service, connecting, running
from .workshop import NOW, code_of

WRONG = "mot-mat-khau-sai"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, pki) -> Iterator[Service]:
    with running(SERVICES[request.param](pki.person)) as started:
        yield started


@pytest.fixture
def connect(http_of, clock: Clock, tmp_path: Path) -> Connect:
    return connecting(http_of, clock, tmp_path)


@pytest.fixture
def desk(service: Service, connect: Connect, letter: Path, tmp_path: Path) -> Desk:
    return Desk(service=service, connection=connect(service), source=letter, target=tmp_path / "signed.pdf")


def fault(service: Service, kind: FaultKind, operation: str, times: int = 1) -> None:
    service.simulator.script(Fault(kind=kind, match={"operation": operation}, times=times))


def waiting(parked: Parked | None) -> Parked:
    assert isinstance(parked, Parked)
    return parked


def accepted_by_pyhanko(path: Path, roots: Path, intermediates: Path) -> bool:
    with path.open("rb") as stream:
        signature = PdfFileReader(stream).embedded_signatures[-1]
        context = ValidationContext(
            trust_roots=list(load_certs_from_pemder([str(roots)])),
            other_certs=list(load_certs_from_pemder([str(intermediates)])),
            moment=NOW,
            allow_fetching=False,
        )
        return asyncio.run(async_validate_pdf_signature(signature, context)).bottom_line


# --- the way it goes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [AnswerForm.RAW, AnswerForm.CMS])
def test_a_document_is_signed_once_the_person_has_confirmed(desk, check, pki, form):
    desk.service.simulator.form = form
    parked = waiting(desk.begin())
    parked = waiting(desk.go_on(parked))
    desk.service.telephone.decide(Decision.CONFIRMED)
    desk.go_on_until_signed(parked)
    assert check(desk.target).verdict is Verdict.VALID
    assert accepted_by_pyhanko(desk.target, pki.roots, pki.intermediates)
    assert len(desk.service.telephone.questions) == 1


def test_the_person_sees_what_is_signed(desk):
    waiting(desk.begin())
    (question,) = desk.service.telephone.questions
    assert SUMMARY.startswith(question.text)
    assert len(question.text) > 30


def test_a_parked_document_is_finished_after_a_restart(desk, connect, check):
    parked = waiting(desk.begin())
    kept = json.dumps([parked.prepared.to_json(), parked.pending.token])
    desk.service.telephone.decide(Decision.CONFIRMED)
    prepared, token = json.loads(kept)
    again = Parked(prepared=Prepared.from_json(prepared), pending=Pending(token=token))
    replace(desk, connection=connect(desk.service)).go_on_until_signed(again)
    assert check(desk.target).verdict is Verdict.VALID
    assert len(desk.service.telephone.questions) == 1


def test_a_cms_over_something_else_is_not_taken_for_a_signature(desk):
    desk.service.simulator.form = AnswerForm.OWN_ATTRIBUTES
    parked = waiting(desk.begin())
    desk.service.telephone.decide(Decision.CONFIRMED)
    before = desk.target.read_bytes()
    assert code_of(SigningError, lambda: desk.go_on_until_signed(parked)) == "sign.answer-foreign"
    assert desk.target.read_bytes() == before


# --- people -------------------------------------------------------------------------------------------------------


def test_a_refusal_ends_the_request(desk):
    parked = waiting(desk.begin())
    desk.service.telephone.decide(Decision.REFUSED)
    assert code_of(SigningError, lambda: desk.go_on(parked)) == "sign.user-refused"


def test_nobody_answering_ends_the_request(desk, clock):
    parked = waiting(desk.begin())
    clock.advance(desk.connection.config.confirm_seconds - 1)
    parked = waiting(desk.go_on(parked))
    clock.advance(2)
    assert code_of(SigningError, lambda: desk.go_on(parked)) == "sign.confirmation-timeout"


def test_a_confirmation_that_came_while_nobody_asked_still_counts(desk, clock, check):
    parked = waiting(desk.begin())
    desk.service.telephone.decide(Decision.CONFIRMED)
    clock.advance(3 * 3600)
    desk.go_on_until_signed(parked)
    assert check(desk.target).verdict is Verdict.VALID


# --- the network --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.BUSY, FaultKind.ERROR_BEFORE, FaultKind.LOST_ANSWER, FaultKind.TRUNCATED])
def test_a_document_waits_while_the_network_is_gone_and_goes_on_by_itself(desk, check, kind):
    parked = waiting(desk.begin())
    desk.service.telephone.decide(Decision.CONFIRMED)
    fault(desk.service, kind, desk.service.asking, times=2)
    for _ in range(2):
        code_of(Unavailable, lambda: desk.go_on(parked))
    desk.go_on_until_signed(parked)
    assert check(desk.target).verdict is Verdict.VALID


def test_a_service_that_cannot_be_reached_leaves_everything_undecided(desk, connect):
    away = connect(desk.service, base_url="http://127.0.0.1:9/")
    assert code_of(Unavailable, replace(desk, connection=away).begin) == "peer.unreachable"
    assert not desk.service.plugin.probe(away).usable
    assert not desk.target.exists()


@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER, FaultKind.TRUNCATED])
def test_a_lost_answer_never_leads_to_a_second_question_beside_the_first(desk, kind):
    fault(desk.service, kind, desk.service.handing_in)
    parked = waiting(desk.begin())
    for _ in range(3):
        parked = waiting(desk.go_on(parked))
    assert len(desk.service.telephone.questions) == 1


# --- access -------------------------------------------------------------------------------------------------------


def test_wrong_credentials_of_ours_are_no_fault_of_the_document(desk, connect):
    refused = connect(desk.service, **{desk.service.secret: WRONG})
    assert code_of(Unauthorized, replace(desk, connection=refused).begin) == "sign.login-refused"
    assert not desk.service.plugin.probe(refused).usable
    assert desk.service.telephone.questions == []
    waiting(desk.begin())


def test_the_probe_reads_the_certificate_and_rings_at_no_telephone(desk):
    probe = desk.service.plugin.probe(desk.connection)
    assert probe.usable
    assert "Nguyễn Văn An" in probe.detail
    assert desk.service.telephone.questions == []


def test_the_certificate_is_read_once_and_again_when_it_may_have_changed(desk, clock):
    def reads() -> int:
        operations = ("get_certificate", "certificates", "info")
        records = desk.service.simulator.records("request")
        return sum(1 for each in records if each["facts"]["operation"] in operations)

    first = desk.credential()
    assert desk.credential() == first
    assert reads() == 1
    clock.advance(3601)
    assert desk.credential() == first
    assert reads() == 2
    clock.advance(400 * 86_400)
    assert code_of(SigningError, desk.credential) == "sign.certificate-expired"
    assert reads() > 2


# --- secrets ------------------------------------------------------------------------------------------------------


def test_no_secret_and_no_text_leaves_in_records_errors_or_logs(desk, connect, caplog):
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with recording() as exchanges:
        parked = waiting(desk.begin())
        desk.service.telephone.decide(Decision.REFUSED)
        told.append(problem_text(lambda: desk.go_on(parked)))
        fault(desk.service, FaultKind.ERROR_BEFORE, desk.service.asking)
        told.append(problem_text(lambda: desk.go_on(parked)))
        refused = connect(desk.service, **{desk.service.secret: WRONG})
        told.append(problem_text(replace(desk, connection=refused).begin))
    told += [repr(exchanges), repr(desk.connection), parked.pending.token, caplog.text]
    assert len(exchanges) > 3
    hidden = (
        SECRET,
        WRONG,
        "token-1",
        "bearer-1",
        "sad-",
        SUMMARY[:20],
        desk.service.telephone.questions[0].digest.hex(),
    )
    assert [(word, text) for text in told for word in hidden if word in text] == []


def problem_text(action) -> str:
    with pytest.raises(LienthongError) as caught:
        action()
    return f"{caught.value} {caught.value!r}"
