"""How a model is asked, and what it chose: both published protocols, and ours by the likelihood of the options. METHODS 4.

v1 (March 2024): one question at a time, EU as a chain, 5 repeats voted on, 4 option orders. v2 (May 2025): one prompt, one
pass, a letter in JSON. likelihood, letters (ours): the option whose text, or letter, the model finds most probable, in 4
option orders; nothing is parsed, so no format can be broken. Figures of two protocols are never compared.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, NamedTuple

import orjson

from factory.answers import Answerer, Question
from factory.emobench import parse, prompts
from factory.emobench.ask import READINGS, Answered, Ask, Places, Reading
from factory.emobench.items import PARTS, Item, orders
from factory.emobench.parse import NONE
from factory.emobench.prompts import View
from factory.emobench.words import Wording
from factory.requests import Message, row_seed


def answered(answerer: Answerer, items: Sequence[Item], ask: Ask, wording: Wording) -> tuple[Answered, ...]:
    """What the model chose for each item, which all are of `ask`'s task and language."""
    views = [view for item in items for view in _views(item, ask.orders)]
    if ask.protocol == "v1":
        tries = _v1(answerer, [view for view in views for _ in range(ask.repeats)], ask)
    elif ask.protocol == "v2":
        tries = _v2(answerer, views, ask, wording)
    else:
        tries = _scored(answerer, views, ask)
    each = ask.orders * ask.repeats
    return tuple(_gathered(item, tries[n * each : (n + 1) * each], ask) for n, item in enumerate(items))


# The four ways -------------------------------------------------------------------------------------------------------------


class _Try(NamedTuple):
    """An item asked once in one order: for each reading its places."""

    places: dict[str, Places]
    replies: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()


def _v1(answerer: Answerer, views: Sequence[View], ask: Ask) -> list[_Try]:
    """Each repeat is a chain of its own: the cause is asked for with the emotion that this repeat chose."""
    felt = [""] * len(views)
    strict: list[list[int]] = [[] for _ in views]
    lenient: list[list[int]] = [[] for _ in views]
    replies: list[list[str]] = [[] for _ in views]
    for part in range(len(PARTS[ask.task])):
        said = answerer.answers(
            [
                _question(ask, view, prompts.v1(view, part, felt[n], ask.cot), f"r{n % ask.repeats}.{part}")
                for n, view in enumerate(views)
            ]
        )
        for n, (view, text) in enumerate(zip(views, said, strict=True)):
            shown = view.shown(part)
            place = parse.v1(text, shown, ask.task, ask.language)
            loose = place if place != NONE else parse.lenient(text, (PARTS[ask.task][part],), (shown,))[0]
            strict[n].append(view.published(part, place))
            lenient[n].append(view.published(part, loose))
            replies[n].append(text)
            unread = shown[NONE] if ask.faithful else ""
            felt[n] = shown[place] if 0 <= place < len(shown) else unread
    return [
        _Try(
            {"strict": tuple(one), "lenient": tuple(other)},
            tuple(texts),
            tuple(_heard(text, (a,), (b,)) for text, a, b in zip(texts, one, other, strict=True)),
        )
        for one, other, texts in zip(strict, lenient, replies, strict=True)
    ]


def _v2(answerer: Answerer, views: Sequence[View], ask: Ask, wording: Wording) -> list[_Try]:
    keys = prompts.KEYS[ask.task]
    said = answerer.answers(
        [
            replace(
                _question(ask, view, prompts.v2(view, wording, ask.cot, ask.no_think), "both"),
                schema=schema(view.item, ask.cot) if ask.guided else "",
            )
            for view in views
        ]
    )
    return [_json_try(text, view, keys) for text, view in zip(said, views, strict=True)]


def _json_try(text: str, view: View, keys: Sequence[str]) -> _Try:
    shown = [view.shown(part) for part in range(len(keys))]
    strict = parse.v2(text, keys, [len(one) for one in shown])
    loose = parse.lenient(text, keys, shown)
    lenient = tuple(a if a != NONE else b for a, b in zip(strict, loose, strict=True))
    places = {
        name: tuple(view.published(part, place) for part, place in enumerate(some))
        for name, some in (("strict", strict), ("lenient", lenient))
    }
    return _Try(places, (text,), (_heard(text, strict, lenient),))


def schema(item: Item, cot: bool) -> str:
    """The JSON schema of v2's reply: the reasoning first where it is wanted, then a letter for each question."""
    letters = {
        key: {"type": "string", "enum": list(ascii_uppercase[: len(choices)])}
        for key, choices in zip(prompts.KEYS[item.task], item.choices, strict=True)
    }
    fields: dict[str, Any] = ({"reasoning": {"type": "string"}} if cot else {}) | letters
    whole = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    return orjson.dumps(whole).decode()


def _scored(answerer: Answerer, views: Sequence[View], ask: Ask) -> list[_Try]:
    """EU is a chain here too: the cause is asked for with the emotion that the same reading chose, so that readings which
    part at the emotion are asked for their causes apart."""
    names = READINGS[ask.protocol]
    felt = {name: [""] * len(views) for name in names}
    places: dict[str, list[list[int]]] = {name: [[] for _ in views] for name in names}
    for part in range(len(PARTS[ask.task])):
        wanted = list(dict.fromkeys((n, felt[name][n]) for n in range(len(views)) for name in names))
        found = _likelihoods(answerer, [(views[n], told) for n, told in wanted], part, ask)
        scores = dict(zip(wanted, found, strict=True))
        for name in names:
            for n, view in enumerate(views):
                place = best(scores[n, felt[name][n]], normalised=name == "normalised")
                places[name][n].append(view.published(part, place))
                felt[name][n] = view.shown(part)[place] if place != NONE else ""
    return [_Try({name: tuple(places[name][n]) for name in names}) for n in range(len(views))]


Scores = Sequence[tuple[float, int]]  # of each option: sum of natural log-probabilities, tokens


def _likelihoods(answerer: Answerer, asked: Sequence[tuple[View, str]], part: int, ask: Ask) -> Sequence[Scores]:
    letters = ask.protocol == "letters"
    thoughts = [""] * len(asked)
    if ask.cot:
        thoughts = answerer.answers(
            [
                _question(ask, view, prompts.thinking(view, part, told, letters), f"thought.{part}")
                for view, told in asked
            ]
        )
    questions = [
        _question(ask, view, prompts.scored(view, part, told, letters, thought.strip()), f"scored.{part}")
        for (view, told), thought in zip(asked, thoughts, strict=True)
    ]
    shown = [view.shown(part) for view, _ in asked]
    return answerer.likelihoods(questions, [tuple(ascii_uppercase[: len(one)]) if letters else one for one in shown])


def best(scores: Scores, normalised: bool) -> int:
    """The place of the most probable option, by all its tokens or (`normalised`) by the mean of them; the first of equal
    ones, NONE where no option has a probability."""
    found = [total / max(tokens, 1) if normalised else total for total, tokens in scores]
    known = [value for value in found if math.isfinite(value)]
    return found.index(max(known)) if known else NONE


def _question(ask: Ask, view: View, messages: tuple[Message, ...], step: str) -> Question:
    item = view.item
    unit = f"{ask.protocol}.{item.task}.{item.language}.{item.qid}.o{view.number}.{step}"
    return Question(
        unit=unit,
        messages=messages,
        max_tokens=max(ask.max_tokens, 1),
        temperature=ask.temperature,
        top_p=ask.top_p,
        seed=row_seed("emobench", unit),
        task=f"mcq_{item.task.lower()}",
    )


# Together --------------------------------------------------------------------------------------------------------------------


def _views(item: Item, count: int) -> list[View]:
    turned = [orders(count, len(choices)) for choices in item.choices]
    return [View(item, number, tuple(each[number] for each in turned)) for number in range(count)]


def _heard(text: str, strict: Iterable[int], lenient: Iterable[int]) -> str:
    if not text.strip():
        return "empty"
    return "strict" if NONE not in strict else "lenient" if NONE not in lenient else "unread"


def _gathered(item: Item, tries: Sequence[_Try], ask: Ask) -> Answered:
    """Repeats are voted on within an order, and the orders' votes on the item; each part by itself."""
    readings = {}
    for name in READINGS[ask.protocol]:
        said = [one.places[name] for one in tries]
        each = tuple(_voted(said[at : at + ask.repeats]) for at in range(0, len(said), ask.repeats))
        readings[name] = Reading(each, _voted(each))
    return Answered(
        qid=item.qid,
        category=item.category,
        labels=item.labels,
        readings=readings,
        replies=tuple(_writable(text) for one in tries for text in one.replies),
        heard=tuple(how for one in tries for how in one.heard),
    )


def _writable(text: str) -> str:
    """Half a surrogate pair, which a model may say in an escape, cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _voted(said: Sequence[Places]) -> Places:
    return tuple(vote(part) for part in zip(*said, strict=True))


def vote(places: Sequence[int]) -> int:
    """The most frequent, the first seen of equally frequent ones; NONE only where there is nothing else."""
    ranked = [place for place, _ in Counter(places).most_common()]
    return next((place for place in ranked if place != NONE), NONE)
