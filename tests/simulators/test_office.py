"""The simulated office, spoken to over HTTP by hand: what it does, what it counts, and how it misbehaves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lienthong_conformance.simulators.faults import Fault, FaultKind
from lienthong_conformance.simulators.office import SECRETS, Draft, DraftFile, OfficeSimulator, Report
from lienthong_conformance.simulators.office_desk import AuditRow

PDF = b"%PDF-1.7 \x00\xff"
DRAFT = Draft(recipients=(("H37.SYT", "Sở Y tế"),), files=(DraftFile(name="a.pdf", content=PDF),))


class Client:
    """A document system's programmer trying things out."""

    def __init__(self, office: OfficeSimulator) -> None:
        self.http = httpx.Client(base_url=office.url, trust_env=False)
        self.login()

    def login(self, password: str = SECRETS["password"]) -> Any:
        body = {"taiKhoan": SECRETS["user"], "matKhau": password}
        answer = self.http.post("/dang-nhap", json=body).json()
        if answer["code"] == "0":
            self.http.headers["X-Auth-Token"] = answer["data"]["token"]
        return answer

    def get(self, path: str, **query: str) -> Any:
        return self.http.get(path, params=query).json()

    def listed(self, path: str, **query: str) -> list[Any]:
        return self.get(path, **query)["data"]["danhSach"] or []

    def create(self, key: str = "K1", **changes: object) -> Any:
        body = {
            "maVanBan": "H37.SYT,2026/11/20,7/SYT",
            "soKyHieu": "7/SYT",
            "trichYeu": "Về việc",
            "donViGui": {"ma": "H37.SYT"},
            "nghiepVu": "MOI",
            "tep": [{"ten": "a.pdf", "noiDung": base64.b64encode(PDF).decode()}],
            **changes,
        }
        return self.http.post("/van-ban-den", json=body, headers={"Idempotency-Key": key}).json()


@pytest.fixture
def office() -> Iterator[OfficeSimulator]:
    yield from running(OfficeSimulator(agencies=[("H37.SYT", "Sở Y tế")]))


def running(office: OfficeSimulator) -> Iterator[OfficeSimulator]:
    office.start()
    yield office
    office.stop()


@pytest.fixture
def client(office: OfficeSimulator) -> Iterator[Client]:
    yield from connected(office)


def connected(office: OfficeSimulator) -> Iterator[Client]:
    client = Client(office)
    yield client
    client.http.close()


def control(office: OfficeSimulator, method: str, path: str, **more: Any) -> httpx.Response:
    with httpx.Client(base_url=office.endpoint, trust_env=False) as http:
        return http.request(method, f"/_sim/{path}", **more)


def test_nothing_is_said_to_strangers(office: OfficeSimulator, client: Client) -> None:
    assert client.login("wrong")["code"] == "SAI_MAT_KHAU"
    office.end_sessions()
    answer = client.http.get("/van-ban-di")
    assert (answer.status_code, answer.json()["code"]) == (200, "HET_PHIEN")


def test_an_issued_document_is_listed_until_it_is_acknowledged(office: OfficeSimulator, client: Client) -> None:
    number = office.put_document(DRAFT)
    (entry,) = client.listed("/van-ban-di")
    assert (entry["id"], entry["soKyHieu"], entry["guiBanGiay"]) == (float(number), "12/QĐ-STC", "FALSE")
    for code in ("0", "DA_XAC_NHAN"):
        answer = client.http.post(f"/van-ban-di/{number}/xac-nhan", json={"ketQua": "DA_NHAN"})
        assert answer.json()["code"] == code
    assert client.listed("/van-ban-di") == []


def test_files_come_alone_in_json_or_inside_the_list(office: OfficeSimulator, client: Client) -> None:
    number = office.put_document(DRAFT)
    path = f"/van-ban-di/{number}/tep/T0"
    assert client.http.get(path).content == PDF
    assert base64.b64decode(client.get(path, dang="json")["data"]["noiDung"]) == PDF
    (entry,) = client.listed("/van-ban-di", kemNoiDung="1")
    assert base64.b64decode(entry["tepDinhKem"][0]["noiDung"]) == PDF
    assert client.get(f"/van-ban-di/{number}/tep/T9")["code"] == "KHONG_CO_TEP"


def test_a_list_is_paged(office: OfficeSimulator, client: Client) -> None:
    numbers = [float(office.put_document(DRAFT)) for _ in range(3)]
    pages = [client.listed("/van-ban-di", trang=page, soLuong="2") for page in "123"]
    assert [[entry["id"] for entry in page] for page in pages] == [numbers[:2], numbers[2:], []]


def test_an_incoming_document_is_recorded_with_its_files(office: OfficeSimulator, client: Client) -> None:
    identity = client.create()["data"]["id"]
    (record,) = office.incoming()
    assert (record["id"], record["key"], record["document_id"]) == (identity, "K1", "H37.SYT,2026/11/20,7/SYT")
    (file,) = record["files"]
    assert (file["ten"], file["kichThuoc"], file["sha256"]) == ("a.pdf", len(PDF), hashlib.sha256(PDF).hexdigest())
    assert client.get("/van-ban-den", khoa="K1")["data"]["danhSach"] == [{"id": identity}]
    assert client.get("/van-ban-den", khoa="K2")["data"]["danhSach"] == []


def test_the_same_key_is_the_same_document(office: OfficeSimulator, client: Client) -> None:
    first, second = client.create(), client.create()
    assert (second["code"], second["data"]) == ("DA_TON_TAI", first["data"])
    assert office.audit() == [AuditRow(document_id="H37.SYT,2026/11/20,7/SYT", business="MOI", created=1)]


def test_an_office_without_keys_shows_duplicates_in_its_audit() -> None:
    for office in running(OfficeSimulator(dedup="none")):
        for client in connected(office):
            client.create()
            client.create()
        assert [row.created for row in office.audit()] == [2]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"trichYeu": ""}, "THIEU_DU_LIEU"),
        ({"tep": [{"ten": "a.pdf", "noiDung": "%%%"}]}, "SAI_TEP"),
        ({"tep": [{"ten": "a.pdf"}]}, "SAI_TEP"),
    ],
)
def test_a_bad_document_is_refused_in_vietnamese(
    changes: dict[str, object], code: str, office: OfficeSimulator, client: Client
) -> None:
    answer = client.create(**changes)
    assert (answer["code"], office.incoming()) == (code, [])
    assert answer["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_a_body_that_is_no_object_is_refused(body: bytes, client: Client) -> None:
    assert client.http.post("/van-ban-den", content=body).json()["code"] == "SAI_JSON"


@pytest.mark.parametrize(
    ("business", "words"), [("MOI", ["TIEP_NHAN", "DANG_XU_LY", "HOAN_THANH"]), ("THU_HOI", ["DONG_Y"])]
)
def test_an_automatic_clerk_answers_at_once(business: str, words: list[str]) -> None:
    for office in running(OfficeSimulator(clerk="automatic")):
        for client in connected(office):
            client.create(nghiepVu=business)
            reports = client.listed("/trang-thai")
    assert [report["trangThai"] for report in reports] == words
    assert {report["vanBan"]["donVi"] for report in reports} == {"H37.SYT"}


def test_a_status_that_came_back_is_kept_once(office: OfficeSimulator, client: Client) -> None:
    number = office.put_document(DRAFT)
    body = {"khoa": "K", "vanBan": number, "donVi": "H37.SYT", "trangThai": "TIEP_NHAN"}
    codes = [client.http.post("/phan-hoi", json=body).json()["code"] for _ in range(2)]
    assert (codes, len(office.feedback())) == (["0", "DA_TON_TAI"], 1)


def test_the_directory_is_a_bare_list(client: Client) -> None:
    assert client.get("/don-vi")[1] == {"maDinhDanh": "H37.SYT", "tenDonVi": "Sở Y tế"}


def test_a_clerk_can_act_from_another_process(office: OfficeSimulator, client: Client) -> None:
    file = {"name": "a.pdf", "content": base64.b64encode(PDF).decode()}
    issued = control(office, "POST", "issue", json={"recipients": [["H37.SYT", "Sở Y tế"]], "files": [file]}).json()
    assert client.http.get(f"/van-ban-di/{issued['id']}/tep/T0").content == PDF
    incoming = client.create()["data"]["id"]
    control(office, "POST", "status", json={"incoming": incoming, "code": "03"})
    assert [report["trangThai"] for report in client.listed("/trang-thai")] == ["TIEP_NHAN"]
    assert [row["created"] for row in control(office, "GET", "audit").json()] == [1]
    assert [row["event"] for row in control(office, "GET", "records?event=created").json()] == ["created"]


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("issue", b"{"),
        ("issue", b'{"subjekt": 1}'),
        ("status", b'{"incoming": "DEN-9", "code": "03"}'),
        ("status", b"{}"),
    ],
)
def test_a_clerk_s_mistake_is_told(act: str, body: bytes, office: OfficeSimulator) -> None:
    answer = control(office, "POST", act, content=body)
    assert (answer.status_code, bool(answer.json()["error"])) == (400, True)


def test_a_restarted_office_knows_what_it_had(tmp_path: Path) -> None:
    for office in running(OfficeSimulator(folder=tmp_path)):
        kept, gone = office.put_document(DRAFT), office.put_document(DRAFT)
        for client in connected(office):
            client.create()
            client.http.post(f"/van-ban-di/{gone}/xac-nhan", json={"ketQua": "DA_NHAN"})
        office.report_status(Report(code="03", incoming=str(office.incoming()[0]["id"])))
    for office in running(OfficeSimulator(folder=tmp_path)):
        for client in connected(office):
            assert [entry["id"] for entry in client.listed("/van-ban-di")] == [float(kept)]
            assert len(client.listed("/trang-thai")) == 1
            assert client.http.get(f"/van-ban-di/{kept}/tep/T0").content == PDF
            assert client.create()["code"] == "DA_TON_TAI"
        assert int(office.put_document(DRAFT)) > int(gone)


def test_a_reset_office_is_empty(office: OfficeSimulator, client: Client) -> None:
    office.put_document(DRAFT)
    control(office, "POST", "reset")
    client.login()
    assert (client.listed("/van-ban-di"), office.incoming()) == ([], [])


def test_faults_fire_by_operation_and_facts(office: OfficeSimulator, client: Client) -> None:
    office.script(Fault(kind=FaultKind.ERROR_AFTER, match={"operation": "create", "key": "K2"}))
    assert client.create("K1")["code"] == "0"
    assert client.create("K2") == {"simulated": "error-after"}
    assert [record["key"] for record in office.incoming()] == ["K1", "K2"]


def test_tampering_changes_a_file_on_its_way(office: OfficeSimulator, client: Client) -> None:
    number = office.put_document(DRAFT)
    office.script(Fault(kind=FaultKind.TAMPER, match={"operation": "file"}))
    first, second = (client.http.get(f"/van-ban-di/{number}/tep/T0").content for _ in range(2))
    assert (first != PDF, len(first), second) == (True, len(PDF), PDF)


def test_an_unknown_service_is_a_404(client: Client) -> None:
    assert client.http.get("/khong-co").status_code == 404
