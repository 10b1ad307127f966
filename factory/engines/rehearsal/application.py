"""Items of emotional application: a situation filled with people, four answers, and the reasoning to the right one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.even import fitted
from factory.engines.rehearsal.frames import Frame, application, extras, fill, lowered, phrasings, told, weights
from factory.engines.rehearsal.grounds import content, first_grounded, shared
from factory.engines.rehearsal.options import Filled, chosen, sets
from factory.text import sentences

APPLIED = (
    "{Fact}. {Need}. {wrongs} {why}",
    "{Need}; {fact}. {wrongs} {why}",
    "{first} {Fact}. {Need}. {rest} {why}",
    "Whatever is done has to start from this: {fact}. {Need}. {wrongs} {why}",
    "What is it about? {Need}. {Fact}. {wrongs} {why}",
    "As things stand, {fact}. {Need}. {wrongs} {why}",
    "Each way can be measured by one thing: {need}. {Fact}. {wrongs} {why}",
    "Since {fact}, the rest follows: {need}. {wrongs} {why}",
    "{wrongs} {Fact}. {Need}. {why}",
    "{Fact}; that is where it begins. {first} {Need}. {rest} {why}",
    "To put it simply, {need}. {first} {rest} {Fact}. {why}",
    "{Need}. {first} {Fact}. {rest} {why}",
    "The matter can be put in two halves: {fact}; and {need}. {wrongs} {why}",
)
# What ends a rationale that has not yet said what to do in the answer's own words.
CONCLUDED = {
    "action": (
        "So the best that {s} can do is to {right}.",
        "What is left for {s} is to {right}.",
        "It comes to this: {right}.",
        "All of it speaks for one thing, to {right}.",
        "And so {s} does best to {right}.",
        "What would help is to {right}.",
        "To {right}: nothing else meets both.",
    ),
    "response": (
        "So the words for it are: “{right}”",
        "What is left to say is: “{right}”",
        "It comes to this: “{right}”",
        "All of it speaks for one answer: “{right}”",
        "And so {s} does best to say: “{right}”",
        "What would help to hear is: “{right}”",
    ),
}
OTHERS = 3  # shapes that are tried where the first says too little of the scene


def ea_item(frame: Frame, kind: str, values: dict[str, str], shape: int, dice: Dice) -> dict[str, Any]:
    """One item as the stage reads it, for the question of this kind (action, response); `values` take in what is drawn."""
    own, asked = frame.own, frame.own[kind]
    filled = _filled(frame, kind, values, dice)
    right, places = chosen(filled, weights()[kind], dice)
    whys = [asked["wrong"][place][1] for place in places]

    def reasoned(number: int) -> str:
        text = _reasoned(own, asked["why"], whys, values, number, dice)
        return text if _reaches(text, right, filled.wrong) else f"{text} {_concluded(kind, right, values, dice)}"

    return {
        "scenario": filled.scenario,
        "subject": values["s"],
        "rationale": first_grounded(_shapes(shape), reasoned, filled.scenario),
        "answer": right,
        "wrong": [filled.wrong[place] for place in places],
    }


def _filled(frame: Frame, kind: str, values: dict[str, str], dice: Dice) -> Filled:
    own, asked = frame.own, frame.own[kind]
    said = [dice.pick(own["said"])] if kind == "response" else []
    scenario = told([*own["scene"], *said], values, dice)
    rights = tuple(_plain(text, values, dice) for text in phrasings(asked["right"]))
    return Filled(scenario, rights, tuple(_plain(text, values, dice) for text, _ in asked["wrong"]))


def weighed(kind: str) -> tuple[float, ...]:
    """How answers of a kind are drawn, fitted to the whole bank: see `even` and `situations/weights.toml`."""
    held, bank = Counter(frame.own["category"] for frame in application()), []
    for place, frame in enumerate(application()):
        for number, people in enumerate(extras()):
            dice = Dice("weights", kind, place, number)
            filled = _filled(frame, kind, people | frame.slots(dice), dice)
            bank.append((1 / held[frame.own["category"]], [one.apart for one in sets(filled)]))
    return fitted(bank)


def _shapes(first: int) -> Iterator[int]:
    return ((first + 4 * step) % len(APPLIED) for step in range(1 + OTHERS))


def _reasoned(own: Any, why: str, whys: Sequence[str], values: dict[str, str], shape: int, dice: Dice) -> str:
    first, *rest = whys
    joined = dice.chance(0.5)
    parts = {
        "fact": own["fact"],
        "need": own["need"],
        "wrongs": _one_after_the_other(whys, joined),
        "first": first,
        "rest": _one_after_the_other(rest, joined),
        "why": why,
    }
    filled = {name: fill(text, values, dice) for name, text in parts.items()}
    return told([APPLIED[shape]], values | filled, dice)


def _reaches(text: str, right: str, wrong: Sequence[str]) -> bool:
    """Whether a rationale takes up the answer, and its last sentence none of the others more than that."""
    end = sentences(text)[-1]
    most = max(shared(other, end) for other in wrong)
    return len(content(right) & content(text)) >= min(2, len(content(right))) and most <= max(0.4, shared(right, end))


def _concluded(kind: str, right: str, values: dict[str, str], dice: Dice) -> str:
    text = lowered(right).rstrip(".") if kind == "action" else right + "." * (right[-1] not in ".?!")
    return fill(dice.pick(CONCLUDED[kind]), values, dice).replace("{right}", text)


def _one_after_the_other(texts: Sequence[str], joined: bool) -> str:
    """Sentences, or one sentence of them all."""
    if not joined:
        return " ".join(texts)
    first, *rest = texts
    return "; ".join([first.rstrip("."), *(lowered(text).rstrip(".") for text in rest)]) + "."


def _plain(text: str, values: dict[str, str], dice: Dice) -> str:
    """What is said stands in quotes in the bank and without them among the options."""
    return told([text], values, dice).removeprefix("'").removesuffix("'")
