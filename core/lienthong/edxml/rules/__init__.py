"""The automatic rules of the catalogue about one packet: what is wrong, where, who asks for it, in two languages."""

from lienthong.edxml.rules.judging import Judged, Problem
from lienthong.edxml.rules.register import RULES, Rule, asked_by, check_packet, problem_of, severity_of

__all__ = ["RULES", "Judged", "Problem", "Rule", "asked_by", "check_packet", "problem_of", "severity_of"]
