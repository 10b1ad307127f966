"""Checks of one multiple-choice item; each returns (reason word, detail) or None, as those of `factory.checks` do.

They look for what gives an answer away and for reasoning that is none. The re-analysis of EC2ER found both: options of
which the longest was right, and "reasoning" that was one sentence around label and cause.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from factory.checks import Finding, dice, prose, strange
from factory.lexicon import ALL, named
from factory.stages.actors import anchored
from factory.taxonomy import EMOTIONS, resolve
from factory.text import normal, one_line, sentences, words

SHORTEST, LONGEST = 30, 500  # words of a scenario
REASONED = 25  # least words of a rationale
UNLIKE = 4.0  # times that the longest option may be longer than the shortest
ALIKE = 0.75  # Dice overlap of two scenarios that are one
OWN = 8  # least content words of a rationale that stand in no option
SHARED, SHARE = 4, 0.15  # content words that rationale and scenario share: at least so many, and that share of its own

_PARTS = re.compile(r"\s*(?:&|/|\+|,)\s*|\s+(?:and|but|mixed with|as well as)\s+", re.I)
_NUMBERED = re.compile(r"^\s*(?:\(?[A-Fa-f1-6]\)|[A-F1-6][.:])\s+")
_QUOTED = re.compile(r"""["'\u201c\u2018]([^"\u201c\u201d]+)["'\u201d\u2019]\s*\.?""")
# Emotion words that have no label of their own; as wrong options they are as good as any.
_OTHERS = frozenset(
    """apathy apathetic contempt contemptuous smugness smug spite spiteful malice malicious bitterness bitter greed
    greedy lust longing yearning homesickness homesick detachment detached numbness numb emptiness empty resignation
    resigned acceptance patience patient impatience impatient restlessness restless calm calmness serenity serene peace
    peaceful tranquillity tranquility composure composed ease comfort comfortable discomfort uncomfortable unease uneasy
    awkwardness awkward shyness shy modesty modest humility humble humiliation humiliated inferiority inferior
    superiority superior arrogance arrogant vanity vain conceit conceited self-pity self-doubt self-loathing insecurity
    insecure confidence confident doubt doubtful suspicion suspicious distrust distrustful mistrust scepticism sceptical
    skepticism skeptical cynicism cynical wariness wary defensiveness defensive stubbornness stubborn rebelliousness
    eagerness eager enthusiasm enthusiastic anticipation hope hopeful hopefulness hopelessness hopeless despair
    desperation desperate frustration frustrated exasperation exasperated indifference indifferent disinterest oblivious
    obliviousness disbelief wonder fascination fascinated interest interested intrigue intrigued puzzlement puzzled
    bewilderment bewildered perplexity perplexed uncertainty uncertain ambivalence ambivalent guilt guilty shame ashamed
    pity sympathy sympathetic compassion compassionate empathy tenderness tender affection affectionate warmth fondness
    fond devotion devoted loyalty loyal security secure safety safe belonging exhaustion exhausted weariness weary
    fatigue tired overwhelmed pressure pressured stress stressed tension tense panic betrayal betrayed rejection rejected
    abandonment abandoned hurt offence offense offended helplessness helpless powerlessness powerless triumph triumphant
    vindication vindicated satisfaction satisfied fulfilment fulfillment fulfilled contentment content glee gleeful
    playfulness playful mischief melancholy melancholic wistfulness wistful regret regretful loneliness lonely
    sentimentality sentimental pessimism pessimistic optimistic unbothered unconcerned carefree untroubled relaxed
    ecstasy ecstatic zeal ardour passion passionate vindictiveness vindictive rancour rancor derision mockery reluctance
    reluctant hesitation hesitant resentfulness foreboding consternation disenchantment estrangement alienation isolation
    isolated chagrin sheepishness sheepish penitence penitent possessiveness possessive competitiveness complacency
    complacent incredulity incredulous agony anguish anguished torment tormented camaraderie solidarity duty obligation""".split()
)
_NO_EMOTIONS = frozenset("mixed unknown actor plot thread thinking power powerful responsibility responsible".split())
_COMMON = frozenset(
    """about above after again against almost alone along already also although always among another anybody anyone
    anything around because been before behind being below beside between both cannot could does doing done down during
    each either else emotion emotional emotions enough even ever every everybody everyone everything feel feeling
    feelings feels felt fits from further gets give given gives goes going hardly have having hence here hers herself
    himself however instead into itself just keep keeps know known knows least less like likely made make makes many
    might mind more most much must myself neither never nobody none nothing often once only option options other others
    ought ours over person quite rather really right same says seems shall should since some somebody someone something
    still such take takes than that their theirs them then there therefore these they thing things think this those
    though thus together told tell tells toward towards under until upon very want wanted wants well were what when
    where whether which while whom whose will with within without would wrong your answer choice choices scenario""".split()
)
_TAIL = re.compile(r"(?:'s|s'|ingly|edly|ing|ed|es|ly|s|e)$")
_LETTERS = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Aa]nswer|[Ee]motion|[Cc]ause)s?\s+(?:\(?[A-F]\b|[1-6]\b|no\.|number\b)"
    r"|\(\s*[A-Fa-f]\s*\)|\[\s*[A-F]\s*\]|(?<![\w.(])[A-F]\)|\b[B-F](?=\s+(?:is|and [B-F]|or [B-F])\b)"
    r"|\b[Tt]he\s+(?:first|second|third|fourth|fifth|sixth|last)\s+(?:option|choice)\b"
)
_NEGATED = re.compile(
    r"\b(?:not|no|never|nor|neither|none|nothing|nobody|without|rather|instead|cannot|hardly|unlike|less|lacks?|than"
    r"|would|could|might|fails?|wrong)\b|n't\b",
    re.I,
)


def option(text: str) -> str:
    """An option in the one spelling that all have, so that none stands out: no number, no quotes, no full stop at the end,
    a capital first."""
    text = _NUMBERED.sub("", one_line(text))
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[1]
    text = text.rstrip(" .;")
    return text[:1].upper() + text[1:]


def emotion(text: str) -> str:
    """The same for emotions: 'remorse and relief' is 'Remorse & Relief'."""
    return " & ".join(part.capitalize() for part in parts(_NUMBERED.sub("", one_line(text)).rstrip(" .;")))


def parts(choice: str) -> tuple[str, ...]:
    """The emotions of a compound."""
    return tuple(filter(None, (part.strip() for part in _PARTS.split(choice))))


def labels(choice: str) -> tuple[str, ...]:
    """What an emotion choice stands for in the taxonomy; empty where a part of it stands for nothing."""
    found = tuple(resolve(part).label for part in parts(choice))
    return tuple(label for label in found if label) if all(found) else ()


def scene(scenario: str, subject: str) -> Finding | None:
    """What makes a text no scenario with this subject in it."""
    count = len(scenario.split())
    if count < SHORTEST:
        return "too_short", f"the scenario has {count} words; tell it in {SHORTEST} to {LONGEST} words"
    if count > LONGEST:
        return "too_long", f"the scenario has {count} words; tell it in {SHORTEST} to {LONGEST} words"
    if not words(subject) or not anchored(subject, scenario):
        return "subject_missing", f"'{subject[:60]}' does not stand there; the subject must stand in the scenario"
    return prose(scenario)


def emotions(right: str, wrong: Sequence[str]) -> Finding | None:
    """Whether these emotion choices can stand beside each other: known, of one kind, and each its own."""
    if not labels(right):
        return "wrong_emotion", f"'{right}' is none of the 28 emotions, and no two of them joined by '&'"
    for choice in (right, *wrong):
        if not 1 <= len(parts(choice)) <= 2 or not all(map(_is_emotion, parts(choice))):
            return "choice_kind", f"'{choice[:60]}' is no emotion word, and no two of them joined by '&'"
    if found := equal([right, *wrong]):
        return found
    meant = frozenset(labels(right))
    if twin := next((choice for choice in wrong if frozenset(labels(choice)) == meant), None):
        return "equal_choices", f"'{twin}' means the same as '{right}'; take an emotion that is wrong"
    compound = len(parts(right)) > 1
    if all((len(parts(choice)) > 1) != compound for choice in wrong):
        kind = "compound" if compound else "single emotion"
        return "choice_kind", f"'{right}' is the only {kind} among the choices; give one of its kind beside it"
    return None


def _is_emotion(part: str) -> bool:
    if len(part.split()) > 3:
        return False
    found = resolve(part, loose=True)
    if found.label or (found.how == "dropped" and part.casefold() not in _NO_EMOTIONS):
        return True
    return any(word in ALL or word in _OTHERS for word in words(part))


def texts(choices: Sequence[str]) -> Finding | None:
    """Whether these causes, or answers, can stand beside each other: none empty, each its own, of like length."""
    if not all(words(choice) for choice in choices):
        return "choice_kind", "a choice is empty; write each as a phrase of its own"
    if found := equal(choices):
        return found
    ranked = sorted(choices, key=len)
    if len(ranked[-1]) > UNLIKE * len(ranked[0]):
        return (
            "choice_kind",
            f"'{ranked[0][:60]}' and '{ranked[-1][:60]}' are of unlike length; make all choices about as long",
        )
    return None


def equal(choices: Sequence[str]) -> Finding | None:
    """Two choices that are one, also with the parts of a compound turned round."""
    seen: dict[frozenset[str], str] = {}
    for choice in choices:
        form = frozenset([normal(choice)]) if len(parts(choice)) != 2 else frozenset(map(normal, parts(choice)))
        if form in seen:
            return "equal_choices", f"'{choice[:80]}' and '{seen[form][:80]}' are one choice; make each choice its own"
        seen[form] = choice
    return None


def names(scenario: str, choices: Iterable[str], people: Collection[str] = ()) -> Finding | None:
    """Whether the scenario names an emotion that is to be chosen among, inflections included; people may be called Joy."""
    own = {word for name in people for word in words(name)}
    told = " ".join(word for word in words(scenario) if word not in own)
    every = [part for choice in choices for part in parts(choice)]
    meant = {label for part in every if (label := resolve(part, loose=True).label) in EMOTIONS}
    said = {words(part)[-1] for part in every if words(part)}
    found = (*named(told, sorted(label for label in meant if label)), *(word for word in told.split() if word in said))
    if not found:
        return None
    listed = ", ".join(dict.fromkeys(found))
    return "names_emotion", f"'{listed}' in the scenario names a feeling among the choices; show it without naming it"


def reasoning(text: str, scenario: str, subject: str, choices: Collection[str]) -> Finding | None:
    """What makes a text no reasoning about this scenario: too little, letters, a template, nothing out of the scene."""
    if found := strange(text):
        return found
    if match := _LETTERS.search(text):
        return (
            "cites_letters",
            f"'{match.group().strip()}' in the rationale: say what an option says, never its letter",
        )
    count = len(text.split())
    if count < REASONED or len(sentences(text)) < 2:
        return "too_short", f"the rationale has {count} words; reason in at least {REASONED} words and two sentences"
    own = content(text) - content(subject)
    if len(own - content(" ".join(choices))) < OWN:
        return (
            "template_rationale",
            "the rationale only puts the options into a sentence; say how the scene leads there",
        )
    shared = own & content(scenario)
    if len(shared) < max(SHARED, SHARE * len(own)):
        return (
            "rationale_ungrounded",
            "the rationale hardly speaks of the scene; name the facts that it rests on",
        )
    return None


def reaches_emotion(text: str, right: str, wrong: Sequence[str]) -> Finding | None:
    """Whether the rationale comes to this emotion: it names all its parts, and does not end with another one."""
    for part in parts(right):
        if not _says(text, part):
            return "rationale_contradicts", f"the rationale does not come to '{right}'; {part} is not in it"
    end = sentences(text)[-1]
    if any(_says(end, part) for part in parts(right)) or _NEGATED.search(end):
        return None
    other = next((part for choice in wrong for part in parts(choice) if _says(end, part)), None)
    if other is None:
        return None
    return "rationale_contradicts", f"the rationale ends with '{other}', but the answer is '{right}'"


def reaches_answer(text: str, right: str, wrong: Sequence[str], subject: str) -> Finding | None:
    """Whether the rationale comes to this answer: it speaks of it, and does not end with another one."""
    named_ = content(subject)
    mine, said = content(right) - named_, content(text)
    if mine and not mine & said:
        return "rationale_contradicts", f"the rationale does not come to '{right[:80]}'; none of its words is in it"
    end = sentences(text)[-1]
    if _NEGATED.search(end):
        return None
    held = content(end)
    for choice in wrong:
        theirs = content(choice) - named_ - mine
        if theirs and len(theirs & held) >= 0.6 * len(theirs) and not (mine - content(choice)) & held:
            return "rationale_contradicts", f"the rationale ends with '{choice[:80]}', but the answer is '{right[:80]}'"
    return None


def _says(text: str, part: str) -> bool:
    """Whether a text has an emotion in any form: its own word, or one that the lexicon lists for its label."""
    label = resolve(part, loose=True).label
    stems = {_stem(word) for word in words(text)}
    return all(_stem(word) in stems for word in words(part)) or bool(label and named(text, [label]))


def alike(scenario: str, others: Iterable[str]) -> Finding | None:
    """A scene that another item of the batch has already told."""
    if any(dice(scenario, other) >= ALIKE for other in others):
        return (
            "duplicate",
            "the scenario tells what another one told; take another moment, or another person at its centre",
        )
    return None


def opening(rationale: str, subject: str) -> str:
    """The first four words, the subject left out: what makes two rationales of one mould."""
    own = set(words(subject))
    return " ".join([word for word in words(rationale) if word not in own][:4])


@lru_cache(maxsize=4096)
def content(text: str) -> frozenset[str]:
    """The words that carry a text, cut to their stems: 'promised' and 'promise' are one."""
    return frozenset(_stem(word) for word in words(text) if len(word) > 3 and word not in _COMMON)


def _stem(word: str) -> str:
    cut = _TAIL.sub("", word.removesuffix("'s"))
    return (cut if len(cut) > 2 else word)[:7]
