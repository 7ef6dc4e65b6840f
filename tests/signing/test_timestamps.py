"""Asking authorities for timestamps: what is believed, and who is asked while one of them fails."""

from __future__ import annotations

import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import cms

from lienthong.config import TimestampAuthoritySettings
from lienthong.errors import SigningError, Unavailable
from lienthong.signing.proof.timestamps import TimestampAuthorities, UnfitToken, read_token
from lienthong.signing.verification.trust import TrustStore

from .authorities import Fault
from .proofs import real_time
from .workshop import code_of

DIGEST = hashlib.sha256(b"van ban").digest()


@pytest.fixture
def asking(authorities, authorities_http, clock):
    """Makes the client for authorities by label, or whole addresses."""
    clock.moment = real_time()

    def make(*labels: str, seconds: float = 20.0, trust: TrustStore | None = None) -> TimestampAuthorities:
        urls = [label if "://" in label else authorities.tsa(label) for label in labels]
        settings = [TimestampAuthoritySettings(url=url, seconds=seconds) for url in urls]
        return TimestampAuthorities(settings, authorities_http, trust or authorities.trust(), clock)

    return make


def token_of(der: bytes) -> cms.SignedData:
    return cms.ContentInfo.load(der)["content"]


def signer_of(der: bytes) -> str:
    _, signer, _ = read_token(token_of(der), DIGEST)
    return signer.subject.native["common_name"]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_timestamp_states_the_time_of_what_was_asked(asking, algorithm):
    digest = hashlib.new(algorithm, b"van ban").digest()
    info, signer, _ = read_token(token_of(asking("tsa").token(digest, algorithm)), digest)
    assert abs(info["gen_time"].native - datetime.now(UTC)) < timedelta(minutes=1)
    assert signer.extended_key_usage_value.native == ["time_stamping"]


# --- what is not believed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Fault.DOWN, Fault.GARBAGE, Fault.TAMPERED, Fault.WRONG_NONCE, Fault.WRONG_IMPRINT],
    ids=lambda fault: fault.name.lower(),
)
def test_what_does_not_hold_is_as_good_as_no_answer(asking, authorities, fault):
    with authorities.fault("tsa", fault):
        assert code_of(Unavailable, lambda: asking("tsa").token(DIGEST)) == "sign.tsa-unavailable"


def test_a_certificate_that_is_not_for_timestamps_makes_none(asking):
    with pytest.raises(Unavailable) as caught:
        asking("purposeless-tsa").token(DIGEST)
    assert "not for timestamps" in str(caught.value)


def test_an_authority_without_trusted_root_is_not_believed(asking):
    assert code_of(SigningError, lambda: asking("foreign-tsa").token(DIGEST)) == "sign.tsa-untrusted"


def test_without_roots_nobody_is_believed(asking):
    nothing = TrustStore(roots=())
    assert code_of(SigningError, lambda: asking("tsa", trust=nothing).token(DIGEST)) == "sign.tsa-untrusted"


def test_a_refusal_says_why(asking, authorities):
    with authorities.fault("tsa", Fault.REFUSED), pytest.raises(SigningError) as caught:
        asking("tsa").token(DIGEST)
    assert caught.value.code == "sign.tsa-refused"
    assert "bad_request hết hạn mức" in caught.value.text("vi")


def test_a_token_is_of_one_digest_only(asking):
    token = token_of(asking("tsa").token(DIGEST))
    with pytest.raises(UnfitToken, match="something else"):
        read_token(token, hashlib.sha256(b"van ban khac").digest())


@pytest.mark.parametrize("content", [b"\x30\x00", b"\x30\x03\x02\x01\x05", b"\x30\x80\x00\x00"])
def test_what_is_not_a_token_is_unfit(content):
    with pytest.raises(UnfitToken):
        read_token(cms.SignedData.load(content), DIGEST)


def test_no_change_of_what_a_token_says_goes_unnoticed(asking):
    der = asking("tsa").token(DIGEST)
    said = read_token(token_of(der), DIGEST)[0].dump()
    believed = 0
    for position in range(0, len(der), 5):
        changed = bytearray(der)
        changed[position] ^= 1
        with contextlib.suppress(UnfitToken, ValueError, TypeError):
            assert read_token(token_of(bytes(changed)), DIGEST)[0].dump() == said
            believed += 1
    assert believed < len(der) / 5 / 2


# --- who is asked -------------------------------------------------------------------------------------------------


def test_without_an_authority_there_is_no_timestamp(asking):
    assert code_of(SigningError, lambda: asking().token(DIGEST)) == "sign.tsa-none"


@pytest.mark.parametrize("fault", [Fault.DOWN, Fault.GARBAGE, Fault.REFUSED], ids=lambda fault: fault.name.lower())
def test_the_next_one_stands_in(asking, authorities, fault):
    with authorities.fault("tsa", fault):
        assert signer_of(asking("tsa", "second-tsa").token(DIGEST)) == "Thử nghiệm second-tsa"


def test_an_authority_that_is_not_there_costs_little(asking):
    assert signer_of(asking("http://127.0.0.1:9/", "tsa").token(DIGEST)) == "Thử nghiệm tsa"


def test_a_slow_one_is_waited_for_once_and_then_left_alone(asking, authorities, clock):
    authority = asking("tsa", "second-tsa", seconds=0.5)
    with authorities.fault("tsa", Fault.SLOW):
        authority.token(DIGEST)
        asked = authorities.requests["tsa"]
        assert signer_of(authority.token(DIGEST)) == "Thử nghiệm second-tsa"
        assert authorities.requests["tsa"] == asked
    clock.advance(6)
    assert signer_of(authority.token(DIGEST)) == "Thử nghiệm tsa"


def test_the_pause_grows_while_the_trouble_lasts_and_ends_with_it(asking, authorities, clock):
    authority = asking("tsa")
    pauses = []
    with authorities.fault("tsa", Fault.DOWN):
        for _ in range(8):
            with pytest.raises(Unavailable) as caught:
                authority.token(DIGEST)
            pauses.append(caught.value.retry_after)
            clock.advance(pauses[-1])
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    authority.token(DIGEST)
    with authorities.fault("tsa", Fault.DOWN), pytest.raises(Unavailable) as caught:
        authority.token(DIGEST)
    assert caught.value.retry_after == 5


def test_all_silent_says_when_the_first_may_be_asked_again(asking, authorities, clock):
    authority = asking("tsa", "second-tsa")
    with authorities.fault("tsa", Fault.DOWN):
        authority.token(DIGEST)
        clock.advance(2)
        with authorities.fault("second-tsa", Fault.DOWN), pytest.raises(Unavailable) as caught:
            authority.token(DIGEST)
    assert caught.value.retry_after == 3
    assert "left alone" in str(caught.value)


def test_four_requests_are_under_way_at_most(asking, authorities):
    authority = asking("tsa")
    authorities.most_at_once["tsa"] = 0
    with ThreadPoolExecutor(12) as threads:
        tokens = list(threads.map(lambda _: authority.token(DIGEST), range(24)))
    assert len(tokens) == 24
    assert 1 <= authorities.most_at_once["tsa"] <= 4
