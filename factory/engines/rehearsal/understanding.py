"""Items of emotional understanding: a frame filled with people, six emotions, four causes, and the reasoning to them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.even import fitted
from factory.engines.rehearsal.frames import Frame, capital, extras, fill, phrasings, told, understanding, weights
from factory.engines.rehearsal.grounds import first_grounded
from factory.engines.rehearsal.options import Filled, chosen, emotions, sets, sixes

# How a rationale goes: sign and belief as a sentence or as a clause, refusals, the other reasons, the end.
SHAPES = (
    "{Sign}. {Belief}. {nots} {reasons} {end}",
    "{Belief}. {Sign}, and that tells the rest. {reasons} {nots} {end}",
    "{first} {Sign}. {Belief}. {rest} {reasons} {end}",
    "Two things belong together here: {belief}; and {sign}. {nots} {reasons} {end}",
    "Begin with what {s} takes to be so: {belief}. {Sign}. {nots} {reasons} {end}",
    "Begin with what anybody there could see: {sign}. {Belief}. {reasons} {nots} {end}",
    "What does it mean that {sign}? {Belief}. {nots} {reasons} {end}",
    "{reasons} {Sign}. {Belief}. {nots} {end}",
    "One has to know that {belief}. Only then does it make sense that {sign}. {nots} {reasons} {end}",
    "That {sign} is what gives it away. {Belief}. {reasons} {nots} {end}",
    "{first} {rest} {Belief}. {Sign}. {reasons} {end}",
    "Seen from outside, {sign}. Seen from {his} side, {belief}. {nots} {reasons} {end}",
    "{Sign}; {belief}. {reasons} {nots} {end}",
    "It is nowhere said in so many words, and yet {sign}. {Belief}. {nots} {reasons} {end}",
    "{nots} {Belief}. {reasons} {Sign}. {end}",
)
NOTS = (
    "{Felt} does not fit: {why}.",
    "It is hardly {felt}, for {why}.",
    "{Felt} would be a misreading, since {why}.",
    "Against {felt} it can be said that {why}.",
    "One might think of {felt}; and yet {why}.",
    "There is no room here for {felt}, because {why}.",
    "{Why}, which leaves nothing for {felt}.",
    "{Why}; so it is not {felt}.",
    "{Felt}? No: {why}.",
    "As to {felt}, {why}.",
    "Nothing points to {felt}, as {why}.",
    "{Felt} may come to mind at first, and then {why}.",
    "Were it {felt}, the scene would go otherwise: {why}.",
    "One thing rules out {felt}: {why}.",
    "Whoever says {felt} passes over one thing: {why}.",
    "{Felt} can be set aside, given that {why}.",
    "For {felt} there would have to be something else, since {why}.",
    "It does not look like {felt}. {Why}.",
    "{Why}. With {felt} it would be another story.",
    "Not {felt}: {why}.",
)
REASONS = (
    "The other reasons {not}.",
    "As for the other reasons, they {not}.",
    "The rest of the reasons {not}.",
    "Other explanations {not}.",
    "What else is offered as a reason will not do: these {not}.",
    "The three other reasons {not}.",
    "None of the other reasons will serve, for they {not}.",
    "Looking at what else is offered: these {not}.",
    "It is no use to look among the other reasons, which {not}.",
    "Of the other reasons it can be said that they {not}.",
)
ENDS = (
    "What remains is {felt}, because {cause}.",
    "So {s} is left with {felt}: {cause}.",
    "Taken together this is {felt}, and the reason is that {cause}.",
    "That makes it {felt}, since {cause}.",
    "{Felt} it is, then: {cause}.",
    "Only {felt} would explain all of it, as {cause}.",
    "In the end {he} feels {felt}, for {cause}.",
    "All of this leads to {felt}, and to the reason that {cause}.",
    "And so it comes to {felt}; {cause}.",
    "The word for it is {felt}, and it comes about because {cause}.",
    "{Cause}, and out of that comes {felt}.",
    "{Cause}: hence {felt}.",
    "What {s} feels by then is {felt}, seeing that {cause}.",
    "Put together: {cause}, and so {felt}.",
    "It ends in {felt}, and for one reason: {cause}.",
    "Because {cause}, it is {felt} in the end.",
)
HALVES = (
    "{Felt} alone would be half of it, for there is {other} as well.",
    "{Felt} by itself leaves out {other}.",
    "Whoever sees {felt} alone misses {other}.",
    "There is {felt} in it, but not without {other}.",
)
OTHERS = 3  # shapes that are tried where the first says too little of the scene


def eu_item(frame: Frame, values: dict[str, str], shape: int, dice: Dice) -> dict[str, Any]:
    """One item as the stage reads it; `values` are the people, and take in what is drawn."""
    own = frame.own
    filled = _filled(frame, values, dice)
    cause, places = chosen(filled, weights()["cause"], dice)
    right, others = emotions(own["emotion"], _refused(frame), weights()["emotion"], dice)

    def reasoned(number: int) -> str:
        return _reasoned(own, right, others, cause, values, number, dice)

    return {
        "scenario": filled.scenario,
        "subject": values["s"],
        "rationale": first_grounded(_shapes(shape), reasoned, filled.scenario),
        "emotion": right,
        "wrong_emotions": others,
        "cause": cause,
        "wrong_causes": [filled.wrong[place] for place in places],
    }


def _filled(frame: Frame, values: dict[str, str], dice: Dice) -> Filled:
    scenario, *texts = (told([text], values, dice) for text in (" ".join(frame.own["scene"]), *frame.own["wrong"]))
    return Filled(scenario, tuple(told([text], values, dice) for text in phrasings(frame.own["cause"])), tuple(texts))


def _refused(frame: Frame) -> list[list[str]]:
    return [listed.split(", ") for listed, _ in frame.own["nots"]]


def weighed() -> dict[str, tuple[float, ...]]:
    """How causes and emotions are drawn (see `even`), fitted to the whole bank, whose fine categories are asked for
    equally often; `situations/weights.toml` holds what this gives."""
    held = Counter(frame.own["fine"] for frame in understanding())
    causes, felt = [], []
    for place, frame in enumerate(understanding()):
        dice, often = Dice("weights", place), 1 / held[frame.own["fine"]]
        felt.append((often, [one.apart for one in sixes(frame.own["emotion"], _refused(frame), dice)]))
        for people in extras():
            filled = _filled(frame, people | frame.slots(dice), dice)
            causes.append((often, [one.apart for one in sets(filled)]))
    return {"cause": fitted(causes), "emotion": fitted(felt)}


def _shapes(first: int) -> Iterator[int]:
    return ((first + 4 * step) % len(SHAPES) for step in range(1 + OTHERS))


def _reasoned(
    own: Any, right: str, wrong: Sequence[str], cause: str, values: dict[str, str], shape: int, dice: Dice
) -> str:
    nots = [*_refusals(own, wrong, dice), *_halves(right, wrong, dice)]
    parts = {
        "sign": own["sign"],
        "belief": own["belief"],
        "nots": " ".join(nots),
        "first": nots[0],
        "rest": " ".join(nots[1:]),
        "reasons": dice.pick(REASONS).replace("{not}", own["cause_not"]),
        "end": dice.pick(ENDS),
        "felt": _and(right),
        "cause": cause,
    }
    filled = {name: fill(text, values | parts, dice) for name, text in parts.items()}
    return told([SHAPES[shape]], values | filled, dice)


def _refusals(own: Any, wrong: Sequence[str], dice: Dice) -> Iterator[str]:
    """Why each wrong emotion fails, those with one reason together."""
    among = {part for one in wrong for part in one.split(" & ")}
    for (listed, why), form in zip(dice.shuffled(own["nots"]), dice.shuffled(NOTS), strict=False):
        felt = [one.lower() for one in listed.split(", ") if one in among]
        if felt:
            yield _said(form, _or(felt)).replace("{why}", why).replace("{Why}", _begun(why))


def _begun(text: str) -> str:
    """A clause of the bank, not yet filled, as it begins a sentence."""
    return f"{{{capital(text[1:])}" if text[0] == "{" else capital(text)


def _halves(right: str, wrong: Sequence[str], dice: Dice) -> Iterator[str]:
    """What speaks against one half of a joined emotion alone."""
    parts = right.lower().split(" & ")
    for felt, other in (parts, parts[::-1]) if len(parts) > 1 else ():
        if capital(felt) in wrong:
            yield _said(dice.pick(HALVES), felt).replace("{other}", other)


def _said(text: str, felt: str) -> str:
    return text.replace("{felt}", felt).replace("{Felt}", capital(felt))


def _and(felt: str) -> str:
    return felt.lower().replace(" & ", " and ")


def _or(some: Sequence[str]) -> str:
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} or {some[-1]}"
