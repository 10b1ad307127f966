"""Checks of one multiple-choice item; each returns (reason word, detail) or None, as those of `factory.checks` do.

They look for what gives an answer away and for reasoning that is none. The re-analysis of EC2ER found both: options of
which the longest was right, and "reasoning" that was one sentence around label and cause.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from factory.checks import Finding, dice, markup, prose, strange
from factory.lexicon import ALL, FIRST_PERSON_STATES, named
from factory.stages.actors import anchored
from factory.taxonomy import EMOTIONS, resolve
from factory.text import composed, normal, one_line, sentences, words

SHORTEST, LONGEST = 30, 500  # words of a scenario
REASONED, ENDLESS = 25, 400  # words of a rationale
OPTION = 40  # most words of an option
UNLIKE = 4.0  # times that the longest option may be longer than the shortest
ALIKE = 0.75  # Dice overlap of two scenarios that are one
OWN = 8  # least content words of a rationale that stand in no option
SHARED, SHARE = 4, 0.15  # content words that rationale and scenario share: at least so many, and that share of its own
RUN, COPIED = 4, 0.5  # words of a run, and the share of a rationale's runs that its scenario may have

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
# A letter or a number that stands for an option: "answer: B", "hence D.", "option two", "1) fails", "the second one fails".
_JUDGED = (
    r"(?:fails?|fits?|misses|ignores?|contradicts?|is (?:not |the )?(?:wrong|right|incorrect|correct|false|true|out|off|best"
    r"|better|worse|worst|answer|one)|(?:cannot|can't|does not|doesn't|will not|won't) (?:be (?:right|it)|fit|do|hold|follow"
    r"|work|explain))\b"
)
_STOPS = r"(?=\s*(?:[;:,!?)]|\.(?!\w)|$))"
_NOUN = r"\b(?i:option|choice|alternative|answer|letter|emotion|cause)s?"
_NTH = r"\b(?i:the\s+(?:first|second|third|fourth|fifth|sixth|last))\s+"
_LETTERS = re.compile(
    rf"{_NOUN}\s+(?:\(?[A-F]\b(?!['\u2019])|[1-6]\b|no\.|number\b)|{_NOUN}(?::| is:?)\s+\(?[A-F]{_STOPS}"
    rf"|\b(?i:option|choice|letter)s?\s+(?:[b-f]\b(?!['\u2019])|a(?={_STOPS}|\s+{_JUDGED}))"
    rf"|\b(?i:option|choice)s?\s+(?:two|three|four|five|six)\b|\b(?i:options)\s+one\b"
    rf"|\b(?i:option|choice|answer)\s+one(?={_STOPS}|\s+{_JUDGED})|{_NTH}(?:option|choice|answer)\b|{_NTH}one(?=\s+{_JUDGED})"
    rf"|\(\s*[A-Fa-f]\s*\)|\[\s*[A-F]\s*\]|(?<![\w.(])[A-F]\)|(?<![\w.(])[a-f1-6]\)(?=\s+{_JUDGED})"
    rf"|\b(?i:hence|thus|therefore|so|it is|it's|one is|remains|leaves|choose|pick|select|not)[:,]?\s+[A-F]{_STOPS}"
)
_BARE = re.compile(
    r"(?<![\w.'\u2019-])[A-F](?:,? (?:and|or) [A-F]\b|(?=\s+(?:is|are|was|were|fails?|fits?|misses|ignores?|contradicts?|cannot"
    r"|can't|does|doesn't|would|remains)\b(?!-)))"
)
# A letter behind one of these is a name.
_LETTERED = frozenset(
    """plan vitamin vitamins type types grade grades class team group part section block building gate hall room row seat
    platform track flat house ward unit level exhibit point note string key mr mrs miss ms dr madame hepatitis""".split()
)
_NEGATED = re.compile(
    r"\b(?:not|no|never|nor|neither|none|nothing|nobody|without|rather|instead|cannot|hardly|unlike|less|lacks?|than"
    r"|would|could|might|if(?! any)|unless|fails?|wrong)\b|n't\b|^\s*(?:had|were)\b",
    re.I,
)
_CLAUSE = re.compile(r"[;:,\u2014\u2013]|\s-+\s|\s+(?=(?:but|rather than|instead of|without|and not)\b)", re.I)
_TURNS = frozenset("but only just simply yet so".split())  # "not this but that", "only that"
# What no option has: a mark that points at it, brackets of a page, a word on the list itself.
_POINTED = re.compile(
    r"[*_#|<>{}\[\]^~`=]|\b(?:none|all|both|neither|any|either) of (?:the )?(?:above|below)\b"
    r"|\((?:the )?(?:correct|right|wrong|incorrect|false|true|best|answer)\b[^)]*\)"
    r"|^(?:the )?(?:correct|right|wrong|incorrect|best) (?:answer|option|choice)\b\s*[:\u2013\u2014-]"
    r"|[:\u2013\u2014-]\s*(?:correct|right|wrong|incorrect)(?: (?:answer|option|choice))?$"
    r"|^(?:none|all|both|neither|any|either) of (?:these|those|them|the (?:others?|options|choices|answers|causes))$",
    re.I,
)
_FEELING = re.compile(r"[^\W\d_]+(?:[ '\u2019-][^\W\d_]+)*")
# Letters that look like Latin ones and are not; folded before they are looked up.
_LOOKS = str.maketrans("авекмнорстухіјѕһԛԝԁαβεηικνορτυχγω\u0131øł", "abekmhopctyxijshqwdabehikvoptuxywiol")
_NOBODY = frozenset(
    """a an the and or of he she it they him her them his hers its their theirs i me my mine we us our ours you your yours
    who whom whose this that these those one ones other others another someone somebody anyone anybody everyone everybody
    nobody self himself herself itself themselves subject""".split()
)
# Words of the lexicon that a scene may need for something else: "cross the yard", "a glad eye", "tense of a verb".
_FELT = FIRST_PERSON_STATES - frozenset(
    """alarmed amused bored content contented cross curious dreading eager fascinated fuming glad gutted impatient mourning
    pleased revolted seething shocked smitten startled stressed stunned tense thankful touched triumphant upset""".split()
)
_COURTEOUS = re.compile(r"\b(?:happy|afraid)\s+(?:to|so|not|that|i|we)\b|\bi(?:'m|\s+am)\s+afraid\b", re.I)


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
    if _NOBODY.issuperset(words(subject)):
        return "subject_missing", f"'{subject[:60]}' names nobody; give the name, or the words that say who it is"
    if not anchored(subject, scenario):
        return "subject_missing", f"'{subject[:60]}' does not stand there; the subject must stand in the scenario"
    return prose(scenario) or markup(scenario)


def emotions(right: str, wrong: Sequence[str]) -> Finding | None:
    """Whether these emotion choices can stand beside each other: known, of one kind, and each its own."""
    if not labels(right):
        return "wrong_emotion", f"'{right}' is none of the 28 emotions, and no two of them joined by '&'"
    for choice in (right, *wrong):
        if not 1 <= len(parts(choice)) <= 2 or not all(map(_is_emotion, parts(choice))):
            return "choice_kind", f"'{choice[:60]}' is no emotion word, and no two of them joined by '&'"
        if len(set(map(_meant, parts(choice)))) < len(parts(choice)):
            return "choice_kind", f"'{choice[:60]}' is one emotion twice; join two that differ, or give one"
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


def _meant(part: str) -> str:
    return resolve(part).label or normal(part)


def _is_emotion(part: str) -> bool:
    if len(part.split()) > 3 or not _FEELING.fullmatch(part):
        return False
    found = resolve(part, loose=True)
    if found.label or (found.how == "dropped" and part.casefold() not in _NO_EMOTIONS):
        return True
    return any(word in ALL or word in _OTHERS for word in words(part))


def texts(choices: Sequence[str]) -> Finding | None:
    """Whether these causes, or answers, can stand beside each other: none empty, each its own, of like length."""
    if not all(words(choice) for choice in choices):
        return "choice_kind", "a choice is empty; write each as a phrase of its own"
    for choice in choices:
        if found := _marked(choice):
            return found
        if (count := len(choice.split())) > OPTION:
            return "too_long", f"'{choice[:60]} ...' has {count} words; give a choice in at most {OPTION} words"
    if found := equal(choices):
        return found
    ranked = sorted(choices, key=len)
    if len(ranked[-1]) > UNLIKE * len(ranked[0]):
        return (
            "choice_kind",
            f"'{ranked[0][:60]}' and '{ranked[-1][:60]}' are of unlike length; make all choices about as long",
        )
    return None


def _marked(choice: str) -> Finding | None:
    """An option that points at itself or at the list, or that is a piece of the prompt."""
    found = strange(choice)
    # A refusal may be what somebody in the scene had best answer.
    if found and found[0] != "refusal":
        return found
    match = _POINTED.search(choice)
    odd = match.group() if match else next((sign for sign in choice if unicodedata.category(sign) in ("So", "Sm")), "")
    return ("choice_kind", f"'{odd}' sets a choice apart; write each as a plain phrase of its own") if odd else None


def equal(choices: Sequence[str]) -> Finding | None:
    """Two choices that are one, also with the parts of a compound turned round."""
    seen: dict[frozenset[str], str] = {}
    for choice in choices:
        form = frozenset(map(_form, parts(choice))) if len(parts(choice)) == 2 else frozenset([_form(choice)])
        if form in seen:
            return "equal_choices", f"'{choice[:80]}' and '{seen[form][:80]}' are one choice; make each choice its own"
        seen[form] = choice
    return None


@lru_cache(maxsize=4096)
def _form(text: str) -> str:
    """The form in which two options are equal: what looks alike is alike, accents and letters of other scripts included."""
    if not text.isascii():
        bare = unicodedata.normalize("NFKD", text).casefold()
        text = "".join(sign for sign in bare if not unicodedata.combining(sign)).translate(_LOOKS)
    return normal(text)


def names(scenario: str, choices: Iterable[str], people: Collection[str] = ()) -> Finding | None:
    """Whether the scenario names an emotion that is to be chosen among, inflections included, or says outright what somebody
    feels; people may be called Joy."""
    own = {word for name in people for word in words(name)}
    told = " ".join(word for word in words(scenario) if word not in own)
    every = [part for choice in choices for part in parts(choice)]
    meant = {label for part in every if (label := resolve(part, loose=True).label) in EMOTIONS}
    said = {words(part)[-1] for part in every if words(part)}
    found = (*named(told, sorted(label for label in meant if label)), *(word for word in told.split() if word in said))
    if not found:
        felt = next((word for word in words(_COURTEOUS.sub(" ", scenario)) if word in _FELT and word not in own), None)
        return (
            ("names_emotion", f"'{felt}' in the scenario names a feeling; show it without naming it") if felt else None
        )
    listed = ", ".join(dict.fromkeys(found))
    return "names_emotion", f"'{listed}' in the scenario names a feeling among the choices; show it without naming it"


def reasoning(text: str, scenario: str, subject: str, choices: Collection[str]) -> Finding | None:
    """What makes a text no reasoning about this scenario: too little, letters, a template, nothing out of the scene."""
    if found := strange(text) or markup(text):
        return found
    if cited := _cited(text):
        return "cites_letters", f"'{cited}' in the rationale: say what an option says, never its letter"
    count = len(text.split())
    if count > ENDLESS:
        return "too_long", f"the rationale has {count} words; reason in {REASONED} to {ENDLESS} words"
    if count < REASONED or len(sentences(text)) < 2:
        return "too_short", f"the rationale has {count} words; reason in at least {REASONED} words and two sentences"
    if _copied(text, scenario) > COPIED:
        return "template_rationale", "the rationale tells the scene again in its own words; say what follows from them"
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


def _cited(text: str) -> str:
    """A letter or a number that stands for an option; "Vitamin C is" has none."""
    if match := _LETTERS.search(text):
        return match.group().strip()
    bare = (
        m for m in _BARE.finditer(text) if _LETTERED.isdisjoint(words(text[max(0, m.start() - 20) : m.start()])[-1:])
    )
    return next((match.group() for match in bare), "")


def _copied(text: str, scenario: str) -> float:
    """Share of a text's runs of RUN words that stand in its scenario."""
    own, told = _runs(text), set(_runs(scenario))
    return sum(run in told for run in own) / len(own) if own else 0.0


def _runs(text: str) -> list[tuple[str, ...]]:
    said = words(text)
    return [tuple(said[start : start + RUN]) for start in range(len(said) - RUN + 1)]


def reaches_emotion(text: str, right: str, wrong: Sequence[str]) -> Finding | None:
    """Whether the rationale comes to this emotion: it names all its parts, and does not end with another one."""
    for part in parts(right):
        if not _says(text, part):
            return "rationale_contradicts", f"the rationale does not come to '{right}'; {part} is not in it"
    held = ", ".join(_held(sentences(text)[-1]))
    if any(_says(held, part) for part in parts(right)):
        return None
    other = next((part for choice in wrong for part in parts(choice) if _says(held, part)), None)
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
    if _quoted(end, right):
        return None
    spoken = content(", ".join(_held(end, right)))
    for choice in wrong:
        quoted = _quoted(end, choice)
        theirs, held = content(choice) - named_ - mine, content(", ".join(_held(end, choice)))
        leans = theirs and len(theirs & held) >= 0.6 * len(theirs) and not (mine - content(choice)) & spoken
        if quoted or (quoted is None and leans):
            return "rationale_contradicts", f"the rationale ends with '{choice[:80]}', but the answer is '{right[:80]}'"
    return None


def _held(sentence: str, own: str = "") -> Iterator[str]:
    """The clauses of a sentence that nothing in them denies; the denials that an option itself has (`own`) do not count.

    What goes on with a list is denied with its beginning: "no anger, envy or pride".
    """
    inner, denied = set(words(own)), False
    for clause in _CLAUSE.split(sentence):
        said = words(clause)
        if said in ([], ["no"], ["yes"]):  # "No, it is ..."
            denied = denied and not said
            continue
        goes_on = len(said) <= 2 or not {"or", "nor"}.isdisjoint(said[:3])
        goes_on = goes_on and _TURNS.isdisjoint(said[:1])
        only = "only" in said or "alone" in said  # "only this would explain it"
        marks = [mark.lower() for mark in _NEGATED.findall(clause)]
        marks = [mark for mark in marks if mark not in inner and not (only and mark in ("would", "could", "might"))]
        denied = bool(marks) or (denied and goes_on)
        if not denied:
            yield clause


def _quoted(sentence: str, option_: str) -> bool | None:
    """Whether a sentence that has an option word for word holds it; None where it does not have it."""
    word_for_word = r"[\W_]+".join(map(re.escape, normal(option_).split()))
    plain = composed(sentence, "NFKC").replace("\u2019", "'")
    bare, count = re.subn(rf"(?<!\w){word_for_word}(?!\w)", " QUOTED ", plain, flags=re.I)
    return any("QUOTED" in clause for clause in _held(bare)) if count else None


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
