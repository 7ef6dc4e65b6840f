"""What happens to a document that arrived (Decision 28 Art. 4, 9.1; Decree 30 Art. 21)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lienthong.config import Profile
from lienthong.model import Business, Document, FileVerification, PartRole, Verdict
from lienthong.rules.secrecy import bears_mark

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
) -> Admission:
    """Decide about a received document from what it says and what its signatures are worth."""
    if bears_mark(document):
        return Admission(hold="received.secret", refusal="Văn bản có dấu mật, không được gửi qua trục liên thông")
    if not addressed_to_us:
        return Admission(hold="received.not-for-us", refusal="Văn bản không gửi cho cơ quan này (gửi nhầm nơi nhận)")
    broken = [finding.part for finding in findings if finding.verdict is Verdict.INVALID]
    if broken:
        text = "Chữ ký số không toàn vẹn, tệp đã bị thay đổi: " + ", ".join(broken) if profile.refuse_broken else ""
        return Admission(
            hold="received.signature-broken", refusal=text, lines=_lines(document, findings, known_original)
        )
    if profile.hold_untrusted and any(finding.verdict is Verdict.UNTRUSTED for finding in findings):
        return Admission(hold="received.signer-untrusted", lines=_lines(document, findings, known_original))
    if profile.hold_unsigned and _main_verdict(document, findings) is Verdict.UNSIGNED:
        return Admission(hold="received.unsigned", lines=_lines(document, findings, known_original))
    return Admission(lines=_lines(document, findings, known_original))


def _main_verdict(document: Document, findings: Sequence[FileVerification]) -> Verdict:
    mains = {part.name for part in document.parts if part.role is PartRole.MAIN}
    return next((finding.verdict for finding in findings if finding.part in mains), Verdict.UNSIGNED)


def _lines(document: Document, findings: Sequence[FileVerification], known_original: bool) -> tuple[str, ...]:
    lines = []
    kind = document.change.kind
    if kind in _KIND_LINES:
        lines.append(_KIND_LINES[kind].format(reason=document.change.reason or "không nêu"))
        if not known_original:
            lines.append("Không tìm thấy văn bản gốc mà gói tin này nói đến: đề nghị kiểm tra trước khi xử lý.")
    if document.parts:
        lines.append(_legal_class(_main_verdict(document, findings)))
    if document.paper:
        lines.append("Có văn bản giấy gửi kèm.")
    return tuple(lines)


def _legal_class(verdict: Verdict) -> str:
    if verdict is Verdict.VALID:
        return "Văn bản đã ký số hợp lệ: có giá trị pháp lý tương đương văn bản giấy (Điều 4.1 Quyết định 28)."
    if verdict is Verdict.UNSIGNED:
        return "Văn bản không ký số: chỉ để biết, tham khảo, không thay văn bản giấy (Điều 4.2 Quyết định 28)."
    return "Chữ ký số chưa được công nhận: chỉ để biết, tham khảo cho đến khi xác minh (Điều 4.2, 9.1 Quyết định 28)."
