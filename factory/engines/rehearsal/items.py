"""The multiple-choice items of the rehearsal engine: frames filled with the people of a background, and reasoned about."""

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from factory.engines.rehearsal.dice import Dice
from factory.engines.rehearsal.frames import (
    Frame,
    Person,
    application,
    capital,
    cast,
    elder,
    fill,
    lowered,
    stranger,
    understanding,
)
from factory.engines.rehearsal.talks import Case, case_of
from factory.text import sentences, words

Fields = dict[str, str]

_WANTED = re.compile(r"^(\d+)\. (?:[a-z_]+ / )?([\w-]+)(?:, (\w+))?", re.M)
LIKE = 3.0  # times that the longest option may be longer than the shortest

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
    "It is nowhere said in so many words, but {sign}. {Belief}. {nots} {reasons} {end}",
    "{nots} {Belief}. {reasons} {Sign}. {end}",
)
NOTS = (
    "{Felt} does not fit: {why}.",
    "It is hardly {felt}, for {why}.",
    "{Felt} would be a misreading, since {why}.",
    "Against {felt} it can be said that {why}.",
    "One might think of {felt}; but {why}.",
    "There is no room here for {felt}, because {why}.",
)
REASONS = (
    "The other reasons {not}.",
    "As for the other reasons, they {not}.",
    "The rest of the reasons {not}.",
    "Other explanations {not}.",
    "What else is offered as a reason will not do: these {not}.",
)
ENDS = (
    "What remains is {felt}, because {cause}.",
    "So {s} is left with {felt}: {cause}.",
    "Taken together this is {felt}, and the reason is that {cause}.",
    "That makes it {felt}, since {cause}.",
    "{Felt} it is, then: {cause}.",
    "Only {felt} goes with all of it, as {cause}.",
    "In the end {he} feels {felt}, for {cause}.",
    "All of this leads to {felt}, and to the reason that {cause}.",
)
APPLIED = (
    "{Fact}. {Need}. {wrongs} {why}",
    "{Need}; {fact}. {wrongs} {why}",
    "{first} {Fact}. {Need}. {rest} {why}",
    "Whatever is done has to start from this: {fact}. {Need}. {wrongs} {why}",
    "What is it about? {Need}, and {fact}. {wrongs} {why}",
    "As things stand, {fact}. {Need}. {wrongs} {why}",
    "Each way can be measured by one thing: {need}. {Fact}. {wrongs} {why}",
    "Since {fact}, the rest follows: {need}. {wrongs} {why}",
    "{wrongs} {Fact}. {Need}. {why}",
    "{Fact}; that is where it begins. {first} {Need}. {rest} {why}",
    "To put it simply, {need}. {first} {rest} {Fact}. {why}",
    "{Need}. {first} {Fact}. {rest} {why}",
    "The matter can be put in two halves: {fact}; and {need}. {wrongs} {why}",
)
CITES = (
    "This much is told: “{cite}”.",
    "One line has it so: “{cite}”.",
    "It stands there plainly: “{cite}”.",
    "The words for it are there: “{cite}”.",
)
GROUNDED = 0.24  # share of a rationale's longer words that the scene has: with fewer it quotes
# Said behind an option to make it longer: true of any, so that length tells nothing.
AFTER_DEED = (
    ", in {his} own good time",
    ", as quietly as may be",
    ", for the time being at least",
    ", as people there have always done",
    ", whatever others may think of it",
    ", even if it takes an effort",
    ", with as few words as possible",
)
AFTER_WORD = (
    " That is how I see it, at any rate.",
    " I say it as it comes to me, you know me.",
    " It has been on my mind since this morning.",
    " Now come, let us sit down for a moment.",
    " I wanted to say that before anything else.",
    " I have thought about how to put it.",
    " There, now it is said.",
    " I mean it just as I say it.",
    " That is the long and the short of it.",
)
LONGER = (0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3)  # how many wrong answers are longer
TAILS = 2  # one answer has no more
TAILED = 0.5  # how often the right answer has one too


def understood(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Items of emotional understanding, one for each line of `wanted`."""
    case, used, shapes = (
        case_of(fields["actor"], fields["background"]),
        list[Frame](),
        dice.shuffled(range(len(SHAPES))),
    )
    told = []
    for number, (n, fine, _) in enumerate(_WANTED.findall(fields["wanted"])):
        fit = [one for one in understanding() if one.own["fine"] == fine] or list(understanding())
        frame = _chosen(fit, case.domain, used, dice)
        told.append({"n": int(n), **eu_item(frame, _cast(case, frame, dice), shapes[number % len(shapes)], dice)})
    return {"items": told}


def applied(fields: Fields, dice: Dice) -> dict[str, Any]:
    """Items of emotional application, one for each line of `wanted`."""
    case, used, shapes = (
        case_of(fields["actor"], fields["background"]),
        list[Frame](),
        dice.shuffled(range(len(APPLIED))),
    )
    told = []
    for number, (n, category, asked) in enumerate(_WANTED.findall(fields["wanted"])):
        fit = [one for one in application() if one.own["category"] == category] or list(application())
        frame = _chosen(fit, case.domain, used, dice)
        kind = "response" if asked.lower() == "response" else "action"
        values = _cast(case, frame, dice)
        told.append({"n": int(n), **ea_item(frame, kind, values, shapes[number % len(shapes)], dice)})
    return {"items": told}


def _chosen(fit: Sequence[Frame], domain: str, used: list[Frame], dice: Dice) -> Frame:
    """Mostly one of what the talk is about, never one twice in a batch."""
    fresh = [one for one in fit if one not in used] or list(fit)
    near = [one for one in fresh if domain in one.own["domains"]]
    frame: Frame = dice.pick(near if near and dice.chance(0.6) else fresh)
    used.append(frame)
    return frame


def _cast(case: Case, frame: Frame, dice: Dice) -> dict[str, str]:
    """The client and the other one, now and then the other way round or with somebody new."""
    subject, other = case.client, case.other
    if dice.chance(0.35):
        other = stranger(dice, subject.mention, other.mention, case.third.mention)
    elif dice.chance(0.25):
        subject, other = other, subject
    third: Person = stranger(dice, subject.mention, other.mention)
    old = elder(dice, subject.mention, other.mention, third.mention)
    return cast(subject, other, third, old) | frame.slots(dice)


# Emotional understanding ----------------------------------------------------------------------------------------------


def eu_item(frame: Frame, values: dict[str, str], shape: int, dice: Dice) -> dict[str, Any]:
    own = frame.own
    scenario = " ".join(fill(text, values, dice) for text in own["scene"])
    cause = fill(own["cause"], values, dice)
    refused = {felt: place for place, (listed, _) in enumerate(own["nots"]) for felt in listed.split(", ")}
    felt = _emotions(own["emotion"], refused, dice)
    return {
        "scenario": scenario,
        "subject": values["s"],
        "rationale": _reasoned(frame, felt, cause, scenario, values, shape, dice),
        "emotion": own["emotion"],
        "wrong_emotions": felt,
        "cause": cause,
        "wrong_causes": _spread(cause, [fill(text, values, dice) for text in own["wrong"]], dice),
    }


def _emotions(right: str, refused: dict[str, int], dice: Dice) -> list[str]:
    """Five wrong ones, single and joined, of which as many are longer than the right one as chance would have it."""
    pairs = [f"{a} & {b}" for a, b in combinations(dice.shuffled(refused), 2) if refused[a] != refused[b]]
    joined = " & " in right
    halves = [f"{part} & {felt}" for part in right.split(" & ") for felt in dice.shuffled(refused)] if joined else []
    some = dice.shuffled([*halves[:: len(refused) or 1][:2], *halves[1:3], *pairs[:4]])[: 4 if joined else 2]
    pool = dice.shuffled([*refused, *some])
    sets = [one for one in combinations(pool, 5) if _varied(one, joined)]
    aim = int(dice.between(0, 6))
    return list(min(dice.shuffled(sets), key=lambda one: abs(_longer(right, list(one)) - aim)))


def _varied(some: Sequence[str], joined: bool) -> bool:
    """One of the right one's kind and one of the other among them, and no pair of emotions twice."""
    pairs = [frozenset(one.split(" & ")) for one in some if " & " in one]
    return len(set(pairs)) == len(pairs) and (1 if joined else 0) <= len(pairs) <= 3


def _longer(right: str, wrong: Sequence[str]) -> float:
    """How many are longer; one of the same length counts half."""
    return sum((len(one) > len(right)) + 0.5 * (len(one) == len(right)) for one in wrong)


def _spread(right: str, wrong: Sequence[str], dice: Dice, count: int = 3) -> list[str]:
    """Three of the wrong ones, none much shorter than the rest, the right one as long among them as chance has it."""
    aim = int(dice.between(0.15, count + 1))  # of two of one length both are the longest
    sets: list[tuple[str, ...]] = dice.shuffled(combinations(wrong, count))

    def missed(some: tuple[str, ...]) -> tuple[bool, float]:
        sizes = [len(right), *map(len, some)]
        return max(sizes) > LIKE * min(sizes), abs(_longer(right, list(some)) - aim)

    return list(dice.shuffled(min(sets, key=missed)))


def _reasoned(
    frame: Frame, wrong: Sequence[str], cause: str, scenario: str, values: dict[str, str], shape: int, dice: Dice
) -> str:
    own = frame.own
    nots = list(_refusals(own, wrong, shape, dice))
    felt = own["emotion"].lower().replace(" & ", " and ")
    parts = {
        "sign": fill(own["sign"], values, dice),
        "belief": fill(own["belief"], values, dice),
        "nots": " ".join(nots),
        "first": nots[0],
        "rest": " ".join(nots[1:]),
        "reasons": dice.pick(REASONS).replace("{not}", own["cause_not"]),
        "end": dice.pick(ENDS),
        "felt": felt,
        "cause": cause,
    }
    text = " ".join(fill(SHAPES[shape], values | parts, dice).split())
    return _grounded(text, scenario, dice)


def _grounded(text: str, scenario: str, dice: Dice) -> str:
    """A rationale in its own words quotes the scene before its last sentence; some quote it anyway."""
    own, told = ({word[:6] for word in words(one) if len(word) > 4} for one in (text, scenario))
    if len(own & told) >= GROUNDED * len(own) and dice.chance(0.8):
        return text
    *before, last = sentences(text)
    return " ".join([*before, dice.pick(CITES).replace("{cite}", _telling(scenario)), last])


def _telling(scenario: str) -> str:
    """Up to sixteen words of the scene's end, whole clauses, without anybody's speech."""
    told = [one for one in sentences(scenario) if not re.search(r"'\s|'$|\s'|^'", one)] or sentences(scenario)
    taken: list[str] = []
    for clause in re.split(r"(?<=[,;:]) ", max(told[-3:], key=len)):
        if taken and len(" ".join([*taken, clause]).split()) > 16:
            break
        taken.append(clause)
    return " ".join(taken).rstrip(",;:. ")


def _refusals(own: Any, wrong: Sequence[str], shape: int, dice: Dice) -> Iterator[str]:
    """Why each wrong emotion fails, those with one reason together."""
    among = {part for one in wrong for part in one.split(" & ")}
    for place, (listed, why) in enumerate(dice.shuffled(own["nots"]), shape // 4):
        felt = [one.lower() for one in listed.split(", ") if one in among]
        if felt:
            yield (
                NOTS[place % len(NOTS)]
                .replace("{felt}", _or(felt))
                .replace("{Felt}", capital(_or(felt)))
                .replace("{why}", why)
            )


def _or(some: Sequence[str]) -> str:
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} or {some[-1]}"


# Emotional application ------------------------------------------------------------------------------------------------


def ea_item(frame: Frame, kind: str, values: dict[str, str], shape: int, dice: Dice) -> dict[str, Any]:
    own = frame.own
    said = [dice.pick(own["said"])] if kind == "response" else []
    scenario = " ".join(fill(text, values, dice) for text in [*own["scene"], *said])
    chosen, right = _answers(own[kind], kind, values, dice)
    wrongs = [own[kind]["wrong"][place][1] for place in chosen]
    parts = {
        "fact": fill(own["fact"], values, dice),
        "need": fill(own["need"], values, dice),
        "wrongs": f"{wrongs[0].rstrip('.')}; {lowered(wrongs[1]).rstrip('.')}; {lowered(wrongs[2])}",
        "first": wrongs[0],
        "rest": f"{wrongs[1].rstrip('.')}; {lowered(wrongs[2])}",
        "why": own[kind]["why"],
    }
    rationale = fill(APPLIED[shape], values | parts, dice)
    return {
        "scenario": scenario,
        "subject": values["s"],
        "rationale": _grounded(" ".join(rationale.split()), scenario, dice),
        "answer": right,
        "wrong": dice.shuffled(chosen.values()),
    }


def _answers(own: Any, kind: str, values: dict[str, str], dice: Dice) -> tuple[dict[int, str], str]:
    """Three of the wrong answers by their place, and the right one; which is the longest is left to chance."""
    tails = [fill(tail, values, dice) for tail in dice.shuffled(AFTER_DEED if kind == "action" else AFTER_WORD)]
    right = _plain(own["right"], values, dice) + (tails.pop() if dice.chance(TAILED) else "")
    texts = {place: _plain(text, values, dice) for place, (text, _) in enumerate(own["wrong"])}
    aim = dice.pick(LONGER)
    ranked = sorted(dice.shuffled(texts), key=lambda place: len(texts[place]) <= len(right))  # the longer ones first
    chosen = ranked[:3] if aim else ranked[-3:]
    for number, place in enumerate(chosen):
        longest = max(len(right), *(len(texts[one]) for one in chosen))
        for _ in range(TAILS):
            text = texts[place]
            short = len(text) <= len(right) if number < aim else len(text) * LIKE < longest
            if short and tails:
                texts[place] = text + tails.pop()
    return {place: texts[place] for place in chosen}, right


def _plain(text: str, values: dict[str, str], dice: Dice) -> str:
    """What is said stands in quotes in the bank and without them among the options."""
    return fill(text, values, dice).removeprefix("'").removesuffix("'")
