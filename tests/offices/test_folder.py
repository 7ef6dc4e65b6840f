"""What a drop folder offers: documents and statuses that a clerk dropped, what is not complete, acknowledging."""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lienthong import (
    BrokenItem,
    Business,
    DocumentItem,
    DocumentReference,
    MessageKind,
    Organization,
    PartRole,
    Priority,
    StatusCode,
    StatusItem,
    Unavailable,
)
from lienthong.offices import folder

from .drops import METADATA, OURS, acknowledge, connection_of, document_of, drop, names, offered, root, saved

# --- out: what is offered -----------------------------------------------------------------------------------------


def test_an_empty_folder_offers_nothing(office):
    assert offered(office) == []


def test_a_drop_becomes_a_document_with_its_files(office):
    drop(office, files={"15.pdf": b"main", "phụ lục 1.xlsx": b"x" * 200_000, "2.pdf": b""})
    (item,) = offered(office)
    document = item.document
    assert (document.sender, document.code, document.promulgated) == (OURS, "15/UBND-VP", date(2026, 3, 2))
    assert [recipient.code for recipient in document.recipients] == ["H53.02", "H53.03"]
    assert document.document_id == "H53.01,2026/03/02,15/UBND-VP"
    assert [(file.name, file.role) for file in item.files] == [
        ("15.pdf", PartRole.MAIN),
        ("phụ lục 1.xlsx", PartRole.ATTACHMENT),
        ("2.pdf", PartRole.ATTACHMENT),
    ]
    assert [saved(file) for file in item.files] == [b"main", b"x" * 200_000, b""]
    assert item.files[0].media_type == "application/pdf"


def test_every_key_of_the_metadata_arrives_in_the_document(office):
    drop(
        office,
        type="Quyết định",
        content="tóm tắt",
        place="An Lạc",
        signer={"name": "Nguyễn Văn An", "position": "Chủ tịch", "competence": "TM."},
        priority="hoa-toc",
        secrecy="mật",
        due="2026-03-09",
        pages=3,
        paper=True,
        responds_to=[{"organ": "H53.02", "code": "7/SNV", "date": "2026-02-01"}],
        to_places=["Như trên"],
        document_id="own-id",
    )
    document = document_of(office)
    assert (document.type_name, document.content, document.place) == ("Quyết định", "tóm tắt", "An Lạc")
    assert (document.signer.full_name, document.signer.position) == ("Nguyễn Văn An", "Chủ tịch")
    assert (document.priority, document.secrecy, document.due) == (Priority.FLASH, "mật", date(2026, 3, 9))
    assert (document.pages, document.paper, document.to_places) == (3, True, ("Như trên",))
    assert document.responds_to == (DocumentReference(organ="H53.02", code="7/SNV", promulgated=date(2026, 2, 1)),)
    assert document.document_id == "own-id"


@pytest.mark.parametrize("kind", ["recall", "update"])
def test_a_correction_names_the_document_that_it_is_about(office, kind):
    drop(office, business=kind, reason="Sai số liệu", concerns="D1")
    change = document_of(office).change
    assert (change.kind, change.reason, change.document_id) == (Business[kind.upper()], "Sai số liệu", "D1")


def test_a_replacement_names_what_it_replaces_and_for_whom(office):
    drop(office, business="replace", reason="Sai", concerns="D1")
    (replaced,) = document_of(office).change.replaces
    assert (replaced.document_id, replaced.organs) == ("D1", ("H53.02", "H53.03"))


def test_looking_again_offers_the_same_and_takes_nothing_away(office):
    drop(office)
    first, again = offered(office), offered(office)
    assert [item.source_id for item in first] == [item.source_id for item in again]
    assert len(names(office, "outbox")) == 4


def test_another_drop_under_the_same_name_is_another_item(office):
    drop(office)
    (first,) = offered(office)
    drop(office, subject="Nội dung khác hẳn")
    (second,) = offered(office)
    assert first.source_id != second.source_id


def test_several_agencies_name_the_sender_in_the_metadata(tmp_path, clock):
    clock.moment = datetime.now(UTC)
    office = connection_of(tmp_path, clock, OURS, Organization(code="H53.09"))
    folder.fetch(office, None)
    drop(office, **{"from": "H53.09"})
    assert document_of(office).sender.code == "H53.09"


# --- out: what is not complete or not right -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "code", "where"),
    [
        (lambda at: (at / "15.json").unlink(), "folder.no-metadata", "2.pdf"),
        (lambda at: (at / "2.pdf").unlink(), "folder.file-missing", "2.pdf"),
        (lambda at: (at / "15.json").write_text('{"to": ["H53.02"'), "folder.metadata", "15.json"),
        (lambda at: (at / "15.json").write_text("[]"), "folder.metadata", "15.json"),
        (lambda at: (at / "15.json").write_bytes(b"\xff\xfe{}"), "folder.metadata", "15.json"),
    ],
    ids=["no metadata", "file missing", "half-written metadata", "not an object", "not UTF-8"],
)
def test_what_is_not_complete_may_still_become_so_and_is_then_named(office, clock, spoil, code, where):
    drop(office)
    spoil(root(office) / "outbox")
    assert not [item for item in offered(office) if isinstance(item, DocumentItem)]
    assert offered(office) == [], "it may be in the middle of being dropped"
    clock.advance(11)
    broken = [item for item in offered(office) if isinstance(item, BrokenItem) and item.error_code == code]
    assert [item for item in broken if where in item.detail]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"recipient": "H53.02"}, "recipient"),
        ({"to": ["H53 02"]}, "to.0"),
        ({"number": None}, "number"),
        ({"date": "02/03/2026"}, "date"),
        ({"priority": "rất khẩn"}, "priority"),
        ({"business": "withdraw"}, "business"),
        ({"pages": "three"}, "pages"),
        ({"signer": {"full_name": "An"}}, "signer.full_name"),
        ({"responds_to": [{"organ": "H53.02", "date": "01/02/2026"}]}, "responds_to.0.date"),
    ],
)
def test_a_wrong_key_is_named(office, clock, changes, key):
    drop(office, **changes)
    clock.advance(11)
    (item,) = offered(office)
    assert item.error_code == "folder.metadata"
    assert f"[15.json: {key}]" in item.detail
    assert saved(item) == (root(office) / "outbox" / "15.json").read_bytes()


def test_a_sender_that_this_folder_does_not_serve_is_named(office, clock):
    drop(office, **{"from": "H99"})
    clock.advance(11)
    (item,) = offered(office)
    assert item.error_code == "folder.from"
    assert "H99" in item.detail
    assert "H53.01" in item.detail


def test_a_drop_that_is_completed_in_time_is_never_called_broken(office, clock):
    drop(office, files={"15.pdf": b"%PDF-"})
    clock.advance(9)
    assert offered(office) == []
    drop(office)
    assert document_of(office).number == "15"


def test_one_broken_drop_does_not_keep_another_back(office, clock):
    drop(office)
    drop(office, name="16", main="16.pdf", attachments=[], pages="three")
    clock.advance(11)
    kinds = {item.source_id[:2]: type(item) for item in offered(office)}
    assert kinds == {"15": DocumentItem, "16": BrokenItem}


def test_hidden_files_of_other_programs_are_left_alone(office, clock):
    for name in (".15.json", ".~lock.15.pdf#", ".DS_Store"):
        (root(office) / "outbox" / name).write_bytes(b"x")
    clock.advance(11)
    assert offered(office) == []


def test_a_file_that_goes_away_before_it_is_read_may_come_back(office):
    drop(office)
    (item,) = offered(office)
    (root(office) / "outbox" / "15.pdf").unlink()
    with pytest.raises(Unavailable):
        saved(item.files[0])


def test_a_path_that_is_no_folder_is_not_usable(tmp_path, clock):
    (tmp_path / "office").write_text("a file")
    with pytest.raises(Unavailable) as caught:
        folder.fetch(connection_of(tmp_path, clock, OURS), None)
    assert caught.value.code == "folder.unusable"


def json_around(inner):
    return inner | st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(list(METADATA)), inner, max_size=3)


json_values = json_around(json_around(st.none() | st.booleans() | st.integers() | st.text(max_size=5)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(json_values, st.sampled_from(["to", "number", "date", "main", "attachments", "signer", "paper", "subject"]))
def test_whatever_the_metadata_says_the_folder_is_still_read(office, clock, value, key):
    drop(office)
    (root(office) / "outbox" / "15.json").write_text(json.dumps({**METADATA, key: value}), "utf-8")
    clock.moment = datetime.fromtimestamp((root(office) / "outbox" / "15.json").stat().st_mtime + 60, UTC)
    assert offered(office)


# --- out: which files belong to which drop ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attachment",
    ["x" * 300, "a\ud800", "a\0b", "phu-luc/1.pdf", "../1.pdf", "/srv/1.pdf", "..", "15.json", "folder"],
)
def test_an_attachment_that_cannot_be_read_keeps_its_document_back_and_no_other(office, clock, attachment):
    drop(office, name="good", main="good.pdf", attachments=[])
    drop(office, files={"15.pdf": b"%PDF-"})
    (root(office) / "outbox" / "folder").mkdir()
    (root(office) / "outbox" / "15.json").write_text(json.dumps({**METADATA, "attachments": [attachment]}))
    clock.advance(11)
    kinds = {item.source_id.rpartition("-")[0]: type(item) for item in offered(office)}
    assert kinds == {"good": DocumentItem, "15": BrokenItem}


def test_a_drop_with_a_strange_attachment_is_moved_away_with_what_is_there(office, clock):
    drop(office, files={"15.pdf": b"%PDF-"}, attachments=["..", "15.json"])
    clock.advance(11)
    (item,) = offered(office)
    acknowledge(office, item, stored=False, detail="thiếu tệp")
    assert names(office, f"rejected/{item.source_id}") == ["15.json", "15.pdf", "ly-do.txt"]


@pytest.mark.parametrize("where", ["outbox", "status"])
def test_a_folder_named_like_metadata_is_left_alone(office, clock, where):
    drop(office)
    (root(office) / where / "cũ.json").mkdir()
    clock.advance(11)
    assert [type(item) for item in offered(office)] == [DocumentItem]


@pytest.mark.parametrize("where", ["outbox", "status"])
def test_a_drop_that_the_disk_cannot_give_is_told_at_every_look_and_stops_no_other(office, where):
    drop(office)
    os.symlink("/proc/self/mem", root(office) / where / "16.json")
    items = {item.source_id[:2]: item for item in offered(office)}
    assert isinstance(items["15"], DocumentItem)
    with pytest.raises(Unavailable, match=r"Input/output error.*16\.json"):
        saved(items["16"])


@pytest.mark.parametrize("name", [b"v\xe3n.pdf", b"v\xe3n.json"])
def test_a_name_that_is_no_utf_8_is_told_once_and_moved_away(office, clock, name):
    drop(office)
    with open(os.path.join(os.fsencode(root(office) / "outbox"), name), "wb") as file:
        file.write(b"x")
    clock.advance(11)
    items = {item.source_id[:2]: item for item in offered(office)}
    assert items["v?"].source_id.encode()
    acknowledge(office, items["v?"], stored=False, detail="tên tệp sai")
    assert [item.source_id for item in offered(office)] == [items["15"].source_id]


def test_metadata_that_wait_under_a_hidden_name_keep_their_files(office, clock):
    drop(office, name=".15")
    clock.advance(11)
    assert offered(office) == []


@pytest.mark.parametrize("content", [b"{}", b'{"main": "15.pdf"}', b"[]", b"no JSON"])
def test_a_json_attachment_belongs_to_its_document(office, clock, content):
    drop(office, name="z", attachments=["du-lieu.json"], files={"15.pdf": b"%PDF-", "du-lieu.json": content})
    clock.advance(11)
    (item,) = offered(office)
    assert [file.name for file in item.files] == ["15.pdf", "du-lieu.json"]
    acknowledge(office, item)
    assert names(office, "outbox") == []


def test_a_file_that_is_named_twice_is_one_file(office):
    drop(office, attachments=["15.pdf"], files={"15.pdf": b"%PDF-"})
    (item,) = offered(office)
    assert [file.role for file in item.files] == [PartRole.MAIN]


def test_a_copy_with_an_old_date_is_as_new_as_it_lies_here(office, clock):
    pdf = root(office) / "outbox" / "15.pdf"
    pdf.write_bytes(b"%PDF-")
    os.utime(pdf, (1_000_000_000, 1_000_000_000))
    assert offered(office) == []
    clock.advance(11)
    assert [item.error_code for item in offered(office)] == ["folder.no-metadata"]


# --- out: acknowledging -------------------------------------------------------------------------------------------


def test_what_was_taken_is_moved_to_sent(office):
    drop(office)
    (item,) = offered(office)
    acknowledge(office, item)
    assert names(office, "outbox") == []
    assert names(office, f"sent/{item.source_id}") == ["15.json", "15.pdf", "2.pdf", "phụ lục 1.xlsx"]
    assert offered(office) == []


def test_what_cannot_be_used_is_moved_to_rejected_with_the_reason(office, clock):
    drop(office, pages="three")
    clock.advance(11)
    (item,) = offered(office)
    acknowledge(office, item, stored=False, detail="Tệp thông tin sai: pages")
    assert names(office, "outbox") == []
    assert (root(office) / "rejected" / item.source_id / "ly-do.txt").read_text("utf-8") == "Tệp thông tin sai: pages\n"


@pytest.mark.parametrize("stored", [True, False])
def test_acknowledging_again_changes_nothing(office, stored):
    drop(office)
    (item,) = offered(office)
    acknowledge(office, item, stored, "vì sao")
    before = names(office, "")
    acknowledge(office, item, stored, "vì sao")
    assert names(office, "") == before


def test_a_refusal_that_comes_after_it_was_taken_lies_beside_the_document(office):
    drop(office)
    (item,) = offered(office)
    acknowledge(office, item)
    acknowledge(office, item, stored=False, detail="Không gửi được tới H53.02")
    assert "ly-do.txt" in names(office, f"sent/{item.source_id}")
    assert names(office, "rejected") == []


def test_acknowledging_one_drop_leaves_the_others(office):
    drop(office)
    drop(office, name="16", main="16.pdf", attachments=[])
    items = {item.source_id[:2]: item for item in offered(office)}
    acknowledge(office, items["15"])
    assert names(office, "outbox") == ["16.json", "16.pdf"]


def test_a_drop_that_was_changed_since_is_not_moved(office):
    drop(office)
    (item,) = offered(office)
    drop(office, subject="Một văn bản khác dưới cùng tên")
    acknowledge(office, item)
    assert "15.json" in names(office, "outbox")


def test_moving_to_sent_is_finished_after_a_crash(office, clock):
    drop(office)
    (item,) = offered(office)
    kept = root(office) / "sent" / item.source_id
    kept.mkdir()
    (root(office) / "outbox" / "2.pdf").replace(kept / "2.pdf")
    clock.advance(11)
    assert offered(office) == [], "what is half taken is not broken"
    acknowledge(office, item)
    assert names(office, "outbox") == []
    assert len(names(office, f"sent/{item.source_id}")) == 4


def test_an_unknown_item_is_acknowledged_without_complaint(office):
    assert folder.acknowledge(office, "16-abcdef012345", MessageKind.DOCUMENT, True, "") is True
    assert folder.acknowledge(office, "../../etc-0123", MessageKind.DOCUMENT, False, "x") is True
    assert not (root(office).parent / "etc-0123").exists()


# --- statuses of the office ---------------------------------------------------------------------------------------


def drop_status(office, name="s1", **changes) -> None:
    values = {"document": "M1", "code": "03", "description": "Đã tiếp nhận", "staff": "Trần Thị Bình", **changes}
    (root(office) / "status" / f"{name}.json").write_text(json.dumps(values, ensure_ascii=False), "utf-8")


def test_a_status_drop_becomes_a_report(office, clock):
    drop_status(office)
    (item,) = offered(office)
    assert isinstance(item, StatusItem)
    assert (item.report.sender, item.report.about.document_id) == (OURS, "M1")
    assert (item.report.code, item.report.at) == (StatusCode.ACCEPTED, clock())
    assert (item.report.description, item.report.staff.name) == ("Đã tiếp nhận", "Trần Thị Bình")


@pytest.mark.parametrize("changes", [{"code": "7"}, {"code": None}, {"recipient": "x"}, {"from": "H99"}])
def test_a_wrong_status_drop_is_named_once_it_has_settled(office, clock, changes):
    drop_status(office, **changes)
    assert offered(office) == []
    clock.advance(11)
    (item,) = offered(office)
    assert isinstance(item, BrokenItem)
    assert item.error_code in ("folder.metadata", "folder.from")


@pytest.mark.parametrize(("stored", "where"), [(True, "status/done"), (False, "status/rejected")])
def test_a_status_is_moved_when_it_was_taken_or_refused(office, stored, where):
    drop_status(office)
    (item,) = offered(office)
    for _ in range(2):
        acknowledge(office, item, stored, "" if stored else "không có văn bản", MessageKind.STATUS)
    assert names(office, where) == (["s1.json"] if stored else ["s1.json", "s1.ly-do.txt"])
    assert offered(office) == []


def test_a_status_that_nobody_could_read_is_moved_away_although_core_calls_it_a_document(office, clock):
    drop_status(office, code="7")
    clock.advance(11)
    (item,) = offered(office)
    for _ in range(2):
        acknowledge(office, item, stored=False, detail="sai", kind=MessageKind.DOCUMENT)
    assert names(office, "status/rejected") == ["s1.json", "s1.ly-do.txt"]
    assert (names(office, "sent"), names(office, "rejected"), offered(office)) == ([], [], [])


def test_a_folder_that_nothing_can_be_moved_to_is_tried_again(office):
    drop(office)
    (item,) = offered(office)
    (root(office) / "sent" / item.source_id).write_text("in the way")
    with pytest.raises(Unavailable) as caught:
        acknowledge(office, item)
    assert caught.value.code == "folder.unusable"
    assert len(names(office, "outbox")) == 4
