"""From the office to the axis with a key that is far away: installed plugins, simulated services, and a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lienthong.http import HttpClient
from lienthong.model import FileVerification, Verdict
from lienthong.signing.proof.revocation import RevocationSource
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.simulators.telephone import Decision

from .authorities import Authorities
from .outgoing_desk import OutgoingDesk, outgoing_desk
from .remote_services import SECRET, SERVICES, Service, running

SOON, LONGER_THAN_ANYBODY_WAITS, REFUSED_PAUSE = 15.0, 300.0, 600.0
WAITS = ("awaiting-signature", "sign.waits-for-signer")
SENT = ("dispatched", "")


@pytest.fixture(params=["smartca", "mysign"])
def service(request: pytest.FixtureRequest, authorities: Authorities) -> Iterator[Service]:
    with running(SERVICES[request.param](authorities.key("agency"))) as started:
        yield started


@pytest.fixture
def desk(service: Service, authorities: Authorities, tmp_path: Path) -> Iterator[OutgoingDesk]:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    settings = {**service.settings, service.secret: "file:secret"}
    lines = [f'{name} = "{value}"' for name, value in {"plugin": service.plugin.describe().name, **settings}.items()]
    http = "http = { tries = 1, deadline_seconds = 5 }"
    profile = f"refused_signature_pause_seconds = {REFUSED_PAUSE}"
    phone = "\n".join([*lines, http])
    with outgoing_desk(tmp_path, authorities, authorities.key("agency"), phone=phone, profile=profile) as opened:
        yield opened


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One document with two files, handed in and worked on once."""

    id: str
    desk: OutgoingDesk
    service: Service

    @property
    def standing(self) -> tuple[str, str]:
        return self.desk.standing(self.id)

    @property
    def asked(self) -> list[str]:
        """The files that the person was asked about, in order."""
        return [question.text.rpartition(": ")[2] for question in self.service.telephone.questions]

    def decide(self, decision: Decision) -> None:
        """The person decides about what waits, and the adapter asks for it a little later."""
        self.service.telephone.decide(decision)
        self.desk.later(SOON)


@pytest.fixture
def sent(desk: OutgoingDesk, service: Service, letter: Path) -> Letter:
    made = Letter(id=desk.hand_in({"cv.pdf": letter, "phụ lục.pdf": letter}), desk=desk, service=service)
    desk.work()
    assert (made.standing, made.asked) == (WAITS, ["cv.pdf"])
    return made


@pytest.fixture
def verify(authorities: Authorities, authorities_http: HttpClient, tmp_path: Path):
    """Judges a document's files as their receiver does, who asks about revocation."""

    def judge(letter: Letter) -> dict[str, FileVerification]:
        clock = letter.desk.clock
        source = RevocationSource(authorities_http, tmp_path / "answers", address_map={}, now=clock)
        return {
            name: verify_pdf(path, name, authorities.trust(), at=clock(), revocation=source)
            for name, path in letter.desk.files(letter.id).items()
        }

    return judge


def test_each_file_leaves_with_a_signature_that_the_person_confirmed(sent, verify):
    sent.desk.later(SOON)
    assert (sent.standing, sent.asked) == (WAITS, ["cv.pdf"])
    sent.decide(Decision.CONFIRMED)
    assert (sent.standing, sent.asked) == (WAITS, ["cv.pdf", "phụ lục.pdf"])
    sent.decide(Decision.CONFIRMED)
    assert (sent.standing, sent.asked) == (SENT, ["cv.pdf", "phụ lục.pdf"])
    found = verify(sent)
    assert {name: file.verdict for name, file in found.items()} == dict.fromkeys(found, Verdict.VALID)
    assert sent.desk.holders(sent.id) == {"cv.pdf": (1, 0), "phụ lục.pdf": (1, 0)}


def test_a_person_who_refused_is_asked_again_after_the_pause(sent, verify):
    sent.decide(Decision.REFUSED)
    assert sent.standing == ("awaiting-signature", "sign.user-refused")
    sent.desk.later(REFUSED_PAUSE - SOON)
    assert len(sent.asked) == 1
    sent.desk.later(2 * SOON)
    assert (sent.standing, sent.asked) == (WAITS, ["cv.pdf", "cv.pdf"])
    sent.decide(Decision.CONFIRMED)
    sent.decide(Decision.CONFIRMED)
    assert (sent.standing, sent.asked) == (SENT, ["cv.pdf", "cv.pdf", "phụ lục.pdf"])
    assert {file.verdict for file in verify(sent).values()} == {Verdict.VALID}


@pytest.mark.parametrize("who_ends_it", ["the service", "nobody"])
def test_a_question_that_nobody_answered_is_asked_anew(sent, who_ends_it):
    if who_ends_it == "the service":
        sent.decide(Decision.EXPIRED)
    else:
        sent.desk.later(LONGER_THAN_ANYBODY_WAITS)
    assert sent.standing == ("awaiting-signature", "sign.confirmation-timeout")
    sent.desk.later(SOON)
    assert (sent.standing, sent.asked) == (WAITS, ["cv.pdf", "cv.pdf"])
    sent.decide(Decision.CONFIRMED)
    sent.decide(Decision.CONFIRMED)
    assert sent.standing == SENT


def test_a_service_that_goes_and_comes_back_has_asked_once(sent, service, verify):
    service.telephone.decide(Decision.CONFIRMED)
    service.simulator.stop()
    for _ in range(2):
        sent.desk.later(SOON)
        assert sent.standing == ("awaiting-signature", "peer.unreachable")
    service.simulator.start()
    sent.desk.later(LONGER_THAN_ANYBODY_WAITS)
    assert sent.asked == ["cv.pdf", "phụ lục.pdf"]
    sent.decide(Decision.CONFIRMED)
    assert (sent.standing, sent.asked) == (SENT, ["cv.pdf", "phụ lục.pdf"])
    assert {file.verdict for file in verify(sent).values()} == {Verdict.VALID}
