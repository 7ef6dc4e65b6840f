"""The HTTP client speaks only over encrypted, checked links, and writes nothing down that was not declared visible."""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from peers import answer, hang_up, one_connection

from lienthong import ConfigError, LienthongError, Unavailable
from lienthong.http import Answer, HttpSettings, recording

# --- only encrypted links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["example.vn", "10.0.0.1", "localhost.example.vn", "127.0.0.1.example.vn", "[2001:db8::1]"]
)
def test_plaintext_is_refused_off_loopback_before_anything_is_sent(client_of, host):
    with recording() as records, pytest.raises(ConfigError) as caught:
        client_of().call("POST", f"http://{host}/edoc", effect=True, body=b"x")
    assert caught.value.code == "peer.plaintext"
    assert records == []


def test_plaintext_needs_a_written_reason(peer_of, client_of):
    url = peer_of(answer(200)).url.replace("127.0.0.1", "0.0.0.0")
    with pytest.raises(ConfigError):
        client_of().call("GET", url, effect=False)
    assert client_of(plaintext_reason="đường truyền riêng").call("GET", url, effect=False).status == 200


@pytest.fixture(scope="module")
def server_certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1 with its key, one PEM file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.add_extension(addresses, critical=False).sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(pem)
    return file


@pytest.fixture
def tls_peer(server_certificate):
    """Answers one TLS request with 204; a client that does not believe the certificate never gets that far."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_certificate)

    def serve(listener):
        with (
            listener.accept()[0] as plain,
            contextlib.suppress(OSError),
            context.wrap_socket(plain, server_side=True) as connection,
        ):
            connection.recv(65536)
            answer(204)(connection)

    with one_connection(serve) as url:
        yield url.replace("http:", "https:")


def test_a_certificate_that_nobody_vouches_for_is_refused(client_of, tls_peer):
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        client_of().call("POST", tls_peer, effect=True)


def test_the_peers_own_authority_can_be_named(client_of, tls_peer, server_certificate):
    assert client_of(ca_file=server_certificate).call("POST", tls_peer, effect=True).status == 204


def test_tls_files_that_cannot_be_used_are_a_mistake_of_the_configuration(client_of, tmp_path):
    with pytest.raises(ConfigError) as caught:
        client_of(ca_file=tmp_path / "missing.pem").call("GET", "https://127.0.0.1:1", effect=False)
    assert caught.value.code == "config.tls"
    assert caught.value.where == "axis: http"


@pytest.mark.parametrize("key", ["verify", "insecure", "verify_tls"])
def test_there_is_no_key_that_turns_certificate_checks_off(key):
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        HttpSettings(**{key: False})


# --- what is written down ---------------------------------------------------------------------------------------

CANARY = "canary-7f3a"


def everything_said(client, url, **arguments) -> str:
    """All texts that one failing or passing call leaves behind, tracebacks included."""
    said = []
    with recording() as records:
        try:
            client.call("POST", url, effect=True, **arguments)
        except LienthongError as problem:
            said += [*traceback.format_exception(problem), repr(problem), problem.text("vi"), repr(problem.facts)]
    assert records
    return "\n".join([*said, repr(records), repr(client)])


@pytest.mark.parametrize("behaviour", [answer(200), answer(400), answer(401), answer(500), answer(503), hang_up])
def test_secrets_and_contents_are_not_written_down(peer_of, client_of, behaviour):
    said = everything_said(
        client_of(),
        f"{peer_of(behaviour).url}/edoc?access_token={CANARY}",
        headers={"Authorization": f"Bearer {CANARY}", "X-Session": CANARY},
        params={"password": CANARY, "user": CANARY},
        body=f'{{"document": "{CANARY}"}}'.encode(),
    )
    assert CANARY not in said


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_secrets_in_an_answer_are_not_written_down(peer_of, client_of, status):
    body = json.dumps({"access_token": CANARY, "data": {"content": CANARY}}).encode()
    peer = peer_of(answer(status, body, Set_Cookie=f"session={CANARY}", Authorization=CANARY))
    assert CANARY not in everything_said(client_of(), peer.url)


def test_credentials_in_the_url_are_not_recorded(peer_of, client_of):
    url = peer_of(answer(200)).url.replace("://", f"://user:{CANARY}@")
    assert CANARY not in everything_said(client_of(), url)


def test_credentials_in_a_refused_url_are_not_shown(client_of):
    with pytest.raises(ConfigError) as caught:
        client_of().call("POST", f"http://user:{CANARY}@example.vn/", effect=True)
    assert "http://example.vn" in caught.value.text("vi")
    assert CANARY not in caught.value.text("en") + repr(caught.value.facts)


@pytest.mark.parametrize("end", ["\n", "\r\nX: 1", "\0", "ậ"])
def test_a_header_that_http_cannot_carry_is_not_quoted(peer_of, client_of, end):
    headers = {"Authorization": f"{CANARY}{end}"}
    assert CANARY not in everything_said(client_of(), peer_of(answer(200)).url, headers=headers)


@pytest.mark.parametrize("place", [f"https://user:{CANARY}@127.0.0.1:port/", f"https://127.0.0.1:port/?token={CANARY}"])
def test_an_address_that_is_none_is_not_quoted(client_of, place):
    assert CANARY not in everything_said(client_of(), place)


def test_a_cookie_in_a_header_line_that_is_none_is_not_quoted(peer_of, client_of):
    def garble(connection):
        connection.sendall(f"HTTP/1.1 200 OK\r\nSet-Cookie {CANARY}\r\n\r\n".encode())

    said = everything_said(client_of(), peer_of(garble).url)
    assert "illegal header line" in said
    assert CANARY not in said


def test_an_answer_does_not_show_its_contents():
    shown = repr(Answer(status=200, headers={"set-cookie": CANARY}, body=CANARY.encode(), effect=True, peer="axis"))
    assert "status=200" in shown
    assert CANARY not in shown


def test_the_logs_of_the_http_library_show_no_secrets(peer_of, client_of, caplog):
    caplog.set_level(logging.DEBUG)
    peer = peer_of(answer(200, Set_Cookie=CANARY))
    client_of().call("GET", f"{peer.url}/?token={CANARY}", effect=False, headers={"X-Session": CANARY})
    assert CANARY not in caplog.text


def test_only_declared_names_are_recorded_whatever_their_case(peer_of, client_of):
    peer = peer_of(answer(200, b'{"DocID": "7", "token": "x"}', ErrorCode="0", Set_Cookie="a=b"))
    visible = frozenset({"docid", "errorcode", "SystemId", "page"})
    with recording() as records:
        client_of().call(
            "POST", peer.url + "/send?page=2&k=x", effect=True, headers={"systemid": "VN"}, body=b"abc", visible=visible
        )
    (record,) = records
    assert record.url.endswith("/send?page=2&k=<hidden>")
    assert record.request_headers == {"systemid": "VN"}
    assert record.answer_headers == {"content-length": "28", "errorcode": "0"}
    assert record.answer == {"DocID": "7"}
    assert (record.method, record.status, record.request_bytes, record.answer_bytes) == ("POST", 200, 3, 28)
    assert record.at == "2026-03-02T08:30:00+07:00"


def test_every_try_is_recorded_with_what_came_of_it(peer_of, client_of):
    with recording() as records:
        client_of(tries=3).call("GET", peer_of(hang_up, answer(503), answer(200)).url, effect=False)
    assert [(record.status, record.error) for record in records] == [
        (None, "RemoteProtocolError"),
        (503, "peer.busy"),
        (200, ""),
    ]


def test_recording_ends_with_its_block(peer_of, client_of):
    with recording() as records:
        pass
    client_of().call("GET", peer_of(answer(200)).url, effect=False)
    assert records == []
