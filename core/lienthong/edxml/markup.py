"""Elements that are to be written: their text as XML carries it, and the place of what the format does not know.

Written by hand because the form matters: see ``writer``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lienthong.edxml.codes import KNOWN_CHILDREN, NAMESPACE, key_of, tidy
from lienthong.errors import ContentError
from lienthong.model import ForeignElement

HOLE = "\0"
"""Stands where bytes are put in later; no text of a packet can hold it."""

_DEEPEST = 48
"""Levels of a foreign element: with those above it, less than readers let in."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKUP = re.compile('[&<>\r\n\t"]')
_IN_TEXT = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_IN_ATTRIBUTE = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_LETTER = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NAME = re.compile(f"[{_LETTER}][{_LETTER}\\-.0-9\u00b7\u0300-\u036f\u203f\u2040]*")
"""A name without a prefix (Namespaces in XML 1.0, NCName)."""
_RESERVED_SPACES = ("http://www.w3.org/2000/xmlns/", "http://www.w3.org/XML/1998/namespace")
_IN_ENVELOPE = "edxmlenvelope/attachmentencoded"


@dataclass(slots=True, eq=False)
class Node:
    """One element. ``needed``: a packet cannot do without its text. ``hole``: its text comes later.

    ``prefix`` None: as the element around it. ``foreign``: not of this format, and written even when it is empty.
    """

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)
    attributes: tuple[tuple[str, str], ...] = ()
    prefix: str | None = None
    needed: bool = False
    hole: bool = False
    foreign: bool = False


def lines_of(nodes: Iterable[Node], around: str, always: frozenset[str], prefix: str, indent: str) -> list[str]:
    """The nodes that have something to say, or that stand ``always``, one line for each text. ``around``: XPath above.

    :raises ContentError: a needed text is empty, or a text holds what XML cannot carry
    """
    parent = around.rpartition("/")[2].partition("[")[0]
    lines: list[str] = []
    for node, step in _with_steps(nodes):
        where = f"{around}/{step}" if around else step
        used = prefix if node.prefix is None else node.prefix
        text = HOLE if node.hole else _text(node.text, where)
        inside = lines_of(node.children, where, always, used, indent + "  ")
        if node.needed and not text:
            raise ContentError("packet.field-empty", where=where, field=node.name)
        if text or inside or node.foreign or node.name in always or f"{parent}/{node.name}" in always:
            begin = f"{indent}<{used}{node.name}{_attributes(node, where)}>{text}"
            lines += [f"{begin}\n", *inside, indent] if inside else [begin]
            lines.append(f"</{used}{node.name}>\n")
    return lines


def _with_steps(nodes: Iterable[Node]) -> Iterator[tuple[Node, str]]:
    """Each node with its step of an XPath, with a position from the second of a name on."""
    seen: Counter[str] = Counter()
    for node in nodes:
        seen[node.name] += 1
        yield node, node.name + (f"[{seen[node.name]}]" if seen[node.name] > 1 else "")


def _text(text: str, where: str) -> str:
    _refuse_illegal(text, where)
    return _MARKUP.sub(lambda found: _IN_TEXT.get(found[0], found[0]), tidy(text))


def _attributes(node: Node, where: str) -> str:
    return "".join(f' {name}="{_attribute(value, f"{where}/@{name}")}"' for name, value in node.attributes)


def _attribute(value: str, where: str) -> str:
    _refuse_illegal(value, where)
    return _MARKUP.sub(lambda found: _IN_ATTRIBUTE[found[0]], value)


def _refuse_illegal(text: str, where: str) -> None:
    illegal = _ILLEGAL.search(text)
    if illegal:
        raise ContentError("packet.character", where=where, character=f"U+{ord(illegal[0]):04X}")


# --- what the format does not know ------------------------------------------------------------------------------------


def place_foreign(root: Node, elements: Iterable[ForeignElement]) -> None:
    """Put foreign elements back at the end of their parents.

    :raises ContentError: the packet has no such parent, the element's name is one that the format knows there (so the
        packet would say two things), or XML cannot carry a name
    """
    elements = tuple(elements)
    places = dict(_places(root)) if elements else {}
    for element in elements:
        path = key_of(element.parent).replace("[1]", "")
        if path.startswith(_IN_ENVELOPE):
            # Some builders put the attachments into the envelope; here they stand beside it.
            path = path.removeprefix("edxmlenvelope/")
        parent, prefix = places.get(path, (None, ""))
        if parent is None or parent.hole or _is_known(parent, element):
            raise ContentError("packet.foreign-place", where=element.parent or root.name, name=element.name)
        parent.children.append(_foreign(element, prefix, NAMESPACE, 1))


def _places(root: Node) -> Iterator[tuple[str, tuple[Node, str]]]:
    """Every place of a packet by its path of keys, with the node there and the prefix that holds below it."""
    waiting = [("", root, root.prefix or "")]
    while waiting:
        path, node, prefix = waiting.pop()
        yield path, (node, prefix)
        for child, step in _with_steps(node.children):
            below = f"{path}/{key_of(step)}" if path else key_of(step)
            waiting.append((below, child, prefix if child.prefix is None else child.prefix))


def _is_known(parent: Node, element: ForeignElement) -> bool:
    return key_of(element.name) in KNOWN_CHILDREN.get(key_of(parent.name), ())


def _foreign(element: ForeignElement, prefix: str, around: str, depth: int) -> Node:
    """``around``: the namespace that holds for names without prefix at this place."""
    _check_foreign(element, depth)
    own = element.namespace in ("", NAMESPACE)
    unprefixed = NAMESPACE if own else element.namespace
    if own and prefix:
        unprefixed = around
    declared = (("xmlns", unprefixed),) if unprefixed != around else ()
    return Node(
        element.name,
        element.text,
        [_foreign(child, prefix, unprefixed, depth + 1) for child in element.children],
        attributes=(*declared, *element.attributes),
        prefix=prefix if own else "",
        foreign=True,
    )


def _check_foreign(element: ForeignElement, depth: int) -> None:
    where = element.parent or element.name
    if depth > _DEEPEST:
        raise ContentError("packet.too-large", where=where, what="levels", limit=_DEEPEST)
    names = [name for name, _ in element.attributes]
    for name in (element.name, *names):
        if not _NAME.fullmatch(name) or name == "xmlns" or names.count(name) > 1:
            raise ContentError("packet.foreign-name", where=where, name=name[:100])
    if element.namespace in _RESERVED_SPACES:
        raise ContentError("packet.foreign-name", where=where, name=element.namespace)
