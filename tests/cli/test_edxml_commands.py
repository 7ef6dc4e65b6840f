"""``lienthong edxml ...`` as a person and a script use it: real files, real output, exit codes."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import datetime

import pypdfium2
import pytest
from edxml.builders import CODE, PDF, TO, Attached, Raw, dated, documents, reports, written, zipped
from hypothesis import HealthCheck, given, settings

from lienthong import Document, StatusReport
from lienthong.cli.files import claimed, reading
from lienthong.cli.packet_pages import Words
from lienthong.edxml import reader
from lienthong.edxml.inspecting import Checks, inspected
from lienthong.edxml.reader import open_packet

from .desk import LEGACY, LETTER, SHEET, STATUS, Desk, Said, attached, letter, run

LIENTHONG = [sys.executable, "-c", "from lienthong.cli import main; main()"]

# --- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_gives_machines_every_field_of_a_document(desk):
    view = desk.inspected(desk.built(responds_to=[{**STATUS["about"]}]))
    assert (view["kind"], view["business"], view["document_id"]) == ("document", "new", "H07.03,2025/03/03,12/SXD-VP")
    assert (view["from"]["organ_id"], view["from"]["name"]) == ("H07.03", "Sở Xây dựng Bến Lức")
    assert [(to["organ_id"], to["name"]) for to in view["to"]] == [
        ("H07.11", "UBND xã Tân Trụ"),
        ("H07.12", "UBND xã Nhựt Tảo"),
    ]
    assert view["code"] == {"number": "12", "notation": "SXD-VP"}
    assert view["promulgation"] == {"place": "Bến Lức", "date": "2025-03-03"}
    assert (view["type"], view["subject"], view["status"]) == ("Công văn", "Về việc kiểm tra cầu treo", None)
    assert view["response_for"] == [
        {"organ_id": "H07.03", "code": "12/SXD-VP", "date": "2025-03-03", "document_id": "H07.03,2025/03/03,12/SXD-VP"}
    ]
    assert view["trace"] == [{"organ_id": "H07.03", "timestamp": "2025-03-03T08:30:00+07:00"}]
    assert view["usable"] is True
    assert view["size"] == desk.folder.joinpath("vb.edxml").stat().st_size


def test_inspect_tells_what_a_part_is_and_what_it_was_declared_as(desk):
    packet = desk.raw(letter(attached=(Attached(content=zipped(PDF), media_type="application/zip"),)))
    (part,) = desk.inspected(packet)["parts"]
    wanted = {"name": "12_SXD-VP.pdf", "declared_type": "application/zip", "detected_type": "application/pdf"}
    assert {name: part[name] for name in wanted} == wanted
    assert (part["size"], part["unzipped"], part["entry_name"]) == (len(PDF), True, "6a1f.pdf")
    assert re.fullmatch(r"[0-9a-f]{64}", part["sha256"])


def test_inspect_reports_quirks_by_id_place_and_raw_value(desk):
    view = desk.inspected(desk.raw(letter(promulgated=dated("03/03/2025"))))
    found = next(quirk for quirk in view["quirks"] if quirk["id"] == "date-form")
    assert set(found) == {"id", "where", "detail"}
    assert found["where"].endswith("MessageHeader/PromulgationInfo/PromulgationDate")
    assert found["detail"] == "03/03/2025"
    assert view["promulgation"]["date"] == "2025-03-03"


def test_inspect_shows_a_status_report(desk):
    view = desk.inspected(desk.built(values=STATUS))
    assert (view["kind"], view["business"], view["document_id"]) == ("status", None, None)
    assert [to["organ_id"] for to in view["to"]] == ["H07.03"]
    status = view["status"]
    assert (status["code"], status["description"]) == ("03", "Đã vào sổ số 118")
    assert status["timestamp"] == "2025-03-04T08:02:03+07:00"
    assert status["staff"]["name"] == "Lê Thị C"
    assert view["response_for"][0]["document_id"] == "H07.03,2025/03/03,12/SXD-VP"


@pytest.mark.parametrize("business", ["recall", "update", "replace"])
def test_inspect_names_the_business(desk, business):
    concerns = "H07.03,2025/01/02,7/SXD-VP"
    view = desk.inspected(desk.built(business=business, reason="Nhầm số liệu", concerns=concerns))
    assert view["business"] == business
    assert view["change"]["reason"] == "Nhầm số liệu"
    assert concerns in (view["change"]["document_id"], *(old["document_id"] for old in view["change"]["replaces"]))


def test_inspect_still_shows_a_packet_that_must_not_be_used(desk):
    packet = desk.raw(letter(attached=(Attached(content="${file}"),)))
    view = desk.inspected(packet)
    assert (view["usable"], view["subject"]) == (False, "Về việc kiểm tra cầu treo")
    assert [fault["code"] for fault in view["faults"]] == ["packet.base64"]
    assert "error" in {problem["severity"] for problem in view["problems"]}
    assert view["parts"][0]["fault"]["code"] == "packet.base64"


def test_inspect_problems_have_rule_severity_place_and_message(desk):
    (*_, problem) = desk.inspected(desk.raw(letter(subject="")))["problems"]
    assert set(problem) == {"rule", "severity", "where", "message"}


def test_a_field_that_says_two_things_is_null(desk):
    twice = "<edXML:Subject>một</edXML:Subject><edXML:Subject>hai</edXML:Subject>"
    view = desk.inspected(desk.raw(letter(subject=twice)))
    assert (view["subject"], view["usable"]) == (None, False)


def test_two_different_kinds_of_business_are_not_taken_for_a_new_document(desk):
    business = "".join(f"<Bussiness><BussinessDocType>{kind}</BussinessDocType></Bussiness>" for kind in (0, 1))
    view = desk.inspected(desk.raw(letter(trace=f"<TraceHeaderList>{business}</TraceHeaderList>")))
    assert view["business"] is None


def test_a_recipient_without_a_code_is_shown(desk):
    nameless = "<edXML:To><edXML:OrganId>null</edXML:OrganId><edXML:OrganName>Sở Y tế</edXML:OrganName></edXML:To>"
    view = desk.inspected(desk.raw(letter(recipients=TO + nameless)))
    assert [(to["organ_id"], to["name"]) for to in view["to"]] == [("H07.11", None), (None, "Sở Y tế")]


@pytest.mark.parametrize(("content", "kind"), [("not a packet", None), ("<a/>", None), (LEGACY, "legacy-2803")])
def test_what_is_no_packet_is_json_too_and_exit_1(desk, content, kind):
    said = run("inspect", desk.file("x.edxml", content), "--json")
    assert said.code == 1
    assert (said.json["kind"], said.json["usable"], said.json["parts"]) == (kind, False, [])
    assert [problem["severity"] for problem in said.json["problems"]] == ["error"]


def test_what_is_no_packet_is_said_to_people_on_stderr(desk):
    said = run("inspect", desk.file("x.edxml", "not a packet"))
    assert (said.code, said.out) == (1, "")
    assert "not XML" in said.err


def test_people_read_vietnamese_or_english(desk):
    packet = desk.raw(letter(promulgated=dated("03/03/2025")))
    vietnamese, english = run("inspect", packet).out, run("inspect", packet, "--lang", "en").out
    assert re.search(r"Trích yếu +Về việc kiểm tra cầu treo", vietnamese)
    assert "03/03/2025" in vietnamese
    assert "ngày giờ viết khác dạng" in vietnamese
    assert re.search(r"Subject +Về việc kiểm tra cầu treo", english)
    assert "2025-03-03" in english


def test_people_read_all_of_a_recall_update_and_replacement(desk):
    replaced = {"document_id": "H07.03,2025/01/02,7/SXD-VP", "organs": ["H07.11"]}
    packet = desk.built(
        business="replace",
        reason="Sai phụ lục",
        replaces=[replaced],
        receivers=[{"organ": "H07.11", "added": False}, {"organ": "H07.12", "added": True}],
        staff=[{"name": "Lê Thị C", "department": "Văn thư"}],
        content_changed=True,
        responds_to=[STATUS["about"]],
        foreign=[{"parent": "edXMLEnvelope/edXMLHeader/MessageHeader", "name": "ReplyFors", "text": "GH-1"}],
        due="2025-04-01",
        pages=2,
        copies=5,
        paper=True,
        steering=1,
        to_places=["Như trên"],
        appendixes=["Bảng 1"],
        sphere="Xây dựng",
        typer_notation="LTC",
        content="Chi tiết",
    )
    out = run("inspect", packet).out
    for text in ("Thay thế", "Sai phụ lục", "bớt H07.11", "thêm H07.12", "Lê Thị C, Văn thư", "12/SXD-VP", "GH-1"):
        assert text in out
    for text in ("01/04/2025", "2 trang, 5 bản", "có gửi bản giấy", "Như trên", "Bảng 1", "Xây dựng", "LTC"):
        assert text in out


def test_people_read_a_status_report(desk):
    out = run("inspect", desk.built(values=STATUS)).out
    for text in ("TRẠNG THÁI XỬ LÝ: 03", "04/03/2025 08:02:03", "Đã vào sổ số 118", "Lê Thị C"):
        assert text in out


def test_nothing_in_a_packet_steers_the_terminal(desk):
    subject = "<edXML:Subject>[red]a\u009b31m\u202eb[/red]</edXML:Subject>"
    out = run("inspect", desk.raw(letter(subject=subject))).out
    assert "[red]a\\u009b31m\\u202eb[/red]" in out
    assert "\u009b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize("language", ["vi", "en"])
def test_every_quirk_has_words_for_people(language):
    quirks = re.findall(r"``([a-z0-9]+(?:-[a-z0-9]+)*)``", reader.__doc__ or "")
    known = [quirk for quirk in quirks if quirk not in ("edXML", "open_packet")]
    assert len(known) > 30
    assert [quirk for quirk in known if not Words(language)(quirk, "quirk")] == []


@pytest.mark.parametrize("content", [Raw().packet(), b"not a packet", Raw(subject="").packet()])
def test_the_working_folder_is_left_empty(desk, content):
    work = desk.folder / "work"
    work.mkdir()
    run("inspect", desk.file("x.edxml", content), "--work", work, "--json")
    assert list(work.iterdir()) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents())
def test_a_view_says_what_the_message_says(tmp_path, drawn):
    message, blobs = drawn
    packet = open_packet(io.BytesIO(written(message, blobs)), tmp_path)
    read, view = packet.message, inspected(packet, Checks())
    assert isinstance(read, Document)
    same = ("document_id", "subject", "type_code", "type_detail", "copies", "pages", "direction", "steering", "paper")
    assert {name: view[name] for name in same} == {name: getattr(read, name) for name in same}
    assert view["business"] == read.change.kind.name.lower()
    assert view["priority"] == read.priority
    assert [to["organ_id"] for to in view["to"]] == [to.code for to in read.recipients]
    assert [to["address"] or "" for to in view["to"]] == [to.address for to in read.recipients]
    assert view["appendixes"] == list(read.appendixes)
    assert view["due"] == (read.due.isoformat() if read.due else None)
    assert [datetime.fromisoformat(hop["timestamp"]) for hop in view["trace"]] == [hop.at for hop in read.trace]
    assert [part["sha256"] for part in view["parts"]] == [part.sha256 for part in read.parts]
    assert [answered["organ_id"] for answered in view["response_for"]] == [each.organ for each in read.responds_to]
    receivers = [(each["organ_id"], each["added"]) for each in view["change"]["receivers"]]
    assert receivers == [(each.organ, each.added) for each in read.change.receivers]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports)
def test_a_view_says_what_the_status_report_says(tmp_path, message):
    packet = open_packet(io.BytesIO(written(message)), tmp_path)
    view = inspected(packet, Checks())
    assert isinstance(packet.message, StatusReport)
    assert view["status"]["code"] == message.code
    assert datetime.fromisoformat(view["status"]["timestamp"]) == message.at
    assert (view["response_for"][0]["code"] or "") == packet.message.about.code


# --- validate ---------------------------------------------------------------------------------------------------------


def test_validate_ends_with_0_when_nothing_is_wrong(desk):
    said = run("validate", desk.built())
    assert (said.code, "1 gói tin: 0 lỗi" in said.out) == (0, True)


def test_validate_ends_with_1_and_names_rule_and_place(desk):
    said = run("validate", desk.raw(letter(subject="")), "--lang", "en")
    assert said.code == 1
    assert "ENV-07" in said.out
    assert "MessageHeader" in said.out


def test_validate_looks_into_the_main_pdf(desk):
    page = io.BytesIO()
    with pypdfium2.PdfDocument.new() as pdf:
        pdf.new_page(595, 842)
        pdf.save(page)
    many = "<edXML:OtherInfo><edXML:PageAmount>7</edXML:PageAmount></edXML:OtherInfo>"
    said = run("validate", desk.raw(letter(more=many, attached=(attached(1, page.getvalue(), "12.pdf"),))), "--json")
    assert "ENV-14" in {problem["rule"] for problem in said.json["files"][0]["problems"]}


def test_validate_judges_several_files_and_says_so_to_machines(desk):
    good, bad, none = desk.built(), desk.raw(letter(subject="")), desk.file("none.edxml", "no packet")
    said = run("validate", good, bad, none, "--json")
    assert said.code == 1
    assert [file["kind"] for file in said.json["files"]] == ["document", "document", None]
    assert said.json["files"][0]["problems"] == []
    errors = [p for file in said.json["files"] for p in file["problems"] if p["severity"] == "error"]
    assert said.json["errors"] == len(errors) >= 2


def test_a_profile_of_ones_own_can_turn_a_rule_off(desk):
    long = desk.raw(letter(promulgated=dated("2025/03/03"), subject=f"<edXML:Subject>{'a' * 501}</edXML:Subject>"))
    own = desk.file("tinh.toml", '[severity]\n"ENV-07" = "off"\n')
    rules = {p["rule"] for p in run("validate", long, "--json").json["files"][0]["problems"]}
    left = {p["rule"] for p in run("validate", long, "--json", "--profile", own).json["files"][0]["problems"]}
    assert rules - left == {"ENV-07"}


def test_a_packet_that_cannot_be_used_is_an_error_even_when_its_rule_is_off(desk):
    own = desk.file("tinh.toml", '[severity]\n"ENV-17" = "off"\n')
    said = run("validate", desk.raw(letter(attached=(Attached(content="${file}"),))), "--profile", own, "--json")
    assert said.code == 1
    assert said.json["errors"] >= 1


@pytest.mark.parametrize("profile", ["no-such", "no-such.toml"])
def test_an_unknown_profile_is_a_mistake_of_configuration(desk, profile):
    assert run("validate", desk.raw(letter()), "--profile", profile).code == 3


def test_profiles_lists_the_built_in_ones():
    assert "qcvn102" in run("profiles").out
    assert {"qcvn102", "strict", "lenient"} <= {profile["name"] for profile in run("profiles", "--json").json}


# --- extract ----------------------------------------------------------------------------------------------------------


def extracted(desk: Desk, *files: Attached) -> tuple[Said, dict[str, bytes]]:
    target = desk.folder / "out"
    said = run("extract", desk.raw(Raw(attached=files)), target)
    return said, {path.name: path.read_bytes() for path in target.iterdir()}


def test_extract_writes_the_files_themselves(desk):
    said, files = extracted(desk, attached(1, zipped(PDF), "12.pdf"), attached(2, SHEET, "Phụ lục.xls"))
    assert (said.code, files) == (0, {"12.pdf": PDF, "Phụ lục.xls": SHEET})
    assert said.out.splitlines() == [str(desk.folder / "out" / name) for name in ("12.pdf", "Phụ lục.xls")]


def test_extract_never_overwrites(desk):
    target = desk.folder / "out"
    target.mkdir()
    (target / "12.pdf").write_bytes(b"older")
    _, files = extracted(desk, attached(1, PDF, "12.pdf"), attached(2, SHEET, "12.pdf"))
    assert files == {"12.pdf": b"older", "12 (2).pdf": PDF, "12 (3).pdf": SHEET}


def test_extract_does_not_follow_a_link_that_waits_for_it(desk):
    target, elsewhere = desk.folder / "out", desk.folder / "elsewhere"
    target.mkdir()
    (target / "12.pdf").symlink_to(elsewhere)
    said = run("extract", desk.raw(Raw(attached=(attached(1, PDF, "12.pdf"),))), target)
    assert said.code == 0
    assert not elsewhere.exists()
    assert (target / "12 (2).pdf").read_bytes() == PDF


@pytest.mark.parametrize("name", ["../../evil.pdf", "/etc/evil.pdf", "..\\evil.pdf", "a\u202efdp.exe", "..", "con.pdf"])
def test_extract_stays_in_its_folder_whatever_the_name(desk, name):
    before = {path for path in desk.folder.parent.rglob("*") if path.is_file()}
    _, files = extracted(desk, attached(1, PDF, name))
    made = {path for path in desk.folder.parent.rglob("*") if path.is_file()} - before
    assert len(files) == 1
    assert {path.parent for path in made} == {desk.folder, desk.folder / "out"}


def test_extract_refuses_what_is_broken_and_writes_the_rest(desk):
    said, files = extracted(desk, attached(1, PDF, "12.pdf"), attached(2, "${file}", "broken.xls"))
    assert (said.code, files) == (1, {"12.pdf": PDF})
    assert "base64" in said.err


def test_extract_names_a_file_that_is_listed_but_not_carried(desk):
    lost = attached(2, SHEET, "lost.xls")
    references = attached(1, PDF, "12.pdf").reference() + lost.reference()
    packet = desk.raw(Raw(attached=(attached(1, PDF, "12.pdf"),), references=references))
    said = run("extract", packet, desk.folder / "out", "--json")
    assert said.code == 1
    assert [part["name"] for part in said.json["written"]] == ["12.pdf"]
    assert [fault["code"] for fault in said.json["refused"]] == ["packet.attachment-missing"]


def test_extract_works_when_only_the_header_is_wrong(desk):
    said = run("extract", desk.raw(Raw(subject="", attached=(attached(1, PDF, "12.pdf"),))), desk.folder / "out")
    assert said.code == 0


def test_extract_leaves_nothing_when_it_is_no_packet(desk):
    said = run("extract", desk.file("x.edxml", b"no packet"), desk.folder / "out")
    assert (said.code, list((desk.folder / "out").iterdir())) == (1, [])


def test_an_extracted_file_has_the_rights_of_any_new_file(desk):
    extracted(desk, attached(1, PDF, "12.pdf"))
    other = desk.file("other", b"")
    assert (desk.folder / "out" / "12.pdf").stat().st_mode == other.stat().st_mode


# --- diff -------------------------------------------------------------------------------------------------------------


def test_packets_that_differ_in_form_only_are_the_same(desk):
    ours = desk.raw(Raw(), "a.edxml")
    theirs = desk.raw(
        Raw(code=CODE.replace("edXML:", ""), attached=(Attached(content=zipped(PDF), content_id="1"),)), "b.edxml"
    )
    said = run("diff", ours, theirs)
    assert (said.code, "chỉ khác cách trình bày" in said.out) == (0, True)
    fields = run("diff", ours, theirs, "--json").json["differences"]
    assert {difference["level"] for difference in fields} == {"form"}


def test_every_difference_in_meaning_is_named(desk):
    more = "<edXML:To><edXML:OrganId>H07.12</edXML:OrganId></edXML:To>"
    ours = desk.raw(Raw(attached=(attached(1, PDF, "12.pdf"), attached(2, SHEET, "b.xls"))), "a.edxml")
    changed = (attached(1, PDF + b"!", "12.pdf"), attached(2, SHEET, "c.xls"))
    theirs = desk.raw(Raw(recipients=TO + more, subject="<edXML:Subject>Khác</edXML:Subject>", attached=changed), "b")
    said = run("diff", ours, theirs, "--json")
    found = {each["field"]: (each["ours"], each["theirs"]) for each in said.json["differences"]}
    assert (said.code, said.json["same"]) == (1, False)
    assert found["subject"] == ("Về việc kiểm tra cầu treo", "Khác")
    assert found["to[H07.12]"][0] is None
    assert "parts[12.pdf].sha256" in found
    assert found["parts[b.xls].name"] == ("b.xls", "c.xls")
    assert "Khác nội dung" in run("diff", ours, theirs).out


def test_order_of_recipients_and_attachments_is_form(desk):
    other = "<edXML:To><edXML:OrganId>H07.12</edXML:OrganId></edXML:To>"
    ours, theirs = desk.raw(Raw(recipients=TO + other), "a.edxml"), desk.raw(Raw(recipients=other + TO), "b.edxml")
    said = run("diff", ours, theirs, "--json")
    assert (said.code, [each["field"] for each in said.json["differences"]]) == (0, ["to (order)"])


def test_which_file_is_the_main_one_is_meaning(desk):
    first, second = attached(1, PDF, "12.pdf"), attached(2, SHEET, "b.xls")
    ours, theirs = (
        desk.raw(Raw(attached=(first, second)), "a.edxml"),
        desk.raw(Raw(attached=(second, first)), "b.edxml"),
    )
    fields = [each["field"] for each in run("diff", ours, theirs, "--json").json["differences"]]
    assert fields[:3] == ["parts[12.pdf].role", "parts[b.xls].role", "parts (order)"]


def test_identical_packets_are_said_to_be_the_same(desk):
    packet = desk.raw(Raw())
    assert (run("diff", packet, packet).code, run("diff", packet, packet).out.strip()) == (
        0,
        "Hai gói tin cùng nội dung.",
    )


def test_what_cannot_be_compared_ends_with_2(desk):
    said = run("diff", desk.raw(Raw()), desk.file("x.edxml", "no packet"))
    assert (said.code, said.out) == (2, "")
    assert said.err


# --- usage and processes ----------------------------------------------------------------------------------------------


def test_rules_says_what_each_rule_asks_and_how_much_it_matters_under_a_profile():
    usual = {row["rule"]: row for row in run("rules", "--json", "--lang", "en").json}
    lenient = {row["rule"]: row["severity"] for row in run("rules", "--json", "--profile", "lenient").json}
    assert len(usual) == 29
    assert (usual["ENV-14"]["severity"], lenient["ENV-14"]) == ("warning", "off")
    assert "Decree 30/2020" in usual["ENV-07"]["source"]
    assert "ENV-07" in run("rules").out


COMMANDS = ("inspect", "validate", "profiles", "rules", "extract", "build", "diff")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command):
    assert f"lienthong edxml {command}" in run(command, "--help").out.replace("\n", " ")


@pytest.mark.parametrize(
    "arguments", [("inspect",), ("inspect", "no-such-file"), ("extract", "x"), ("build", "m"), ("diff", "a")]
)
def test_wrong_usage_ends_with_2(arguments):
    said = run(*arguments)
    assert (said.code, said.out) == (2, "")


def lienthong(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LIENTHONG, "edxml", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_the_commands_belong_to_lienthong(desk):
    answer = lienthong("inspect", desk.raw(LETTER), "--json")
    assert (answer.returncode, json.loads(answer.stdout)["kind"], answer.stderr) == (0, "document", "")


def test_an_error_is_one_paragraph_in_the_chosen_language(desk):
    answer = lienthong("inspect", desk.file("x.edxml", "no packet"), "--lang", "en")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("lienthong: The packet is not XML")
    assert "Traceback" not in answer.stderr


def test_a_terminated_command_leaves_no_attachment_behind(tmp_path):
    waiting = """
import pathlib, signal, sys
from lienthong.cli.files import working_folder
with working_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "part").write_bytes(b"secret")
    print("ready", flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", waiting, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.glob("*/part"))) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_free_name_is_claimed_on_disks_with_and_without_links(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", refuse_to_link)
    target = tmp_path / "x.pdf"
    for number, expected in enumerate((True, False)):
        temporary = tmp_path / f"t{number}"
        temporary.write_bytes(b"%d" % number)
        assert claimed(temporary, target) is expected
    assert target.read_bytes() == b"0"


def refuse_to_link(*_: object) -> None:
    raise PermissionError("this disk has no links")


def test_a_folder_that_cannot_be_written_is_said(desk):
    said = run("inspect", desk.raw(LETTER), "--work", "/proc")
    assert said.code == 5
    assert "/proc" in said.err


def test_a_big_packet_shows_its_progress_to_a_person_only(tmp_path, monkeypatch, capsys):
    big = tmp_path / "big.edxml"
    with big.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with reading(big) as source:
        assert source.read(3) == b"\0\0\0"
    assert "big.edxml" in capsys.readouterr().err
