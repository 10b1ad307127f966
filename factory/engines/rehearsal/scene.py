"""What a passage itself offers the rehearsal engine: its people, things, places, events and deeds.

Reading is by word lists and neighbouring words, never by a model: a word it does not know is left out, so that what
it does say can be anchored in the passage. It would rather find three people than five of whom one is a street.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from zlib import crc32

from factory.text import sentences

MOST_THINGS, MOST_PLACES, MOST_EVENTS, MOST_DOINGS = 12, 12, 8, 8
LINE_WORDS = range(5, 17)

# What a word may be; a word may be several things at once ("stone", "cook").
ROLE, SHY, AGE, TELLING, TITLE, CALLED = (1 << bit for bit in range(6))
PLURAL, FIRST, NEVER, TAIL, WHERE, ACT = (1 << bit for bit in range(6, 12))
UNLIKE, SAYS, DETERMINER, MODIFIER, THING, PLACE = (1 << bit for bit in range(12, 18))
NOUN = THING | PLACE

TOKEN = re.compile(
    r"(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Rev|Jr)\."
    r"|(?:O['’])?[^\W\d_]+(?:-[^\W\d_]+)*(?:['’](?:t|ll|d|ve|re|m)\b)?"
    r"|['’]s\b|[.!?…]+|[,;:()—–]|\n\s*\n|[\"“”‘’'\[\]]|\d+"
)


def _each(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


STOPS = frozenset(".!?…,;:()\"“”‘’'[]—–\n")
OPENINGS = STOPS - {","}
QUOTES = frozenset("\"“”‘’'")
OWNS = ("'s", "’s")
SINGLING = _each("the a an his her its their my our your this that one 's ’s")
VAGUE = _each("any another every each no such some")
BEFORE_NO_NAME = (SINGLING | VAGUE) - {"that", "this"}
ADVERBS = _each(
    "then also now still never always only just soon at once himself herself itself too all who once again first"
)
DENIALS = _each("not never no without")
PREPOSITIONS = _each("to into for through on over under up down at in from behind across near round around along")
LET = _each("let made make makes lets help helped saw see sees heard hear watch watched")
TALKERS = _each("i me my mine we us our you your thee thy thou")
# A line must be understood without its passage: nobody in it may be a bare "he" or "it".
POINTERS = _each("he him she they them it this these those hers theirs herself there such")
DANGLING = _each(
    "that when and to of the a an but or if as so for with in by who which was is had has at from on his her"
)
CLAUSE = _each("who whom whose that which where with named called known")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody single who can think aloud; `name` always stands in the passage as a whole word or words."""

    name: str
    mention: str
    line: str


@dataclass(frozen=True, slots=True)
class Scene:
    """People by weight; everything else in order of first mention, each once, each ready for a template."""

    people: tuple[Person, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    events: tuple[str, ...]
    doings: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    kinds: dict[str, int]
    events: dict[str, str]
    leads: frozenset[str]
    pairs: dict[str, str]
    doings: dict[str, str]
    moves: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The passage cut once; the lists run side by side, `flat` is the passage with single spaces."""

    flat: str
    words: list[str]
    lows: list[str]
    kinds: list[int]
    sentence: list[int]
    starts: list[bool]

    def acts(self, end: int) -> bool:
        """Whether the word before `end` is followed, within two words, by something that reads as its verb."""
        for at in (end, end + 1):
            if at >= len(self.words):
                return False
            low, kind = self.lows[at], self.kinds[at]
            if kind & ACT or (low.endswith("ed") and len(low) > 3 and not kind & UNLIKE):
                return self.words[at] == low
            if low not in ADVERBS and low != "," and not low.endswith("ly"):
                return False
            if low == "," and (at + 1 >= len(self.words) or self.lows[at + 1] != "who"):
                return False
        return self.lows[end] == "," and end + 2 < len(self.words) and bool(self.kinds[end + 2] & ACT)


@dataclass(slots=True)
class Seen:
    """One candidate while the passage is read: the ways it is written and where."""

    forms: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[int, int]] = field(default_factory=list)
    acts: int = 0
    count: int = 0
    placed: int = 0
    speaks: bool = False
    article: bool = False
    trusted: bool = False

    def add(self, form: str, span: tuple[int, int], acts: bool, speaks: bool) -> None:
        self.forms[form] += 1
        self.spans.append(span)
        self.count += 1
        self.acts += acts
        self.speaks |= speaks

    def take(self, other: Seen) -> None:
        self.forms.update(other.forms)
        self.spans = sorted(self.spans + other.spans)
        self.acts += other.acts
        self.count += other.count
        self.placed += other.placed
        self.speaks |= other.speaks
        self.trusted |= other.trusted


@dataclass(frozen=True, slots=True)
class Chosen:
    """A candidate that has passed, with the form it is shown in."""

    name: str
    mention: str
    seen: Seen


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """The word lists, read once for the life of the process."""
    told = tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))
    people, names, verbs, nouns = told["people"], told["names"], told["verbs"], told["nouns"]
    doings, moves = _by_form(told["doings"]), _by_form(told["moves"])
    known: list[tuple[int, Iterable[str]]] = [
        (ROLE, people["roles"].split()), (SHY, people["shy"].split()), (AGE, people["ages"].split()),
        (TELLING, people["telling"].split()), (TITLE, people["titles"].split()), (CALLED, people["callnames"].split()),
        (PLURAL, people["plural"].split()), (FIRST, names["first"].split()), (NEVER, names["never"].split()),
        (TAIL, names["tails"].split()), (WHERE, names["where"].split()),
        (ACT, chain(verbs["acts"].split(), verbs["says"].split(), doings, moves)), (UNLIKE, verbs["unlike"].split()),
        (SAYS, verbs["says"].split()), (DETERMINER, nouns["determiners"].split()),
        (MODIFIER, nouns["modifiers"].split()), (THING, nouns["things"].split()), (PLACE, nouns["places"].split()),
    ]  # fmt: skip
    kinds: dict[str, int] = {}
    for kind, words in known:
        for word in words:
            kinds[word] = kinds.get(word, 0) | kind
            if kind == TITLE:
                kinds[f"{word}."] = kinds.get(f"{word}.", 0) | TITLE
    leads = frozenset(event.split()[0] for event in told["events"] if " " in event)
    return Lexicon(kinds, told["events"], leads, told["particles"], doings, moves)


def _by_form(gerunds: dict[str, str]) -> dict[str, str]:
    return {form: gerund for gerund, forms in gerunds.items() for form in forms.split()}


@lru_cache(maxsize=1024)
def read_scene(passage: str, most_people: int = 6) -> Scene:
    """Everything the templates may draw on; the same passage gives the same scene, always."""
    words = lexicon()
    tokens = _tokens(passage, words)
    heads = _heads(tokens)
    things = _nouns(tokens, heads, THING, MOST_THINGS)
    places = _nouns(tokens, heads, PLACE, MOST_PLACES)
    events = _events(tokens, words)
    chosen = _people(passage, tokens)[:most_people]
    people = tuple(Person(one.name, one.mention, _line(one, chosen, tokens, things, events)) for one in chosen)
    return Scene(people, things, places, events, _doings(tokens, heads, words), tuple(sentences(passage)))


def _tokens(passage: str, words: Lexicon) -> Tokens:
    found = TOKEN.findall(passage)
    lows = [word.lower() for word in found]
    kinds = [words.kinds.get(low, 0) for low in lows]
    sentence, starts, number, opening = [], [], 0, True
    for word in found:
        starts.append(opening)
        sentence.append(number)
        opening = word[0] in OPENINGS and word not in OWNS
        number += word[0] in ".!?…\n"
    return Tokens(" ".join(passage.split()), found, lows, kinds, sentence, starts)


# Things, places, events, deeds


def _heads(tokens: Tokens) -> dict[int, int]:
    """From the place of a determiner (or of "of") to the known noun that it introduces."""
    lows, kinds, heads = tokens.lows, tokens.kinds, {}
    last = len(lows) - 1
    for at, kind in enumerate(kinds):
        if not kind & NOUN or tokens.words[at] != lows[at]:
            continue
        if at < last and (kinds[at + 1] & (NOUN | ROLE) or (kind & MODIFIER and _open(tokens, at + 1))):
            continue
        back = at - 1
        while back > at - 4 and back >= 0 and kinds[back] & (MODIFIER | AGE | NOUN) and not kinds[back] & DETERMINER:
            back -= 1
        if back < 0 or (lows[back] == "her" and back and lows[back - 1] in LET):
            continue
        if kinds[back] & DETERMINER or lows[back] in ("of", *OWNS):
            heads[back] = at
    return heads


def _open(tokens: Tokens, at: int) -> bool:
    """Whether the word here may be the noun that the word before it only describes."""
    return tokens.words[at][0].isalpha() and not tokens.kinds[at] & (NEVER | ACT)


def _nouns(tokens: Tokens, heads: dict[int, int], kind: int, most: int) -> tuple[str, ...]:
    found = dict.fromkeys(tokens.lows[at] for at in sorted(heads.values()) if tokens.kinds[at] & kind)
    if kind == THING:
        found = {word: None for word in found if not tokens.kinds[tokens.lows.index(word)] & PLACE}
    return tuple(f"the {word}" for word in found)[:most]


def _events(tokens: Tokens, words: Lexicon) -> tuple[str, ...]:
    lows, found = tokens.lows, dict[str, None]()
    for at, low in enumerate(lows):
        event = words.events.get(low)
        if low in words.leads and at + 1 < len(lows):
            event = words.events.get(f"{low} {lows[at + 1]}", event)
        if event and (_is_noun(tokens, at) if event == f"the {low}" else _is_done(tokens, at)):
            found[event] = None
    return tuple(found)[:MOST_EVENTS]


def _is_noun(tokens: Tokens, at: int) -> bool:
    """Told apart from the verb of the same spelling by a determiner, at most one word away."""
    lows, kinds = tokens.lows, tokens.kinds
    return any(kinds[back] & DETERMINER or lows[back] in ("of", *OWNS) for back in range(max(at - 2, 0), at))


def _is_done(tokens: Tokens, at: int) -> bool:
    return not any(low in DENIALS or low.endswith(("n't", "n’t")) for low in tokens.lows[max(at - 3, 0) : at])


def _doings(tokens: Tokens, heads: dict[int, int], words: Lexicon) -> tuple[str, ...]:
    found = dict[str, None]()
    for at, low in enumerate(tokens.lows[:-2]):
        if not (low in words.doings or low in words.moves or tokens.kinds[at] & ACT):
            continue
        if at and (tokens.kinds[at - 1] & (DETERMINER | MODIFIER) or not _is_done(tokens, at)):
            continue
        doing = _doing(at, tokens, heads, words)
        if doing:
            found[doing] = None
    return tuple(found)[:MOST_DOINGS]


def _doing(at: int, tokens: Tokens, heads: dict[int, int], words: Lexicon) -> str | None:
    lows = tokens.lows
    pair = words.pairs.get(f"{lows[at]} {lows[at + 1]}")
    if pair:
        return pair
    if lows[at] in words.doings and at + 1 in heads and lows[at + 1] != "of":
        return f"{words.doings[lows[at]]} the {lows[heads[at + 1]]}"
    if lows[at] in words.moves and lows[at + 1] in PREPOSITIONS and at + 2 in heads:
        return f"{words.moves[lows[at]]} {lows[at + 1]} the {lows[heads[at + 2]]}"
    return None


# People


def _people(passage: str, tokens: Tokens) -> list[Chosen]:
    """Those who pass, the weightiest first: acting counts more than being mentioned."""
    roles = _roles(tokens)
    names = _joined(_names(tokens, roles), roles)
    kept = [seen for seen in names.values() if _is_person(seen)]
    kept += [seen for head, seen in _told_apart(roles).items() if _is_single(seen, head)]
    kept.sort(key=lambda seen: (-3 * seen.acts - seen.count, seen.spans[0]))
    shown: dict[str, Chosen] = {}
    for seen in kept:
        name = next((form for form in _preferred(seen) if _stands(form, passage)), None)
        if name and name.lower() not in shown:
            shown[name.lower()] = Chosen(name, f"the {name}" if seen.article else name, seen)
    return list(shown.values())


def _preferred(seen: Seen) -> list[str]:
    return sorted(seen.forms, key=lambda form: (-seen.forms[form], -len(form), form))


def _stands(name: str, passage: str) -> bool:
    """Whether the name stands there as whole words, letter for letter (a line break inside it does not count)."""
    at = passage.find(name)
    while at >= 0:
        end = at + len(name)
        if not (at and passage[at - 1].isalnum()) and not (end < len(passage) and passage[end].isalnum()):
            return True
        at = passage.find(name, at + 1)
    return False


def _roles(tokens: Tokens) -> dict[tuple[str, str], Seen]:
    """Role nouns spoken of singly, keyed by head and the word that tells one from another ("old" woman)."""
    found: dict[tuple[str, str], Seen] = {}
    words, lows, kinds = tokens.words, tokens.lows, tokens.kinds
    for at, kind in enumerate(kinds):
        if not kind & ROLE or (words[at].isupper() and len(lows[at]) > 1) or _is_part(tokens, at):
            continue
        first = _first_word(tokens, at)
        back = first - 1
        while back > first - 3 and back >= 0 and kinds[back] & (AGE | MODIFIER):
            back -= 1
        if back < 0 or lows[back] not in SINGLING or _is_likened(tokens, back):
            continue
        seen = found.setdefault((lows[at], " ".join(lows[first:at])), Seen(article=True))
        said = bool(back and kinds[back - 1] & SAYS)
        acts = tokens.acts(at + 1) or said
        seen.add(" ".join(words[first : at + 1]), (back, at + 1), acts, said or _speaks(tokens, at + 1))
    return found


def _is_part(tokens: Tokens, at: int) -> bool:
    """A role that only describes the next word: a title before a name, "the baby carriage", "the shepherd boy"."""
    if at + 1 >= len(tokens.words):
        return False
    after, kind = tokens.words[at + 1], tokens.kinds[at + 1]
    if after[0].isupper() and not kind & NEVER:
        return True
    return bool(kind & (ROLE | NOUN | PLURAL)) and not kind & ACT


def _first_word(tokens: Tokens, at: int) -> int:
    """Where the name of the role begins: "Town Mouse", "old woman", "shepherd boy"; plain "king"."""
    words, kinds = tokens.words, tokens.kinds
    first = at
    while first > at - 2 and first and words[at][0].isupper() and words[first - 1][0].isupper():
        before = kinds[first - 1]
        if tokens.starts[first - 1] or before & DETERMINER or (before & NEVER and not before & (NOUN | AGE)):
            break
        first -= 1
    if first == at and at and kinds[at - 1] & (TELLING | ROLE) and not kinds[at - 1] & DETERMINER:
        first = at - 1
    return first


def _is_likened(tokens: Tokens, back: int) -> bool:
    """ "Like a lion", "as a friend", "such a fool": nobody is there."""
    return (
        back > 0
        and tokens.lows[back] in ("a", "an")
        and tokens.lows[back - 1] in ("like", "as", "than", "such", "not", "be")
    )


def _speaks(tokens: Tokens, end: int) -> bool:
    return end < len(tokens.words) and bool(tokens.kinds[end] & SAYS)


def _is_single(seen: Seen, head: str) -> bool:
    shy = lexicon().kinds[head.split()[-1]] & SHY
    return seen.acts > 0 or (not shy and seen.count >= 2)


def _told_apart(roles: dict[tuple[str, str], Seen]) -> dict[str, Seen]:
    """Fold a bare role into its only fuller form; where several fuller forms contend for it, leave it out."""
    groups: dict[str, dict[str, Seen]] = {}
    for (head, telling), seen in roles.items():
        groups.setdefault(head, {})[telling] = seen
    told: dict[str, Seen] = {}
    for head, group in groups.items():
        bare = group.pop("", None)
        if not group and bare:
            told[head] = bare
        elif len(group) == 1 and bare:
            (fuller,) = group.values()
            fuller.take(bare)
            told[head] = fuller
        else:
            told.update({f"{telling} {head}": seen for telling, seen in group.items()})
    return told


def _names(tokens: Tokens, roles: dict[tuple[str, str], Seen]) -> dict[tuple[str, ...], Seen]:
    found: dict[tuple[str, ...], Seen] = {}
    barred: set[str] = set()
    heads = {head for head, _ in roles}
    sure = _sure(tokens)
    for first, end in _runs(tokens, sure):
        words = tuple(tokens.words[first:end])
        before = tokens.lows[first - 1] if first else ""
        if _is_no_name(tokens, first, end):
            barred.update(
                words[at - first] for at in range(first, end) if not tokens.kinds[at] & (ROLE | TITLE | FIRST)
            )
            continue
        bare_role = len(words) == 1 and tokens.kinds[first] & ROLE and not tokens.kinds[first] & (CALLED | FIRST)
        if bare_role and (tokens.lows[first] in heads or not tokens.acts(end)):
            continue
        seen = found.setdefault(words, Seen())
        said = bool(first and tokens.kinds[first - 1] & SAYS)
        # "The bakery on Elm Row had not opened": what follows a preposition is not what acts.
        placed = bool(first and tokens.kinds[first - 1] & WHERE)
        acts = said or (tokens.acts(end) and not placed)
        seen.placed += placed
        low = tokens.lows[first]
        seen.trusted |= bool(tokens.kinds[first] & FIRST or (tokens.kinds[first] & TITLE and end - first > 1))
        seen.trusted |= before == "named" or low in ("mr.", "mrs.")
        seen.add(" ".join(words), (first, end), acts, said or _speaks(tokens, end))
    return {words: seen for words, seen in found.items() if not barred.intersection(words)}


def _sure(tokens: Tokens) -> frozenset[str]:
    """Words whose capital is not owed to the start of a sentence, or which start several, act, and are never small."""
    small = {word for word, low in zip(tokens.words, tokens.lows, strict=True) if word == low}
    sure, opening, acting = set[str](), Counter[str](), set[str]()
    for at, word in enumerate(tokens.words):
        low, kind = tokens.lows[at], tokens.kinds[at]
        if word == low or (kind & NEVER and not kind & FIRST):
            continue
        if not tokens.starts[at] or kind & FIRST:
            sure.add(word)
        elif low not in small and not kind & (ROLE | AGE | MODIFIER | PLURAL) and not low.endswith(("ly", "ing", "ed")):
            opening[word] += 1
            if tokens.acts(at + 1):
                acting.add(word)
    return frozenset(sure | {word for word in acting if opening[word] > 1})


def _runs(tokens: Tokens, sure: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Spans of capitalised words that may be a name, their untrustworthy first words cut off; none in brackets."""
    words = tokens.words
    at, inside, last = 0, False, len(words)
    while at < last:
        word = words[at]
        inside = word == "(" or (inside and word != ")")
        if inside or not word[0].isupper():
            at += 1
            continue
        end = at + 1
        while end < last and words[end][0].isupper() and end - at < 5:
            end += 1
        first = at
        while first < end and _cut(tokens, first, end, sure):
            first += 1
        if first < end and (first == at or tokens.starts[at]):
            yield first, end
        at = end


def _cut(tokens: Tokens, first: int, end: int, sure: frozenset[str]) -> bool:
    """Whether the capital here is no part of the name; "Mad Dog" stays whole, "Teenager Ben" does not."""
    kind, start, more = tokens.kinds[first], tokens.starts[first], end - first > 1
    if more and (kind & TITLE or (kind & AGE and not start)):
        return False
    if kind & DETERMINER or (kind & NEVER and not kind & FIRST):
        return True
    unknown = not kind and not tokens.lows[first].endswith(("ly", "ing", "ed"))
    if more and unknown and not tokens.kinds[first + 1] & FIRST:
        return False
    return start and tokens.words[first] not in sure


def _is_no_name(tokens: Tokens, first: int, end: int) -> bool:
    words, lows, kinds = tokens.words, tokens.lows, tokens.kinds
    before = lows[first - 1] if first else ""
    if all(len(word) > 1 and word.isupper() for word in words[first:end]):
        return True
    if end - first > 1 and kinds[end - 1] & (TAIL | NEVER | PLURAL) and not tokens.acts(end):
        return True
    if before in BEFORE_NO_NAME or (end - first == 1 and _is_plural(lows[first])):
        return True
    if kinds[first] & FIRST and kinds[first] & NEVER and not tokens.acts(end):
        return True
    after = kinds[end] if end < len(words) else 0
    return bool(after & TAIL and not after & ACT)


def _is_plural(low: str) -> bool:
    """The Frogs, Foxes, Wolves of a fable."""
    kinds = lexicon().kinds
    return low.endswith("s") and any(
        kinds.get(one, 0) & ROLE for one in (low[:-1], low[:-2], f"{low[:-3]}f", f"{low[:-3]}y")
    )


def _is_person(seen: Seen) -> bool:
    free = seen.count - seen.placed
    return seen.acts > 0 or free >= 2 or (seen.trusted and free >= 1)


def _joined(names: dict[tuple[str, ...], Seen], roles: dict[tuple[str, str], Seen]) -> dict[tuple[str, ...], Seen]:
    """One entry for "Carrie Banks" and "Carrie", for "King Arthur" and the King, for "Master Fox" and the Fox."""
    kinds = lexicon().kinds
    full = [words for words in names if len(words) > 1]
    for words in sorted(names, key=len):
        same = [whole for whole in full if whole in names and _is_short_for(words, whole, kinds)]
        if len(same) == 1:
            names[same[0]].take(names.pop(words))
    for words in full:
        title = (words[0].lower(), "")
        if words in names and title in roles and kinds.get(title[0], 0) & TITLE:
            names[words].spans += roles.pop(title).spans
        animal = roles.get((words[-1].lower(), ""))
        if words in names and animal and len(words) == 2 and kinds.get(title[0], 0) & TITLE:
            names[words].forms.clear()
            animal.take(names.pop(words))
    return names


def _is_short_for(words: tuple[str, ...], whole: tuple[str, ...], kinds: dict[str, int]) -> bool:
    """Carrie or Banks for Carrie Banks, Mr. Jeremy for Mr. Jeremy Fisher, Hamish for Sir Hamish Banks."""
    size = len(words)
    if size >= len(whole):
        return False
    bare = whole[1:] if kinds.get(whole[0].lower(), 0) & TITLE else whole
    return words in (whole[:size], bare[:size], whole[-size:]) and words != whole[: len(whole) - len(bare)]


# Lines


def _line(one: Chosen, chosen: list[Chosen], tokens: Tokens, things: tuple[str, ...], events: tuple[str, ...]) -> str:
    """The passage's own words for the person where it has any, else where in the passage the person stands."""
    others = [other.mention for other in chosen if other is not one]
    told = [
        said
        for span in one.seen.spans[:6]
        for said in _told(span, tokens)
        if said.partition(" ")[2] not in ("", one.name)
    ]
    whole = next((said for said in told if len(said.split()) in LINE_WORDS), "")
    short = next((said for said in told if len(said.split()) < LINE_WORDS.start), "")
    lines = [whole] if whole else list(_placings(one, others, things, events, short))
    fit = [line for line in lines if len(line.split()) in LINE_WORDS]
    return fit[crc32(one.name.encode()) % len(fit)] if fit else "somebody who is named in this passage"


def _told(span: tuple[int, int], tokens: Tokens) -> Iterator[str]:
    """What the passage says right after, or right before, this mention."""
    first, end = span
    lows, kinds, last = tokens.lows, tokens.kinds, len(tokens.lows)
    if end + 2 >= last:
        return
    if lows[end] == "," and lows[end + 1] in ("a", "an", "the", "one"):
        yield _phrase(tokens, end + 1, apposed=True)
    if lows[end] == "who" or (lows[end] == "," and lows[end + 1] == "who"):
        yield _deed(_phrase(tokens, end + 1 + (lows[end] == ",")))
    if lows[end] in ("is", "was") and lows[end + 1] in ("a", "an"):
        yield _phrase(tokens, end + 1)
    if lows[first] in ("a", "an") and lows[end] in CLAUSE:
        yield _phrase(tokens, first)
    if lows[first] in OWNS and first and kinds[end - 1] & ROLE:
        yield _owned(tokens, first, end)
    if tokens.starts[first] and (not first or tokens.words[first - 1] not in QUOTES):
        yield from _done(tokens, end)
    if (
        lows[first] in ("a", "an", "the")
        and end - first > 2
        and kinds[first + 1] & AGE
        and not kinds[first + 1] & TELLING
    ):
        yield " ".join([lows[first], *tokens.words[first + 1 : end]])


def _deed(phrase: str) -> str:
    return f"the one who {phrase}" if phrase else ""


def _done(tokens: Tokens, end: int) -> Iterator[str]:
    """What the subject of a sentence did ("tried to ...") or was doing (", driving ...")."""
    kind = tokens.kinds[end]
    if kind & ACT and not kind & SAYS:
        yield _deed(_phrase(tokens, end))
    elif tokens.lows[end] == "," and tokens.lows[end + 1].endswith("ing") and tokens.lows[end + 1] != "being":
        doing = _phrase(tokens, end + 1)
        yield f"the one {doing}" if doing else ""


def _owned(tokens: Tokens, first: int, end: int) -> str:
    """The miller's daughter, Irene's brother."""
    owner = tokens.words[first - 1]
    if owner[0].isupper() and not tokens.starts[first - 1] and not tokens.kinds[first - 1] & (ROLE | NEVER):
        return " ".join([f"{owner}'s", *tokens.words[first + 1 : end]])
    if tokens.kinds[first - 1] & ROLE and first > 1 and tokens.lows[first - 2] in ("the", "a", "an"):
        return " ".join(["the", f"{owner}'s", *tokens.words[first + 1 : end]])
    return ""


def _phrase(tokens: Tokens, at: int, apposed: bool = False) -> str:
    """The words from here to the next mark; empty where they are too long, speak to somebody or are a clause."""
    end = at
    while end < len(tokens.words) and (tokens.words[end][0] not in STOPS or tokens.lows[end] in OWNS):
        end += 1
    span = range(at, end)
    if not 2 < end - at < 15 or end == len(tokens.words) or tokens.lows[end - 1] in DANGLING:
        return ""
    if any(tokens.lows[i] in TALKERS or tokens.lows[i] in POINTERS for i in span) or _is_loose(tokens, at, end):
        return ""
    if apposed and not _is_noun_phrase(tokens, at, end):
        return ""
    phrase = " ".join(tokens.words[at:end]).replace(" 's", "'s").replace(" ’s", "’s")
    # Not there letter for letter: a hyphen or a sum of money fell between two tokens.
    stands = tokens.flat.find(phrase)
    if stands < 0 or tokens.flat[stands + len(phrase)] not in STOPS:
        return ""
    return phrase[0].lower() + phrase[1:]


def _is_loose(tokens: Tokens, at: int, end: int) -> bool:
    """Broken off at an open quotation, a colon or a bare "her" ("saw her all in tears")."""
    bare = any(tokens.lows[i] == "her" and tokens.kinds[i + 1] & NEVER for i in range(at, end))
    return (
        bare
        or tokens.words[end] in QUOTES
        or tokens.words[end] in "(:"
        or tokens.words[end + 1 : end + 2] in (["'"], ['"'])
    )


def _is_noun_phrase(tokens: Tokens, at: int, end: int) -> bool:
    """A role early on, no verb before its clause begins, and not one of a list."""
    clause = next((i for i in range(at, end) if tokens.lows[i] in CLAUSE), end)
    verbs = any(tokens.kinds[i] & ACT or tokens.lows[i].endswith("ed") for i in range(at, clause))
    roles = any(tokens.kinds[i] & ROLE for i in range(at, min(clause, at + 6)))
    listed = "and" in tokens.lows[at:clause] or tokens.lows[end : end + 2] == [",", "and"]
    return roles and not verbs and not listed


def _placings(
    one: Chosen, others: list[str], things: tuple[str, ...], events: tuple[str, ...], told: str
) -> Iterator[str]:
    """Forms that are true by how they are made; the person named beside is the weightiest other one."""
    lead = f"{told}, " if told else ""
    pick = crc32(one.mention.encode())
    other = others[pick // 7 % len(others)] if others else ""
    thing = things[pick // 11 % len(things)] if things else ""
    event = events[pick // 13 % len(events)] if events else ""
    if other and thing:
        yield f"{lead}named beside {other}, where {thing} is spoken of"
        yield f"{lead}met in the same passage as {other} and {thing}"
    if other and event:
        yield f"{lead}named beside {other} in the passage about {event}"
        yield f"{lead}mentioned with {other} where {event} comes up"
    if other and one.seen.speaks:
        yield f"{lead}heard speaking in the same passage as {other}"
    if event and one.seen.count > 1:
        yield f"{lead}named more than once in the passage about {event}"
    if thing and one.seen.count > 1:
        yield f"{lead}named more than once where {thing} comes up"
    if event and not other:
        yield f"{lead}somebody named in the passage that tells of {event}"
    if other and not (thing or event):
        yield f"{lead}named in one passage with {other}"
    if lead and not (other or event):
        yield f"{lead}named in this passage"
