"""Timestamps by RFC 3161: asking the authorities for one, and believing it only after it was checked."""

# asn1crypto and parts of pyHanko have no type annotations:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from asn1crypto import algos, cms, core, tsp, x509
from pyhanko.sign.general import CMSExtractionError, extract_certificate_info, extract_signer_info
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from lienthong.config import TimestampAuthoritySettings
from lienthong.errors import PeerError, SigningError, Unavailable
from lienthong.http import HttpClient
from lienthong.signing.proof.pauses import Pauses
from lienthong.signing.verification.trust import TrustStore, find_chain

_IN_FLIGHT = 4
"""The public authority answers slowly, and more slowly the more requests it gets at a time."""
_SHORTEST_SECONDS = 0.1
_LONGEST_ANSWER = 256 * 1024
_GRANTED = frozenset({"granted", "granted_with_mods"})
_PASSING_TROUBLE = frozenset({"system_failure", "time_not_available"})
_DIGESTS = frozenset({"sha256", "sha384", "sha512"})


class _Response(core.Sequence):
    """RFC 3161's ``TimeStampResp``; a refusal has no token, which asn1crypto's own type does not allow."""

    _fields = [  # noqa: RUF012 (asn1crypto's way to declare a structure)
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


class UnfitToken(Exception):
    """A timestamp does not prove what it should; ``str()`` is a reason for people. Stays inside ``signing``."""


class TimestampAuthorities:
    """The configured authorities, asked in their order. Thread-safe; made once, so that pauses are kept."""

    def __init__(
        self,
        settings: Sequence[TimestampAuthoritySettings],
        http: HttpClient,
        trust: TrustStore,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = tuple(settings)
        self._http = http
        self._trust = trust
        self._pauses = Pauses(now)
        self._turns = threading.BoundedSemaphore(_IN_FLIGHT)

    def token(self, digest: bytes, algorithm: str = "sha256") -> bytes:
        """A checked timestamp of ``digest``: the DER of RFC 3161's ``TimeStampToken``.

        An authority that does not answer, or not what it was asked, is left alone for a while and the next one is
        asked; so this takes at most the sum of the configured ``seconds``.

        :raises Unavailable: nobody can answer now; ``retry_after`` says when the first may be asked again
        :raises SigningError: no authority is configured, or they refuse this request, or none of them is trusted
        """
        refusal = SigningError("sign.tsa-none")
        silent: list[str] = []
        for authority in self._settings:
            if self._pauses.seconds_left(authority.url):
                silent.append(f"{authority.url}: left alone after a failure")
                continue
            try:
                token = self._asked(authority, digest, algorithm)
            except SigningError as problem:
                refusal = problem
            except PeerError as problem:
                self._pauses.failed(authority.url)
                silent.append(f"{authority.url}: {_why(problem)}")
            else:
                self._pauses.answered(authority.url)
                return token
        if not silent:
            raise refusal
        wait = self._pauses.shortest(authority.url for authority in self._settings)
        raise Unavailable("sign.tsa-unavailable", reason="; ".join(silent), retry_after=max(wait, 1.0))

    def _asked(self, authority: TimestampAuthoritySettings, digest: bytes, algorithm: str) -> bytes:
        nonce = secrets.randbits(63)
        with self._turn(authority.seconds) as seconds:
            answer = self._http.call(
                "POST",
                authority.url,
                effect=False,
                headers={"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"},
                body=_query(digest, algorithm, nonce),
                deadline=seconds,
            )
        signed_data = _granted(answer.body, authority.url)
        try:
            info, certificate, others = read_token(signed_data, digest)
            if info["nonce"].native != nonce:
                raise UnfitToken("it answers another request")
        except UnfitToken as problem:
            raise Unavailable("sign.tsa-unavailable", where=authority.url, reason=str(problem)) from problem
        chain = find_chain(self._trust, certificate, others, info["gen_time"].native)
        if chain.problem:
            raise SigningError("sign.tsa-untrusted", where=authority.url, reason=chain.problem)
        token = cms.ContentInfo({"content_type": "signed_data", "content": signed_data})
        return bytes(token.dump())

    @contextmanager
    def _turn(self, seconds: float) -> Iterator[float]:
        """A place among the requests under way, waited for no longer than ``seconds``; gives what is left of them."""
        until = time.monotonic() + seconds
        if not self._turns.acquire(timeout=seconds):
            raise Unavailable("sign.tsa-unavailable", reason="too many requests of our own are waiting")
        try:
            yield max(until - time.monotonic(), _SHORTEST_SECONDS)
        finally:
            self._turns.release()


def read_token(
    signed_data: cms.SignedData, digest: bytes
) -> tuple[tsp.TSTInfo, x509.Certificate, tuple[x509.Certificate, ...]]:
    """What a token says, who signed it, and the certificates that came with it.

    Whether the signer leads to a root is not looked at here (``trust.find_chain``).

    :raises UnfitToken: it is not a timestamp of ``digest``, is not intact, or its signer may not sign timestamps
    """
    try:
        return _read(signed_data, digest)
    except UnfitToken:
        raise
    except Exception as problem:  # asn1crypto reads late and raises of every kind
        raise UnfitToken("it cannot be read") from problem


def _read(
    signed_data: cms.SignedData, digest: bytes
) -> tuple[tsp.TSTInfo, x509.Certificate, tuple[x509.Certificate, ...]]:
    content = signed_data["encap_content_info"]
    if content["content_type"].native != "tst_info":
        raise UnfitToken("it is not a timestamp")
    info: tsp.TSTInfo = content["content"].parsed
    imprint = info["message_imprint"]
    if imprint["hash_algorithm"]["algorithm"].native not in _DIGESTS:
        raise UnfitToken("its digest is weak")
    if imprint["hashed_message"].native != digest:
        raise UnfitToken("it is a timestamp of something else")
    try:
        signer_info, certificates = extract_signer_info(signed_data), extract_certificate_info(signed_data)
    except CMSExtractionError as problem:
        raise UnfitToken("it does not bring the certificate of its signer") from problem
    signer = certificates.signer_cert
    _require_intact(signer_info, signer, bytes(content["content"]))
    purposes = signer.extended_key_usage_value
    if purposes is None or purposes.native != ["time_stamping"]:
        raise UnfitToken("its signer's certificate is not for timestamps")
    if not isinstance(info["gen_time"].native, datetime):
        raise UnfitToken("it states no time")
    return info, signer, tuple(certificates.other_certs)


def _require_intact(signer_info: cms.SignerInfo, signer: x509.Certificate, content: bytes) -> None:
    """The signature, and that it names its own certificate (RFC 5816); both are in the signed attributes."""
    algorithm = signer_info["digest_algorithm"]["algorithm"].native
    if algorithm not in _DIGESTS:
        raise UnfitToken("its digest is weak")
    if not signer_info["signed_attrs"]:
        raise UnfitToken("it does not say what it signs")
    digest = hashlib.new(algorithm, content).digest()
    intact, valid = validate_sig_integrity(signer_info, signer, "tst_info", digest)
    if not (intact and valid):
        raise UnfitToken("its signature is broken")


def _why(problem: PeerError) -> str:
    status = problem.facts.get("status")
    return str(problem.facts.get("reason") or (f"HTTP {status}" if status else problem.code))


def _query(digest: bytes, algorithm: str, nonce: int) -> bytes:
    imprint = {"hash_algorithm": algos.DigestAlgorithm({"algorithm": algorithm}), "hashed_message": digest}
    query = {"version": 1, "message_imprint": imprint, "nonce": core.Integer(nonce), "cert_req": True}
    return bytes(tsp.TimeStampReq(query).dump())


def _granted(answer: bytes, url: str) -> cms.SignedData:
    """The token's content, when the authority gave one.

    :raises Unavailable: the answer is not one of RFC 3161, or the authority has trouble that passes
    :raises SigningError: the authority refuses
    """
    try:
        if len(answer) > _LONGEST_ANSWER:
            raise ValueError("too long")
        response = _Response.load(answer, strict=True)
        status = str(response["status"]["status"].native)
        refusals = set(response["status"]["fail_info"].native or ())
        words = " ".join([*sorted(refusals), *(response["status"]["status_string"].native or ())])[:300]
        if status in _GRANTED:
            token = response["time_stamp_token"]
            if token["content_type"].native != "signed_data":
                raise ValueError(token["content_type"].native)
            signed_data: cms.SignedData = token["content"]
            return signed_data
    except Exception as problem:  # asn1crypto raises of every kind
        reason = "not an answer of RFC 3161"
        raise Unavailable("sign.tsa-unavailable", where=url, reason=reason) from problem
    if status == "waiting" or refusals & _PASSING_TROUBLE:
        raise Unavailable("sign.tsa-unavailable", where=url, reason=f"{status} {words}")
    raise SigningError("sign.tsa-refused", where=url, reason=f"{status} {words}")
