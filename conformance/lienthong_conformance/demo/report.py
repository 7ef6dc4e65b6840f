"""What the person in front of the demo sees: a line for everything that happens, then a table and the totals."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lienthong.model import Priority
from lienthong_conformance.demo.plan import ROLES, Pair, Step, role_of
from lienthong_conformance.demo.tally import Seen, Totals

_SHORT = {"tinh": "UBND tỉnh", "so": "Sở KH&CN", "xa": "UBND xã", "la": "KCN số Mây Trắng"}
_SYSTEMS = {"tinh": "thư mục", "so": "REST", "xa": "API"}
_URGENCY = {
    Priority.NORMAL: "thường",
    Priority.URGENT: "khẩn",
    Priority.VERY_URGENT: "thượng khẩn",
    Priority.FLASH: "hỏa tốc",
    Priority.FLASH_TIMED: "hỏa tốc",
}
_STATUSES = {
    "01": "đã đến",
    "02": "từ chối nhận",
    "03": "đã tiếp nhận",
    "04": "đã phân công",
    "05": "đang xử lý",
    "06": "hoàn thành",
    "13": "xin lấy lại",
    "15": "đồng ý thu hồi, cập nhật",
    "16": "không đồng ý",
}
_KINDS = {"recall": "thu hồi", "update": "cập nhật", "replace": "thay thế"}
_REASON_LENGTH = 90


class Progress:
    """Says each thing once, when it is first seen."""

    def __init__(self, console: Console, steps: Sequence[Step]) -> None:
        self._console = console
        self._steps = {step.document_id: step for step in steps}
        self._said: set[object] = set()
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._begun:5.1f}s[/]  {text}", highlight=False, soft_wrap=True)

    def show(self, seen: Seen) -> None:
        for key, text in self._happenings(seen):
            if key not in self._said:
                self._said.add(key)
                self.say(text)

    def _happenings(self, seen: Seen) -> Iterator[tuple[object, str]]:
        for document_id in seen.issued:
            step = self._steps[document_id]
            yield document_id, f"{_code(step)} [cyan]giao cho phần mềm[/]  {_route(step)}  [dim]{_subject(step)}[/]"
        for pair in seen.axis:
            yield ("axis", pair), f"{self._named(pair)} [blue]đã ký, đã lên trục[/] → {short(pair.recipient)}"
        for held in seen.held:
            yield ("held", held.pair), f"{self._named(held.pair)} [green]đã đến[/] {short(held.pair.recipient)}"
        for document_id, why in seen.refusals.items():
            yield ("refused", document_id), f"{_code(self._steps[document_id])} [red]không gửi[/]: {escape(why)}"
        for each in seen.feedback:
            text = f"trạng thái {each.code} ({_STATUSES.get(each.code, '?')}) từ {short(each.reporter)}"
            yield each, f"{self._named(Pair(each.document_id, each.reporter))} [magenta]{text}[/]"

    def _named(self, pair: Pair) -> str:
        step = self._steps.get(pair.document_id)
        return _code(step) if step else f"[bold]{escape(pair.document_id)}[/]"


def short(code: str) -> str:
    """An agency's short name."""
    return _SHORT[role_of(code)]


def _code(step: Step) -> str:
    return f"[bold]{escape(f'{step.letter.code:14}')}[/]"


def _route(step: Step) -> str:
    return f"{short(step.document.sender.code)} → {_recipients(step)}"


def _recipients(step: Step) -> str:
    return ", ".join(short(pair.recipient) for pair in step.pairs)


def _subject(step: Step) -> str:
    return escape(step.letter.subject[:60])


def introduction() -> str:
    """Who takes part."""
    parts = [f"{agency.name} ({_SYSTEMS[role]})" for role, agency in ROLES.items()]
    return "Ba cơ quan trên một trục mô phỏng: " + "; ".join(parts)


def document_table(steps: Sequence[Step], seen: Seen) -> Table:
    """One row per document: from, to, urgency, what became of it, the statuses that came back, and why not."""
    table = Table(title="Văn bản đã trao đổi", title_justify="left", header_style="bold", show_lines=False)
    for heading in ("Số, ký hiệu", "Loại", "Từ", "Đến", "Độ khẩn", "Kết quả", "Trạng thái phản hồi", "Ghi chú"):
        table.add_column(heading, overflow="fold")
    for step in steps:
        table.add_row(*_row(step, seen))
    return table


def _row(step: Step, seen: Seen) -> tuple[str, ...]:
    kind = _KINDS.get(step.document.change.kind.name.lower())
    return (
        escape(step.letter.code),
        step.letter.type_name + (f" ({kind})" if kind else ""),
        short(step.document.sender.code),
        _recipients(step),
        _URGENCY[step.document.priority],
        _outcome(step, seen),
        _statuses_of(step, seen),
        escape(_note(step, seen)),
    )


def _outcome(step: Step, seen: Seen) -> str:
    if step.document_id in seen.refusals:
        return "[yellow]không gửi[/]"
    arrived = sum(pair in seen.held_pairs for pair in step.pairs)
    if step.fate == "quarantined" and not arrived:
        return "[yellow]cách ly tại nơi nhận[/]"
    colour = "green" if arrived == len(step.pairs) else "red"
    return f"[{colour}]đã đến {arrived}/{len(step.pairs)}[/]"


def _statuses_of(step: Step, seen: Seen) -> str:
    told = sorted({each for each in seen.feedback if each.document_id == step.document_id})
    by_reporter = {each.reporter: " ".join(e.code for e in told if e.reporter == each.reporter) for each in told}
    if len(by_reporter) == 1:
        return next(iter(by_reporter.values()))
    return "; ".join(f"{short(code)}: {codes}" for code, codes in by_reporter.items())


def _note(step: Step, seen: Seen) -> str:
    if why := seen.refusals.get(step.document_id):
        return why if len(why) <= _REASON_LENGTH else f"{why[:_REASON_LENGTH]}…"
    if step.fate == "quarantined":
        return "bị sửa trên đường đi, chữ ký không còn toàn vẹn"
    return step.letter.reason


def totals_line(totals: Totals) -> str:
    """The totals in one paragraph."""
    statuses = ", ".join(f"{code}: {number}" for code, number in totals.statuses.items())
    return (
        f"[bold]Phát hành {totals.issued} văn bản[/]: đến {totals.delivered} lượt, không gửi {totals.refused}, "
        f"cách ly {totals.quarantined}, thu hồi {totals.recalled}. "
        f"[bold]Mất {totals.lost}, trùng {totals.duplicated}[/]. Trạng thái: {statuses}. {totals.seconds:.1f} giây."
    )


def print_differences(console: Console, differences: Sequence[str], logs: Mapping[str, str]) -> None:
    """What is not as planned, and what the programs said last."""
    console.print("[bold red]Không đúng dự kiến:[/]")
    for line in differences:
        console.print(f"  • {escape(line)}", highlight=False, soft_wrap=True)
    for name, text in logs.items():
        if text:
            console.print(f"[bold]— {escape(name)}.log[/]")
            console.print(escape(text), highlight=False, soft_wrap=True)
