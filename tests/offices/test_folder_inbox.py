"""What a drop folder receives: documents and statuses, each once and whole, where a clerk looks for them."""

from __future__ import annotations

import io
import json
import os
import secrets
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong import (
    Delivery,
    FileVerification,
    Organization,
    Part,
    PartRole,
    SignatureFinding,
    StatusCode,
    StatusReport,
    Unavailable,
    Verdict,
)
from lienthong.offices import folder

from .drops import acknowledge, drop, names, offered, root

# --- in: delivering -----------------------------------------------------------------------------------------------


@pytest.fixture
def delivery(document) -> Delivery:
    finding = SignatureFinding(field_name="S1", signer="UBND", verdict=Verdict.VALID)
    return Delivery(
        key="K1",
        message_id="M1",
        message=document,
        recipient="H53.01",
        open_part=lambda part: io.BytesIO(f"bytes of {part.name}".encode()),
        verification=(FileVerification(part="15.pdf", verdict=Verdict.VALID, signatures=(finding,)),),
        lines=("Có văn bản giấy gửi kèm.",),
        concerns_id="M0",
    )


def test_a_document_lies_in_a_folder_of_its_own(office, delivery):
    receipt = folder.deliver(office, delivery)
    assert (receipt.peer_id, receipt.settled) == ("K1", True)
    assert names(office, "inbox") == ["K1/15.pdf", "K1/van-ban.json"]
    assert (root(office) / "inbox" / "K1" / "15.pdf").read_bytes() == b"bytes of 15.pdf"


def test_the_metadata_says_what_a_clerk_and_a_program_need(office, delivery):
    folder.deliver(office, delivery)
    values = json.loads((root(office) / "inbox" / "K1" / "van-ban.json").read_text("utf-8"))
    assert (values["id"], values["concerns"], values["notes"]) == ("M1", "M0", ["Có văn bản giấy gửi kèm."])
    assert values["signatures"] == [{"part": "15.pdf", "verdict": "valid", "signers": ["UBND"]}]
    assert values["document"]["subject"] == delivery.message.subject


def test_the_same_key_twice_is_one_folder(office, delivery):
    folder.deliver(office, delivery)
    before = (root(office) / "inbox" / "K1").stat().st_ino
    assert folder.deliver(office, delivery) == folder.deliver(office, delivery)
    assert [path.stat().st_ino for path in (root(office) / "inbox").iterdir()] == [before]


def test_what_the_clerk_has_filed_away_is_not_delivered_again(office, delivery):
    folder.deliver(office, delivery)
    os.rename(root(office) / "inbox" / "K1", root(office) / "filed")
    folder.deliver(office, delivery)
    assert names(office, "inbox") == []


def test_half_a_document_is_never_seen_and_does_not_stop_the_next_try(office, delivery):
    def breaks_off(part):
        raise Unavailable("folder.unusable", reason="the store is not there")

    with pytest.raises(Unavailable):
        folder.deliver(office, replace(delivery, open_part=breaks_off))
    assert [path for path in (root(office) / "inbox").iterdir() if not path.name.startswith(".")] == []
    folder.deliver(office, delivery)
    assert names(office, "inbox") == ["K1/15.pdf", "K1/van-ban.json"]


def with_parts(delivery: Delivery, *given_names: str) -> Delivery:
    """A delivery of parts with these names; the bytes of each part are its number."""
    numbered = enumerate(given_names)
    values = {"role": PartRole.ATTACHMENT, "media_type": "application/pdf", "size": 1, "sha256": "0" * 64}
    parts = tuple(Part(**values, name=name, description=str(number)) for number, name in numbered)
    message = replace(delivery.message, parts=parts)
    return replace(delivery, message=message, open_part=lambda part: io.BytesIO(part.description.encode()))


@pytest.mark.parametrize(
    ("given_names", "found"),
    [
        (["a.pdf", "A.PDF", "a.pdf"], ["a.pdf", "A (2).PDF", "a (3).pdf"]),
        (["ị.pdf", "i\u0323.pdf"], ["ị.pdf", "i\u0323 (2).pdf"]),
        (["a (2).pdf", "a.pdf", "a.pdf"], ["a (2).pdf", "a.pdf", "a (3).pdf"]),
        (["van-ban.json", "Trang-Thai.json"], ["van-ban (2).json", "Trang-Thai (2).json"]),
        (["../../a.pdf", "phụ/lục.pdf", "C:\\x.pdf"], ["_.._a.pdf", "phụ_lục.pdf", "C__x.pdf"]),
        (["", ".", "\0"], ["tệp", "tệp (2)", "_"]),
        ([f"{'ệ' * 200}.pdf"], [f"{'ệ' * 83}.pdf"]),
    ],
)
def test_every_part_has_a_file_of_its_own_that_the_metadata_name(office, delivery, given_names, found):
    folder.deliver(office, with_parts(delivery, *given_names))
    place = root(office) / "inbox" / "K1"
    assert json.loads((place / "van-ban.json").read_text("utf-8"))["files"] == found
    assert [(place / name).read_text() for name in found] == [str(number) for number in range(len(found))]
    assert len(names(office, "inbox")) == len(found) + 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=4))
def test_whatever_the_sender_calls_its_files_all_arrive(office, delivery, given_names):
    key, twice = secrets.token_hex(8), [*given_names, *given_names]
    folder.deliver(office, replace(with_parts(delivery, *twice), key=key))
    assert len(names(office, f"inbox/{key}")) == len(twice) + 1


def test_a_full_disk_is_not_the_documents_fault(office, delivery):
    def no_space(part):
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left"):
        folder.deliver(office, replace(delivery, open_part=no_space))


def status_delivery(document, key="K2", code="03", peer_id="") -> Delivery:
    report = StatusReport(
        sender=Organization(code="H53.02", name="Sở Nội vụ"),
        about=document.reference(),
        code=StatusCode(code),
        at=datetime(2026, 3, 2, 3, 0, tzinfo=UTC),
        description="Đã tiếp nhận",
    )
    values = {"key": key, "message_id": "M2", "message": report, "recipient": "H53.01", "open_part": io.BytesIO}
    return Delivery(**values, concerns_peer_id=peer_id)


def statuses(place) -> list[dict]:
    return json.loads((place / "trang-thai.json").read_text("utf-8"))


def test_statuses_lie_beside_the_document_that_they_are_about(office, document):
    drop(office)
    (item,) = offered(office)
    acknowledge(office, item)
    for key, code in (("K2", "01"), ("K3", "03"), ("K3", "03")):
        folder.deliver(office, status_delivery(document, key, code, item.source_id))
    entries = statuses(root(office) / "sent" / item.source_id)
    assert [(entry["key"], entry["code"]) for entry in entries] == [("K2", "01"), ("K3", "03")]
    assert entries[0]["at"] == "2026-03-02T10:00:00+07:00"
    assert entries[0]["name"] == "Sở Nội vụ"


def test_a_recall_request_lies_beside_the_document_that_was_received(office, delivery, document):
    folder.deliver(office, delivery)
    folder.deliver(office, status_delivery(document, code="13", peer_id="K1"))
    assert statuses(root(office) / "inbox" / "K1")[0]["code"] == "13"


def test_a_status_about_nothing_that_is_here_is_still_kept(office, document):
    folder.deliver(office, status_delivery(document))
    assert statuses(root(office) / "sent" / "khac")[0]["document_id"] == document.document_id


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"[" * 5000, b"\xff\xfe"])
def test_what_an_editor_spoilt_is_set_aside_and_the_status_is_kept(office, document, content):
    place = root(office) / "sent" / "khac"
    place.mkdir()
    (place / "trang-thai.json").write_bytes(content)
    folder.deliver(office, status_delivery(document))
    assert [entry["key"] for entry in statuses(place)] == ["K2"]
    assert (place / "trang-thai.K2.hong").read_bytes() == content


def test_an_entry_that_somebody_added_by_hand_stays(office, document):
    place = root(office) / "sent" / "khac"
    place.mkdir()
    (place / "trang-thai.json").write_text('[{"note": "đã gọi điện"}]', "utf-8")
    folder.deliver(office, status_delivery(document))
    assert [entry.get("key") for entry in statuses(place)] == [None, "K2"]


# --- probe --------------------------------------------------------------------------------------------------------


def test_the_probe_looks_now(office, clock):
    probe = folder.probe(office)
    assert probe.usable
    assert probe.observed == clock()
