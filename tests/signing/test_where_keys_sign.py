"""Orders go to where their key is; what hangs, dies, is corrected or was signed before costs nobody else anything."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lienthong.config import load
from lienthong.errors import LienthongError, Refused, SigningError
from lienthong.model import Verdict
from lienthong.pipeline.signing import LaneSigning, SigningOrder, ThreadSigning, is_already_signed
from lienthong.registry import discover, open_connection
from lienthong.signing.stamp.appearance import Appearance, AppearanceKind
from lienthong_conformance.pki import KeyFile

from .tokens import DRIVER, PIN, Cabinet, needs_softhsm
from .workshop import NOW, code_of, credential_of, sign

HEAD = """\
[[agency]]
code = "000.00.01.H53"
name = "Ủy ban nhân dân huyện An Lạc"
office = "drop"
axis = "axis"
signer = "seal"

[connection.drop]
plugin = "folder"
path = "office"

[connection.axis]
plugin = "vxp"
"""


class Desk:
    """A configuration with signers, and orders to them."""

    def __init__(self, folder: Path, letter: Path) -> None:
        self.folder = folder
        self.file = folder / "lienthong.toml"
        self.letter = letter
        self._made = 0
        self._tables: dict[str, dict[str, str]] = {}

    def signer(self, name: str, plugin: str, secret: str, **keys: object) -> Path:
        """Add or change a connection; its password or PIN lies in the file that is returned."""
        file = self.folder / f"{name}.secret"
        self.secret(file, secret)
        word = "password" if plugin == "pkcs12" else "pin"
        values = {"plugin": plugin, word: f"file:{file}", **{key: str(value) for key, value in keys.items()}}
        self._tables[name] = values
        tables = (
            f"\n[connection.{n}]\n" + "".join(f'{k} = "{v}"\n' for k, v in t.items()) for n, t in self._tables.items()
        )
        self.file.write_text(HEAD + "".join(tables), "utf-8")
        return file

    @staticmethod
    def secret(file: Path, value: str) -> None:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(value)

    @contextmanager
    def signing(self, processes: int = 1, key_seconds: float = 60.0) -> Iterator[LaneSigning]:
        config = load(self.file)
        plugins = discover(frozenset({"pkcs11", "pkcs12"}))
        opened = {n: open_connection(config, n, plugins, self.folder, lambda: datetime.now(UTC)) for n in self._tables}
        signing = LaneSigning(self.file, self.folder, opened, processes, key_seconds=key_seconds)
        yield signing
        signing.close()
        for connection in opened.values():
            connection.close()

    def order(self, signer: str, **more) -> SigningOrder:
        self._made += 1
        target = self.folder / f"signed-{self._made}.pdf"
        known = {"source": self.letter, "at": NOW, "summary": "cong-van.pdf", **more}
        return SigningOrder(connection=signer, target=target, **known)


@pytest.fixture
def desk(tmp_path, letter) -> Desk:
    return Desk(tmp_path, letter)


@pytest.fixture(scope="module")
def cabinet(tmp_path_factory) -> Cabinet:
    return Cabinet(tmp_path_factory.mktemp("softhsm"))


def add_pkcs12(desk: Desk, key: KeyFile, name: str = "seal") -> Path:
    return desk.signer(name, "pkcs12", key.password, file=key.path)


def failing(action: Callable[[], object]) -> str:
    with pytest.raises(LienthongError) as caught:
        action()
    return caught.value.code


# Where


@pytest.mark.parametrize("processes", [0, 1])
def test_a_shared_key_signs_in_the_pool_or_in_the_thread(desk, agency, check, processes):
    add_pkcs12(desk, agency)
    with desk.signing(processes) as signing:
        order = desk.order("seal")
        assert signing.sign(order) is None
        assert len(multiprocessing.active_children()) == processes
        assert signing.credential("seal") == credential_of(agency)
        assert signing.probe("seal").usable
    assert check(order.target).verdict is Verdict.VALID
    assert multiprocessing.active_children() == []


def test_two_processes_share_many_orders(desk, agency, check):
    add_pkcs12(desk, agency)
    with desk.signing(2) as signing:
        orders = [desk.order("seal") for _ in range(8)]
        threads = [threading.Thread(target=signing.sign, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [check(order.target).verdict for order in orders] == [Verdict.VALID] * 8


def test_what_the_signature_shows_is_laid_out_where_it_is_made(desk, agency, check):
    add_pkcs12(desk, agency)
    shown = Appearance(kind=AppearanceKind.ATTACHMENT, texts=("15/UBND-VP",))
    with desk.signing() as signing:
        order, plain = desk.order("seal", appearance=shown), desk.order("seal")
        signing.sign(order)
        signing.sign(plain)
    assert check(order.target).verdict is Verdict.VALID
    assert b"/AP" in order.target.read_bytes()
    assert b"/AP" not in plain.target.read_bytes()


def test_room_for_a_timestamp_is_kept(desk, agency, check):
    add_pkcs12(desk, agency)
    with desk.signing(0) as signing:
        plain, roomy = desk.order("seal"), desk.order("seal", room=10_000)
        signing.sign(plain)
        signing.sign(roomy)
    assert 19_900 < roomy.target.stat().st_size - plain.target.stat().st_size < 20_100
    assert check(roomy.target).verdict is Verdict.VALID


def test_a_file_that_is_gone(desk, agency):
    add_pkcs12(desk, agency)
    with desk.signing(0) as signing:
        order = desk.order("seal", source=desk.folder / "khong-co.pdf")
        assert code_of(SigningError, lambda: signing.sign(order)) == "sign.file"


# Corrected without a restart


@pytest.mark.parametrize("processes", [0, 1])
def test_a_corrected_password_is_taken_up(desk, agency, check, processes):
    secret = desk.signer("seal", "pkcs12", "sai", file=agency.path)
    with desk.signing(processes) as signing:
        assert failing(lambda: signing.sign(desk.order("seal"))) == "sign.wrong-password"
        assert not signing.probe("seal").usable
        desk.secret(secret, agency.password)
        order = desk.order("seal")
        assert signing.sign(order) is None
    assert check(order.target).verdict is Verdict.VALID


def test_a_configuration_that_is_being_edited_holds_documents_back(desk, agency):
    add_pkcs12(desk, agency)
    whole = desk.file.read_text("utf-8")
    with desk.signing() as signing:
        desk.file.write_text("[connection", "utf-8")
        assert code_of(SigningError, lambda: signing.sign(desk.order("seal"))) == "config.syntax"
        desk.file.write_text(whole, "utf-8")
        assert signing.sign(desk.order("seal")) is None


def test_another_agencys_signer_is_not_disturbed(desk, agency, pki):
    add_pkcs12(desk, pki.person, "person")
    desk.signer("seal", "pkcs12", "sai", file=agency.path)
    with desk.signing() as signing:
        assert failing(lambda: signing.sign(desk.order("seal"))) == "sign.wrong-password"
        assert signing.sign(desk.order("person")) is None


# Tokens


@needs_softhsm
@pytest.mark.xdist_group("softhsm")
class TestTokens:
    def test_a_token_has_a_process_of_its_own(self, desk, cabinet, agency, check):
        cabinet.token("rieng", agency)
        desk.signer("seal", "pkcs11", PIN, module=DRIVER, token_label="rieng")
        with desk.signing(0) as signing:
            order = desk.order("seal")
            assert signing.sign(order) is None
            assert len(multiprocessing.active_children()) == 1
            assert signing.probe("seal").usable
        assert check(order.target).verdict is Verdict.VALID

    def test_a_wrong_pin_waits_for_the_right_one_and_is_tried_once(self, desk, cabinet, agency):
        token = cabinet.token("sai-pin", agency)
        secret = desk.signer("seal", "pkcs11", "000000", module=DRIVER, token_label="sai-pin")
        with desk.signing() as signing:
            assert failing(lambda: signing.sign(desk.order("seal"))) == "sign.pin-wrong"
            counted = contents(token.folder)
            desk.signer("seal", "pkcs11", "000000", module=DRIVER, token_label="sai-pin", key_label="signer")
            assert failing(lambda: signing.sign(desk.order("seal"))) == "sign.pin-wrong"
            assert contents(token.folder) == counted, "nothing was written to the token: it was not tried"
            desk.secret(secret, PIN)
            assert signing.sign(desk.order("seal")) is None

    def test_a_token_that_comes_back_signs_by_itself(self, desk, cabinet, agency):
        token = cabinet.token("rut-ra", agency)
        desk.signer("seal", "pkcs11", PIN, module=DRIVER, token_label="rut-ra")
        with desk.signing() as signing:
            assert signing.sign(desk.order("seal")) is None
            token.unplug()
            assert failing(lambda: signing.sign(desk.order("seal"))) == "sign.token-absent"
            token.plug_in()
            assert signing.sign(desk.order("seal")) is None

    def test_a_driver_that_hangs_is_killed_and_takes_no_other_key_with_it(
        self, desk, cabinet, agency, pki, monkeypatch
    ):
        cabinet.token("treo", agency)
        desk.signer("seal", "pkcs11", PIN, module=DRIVER, token_label="treo")
        add_pkcs12(desk, pki.person, "person")
        # The driver reads its settings when it starts: out of a pipe that nobody writes to, it reads for ever.
        settings = desk.folder / "softhsm2.conf"
        os.mkfifo(settings)
        monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
        with desk.signing(key_seconds=60) as signing:
            signing._key_seconds = 2.0
            assert failing(lambda: signing.credential("seal")) == "sign.key-hangs"
            signing._key_seconds = 60.0
            assert signing.sign(desk.order("person")) is None
            settings.unlink()
            shutil.copyfile(cabinet.configuration, settings)
            assert signing.sign(desk.order("seal")) is None


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix == ".object"}


# Signed before


def test_a_file_that_the_agency_has_signed_is_copied(desk, agency, signed):
    add_pkcs12(desk, agency)
    with desk.signing(0) as signing:
        order = desk.order("seal", source=signed)
        assert signing.sign(order) is None
    assert order.target.read_bytes() == signed.read_bytes()


def test_another_certificate_of_the_same_organisation_counts(letter, signed, agency, pki, authorities, tmp_path):
    renewed = authorities.key("agency")
    by_renewed = sign(letter, tmp_path / "r.pdf", renewed, at=datetime.now(UTC))
    assert renewed.certificate != agency.certificate
    assert is_already_signed(by_renewed, credential_of(agency))
    assert is_already_signed(signed, credential_of(agency))
    assert not is_already_signed(letter, credential_of(agency))
    assert not is_already_signed(signed, credential_of(pki.agencies["000.00.02.H53"]))


def test_the_agency_signs_after_the_person_and_never_before(letter, signed, agency, authorities, tmp_path):
    person = authorities.key("person")
    at = datetime.now(UTC)
    by_person = sign(letter, tmp_path / "p.pdf", person, at=at)
    assert not is_already_signed(by_person, credential_of(agency))
    assert is_already_signed(by_person, credential_of(person, at))
    assert code_of(Refused, lambda: is_already_signed(signed, credential_of(person, at))) == "sign.person-after-agency"


def test_a_file_that_speaks_of_no_signature_has_none(letter, agency, tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK\x03\x04 not a PDF")
    assert not is_already_signed(tmp_path / "a.docx", credential_of(agency))


def test_signing_in_the_thread_opens_what_it_needs(desk, agency, check):
    add_pkcs12(desk, agency)
    signing = ThreadSigning(desk.file, desk.folder, {})
    order = desk.order("seal")
    assert signing.sign(order) is None
    signing.close()
    assert check(order.target).verdict is Verdict.VALID
