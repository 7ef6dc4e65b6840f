"""Damaged packets: each is read or refused, in bounded time and memory, and leaves nothing behind."""

from __future__ import annotations

import os
import random
import time

import pytest

from . import fuzz
from .fuzz import GROWTH_MB, case, described, originals
from .mutators import BYTES, MOST_BYTES, PAYLOADS, TOKENS, mutated

NIGHTLY = os.environ.get("LIENTHONG_NIGHTLY")


def assert_clean(report: fuzz.Report) -> None:
    told = described(report, fuzz.SEED, 1.0)
    assert report.findings == [], told
    assert report.growth < GROWTH_MB, told


def test_5000_damaged_packets_are_read_or_refused_and_nothing_else():
    report = fuzz.fuzz(mutations=5000, processes=2)
    assert_clean(report)
    assert report.read == len(originals()) + 5000
    # A mutator that only broke the XML would prove little.
    assert report.outcomes["message"] > 500
    assert len(report.outcomes) > 12


@pytest.mark.skipif(not NIGHTLY, reason="a nightly run: set LIENTHONG_NIGHTLY=1")
@pytest.mark.timeout(4 * 3600)
def test_200000_damaged_packets_are_read_or_refused_and_nothing_else():
    assert_clean(fuzz.fuzz(mutations=200_000, processes=os.cpu_count() or 1))


def test_a_case_is_always_the_same_bytes():
    assert case(7, 4711) == case(7, 4711)
    assert case(7, 4711) != case(8, 4711)
    assert case(7, 0) == originals()[0]


@pytest.mark.parametrize("mutator", [*BYTES, *TOKENS, *PAYLOADS])
def test_every_mutator_changes_packets_and_takes_any_bytes(mutator):
    packets = [packet for packet in originals() if b"PK" in packet or b"UEsD" in packet]
    changed = [mutator(packet, random.Random(seed)) != packet for seed, packet in enumerate(packets * 5)]
    assert sum(changed) > len(changed) / 3
    for scrap in (b"", b"<", b"<a>", b">UEsDBAAAAAAAAAAAAAAAAAAAAAAA<", b"\xff\x00"):
        assert isinstance(mutator(scrap, random.Random(1)), bytes)


def test_damage_does_not_grow_without_bounds():
    chance = random.Random(3)
    packet = b"<a>" + b"12" * MOST_BYTES
    assert len(mutated(packet, packet, chance)) <= MOST_BYTES


# --- what would be found, is found --------------------------------------------------------------------------------

CULPRIT = 5


def _is_culprit(packet: bytes) -> bool:
    return packet == case(fuzz.SEED, CULPRIT)


def never_ends(packet, folder):
    while _is_culprit(packet):
        pass
    return "read"


def ends_the_process(packet, folder):
    if _is_culprit(packet):
        os._exit(3)
    return "read"


def fails(packet, folder):
    if _is_culprit(packet):
        raise KeyError("organ")
    return "read"


def forgets_to_close(packet, folder):
    if _is_culprit(packet):
        os.open(folder, os.O_RDONLY)
    return "read"


def is_slow(packet, folder):
    started = time.process_time()
    while _is_culprit(packet) and time.process_time() - started < 2.2:
        pass
    return "read"


@pytest.mark.parametrize(
    ("judge", "what"),
    [
        (never_ends, "is still not read after 1 s"),
        (ends_the_process, "ends the process"),
        (fails, "KeyError: 'organ' (test_mutations.py:"),
        (forgets_to_close, "leaves a file open"),
        (is_slow, "took 2.2 s"),
    ],
)
def test_a_bad_read_is_found_and_its_case_is_named(judge, what, monkeypatch):
    if judge is never_ends:
        monkeypatch.setattr(fuzz, "HANGING_SECONDS", 1.0)
    (finding,) = fuzz.fuzz(mutations=1, processes=1, judge=judge).findings
    assert finding.number == CULPRIT
    assert finding.what.startswith(what)
