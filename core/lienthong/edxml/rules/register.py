"""Every automatic rule of the catalogue about one packet: ENV-01 to ENV-27, SIG-18 and SIG-19.

The register below says which function looks after which row and how much a breach matters by itself; a profile may
say otherwise. What each rule asks, who asks it, and what it says in both languages stands in ``rules.toml``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import islice

from lienthong.edxml.profile import PacketProfile, Severity
from lienthong.edxml.reader import Packet
from lienthong.edxml.rules import message_rules, packet_rules, page_rules
from lienthong.edxml.rules.judging import Breach, Case, Check, Judged, Problem, rule_texts, said
from lienthong.edxml.rules.packet_rules import rule_of
from lienthong.edxml.tree import Element
from lienthong.errors import ContentError, Language

_PLACES = 20
"""As many places of one rule as a person would look at; the others are counted."""

_BEFORE_ALL = -1
_ERROR, _WARNING, _OFF = Severity.ERROR, Severity.WARNING, Severity.OFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One row of the catalogue. ``own``: how much a breach matters where neither profile nor breach says."""

    id: str
    own: Severity
    check: Check


def _rule(rule_id: str, own: Severity, check: Check) -> Rule:
    return Rule(id=rule_id, own=own, check=check)


# Mandatory rows are errors, recommended rows are warnings. SIG-18 and SIG-19 are mandatory and yet warnings: the text
# below a scan is a machine's reading, and many notations in use differ from the decree, so a person has to look.
RULES = (
    _rule("ENV-01", _ERROR, packet_rules.has_the_prescribed_form),
    _rule("ENV-02", _ERROR, packet_rules.is_readable_vietnamese),
    _rule("ENV-03", _ERROR, message_rules.names_each_party_once),
    _rule("ENV-04", _ERROR, message_rules.names_its_parties),
    _rule("ENV-05", _ERROR, message_rules.numbers_its_document),
    _rule("ENV-06", _ERROR, message_rules.states_real_dates),
    _rule("ENV-07", _ERROR, message_rules.has_a_subject),
    _rule("ENV-08", _ERROR, message_rules.names_a_known_type),
    _rule("ENV-09", _WARNING, message_rules.numbers_its_type),
    _rule("ENV-10", _ERROR, message_rules.names_its_signer_briefly),
    _rule("ENV-11", _WARNING, message_rules.signs_with_a_known_competence),
    _rule("ENV-12", _WARNING, message_rules.is_due_after_its_date),
    _rule("ENV-13", _ERROR, message_rules.states_a_known_urgency),
    _rule("ENV-14", _WARNING, page_rules.counts_its_pages),
    _rule("ENV-15", _ERROR, message_rules.says_what_it_wants),
    _rule("ENV-16", _ERROR, packet_rules.lists_what_it_carries),
    _rule("ENV-17", _ERROR, packet_rules.carries_whole_files),
    _rule("ENV-18", _WARNING, packet_rules.names_its_files_honestly),
    _rule("ENV-19", _ERROR, message_rules.names_every_hop),
    _rule("ENV-20", _WARNING, message_rules.lists_hops_in_order),
    _rule("ENV-21", _WARNING, message_rules.names_what_it_answers),
    _rule("ENV-22", _WARNING, packet_rules.holds_only_known_elements),
    _rule("ENV-23", _ERROR, packet_rules.asks_nothing_of_this_machine),
    _rule("ENV-24", _WARNING, packet_rules.tells_errors_in_full),
    _rule("ENV-25", _WARNING, message_rules.holds_no_placeholders),
    _rule("ENV-26", _WARNING, packet_rules.is_not_too_large),
    _rule("ENV-27", _WARNING, packet_rules.is_of_this_format),
    _rule("SIG-18", _WARNING, page_rules.says_what_its_page_says),
    _rule("SIG-19", _WARNING, page_rules.numbers_by_the_decree),
)


def severity_of(rule: Rule, profile: PacketProfile) -> Severity:
    """How much a rule matters under a profile; single breaches may be milder."""
    return profile.severities.get(rule.id, rule.own)


def asked_by(rule: Rule, language: Language) -> tuple[str, str]:
    """What a rule asks, and who asks it."""
    texts = rule_texts()[rule.id]
    return str(texts[f"asked_{language}"]), str(texts[f"source_{language}"])


def check_packet(packet: Packet, judged: Judged) -> tuple[Problem, ...]:
    """Everything that is wrong with a packet, in the order of the packet; of one rule at most 20 places.

    A packet that nobody may use always has an error: a profile can weaken a rule, not make a message out of nothing.
    """
    case = Case(packet=packet, judged=judged)
    fatal = {spot for fault in packet.faults for spot in _spots(fault)}
    found = [each for rule in RULES for each in _broken(case, rule, fatal)]
    found += _untold(case, [problem for _, problem in found])
    return tuple(problem for _, problem in sorted(found, key=lambda each: each[0]))


def problem_of(error: ContentError) -> Problem:
    """Why a packet cannot be used, as a problem of the rule that it breaks.

    Always an error: a profile weakens rules for packets, and this is none.
    """
    return Problem(rule=rule_of(error), severity=_ERROR, where=error.where, vi=error.text("vi"), en=error.text("en"))


_Found = tuple[int, Problem]
"""A problem behind its place in the packet, by which problems are told."""
_Spot = tuple[str, str]
"""A rule and the XPath where it is broken."""


def _broken(case: Case, rule: Rule, fatal: Container[_Spot]) -> Iterator[_Found]:
    if case.profile.severities.get(rule.id) is _OFF:
        return
    breaches = rule.check(case)
    place = _BEFORE_ALL
    for breach in islice(breaches, _PLACES):
        place, where = _place(case, breach), breach.where
        severity = _ERROR if (rule.id, where) in fatal else _severity(case, rule, breach)
        vi, en = said(rule.id, breach, "vi"), said(rule.id, breach, "en")
        yield place, Problem(rule=rule.id, severity=severity, where=where, vi=vi, en=en)
    others = Counter(_severity(case, rule, breach) for breach in breaches)
    if others:
        worst = _ERROR if others[_ERROR] else _WARNING
        vi, en = (str(rule_texts()["more"][language]).format(count=others.total()) for language in ("vi", "en"))
        yield place, Problem(rule=rule.id, severity=worst, where="", vi=vi, en=en)


def _severity(case: Case, rule: Rule, breach: Breach) -> Severity:
    return case.profile.severities.get(rule.id) or breach.severity or rule.own


def _spots(fault: ContentError) -> tuple[_Spot, ...]:
    """The problems that tell what the reader could not read past."""
    # Where the reader misses a party's code, there may be no party at all.
    return (rule_of(fault), fault.where), ("ENV-03", fault.where), ("ENV-03", fault.where.rpartition("/")[0])


def _untold(case: Case, told: list[Problem]) -> list[_Found]:
    """What the reader found and no rule told: a rule is off, or none of them looks there."""
    spots = {(problem.rule, problem.where) for problem in told}
    times = Counter(problem.rule for problem in told)
    # A rule that was cut short counts its other places.
    open_rules = (fault for fault in case.packet.faults if times[rule_of(fault)] <= _PLACES)
    untold = (fault for fault in open_rules if spots.isdisjoint(_spots(fault)))
    return [
        (_place(case, Breach(what=fault.code, at=fault.where)), problem_of(fault)) for fault in islice(untold, _PLACES)
    ]


def _place(case: Case, breach: Breach) -> int:
    """Where a breach stands among the packet's elements; what is missing stands where it should have been."""
    if isinstance(breach.at, str):
        root, _, path = breach.at.partition("/")
        element: Element | None = case.packet.root if root == case.packet.root.name else None
    else:
        element, path = breach.at, breach.below
    if element is None:
        return _BEFORE_ALL
    for step in path.split("/"):
        name, _, position = step.rstrip("]").partition("[")
        twins = element.all(name)[: int(position or 1)]
        if len(twins) < int(position or 1):
            break
        element = twins[-1]
    return case.places[id(element)]
