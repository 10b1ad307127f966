"""Checks of generated text that several stages share; each returns (reason word, detail) or None.

They look for what can be decided without judgement. Reason words are stable: people filter by them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from unicodedata import name

from factory.lexicon import ALL, announces, named
from factory.stages import REFUSAL
from factory.text import words

Finding = tuple[str, str]
Check = Callable[[str], Finding | None]

_META = re.compile(
    r"\b(?:as an? (?:AI|assistant|language model)|language model|GoEmotions|the (?:prompt|narrative|text above)"
    r"|the passage (?:above|says|states|describes|mentions)|(?:this|the) (?:character|speaker|utterance)\b"
    r"|in this (?:story|scene|narrative|passage)\b|I (?:think|imagine|believe) (?:that )?\w+ would (?:feel|say|think))",
    re.I,
)
_ECHO = re.compile(
    r"^\s*(?:(?:sure|certainly|of course)[,!:]\s+)?here (?:are|is) [^.!?\n]{0,80}:"
    r"|^\s*(?:utterances?\s*:|answer\s*:|output\s*:|\d+[.)]\s)|\{\s*\"|\"\s*:\s*\"|```|\{\{",
    re.I,
)
# One cheap look for a piece of any phrase that the three patterns need; most texts hold none.
_ODD = (
    *("can't", "cannot", "won't", "unable", "not able", "as a", "language model", "goemotions", "prompt", "narrative"),
    *("passage", "text above", "character", "speaker", "utterance", "this story", "this scene", "would feel"),
    *("would say", "would think", "here is", "here are", "answer", "output", "{", "`", '"', "1", "2", "3"),
)
_ENDS = re.compile(r"[.!?]+\s*")
_FIRST = re.compile(r"\b(?:I|I'[a-z]+|me|my|mine|myself|we|we'[a-z]+|us|our|ours|ourselves)\b", re.I)
_STRENGTH = frozenset(
    [
        "very",
        "really",
        "utterly",
        "completely",
        "absolutely",
        "totally",
        "terribly",
        "awfully",
        "incredibly",
        "never",
        "ever",
        "always",
        "forever",
    ]
)

# A template's tokens, tags of a page, and what is set between stars or brackets to be done and not said.
_MARKUP = re.compile(r"<\|[^<>]{0,40}\|?>|</?[a-z][^<>]{0,60}>|<<?/?SYS>>?|\[/?INST\]", re.I)
_DONE = r"sigh|paus|laugh|chuckl|nodd?|shrugg?|smil|sobb?|sniff|hesitat|whisper|swallow"
_STAGED = re.compile(
    rf"\*[^*\s][^*]{{0,80}}\*|(?<!\w)_[^_\s][^_]{{0,80}}_(?!\w)|\[[^\]]{{1,80}}\]"
    rf"|\((?:(?:long|short|brief) (?:pause|silence|sigh)|silence|beat|(?:{_DONE})(?:s|es|e|ing)?)\b[^)]{{0,60}}\)",
    re.I,
)

SHORTEST, LONGEST = 3, 60  # words of an utterance
TWIN = 0.8  # Dice overlap of two sets of words


def plain(text: str) -> str:
    """One quotation mark for all apostrophes, so that the patterns below see them."""
    return text.replace("\u2019", "'")


def utterance(text: str, actor: str, tokens: list[str] | None = None) -> Finding | None:
    """What makes a text no utterance of this actor: empty, endless, a refusal, about itself, or an announcement."""
    text = plain(text)
    count = len(text.split())
    if count < SHORTEST:
        return "too_short", f"{count} words; say it in {SHORTEST} to {LONGEST} words"
    if count > LONGEST:
        return "too_long", f"{count} words; say it in {SHORTEST} to {LONGEST} words"
    if found := prose(text):
        return found
    if about := third_person(text, actor):
        return "not_first_person", f"'{about}' speaks about {actor}; {actor} is the one who speaks"
    if found := announced(text):
        return found
    if thin(text, words(text) if tokens is None else tokens):
        return "too_thin", "the same few words again and again; say one concrete thing"
    return None


def announced(text: str) -> Finding | None:
    """A first-person text that merely says its feeling."""
    phrase = announces(plain(text))
    return ("names_emotion", f"'{phrase}' announces the feeling; show it without naming it") if phrase else None


def odd(text: str) -> bool:
    low = text.lower()
    return any(piece in low for piece in _ODD)


def strange(text: str) -> Finding | None:
    """No answer at all: a refusal, or a piece of the prompt or of JSON."""
    if not odd(text):
        return None
    if REFUSAL.search(text):
        return "refusal", "a refusal is no answer"
    if match := _ECHO.search(text):
        return "prompt_echo", f"'{match.group().strip()}' belongs to the prompt, not to the answer"
    return None


def prose(text: str, story: str = "") -> Finding | None:
    """Not a text of the story: what is strange, and talk about the task (in words that the story itself does not use)."""
    if not odd(text):
        return None
    if found := strange(text):
        return found
    if (match := _META.search(text)) and match.group().lower() not in story.lower():
        return "meta", f"'{match.group().strip()}' talks about the task; stay inside the story"
    return None


def markup(text: str) -> Finding | None:
    """Tokens of a chat template, or tags of a page, which no story has."""
    match = _MARKUP.search(text) if "<" in text or "[" in text else None
    return ("prompt_echo", f"'{match.group()}' is markup; write plain words alone") if match else None


def staged(text: str) -> Finding | None:
    """What is done and not said, in the middle of what is said: '*sighs*', '[pauses]'."""
    match = _STAGED.search(text)
    return (
        ("stage_direction", f"'{match.group()}' is not said; write what is said, and nothing beside it")
        if match
        else None
    )


def script(text: str, story: str) -> Finding | None:
    """A text mostly of letters that are not Latin, where the story's are."""
    if text.isascii() or _latin(text) >= 0.5 or _latin(story) < 0.5:
        return None
    return "other_script", "most of its letters are not those of the passage; write in the language of the passage"


def _latin(text: str) -> float:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(name(letter, "").startswith("LATIN") for letter in letters) / len(letters) if letters else 1.0


def third_person(text: str, actor: str) -> str | None:
    """The words in which a speaker talks about himself by name as about another; calling oneself by name is fine."""
    if actor not in text:
        return None
    if match := _about(actor).search(text):
        return match.group()
    return actor if not _FIRST.search(text) else None


@lru_cache(maxsize=4096)
def _about(actor: str) -> re.Pattern[str]:
    verbs = "is|was|feels?|felt|thinks?|thought|has|had|would|will|could|should|must|says|said|seems?|looks?|wants?"
    return re.compile(rf"\b{re.escape(actor)}(?:'s (?:feeling|heart|mind)|\s+(?:{verbs}))\b")


def thin(text: str, tokens: list[str]) -> bool:
    """'I feel sad. I feel bad. I feel mad.': three sentences that open alike, or hardly any word twice."""
    if len(tokens) >= 8 and len(set(tokens)) < len(tokens) * 0.45:
        return True
    parts = _ENDS.split(text)
    if len(parts) < 3:
        return False
    openings = Counter(" ".join(p.split(None, 2)[:2]).casefold() for p in parts if p)
    return max(openings.values(), default=0) >= 3


def names(text: str, labels: Iterable[str]) -> Finding | None:
    """Words that name one of these emotions, inflections and close synonyms included."""
    found = named(text, labels)
    return ("names_emotion", f"'{', '.join(dict.fromkeys(found))}' names the feeling") if found else None


def dice(one: str, other: str) -> float:
    """Overlap of two texts as bags of words, 0 to 1 (Dice coefficient: twice the shared over all words)."""
    return overlap(Counter(words(one)), Counter(words(other)))


def overlap(a: Counter[str], b: Counter[str]) -> float:
    """The Dice coefficient of two bags of words; 1 for two empty ones."""
    total = a.total() + b.total()
    return 2 * sum(min(n, b[w]) for w, n in a.items() if w in b) / total if total else 1.0


def twins(a: set[str], b: set[str]) -> bool:
    """Whether two utterances of an actor say the same: their words overlap by TWIN (one of five changed) or more."""
    return 2 * len(a & b) >= TWIN * (len(a) + len(b))


def added(text: str, source: str) -> float:
    """Share of the words of `text` that `source` does not have: 0 where only deletions were made."""
    a, b = Counter(words(text)), Counter(words(source))
    return (a - b).total() / max(1, a.total())


def explicitness(text: str) -> int:
    """How loudly a text speaks of feeling: emotion words, words of strength, exclamation marks."""
    return sum(w in ALL or w in _STRENGTH for w in words(text)) + text.count("!")
