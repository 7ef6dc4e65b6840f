"""What really happened, counted from the simulators' own records: axis and offices. Pure but for ``look``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lienthong.model import Business
from lienthong_conformance.demo.plan import Feedback, Held, Pair, Step, role_of
from lienthong_conformance.demo.stage import Stage
from lienthong_conformance.letters import RenderedLetter


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All records at one moment.

    ``axis``: how often the axis took a document for a recipient; ``acknowledged``: how often the recipient told it to
    forget one; ``waiting``: messages of any kind that lie at the axis.
    """

    issued: tuple[str, ...] = ()
    axis: Mapping[Pair, int] = field(default_factory=dict)
    acknowledged: Mapping[Pair, int] = field(default_factory=dict)
    axis_statuses: Mapping[Feedback, int] = field(default_factory=dict)
    waiting: int = 0
    held: tuple[Held, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_pairs(self) -> frozenset[Pair]:
        return frozenset(held.pair for held in self.held)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What ``lienthong demo --json`` prints."""

    issued: int
    delivered: int
    refused: int
    quarantined: int
    recalled: int
    lost: int
    duplicated: int
    statuses: Mapping[str, int]
    seconds: float


def look(stage: Stage) -> Seen:
    """Read all records.

    :raises Unavailable: a simulator does not answer
    """
    audit = stage.audit()
    documents = [row for row in audit if row["messagetype"] == "edoc"]
    statuses = [row for row in audit if row["messagetype"] == "status"]
    offices = stage.offices.values()
    return Seen(
        issued=tuple(document_id for office in offices for document_id in office.issued()),
        axis=_per_pair(documents, "committed"),
        acknowledged=_per_pair(documents, "acknowledged"),
        axis_statuses={
            Feedback(row["document_id"], row["sender"], row["business"]): row["committed"] for row in statuses
        },
        waiting=sum(row["committed"] - row["acknowledged"] for row in audit),
        held=tuple(held for office in offices for held in office.held()),
        feedback=tuple(feedback for office in offices for feedback in office.feedback()),
        refusals={document_id: why for office in offices for document_id, why in office.refusals().items()},
    )


def _per_pair(rows: Sequence[Mapping[str, Any]], column: str) -> dict[Pair, int]:
    counts: Counter[Pair] = Counter()
    for row in rows:
        counts[Pair(row["document_id"], row["recipient"])] += row[column]
    return counts


def count(steps: Sequence[Step], seen: Seen, seconds: float) -> Totals:
    """The totals. ``duplicated`` counts surplus copies of documents and statuses, at the axis and in the offices."""
    on_axis = {pair.document_id for pair in seen.axis}
    expected = [pair for step in steps if step.fate == "delivered" for pair in step.pairs]
    kept_out = [pair for step in steps if step.fate == "quarantined" for pair in step.pairs]
    copies = [*seen.axis.values(), *seen.axis_statuses.values()]
    copies += [*Counter(held.pair for held in seen.held).values(), *Counter(seen.feedback).values()]
    return Totals(
        issued=len(seen.issued),
        delivered=len(seen.held_pairs),
        refused=sum(document_id not in on_axis for document_id in seen.issued),
        quarantined=sum(seen.acknowledged.get(pair, 0) > 0 and pair not in seen.held_pairs for pair in kept_out),
        recalled=sum(_recall_is_answered(step, seen) for step in steps),
        lost=sum(pair not in seen.held_pairs for pair in expected),
        duplicated=sum(number - 1 for number in copies if number > 1),
        statuses=dict(sorted(Counter(each.code for each in set(seen.feedback)).items())),
        seconds=round(seconds, 1),
    )


def _recall_is_answered(step: Step, seen: Seen) -> bool:
    answers = [Feedback(step.answered, pair.recipient, "15") for pair in step.pairs]
    return step.letter.business is Business.RECALL and all(answer in seen.feedback for answer in answers)


def settled(step: Step, seen: Seen) -> bool:
    """Whether a document has run its course."""
    if step.fate == "refused":
        return step.document_id in seen.refusals
    arrived = step.fate == "quarantined" or all(pair in seen.held_pairs for pair in step.pairs)
    return arrived and set(step.feedback()) <= set(seen.feedback)


def differences(steps: Sequence[Step], seen: Seen, printed: Mapping[str, RenderedLetter]) -> list[str]:
    """What is not as planned, a Vietnamese sentence each; ``printed`` are the issued files by letter key."""
    return [
        *_of_documents(steps, seen),
        *_of_copies(steps, seen),
        *_of_statuses(steps, seen),
        *_of_files(steps, seen, printed),
    ]


def _of_documents(steps: Sequence[Step], seen: Seen) -> Iterator[str]:
    for step in steps:
        code, why = step.letter.code, seen.refusals.get(step.document_id, "")
        if step.document_id not in seen.issued:
            yield f"{code}: chưa được giao cho phần mềm"
        elif step.fate == "refused" and not why:
            yield f"{code}: lẽ ra phải bị từ chối gửi"
        elif step.fate != "refused" and why:
            yield f"{code}: bị từ chối ngoài dự kiến: {why}"
        for pair in step.pairs:
            held, sent = pair in seen.held_pairs, pair in seen.axis
            if held != (step.fate == "delivered"):
                yield f"{code} → {role_of(pair.recipient)}: {'không được phép đến' if held else 'chưa đến'}"
            if sent != (step.fate != "refused"):
                yield f"{code} → {role_of(pair.recipient)}: {'không được phép lên trục' if sent else 'chưa lên trục'}"


def _of_copies(steps: Sequence[Step], seen: Seen) -> Iterator[str]:
    codes = {step.document_id: step.letter.code for step in steps}
    for place, counts in (("trục", seen.axis), ("nơi nhận", Counter(held.pair for held in seen.held))):
        for pair, number in counts.items():
            if number > 1:
                yield f"{codes.get(pair.document_id, pair.document_id)}: {number} bản tại {place} ({pair.recipient})"
    for place, told in (("trục", seen.axis_statuses), ("nơi gửi", Counter(seen.feedback))):
        for each, number in told.items():
            if number > 1:
                code = codes.get(each.document_id, each.document_id)
                yield f"{code}: trạng thái {each.code} lặp {number} lần tại {place}"


def _of_statuses(steps: Sequence[Step], seen: Seen) -> Iterator[str]:
    codes = {step.document_id: step.letter.code for step in steps}
    planned = {feedback for step in steps for feedback in step.feedback()}
    for each in sorted(planned - set(seen.feedback)):
        yield f"{codes[each.document_id]}: chưa có trạng thái {each.code} từ {role_of(each.reporter)}"
    for each in sorted(set(seen.feedback) - planned):
        code = codes.get(each.document_id, each.document_id)
        yield f"{code}: trạng thái {each.code} ngoài dự kiến từ {role_of(each.reporter)}"


def _of_files(steps: Sequence[Step], seen: Seen, printed: Mapping[str, RenderedLetter]) -> Iterator[str]:
    by_id = {step.document_id: step for step in steps}
    for held in seen.held:
        step = by_id.get(held.pair.document_id)
        if step is None:
            yield f"{held.pair.document_id}: văn bản lạ tại {role_of(held.pair.recipient)}"
            continue
        files = printed[step.letter.key]
        for file in (files.main, *files.attachments):
            there = held.files.get(file.name)
            if there is None or not _is_same(file, there):
                yield f"{step.letter.code} → {role_of(held.pair.recipient)}: tệp {file.name} thiếu hoặc sai nội dung"


def _is_same(issued: Path, received: Path) -> bool:
    """A signed PDF begins with the bytes that were issued, and is longer; any other file is equal."""
    before, after = issued.read_bytes(), received.read_bytes()
    return after.startswith(before) and (len(after) > len(before)) == (issued.suffix == ".pdf")
