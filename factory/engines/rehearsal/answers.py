"""What the rehearsal engine says to each stage: the same JSON that a model would be asked for."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from factory.engines.rehearsal.bank import Phrase, fitting, phrases, prototypes, recognise
from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.items import applied, understood
from factory.engines.rehearsal.scene import Scene, read_scene
from factory.engines.rehearsal.solve import solve
from factory.engines.rehearsal.talks import background, dialogue
from factory.errors import Transient
from factory.lexicon import ALL, named
from factory.requests import Request
from factory.taxonomy import LABELS, NEUTRAL, resolve
from factory.text import one_line, sentences, words

_NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.M)
_BRACED = re.compile(r"^\(([^)]*)\) (.*)$", re.S)
_QUOTES = re.compile(r"[\"\u201c\u201d\u2018]|(?<!\w)'|'(?!\w)")
_ACTOR = frozenset(["actor"])
_STRONG = re.compile(r"\b(?:very|really|utterly|completely|absolutely|never|ever|always|so)\s+", re.I)


def answer(request: Request) -> str:
    """The reply to a request of a stage that this engine knows; a stage of somebody's own needs an engine of its own."""
    try:
        say = _STAGES[request.stage]
    except KeyError:
        raise Transient(
            f"the rehearsal engine does not know stage {request.stage!r}; run it with a real model"
        ) from None
    said = say(request.fields | {"unit": request.unit}, Dice(request.stage, request.sampling.seed))
    if request.read:
        said = dict(zip(request.read, said.values(), strict=True))
    return orjson.dumps(said).decode()


Fields = dict[str, str]


def _actors(fields: Fields, dice: Dice) -> dict[str, Any]:
    people = read_scene(fields["passage"], int(fields["most"])).people
    return {"actors": [{"name": one.name, "line": one.line} for one in people]}


def _utterances(fields: Fields, dice: Dice) -> dict[str, Any]:
    scene, actor = read_scene(fields["passage"]), fields["actor"]
    asked = [text.partition(":")[0] for _, text in _items(fields["emotions"])] if "emotions" in fields else _own(dice)
    used: set[Phrase] = set()
    return {"utterances": [{"emotion": label, "text": _speech(label, scene, actor, dice, used)} for label in asked]}


def _own(dice: Dice) -> list[str]:
    """The emotions that a model would pick itself (the paper's preset)."""
    labels = [label for label in prototypes() if label != NEUTRAL]
    return [*sorted(labels, key=lambda _: dice.number())[:8], NEUTRAL, NEUTRAL]


def _speech(label: str, scene: Scene, actor: str, dice: Dice, used: set[Phrase]) -> str:
    """LEAD LINE TAIL, of which the line is always there; each phrase once in an actor's ten."""
    values = _values(scene, actor, dice)
    have = frozenset(values)
    line = _phrase(label, "lines", have, dice, used, anchored=0.85)
    parts = [line.fill(values)]
    form = dice.number() % 20
    if form < 15:
        # A tail does not take up the line's own slot: "near the mill. From there it is a mile to the mill."
        # Two plain facts about two things at once have no link.
        rest = frozenset[str]() if label == NEUTRAL else have - line.needs
        parts.append(_phrase(label, "tails", rest, dice, used, anchored=0.45).fill(values))
    if form >= 13 and form != 19:
        parts.insert(0, _phrase(label, "leads", have, dice, used).fill(values))
    return " ".join(parts)


def _phrase(
    label: str, kind: str, have: frozenset[str], dice: Dice, used: set[Phrase], anchored: float = 0.0
) -> Phrase:
    """A phrase not used yet; `anchored` is how often one with slots is taken where the scene can fill any."""
    fit = fitting(label, kind, have, bool(have) and dice.chance(anchored)) or phrases(label, kind)
    start = dice.number()
    for step in range(len(fit)):
        phrase = fit[(start + step) % len(fit)]
        if phrase not in used:
            break
    used.add(phrase)
    return phrase


def _values(scene: Scene, actor: str, dice: Dice) -> dict[str, str]:
    """One value for each slot that the scene can fill; another person is never the speaker."""
    name = actor.casefold()
    others = [p.mention for p in scene.people if p.name.casefold() not in name and name not in p.name.casefold()]
    pools = {
        "other": others,
        "thing": scene.things,
        "place": scene.places,
        "event": scene.events,
        "doing": scene.doings,
    }
    return {slot: dice.pick(pool) for slot, pool in pools.items() if pool}


def _labels(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Reads the words, not the asked emotion, as a labeller does who sees the utterance alone."""
    return {"items": [{"n": n, "scores": list(_scores(text))} for n, text in _items(fields["utterances"])]}


def _scores(text: str) -> Iterator[dict[str, Any]]:
    label, dice = recognise(text), Dice("scores", text)
    prototype = prototypes()[label]
    yield {"label": _said(label, prototype.words, dice), "score": round(dice.between(0.6, 0.95), 1)}
    for near, typical in prototype.neighbours.items():
        score = round(typical + dice.between(-0.25, 0.15), 1)
        if score >= 0.1:
            yield {"label": _said(near, prototypes()[near].words, dice), "score": score}


def _said(label: str, others: tuple[str, ...], dice: Dice) -> str:
    """Now and then a labeller's own word for a label, as real ones do."""
    return dice.pick(others) if others and dice.chance(0.08) else label


def _reading(fields: Fields, dice: Dice) -> dict[str, Any]:
    """The log-probability of each label in taxonomy order: the labeller's own scores with a little noise, a trace for
    every other label, and something left for tokens that are no answer."""
    text = fields["utterance"]
    dice = Dice("reading", text)
    felt = {resolve(one["label"]).label: one["score"] for one in _scores(text)}
    weights = [dice.between(0.8, 1.2) * (felt.get(label, 0.0) + 0.01) for label in LABELS]
    share = dice.between(0.7, 0.99) / math.fsum(weights)
    return {label: math.log(share * weight) for label, weight in zip(LABELS, weights, strict=True)}


def _appraisal(fields: Fields, dice: Dice) -> dict[str, Any]:
    scene, actor = read_scene(fields["passage"]), fields["actor"]
    items = []
    for n, text in _items(fields["utterances"]):
        label = recognise(text)
        scores = {
            name: round(min(0.98, max(0.02, value + dice.between(-0.06, 0.06))), 2)
            for name, value in prototypes()[label].scores.items()
        }
        values = _spoken_of(text, scene) | {"actor": _mention(actor, scene)}
        why = _phrase(label, "rationales", frozenset(values), dice, set(), anchored=0.7).fill(values)
        items.append({"n": n, **scores, "rationale": why})
    return {"items": items}


def _spoken_of(text: str, scene: Scene) -> dict[str, str]:
    """The people, things, places and events of the scene that an utterance speaks of: its rationale speaks of no others."""
    low = text.lower()
    pools = {
        "other": [p.mention for p in scene.people],
        "thing": scene.things,
        "place": scene.places,
        "event": scene.events,
        "doing": scene.doings,
    }
    found = {slot: next((one for one in pool if one.lower() in low), "") for slot, pool in pools.items()}
    return {slot: value for slot, value in found.items() if value}


def _mention(actor: str, scene: Scene) -> str:
    return next((p.mention for p in scene.people if p.name.casefold() == actor.casefold()), actor)


def _context(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Two to four sentences of the passage itself, ending where the actor is last spoken of, and what has befallen the actor
    since; now and then with an aside that names the feeling, so that cleaning has work to do."""
    passage, actor = fields["passage"], fields["actor"]
    scene = read_scene(passage)
    items = []
    for n, text in _items(fields["utterances"]):
        told = _told(passage, actor, dice)
        label = recognise(text)
        asides = fitting(label, "asides", _ACTOR)
        if asides and dice.chance(0.4):
            told = f"{told} {dice.pick(asides).fill({'actor': _mention(actor, scene)})}"
        items.append({"n": n, "context": f"{told} {_befallen(label, text, actor, scene, dice)}".strip()})
    return {"items": items}


def _befallen(label: str, text: str, actor: str, scene: Scene, dice: Dice) -> str:
    """What makes a person of the scene feel so, told without naming it: where an utterance is muted, only this shows it."""
    values = _spoken_of(text, scene) | {"actor": _mention(actor, scene)}
    for _ in range(4):
        why = _phrase(label, "rationales", frozenset(values), dice, set(), anchored=0.7).fill(values)
        if not ALL.intersection(words(why)):
            return why
    return ""


@dataclass(frozen=True, slots=True)
class _Lines:
    """The sentences of a passage, each with its number of words, and those to cut a context from."""

    lines: tuple[str, ...]
    sizes: tuple[int, ...]
    usable: tuple[int, ...]


@lru_cache(maxsize=256)
def _lines(passage: str) -> _Lines:
    """Usable are whole sentences without speech and without feeling, or all where these are too few."""
    lines = tuple(map(one_line, read_scene(passage).sentences))
    sizes = tuple(len(line.split()) for line in lines)
    calm = tuple(i for i, line in enumerate(lines) if not _QUOTES.search(line) and not ALL.intersection(words(line)))
    return _Lines(lines, sizes, calm if sum(sizes[i] for i in calm) >= 12 else tuple(range(len(lines))))


@lru_cache(maxsize=2048)
def _about(passage: str, actor: str) -> tuple[int, ...]:
    """Where the actor is spoken of."""
    found = _lines(passage)
    return tuple(i for i in found.usable if actor.casefold() in found.lines[i].casefold()) or found.usable


def _told(passage: str, actor: str, dice: Dice) -> str:
    """Up to four sentences or some thirty words, ending with one about the actor."""
    found = _lines(passage)
    end = dice.pick(_about(passage, actor))
    chosen: list[int] = []
    size = 0
    for i in reversed([i for i in found.usable if i <= end]):
        if chosen and (size + found.sizes[i] > 90 or len(chosen) == 4 or (len(chosen) >= 2 and size >= 30)):
            break
        chosen.insert(0, i)
        size += found.sizes[i]
    if size < 8:  # the very start of a passage: go on where it goes on
        chosen = list(found.usable[: len(chosen) + 3])
    return " ".join(" ".join(found.lines[i] for i in chosen).split()[:140])


def _cleaning(fields: Fields, dice: Dice) -> dict[str, Any]:
    items = []
    for n, text in _items(fields["contexts"]):
        emotions, context = _braced(text)
        kept = [s for s in sentences(context) if not named(s, emotions)]
        items.append({"n": n, "context": " ".join(kept)})
    return {"items": items}


def _rewriting(fields: Fields, dice: Dice) -> dict[str, Any]:
    return {
        "items": [{"n": n, "text": _muted(_braced(text)[1])} for n, text in _items(fields["utterances"])],
    }


def _muted(text: str) -> str:
    """The utterance without its outburst: the tail goes, or the opener, or the last clause, or the strong word."""
    parts = sentences(text)
    if len(parts) > 1 and len(words(" ".join(parts[:-1]))) >= 6:
        parts = parts[:-1]
    if len(parts) > 1 and len(words(parts[0])) <= 5:
        parts = parts[1:]
    muted = " ".join(parts).replace("!", ".")
    if muted == text:
        head, comma, _ = text.rpartition(", ")
        muted = f"{head.rstrip('.')}." if comma and len(head.split()) >= 4 else _STRONG.sub("", text)
    if muted == text and len(text.split()) > 8:
        muted = " ".join(text.split()[:-2]).rstrip(",") + "."
    return muted[:1].upper() + muted[1:]


def _flip(fields: Fields, dice: Dice) -> dict[str, Any]:
    """A line of the mirrored emotion about the same people and things, the nearest of a handful in words."""
    original, target = fields["utterance"], fields["targets"].partition(",")[0]
    scene = read_scene(original)
    before = set(words(original))
    best, most = "", -1.0
    for _ in range(12):
        values = _values(scene, fields["actor"], dice)
        line = _phrase(target, "lines", frozenset(values), dice, set(), anchored=0.9)
        text = line.fill(values)
        own = words(text)
        shared = sum(w in before for w in own) / max(1, len(own)) + 0.3 * len(line.needs)
        if shared > most:
            best, most = text, shared
    return {"text": best}


def _contract(fields: Fields, dice: Dice) -> dict[str, Any]:
    """An evaluation's question about one utterance: the feeling whose words stand in it."""
    label = recognise(fields["text"])
    scores = prototypes()[label].scores
    vad = {name[0]: round(scores[name], 2) for name in ("valence", "arousal", "dominance")}
    return {"labels": [label], "vad": vad, "rationale": f"The words are those of {label}."}


def _guesses(*names: str) -> Callable[[Fields, Dice], dict[str, Any]]:
    """An evaluation's question with options, which this engine does not read: any of the first four."""
    return lambda fields, dice: {name: "ABCD"[Dice(name, fields["text"]).number() % 4] for name in names}


def _items(text: str) -> list[tuple[int, str]]:
    return [(int(n), line) for n, line in _NUMBERED.findall(text)]


def _braced(text: str) -> tuple[list[str], str]:
    match = _BRACED.match(text)
    return ([e.strip() for e in match[1].split(",")], match[2]) if match else ([], text)


_STAGES: dict[str, Callable[[Fields, Dice], dict[str, Any]]] = {
    "actors": _actors,
    "utterances": _utterances,
    "labels": _labels,
    "context": _context,
    "cleaning": _cleaning,
    "rewriting": _rewriting,
    "appraisal": _appraisal,
    "flip": _flip,
    "flip_labels": _labels,
    "flip_appraisal": _appraisal,
    "reading": _reading,
    "flip_reading": _reading,
    "background": background,
    "dialogue": dialogue,
    "mcq_eu": understood,
    "mcq_ea": applied,
    "solve": solve,
    "answer_emotion_json": _contract,
    "answer_mcq_eu": _guesses("answer_q1", "answer_q2"),
    "answer_mcq_ea": _guesses("answer"),
}
