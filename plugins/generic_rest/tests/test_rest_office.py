"""The plugin against a simulated office over real sockets, spoken to by the mapping that is shipped with it."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pluggy
import pytest
from rest_world import FINANCE, HEALTH, KEY, Blobs, Clock, Connect, change, delivery, document, status, without

from lienthong import (
    BrokenItem,
    Business,
    ConfigError,
    Connection,
    ContentError,
    DocumentItem,
    MessageKind,
    PartRole,
    Priority,
    Rejected,
    StatusItem,
    Unauthorized,
)
from lienthong.errors import catalogue
from lienthong.hookspecs import PROJECT, Hooks, Item
from lienthong.http import recording
from lienthong_conformance.simulators.office import SECRETS, Draft, DraftFile, OfficeSimulator, Report
from lienthong_generic_rest import rest

SENDER_FROM_ITEM = (
    'number = { from = "soKyHieu", take',
    'sender.code = { from = "donViGui", default = "H37.STC" }\nnumber = { from = "soKyHieu", take',
)
PDF = b"%PDF-1.7 main \x00\xff"
ANNEX = b"%PDF-1.7 annex"
TO_HEALTH = ((HEALTH.code, HEALTH.name),)
DOWNLOAD = 'id = "tepId"\ndownload = { path = "/van-ban-di/{id}/tep/{file.id}" }'
INLINE = ("outbox.files", DOWNLOAD, 'inline = "noiDung"')
WITH_CONTENT = ("outbox", 'soLuong = "{size}"', 'soLuong = "{size}", kemNoiDung = "1"')


def draft(**facts: object) -> Draft:
    files = (DraftFile(name="to-trinh.pdf", content=PDF), DraftFile(name="phu-luc.pdf", content=ANNEX))
    return Draft(**{"recipients": TO_HEALTH, "files": files, **facts})


def fetch_all(connection: Connection) -> list[Item]:
    """One round through all lists."""
    items: list[Item] = []
    batch = rest.fetch(connection, None)
    while True:
        items += batch.items
        if not batch.more:
            return items
        batch = rest.fetch(connection, batch.cursor)


def logins(office: OfficeSimulator) -> list[object]:
    return [record for record in office.records("request") if record["facts"] == {"operation": "login"}]


def documents(connection: Connection) -> list[DocumentItem]:
    return [item for item in fetch_all(connection) if isinstance(item, DocumentItem)]


def contents(item: DocumentItem) -> list[bytes]:
    found = []
    for file in item.files:
        file.save(sink := io.BytesIO())
        found.append(sink.getvalue())
    return found


def test_the_plugin_keeps_the_hook_contract() -> None:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    manager.register(rest)
    manager.check_pending()
    assert manager.hook.describe().role == "office"


def test_a_document_arrives_with_all_its_fields(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(urgency="Hỏa tốc", paper=True))
    (item,) = documents(connect())
    found = item.document
    assert (found.number, found.notation, found.promulgated) == ("12", "QĐ-STC", date(2026, 11, 22))
    assert (found.sender, found.recipients) == (FINANCE, (HEALTH,))
    assert (found.subject, found.type_name) == ("Về việc phân bổ dự toán", "Quyết định")
    assert (found.priority, found.paper, found.secrecy) == (Priority.FLASH, True, "")
    assert (found.signer.full_name, found.signer.position) == ("Nguyễn Văn A", "Giám đốc")
    assert found.document_id == "H37.STC,2026/11/22,12/QĐ-STC"


def test_the_first_file_is_the_main_one_and_files_are_downloaded(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    (item,) = documents(connect())
    assert [(file.role, file.name, file.media_type) for file in item.files] == [
        (PartRole.MAIN, "to-trinh.pdf", "application/pdf"),
        (PartRole.ATTACHMENT, "phu-luc.pdf", "application/pdf"),
    ]
    assert contents(item) == [PDF, ANNEX]


def test_files_inside_the_list_are_decoded(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    (item,) = documents(connect(INLINE, WITH_CONTENT))
    assert contents(item) == [PDF, ANNEX]


def test_files_may_come_as_base64_in_the_json_of_a_download(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    new = DOWNLOAD.replace('}" }', '}", query = { dang = "json" } }') + '\ncontent = "data.noiDung"'
    (item,) = documents(connect(("outbox.files", DOWNLOAD, new)))
    assert contents(item) == [PDF, ANNEX]


def test_a_list_of_summaries_is_completed_by_a_call_per_item(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    detail = 'detail = { path = "/van-ban-di/{id}", query = { kemNoiDung = "1" } }\ndetail_item = "data.vanBan"\n'
    (item,) = documents(connect(("outbox", 'id = "id"\n', f'id = "id"\n{detail}'), INLINE))
    assert contents(item) == [PDF, ANNEX]


def test_a_list_is_read_over_three_pages(office: OfficeSimulator, connect: Connect) -> None:
    issued = [office.put_document(draft(code=f"{number}/QĐ-STC")) for number in range(5)]
    found = documents(connect(("outbox", "size = 20", "size = 2")))
    assert [item.source_id for item in found] == [f"document:{number}" for number in issued]


def test_fetching_again_offers_the_same_until_it_is_acknowledged(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    connection = connect()
    (first,) = documents(connection)
    assert [item.source_id for item in documents(connection)] == [first.source_id]
    assert rest.acknowledge(connection, first.source_id, MessageKind.DOCUMENT, stored=True, detail="") is True
    assert documents(connection) == []


def test_acknowledging_twice_succeeds(office: OfficeSimulator, connect: Connect) -> None:
    source_id = f"document:{office.put_document(draft())}"
    connection = connect()
    for _ in range(2):
        assert rest.acknowledge(connection, source_id, MessageKind.DOCUMENT, stored=True, detail="")
    assert [record["result"] for record in office.records("acknowledged")] == ["DA_NHAN"]


def test_a_failure_is_told_with_its_reason(office: OfficeSimulator, connect: Connect) -> None:
    source_id = f"document:{office.put_document(draft())}"
    rest.acknowledge(connect(), source_id, MessageKind.DOCUMENT, stored=False, detail="Thiếu số, ký hiệu")
    (record,) = office.records("acknowledged")
    assert (record["result"], record["note"]) == ("LOI", "Thiếu số, ký hiệu")


def test_a_recall_carries_what_it_is_about(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(business="THU_HOI", concerns="H37.STC,2026/11/01,1/QĐ-STC", reason="Ban hành nhầm"))
    (item,) = documents(connect())
    expected = change(kind=Business.RECALL, document_id="H37.STC,2026/11/01,1/QĐ-STC", reason="Ban hành nhầm")
    assert item.document.change == expected


def test_a_secret_mark_is_kept_for_the_rules(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(secrecy="Tối mật"))
    (item,) = documents(connect())
    assert item.document.secrecy == "tối mật"


def test_the_sender_of_a_shared_office_comes_from_the_document(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(sender=HEALTH.code))
    (item,) = documents(connect(SENDER_FROM_ITEM, agencies=(FINANCE, HEALTH)))
    assert item.document.sender == HEALTH


BROKEN = {
    "foreign sender": ({"donViGui": "H99.ABC"}, "rest.sender", "sender.code"),
    "unknown urgency": ({"doKhan": "Siêu tốc"}, "rest.field-table", "doKhan"),
    "unknown secrecy": ({"doMat": "??"}, "rest.field-table", "doMat"),
    "impossible date": ({"ngayBanHanh": "31/02/2026"}, "rest.field-date", "ngayBanHanh"),
    "code without a slash": ({"soKyHieu": "12-QĐ"}, "rest.field-code", "soKyHieu"),
    "no subject": ({"trichYeu": "  "}, "rest.field-missing", "trichYeu"),
    "no recipients": ({"noiNhan": []}, "rest.field-missing", "recipients"),
    "recipient without code": ({"noiNhan": [{"tenDonVi": "Sở"}]}, "rest.field-object", "recipients"),
    "recipients as text": ({"noiNhan": "Sở Y tế"}, "rest.field-missing", "noiNhan"),
    "flag that is none": ({"guiBanGiay": "có lẽ"}, "rest.field-boolean", "guiBanGiay"),
    "no id": ({"id": None}, "rest.item-id", "id"),
    "files as text": ({"tepDinhKem": "a.pdf"}, "rest.files", "tepDinhKem"),
    "file without name": ({"tepDinhKem": [{"tepId": "T0"}]}, "rest.file-name", "ten"),
    "file without id": ({"tepDinhKem": [{"ten": "a.pdf"}]}, "rest.item-id", "tepId"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_item_is_kept_with_its_reason_and_stops_no_other(
    name: str, office: OfficeSimulator, connect: Connect
) -> None:
    raw, code, named = BROKEN[name]
    office.put_document(draft(raw=raw))
    office.put_document(draft(code="13/QĐ-STC"))
    broken, whole = fetch_all(connect(SENDER_FROM_ITEM))
    assert isinstance(broken, BrokenItem)
    assert isinstance(whole, DocumentItem)
    assert named in broken.detail
    assert text_of(code) in broken.detail
    assert "?" not in ContentError(broken.error_code, detail=broken.detail).text("vi").replace("??", "")
    broken.save(sink := io.BytesIO())
    assert json.loads(sink.getvalue()).items() >= raw.items()


def text_of(code: str) -> str:
    """The last, fixed words of a code's Vietnamese advice."""
    return catalogue()[code]["next_vi"].rpartition("}")[2]


def test_an_item_without_an_id_can_be_acknowledged(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft(raw={"id": None}))
    connection = connect()
    (broken,) = fetch_all(connection)
    assert rest.acknowledge(connection, broken.source_id, MessageKind.DOCUMENT, stored=False, detail="x") is True
    assert office.records("acknowledged") == []


def test_a_status_of_the_office_is_fetched_with_its_document(office: OfficeSimulator, connect: Connect) -> None:
    report = Report(code="03", document_id="H37.SYT,2026/11/20,7/SYT-KHTC", number="7/SYT-KHTC", note="Đã vào sổ")
    number = office.report_status(report)
    (item,) = fetch_all(connect())
    assert isinstance(item, StatusItem)
    assert (item.source_id, item.report.code, item.report.description) == (f"status:{number}", "03", "Đã vào sổ")
    assert (item.report.about.organ, item.report.about.code) == (HEALTH.code, "7/SYT-KHTC")
    assert (item.report.sender, item.report.staff.name) == (FINANCE, "Trần Thị B")
    assert abs((item.report.at - datetime.now(UTC)).total_seconds()) < 60


def test_a_status_is_acknowledged_on_its_own_list(office: OfficeSimulator, connect: Connect) -> None:
    office.report_status(Report(code="06", document_id="H37.SYT,2026/11/20,7/SYT-KHTC"))
    connection = connect()
    (item,) = fetch_all(connection)
    rest.acknowledge(connection, item.source_id, MessageKind.STATUS, stored=True, detail="")
    assert fetch_all(connection) == []


def test_a_status_about_nobody_is_broken(office: OfficeSimulator, connect: Connect) -> None:
    office.report_status(Report(code="06", document_id="no triple", number="7/SYT-KHTC"))
    (item,) = fetch_all(connect())
    assert isinstance(item, BrokenItem)
    assert "about.organ" in item.detail


def test_statuses_come_before_documents(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    office.report_status(Report(code="06", document_id="H37.SYT,2026/11/20,7/SYT-KHTC"))
    assert [type(item) for item in fetch_all(connect())] == [StatusItem, DocumentItem]


def test_an_incoming_document_is_created_with_its_files(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    parts = blobs.part("công văn.pdf", PDF), blobs.part("phụ lục.pdf", ANNEX, PartRole.ATTACHMENT)
    lines = ("Chữ ký hợp lệ", "Có bản giấy gửi sau")
    receipt = rest.deliver(connect(), delivery(document(*parts), blobs, lines=lines))
    (created,) = office.incoming()
    assert (receipt.peer_id, created["key"]) == (created["id"], KEY)
    assert [(file["ten"], file["sha256"]) for file in created["files"]] == [(p.name, p.sha256) for p in parts]
    stated = json.loads(created["stated"])
    assert (stated["soKyHieu"], stated["ngayBanHanh"], stated["doKhan"]) == ("7/SYT-KHTC", "20/11/2026", "Thường")
    assert (stated["noiNhan"], stated["ghiChu"]) == ([FINANCE.code], "; ".join(lines))
    assert json.loads(receipt.raw)["data"]["id"] == receipt.peer_id


def test_the_request_body_is_written_to_the_working_folder_and_removed(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    connection = connect()
    rest.deliver(connection, delivery(document(blobs.part("a.pdf", PDF)), blobs))
    assert connection.folder.is_dir()
    assert list(connection.folder.iterdir()) == []


def test_the_same_key_twice_is_one_document_and_one_receipt(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    connection, handed_in = connect(), delivery(document(blobs.part("a.pdf", PDF)), blobs)
    first, second = rest.deliver(connection, handed_in), rest.deliver(connection, handed_in)
    assert first.peer_id == second.peer_id
    assert [row.created for row in office.audit()] == [1]


def test_a_duplicate_without_an_id_is_looked_up(office: OfficeSimulator, connect: Connect, blobs: Blobs) -> None:
    handed_in = delivery(document(blobs.part("a.pdf", PDF)), blobs)
    first = rest.deliver(connect(), handed_in)
    blind = connect(("inbox", 'id = "data.id"', "id = \"code == '0' && data.id || null\""))
    assert rest.deliver(blind, handed_in).peer_id == first.peer_id


def test_the_office_says_in_its_own_words_why_it_refuses(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    with pytest.raises(Rejected) as caught:
        rest.deliver(connect(), delivery(document(subject=""), blobs))
    assert (caught.value.facts["peer_code"], caught.value.facts["peer_text"]) == ("THIEU_DU_LIEU", "Thiếu: trichYeu")
    assert office.incoming() == []


def test_a_status_that_came_back_names_the_office_s_own_document(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    number = office.put_document(draft())
    rest.deliver(connect(), delivery(status(), blobs, concerns_peer_id=f"document:{number}"))
    (record,) = office.feedback()
    assert (record["vanBan"], record["trangThai"], record["donVi"]) == (number, "TIEP_NHAN", HEALTH.code)
    assert record["thoiDiem"] == "22/11/2026 10:04:05"


def test_a_status_for_a_document_that_the_office_does_not_know_is_refused(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    with pytest.raises(Rejected) as caught:
        rest.deliver(connect(), delivery(status(), blobs, concerns_peer_id="document:9"))
    assert caught.value.facts["peer_code"] == "KHONG_CO"


def test_what_the_mapping_leaves_out_is_refused_and_not_lost(connect: Connect, blobs: Blobs) -> None:
    connection = connect(without("# Statuses that came back", "# Agencies that"))
    with pytest.raises(Rejected, match=r"\[inbox_status\]"):
        rest.deliver(connection, delivery(status(), blobs))


def test_one_login_serves_many_calls(office: OfficeSimulator, connect: Connect) -> None:
    connection = connect()
    for _ in range(3):
        fetch_all(connection)
    assert len(logins(office)) == 1


def test_a_token_is_not_used_beyond_its_life(office: OfficeSimulator, connect: Connect, clock: Clock) -> None:
    connection = connect()
    fetch_all(connection)
    clock.advance(1200)
    fetch_all(connection)
    assert len(logins(office)) == 2


def test_a_session_that_ended_early_is_renewed_within_the_call(
    office: OfficeSimulator, connect: Connect, blobs: Blobs
) -> None:
    connection = connect()
    fetch_all(connection)
    office.end_sessions()
    rest.deliver(connection, delivery(document(blobs.part("a.pdf", PDF)), blobs))
    assert [row.created for row in office.audit()] == [1]
    assert len(logins(office)) == 2


def test_a_session_that_ends_before_a_download_is_renewed(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    (item,) = documents(connect())
    office.end_sessions()
    assert contents(item) == [PDF, ANNEX]


def test_two_threads_log_in_once(office: OfficeSimulator, connect: Connect) -> None:
    connection = connect()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch_all(connection), range(4)))
    assert len(logins(office)) == 1


def test_a_wrong_password_is_the_connection_s_fault_and_not_the_document_s(connect: Connect, blobs: Blobs) -> None:
    connection = connect(secrets={"user": "lienthong", "password": "wrong"})
    with pytest.raises(Unauthorized) as caught:
        rest.deliver(connection, delivery(document(), blobs))
    assert caught.value.facts["peer_code"] == "SAI_MAT_KHAU"


def test_secrets_and_tokens_never_reach_the_wire_log(office: OfficeSimulator, connect: Connect) -> None:
    connection = connect(('visible = ["code",', 'visible = ["code", "data", "token",'))
    with recording() as exchanges:
        fetch_all(connection)
    written = json.dumps([vars(exchange) for exchange in exchanges], default=str)
    assert SECRETS["password"] not in written
    assert not any(token in written for token in office._sessions)
    assert "van-ban-di" in written


def test_secrets_do_not_show_in_a_repr(connect: Connect) -> None:
    connection = connect()
    fetch_all(connection)
    assert SECRETS["password"] not in repr(connection)
    assert SECRETS["password"] not in repr(connection.config.office(connection))


def test_a_secret_that_the_connection_lacks_is_a_configuration_error(connect: Connect) -> None:
    with pytest.raises(ConfigError, match="password"):
        connect(secrets={"user": "lienthong"})


def test_the_directory_lists_agencies_with_codes_over_several_pages(connect: Connect) -> None:
    listing = rest.directory(connect(('kind = "offset", size = 50', 'kind = "offset", size = 1')), since=None)
    assert listing.complete
    assert listing.agencies == (FINANCE, HEALTH)


def test_a_mapping_without_a_directory_claims_nothing(connect: Connect) -> None:
    listing = rest.directory(connect(without("# Agencies that the office knows", "[probe]")), since=None)
    assert (listing.agencies, listing.complete) == ((), False)


def test_a_probe_is_a_real_call(office: OfficeSimulator, connect: Connect, clock: Clock) -> None:
    found = rest.probe(connect())
    assert (found.usable, found.observed) == (True, clock.now)
    assert [record["facts"] for record in office.records("request")][-1] == {"operation": "session"}


def test_a_probe_without_its_own_call_reads_a_list(office: OfficeSimulator, connect: Connect) -> None:
    assert rest.probe(connect(('[probe]\npath = "/phien"\n', ""))).usable
    assert office.records("request")[-1]["facts"] == {"operation": "statuses"}


def test_a_batch_is_bounded_and_the_next_call_goes_on(office: OfficeSimulator, connect: Connect) -> None:
    for number in range(202):
        office.put_document(draft(code=f"{number}/QĐ-STC", files=()))
    connection = connect()
    first = rest.fetch(connection, None)
    second = rest.fetch(connection, first.cursor)
    assert [(len(batch.items), batch.more) for batch in (first, second)] == [(200, True), (2, False)]


def test_a_probe_says_in_vietnamese_what_is_wrong(connect: Connect) -> None:
    found = rest.probe(connect(secrets={"user": "x", "password": "y"}))
    assert not found.usable
    assert "không cho đăng nhập" in found.detail


def test_a_cursor_of_another_mapping_starts_a_new_round(office: OfficeSimulator, connect: Connect) -> None:
    office.put_document(draft())
    connection = connect()
    for cursor in ("nonsense", "[]", '{"name": "orders", "position": "7"}', '{"name": "document", "position": "x"}'):
        assert rest.fetch(connection, cursor).cursor
    assert len(documents(connection)) == 1


def test_an_office_that_ignores_paging_does_not_hold_the_round_forever(
    office: OfficeSimulator, connect: Connect
) -> None:
    office.put_document(draft())
    ask = ("outbox", 'query = { trang = "{page}", soLuong = "{size}" }', "query = {}")
    assert len(documents(connect(ask, ("outbox", "size = 20", "max_pages = 3")))) == 3
