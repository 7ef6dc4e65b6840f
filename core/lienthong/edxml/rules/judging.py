"""What the rules look at and what they say: a case, breaches found in it, and the problems that people read."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from lienthong.edxml.codes import FIRST_REAL_YEAR, key_of, parse_moment
from lienthong.edxml.profile import PacketProfile, Severity
from lienthong.edxml.reader import Packet
from lienthong.edxml.rules.pdf_facts import PdfFacts
from lienthong.edxml.tree import Element
from lienthong.errors import ContentError, Language
from lienthong.model import VIETNAM

_SHOWN = 120
_HEADERS = ("messageheader", "status")
_PLACEHOLDER = re.compile(
    r"n/a|n\.a\.?|null|\(null\)|none|undefined|string|\[object object\]|\$\{.*\}|\{\{.*\}\}", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A rule that a packet breaks. ``where``: XPath by local names; empty for the packet as a whole."""

    rule: str
    severity: Severity
    where: str
    vi: str
    en: str

    def text(self, language: Language) -> str:
        """What is wrong, what is asked and who asks it."""
        return self.vi if language == "vi" else self.en


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What a packet is judged by. ``now`` is aware. ``main_pdf`` None: the rules about its pages say nothing."""

    now: datetime
    profile: PacketProfile
    main_pdf: PdfFacts | None = None

    @property
    def today(self) -> date:
        """The latest day that it can be at the sender (Vietnam time)."""
        return (self.now + timedelta(seconds=self.profile.clock_skew_seconds)).astimezone(VIETNAM).date()


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """One place where a rule does not hold. ``what`` names its text in ``rules.toml``, ``facts`` fill it.

    ``at``: an element, or a place by its XPath. ``below``: a path under ``at`` for what is missing there. ``severity``:
    the breach's own, where it is not the rule's. ``error``: says it instead of a text.
    """

    what: str
    at: Element | str
    below: str = ""
    severity: Severity | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    error: ContentError | None = None

    @property
    def where(self) -> str:
        place = self.at if isinstance(self.at, str) else self.at.path
        return f"{place}/{self.below}" if self.below else place


def breach(what: str, at: Element | str, **facts: object) -> Breach:
    return Breach(what=what, at=at, facts=facts)


def mild(what: str, at: Element | str, **facts: object) -> Breach:
    """A breach that is only a warning even in a rule whose breaches are errors."""
    return Breach(what=what, at=at, severity=Severity.WARNING, facts=facts)


def below(what: str, at: Element | str, path: str, **facts: object) -> Breach:
    """A breach in what stands, or should stand, at a path under ``at``."""
    return Breach(what=what, at=at, below=path, facts=facts)


def missing(at: Element | str, path: str, what: str = "missing") -> Breach:
    """What should stand at a path under ``at`` is missing or empty; fact ``field`` is its name."""
    return below(what, at, path, field=path.rpartition("/")[2])


@dataclass(frozen=True, kw_only=True)
class Case:
    """A packet and what it is judged by, with the ways into its tree that several rules take."""

    packet: Packet
    judged: Judged

    @property
    def profile(self) -> PacketProfile:
        return self.judged.profile

    @property
    def is_status(self) -> bool:
        header = self.packet.header
        return header is not None and (header.key == "status" or bool(header.all("StatusCode")))

    @property
    def document(self) -> Element | None:
        """The header of a document packet."""
        return None if self.is_status else self.packet.header

    @property
    def status(self) -> Element | None:
        """The header of a status packet."""
        return self.packet.header if self.is_status else None

    def each(self, path: str) -> list[Element]:
        """All elements at a path below the message's header."""
        return self.packet.header.every(path) if self.packet.header is not None else []

    def around(self, path: str) -> list[Element]:
        """All elements at a path beside the message's header (``TraceHeaderList/TraceHeader``)."""
        header = self.packet.header
        return header.parent.every(path) if header is not None and header.parent is not None else []

    def enclosing(self, path: str) -> list[Element]:
        """All elements at a path below the root or its envelope (``edXMLBody/edXMLManifest``)."""
        root = self.packet.root
        return [*root.every(path), *root.every(f"edXMLEnvelope/{path}")]

    @cached_property
    def texts(self) -> list[Element]:
        """All elements with text of their own, in document order; but for signatures, which people do not read."""
        found, waiting = [], [self.packet.root]
        while waiting:
            element = waiting.pop()
            if element.text:
                found.append(element)
            if element.key != "signature":
                waiting.extend(reversed(element.children))
        return found

    @cached_property
    def too_long(self) -> list[tuple[str, Element, int]]:
        """Texts beyond their limit in characters of NFC, each with the profile's path for it and the limit."""
        limits: dict[str, list[tuple[list[str], str]]] = {}
        for path in self.profile.lengths:
            keys = [key_of(name) for name in path.split("/")]
            limits.setdefault(keys[-1], []).append((keys, path))
        return [
            (path, element, self.profile.lengths[path])
            for element in self.texts
            for keys, path in limits.get(element.key, ())
            if len(element.text) > self.profile.lengths[path] and _is_at(element, keys)
        ]

    @cached_property
    def places(self) -> dict[int, int]:
        """The place of each element (by ``id``) in the document."""
        return {id(element): place for place, element in enumerate(self.packet.root.walk())}


Check = Callable[[Case], Iterator[Breach]]


def _is_at(element: Element, keys: list[str]) -> bool:
    """Whether an element stands at the end of such a path; a single name is a child of the message's header."""
    here: Element | None = element
    for key in reversed(keys):
        if here is None or here.key != key:
            return False
        here = here.parent
    return len(keys) > 1 or (here is not None and here.key in _HEADERS)


def value(element: Element, path: str) -> str:
    """The first text at a path that is not empty; also where the packet says it twice."""
    return next((found.text for found in element.every(path) if found.text), "")


def is_placeholder(text: str) -> bool:
    """Whether a text only stands in for one: punctuation alone, ``N/A``, ``null``, a template's variable, no real date.

    Dates before the state was founded are what .NET, SQL Server and OLE write for "no date".
    """
    if not text:
        return False
    if not any(letter.isalnum() for letter in text) or _PLACEHOLDER.fullmatch(text):
        return True
    moment = parse_moment(text)
    return moment is not None and moment.year < FIRST_REAL_YEAR


# --- texts ----------------------------------------------------------------------------------------------------------


@cache
def rule_texts() -> dict[str, dict[str, Any]]:
    """By rule id: ``asked`` and ``source`` in both languages, and the texts of its breaches."""
    return tomllib.loads(files("lienthong.edxml.rules").joinpath("rules.toml").read_text("utf-8"))


def said(rule: str, found: Breach, language: Language) -> str:
    """What is wrong, what is asked and who asks it."""
    if found.error is not None:
        return found.error.text(language)
    texts = rule_texts()[rule]
    facts = {name: shown(fact) if isinstance(fact, str) else fact for name, fact in found.facts.items()}
    what = str(texts[found.what][language]).format_map(facts)
    template = str(rule_texts()["frame"][language])
    return template.format(what=what, asked=texts[f"asked_{language}"], source=texts[f"source_{language}"])


def shown(text: str) -> str:
    """A packet's value as it may stand in a line of text: visible, and no longer than anybody reads."""
    visible = "".join(_visible(letter) for letter in text[: _SHOWN + 1])
    return visible if len(visible) <= _SHOWN else f"{visible[:_SHOWN]}…"


def _visible(letter: str) -> str:
    hidden = unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return f"<U+{ord(letter):04X}>" if hidden else letter
