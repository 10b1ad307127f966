"""Reads replies that are nearly JSON: what models put around, into and in place of the object that was asked for.

Nothing that was cut off is ever completed. The strings are found here, and what they hold is not guessed at; between
them the library json_repair mends the syntax, and what it makes is checked against the strings that were there.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from factory.errors import BadReply
from factory.fit import fitted

KINDS = (
    "thinking", "fence", "prose", "quotes", "comma", "control", "syntax", "unclosed", "case", "form", "number", "list",
    "key", "extra", "several",
)  # fmt: skip
LONGEST = 200_000  # characters of a reply that is looked at
DEEPEST = 64  # objects and arrays inside each other
_MOST_BLOCKS = 20  # of thinking
_MOST_OBJECTS = 200  # one after another
_LIBRARY = 20_000  # characters that the library is given: some of its rules take the square of their number
_STEPS = 20  # times the library may look at a character, on average


@dataclass(frozen=True, slots=True)
class Mended:
    """One way to read a reply; `kinds` are the words of KINDS that say what was done, each once, in that order.

    `around` is the text before, between and behind the objects, without the thinking.
    """

    value: Any
    kinds: tuple[str, ...]
    around: str = ""


def mended(text: str, schema: Mapping[str, Any] | None = None) -> Iterator[Mended]:
    """The ways to read a reply, the one that needs least first; the caller takes the first that validates.

    Without a schema only the syntax is mended. BadReply `truncated` where the text ends before its object does,
    `not_json` where there is none in it, or too much.
    """
    if len(text) > LONGEST:
        raise BadReply("not_json", f"the answer is longer than {LONGEST:,} characters")
    answer, kinds = _answer(text)
    if (inner := _quoted(answer)) is not None:
        answer, kinds = inner, kinds | {"syntax"}
    found = _objects(answer, schema)
    if not found:
        raise BadReply("not_json", "there is no JSON object in the answer")
    around = _around(answer, found)
    if _only_a_draft(around):
        raise BadReply("truncated", "the answer ends where it begins anew")
    outside = "\n".join(around)
    kinds |= _kinds_around(outside)
    together = _together(found, kinds)
    several = {"several"} if len(found) > 1 else set()
    alone = (
        [] if _listed(answer, found) else [_Value(one.value, kinds | one.kinds | several) for one in reversed(found)]
    )
    yield from (Mended(one.value, _sorted(one.kinds), outside) for one in alone or together)
    for words in (False, True) if schema else ():
        for one in (*together, *alone):  # two items one after another are two; a second whole object is a correction
            value, more = fitted(one.value, schema or {}, words)
            if more:
                yield Mended(value, _sorted(one.kinds | set(more)), outside)


@dataclass(frozen=True, slots=True)
class _Value:
    value: Any
    kinds: set[str]


def _together(found: list["_Object"], kinds: set[str]) -> list[_Value]:
    """Objects one after another, without an array around them, as the array."""
    if len(found) < 2 or not all(isinstance(one.value, dict) for one in found):
        return []
    return [_Value([one.value for one in found], kinds.union(*(one.kinds for one in found), {"list"}))]


def _listed(text: str, found: list["_Object"]) -> bool:
    """Whether commas stand between the objects: then none of them is the answer alone."""
    return any(text[one.end : other.start].strip() == "," for one, other in pairwise(found))


def _sorted(kinds: set[str]) -> tuple[str, ...]:
    return tuple(kind for kind in KINDS if kind in kinds)


# --- what stands before and around the object -----------------------------------------------------------------------

_OPENING = re.compile(r"<(think|thinking|thought|reasoning|reflection)>|\[(THINK)\]", re.I)
_CLOSING = re.compile(r"</(?:think|thinking|thought|reasoning|reflection)>|\[/THINK\]", re.I)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]{0,80}<\|message\|>")  # harmony, the format of gpt-oss
_BARE_CHANNEL = re.compile(r"\s*(?:analysis|commentary).*?assistant\s*final\s*", re.S)  # its marks taken out
_BRACKET = re.compile(r"[{\[](?!THINK\])", re.I)
_FENCE = re.compile(r"(?:`{3,}|~{3,})[ \t]*[\w+-]{0,20}")


def _answer(text: str) -> tuple[str, set[str]]:
    """The text behind the thinking, without marks that are no characters; an unclosed block of thinking is no answer."""
    kinds: set[str] = set()
    text = _in_pairs(text)
    if "\0" in text or "\ufeff" in text:
        text, kinds = text.replace("\0", "").replace("\ufeff", ""), {"control"}
    rest = _behind_channels(text)
    rest = _behind_tags(text) if rest is None else rest
    return (text, kinds) if rest is None else (rest, kinds | {"thinking"})


def _behind_channels(text: str) -> str | None:
    channels = list(_CHANNEL.finditer(text))
    if channels:
        if channels[-1][1] != "final":
            raise BadReply("truncated", "the answer ended while the model was still thinking")
        return re.split(r"<\|(?:return|end|start|call)\|>", text[channels[-1].end() :], maxsplit=1)[0]
    bare = _BARE_CHANNEL.match(text)
    return text[bare.end() :] if bare else None


def _behind_tags(text: str) -> str | None:
    """None where there is no thinking. A template may have opened the block itself, so that only its end is here."""
    rest = text
    for _ in range(_MOST_BLOCKS):
        opened = _OPENING.search(rest, 0, _first_bracket(rest))
        if opened is None:
            break
        closed = _CLOSING.search(rest, opened.end())
        if closed is None:
            raise BadReply("truncated", "the answer ended while the model was still thinking")
        rest = rest[: opened.start()] + rest[closed.end() :]
    if rest is text and (closed := _CLOSING.search(text)) and _first_bracket(text, closed.end()) < len(text):
        rest = text[closed.end() :]
    return None if rest is text else rest


def _first_bracket(text: str, start: int = 0) -> int:
    found = _BRACKET.search(text, start)
    return found.start() if found else len(text)


def _around(text: str, found: list["_Object"]) -> list[str]:
    """What stands before, between and behind the objects."""
    edges = [0, *(edge for one in found for edge in (one.start, one.end)), len(text)]
    return [text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _only_a_draft(around: list[str]) -> bool:
    """Whether a fence opens behind the last object and nothing follows: it has a language, or words before it."""
    *before, behind = around
    fences = list(_FENCE.finditer(behind))
    if len(fences) % 2 == 0 or behind[fences[-1].end() :].strip() or _in_fence("\n".join(before)):
        return False
    return any(map(str.isalnum, behind))


def _in_fence(before: str) -> bool:
    return len(_FENCE.findall(before)) % 2 == 1


def _kinds_around(outside: str) -> set[str]:
    """Fences, words, or stray marks."""
    bare = _FENCE.sub("", outside)
    kinds = {"fence"} if bare != outside else set()
    if any(map(str.isalnum, bare)):
        kinds.add("prose")
    elif re.sub(r"[\s,]", "", bare):
        kinds.add("syntax")
    return kinds


def _quoted(text: str) -> str | None:
    """The text of a JSON string that holds an object: written down twice."""
    try:
        value = json.loads(text) if text.strip().startswith('"') else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None


# --- the objects in a text ------------------------------------------------------------------------------------------

# What may follow the bracket of an object or array; other brackets are words' brackets.
_BEGINS = re.compile(
    r"""\{\s*(?:["'“”„‘’«}]|//|/\*|\#|[A-Za-z_]\w{0,60}\s{0,9}:|\Z)"""
    r"""|\[\s*(?:["'“”„‘’«\]\[{]|//|/\*|-?\d|(?:true|false|null|None|True|False)\b|\Z)"""
)


@dataclass(frozen=True, slots=True)
class _Object:
    start: int
    end: int
    value: Any
    kinds: set[str]


def _objects(text: str, schema: Mapping[str, Any] | None) -> list[_Object]:
    """Objects and arrays of the outermost level that can be read; `truncated` where the last has no end."""
    found, place, broken = list[_Object](), 0, ""
    for _ in range(_MOST_OBJECTS):
        begin = _BEGINS.search(text, place)
        if begin is None:
            break
        one = _exact(text, begin.start())
        if one is None:
            scan = _Scan(text, begin.start())
            one, place, broken = scan.read(schema), scan.place, scan.broken
        if one is not None:
            found.append(one)
            place = one.end
    else:
        raise BadReply("not_json", f"there are more than {_MOST_OBJECTS} objects in the answer")
    if not found and broken:
        raise BadReply("not_json", broken)
    return _of_one_sort(found)


def _of_one_sort(found: list[_Object]) -> list[_Object]:
    """Without the [1] and [a, b] of the words around, where there is an object, or an array of objects, too."""
    good = [one for one in found if isinstance(one.value, dict) or any(isinstance(x, dict) for x in one.value)]
    return good or found


def _exact(text: str, start: int) -> _Object | None:
    """The valid JSON that begins here, if it is valid and says all that it says in one way."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    fine = _is_shallow(value) and not _lone(text[start:end]) and not _GOES_ON.match(text, end)
    return _Object(start, end, value, set()) if fine else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _lone(text: str) -> bool:
    return "\\ud" in text.lower()


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for some in inner for one in some if isinstance(one, dict | list)]
        if not level:
            return True
    return False


# --- one object, character by character -----------------------------------------------------------------------------

_PARTNER = {"{": "}", "[": "]", "}": "{", "]": "["}
_CLOSERS = {'"': '"', "'": "'’", "“": '”“"', "”": '”"', "„": '“”"', "‘": "’'", "’": "’'", "«": "»"}
_BARE = re.compile(r"""[^\s,:{}\[\]"“”„«»]+""")
_JSON = re.compile(r"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_DIGITS = re.compile(r"[-+]?[\d_.]+(?:[eE][-+]?\d*)?")  # in a way that JSON does not know, and the library does
_LITERALS = {"none": "null", "null": "null", "true": "true", "false": "false", "undefined": "null"}
_WRITTEN = re.compile(  # numbers in ways that JSON does not know: 0,7 and 80% and 8/10
    r"""(?:-?\d{1,9}(?P<comma>,)\d{1,9}(?=\s*(?:[}\]]|,\s*["'“]))|\d{1,9}(?:\.\d{1,9})?%|\d{1,6}/\d{1,6})(?=\s*[,}\]])"""
)
_AFTER_COMMA = re.compile(
    r"""\s*(?:["'“„‘«{}\[\]\d]|-\d|\Z|//|/\*"""
    r"""|(?:true|false|null|None|True|False)\b|[A-Za-z_]\w{0,60}\s{0,9}:)"""
)
_COMMENT = re.compile(r"//[^\n]*|#[^\n]*|/\*.{0,500}?\*/", re.S)
_GOES_ON = re.compile(r"""\s*,\s*["'“][^"'“”{}\[\]]{0,60}["'”]\s*:""")  # one brace too many, in the middle of an object
_SWALLOWED = re.compile(r"""["'”’]\s*:\s*["'“‘\[{\d-]""")  # a key within a string: some quote before it is missing
_JOINED = re.compile(r"""["'”’]\s*\+\s*["'“‘]""")
_SPACE = re.compile(r"\s*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.S)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_CONTROL = re.compile(r"[\x00-\x1f]")
_NOISE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(slots=True)
class _Scan:
    """Walks one object to its end, once from left to right: finds its strings, its end, and whether it has one.

    `last` is what came last: a bracket, ',', ':', 'key' or 'value'; `parts` the text with all strings as in JSON.
    """

    text: str
    place: int
    kinds: set[str] = field(default_factory=set)
    broken: str = ""
    open: list[str] = field(default_factory=list)
    last: str = ""
    parts: list[str] = field(default_factory=list)
    strings: set[str] = field(default_factory=set)
    bare: set[str] = field(default_factory=set)
    words: bool = False  # whether the value that came last is of words without quotes
    fenced: bool = False

    def read(self, schema: Mapping[str, Any] | None) -> _Object | None:
        """The object that begins here, None where it cannot be read without guessing; `place` is then behind it.

        It goes up to its closing bracket, a fence or the end of the text; `truncated` where that cuts it off.
        """
        start = self.place
        while self.place < len(self.text):
            self._step()
            if not self.open or self.fenced:
                break
        if self.open:
            self._unclosed(start)
        value = None if self.broken else _loaded("".join(self.parts), self.strings, self.bare)
        if value is None:
            return None
        if "unclosed" in self.kinds and not self.fenced and not _has_all(value, schema):
            raise BadReply("truncated", "the answer ends before its object does")
        return _Object(start, self.place, value, self.kinds)

    def _step(self) -> None:
        mark = self.text[self.place]
        if mark.isspace():
            self._take(_SPACE.match(self.text, self.place).end(), " ")  # type: ignore[union-attr]  # matches anything
        elif mark in "{[":
            self._opens(mark)
        elif mark in "}]":
            self._closes(mark)
        elif mark == ",":
            self._comma()
        elif mark == ":":
            self.last = ":"
            self._take(self.place + 1, ":")
        elif mark in _CLOSERS:
            self._string(mark)
        elif self.text.startswith(("```", "~~~"), self.place):
            self.fenced = True
        elif mark in "/#" and (comment := _COMMENT.match(self.text, self.place)):
            self.kinds.add("syntax")
            self._take(comment.end(), " ")
        else:
            self._bare()

    def _take(self, end: int, written: str) -> None:
        self.parts.append(written)
        self.place = end

    def _opens(self, mark: str) -> None:
        if self.words:
            self.broken = "a text in the answer has no quotes"
        if self._key_wanted():
            self.broken = "a name is missing in the answer"
        self._apart()
        self.open.append(mark)
        if len(self.open) > DEEPEST:
            raise BadReply("not_json", f"the answer is nested more than {DEEPEST} deep")
        self.last = mark
        self._take(self.place + 1, mark)

    def _closes(self, mark: str) -> None:
        if self.last == ",":
            self.kinds.add("comma")
            del self.parts[-1 if self.parts[-1] == "," else -2]
        elif self.last in (":", "key"):
            self.broken = "a value is missing in the answer"
        if self.open == [_PARTNER[mark]] == ["{"] and _GOES_ON.match(self.text, self.place + 1):
            self.kinds.add("syntax")
            self.last = "value"
            self.place += 1
            return
        if self.open[-1] != _PARTNER[mark]:
            self.kinds.add("syntax")
            if not self._belongs(mark):
                self.place += 1
                return
            while self.open[-1] != _PARTNER[mark]:
                self.parts.append(_PARTNER[self.open.pop()])
        self.open.pop()
        self.last, self.words = "value", False
        self._take(self.place + 1, mark)

    def _belongs(self, mark: str) -> bool:
        """Whether a bracket that closes more than the innermost is meant so, or is one too many."""
        if _PARTNER[mark] not in self.open:
            return False
        ends_all = _PARTNER[mark] not in self.open[1:]
        return not ends_all or self._next(self.place + 1) not in tuple(",]}")

    def _comma(self) -> None:
        if self.last in ("{", "[", ","):
            self.kinds.add("comma")
            self.place += 1
            return
        if self.last == ":":
            self.broken = "a value is missing in the answer"
        self.last, self.words = ",", False
        self._take(self.place + 1, ",")

    def _string(self, mark: str) -> None:
        key = self._key_wanted()
        end, inner = _string_end(self.text, self.place, key)
        if end < 0 and (_SWALLOWED.search(self.text, self.place) or self.text.rstrip()[-1:] in tuple("}]`~")):
            raise BadReply("not_json", "a quote is missing in the answer")
        if end < 0:
            raise BadReply("truncated", "the answer ends inside a text")
        raw = self.text[self.place + 1 : end]
        if not self.text[end + 1 :].strip() and (inner or not _is_sure(mark, raw, self.text[end])):
            raise BadReply("truncated", "the answer ends at a quote that may stand inside a text")
        if mark != '"':
            self.kinds.add("quotes")
        if _CONTROL.search(raw):
            self.kinds.add("control")
        if inner:
            self.kinds.add("syntax")
            if _SWALLOWED.search(raw):
                self.broken = "a quote is missing in the answer"
            if _JOINED.search(raw):
                self.broken = "a text in the answer is put together of parts"
        self._apart()
        value = _said(raw)
        if "\\" in raw and mark == '"' and not _is_json(raw):
            self.kinds.add("syntax")
        if "\ufffd" in value and "\ufffd" not in raw:
            self.kinds.add("control")
        self.strings.add(value)
        self.words = False
        self.last = "key" if key else "value"
        self._take(end + 1, json.dumps(value))

    def _bare(self) -> None:
        """A number, a literal, or words without quotes."""
        if self._written():
            return
        found = _BARE.match(self.text, self.place)
        word, end = (found[0], found.end()) if found else (self.text[self.place], self.place + 1)
        if end >= len(self.text) and word not in ("true", "false", "null", "None", "True", "False"):
            raise BadReply("truncated", "the answer ends inside a value")
        if word.strip(".") == "" or word == "…":
            self.broken = "'...' stands for a part of the answer"
        plain = _JSON.fullmatch(word) is not None
        going_on = self.last == "value" and self.words and not plain and self._next(end) != ":"
        key = self._key_wanted() and not going_on
        if key or not plain:
            self.kinds.add("syntax")
        if not going_on:
            self._apart()
        if key:
            self.strings.add(word)
        self.last = "key" if key else "value"
        self.words = not key and not plain and word.lower() not in _LITERALS
        if self.words and not _DIGITS.fullmatch(word):
            self.bare.add(word)
        self._take(end, json.dumps(word) if key else word if self.words else _LITERALS.get(word.lower(), word))

    def _written(self) -> bool:
        """A number as people write it becomes a string, for a schema may say what it means."""
        found = _WRITTEN.match(self.text, self.place)
        if not found or (found["comma"] and not (self.last == ":" and self.open[-1] == "{")):
            return False  # with a comma: two numbers of an array
        self._apart()
        self.kinds.add("syntax")
        self.strings.add(found[0])
        self.last = "value"
        self._take(found.end(), json.dumps(found[0]))
        return True

    def _key_wanted(self) -> bool:
        return self.open[-1:] == ["{"] and self.last in ("{", ",", "value")

    def _apart(self) -> None:
        """Notes the missing comma, or colon, before what comes now."""
        if self.last == "value":
            self.kinds.add("comma")
            self.parts.append(",")
            self.last = ","
        elif self.last == "key":
            self.kinds.add("syntax")

    def _next(self, place: int) -> str:
        end = _SPACE.match(self.text, place).end()  # type: ignore[union-attr]  # matches anything
        return self.text[end : end + 1]

    def _unclosed(self, start: int) -> None:
        """Only brackets are missing: the object is whole if a fence shows that the model had ended, or no array is open.

        A fence that opens, in a line of its own, shows no end: what it was to hold is the answer, and this was a draft.
        """
        line = self.text[self.text.rfind("\n", 0, self.place) + 1 : self.place]
        if self.fenced and not line.strip() and not _in_fence(self.text[:start]):
            if not _BEGINS.search(self.text, self.place):
                raise BadReply("truncated", "the answer ends where it begins anew")
            self.broken = "an object in the answer has no end"
        if self.last != "value" or ("[" in self.open and not self.fenced):
            raise BadReply("truncated", "the answer ends before its object does")
        self.kinds.add("unclosed")
        self.parts += [_PARTNER[mark] for mark in reversed(self.open)]


def _has_all(value: Any, schema: Mapping[str, Any] | None) -> bool:
    """Whether no field can have been cut off, so far as the schema says."""
    return bool(schema) and isinstance(value, dict) and set((schema or {}).get("properties", {})) <= set(value)


def _string_end(text: str, start: int, key: bool) -> tuple[int, bool]:
    """Where the string that begins here ends, -1 if nowhere, and whether quotes inside it had not been escaped.

    A quote ends it where JSON goes on behind it: in a text such as "He said "no", and left" the inner ones do not.
    """
    closers, inner, place = _CLOSERS[text[start]], False, start + 1
    quotes = re.compile(rf"[\\{closers}]")
    while found := quotes.search(text, place):
        place = found.end()
        if found[0] == "\\":
            place += 1
        elif _ends(text, place, key):
            return found.start(), inner
        else:
            inner = True
    return -1, inner


def _is_sure(opener: str, raw: str, closer: str) -> bool:
    """Whether a quote closes the text although nothing follows: no apostrophe, and none that opens words inside."""
    return closer not in "'’" and closer != {"“": "“"}.get(opener) and not raw[-1:].isspace()


def _ends(text: str, place: int, key: bool) -> bool:
    """Whether JSON goes on here, behind a quote."""
    end = _SPACE.match(text, place).end()  # type: ignore[union-attr]  # matches anything
    mark = text[end : end + 1]
    if not mark or mark in "}]" or text.startswith(("//", "/*", "```", "~~~"), end):
        return True
    if mark == ":":
        return key
    if mark == ",":
        return _AFTER_COMMA.match(text, end + 1) is not None
    return end > place and mark in _CLOSERS  # two strings, and the comma or colon between them is missing


def _said(raw: str) -> str:
    """What a string says: escapes resolved, those that JSON does not know taken for the character itself."""

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        kept = "\\" + found[2] if found[2].isalnum() else found[2]
        return _ESCAPED.get(found[2], kept)

    value = _NOISE.sub("", raw)
    value = _ESCAPE.sub(one, value) if "\\" in value else value
    return _in_pairs(value)


def _in_pairs(text: str) -> str:
    """Halves of characters joined to whole ones, and a half alone replaced: it could not be written down."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_json(raw: str) -> bool:
    try:
        json.loads(f'"{raw}"', strict=False)
    except ValueError:
        return False
    return True


# --- the library ----------------------------------------------------------------------------------------------------


class _Slow(Exception):
    """The library has looked at the text too often."""


class _Counted(str):
    """A text that can be looked at a bounded number of times: the library goes back and forth in hostile ones."""

    __slots__ = ("left",)
    left: int

    def __getitem__(self, at: Any) -> str:
        self.left -= 1
        if self.left < 0:
            raise _Slow
        return str.__getitem__(self, at)


def _loaded(text: str, strings: set[str], bare: set[str]) -> Any:
    """The text as a value; None where the library cannot mend it, or makes up or loses a string or word in doing so."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LIBRARY:
        return None
    from json_repair import repair_json

    counted = _Counted(text)
    counted.left = _STEPS * len(text) + 1000
    try:
        value = repair_json(counted, return_objects=True, skip_json_loads=True)
    except (ValueError, RecursionError, IndexError, _Slow):
        return None
    if not isinstance(value, dict | list) or not _is_shallow(value):
        return None
    made = set(_strings(value))
    whole = "\n".join(made)
    kept = strings <= made and all(word in whole for word in bare)
    return value if kept and all(one and one in text for one in made - strings) else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
