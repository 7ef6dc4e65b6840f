"""What happens to a document that arrived (Decision 28 Art. 4, 9.1; Decree 30 Art. 21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lienthong.config import Profile
from lienthong.model import Business, Document, FileVerification, PartRole, Verdict
from lienthong.rules.legal import legal_value, missing_party, strangers
from lienthong.rules.secrecy import bears_mark

Holders = Mapping[str, Sequence[str]]
_REVOKED = "certificate-revoked"
_KIND_LINES = {
    Business.RECALL: "Bên gửi YÊU CẦU THU HỒI văn bản. Lý do: {reason}. Trả lời bằng trạng thái 15 (đồng ý) hoặc 16.",
    Business.UPDATE: "Bên gửi CẬP NHẬT văn bản đã gửi. Lý do: {reason}. Trả lời bằng trạng thái 15 (đồng ý) hoặc 16.",
    Business.REPLACE: "Văn bản này THAY THẾ văn bản đã gửi. Lý do: {reason}.",
}


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What to do. ``hold`` is a reason code when the document must wait for a person; ``refusal`` is the text of an
    automatic status 02; ``lines`` are for the clerk."""

    hold: str = ""
    refusal: str = ""
    lines: tuple[str, ...] = ()


def admit(
    document: Document,
    findings: Sequence[FileVerification],
    profile: Profile,
    *,
    addressed_to_us: bool,
    known_original: bool,
    holders: Holders,
) -> Admission:
    """Decide about a received document from what it says and what its signatures are worth.

    ``holders``: further names and numbers of certificates by agency code (``trust.holders``).
    """
    if bears_mark(document):
        return Admission(hold="received.secret", refusal="Văn bản có dấu mật, không được gửi qua trục liên thông")
    if not addressed_to_us:
        return Admission(hold="received.not-for-us", refusal="Văn bản không gửi cho cơ quan này (gửi nhầm nơi nhận)")
    lines = _lines(document, findings, holders, known_original)
    broken = [finding for finding in findings if finding.verdict is Verdict.INVALID]
    if broken:
        refusal = "; ".join(map(_what_is_broken, broken)) if profile.refuse_broken else ""
        return Admission(hold="received.signature-broken", refusal=refusal, lines=lines)
    if profile.hold_untrusted and any(finding.verdict is Verdict.UNTRUSTED for finding in findings):
        return Admission(hold="received.signer-untrusted", lines=lines)
    if profile.hold_unsigned and _main_verdict(document, findings) is Verdict.UNSIGNED:
        return Admission(hold="received.unsigned", lines=lines)
    return Admission(lines=lines)


def _what_is_broken(finding: FileVerification) -> str:
    """For the sender. A revoked certificate is no change of the file, and must not be told as one."""
    reasons = {reason for signature in finding.signatures for reason in signature.reasons}
    if _REVOKED in reasons:
        return f"Chứng thư số đã bị thu hồi trước khi ký: {finding.part}"
    return f"Chữ ký số không toàn vẹn, tệp đã bị thay đổi: {finding.part}"


def _main_verdict(document: Document, findings: Sequence[FileVerification]) -> Verdict:
    mains = {part.name for part in document.parts if part.role is PartRole.MAIN}
    return next((finding.verdict for finding in findings if finding.part in mains), Verdict.UNSIGNED)


def _signer_lines(document: Document, findings: Sequence[FileVerification], holders: Holders) -> Iterator[str]:
    """What a clerk should know of who signed: a missing party, certificates that are not the sender's."""
    mains = {part.name for part in document.parts if part.role is PartRole.MAIN}
    for finding in findings:
        missing = missing_party(finding) if finding.part in mains else ""
        if missing:
            yield missing
        if names := strangers(finding, document.sender, holders):
            yield (
                f"Chứng thư ký {finding.part} ({', '.join(names)}) không thể hiện tên hay mã của bên gửi: "
                "đề nghị kiểm tra người ký có thuộc bên gửi không."
            )


def _lines(
    document: Document, findings: Sequence[FileVerification], holders: Holders, known_original: bool
) -> tuple[str, ...]:
    lines = []
    kind = document.change.kind
    if kind in _KIND_LINES:
        lines.append(_KIND_LINES[kind].format(reason=document.change.reason or "không nêu"))
        if not known_original:
            lines.append("Không tìm thấy văn bản gốc mà gói tin này nói đến: đề nghị kiểm tra trước khi xử lý.")
    if document.parts:
        lines.append(legal_value(_main_verdict(document, findings)).text_vi)
        lines += _signer_lines(document, findings, holders)
    if document.paper:
        lines.append("Có văn bản giấy gửi kèm.")
    return tuple(lines)
