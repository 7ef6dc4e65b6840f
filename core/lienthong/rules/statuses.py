"""Which status may follow which (derived from field practice; no legal text prints a table), and what each needs."""

from __future__ import annotations

from collections.abc import Sequence

from lienthong.errors import Refused
from lienthong.model import Business, StatusCode, StatusReport

_AFTER: dict[StatusCode | None, frozenset[str]] = {
    None: frozenset({"01"}),
    StatusCode.ARRIVED: frozenset({"02", "03"}),
    StatusCode.REFUSED: frozenset(),
    StatusCode.ACCEPTED: frozenset({"04", "05", "06"}),
    StatusCode.ASSIGNED: frozenset({"04", "05", "06"}),
    StatusCode.PROCESSING: frozenset({"04", "05", "06"}),
    StatusCode.COMPLETED: frozenset(),
}
_ANSWERS = frozenset({StatusCode.CHANGE_AGREED, StatusCode.CHANGE_DECLINED})
_ANSWERED = frozenset({Business.RECALL, Business.UPDATE})


def check_report(
    report: StatusReport,
    sent_before: Sequence[StatusCode],
    changes_requested: Sequence[Business],
    *,
    recall_agreed: bool = False,
) -> None:
    """Refuse a status that the receiver of a document must not send now.

    ``sent_before``: the statuses sent about this document so far, oldest first. ``changes_requested``: what its sender
    has asked for since (a recall by status 13 counts as RECALL). ``recall_agreed``: 15 was sent after a recall.

    :raises Refused: status.*
    """
    if report.code in (StatusCode.REFUSED, StatusCode.RECALL_REQUESTED) and not report.description.strip():
        raise Refused("status.no-reason", where="description", code=report.code.value)
    if report.code is StatusCode.RECALL_REQUESTED:
        return
    progress = [code for code in sent_before if code not in _ANSWERS]
    last = progress[-1] if progress else None
    if report.code in _ANSWERS:
        if last in (None, StatusCode.REFUSED) or not _ANSWERED.intersection(changes_requested):
            raise Refused("status.nothing-to-answer", where="code", code=report.code.value)
    elif recall_agreed or report.code.value not in _AFTER[last]:
        shown = "15 (thu hồi)" if recall_agreed else (last.value if last else "-")
        raise Refused("status.order", where="code", code=report.code.value, last=shown)
