"""What signatures are worth in law, and whose they are (Decision 28/2018 Art. 4; Decree 30/2020 Art. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lienthong.model import FileVerification, Organization, Party, SignatureFinding, Verdict, plain

_KINDS_OF_AGENCY = frozenset(
    [
        "uy",
        "ban",
        "nhan",
        "dan",
        "hoi",
        "dong",
        "tinh",
        "thanh",
        "pho",
        "quan",
        "huyen",
        "thi",
        "xa",
        "phuong",
        "so",
        "bo",
        "cuc",
        "vu",
        "phong",
        "van",
        "ban",
        "chi",
        "trung",
        "tam",
    ]
)
"""Words that say what kind of agency it is. A name of nothing else stands inside too many others."""


class LegalClass(StrEnum):
    EQUIVALENT = "equivalent-to-paper"
    REFERENCE = "for-reference"


@dataclass(frozen=True, kw_only=True)
class LegalValue:
    """What a file may be used for. ``text_vi`` is for a clerk; ``article`` is where it is written."""

    legal_class: LegalClass
    article: str
    text_vi: str
    text_en: str


_BY_VERDICT = {
    Verdict.VALID: LegalValue(
        legal_class=LegalClass.EQUIVALENT,
        article="Điều 4.1 Quyết định 28",
        text_vi="Văn bản đã ký số hợp lệ: có giá trị pháp lý tương đương văn bản giấy (Điều 4.1 Quyết định 28).",
        text_en="Validly signed: equal to paper when it came through document systems (Decision 28 Art. 4.1).",
    ),
    Verdict.UNSIGNED: LegalValue(
        legal_class=LegalClass.REFERENCE,
        article="Điều 4.2 Quyết định 28",
        text_vi="Văn bản không ký số: chỉ để biết, tham khảo, không thay văn bản giấy (Điều 4.2 Quyết định 28).",
        text_en="Not signed: for reference only, does not replace paper (Decision 28 Art. 4.2).",
    ),
}
_NOT_RECOGNISED = LegalValue(
    legal_class=LegalClass.REFERENCE,
    article="Điều 4.2, 9.1 Quyết định 28",
    text_vi="Chữ ký số chưa được công nhận: chỉ để biết, tham khảo cho đến khi xác minh (Điều 4.2, 9.1 Quyết định 28).",
    text_en="Signature not recognised: for reference only until it is clarified (Decision 28 Art. 4.2, 9.1).",
)
_BOTH_PARTIES = "(Điều 5 Nghị định 30: bản gốc cần chữ ký số của người có thẩm quyền và của cơ quan)"


def legal_value(verdict: Verdict) -> LegalValue:
    """The legal class of a file by the verdict over its signatures."""
    return _BY_VERDICT.get(verdict, _NOT_RECOGNISED)


def missing_party(verification: FileVerification) -> str:
    """A line for the clerk when only the person or only the agency has signed; empty when both have, or it is unclear.

    Decree 30 Art. 5 asks for both; Decision 28 Art. 4.1 only for a signature, so this changes no class.
    """
    parties = {finding.party for finding in verification.signatures if _is_good(finding)}
    if parties == {Party.PERSON}:
        return f"Chưa thấy chữ ký số của cơ quan, tổ chức {_BOTH_PARTIES}."
    if parties == {Party.ORGANIZATION}:
        return f"Chưa thấy chữ ký số của người có thẩm quyền {_BOTH_PARTIES}."
    return ""


def belongs_to(
    finding: SignatureFinding, organization: Organization, holders: Mapping[str, Sequence[str]] | None = None
) -> bool:
    """Whether a signature's certificate names this organisation, as holder or as where the holder works (SIG-12).

    Compared are the agency's code and name with the certificate's names and numbers, without case, marks and
    punctuation; ``holders`` (agency code -> further names or numbers) says what cannot be guessed, such as the name of
    the unit above.
    """
    numbers = {_number(each) for each in finding.identifiers}
    named = {plain(finding.organization), plain(finding.signer)} - {""}
    further = (holders or {}).get(organization.code, ())
    known_numbers = {_number(each) for each in (organization.code, *further)} - {""}
    if numbers & known_numbers:
        return True
    names = {_expanded(plain(name)) for name in (organization.name, *further)} - {""}
    return any(_alike(_expanded(theirs), ours) for theirs in named for ours in names)


def strangers(
    verification: FileVerification, organization: Organization, holders: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Whose good signatures say nothing of the sender: who they are. None when any of a file's signatures does."""
    good = [finding for finding in verification.signatures if _is_good(finding)]
    if any(belongs_to(finding, organization, holders) for finding in good):
        return ()
    return tuple(dict.fromkeys(finding.signer for finding in good))


def _is_good(finding: SignatureFinding) -> bool:
    return finding.verdict is Verdict.VALID and not finding.timestamp


def _number(text: str) -> str:
    """A number without its kind: ``MST:0100000001`` and ``0100000001`` are one."""
    return text.rpartition(":")[2].strip().casefold()


def _expanded(name: str) -> str:
    """Usual short forms of agencies' names, written out."""
    words = {"ubnd": "uy ban nhan dan", "hdnd": "hoi dong nhan dan", "vp": "van phong", "tp": "thanh pho"}
    return " ".join(words.get(word, word) for word in name.split())


def _alike(theirs: str, ours: str) -> bool:
    """Equal, or one is the other with more words at an end (``... tỉnh X``)."""
    shorter, longer = sorted((theirs, ours), key=len)
    if _KINDS_OF_AGENCY.issuperset(shorter.split()):
        return theirs == ours
    return longer == shorter or longer.startswith(f"{shorter} ") or longer.endswith(f" {shorter}")
