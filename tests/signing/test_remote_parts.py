"""What signing services share, piece by piece: tickets, certificates in every wrapping, and secrets that are spared."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from lienthong.config import load
from lienthong.errors import SigningError, Unauthorized
from lienthong.hookspecs import Connection, Credential
from lienthong.model import Verdict
from lienthong.pipeline.signing import SigningOrder, ThreadSigning
from lienthong.registry import discover, open_connection
from lienthong.signing.keys.remote import Certificates, Listed, Ticket, sparing
from lienthong.signing.verification.trust import load_trust
from lienthong.signing.verification.verify import verify_pdf
from lienthong_conformance.pki import make_pki
from lienthong_conformance.simulators.smartca import SmartCaSimulator
from lienthong_conformance.simulators.telephone import Decision

from .workshop import NOW, code_of, credential_of

# --- tickets --------------------------------------------------------------------------------------------------


@given(st.text(max_size=50), st.integers(0, 4_000_000_000), st.booleans())
def test_a_ticket_comes_back_as_it_went(name, asked, certain):
    ticket = Ticket(name=name, asked=datetime.fromtimestamp(asked, UTC), certain=certain)
    assert Ticket.read(ticket.pending(2).token) == ticket


@pytest.mark.parametrize(("certain", "code"), [(True, "sign.confirmation-timeout"), (False, "sign.request-lost")])
def test_a_ticket_runs_out(certain, code):
    ticket = Ticket(name="t", asked=NOW, certain=certain)
    ticket.require_time_left(NOW + timedelta(seconds=239), 240)
    assert code_of(SigningError, lambda: ticket.require_time_left(NOW + timedelta(seconds=240), 240)) == code


# --- certificates ---------------------------------------------------------------------------------------------


@pytest.fixture
def connection(tmp_path) -> Connection:
    return Connection(name="ky-so", agencies=(), config=None, http=None, folder=tmp_path, now=lambda: NOW)


def listing(*texts: str) -> Callable[[Connection], Listed[str]]:
    return lambda _: Listed(certificates=texts, details="")


def der(certificate: bytes) -> str:
    return base64.b64encode(certificate).decode()


def pem(certificate: bytes) -> str:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM).decode()


WRAPPINGS = {
    "base64": der,
    "lines": lambda certificate: base64.encodebytes(certificate).decode().replace("\n", "\r\n"),
    "pem": pem,
    "base64 of pem": lambda certificate: der(pem(certificate).encode()),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_chain_is_read_in_every_wrapping_and_put_in_order(connection, agency, pki, wrapping):
    wanted = credential_of(agency)
    leaf, *above = wanted.certificates
    texts = [WRAPPINGS[wrapping](each) for each in (leaf, *reversed(above), pki.foreign.certificate)]
    assert Certificates(listing(*texts)).credential(connection) == Credential(certificates=wanted.certificates)


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ([], "sign.no-certificate"),
        (["%%"], "sign.certificate-unreadable"),
        ([""], "sign.certificate-unreadable"),
        (["MAA="], "sign.certificate-unreadable"),
        (["-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"], "sign.certificate-unreadable"),
    ],
)
def test_what_is_no_certificate_is_an_error(connection, texts, code):
    assert code_of(SigningError, lambda: Certificates(listing(*texts)).credential(connection)) == code


def test_threads_that_need_a_certificate_together_read_it_once(connection, agency):
    reads, together = [], threading.Barrier(8)

    def read(_: Connection) -> Listed[str]:
        reads.append(1)
        return Listed(certificates=[der(agency.certificate)], details="")

    certificates = Certificates(read)

    def need(_: int) -> Credential:
        together.wait()
        return certificates.credential(connection)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(need, range(8)))) == 1
    assert len(reads) == 1


def test_a_plugin_may_have_any_settings(connection, pki):
    """Also such as cannot be the key of a dictionary: a connection is told from others by itself."""
    odd = replace(connection, config={"labels": ["a"]})
    certificates = Certificates(listing(der(pki.person.certificate)))
    assert certificates.credential(odd).certificates == (pki.person.certificate,)


# --- secrets --------------------------------------------------------------------------------------------------


def test_a_refused_secret_is_sent_by_one_thread_only(connection):
    sent, together = [], threading.Barrier(8)

    def send() -> None:
        with sparing(connection, "khoa-1", "0000"):
            sent.append(1)
            raise SigningError("sign.remote-pin-refused", peer="ky-so")

    def send_together(_: int) -> str:
        together.wait()
        return code_of(SigningError, send)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send_together, range(8))) == {"sign.remote-pin-refused"}
    assert len(sent) == 1
    with sparing(connection, "khoa-1", "1111"), sparing(connection, "khoa-2", "0000"):
        sent.append(1)


def test_another_failure_does_not_use_up_a_secret(connection):
    for _ in range(2):
        with pytest.raises(SigningError), sparing(connection, "khoa-3", "0000"):
            raise SigningError("sign.quota", peer="ky-so")


# --- configuration --------------------------------------------------------------------------------------------

SIGNERS = """
[connection.smartca]
plugin = "smartca"
base_url = "https://ky.example.vn/sca/sp769"
sp_id = "app-1"
sp_password = "file:secret"
user_id = "001080000001"
password = "file:secret"
totp_secret = "file:secret"

[connection.mysign]
plugin = "mysign"
base_url = "https://ky.example.vn"
client_id = "app-1"
client_secret = "file:secret"
user_id = "CMT_001080000001"

[connection.csc]
plugin = "csc"
base_url = "https://ky.example.vn/csc/v2"
version = "v2"
credential_id = "khoa-1"
pin = "file:secret"
token_url = "https://ky.example.vn/oauth2/token"
client_id = "app-1"
client_secret = "file:secret"
"""


@pytest.mark.parametrize("name", ["smartca", "mysign", "csc"])
def test_a_signer_is_configured_with_secrets_by_reference(configured, tmp_path, name):
    file = configured()
    file.write_text(file.read_text("utf-8") + SIGNERS, "utf-8")
    secret = tmp_path / "secret"
    secret.write_text("bGEtYmktbWF0")
    secret.chmod(0o600)
    config = load(file)
    opened = open_connection(config, name, discover(frozenset({name})), tmp_path / "data", lambda: NOW)
    assert opened.capabilities.key == "remote"
    assert "bGEtYmktbWF0" not in repr(opened.connection)
    assert hash(opened.connection) == hash(opened.connection), "what lives longer than a call hangs on the connection"
    opened.close()


def test_a_corrected_secret_is_in_force_without_a_restart(configured, letter, tmp_path):
    """Through the pipeline's own signing: from a wrong password in a file to a signed document."""
    now = datetime.now(UTC)
    pki = make_pki(tmp_path / "pki", (), now=now)
    simulator = SmartCaSimulator({"nguoi-ky": [pki.person]}, sp_id="app-1", sp_password="dung")
    (secret := tmp_path / "secret").write_text("sai")
    secret.chmod(0o600)
    leader = f"""
        [connection.leader]
        plugin = "smartca"
        base_url = "{simulator.base_url}"
        sp_id = "app-1"
        sp_password = "file:secret"
        user_id = "nguoi-ky"
    """
    file = configured()
    file.write_text(file.read_text("utf-8") + leader, "utf-8")
    target = tmp_path / "signed.pdf"
    order = SigningOrder(connection="leader", source=letter, target=target, at=now, summary="15/UBND-VP")
    signing = ThreadSigning(file, tmp_path / "data", {})
    simulator.start()
    try:
        for _ in range(2):
            assert code_of(Unauthorized, lambda: signing.sign(order)) == "sign.login-refused"
        secret.write_text("dung")
        parked = signing.sign(order)
        assert parked is not None
        simulator.telephone.decide(Decision.CONFIRMED)
        assert signing.sign(replace(order, parked=parked)) is None
    finally:
        signing.close()
        simulator.stop()
    trust = load_trust([pki.roots], [pki.intermediates])
    assert verify_pdf(target, "signed.pdf", trust, at=now).verdict is Verdict.VALID
