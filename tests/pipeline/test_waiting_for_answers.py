"""A received document waits a while for the authorities that say whether a certificate was revoked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lienthong import FileVerification, SignatureFinding, Unavailable, Verdict
from lienthong.config import TrustSettings
from lienthong.pipeline.incoming import _wait_for_answers


def waited(hours: float, reason: str) -> None:
    finding = SignatureFinding(field_name="S", signer="UBND", verdict=Verdict.UNTRUSTED, reasons=(reason,))
    file = FileVerification(part="15.pdf", verdict=Verdict.UNTRUSTED, signatures=(finding,))
    adapter = SimpleNamespace(
        seconds=lambda: hours * 3600, config=SimpleNamespace(trust=TrustSettings(revocation_wait_hours=24))
    )
    _wait_for_answers(adapter, SimpleNamespace(created_at=0.0), [file])  # type: ignore[arg-type]


def test_it_is_asked_again_while_the_time_lasts():
    with pytest.raises(Unavailable) as caught:
        waited(23, "revocation-unreachable")
    assert caught.value.code == "received.revocation-unreachable"
    assert "UBND" in caught.value.text("vi")


def test_then_it_goes_on_undecided():
    waited(25, "revocation-unreachable")


def test_other_reasons_are_not_waited_for():
    waited(0, "revocation-unknown")
