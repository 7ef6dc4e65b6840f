"""The Cloud Signature Consortium's interface: certomancer's server, with pyHanko's client beside us; our simulator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import PdfSignatureMetadata
from pyhanko.sign.signers import async_sign_pdf
from pyhanko.sign.signers.csc_signer import (
    CSCAuthorizationInfo,
    CSCAuthorizationManager,
    CSCServiceSessionInfo,
    CSCSigner,
    fetch_certs_in_csc_credential,
)

from lienthong.errors import SigningError, Unavailable
from lienthong.hookspecs import Connection
from lienthong.http import HttpClient
from lienthong.model import VIETNAM, Verdict
from lienthong.signing import pades
from lienthong.signing.keys import csc
from lienthong.signing.pades import Parked
from lienthong.signing.verification.trust import load_trust
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.simulators.csc import CscSimulator
from lienthong_conformance.simulators.faults import Fault, FaultKind

from .csc_dummy import ARCHITECTURE, CscDummy, csc_dummy
from .remote_services import PIN, SECRET, Clock, Desk, Service, connecting, running
from .workshop import code_of


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CscDummy]:
    with csc_dummy(tmp_path_factory.mktemp("csc")) as service:
        yield service


@pytest.fixture
def now() -> datetime:
    return datetime.now(VIETNAM)


# --- a server and a client that nobody here wrote --------------------------------------------------------------


@pytest.mark.parametrize("key", ["rsa", "elliptic"])
def test_certomancers_service_signs_for_us(foreign, letter, tmp_path, now, key):
    config = csc.CscConfig(base_url=f"{foreign.url}/csc/v1", credential_id=f"{ARCHITECTURE}/{key}")
    http = HttpClient(config.http, peer="ky-so", now=lambda: now)
    connection = Connection(name="ky-so", agencies=(), config=config, http=http, folder=tmp_path, now=lambda: now)
    target = tmp_path / "signed.pdf"
    done = pades.sign_pdf(
        letter,
        target,
        credential=csc.credential(connection),
        sign=lambda request: csc.sign(connection, request),
        at=now,
    )
    http.close()
    assert done is None
    assert verify_pdf(target, target.name, load_trust([foreign.root], []), at=now).verdict is Verdict.VALID


def test_pyhankos_own_client_signs_at_the_same_service(foreign, letter, tmp_path, now):
    """So a failure of ours above would be ours, and not the service's."""
    target = tmp_path / "theirs.pdf"
    asyncio.run(sign_with_pyhanko(foreign.url, letter, target))
    assert verify_pdf(target, target.name, load_trust([foreign.root], []), at=now).verdict is Verdict.VALID


class Consent(CSCAuthorizationManager):
    def __init__(self, session: aiohttp.ClientSession, *about: object) -> None:
        super().__init__(*about)
        self._session = session

    async def authorize_signature(self, hash_b64s: list[str]) -> CSCAuthorizationInfo:
        body = self.format_csc_auth_request(hash_b64s=hash_b64s)
        async with self._session.post(
            self.csc_session_info.endpoint_url("credentials/authorize"), json=body, raise_for_status=True
        ) as answer:
            return self.parse_csc_auth_response(await answer.json())


async def sign_with_pyhanko(url: str, source: Path, target: Path) -> None:
    about = CSCServiceSessionInfo(url, f"{ARCHITECTURE}/rsa")
    async with aiohttp.ClientSession() as session:
        key = await fetch_certs_in_csc_credential(session, about)
        signer = CSCSigner(session, Consent(session, about, key))
        with source.open("rb") as stream, target.open("w+b") as output:
            writer, metadata = IncrementalPdfFileWriter(stream), PdfSignatureMetadata(field_name="Signature1")
            await async_sign_pdf(writer, metadata, signer=signer, output=output)


# --- both versions, strictly ----------------------------------------------------------------------------------


@pytest.fixture(params=["v1", "v2"])
def service(request: pytest.FixtureRequest, pki) -> Iterator[Service]:
    """A key behind a PIN, where no person is asked."""
    simulator = CscSimulator(
        pki.person, version=request.param, credential_id="key-1", client=("app-1", SECRET), pin=PIN
    )
    settings = {
        "base_url": simulator.base_url,
        "version": request.param,
        "credential_id": "key-1",
        "pin": PIN,
        "token_url": simulator.token_url,
        "client_id": "app-1",
        "client_secret": SECRET,
    }
    with running(Service(plugin=csc, simulator=simulator, settings=settings)) as started:
        yield started


@pytest.fixture
def sit_down(http_of, letter: Path, tmp_path: Path) -> Callable[..., Desk]:
    """``sit_down(service, **config)``: a document to sign through a new connection."""
    connect = connecting(http_of, Clock(), tmp_path)

    def make(service: Service, **changes: object) -> Desk:
        return Desk(
            service=service, connection=connect(service, **changes), source=letter, target=tmp_path / "signed.pdf"
        )

    return make


@pytest.fixture
def desk(service: Service, sit_down: Callable[..., Desk]) -> Desk:
    return sit_down(service)


def test_a_key_behind_a_pin_signs_at_once(desk, check):
    assert desk.begin() is None
    assert check(desk.target).verdict is Verdict.VALID


def test_a_login_that_ends_early_is_made_anew(desk, check):
    desk.credential()
    desk.service.simulator.forget_logins()
    assert desk.begin() is None
    assert check(desk.target).verdict is Verdict.VALID


def test_a_refused_pin_is_never_sent_again(service, sit_down):
    desk = sit_down(service, pin="00000000")
    for _ in range(3):
        assert code_of(SigningError, desk.begin) == "sign.remote-pin-refused"
    assert len(service.simulator.records("pin-refused")) == 1


@pytest.mark.parametrize("operation", ["authorize", "signHash"])
def test_a_lost_answer_is_asked_for_again_where_no_person_is_bothered(desk, check, operation):
    desk.service.simulator.script(Fault(kind=FaultKind.LOST_ANSWER, match={"operation": operation}))
    assert code_of(Unavailable, desk.begin) == "peer.answer-lost"
    assert desk.begin() is None
    assert check(desk.target).verdict is Verdict.VALID


def test_a_signature_may_be_finished_later(pki, sit_down, check):
    simulator = CscSimulator(pki.person, version="v2", credential_id="key-1", pin=PIN)
    simulator.busy_polls = 2
    settings = {"base_url": simulator.base_url, "version": "v2", "credential_id": "key-1", "pin": PIN}
    with running(Service(plugin=csc, simulator=simulator, settings=settings)) as service:
        desk = sit_down(service, asynchronous=True)
        parked = desk.begin()
        for _ in range(2):
            assert isinstance(parked, Parked)
            parked = desk.go_on(parked)
        assert isinstance(parked, Parked)
        assert desk.go_on(parked) is None
    assert check(desk.target).verdict is Verdict.VALID


@pytest.mark.parametrize(
    "half",
    [
        {"token_url": "https://ky.example.vn/token"},
        {"client_id": "app-1"},
        {"client_secret": "x"},
        {"asynchronous": True},
    ],
)
def test_half_a_configuration_is_a_mistake(half):
    with pytest.raises(ValueError, match=r"belong together|needs version"):
        csc.CscConfig(base_url="https://ky.example.vn/csc/v1", credential_id="key-1", **half)
