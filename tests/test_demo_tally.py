"""What the demo counts and complains about: the judge must see what went wrong. Records are made by hand here."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from lienthong_conformance.demo.plan import Feedback, Held, Pair, Step, killing_step, plan
from lienthong_conformance.demo.tally import Seen, count, differences, settled
from lienthong_conformance.letters import RenderedLetter

STEPS = plan(date(2026, 12, 31))
BY_FATE = {fate: next(step for step in STEPS if step.fate == fate) for fate in ("delivered", "refused", "quarantined")}


@pytest.fixture(scope="module")
def printed(tmp_path_factory) -> dict[str, RenderedLetter]:
    folder = tmp_path_factory.mktemp("printed")
    return {step.letter.key: _written(step, folder / step.letter.key, b"") for step in STEPS}


@pytest.fixture(scope="module")
def perfect(tmp_path_factory) -> Seen:
    """The records of a performance in which everything went as planned."""
    folder = tmp_path_factory.mktemp("received")
    sent = [pair for step in STEPS if step.fate != "refused" for pair in step.pairs]
    feedback = tuple(each for step in STEPS for each in step.feedback())
    return Seen(
        issued=tuple(step.document_id for step in STEPS),
        axis=dict.fromkeys(sent, 1),
        acknowledged=dict.fromkeys(sent, 1),
        axis_statuses=dict.fromkeys(feedback, 1),
        held=tuple(_held(step, pair, folder) for step in STEPS if step.fate == "delivered" for pair in step.pairs),
        feedback=feedback,
        refusals={step.document_id: "vì sao" for step in STEPS if step.fate == "refused"},
    )


def _written(step: Step, folder: Path, signature: bytes) -> RenderedLetter:
    folder.mkdir(parents=True)
    names = [step.letter.main_name, *(attachment.name for attachment in step.letter.attachments)]
    for name in names:
        (folder / name).write_bytes(b"content of " + name.encode() + (signature if name.endswith(".pdf") else b""))
    return RenderedLetter(main=folder / names[0], attachments=tuple(folder / name for name in names[1:]))


def _held(step: Step, pair: Pair, folder: Path) -> Held:
    files = _written(step, folder / pair.recipient / step.letter.key, b" and a signature")
    return Held(pair=pair, files={file.name: file for file in (files.main, *files.attachments)})


def test_a_perfect_performance_differs_in_nothing(perfect, printed):
    assert differences(STEPS, perfect, printed) == []
    assert all(settled(step, perfect) for step in STEPS)


def test_a_perfect_performance_is_counted(perfect):
    totals = count(STEPS, perfect, 1.0)
    assert (totals.issued, totals.refused, totals.quarantined, totals.recalled) == (19, 2, 1, 1)
    assert (totals.delivered, totals.lost, totals.duplicated) == (len(perfect.held), 0, 0)
    assert totals.statuses["01"] == totals.delivered
    assert set(totals.statuses) == {"01", "02", "03", "04", "05", "06", "15"}


def test_a_document_that_did_not_arrive_is_lost(perfect, printed):
    seen = replace(perfect, held=perfect.held[1:])
    assert count(STEPS, seen, 1.0).lost == 1
    assert any("chưa đến" in line for line in differences(STEPS, seen, printed))


def test_a_second_copy_in_an_office_is_a_duplicate(perfect, printed):
    seen = replace(perfect, held=(*perfect.held, perfect.held[0]))
    assert count(STEPS, seen, 1.0).duplicated == 1
    assert any("2 bản tại nơi nhận" in line for line in differences(STEPS, seen, printed))


def test_a_second_copy_at_the_axis_is_a_duplicate(perfect, printed):
    pair = BY_FATE["delivered"].pairs[0]
    seen = replace(perfect, axis={**perfect.axis, pair: 2})
    assert count(STEPS, seen, 1.0).duplicated == 1
    assert any("2 bản tại trục" in line for line in differences(STEPS, seen, printed))


def test_a_status_that_came_twice_is_a_duplicate(perfect, printed):
    seen = replace(perfect, feedback=(*perfect.feedback, perfect.feedback[0]))
    assert count(STEPS, seen, 1.0).duplicated == 1
    assert any("lặp 2 lần" in line for line in differences(STEPS, seen, printed))


def test_a_missing_status_is_named(perfect, printed):
    seen = replace(perfect, feedback=perfect.feedback[1:])
    assert len(differences(STEPS, seen, printed)) == 1
    assert "chưa có trạng thái" in differences(STEPS, seen, printed)[0]


def test_an_unplanned_status_is_named(perfect, printed):
    stray = Feedback(BY_FATE["delivered"].document_id, BY_FATE["delivered"].pairs[0].recipient, "16")
    told = differences(STEPS, replace(perfect, feedback=(*perfect.feedback, stray)), printed)
    assert len(told) == 1
    assert "16 ngoài dự kiến" in told[0]


def test_a_recall_without_its_answer_is_not_counted(perfect):
    without = tuple(each for each in perfect.feedback if each.code != "15")
    assert count(STEPS, replace(perfect, feedback=without), 1.0).recalled == 0


def test_a_tampered_document_in_the_office_is_no_quarantine(perfect, printed, tmp_path):
    step = BY_FATE["quarantined"]
    seen = replace(perfect, held=(*perfect.held, _held(step, step.pairs[0], tmp_path)))
    assert count(STEPS, seen, 1.0).quarantined == 0
    assert any("không được phép đến" in line for line in differences(STEPS, seen, printed))


def test_a_secret_document_on_the_axis_is_named(perfect, printed):
    step = BY_FATE["refused"]
    seen = replace(perfect, axis={**perfect.axis, step.pairs[0]: 1})
    assert count(STEPS, seen, 1.0).refused == 1
    assert any("không được phép lên trục" in line for line in differences(STEPS, seen, printed))


def test_a_file_with_other_content_is_named(perfect, printed, tmp_path):
    changed = tmp_path / "changed.pdf"
    changed.write_bytes(b"other content")
    held = perfect.held[0]
    spoilt = replace(held, files=dict.fromkeys(held.files, changed))
    told = differences(STEPS, replace(perfect, held=(spoilt, *perfect.held[1:])), printed)
    assert len(told) == len(held.files)


def test_an_unsigned_pdf_is_named(perfect, printed):
    step = next(step for step in STEPS if step.document_id == perfect.held[0].pair.document_id)
    unsigned = replace(
        perfect.held[0], files={**perfect.held[0].files, step.letter.main_name: printed[step.letter.key].main}
    )
    assert len(differences(STEPS, replace(perfect, held=(unsigned, *perfect.held[1:])), printed)) == 1


def test_an_unexpected_refusal_says_why(perfect, printed):
    refusals = {**perfect.refusals, BY_FATE["delivered"].document_id: "đĩa đầy"}
    assert any("đĩa đầy" in line for line in differences(STEPS, replace(perfect, refusals=refusals), printed))


def test_the_plan_holds_every_kind_that_the_demo_promises():
    kinds = Counter(step.letter.scenario for step in STEPS)
    promised = {"ordinary", "urgent", "attachments", "reply", "recall", "update", "replace", "secret", "tampered"}
    assert promised | {"unknown-recipient", "flash"} <= set(kinds)
    assert any(len(step.pairs) > 1 for step in STEPS)


def test_a_change_waits_for_what_it_changes():
    after = {
        step.letter.key: {other.letter.key for other in STEPS if other.document_id in step.after} for step in STEPS
    }
    assert after["thu-hoi-giay-moi"] == {"giay-moi-gui-nham"}
    assert after["lich-tap-huan-moi"] == {"lich-tap-huan", "dinh-chinh-lich-tap-huan"}


def test_documents_of_the_future_are_left_out():
    early = plan(date(2026, 4, 1))
    assert 0 < len(early) < len(STEPS)
    assert killing_step(early) is not None


def test_the_killed_adapter_has_the_flash_telegram_in_hand():
    step = killing_step(STEPS)
    assert step is not None
    assert step.letter.scenario == "flash"
