"""What a reply chose: the parsers of both published protocols as they are, and a lenient one of ours. METHODS 4.3, 4.4, 3.6.

All give the place of the choice as it was shown, or NONE. Nothing here knows which choice is right.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from factory.text import composed

NONE = -1
_V1_LETTERS = {"EU": ascii_lowercase[:6], "EA": ascii_lowercase[:4]}  # a seventh choice cannot be said
_V1_FORMS = ("({})", "[{}]", ": {}", "option {}", "option ({})", "choice {}", "choice ({})", "选项 {}", "选项 ({})")
_AND = {"en": " and ", "zh": "和"}
_FENCE, _OPEN = "```", "```json"


def v1(text: str, choices: Sequence[str], task: str, language: str) -> int:
    """Protocol v1: lines from the last up; in each the forms in their order, then a choice's own text, then a bare letter.

    Its quirks are kept. Within a form letters are tried from a on, so a line that names several choices gives the earliest
    letter; ": annoyed" holds ": a"; full stops are dropped from the reply and not from the choices; an "&" of a choice is
    looked for as "and". A letter beyond the choices is given back as it was said: a wrong answer, not an unread one.
    """
    letters = _V1_LETTERS[task]
    told = [choice.replace(" & ", _AND[language]).lower() for choice in choices]
    plain = text.strip().lower().replace("（", "(").replace("）", ")").replace(".", "")
    for line in reversed(plain.split("\n")):
        for form in _V1_FORMS:
            for place, letter in enumerate(letters):
                if form.format(letter) in line:
                    return place
        for place, choice in enumerate(told):
            if choice in line:
                return place
        if line and line[0] in letters and (len(line) == 1 or line[1] in "<[():"):
            return letters.index(line[0])
    return NONE


def v2(text: str, keys: Sequence[str], counts: Sequence[int]) -> tuple[int, ...]:
    """Protocol v2: the ```json block where one is begun, or else the whole reply, through json.loads; then a field counts
    only if it is exactly one upper-case letter of its question's choices: "B)", "b" and "B) text" are wrong."""
    said = _official(text)
    return tuple(_exact(said.get(key), count) for key, count in zip(keys, counts, strict=True))


def lenient(text: str, keys: Sequence[str], choices: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Ours: the fields wherever they stand, in the last JSON object that has them all or by their names, and of a field its
    first letter ("B)", "b", "B) text") or a choice's own text. Where one answer is asked for, a reply without its field is
    itself the field."""
    said = next((one for one in _objects(text) if all(key in one for key in keys)), None) or _named(text, keys)
    if not said and len(keys) == 1:
        said = {keys[0]: text}
    return tuple(
        first_letter(value, mine) if isinstance(value := said.get(key), str) else NONE
        for key, mine in zip(keys, choices, strict=True)
    )


# A letter that stands alone at the beginning: what follows it is an end or a mark, and "e.g.", "a-ha" and "A's" are words.
_LETTER = re.compile(r"[\W_]*([A-Za-z])\s*(?:$|[)\]}>:,;、。\"”*_|=]|[.'’\-–—](?!\w))")
_WORD = re.compile(r"[^\W_]")
_BEFORE_TEXT = re.compile(r"[\W_]*([A-Za-z])\s+(.*)", re.S)


def first_letter(text: str, choices: Sequence[str]) -> int:
    """The place that a short answer names: by a choice's whole text, by a letter set apart from what follows, or by a letter
    before the text of its own choice. "A person should ask" names none."""
    plain = composed(text, "NFKC").strip()
    told = [_bare(choice) for choice in choices]
    if _bare(plain) in told:
        return told.index(_bare(plain))
    if found := _LETTER.match(plain):
        return _shown(ascii_uppercase.index(found[1].upper()), choices)
    if found := _BEFORE_TEXT.match(plain):
        place = ascii_uppercase.index(found[1].upper())
        if place < len(told) and _bare(found[2]).startswith(told[place]):
            return place
    return NONE


def _bare(text: str) -> str:
    """A choice's text as it is compared: case, spaces and the marks around it gone."""
    plain = " ".join(composed(text, "NFKC").casefold().split())
    first, last = _WORD.search(plain), _WORD.search(plain[::-1])  # both linear, where stripping by one pattern is not
    return plain[first.start() : len(plain) - last.start()] if first and last else plain


def _shown(place: int, choices: Sequence[str]) -> int:
    """The place, if so many choices were shown."""
    return place if place < len(choices) else NONE


# JSON -----------------------------------------------------------------------------------------------------------------


def _official(text: str) -> Mapping[str, Any]:
    """The object of a reply as protocol v2 finds it, {} where it finds none."""
    if _OPEN in text:
        text, closed, _ = text.partition(_OPEN)[2].partition(_FENCE)
        if not closed:
            return {}
    try:
        said = json.loads(text)  # as theirs: another reader would forgive other things
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _exact(value: object, count: int) -> int:
    letters = ascii_uppercase[:count]
    return letters.index(value) if isinstance(value, str) and len(value) == 1 and value in letters else NONE


_MOST_BRACES = 200  # tried from the end: a reply of nothing but braces would take for ever


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """JSON objects in a text, those that begin last first."""
    decoder = json.JSONDecoder(strict=False)
    begins = [match.start() for match in re.finditer(r"\{", text)]
    for begin in reversed(begins[-_MOST_BRACES:]):
        try:
            said, _ = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict):
            yield said


def _named(text: str, keys: Sequence[str]) -> dict[str, str]:
    """Fields of a reply that was cut, or is no JSON: what stands last behind each name and a colon, as far as it goes."""
    found = {key: re.findall(rf"\b{key}\b[\"'*]*\s*[:：]\s*([^\n]*)", text, re.I) for key in keys}
    return {key: re.split(r"[\"']\s*[,}]", values[-1])[0] for key, values in found.items() if values}
