"""What goes wrong between a document and its signatures: each a clear state, nothing lost, and it goes on by itself."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from lienthong import Pending, Rejected, Signer, SigningError, Unavailable
from lienthong.config import AgencySettings, AppearanceSettings, Config
from lienthong.errors import StorageFull
from lienthong.model import Part, PartRole, SignatureLevel
from lienthong.pipeline.appearances import appearance_of
from lienthong.pipeline.sealing import Progress, Stage, next_stage
from lienthong_conformance.pki import KeyFile

from .authorities import AGENCY_NAME, Authorities, Fault
from .outgoing_desk import OutgoingDesk, killed_after, outgoing_desk
from .stationery import draw_seal
from .workshop import altered, sign, sign_with_pyhanko

WAITING = Pending(token="t-1", retry_after=10.0)


@pytest.fixture
def desk_of(tmp_path: Path, authorities: Authorities):
    """Opens a desk; ``key`` is the label of its signer's certificate."""
    with ExitStack() as stack:

        def make(key: str = "agency", **settings) -> OutgoingDesk:
            return stack.enter_context(outgoing_desk(tmp_path, authorities, authorities.key(key), **settings))

        yield make


@pytest.fixture
def two(letter: Path) -> dict[str, Path]:
    return {"cv.pdf": letter, "phụ lục.pdf": letter}


@pytest.fixture
def seal(tmp_path: Path) -> Path:
    return draw_seal(tmp_path / "seal.png")


# --- what comes next ----------------------------------------------------------------------------------------------


def part(name: str, media_type: str = "application/pdf") -> Part:
    return Part(role=PartRole.ATTACHMENT, name=name, media_type=media_type, size=1, sha256="ab" * 32)


PARTS = (part("a.pdf"), part("b.txt", "text/plain"), part("c.pdf"))


@pytest.mark.parametrize(
    ("progress", "signs", "level", "then"),
    [
        (Progress(), True, "B-B", (Stage.SIGN, 0)),
        (Progress(signed=1), True, "B-B", (Stage.SIGN, 2)),
        (Progress(signed=3), True, "B-B", None),
        (Progress(), False, "B-B", None),
        (Progress(signed=1), True, "B-LTA", (Stage.SIGN, 2)),
        (Progress(signed=3), True, "B-T", (Stage.PROVE, 0)),
        (Progress(signed=3, proven=1), True, "B-T", (Stage.PROVE, 2)),
        (Progress(signed=3, proven=3), True, "B-T", None),
        (Progress(), False, "B-T", (Stage.PROVE, 0)),
    ],
)
def test_all_files_are_signed_before_the_first_is_proven(progress, signs, level, then):
    assert next_stage(PARTS, progress, signs=signs, level=SignatureLevel(level)) == then


def test_progress_is_kept_whole():
    progress = Progress(signed=2, proven=1, fresh={0: ("ab", 7)}, request={"blob": "b", "prepared": "{}", "token": "t"})
    assert Progress.from_json(progress.to_json()) == progress
    assert Progress.from_json("") == Progress()


# --- the good case ------------------------------------------------------------------------------------------------


def test_one_file_at_the_basic_level_is_signed_and_sent_in_one_go(desk_of, letter):
    desk = desk_of()
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent) == {"cv.pdf": (1, 0)}


def test_every_file_is_brought_to_the_configured_level(desk_of, two):
    desk = desk_of(level="B-T")
    sent = desk.hand_in(two)
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent) == {"cv.pdf": (1, 1), "phụ lục.pdf": (1, 1)}
    assert desk.phone.files_asked == ["cv.pdf", "phụ lục.pdf"]


def test_the_archive_level_stores_answers_and_seals_them(desk_of, letter):
    desk = desk_of(level="B-LTA")
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    facts = desk.facts(sent, "cv.pdf")
    assert [each.document_timestamp for each in facts.signatures] == [False, True]
    assert facts.ocsps or facts.crls


# --- the authorities ----------------------------------------------------------------------------------------------


def test_a_timestamp_authority_that_is_down_costs_no_signature(desk_of, authorities, two):
    desk = desk_of(level="B-T")
    with authorities.fault("tsa", Fault.DOWN):
        sent = desk.hand_in(two)
        desk.work()
        assert desk.standing(sent) == ("awaiting-proof", "sign.tsa-unavailable")
        desk.later()
        assert desk.standing(sent) == ("awaiting-proof", "sign.tsa-unavailable")
        assert desk.holders(sent) == {"cv.pdf": (1, 0), "phụ lục.pdf": (1, 0)}
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent) == {"cv.pdf": (1, 1), "phụ lục.pdf": (1, 1)}
    assert desk.phone.files_asked == ["cv.pdf", "phụ lục.pdf"]


def test_the_office_hears_at_once_that_its_document_is_safe(desk_of, authorities, letter):
    desk = desk_of(level="B-T")
    with authorities.fault("tsa", Fault.DOWN):
        desk.hand_in({"cv.pdf": letter})
        desk.work()
    assert desk.office.told == [("15", True, "")]


def test_stale_answers_about_revocation_wait_for_better_ones(desk_of, authorities, letter):
    desk = desk_of(level="B-LT")
    with authorities.fault("ocsp", Fault.STALE), authorities.fault("crl", Fault.STALE):
        sent = desk.hand_in({"cv.pdf": letter})
        desk.work()
        assert desk.standing(sent) == ("awaiting-proof", "sign.revocation-unavailable")
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")
    assert len(desk.phone.asked) == 1


def test_a_document_signs_anew_when_its_key_is_replaced_because_the_certificate_was_revoked(
    desk_of, authorities, letter
):
    desk = desk_of("revoked", level="B-LT")
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("awaiting-signature", "sign.certificate-revoked")
    assert desk.files(sent)["cv.pdf"].read_bytes() == letter.read_bytes()
    desk.phone.key = authorities.key("agency")
    desk.later(3700)
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent) == {"cv.pdf": (1, 1)}


def test_whoever_waits_for_an_authority_leaves_a_worker_for_others(desk_of, letter):
    desk = desk_of(level="B-T")
    with ExitStack() as others:
        for _ in range(3):
            assert others.enter_context(desk.adapter.proving.place())
        sent = desk.hand_in({"cv.pdf": letter})
        desk.work()
        assert desk.standing(sent) == ("awaiting-proof", "")
        assert desk.row(sent).run_at > desk.clock.seconds
    desk.later(5)
    assert desk.standing(sent) == ("dispatched", "")


# --- the person ---------------------------------------------------------------------------------------------------


def test_a_signer_who_needs_time_is_asked_about_the_same_digest_until_the_answer(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [WAITING, WAITING]
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("awaiting-signature", "sign.waits-for-signer")
    desk.later(11)
    desk.later(11)
    assert desk.standing(sent) == ("dispatched", "")
    assert [request.token for request in desk.phone.asked] == [None, "t-1", "t-1"]
    assert len({request.digest for request in desk.phone.asked}) == 1
    assert [kind for kind, _ in desk.events(sent)].count("awaiting-signature") == 1


def test_a_signature_that_exists_is_not_asked_for_again_when_the_next_one_fails(desk_of, two):
    desk = desk_of()
    desk.phone.script = [WAITING, None, Unavailable("peer.busy", peer="phone", status=503)]
    sent = desk.hand_in(two)
    desk.work()
    desk.later(11)
    assert desk.standing(sent)[1] == "peer.busy"
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.phone.files_asked == ["cv.pdf", "phụ lục.pdf", "phụ lục.pdf"]


def test_an_undecided_request_is_asked_about_again_with_its_token(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [WAITING, Unavailable("peer.busy", peer="phone", status=503)]
    desk.hand_in({"cv.pdf": letter})
    desk.work()
    desk.later(11)
    desk.later()
    assert [request.token for request in desk.phone.asked] == [None, "t-1", "t-1"]


def test_a_confirmed_signature_outlives_a_disk_that_is_too_full_for_the_packet(desk_of, letter, monkeypatch):
    desk = desk_of()
    desk.phone.script = [WAITING]
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    with monkeypatch.context() as full:
        full.setattr("lienthong.pipeline.outgoing._package", _fail_with(StorageFull("store.full")))
        desk.later(11)
        assert desk.standing(sent) == ("awaiting-signature", "store.full")
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")
    assert [request.token for request in desk.phone.asked] == [None, "t-1"]


def _fail_with(problem: Exception):
    def fail(*_arguments: object) -> None:
        raise problem

    return fail


def test_a_request_that_nobody_confirmed_begins_anew(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [WAITING, SigningError("sign.confirmation-timeout")]
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    desk.later(11)
    assert desk.standing(sent) == ("awaiting-signature", "sign.confirmation-timeout")
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")
    assert [request.token for request in desk.phone.asked] == [None, "t-1", None]


def test_pauses_grow_while_nobody_confirms(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [WAITING, SigningError("sign.confirmation-timeout")] * 4
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    waits = []
    for _ in range(4):
        desk.later(11)
        waits.append(desk.row(sent).run_at - desk.clock.seconds)
        desk.later(waits[-1])
    assert waits[0] <= 2
    assert waits[3] >= 8


def test_a_person_who_refuses_is_asked_again_later_and_not_for_ever(desk_of, letter):
    desk = desk_of(profile="strikes = 3\nrefused_signature_pause_seconds = 600")
    desk.phone.script = [WAITING, SigningError("sign.user-refused")] * 3
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    desk.later(11)
    assert desk.standing(sent) == ("awaiting-signature", "sign.user-refused")
    desk.later(500)
    assert len(desk.phone.asked) == 2
    for _ in range(2):
        desk.later(601)
        desk.later(11)
    assert desk.standing(sent) == ("quarantined", "sign.user-refused")
    assert [code for _, code in desk.events(sent)].count("sign.user-refused") == 3
    assert [stored for _, stored, _ in desk.office.told] == [True, False]


def test_a_person_who_refused_once_may_sign_later(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [WAITING, SigningError("sign.user-refused")]
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    desk.later(11)
    desk.later(3700)
    assert desk.standing(sent) == ("dispatched", "")


# --- the key ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        SigningError("sign.pin-wrong", token="T"),
        SigningError("sign.token-locked", token="T"),
        SigningError("sign.key-hangs", seconds=30),
        SigningError("sign.process-died"),
        SigningError("sign.certificate-expired", holder="UBND", expired="2026"),
    ],
    ids=lambda problem: problem.code,
)
def test_a_key_that_cannot_be_used_lets_documents_wait_and_go_on(desk_of, letter, problem):
    desk = desk_of()
    desk.phone.broken = problem
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("awaiting-signature", problem.code)
    desk.later()
    assert desk.standing(sent) == ("awaiting-signature", problem.code)
    desk.phone.broken = None
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")


def test_a_signer_that_refuses_for_good_stops_the_document(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [Rejected("peer.rejected", peer="phone", peer_code="4", peer_text="no")]
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("quarantined", "peer.rejected")


# --- the process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", range(1, 8))
def test_a_process_that_dies_after_any_commit_asks_nobody_twice(desk_of, two, commits, monkeypatch):
    desk = desk_of(level="B-T")
    desk.phone.script = [WAITING, None, WAITING]
    sent = desk.hand_in(two)
    with killed_after(desk, commits, monkeypatch) as died:
        for _ in range(4):
            desk.later(11)
    assert died()
    for _ in range(4):
        desk.later(130)
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent) == {"cv.pdf": (1, 1), "phụ lục.pdf": (1, 1)}
    assert desk.phone.files_asked == ["cv.pdf", "phụ lục.pdf"]


# --- what others signed -------------------------------------------------------------------------------------------


@pytest.fixture
def signed_at_the_desktop(letter: Path, tmp_path: Path, authorities: Authorities) -> Path:
    return sign_with_pyhanko(letter, tmp_path / "desktop.pdf", authorities.key("agency"))


@pytest.mark.parametrize("signer", [True, False], ids=["with our key", "without one"])
def test_what_the_agencys_own_tool_signed_is_completed_and_never_saved_anew(
    desk_of, signed_at_the_desktop, letter, signer
):
    desk = desk_of(level="B-T", signer=signer)
    sent = desk.hand_in({"cv.pdf": signed_at_the_desktop})
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.phone.asked == []
    completed, before = desk.files(sent)["cv.pdf"].read_bytes(), signed_at_the_desktop.read_bytes()
    assert completed.startswith(before)
    assert len(completed) > len(before)
    assert [each.document_timestamp for each in desk.facts(sent, "cv.pdf").signatures] == [False, True]


def self_made(real: KeyFile, folder: Path) -> KeyFile:
    """A key whose certificate says the same of its holder as the real one, and nobody vouches for it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.load_der_x509_certificate(real.certificate).subject
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, locked = folder / "self-made.p12", serialization.BestAvailableEncryption(b"x")
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"", key, certificate, None, locked))
    return KeyFile(path=path, password="x", certificate=certificate.public_bytes(serialization.Encoding.DER))


@pytest.mark.parametrize("damage", ["changed", "self-made"])
def test_a_file_that_only_claims_the_agencys_signature_does_not_leave(
    desk_of, signed_at_the_desktop, letter, authorities, tmp_path, damage
):
    if damage == "changed":
        file = altered(signed_at_the_desktop, tmp_path / "changed.pdf", b"0 0 595.", b"0 0 596.")
    else:
        file = sign_with_pyhanko(letter, tmp_path / "self-made.pdf", self_made(authorities.key("agency"), tmp_path))
    desk = desk_of()
    sent = desk.hand_in({"cv.pdf": file})
    desk.work()
    assert desk.standing(sent) == ("quarantined", "sign.existing-unsound")
    assert [stored for _, stored, _ in desk.office.told][-1] is False


def test_what_nobody_signed_leaves_as_it_is_when_there_is_no_key(desk_of, letter):
    desk = desk_of(level="B-T", signer=False)
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.files(sent)["cv.pdf"].read_bytes() == letter.read_bytes()


def test_a_revoked_signature_of_another_tool_goes_back_to_the_office(desk_of, letter, tmp_path, authorities):
    desk = desk_of(level="B-LT", signer=False)
    revoked = sign_with_pyhanko(letter, tmp_path / "revoked.pdf", authorities.key("revoked"))
    sent = desk.hand_in({"cv.pdf": revoked})
    desk.work()
    assert desk.standing(sent) == ("quarantined", "sign.certificate-revoked")
    assert [stored for _, stored, _ in desk.office.told][-1] is False


# --- who signs first ----------------------------------------------------------------------------------------------


def test_without_the_persons_signature_the_agency_does_not_sign_when_the_profile_asks_for_it(desk_of, letter):
    desk = desk_of(profile="require_person_signature = true")
    sent = desk.hand_in({"cv.pdf": letter})
    desk.work()
    assert desk.standing(sent) == ("quarantined", "sign.person-missing")
    assert desk.phone.asked == []


def test_after_the_person_the_agency_signs(desk_of, letter, tmp_path, authorities, clock):
    desk = desk_of(profile="require_person_signature = true")
    by_person = sign(letter, tmp_path / "person.pdf", authorities.key("person"), desk.clock(), field_name="Person")
    sent = desk.hand_in({"cv.pdf": by_person})
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    assert desk.holders(sent)["cv.pdf"][0] == 2


def test_a_person_never_signs_after_the_agency(desk_of, signed_at_the_desktop):
    desk = desk_of("person")
    sent = desk.hand_in({"cv.pdf": signed_at_the_desktop})
    desk.work()
    assert desk.standing(sent) == ("quarantined", "sign.person-after-agency")
    assert desk.phone.asked == []


# --- what is shown ------------------------------------------------------------------------------------------------


def test_attachments_show_number_and_time_when_the_agency_wants_it(desk_of, two):
    desk = desk_of(appearance="attachments = true")
    sent = desk.hand_in(two)
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    shown = {name: b"/Subtype /Form" in path.read_bytes() for name, path in desk.files(sent).items()}
    assert shown == {"cv.pdf": False, "phụ lục.pdf": True}


def test_the_seal_is_shown_on_the_main_file_beside_its_signer(desk_of, two, seal):
    desk = desk_of(appearance=f'main = true\nseal = "{seal}"')
    sent = desk.hand_in(two, signer=Signer(full_name="tình hình quý I"))
    desk.work()
    assert desk.standing(sent) == ("dispatched", "")
    shown = {name: b"/Subtype /Image" in path.read_bytes() for name, path in desk.files(sent).items()}
    assert shown == {"cv.pdf": True, "phụ lục.pdf": False}


def test_a_place_that_is_not_on_the_page_is_told_with_the_files_own_name(desk_of, letter, seal):
    desk = desk_of(appearance=f'main = true\nseal = "{seal}"')
    sent = desk.hand_in({"cv.pdf": letter}, signer=Signer(full_name="Không Có Tên"))
    desk.work()
    assert desk.standing(sent) == ("quarantined", "sign.place-not-found")
    assert "cv.pdf" in desk.row(sent).reason_text
    assert [stored for _, stored, _ in desk.office.told] == [False]


def test_a_seal_that_was_mislaid_lets_documents_wait(desk_of, letter, tmp_path):
    desk = desk_of(appearance='main = true\nseal = "seal.png"')
    sent = desk.hand_in({"cv.pdf": letter}, signer=Signer(full_name="tình hình quý I"))
    desk.work()
    assert desk.standing(sent) == ("awaiting-signature", "sign.image-unreadable")
    draw_seal(tmp_path / "seal.png")
    desk.later()
    assert desk.standing(sent) == ("dispatched", "")


@pytest.mark.parametrize(
    ("role", "type_name", "shown", "kind", "texts"),
    [
        ("main", "Công văn", {"main": True, "seal": Path("s.png")}, "agency", ()),
        ("main", "Công văn", {"attachments": True, "copies": True}, None, ()),
        ("main", "Bản sao y", {"copies": True}, "copy", ("SAO Y", AGENCY_NAME)),
        ("main", "TRÍCH SAO", {"copies": True}, "copy", ("TRÍCH SAO", AGENCY_NAME)),
        ("main", "Sao lục", {"main": True, "seal": Path("s.png")}, None, ()),
        ("attachment", "Công văn", {"attachments": True}, "attachment", ("15/UBND-VP",)),
        ("attachment", "Bản sao y", {"copies": True}, None, ()),
        ("attachment", "Công văn", {"main": True, "seal": Path("s.png")}, None, ()),
    ],
)
def test_what_is_shown_follows_the_decree(document, configured, role, type_name, shown, kind, texts):
    agency = AgencySettings(
        code="000.00.01.H53", name=AGENCY_NAME, office="o", axis="a", appearance=AppearanceSettings(**shown)
    )
    config = Config(agency=(agency,), connection={}, file=configured())
    file = replace(document.parts[0], role=PartRole(role))
    found = appearance_of(file, replace(document, type_name=type_name), agency, config)
    assert (found.kind if found else None, found.texts if found else ()) == (kind, texts)


def test_two_documents_do_not_hold_each_other_up(desk_of, letter):
    desk = desk_of()
    desk.phone.script = [replace(WAITING, retry_after=10_000.0)]
    first = desk.hand_in({"cv.pdf": letter})
    desk.work()
    second = desk.hand_in({"cv.pdf": letter}, number="16")
    desk.work()
    assert [desk.row(each).state for each in (first, second)] == ["awaiting-signature", "dispatched"]
