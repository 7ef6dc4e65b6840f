"""A public key infrastructure that answers: OCSP, CRL and timestamps on a real socket, and the ways in which they fail.

    root ── ca ── the signers, tsa, second-tsa, purposeless-tsa
      ├──── revoked-ca (revoked) ── below-revoked-ca
      ├──── quiet-ca ── silent
      └──── careful-ca ── careful
    foreign-root ── foreign, foreign-tsa

Certificates and answers are certomancer's. Every certificate names an OCSP responder and a list of revoked
certificates, except ``silent``, which names neither. The responder of ``careful-ca`` may itself be revoked. The world
is valid around ``now``, the real time when it was made, so that servers, certificates and the code under test agree;
``moment`` sets another time for the servers.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from asn1crypto import core, ocsp, pem, tsp
from certomancer.integrations.animator import FAKE_TIME_HEADER, Animator, AnimatorArchStore
from certomancer.registry import ArchLabel, CertLabel, CertomancerConfig
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from lienthong.signing.verification.trust import TrustStore, load_trust
from lienthong_conformance.pki import PASSWORD, KeyFile

AGENCY_NAME = "Ủy ban nhân dân huyện An Lạc"
PERSON_NAME = "Nguyễn Văn An"
_LABEL = "world"
_A_MONTH = timedelta(days=30)
_TSAS = ("tsa", "second-tsa", "foreign-tsa", "purposeless-tsa")


class Fault(StrEnum):
    """What a service does wrong."""

    DOWN = "503"
    SLOW = "no answer until the fault is over"
    STALE = "an answer of a month ago"
    GARBAGE = "200 and not ASN.1"
    TAMPERED = "its signature is broken"
    PEM = "text instead of DER"
    REFUSED = "a well-formed no"
    WRONG_NONCE = "the answer to another request"
    WRONG_IMPRINT = "an answer about something else"


def _entity(label: str) -> dict[str, str]:
    if label in ("agency", "weak", "weak-digest"):
        identity = {"user-id": "MST:0100000001", "organization-identifier": "000.00.01.H53"}
        return {"organization-name": AGENCY_NAME, "common-name": AGENCY_NAME, **identity}
    if label == "person":
        return {"organization-name": AGENCY_NAME, "common-name": PERSON_NAME, "user-id": "CCCD:001080000001"}
    return {"common-name": f"Thử nghiệm {label}"}


def _authority(issuer: str, service: str | None, **more: Any) -> dict[str, Any]:
    params = {"crl-repo": service, "ocsp-service": service} if service else {}
    return {"issuer": issuer, "profiles": [{"id": "simple-ca", "params": params}], **more}


def _server(issuer: str, *purposes: str) -> dict[str, Any]:
    usage = {"schema": "key-usage", "params": ["digital_signature"]}
    extensions: list[dict[str, Any]] = [{"id": "key_usage", "critical": True, "smart-value": usage}]
    if purposes:
        extensions.append({"id": "extended_key_usage", "critical": True, "value": list(purposes)})
    return {"issuer": issuer, "extensions": extensions}


def _certificates(now: datetime) -> dict[str, dict[str, Any]]:
    """The specification of every certificate, by label; each has a key of its own."""

    def period(begin: timedelta, end: timedelta) -> dict[str, str]:
        return {"valid-from": str(now + begin), "valid-to": str(now + end)}

    day, long_ago, far = timedelta(days=1), timedelta(days=-400), timedelta(days=3650)
    revoked = {"revoked-since": str(now - day), "reason": "key_compromise"}
    signer = {"issuer": "ca", "profiles": ["digsig-commitment"]}
    specifications = {
        "root": _authority("root", "root"),
        "ca": _authority("root", "ca"),
        "revoked-ca": _authority("root", "revoked-ca", revocation=revoked),
        "quiet-ca": _authority("root", None),
        "careful-ca": _authority("root", "careful"),
        "foreign-root": _authority("foreign-root", "foreign"),
        "root-ocsp": {"issuer": "root", "profiles": ["ocsp-responder"]},
        "ca-ocsp": {"issuer": "ca", "profiles": ["ocsp-responder"]},
        "revoked-ca-ocsp": {"issuer": "revoked-ca", "profiles": ["ocsp-responder"]},
        "careful-ocsp": _server("careful-ca", "ocsp_signing"),
        "foreign-ocsp": {"issuer": "foreign-root", "profiles": ["ocsp-responder"]},
        "tsa": _server("ca", "time_stamping"),
        "second-tsa": _server("ca", "time_stamping"),
        "foreign-tsa": _server("foreign-root", "time_stamping"),
        "purposeless-tsa": _server("ca"),
        "agency": signer,
        "person": signer,
        "elliptic": signer,
        "expired": signer | {"validity": period(long_ago, -day)},
        "not_yet": signer | {"validity": period(day, far)},
        "revoked": signer | {"revocation": revoked},
        "revoked_later": signer | {"revocation": revoked | {"revoked-since": str(now + day)}},
        "wrong_usage": _server("ca", "server_auth"),
        "weak": signer,
        "weak_digest": signer | {"digest-algo": "sha1"},
        "silent": signer | {"issuer": "quiet-ca"},
        "careful": signer | {"issuer": "careful-ca"},
        "foreign": signer | {"issuer": "foreign-root"},
        "below_revoked_ca": signer | {"issuer": "revoked-ca"},
    }
    always = {"validity": period(long_ago, far)}
    return {label: always | specification for label, specification in specifications.items()}


def _services() -> dict[str, Any]:
    issuers = {"root": "root", "ca": "ca", "revoked-ca": "revoked-ca", "careful": "careful-ca"}
    issuers |= {"foreign": "foreign-root"}
    return {
        "ocsp": {name: {"for-issuer": ca, "responder-cert": f"{name}-ocsp"} for name, ca in issuers.items()},
        "crl-repo": {name: {"for-issuer": ca, "simulated-update-schedule": "P1D"} for name, ca in issuers.items()},
        "time-stamping": {name: {"signing-cert": name} for name in _TSAS},
    }


class Authorities:
    """The served world. ``folder`` takes the keys; ``close`` ends the server."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.moment: datetime | None = None
        # How often each service was asked, and the most requests that it had at a time.
        self.requests: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._folder = folder
        self._faults: dict[str, tuple[Fault, threading.Event]] = {}
        self._turn = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Silent)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._world = self._made()
        self._animator = Animator(AnimatorArchStore(self._world.pki_archs), with_web_ui=False)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- certificates and keys ------------------------------------------------------------------------------------

    def certificate(self, label: str) -> bytes:
        with self._turn:
            return bytes(self._architecture.get_cert(CertLabel(label)).dump())

    def key(self, label: str) -> KeyFile:
        """A PKCS#12 file with the key, its certificate and the chain above it."""
        certificate, path = self.certificate(label), self._folder / f"{label}.p12"
        with self._turn:
            if not path.exists():
                path.touch(mode=0o600)
                path.write_bytes(self._architecture.package_pkcs12(CertLabel(label), password=PASSWORD.encode()))
        return KeyFile(path=path, password=PASSWORD, certificate=certificate)

    @property
    def roots(self) -> Path:
        return self._pem("root")

    @property
    def foreign_roots(self) -> Path:
        return self._pem("foreign-root")

    @property
    def intermediates(self) -> Path:
        return self._pem("ca", "revoked-ca", "quiet-ca", "careful-ca")

    def trust(self) -> TrustStore:
        return load_trust([self.roots], [self.intermediates])

    # --- services -------------------------------------------------------------------------------------------------

    @property
    def tsa_url(self) -> str:
        return self.tsa("tsa")

    def tsa(self, label: str) -> str:
        """The address of ``tsa``, ``second-tsa``, ``foreign-tsa`` or ``purposeless-tsa``."""
        return f"{self.url}/{_LABEL}/tsa/{label}"

    @contextlib.contextmanager
    def fault(self, service: str, fault: Fault) -> Iterator[None]:
        """Inside, a service (``ocsp``, ``crl``, or a timestamp authority by its label) does this wrong."""
        over = threading.Event()
        self._faults[service] = (fault, over)
        try:
            yield
        finally:
            del self._faults[service]
            over.set()

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Any:
        kind, label = environ["PATH_INFO"].split("/")[2:4]
        service = {"crls": "crl", "tsa": label}.get(kind, kind)
        with self._turn:
            self.requests[service] += 1
            self._in_flight[service] += 1
            self.most_at_once[service] = max(self.most_at_once[service], self._in_flight[service])
        try:
            return self._answered(kind, service, environ)(environ, start_response)
        finally:
            with self._turn:
                self._in_flight[service] -= 1

    def _answered(self, kind: str, service: str, environ: dict[str, Any]) -> Any:
        fault, over = self._faults.get(service, (None, threading.Event()))
        if fault is Fault.SLOW:
            over.wait(60)
        # Whole seconds: RFC 6960 knows no fractions, and certomancer would state some.
        moment = self.now - _A_MONTH if fault is Fault.STALE else self.moment or datetime.now(UTC)
        environ["HTTP_" + FAKE_TIME_HEADER.upper().replace("-", "_")] = moment.replace(microsecond=0).isoformat()
        request = Request(environ)
        if fault is Fault.WRONG_NONCE or fault is Fault.WRONG_IMPRINT:
            request = _another_request(kind, fault, environ)
        with self._turn:
            response = self._animator.dispatch(request)
        return _spoilt(response, fault, kind)

    # --- making ---------------------------------------------------------------------------------------------------

    @property
    def _architecture(self) -> Any:
        return self._world.get_pki_arch(ArchLabel(_LABEL))

    def _made(self) -> CertomancerConfig:
        specifications = _certificates(self.now)
        for label in specifications:
            (self._folder / f"{label}.pem").write_bytes(_private_key(label))
        architecture = {
            "keyset": "keys",
            "entities": {label: _entity(label) for label in specifications},
            "entity-defaults": {"country-name": "VN"},
            "certs": specifications,
            "services": _services(),
        }
        config = {
            "external-url-prefix": self.url,
            "keysets": {"keys": {"keys": {label: {"path": f"{label}.pem"} for label in specifications}}},
            "pki-architectures": {_LABEL: architecture},
        }
        return CertomancerConfig(config, key_search_dir=str(self._folder))

    def _pem(self, *labels: str) -> Path:
        path = self._folder / f"{'-'.join(labels)}-certificates.pem"
        path.write_bytes(b"".join(pem.armor("CERTIFICATE", self.certificate(label)) for label in labels))
        return path


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:
        """Nobody reads the requests of a test."""


class _Refusal(core.Sequence):
    """``TimeStampResp`` without a token, which asn1crypto's own type does not allow."""

    _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012


@cache
def _private_key(label: str) -> bytes:
    """Servers have elliptic keys: certomancer reads a key anew for every signature, and RSA keys take long to read."""
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if label.endswith(("-ocsp", "tsa")) or label == "elliptic":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=1024 if label == "weak" else 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _another_request(kind: str, fault: Fault, environ: dict[str, Any]) -> Request:
    """What the service is asked instead of what the client asked."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    if kind == "tsa":
        asked = tsp.TimeStampReq.load(body)
        if fault is Fault.WRONG_NONCE:
            asked["nonce"] = core.Integer(4711)
        else:
            asked["message_imprint"]["hashed_message"] = os.urandom(32)
    else:
        asked = ocsp.OCSPRequest.load(body)
        entry = asked["tbs_request"]["request_list"][0]["req_cert"]
        entry["serial_number"] = 0x1000
    return Request.from_values(environ["PATH_INFO"], method="POST", data=asked.dump(force=True))


def _spoilt(response: Any, fault: Fault | None, kind: str) -> Any:
    if fault is Fault.DOWN:
        return Response("busy", status=503)
    if fault is Fault.GARBAGE:
        return Response(b"<html>no</html>", mimetype="application/octet-stream")
    if fault is Fault.PEM:
        return Response(pem.armor("X509 CRL", response.get_data()), mimetype="application/x-pem-file")
    if fault is Fault.TAMPERED:
        content = response.get_data()
        return Response(content[:-1] + bytes([content[-1] ^ 1]), mimetype=response.mimetype)
    if fault is Fault.REFUSED and kind == "tsa":
        status = {"status": "rejection", "status_string": ["hết hạn mức"], "fail_info": {"bad_request"}}
        return Response(_Refusal({"status": status}).dump(), mimetype="application/timestamp-reply")
    if fault is Fault.REFUSED:
        return Response(ocsp.OCSPResponse({"response_status": "try_later"}).dump())
    return response
