"""Vietnamese text that an encoding has spoilt: found by what it turns into when the mistake is undone.

A guess counts only when undoing it makes Vietnamese out of what was not: words are tested against the syllables that
the language has. So English, codes and foreign names are left alone. Pure.

The old tables are those of TCVN 5712:1993 (VN3), VNI for Windows and VPS, seen through Windows-1252.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_MOST_LETTERS = 4000
_LEAST_WORDS = 2
_LEAST_LOST = 2
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_LOST_LETTER = re.compile(r"(?<=[^\W\d_])\?(?=[^\W\d_])")
_LINK = re.compile(r"\w+://|\?\w+=")
_MISREAD = re.compile("[\xc2-\xc6][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|á[º»][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")
"""UTF-8 of Vietnamese letters as Windows-1252 shows it: two bytes up to U+01BF, three from U+1E80 to U+1EFF."""
_UNICODE_ONLY = re.compile("[ĂăĐđĨĩŨũƠơƯư\u1ea0-\u1ef9]")
"""Letters that no code page of Western Europe has: where one stands, the text was never squeezed through one."""
_WORD = re.compile(r"[^\s.,;:!?()\[\]{}/\"'“”‘’…\-–—_0-9]{2,}")

_LONGEST_ONSET = 3
_STOPS = ("p", "t", "c", "ch")
_STOP_TONES = frozenset("\N{COMBINING ACUTE ACCENT}\N{COMBINING DOT BELOW}")
_TONES = _STOP_TONES | set("\N{COMBINING GRAVE ACCENT}\N{COMBINING HOOK ABOVE}\N{COMBINING TILDE}")
_ONSETS = frozenset(re.findall(r"\w+", "b c ch d đ g gh gi h k kh l m n ng ngh nh p ph qu r s t th tr v x")) | {""}
_RHYMES = frozenset(
    re.findall(
        r"\w+",
        """
        a ac ach ai am an ang anh ao ap at au ay ăc ăm ăn ăng ăp ăt âc âm ân âng âp ât âu ây e ec em en eng eo ep et
        ê êch êm ên êng ênh êp êt êu i ia ich im in inh ip it iu iêc iêm iên iêng iêp iêt iêu o oa oac oach oai oam oan
        oang oanh oao oap oat oay oăc oăm oăn oăng oăt oc oe oen oeo oet oi om on ong ooc oong op ot ô ôc ôi ôm ôn ông
        ôp ôt ơ ơi ơm ơn ơp ơt u ua uc ui um un ung up ut uân uâng uât uây uê uêch uênh uêu uơ uy uya uych uyn uynh uyp
        uyt uyu uyên uyêt uôc uôi uôm uôn uông uôt ư ưa ưc ưi ưm ưng ưt ưu ươc ươi ươm ươn ương ươp ươt ươu
        y yêm yên yêng yêt yêu
        """,
    )
)

_LETTERS = "àáảãạâầấẩẫậăằắẳẵặđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵ"
_TCVN3 = str.maketrans(
    "µ¸¶·¹©ÇÊÈÉË¨»¾¼½Æ®ÌÐÎÏÑªÒÕÓÔÖ×ÝØÜÞßãáâä«åèæçé¬êíëìîïóñòô\xadõøö÷ùúýûüþ¡¢£¤¥¦§",
    f"{_LETTERS}ăâêôơưđ",
)
_VPS = str.maketrans("àáäãåâÀÃÄÅÆæ¢¡£¤¥ÇèéÈëËêŠ‰‹ÍŒìíÌïÎòóÕõ†ôÒÓ°‡¶Ö©§ª«®ùúûÛøÜØÙº»¿ÿš›Ïœñ", f"{_LETTERS}đ")
_ORDER = ("\u0300", "\u0301", "\u0309", "\u0303", "\u0323")
_VNI_VOWELS = frozenset("aeouyôö")
# After a vowel: tones alone, then the circumflex and the breve, each alone and with the tones.
_VNI_MARKS = dict(
    zip(
        "øùûõïâàáåãäêèéúüë",
        [*_ORDER, *("\u0302" + tone for tone in ("", *_ORDER)), *("\u0306" + tone for tone in ("", *_ORDER))],
        strict=True,
    )
)
_VNI_LETTERS = str.maketrans("ñæóòîôö", "đỉĩịỵơư")


class Damage(StrEnum):
    """How a text was spoilt."""

    REPLACED = "replaced"
    """Letters became U+FFFD, or question marks within words; nobody can tell which they were."""
    MISREAD = "misread"
    """UTF-8 was read as Windows-1252 or Windows-1258: ``VÄƒn báº£n``."""
    TCVN3 = "TCVN3"
    VNI = "VNI"
    VPS = "VPS"


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoilt:
    """``meant``: the text with the mistake undone, NFC; empty when that cannot be done."""

    damage: Damage
    meant: str = ""


def spoilt(text: str) -> Spoilt | None:
    """How a text was spoilt; None when there is no clear sign that it was.

    One word in an old table is too little to tell; two words are enough. Only the first 4,000 letters are looked at.
    """
    text = text[:_MOST_LETTERS]
    if _REPLACEMENT in text or _has_lost_letters(text):
        return Spoilt(damage=Damage.REPLACED)
    if text.isascii():
        return None
    if meant := _read_again(text):
        return Spoilt(damage=Damage.MISREAD, meant=meant)
    if _UNICODE_ONLY.search(text):
        return None
    return next(
        (Spoilt(damage=kind, meant=_decoded(text, table)) for kind, table in _TABLES if _fits(text, table)), None
    )


def _has_lost_letters(text: str) -> bool:
    """Whether letters became question marks, as in a column of a database that has no Unicode."""
    if "?" not in text or _UNICODE_ONLY.search(text) or _LINK.search(text):
        return False
    return len(_LOST_LETTER.findall(text)) >= _LEAST_LOST


# --- UTF-8 that was read as something else ------------------------------------------------------------------------


def _read_again(text: str) -> str:
    """The text as the UTF-8 that its bytes are; empty when they are not."""
    if not _MISREAD.search(text):
        return ""
    for codec in ("cp1252", "cp1258"):
        # The end may be cut within a letter: blanks are trimmed from values, and A0 is a part of many letters.
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            meant = decoder.decode(b"".join(_byte(letter, codec) for letter in text))
        except UnicodeError:
            continue
        return unicodedata.normalize("NFC", meant)
    return ""


def _byte(letter: str, codec: str) -> bytes:
    """:raises UnicodeEncodeError: the letter is not one byte there"""
    try:
        return letter.encode(codec)
    except UnicodeEncodeError:
        # Five bytes have no letter in Windows-1252 and are shown as the control characters of Latin-1.
        return letter.encode("latin-1")


# --- fonts from before Unicode --------------------------------------------------------------------------------------

_Table = Callable[[str], str]


def _from_tcvn3(word: str) -> str:
    return word.translate(_TCVN3)


def _from_vps(word: str) -> str:
    return word.translate(_VPS)


def _from_vni(word: str) -> str:
    read, before = "", ""
    for letter in word.lower():
        mark = _VNI_MARKS.get(letter) if before in _VNI_VOWELS else None
        read += mark or letter.translate(_VNI_LETTERS)
        before = letter
    return unicodedata.normalize("NFC", read)


_TABLES: tuple[tuple[Damage, _Table], ...] = (
    (Damage.TCVN3, _from_tcvn3),
    (Damage.VNI, _from_vni),
    (Damage.VPS, _from_vps),
)


def _fits(text: str, table: _Table) -> bool:
    """Whether most words that are not Vietnamese, and two of them at least, are so in the table."""
    wrong = {word for word in _WORD.findall(text) if not (word.isascii() or is_syllable(word))}
    healed = sum(is_syllable(table(word)) for word in wrong)
    return healed >= _LEAST_WORDS and 2 * healed > len(wrong)


def _decoded(text: str, table: _Table) -> str:
    return _WORD.sub(lambda word: word[0] if word[0].isascii() else table(word[0]), text)


def is_syllable(word: str) -> bool:
    """Whether a word has the form of a Vietnamese syllable: an onset, a rhyme and at most one tone."""
    letters = unicodedata.normalize("NFD", word.lower())
    tones = [letter for letter in letters if letter in _TONES]
    plain = unicodedata.normalize("NFC", "".join(letter for letter in letters if letter not in _TONES))
    pairs = ((plain[:at], plain[at:]) for at in range(_LONGEST_ONSET + 1))
    rhyme = next((rhyme for onset, rhyme in pairs if onset in _ONSETS and rhyme in _RHYMES), "")
    if not rhyme or len(tones) > 1:
        return False
    return not rhyme.endswith(_STOPS) or bool(_STOP_TONES.intersection(tones))
