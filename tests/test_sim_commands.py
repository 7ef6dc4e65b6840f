"""``lienthong sim axis | office | keys``, as a person uses them: real processes, real sockets, files on disk."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from lienthong import ConfigError
from lienthong.cli.running import initialise
from lienthong.config import load, resolve_secret
from lienthong.signing.verification.trust import configured_trust
from lienthong_conformance.equipping import equip, with_seal
from lienthong_conformance.simulators.by_hand import agencies_of, pointing_elsewhere, run_axis, run_office
from lienthong_conformance.simulators.office import SECRETS

LIENTHONG = [sys.executable, "-c", "from lienthong.cli import main; main()"]
OPENER = build_opener(ProxyHandler({}))
A, B = "000.00.01.H99", "000.00.02.H99"


def lienthong(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LIENTHONG, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@contextmanager
def running(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A simulator's process and its address, once it has said so."""
    process = subprocess.Popen([*LIENTHONG, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert address, f"no address in the start line: {first!r}"
        yield process, address[0]
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def ended(process: subprocess.Popen[str]) -> str:
    """Ask a simulator to end; what it had said after its first line."""
    process.terminate()
    assert process.wait(10) == 0
    assert process.stdout is not None
    return process.stdout.read()


def fetched(url: str, body: object = None) -> object:
    request = Request(url, json.dumps(body).encode() if body is not None else None)
    with OPENER.open(request, timeout=10) as answer:
        return json.load(answer)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def initialised(folder: Path, code: str, axis_url: str = "http://127.0.0.1:8085") -> Path:
    initialise(
        folder,
        code=code,
        name=f"Cơ quan {code}",
        axis_url=axis_url,
        system_id="",
        listen="127.0.0.1:8028",
        office="folder",
    )
    return folder / "lienthong.toml"


@pytest.fixture
def configs(tmp_path: Path) -> tuple[Path, Path]:
    return initialised(tmp_path / "a", A), initialised(tmp_path / "b", B)


# --- axis ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_axis_says_where_it_listens_and_ends_cleanly(configs, tmp_path, number):
    with running("sim", "axis", "--for", configs[0], "--port", 0, "--folder", tmp_path / "axis") as (process, address):
        assert fetched(f"{address}/_sim/audit") == []
        process.send_signal(number)
        assert process.wait(10) == 0
    assert (tmp_path / "axis" / "records.jsonl").exists()


def test_an_axis_misbehaves_as_its_file_says(configs, tmp_path):
    (tmp_path / "faults.json").write_text('[{"kind": "lost-answer", "times": 2}]')
    options = ("--for", configs[0], "--port", 0, "--faults", tmp_path / "faults.json")
    with running("sim", "axis", *options) as (_, address):
        pending = fetched(f"{address}/_sim/faults")
        assert [(fault["kind"], fault["times"]) for fault in pending] == [("lost-answer", 2)]


def test_an_axis_knows_each_agency_by_its_system_and_secret(configs):
    agencies = agencies_of(configs)
    assert [(agency.code, agency.system_id) for agency in agencies] == [(A, A), (B, B)]
    secrets = [file.with_name("secrets").joinpath("axis-secret").read_text().strip() for file in configs]
    assert [agency.secret for agency in agencies] == secrets


def test_the_same_agency_twice_is_refused(configs):
    with pytest.raises(ConfigError) as problem:
        agencies_of((configs[0], configs[0]))
    assert problem.value.code == "sim.agency-twice"
    assert A in problem.value.text("vi")


def test_an_axis_connection_without_access_is_named(configs):
    without = re.sub(r"^system_id.*\n", "", configs[0].read_text("utf-8"), flags=re.MULTILINE)
    configs[0].write_text(without, "utf-8")
    with pytest.raises(ConfigError, match=r"connection\.axis") as problem:
        agencies_of(configs)
    assert problem.value.code == "sim.no-access"


def test_a_configuration_that_leads_elsewhere_is_pointed_out(configs):
    assert pointing_elsewhere(configs, "http://127.0.0.1:8085") == []
    assert {endpoint for _, endpoint in pointing_elsewhere(configs, "http://127.0.0.1:9")} == {"http://127.0.0.1:8085"}


def test_a_port_in_use_is_one_clear_paragraph(configs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = lienthong("sim", "axis", "--for", configs[0], "--port", taken.getsockname()[1])
    assert refused.returncode == 3
    assert "--port" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("content", ["[", '[{"kind": "sleepy"}]', '[{"kind": "slow", "sekonds": 1}]'])
def test_faults_that_cannot_be_used_are_refused(configs, tmp_path, content):
    (tmp_path / "faults.json").write_text(content)
    with pytest.raises(ConfigError) as problem:
        run_axis([configs[0]], 0, None, tmp_path / "faults.json")
    assert problem.value.code == "sim.faults"


# --- office -------------------------------------------------------------------------------------------------


def test_an_office_lets_the_account_in_that_it_prints(tmp_path):
    with running("sim", "office", "--port", 0, "--folder", tmp_path, "--clerk", "none") as (process, address):
        account = {"taiKhoan": SECRETS["user"], "matKhau": SECRETS["password"]}
        assert fetched(f"{address}/api/v2/dang-nhap", account)["code"] == "0"
        said = ended(process)
    assert f'base_url = "{address}/api/v2"' in said
    assert SECRETS["password"] in said


def test_the_lines_that_an_office_prints_are_a_connection(tmp_path):
    with running("sim", "office", "--port", 0, "--folder", tmp_path) as (process, _):
        said = ended(process)
    lines = said[said.index("[connection.office]") : said.index("sổ ghi")]
    office = tomllib.loads("\n".join(line.strip() for line in lines.splitlines()))["connection"]["office"]
    assert office["plugin"] == "rest"
    assert Path(office["mapping"]).is_file()


def test_an_unknown_clerk_is_refused():
    with pytest.raises(ConfigError) as problem:
        run_office(0, None, None, "sleepy")
    assert problem.value.code == "sim.clerk"


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def equipped(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("equipped")
    files = initialised(root / "a", A), initialised(root / "b", B)
    equip(files, None, datetime.now(UTC))
    return files


def test_keys_make_a_signer_and_trust_of_what_init_left_commented(equipped):
    for file in equipped:
        config = load(file)
        assert config.agency[0].signer == "seal"
        assert config.connection["seal"].plugin == "pkcs12"
        assert configured_trust(config.trust, config.path).roots


def test_the_comments_of_the_configuration_stay(equipped):
    text = equipped[0].read_text("utf-8")
    assert "back this folder up" in text
    assert not re.search(r"^#.*(seal|roots|pkcs12)", text, re.MULTILINE)


def test_only_the_owner_can_read_key_and_password(equipped):
    for name in ("keys/agency.p12", "secrets/key-password"):
        assert equipped[0].parent.joinpath(name).stat().st_mode & 0o077 == 0


def test_the_key_opens_with_the_password_that_was_written(equipped):
    from cryptography.hazmat.primitives.serialization import pkcs12

    config = load(equipped[0])
    seal = config.connection["seal"].plugin_keys()
    password = resolve_secret(seal["password"], config.file, "password").get_secret_value()
    loaded = pkcs12.load_pkcs12(config.path(Path(seal["file"])).read_bytes(), password.encode())
    assert A in loaded.cert.certificate.subject.rfc4514_string()


def test_all_configurations_of_one_call_trust_one_root(equipped):
    roots = {file.parent.joinpath("trust/roots.pem").read_bytes() for file in equipped}
    assert len(roots) == 1


def test_a_configuration_that_signs_already_is_left_alone(equipped, tmp_path):
    before = equipped[0].read_bytes()
    fresh = initialised(tmp_path / "c", "000.00.03.H99")
    with pytest.raises(ConfigError) as problem:
        equip((fresh, equipped[0]), None, datetime.now(UTC))
    assert problem.value.code == "sim.signs-already"
    assert equipped[0].read_bytes() == before
    assert not fresh.parent.joinpath("keys/agency.p12").exists()


def test_a_key_that_lies_there_is_never_overwritten(configs):
    key = configs[0].parent / "keys" / "agency.p12"
    key.write_bytes(b"a real key")
    with pytest.raises(ConfigError) as problem:
        equip(configs, None, datetime.now(UTC))
    assert problem.value.code == "sim.key-there"
    assert key.read_bytes() == b"a real key"


def test_a_configuration_for_several_agencies_is_refused(configs):
    second = f'\n[[agency]]\ncode = "{B}"\nname = "B"\noffice = "office"\naxis = "axis"\n'
    configs[0].write_text(configs[0].read_text("utf-8") + second, "utf-8")
    with pytest.raises(ConfigError) as problem:
        equip((configs[0],), None, datetime.now(UTC))
    assert problem.value.code == "sim.several-agencies"


BARE = '[[agency]]   # ours\ncode = "X"\n\n[connection.office]\nplugin = "folder"\n'


@pytest.mark.parametrize(
    "text", [BARE, BARE + "\n[trust]\n", BARE + "\n#[trust]\n", BARE.replace("\n\n", '\n# signer = "seal"\n')]
)
def test_missing_lines_are_added_where_they_belong(text):
    values = tomllib.loads(with_seal(text, ["[[trust.root]]", 'file = "trust/roots.pem"']))
    assert values["agency"][0] == {"code": "X", "signer": "seal"}
    assert values["connection"]["seal"]["file"] == "keys/agency.p12"
    assert values["trust"]["root"] == [{"file": "trust/roots.pem"}]
    assert values["connection"]["office"] == {"plugin": "folder"}


# --- the first ten minutes ----------------------------------------------------------------------------------


def test_a_first_document_is_exchanged_with_the_commands_of_the_guide(tmp_path, blank_letter):
    port = free_port()
    files = [initialised(tmp_path / name, code, f"http://127.0.0.1:{port}") for name, code in (("a", A), ("b", B))]
    assert lienthong("sim", "keys", *files).returncode == 0
    with running("sim", "axis", "--for", files[0], "--for", files[1], "--port", port):
        about = ("--number", "12", "--notation", "UBND-VX", "--subject", "V/v họp giao ban")
        assert lienthong("send", blank_letter, "--to", B, *about, "-c", files[0]).returncode == 0
        for file in (*files, files[0]):
            once = lienthong("run", "--once", "-c", file)
            assert once.returncode == 0, once.stderr
        listed = json.loads(lienthong("list", "--json", "-c", files[0]).stdout)
    assert [delivery["last_status"] for delivery in listed[0]["deliveries"]] == ["01"]
    assert list((tmp_path / "b" / "van-ban" / "inbox").glob("*/thu.pdf"))


@pytest.fixture
def blank_letter(tmp_path: Path) -> Path:
    from lienthong_conformance.letters import letter_of, render

    return render(letter_of("ra-soat-van-ban"), tmp_path).main.rename(tmp_path / "thu.pdf")
