"""Two adapters with drop folders over one axis: everything that the law asks to be exchanged, as clerks see it."""

from __future__ import annotations

import hashlib
import json

import pytest

from lienthong import Business, Change, DocumentReference, Part, PartRole, Replacement
from lienthong.daemon import Daemon
from lienthong_conformance.simulators.axis import Fault, FaultKind

from .town import TODAY, A, B, C, Town, await_condition, document_by_hand, document_id, letter


def sent_and_arrived(town: Town, number: str = "12", **more: object) -> dict:
    """A sends a document that B receives; returns what B's clerk sees."""
    town.a.drop(number, **more)
    town.run()
    return next(item for item in town.b.received() if item["document"]["number"] == number)


def main_part(content: bytes, name: str = "vb.pdf") -> Part:
    digest = hashlib.sha256(content).hexdigest()
    return Part(role=PartRole.MAIN, name=name, media_type="application/pdf", size=len(content), sha256=digest)


def by_hand(town: Town, number: str, content: bytes, **more: object) -> None:
    """C sends a document with one file, with its own software."""
    town.send_by_hand(document_by_hand(number, parts=(main_part(content),), **more), {"vb.pdf": content})


def test_a_document_with_attachments_reaches_every_recipient_once(town: Town) -> None:
    files = {"cv.pdf": letter("main"), "phụ lục.docx": b"PK not really a docx", "bảng.pdf": letter("table")}
    seen = sent_and_arrived(town, to=(B.code, C.code), files=files, subject="V/v họp giao ban")
    folder = town.b.inbox()[0]
    assert [part["name"] for part in seen["document"]["parts"]] == ["cv.pdf", "phụ lục.docx", "bảng.pdf"]
    assert (folder / "phụ lục.docx").read_bytes() == b"PK not really a docx"
    assert seen["document"]["subject"] == "V/v họp giao ban"
    assert [town.on_the_axis("12", code) for code in (B.code, C.code)] == [(1, 1), (1, 0)]


def test_every_pdf_leaves_with_the_agencys_valid_signature(town: Town) -> None:
    seen = sent_and_arrived(town, files={"cv.pdf": letter("main"), "bảng.pdf": letter("table")})
    assert {s["part"]: s["verdict"] for s in seen["signatures"]} == {"cv.pdf": "valid", "bảng.pdf": "valid"}
    assert all(A.name in signer for s in seen["signatures"] for signer in s["signers"])
    assert "giá trị pháp lý tương đương" in " ".join(seen["notes"])


def test_status_01_comes_back_by_itself(town: Town) -> None:
    sent_and_arrived(town)
    assert town.a.statuses_of("12") == ["01"]


def test_later_statuses_of_the_office_come_back_in_order(town: Town) -> None:
    seen = sent_and_arrived(town)
    for code in ("03", "04", "05", "06"):
        town.b.report(seen["id"], code, f"bước {code}", staff="Lê Văn B")
        town.run()
    assert town.a.statuses_of("12") == ["01", "03", "04", "05", "06"]
    entry = json.loads(next(town.a.folder.glob("sent/*/trang-thai.json")).read_text("utf-8"))[-1]
    assert (entry["from"], entry["description"], entry["staff"]) == (B.code, "bước 06", "Lê Văn B")


def test_a_refusal_comes_back_with_its_reason(town: Town) -> None:
    seen = sent_and_arrived(town)
    town.b.report(seen["id"], "02", "Gửi nhầm nơi nhận")
    town.run()
    assert town.a.statuses_of("12") == ["01", "02"]
    assert "Gửi nhầm nơi nhận" in next(town.a.folder.glob("sent/*/trang-thai.json")).read_text("utf-8")


def test_a_status_out_of_order_is_refused_to_the_office_and_not_sent(town: Town) -> None:
    seen = sent_and_arrived(town)
    town.b.report(seen["id"], "06")
    town.run()
    assert town.a.statuses_of("12") == ["01"]
    assert "không thể theo sau 01" in next(town.b.folder.glob("status/rejected/*.ly-do.txt")).read_text("utf-8")


@pytest.mark.parametrize("answer", ["15", "16"])
def test_a_recall_by_status_13_is_shown_and_answered(town: Town, answer: str) -> None:
    seen = sent_and_arrived(town)
    town.a.report(document_id("12"), "13", "Nhầm số liệu", to=B.code)
    town.run()
    assert town.b.statuses_of("12", place="inbox") == ["13"]
    town.b.report(seen["id"], answer, "Đã xem")
    town.run()
    assert town.a.statuses_of("12") == ["01", answer]
    assert town.b.inbox(), "the recalled document is still there: only a person takes it away"


@pytest.mark.parametrize("answer", ["15", "16"])
def test_a_recall_by_document_is_shown_with_its_line_and_answered(town: Town, answer: str) -> None:
    seen = sent_and_arrived(town)
    town.a.drop("12", name="thu-hoi", business="recall", reason="Nhầm số liệu", concerns=document_id("12"))
    town.run()
    recall = town.b.received()[-1]
    assert recall["concerns"] == seen["id"]
    assert any("YÊU CẦU THU HỒI" in note and "Nhầm số liệu" in note for note in recall["notes"])
    town.b.report(seen["id"], answer, "Đã xem")
    town.run()
    assert answer in town.a.statuses_of("12")


@pytest.mark.parametrize(("business", "line"), [("update", "CẬP NHẬT"), ("replace", "THAY THẾ")])
def test_a_change_is_carried_and_shown_and_never_applied(town: Town, business: str, line: str) -> None:
    first = sent_and_arrived(town)
    before = {path.name: path.read_bytes() for path in town.b.inbox()[0].iterdir()}
    town.a.drop("13", business=business, reason="Đính chính", concerns=document_id("12"))
    town.run()
    changed = town.b.received()[-1]
    assert changed["concerns"] == first["id"]
    assert any(line in note and "Đính chính" in note for note in changed["notes"])
    assert {path.name: path.read_bytes() for path in town.b.inbox()[0].iterdir()} == before


def test_a_reply_names_the_document_that_it_answers(town: Town) -> None:
    sent_and_arrived(town)
    answered = {"organ": A.code, "code": "12/UBND-VX", "date": f"{TODAY}", "document_id": document_id("12")}
    town.b.drop("99", to=(A.code,), responds_to=[answered])
    town.run()
    (reply,) = town.a.received()
    assert reply["document"]["responds_to"][0]["document_id"] == document_id("12")
    assert reply["document"]["responds_to"][0]["code"] == "12/UBND-VX"


@pytest.mark.parametrize("by", ["document_id", "code and date"])
def test_a_status_finds_its_document(town: Town, by: str) -> None:
    town.a.drop("12", to=(C.code,))
    town.run()
    known = {"document_id": document_id("12")} if by == "document_id" else {"promulgated": TODAY}
    town.status_by_hand("03", DocumentReference(organ=A.code, code="12/UBND-VX", **known))
    town.run()
    assert len(list(town.a.folder.glob("sent/vb-12-*/trang-thai.json"))) == 1


def test_a_status_that_comes_before_its_document_waits_and_is_joined(town: Town) -> None:
    town.status_by_hand("03", DocumentReference(organ=A.code, code="12/UBND-VX", document_id=document_id("12")))
    town.run(lambda: town.a.messages(state="unmatched"))
    assert town.a.messages(state="unmatched")[0].ack in ("due", "done"), "it is safe here, so the axis may forget it"
    town.a.drop("12", to=(C.code,))
    town.run(lambda: town.a.statuses_of("12") == ["03"])
    assert town.on_the_axis("12", A.code, "03", C.code) == (1, 1)


def test_a_listing_that_names_items_twice_gives_one_folder(town: Town) -> None:
    town.axis.script(Fault(kind=FaultKind.DUPLICATE_LISTING, match={"operation": "getReceivedEdocList"}, times=9))
    sent_and_arrived(town)
    assert len(town.b.inbox()) == 1
    assert town.a.statuses_of("12") == ["01"]


def test_the_same_packet_under_two_axis_ids_gives_one_folder(town: Town) -> None:
    for _ in range(2):
        by_hand(town, "7", letter("same"))
    town.run()
    assert len(town.b.inbox()) == 1
    assert town.on_the_axis("7", B.code, "0", C.code) == (2, 2), "both are acknowledged, so neither comes again"
    assert town.on_the_axis("7", C.code, "01", B.code) == (1, 0), "and answered once"


def test_another_content_under_the_same_id_waits_for_a_person(town: Town) -> None:
    by_hand(town, "7", letter("first"))
    town.run()
    by_hand(town, "7", letter("second"))
    town.run()
    assert len(town.b.inbox()) == 1
    assert [row.reason for row in town.b.messages(state="quarantined")] == ["received.same-id-other-content"]


def test_what_was_changed_on_the_way_is_held_and_refused(town: Town) -> None:
    town.axis.script(Fault(kind=FaultKind.TAMPER, match={"operation": "getEdoc", "messagetype": "edoc"}))
    town.a.drop("12")
    town.run()
    assert town.b.inbox() == []
    assert [row.reason for row in town.b.messages(state="quarantined")] == ["received.signature-broken"]
    assert town.a.statuses_of("12") == ["02"]


@pytest.mark.parametrize("marked", [{"secrecy": "mật"}, {"subject": "(TỐI MẬT) kế hoạch KIMQUY"}])
def test_a_state_secret_leaves_no_trace(town: Town, marked: dict, capfd: pytest.CaptureFixture[str]) -> None:
    subject = {"subject": "kế hoạch KIMQUY"}
    town.a.drop("12", files={"k.pdf": b"%PDF-1.7 RUONGLUA"}, **(subject | marked))
    town.run()
    assert "dấu mật" in town.a.rejected()
    assert town.axis.audit() == []
    kept = b"".join(path.read_bytes() for path in (town.a.config.parent / "data").rglob("*") if path.is_file())
    said = "".join(capfd.readouterr())
    assert not any(word in kept or word.decode() in said for word in (b"RUONGLUA", b"KIMQUY"))


def test_an_unknown_recipient_is_refused_before_anything_is_sent(town: Town) -> None:
    town.a.drop("12", to=(B.code, "000.99.99.H99"))
    town.run()
    assert "000.99.99.H99" in town.a.rejected()
    assert town.axis.audit() == []


def test_urgent_documents_go_first(town: Town) -> None:
    for number, priority in (("1", "thuong"), ("2", "khan"), ("3", "hoa-toc")):
        town.a.drop(number, priority=priority)
    town.run(desks=(town.a,))
    assert [notation for notation, _ in town.sent_in_order()] == ["3/UBND-VX", "2/UBND-VX", "1/UBND-VX"]


def test_a_recall_never_goes_before_its_original(town: Town) -> None:
    town.axis.script(Fault(kind=FaultKind.ERROR_BEFORE, match={"operation": "sendEdoc", "business": "0"}, times=3))
    town.a.drop("12")
    town.run(lambda: any(row.attempts for row in town.a.deliveries()), desks=(town.a,))
    town.a.drop("12", name="thu-hoi", business="recall", reason="Nhầm", concerns=document_id("12"), priority="hoa-toc")
    town.a.report(document_id("12"), "13", "Nhầm", to=B.code)
    town.run(desks=(town.a,))
    assert [business for _, business in town.sent_in_order()] in (["0", "1", "13"], ["0", "13", "1"])


@pytest.mark.parametrize("form", ["document", "status"])
def test_a_recall_of_what_is_not_signed_yet_cancels_it_and_tells_nobody(town: Town, form: str) -> None:
    key = town.pki.agencies[A.code]
    sealed = key.path.rename(key.path.with_suffix(".away"))
    try:
        town.a.drop("12")
        town.run(lambda: any(row.reason for row in town.a.messages()), desks=(town.a,))
        if form == "document":
            town.a.drop("12", name="thu-hoi", business="recall", reason="Nhầm", concerns=document_id("12"))
        else:
            town.a.report(document_id("12"), "13", "Nhầm", to=B.code)
        town.run(lambda: len(town.a.messages()) == 2, desks=(town.a,))
    finally:
        sealed.rename(key.path)
    town.run(desks=(town.a,))
    assert town.axis.audit() == []


def test_a_recall_by_another_agency_waits_for_a_person(town: Town) -> None:
    sent_and_arrived(town)
    change = Change(kind=Business.RECALL, reason="Nhầm", document_id=document_id("12"))
    town.send_by_hand(document_by_hand("12", document_id=document_id("12"), change=change))
    town.run()
    assert [row.reason for row in town.b.messages(state="quarantined")] == ["received.not-the-issuer"]
    assert len(town.b.inbox()) == 1


def test_a_replacement_of_something_unknown_says_so(town: Town) -> None:
    change = Change(kind=Business.REPLACE, reason="Mới", replaces=(Replacement(document_id=document_id("1", C)),))
    by_hand(town, "8", letter("new"), change=change)
    town.run()
    assert any("Không tìm thấy văn bản gốc" in note for note in town.b.received()[0]["notes"])


def test_two_documents_that_share_an_attachment_are_both_sent_and_kept_whole(town: Town) -> None:
    for number in ("12", "13"):
        town.a.drop(number, files={f"cv{number}.pdf": letter(number), "chung.pdf": letter("shared")})
    town.run()
    assert [len(received["document"]["parts"]) for received in town.b.received()] == [2, 2]
    kept = sorted(path.parent.name[:5] for path in town.a.folder.glob("sent/*/chung.pdf"))
    assert (kept, town.a.rejected()) == (["vb-12", "vb-13"], "")


def test_a_recipient_that_the_axis_refuses_does_not_hold_up_the_others(town: Town) -> None:
    town.run()
    town.call_axis(C, "deleteAgency", {"AgencyCode": C.code})
    town.a.drop("12", to=(C.code, B.code))
    town.run()
    assert town.on_the_axis("12", B.code) == (1, 1)
    assert {row.recipient: row.state for row in town.a.deliveries(connection="axis")}[C.code] == "rejected"
    (told,) = town.a.folder.glob("sent/vb-12-*/ly-do.txt")
    assert C.code in told.read_text("utf-8")


def test_a_partial_recall_cancels_only_what_it_names(town: Town) -> None:
    """With the original still unsigned: one recipient is asked back, the other gets the document."""
    key = town.pki.agencies[A.code]
    sealed = key.path.rename(key.path.with_suffix(".away"))
    try:
        town.a.drop("12", to=(B.code, C.code))
        town.run(lambda: any(row.reason for row in town.a.messages()), desks=(town.a,))
        town.a.report(document_id("12"), "13", "Nhầm nơi nhận", to=C.code)
        town.run(lambda: len(town.a.messages()) == 2, desks=(town.a,))
    finally:
        sealed.rename(key.path)
    town.run()
    assert [(row.recipient, row.business) for row in town.audit(sender=A.code)] == [(B.code, "0")]
    assert {row.recipient: row.state for row in town.a.deliveries(connection="axis")} == {
        B.code: "delivered",
        C.code: "cancelled",
    }


def test_several_workers_at_once_keep_the_order_and_send_once(town: Town) -> None:
    seen = sent_and_arrived(town)
    town.configure(town.b, adapter={"workers": 4, "signing_processes": 0})
    for code in ("03", "04", "05", "06"):
        town.b.report(seen["id"], code, f"bước {code}")
    for number in range(20, 26):
        town.b.drop(str(number), to=(A.code,))
    daemon = Daemon(town.b.adapter)
    daemon.start()
    try:
        await_condition(lambda: len(town.audit(sender=B.code)) == 11)
    finally:
        assert daemon.stop()
    assert all(row.committed == 1 for row in town.audit())
    statuses = [str(record["business"]) for record in town.axis.records("sent") if record["messagetype"] == "status"]
    assert statuses == ["01", "03", "04", "05", "06"]


def test_an_agency_may_hold_packets_that_break_a_rule_of_its_own_profile(town: Town) -> None:
    strict = town.b.config.parent / "goi-tin.toml"
    strict.write_text('title = "Lạc Hồng"\nextends = "lenient"\n[severity]\n"ENV-08" = "error"\n', "utf-8")
    profile = {"retry_first_seconds": 0.02, "retry_cap_seconds": 0.1, "received_packets": str(strict)}
    town.configure(town.b, profile=profile)
    by_hand(town, "77", letter(), type_name="Giấy khen")
    by_hand(town, "78", letter())
    town.run()
    (held,) = town.b.messages(state="quarantined")
    assert (held.code, held.reason) == ("77/UBND-VX", "received.against-rules")
    assert "Giấy khen" in held.reason_text
    assert [item["document"]["number"] for item in town.b.received()] == ["78"]


def test_the_ledger_keeps_what_was_odd_about_a_packet(town: Town) -> None:
    by_hand(town, "77", letter(), type_name="Giấy khen")
    town.run()
    (row,) = town.b.messages(code="77/UBND-VX", kind="edoc")
    with town.b.adapter.store.read() as reader:
        (read,) = [event["detail"] for event in reader.events(row.id) if event["kind"] == "read"]
    place = "edXML/edXMLEnvelope/edXMLHeader/MessageHeader/DocumentType/TypeName"
    assert f"ENV-08 warning {place}" in read["problems"]
    assert "Giấy khen" not in str(read)


def test_a_packet_names_its_recipient_as_the_axis_does_though_the_office_gave_the_code_alone(town: Town) -> None:
    seen = sent_and_arrived(town)
    (row,) = town.b.messages(code="12/UBND-VX", kind="edoc")
    assert seen["document"]["number"] == "12"
    assert [(to.code, to.name) for to in row.document.recipients] == [(B.code, B.name)]
