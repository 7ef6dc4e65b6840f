"""What the demo sends, and what must come of each document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from lienthong.model import Business, Document, Organization
from lienthong_conformance.letters import Letter, agencies, as_document, letters

Fate = Literal["delivered", "refused", "quarantined"]

ROLES: Mapping[str, Organization] = {role: agencies()[role].organization for role in ("tinh", "so", "xa")}
"""The three agencies: province (folder office), department (REST office), commune (a product on the sidecar API)."""
KILLED, KILLED_FACING = "tinh", "xa"
"""Whose adapter is killed, while the axis is slow to answer about which recipient."""

_FATES: Mapping[str, Fate] = {"secret": "refused", "unknown-recipient": "refused", "tampered": "quarantined"}
_FULL = ("03", "04", "05", "06")
_ANSWERS = {
    "urgent": _FULL,
    "flash": _FULL,
    "attachments": _FULL,
    "recalled": ("03",),
    "changed": ("03",),
    "replace": ("03",),
    "recall": ("15",),
    "update": ("15",),
    "invitation": ("03", "06"),
    "notice": ("03", "06"),
}
_USUAL = ("03", "05", "06")


@dataclass(frozen=True, order=True)
class Pair:
    """One document for one recipient (its agency code)."""

    document_id: str
    recipient: str


@dataclass(frozen=True, order=True)
class Feedback:
    """A business status about a document, as it came back to the office that sent the document."""

    document_id: str
    reporter: str
    code: str


@dataclass(frozen=True, kw_only=True)
class Held:
    """A document that an office has in its hands, with the path of each of its files by name."""

    pair: Pair
    files: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One document of the demo.

    ``answers`` are the statuses that each receiving clerk reports, about the document ``answered``. ``after`` are the
    documents that must have run their course before this one is written.
    """

    letter: Letter
    document: Document
    fate: Fate
    answers: tuple[str, ...]
    answered: str
    after: tuple[str, ...]

    @property
    def document_id(self) -> str:
        return self.document.document_id

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(Pair(self.document_id, recipient.code) for recipient in self.document.recipients)

    def feedback(self) -> Iterator[Feedback]:
        """The statuses that must come back. The receiving software reports 01, or 02 for what is broken, by itself."""
        for pair in self.pairs if self.fate != "refused" else ():
            yield Feedback(self.document_id, pair.recipient, "02" if self.fate == "quarantined" else "01")
            for code in self.answers:
                yield Feedback(self.answered, pair.recipient, code)


def plan(today: date) -> list[Step]:
    """All letters whose date has come, in the order of their dates (a document of the future may not be sent)."""
    steps: list[Step] = []
    for letter in letters().values():
        if letter.promulgated <= today:
            steps.append(_step(letter, steps))
    return steps


def killing_step(steps: Sequence[Step]) -> Step | None:
    """The document that is being sent when an adapter is killed: the last one that can be."""
    for step in reversed(steps):
        facing = ROLES[KILLED_FACING] in step.document.recipients
        if step.letter.sender == KILLED and facing and step.fate == "delivered":
            return step
    return None


def _step(letter: Letter, earlier: Sequence[Step]) -> Step:
    document = as_document(letter, ROLES)
    fate = _FATES.get(letter.scenario, "delivered")
    concerned = _id_of(letter.concerns)
    return Step(
        letter=letter,
        document=document,
        fate=fate,
        answers=_ANSWERS.get(letter.scenario, _USUAL) if fate == "delivered" else (),
        answered=concerned if letter.business in (Business.RECALL, Business.UPDATE) else document.document_id,
        after=tuple(step.document_id for step in earlier if _precedes(step.letter, letter)),
    )


def _precedes(earlier: Letter, letter: Letter) -> bool:
    """Whether the letter answers or changes the earlier one, or changes what the earlier one has changed."""
    return earlier.key in (letter.responds_to, letter.concerns) or earlier.concerns == letter.concerns != ""


def _id_of(key: str) -> str:
    return as_document(letters()[key], ROLES).document_id if key else ""


def role_of(code: str) -> str:
    """The role of an agency; ``la`` for one that takes no part."""
    return next((role for role, agency in ROLES.items() if agency.code == code), "la")
