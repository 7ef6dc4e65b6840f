"""Files that were built to break a checker. None may crash it, hold it, or pass as signed and good."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong.errors import ContentError
from lienthong.model import Verdict
from lienthong.signing import pdf
from lienthong.signing.pdf import OutOfTime, within

from .workshop import pdf_of, sign

MANY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIGNED_MARK = b"% /ByteRange"


@pytest.fixture
def uncollected():
    """Hypothesis hooks into the garbage collector, where Python drops exceptions: a stop may get lost there."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def impatient(monkeypatch, uncollected):
    monkeypatch.setattr(pdf, "_SECONDS_FOR_ANY_FILE", 0.3)


def written(folder, content):
    path = folder / "hostile.pdf"
    path.write_bytes(content)
    return path


def table_that_points_to(offset):
    """A table whose ``/Prev`` leads to ``offset``, at offset 9."""
    trailer = b"trailer\n<</Size 1/Root 1 0 R/Prev %d>>\n" % offset
    return b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \n" + trailer + SIGNED_MARK + b"\nstartxref\n9\n%%EOF\n"


def deep(opening, closing, depth=50_000):
    return pdf_of([b"<</Type/Catalog/Pages 2 0 R/X " + opening * depth + closing * depth + b">>", SIGNED_MARK])


def fields_in_a_circle():
    form = b"<</Fields[3 0 R]>>"
    return pdf_of(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm " + form + b">>",
            b"<</Type/Pages/Kids[2 0 R]/Count 1>>",
            b"<</T(a)/Kids[4 0 R]>>",
            b"<</T(b)/Kids[3 0 R]/V 3 0 R/FT/Sig/Parent 3 0 R>>",
            b"(" + SIGNED_MARK + b")",
        ]
    )


def signature_field(value, extra=()):
    return pdf_of(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[3 0 R]>>>>",
            b"<</Type/Pages/Kids[]/Count 0>>",
            b"<</FT/Sig/T(S)/V 4 0 R>>",
            value,
            *extra,
        ]
    )


HOSTILE = {
    "a table that follows itself": table_that_points_to(9),
    "a table before the file": table_that_points_to(-5),
    "a table beyond the file": table_that_points_to(10**9),
    "deep arrays": deep(b"[", b"]"),
    "deep dictionaries": deep(b"<</A", b">>"),
    "fields in a circle": fields_in_a_circle(),
    "a signature that is a number": signature_field(b"7"),
    "a signature that is its own field": signature_field(b"4 0 R"),
    "a signature without range": signature_field(b"<</SubFilter/ETSI.CAdES.detached/Contents<00>>>"),
    "a signature with a wild range": signature_field(
        b"<</SubFilter/ETSI.CAdES.detached/Contents<3000>/ByteRange[0 -1 99999999999999999999 (x)]>>"
    ),
    "a catalogue that is missing": pdf_of([SIGNED_MARK], root=77),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_invalid_at_once(name, tmp_path, check):
    begin = time.monotonic()
    verification = check(written(tmp_path, HOSTILE[name]))
    assert verification.verdict in (Verdict.INVALID, Verdict.UNTRUSTED), verification
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_not_signed(name, tmp_path, agency):
    target = tmp_path / "out.pdf"
    with pytest.raises(ContentError):
        sign(written(tmp_path, HOSTILE[name]), target, agency)
    assert not target.exists()


def table_of_a_billion():
    """A compressed table that announces a billion entries and holds one."""
    table = (
        b"1 0 obj\n<</Type/XRef/Size 1000000000/W[1 2 1]/Root 1 0 R/Length 4>>\nstream\n\1\0\x09\0\nendstream\nendobj\n"
    )
    return b"%PDF-1.7\n" + table + SIGNED_MARK + b"\nstartxref\n9\n%%EOF\n"


def test_a_file_that_keeps_the_reader_busy_is_given_up(tmp_path, check, impatient):
    begin = time.monotonic()
    verification = check(written(tmp_path, table_of_a_billion()))
    assert verification.signatures[0].reasons == ("check-timeout",)
    assert verification.verdict is Verdict.INVALID
    assert time.monotonic() - begin < 5


def test_a_file_that_keeps_the_signer_busy_is_refused(tmp_path, agency, impatient):
    with pytest.raises(ContentError) as caught:
        sign(written(tmp_path, table_of_a_billion()), tmp_path / "out.pdf", agency)
    assert caught.value.code == "sign.pdf-too-slow"
    assert not (tmp_path / "out.pdf").exists()


def test_more_signatures_than_any_document_has_are_not_checked_one_by_one(tmp_path, check):
    numbers = range(4, 204)
    references = b" ".join(b"%d 0 R" % number for number in numbers)
    content = pdf_of(
        [
            b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[" + references + b"]>>>>",
            b"<</Type/Pages/Kids[]/Count 0>>",
            b"<</SubFilter/ETSI.CAdES.detached/Contents<00>/ByteRange[0 1 2 3]>>",
            *(b"<</FT/Sig/T(S%d)/V 3 0 R>>" % number for number in numbers),
        ]
    )
    verification = check(written(tmp_path, content))
    assert verification.signatures[0].reasons == ("too-many-signatures",)


@MANY
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_get_a_verdict(tmp_path, check, before, after):
    path = written(tmp_path, b"%PDF-1.7\n" + before + b"\nstartxref\n9\n%%EOF\n" + after)
    assert check(path).verdict in (Verdict.UNSIGNED, Verdict.INVALID)


@MANY
@given(data=st.data())
def test_a_signed_file_with_bytes_torn_out_or_doubled_gets_a_verdict_and_is_not_valid(data, signed, tmp_path, check):
    content = signed.read_bytes()
    start = data.draw(st.integers(0, len(content) - 2))
    end = data.draw(st.integers(start + 1, min(len(content) - 1, start + 3000)))
    torn = content[:start] + data.draw(st.sampled_from([b"", content[start:end] * 2])) + content[end:]
    assert check(written(tmp_path, torn)).verdict is not Verdict.VALID


# The limit on time


def test_work_within_its_time_gives_its_result_and_its_errors():
    assert within(5, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def forever():
    while True:
        try:
            sum(range(100))
        except Exception:
            continue


def test_work_that_never_ends_is_stopped_in_any_thread(uncollected):
    outcomes = []

    def work():
        try:
            within(0.05, forever)
        except OutOfTime:
            outcomes.append("stopped")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert outcomes == ["stopped"] * 3


def test_a_limit_stops_its_own_work_only(uncollected):
    def slow():
        with pytest.raises(OutOfTime):
            within(0.05, forever)
        return sum(range(1000))

    assert within(20, slow) == 499500


def test_nothing_watches_over_work_that_ended(uncollected):
    with pytest.raises(OutOfTime):
        within(0.05, forever)
    assert within(60, lambda: 1) == 1
    watchers = [thread for thread in threading.enumerate() if thread.name == "time-limit"]
    for watcher in watchers:
        watcher.join(timeout=5)
    assert not any(watcher.is_alive() for watcher in watchers)


def test_a_stop_in_the_last_moment_never_reaches_the_caller(uncollected):
    for _ in range(200):
        try:
            within(0.0005, lambda: sum(number for number in range(10_000)))
        except OutOfTime:
            continue
    assert sum(range(100_000)) == 4999950000
