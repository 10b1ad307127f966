"""What every part agrees on about plain text: sentences, words, clean characters, when two texts are the same."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

_CLOSING = "\"'”’»)\\]}"
# Every alternative consumes what it looks at and none can fail after a long look, so a scan is linear on any text.
_END = re.compile(rf"(?P<mark>[.!?…][.!?…{_CLOSING}]*+)(?P<gap>\s*+)|\n[^\S\n]*+\n\s*+")
_BLANK_LINE = re.compile(r"\n[^\S\n]*+\n")
_INITIAL = re.compile(r"\b[^\W\d_]\.")
_OPENING = "\"'“‘«([{-–"
_LOOK_BACK = 24  # characters before a full stop: longer than any abbreviation below


def _each(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Never an end: a name or an explanation follows.
_TITLES = _each(
    "mr mrs ms mx messrs dr prof rev hon st mt gen capt cpt col maj lt sgt cpl cmdr gov sen rep pres supt insp "
    "fr e.g i.e viz cf vs ca approx esp fig eq vol pp mme mlle ste"
)
# An end only where the next sentence visibly starts.
_TAILS = _each(
    "a.m p.m a.d b.c u.s u.k u.n u.s.a d.c ph.d m.d b.a m.a etc jr sr esq inc ltd co corp bros dept ave blvd rd "
    "jan feb mar apr jun jul aug sep sept oct nov dec al"
)

_LETTERS = r"[^\W\d_]+(?:['’ʼ‐‑-][^\W\d_]+)*"
_WORD = re.compile(_LETTERS)
_WORD_OR_NUMBER = re.compile(_LETTERS.replace(r"\d", ""))
# The same for text that is ASCII and lower case already, as most is: three times as fast.
_ASCII_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")
_ASCII_WORD_OR_NUMBER = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")
_FEW, _MARKS = 1000, 30  # characters of a text that is quick to normalise in any case; marks on one letter
_PLAIN_MARKS = str.maketrans({"’": "'", "ʼ": "'", "‐": "-", "‑": "-"})

_WHITE_CONTROLS = r"\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029"
_UNSEEN = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # other control characters
    r"\xad\u180e\u200b-\u200d\u2060-\u2064\ufeff\ufff9-\ufffb"  # zero width, byte order mark
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction marks, overrides, isolates
    r"\U000e0000-\U000e007f"  # tag characters: text that only a machine sees
)
_SURROGATES = r"\ud800-\udfff"
_UNCLEAN = re.compile(f"(?P<white>[{_WHITE_CONTROLS}])|(?P<unseen>[{_UNSEEN}])|[{_SURROGATES}]")
_ANY_UNCLEAN = re.compile(f"[{_WHITE_CONTROLS}{_UNSEEN}{_SURROGATES}]")
_PART = 1 << 20

# Words that German, Dutch, French, Spanish, Italian or Danish also write (in, on, was, had, me, so ...) tell nothing.
_FUNCTION_WORDS = _each(
    "the and because while although though than that this these those of to for with without into under after before "
    "about between through against upon are been being does did will would shall should can could may might never "
    "you it's they them my your his its our their mine yours whom whose which what when where why how there then too "
    "very just only any both each some such most other same down again once her him she he's she's i'm i've don't "
    "didn't can't won't that's yes from"
)
_SAMPLE_TEXTS = 50
_SAMPLE_WORDS = 400
_ENOUGH_WORDS = 8
# English prose stands near 0.3, a bare plot summary at 0.1; other languages under 0.03.
_ENGLISH_SHARE = 0.08


def iter_sentences(text: str) -> Iterator[str]:
    """Sentences one at a time, stripped at both ends; joined, they lose nothing but white space."""
    for start, end in sentence_spans(text):
        yield text[start:end]


def sentences(text: str) -> list[str]:
    """Sentences with their closing quotes and brackets; a line break inside one stays, a blank line ends one."""
    return list(iter_sentences(text))


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence starts and ends: for a caller that must not copy a large text."""
    start = 0
    for match in _END.finditer(text):
        if not _is_end(text, match):
            continue
        end = match.start() if match["mark"] is None else match.end("mark")
        span = _stripped(text, start, end)
        if span[0] < span[1]:
            yield span
        start = match.end()
    span = _stripped(text, start, len(text))
    if span[0] < span[1]:
        yield span


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _is_end(text: str, match: re.Match[str]) -> bool:
    mark, after = match["mark"], match.end()
    if mark is None or after == len(text):
        return True
    if match.start("gap") == after:
        return False
    if _BLANK_LINE.search(text, match.end("mark"), after):
        return True
    following = text[after]
    if following in ".…":  # an ellipsis set with spaces
        return False
    spaced = match.start() == 0 or text[match.start() - 1].isspace()
    trails = mark.startswith(("..", "…")) or spaced
    if following.islower() and (trails or mark[-1] not in ".!?…"):
        return False  # "Who is there?" said the man ... and went on
    return mark != "." or not _abbreviated(text, match.start(), after)


def _abbreviated(text: str, stop: int, after: int) -> bool:
    """Does the word before the full stop at `stop` want that stop for itself?"""
    tail = text[max(0, stop - _LOOK_BACK) : stop].rsplit(None, 1)
    word = tail[-1].rpartition("—")[2].lstrip(_OPENING) if tail else ""
    if len(word) == 1 and word.isupper():
        return word != "I" or _among_initials(text, stop, after)
    lowered = word.lower()
    if lowered == "no":
        return text[after].isdigit()
    following = text[after]
    return lowered in _TITLES or (lowered in _TAILS and not (following.isupper() or following in _OPENING))


def _among_initials(text: str, stop: int, after: int) -> bool:
    """'It was I.' ends; in 'J. I. Brown' and 'I. J. Brown' nothing does."""
    return bool(_INITIAL.search(text, max(0, stop - 4), stop - 1) or _INITIAL.match(text, after))


def words(text: str) -> list[str]:
    """Lower-case words of letters; an apostrophe or hyphen inside one stays, typographic ones made plain."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _WORD.findall(text.translate(_PLAIN_MARKS).lower())


def normal(text: str) -> str:
    """The form in which two texts are duplicates: case, marks and spacing gone, words and numbers left."""
    if text.isascii():
        folded, tokens = text.lower(), _ASCII_WORD_OR_NUMBER
    else:
        folded, tokens = composed(text, "NFKC").casefold().translate(_PLAIN_MARKS), _WORD_OR_NUMBER
    # A text of marks alone would otherwise equal every other one.
    return " ".join(tokens.findall(folded)) or one_line(folded)


def one_line(text: str) -> str:
    """White space runs become one space, and what no reader sees (a model can say it, escaped in JSON) goes."""
    # Most lines are printable, and that is quick to see.
    return " ".join((text if text.isprintable() else clean(text)).split())


def clean(text: str) -> str:
    """Characters that a reader sees, in one spelling (NFC); controls that part words become line breaks."""
    if _ANY_UNCLEAN.search(text):
        text = text.replace("\r\n", "\n")
        # In parts: the pieces between a million small changes take more room than the text.
        parts = (text[start : start + _PART] for start in range(0, len(text), _PART))
        text = "".join(_UNCLEAN.sub(_seen, part) for part in parts)
    return composed(text, "NFC")


def composed(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Unicode's normal form, in time that grows with the text: putting marks in order takes the square of how many stand on one
    letter, so those beyond the thirtieth go (UAX 15, section 13, knows no language that has so many)."""
    if len(text) > _FEW and not text.isascii():
        text = "".join(_with_few_marks(text))
    return unicodedata.normalize(form, text)


def _with_few_marks(text: str) -> Iterator[str]:
    run = 0
    for char in text:
        run = run + 1 if unicodedata.combining(char) else 0
        if run <= _MARKS:
            yield char


def _seen(found: re.Match[str]) -> str:
    if found["white"]:
        return "\n"
    return "" if found["unseen"] else "\ufffd"


def looks_english(texts: Iterable[str]) -> bool:
    """Lenient: by the share of English function words in a sample; too few words to judge counts as English."""
    seen = known = 0
    for text in islice(texts, _SAMPLE_TEXTS):
        for match in islice(_WORD.finditer(text), _SAMPLE_WORDS):
            seen += 1
            known += match[0].lower().replace("’", "'") in _FUNCTION_WORDS
    return seen < _ENOUGH_WORDS or known >= _ENGLISH_SHARE * seen
