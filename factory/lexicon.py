"""Words that name a feeling, and sentences that announce one: for checks of text that should show it instead.

A word is left out when it mostly means something else ("mad", "blue", "kind", "like", "want", "care", "wonder",
"interest", "object"): a check that cries wolf throws good rows away.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

_WORDS: dict[str, str] = {
    "admiration": """admiration admire admires admired admiring admiringly admirer admirers admirable admirably awe awed
        awestruck awe-struck revere reveres revered revering reverence reverent reverently reverential venerate
        venerates venerated veneration esteem esteemed idolise idolises idolised idolize idolizes idolized respect
        respects respected respectful respectfully impressed""",
    "amusement": """amusement amusements amuse amuses amused amusing amusingly amusedly mirth mirthful mirthfully
        hilarity hilarious hilariously funny funnier funniest laughter humour humor humorous humorously comical
        comically""",
    "anger": """anger angers angered angering angry angrily angrier angriest fury furious furiously rage rages raged
        raging enrage enrages enraged enraging infuriate infuriates infuriated infuriating outrage outraged outrages
        wrath wrathful wrathfully indignation indignant indignantly resent resents resented resenting resentment
        resentments resentful resentfully irate livid hatred hostility hostile fuming seething""",
    "annoyance": """annoyance annoyances annoy annoys annoyed annoying annoyingly irritation irritations irritate
        irritates irritated irritating irritatingly irritable irritably irked irksome exasperate exasperates exasperated
        exasperating exasperation frustration frustrations frustrate frustrates frustrated frustrating frustratingly
        impatience impatient impatiently aggravation aggravated aggravating vexed vexation peeved""",
    "approval": """approval approvals approve approves approved approving approvingly endorse endorses endorsed
        endorsing endorsement endorsements commend commends commended commending commendation commendable laud lauds
        lauded""",
    "caring": """caring caringly cared compassion compassionate compassionately sympathy sympathies sympathetic
        sympathetically sympathise sympathises sympathised sympathising sympathize sympathizes sympathized
        sympathizing empathy empathetic empathetically empathic empathise empathises empathised empathize empathizes
        empathized tenderness tenderly kindness kind-hearted protectiveness solicitous solicitude pity pitied pitying""",
    "confusion": """confusion confuse confuses confused confusing confusingly confusedly bewilder bewilders bewildered
        bewildering bewilderment perplex perplexes perplexed perplexing perplexity puzzled puzzling puzzlement baffle
        baffles baffled baffling bafflement bemused bemusement disorientation disoriented disorientated disorienting
        flummoxed nonplussed uncertainty unsure mystified""",
    "curiosity": """curiosity curiosities curious curiously curiousness intrigue intrigues intrigued intriguing
        intriguingly inquisitive inquisitively inquisitiveness fascinated fascination fascinates nosy nosily
        nosiness""",
    "desire": """desire desires desired desiring desirous longing longings longingly longed yearn yearns yearned
        yearning yearningly yearnings crave craves craved craving cravings covet covets coveted coveting covetous lust
        lusts lusted lustful hanker hankers hankered hankering""",
    "disappointment": """disappointment disappointments disappoint disappoints disappointed disappointing
        disappointingly disappointedly letdown dissatisfaction dissatisfied disillusion disillusioned disillusionment
        discouraged discouragement discouraging crestfallen disheartened disheartening dismay dismayed""",
    "disapproval": """disapproval disapprove disapproves disapproved disapproving disapprovingly condemn condemns
        condemned condemning condemnation condemnatory reproach reproaches reproached reproaching reproachful
        reproachfully deplore deplores deplored deploring denounce denounces denounced denouncing censure censured
        disagreement censorious""",
    "disgust": """disgust disgusts disgusted disgusting disgustingly disgustedly revulsion revolted revolting repulse
        repulses repulsed repulsive repulsion repugnance repugnant repelled loathe loathes loathed loathing loathsome
        abhor abhors abhorred abhorrence abhorrent contempt contemptuous contemptuously disdain disdainful
        disdainfully sickened sickening nauseated""",
    "embarrassment": """embarrassment embarrassments embarrass embarrasses embarrassed embarrassing embarrassingly
        embarrassedly shame shamed shames shameful shamefully shamefaced ashamed humiliate humiliates humiliated
        humiliating humiliation mortified mortify mortifying mortification awkward awkwardly awkwardness
        self-conscious self-consciously self-consciousness sheepish sheepishly abashed""",
    "excitement": """excitement excite excites excited exciting excitedly excitingly excitable enthusiasm enthusiastic
        enthusiastically eagerness eager eagerly thrill thrills thrilled thrilling exhilarate exhilarated exhilarating
        exhilaration""",
    "fear": """fear fears feared fearing fearful fearfully fearfulness afraid scared scare scares scary scaring
        frighten frightens frightened frightening frighteningly fright terror terrors terrified terrify terrifies
        terrifying horror horrified horrify horrifies horrifying dread dreads dreaded dreading dreadful panic panics
        panicked panicking panicky petrified alarmed""",
    "gratitude": """gratitude grateful gratefully gratefulness thankful thankfully thankfulness thank thanks thanked
        thanking indebted indebtedness appreciative appreciatively beholden""",
    "grief": """grief griefs grieve grieves grieved grieving grievingly grief-stricken mourn mourns mourned mourning
        mourner mourners mournful mournfully bereaved bereavement bereft heartbroken heartbreak inconsolable
        inconsolably""",
    "joy": """joy joys joyful joyfully joyfulness joyous joyously joyousness overjoyed happy happily happier happiest
        happiness delight delights delighted delightedly delighting delightful elated elation bliss blissful blissfully
        cheerful cheerfully cheerfulness contented contentedly contentment euphoric euphoria jubilant jubilantly
        jubilation ecstatic ecstatically glad gladly gladness pleased pleasure enjoy enjoys enjoyed enjoying
        enjoyment rejoice rejoices rejoiced rejoicing gleeful gleefully glee""",
    "love": """love loves loved loving lovingly beloved lovesick adore adores adored adoring adoringly adoration
        affection affections affectionate affectionately fondness fond fondly devotion devoted devotedly infatuated
        infatuation besotted smitten enamoured enamored cherish cherishes cherished cherishing""",
    "nervousness": """nervousness nervous nervously nervy anxiety anxieties anxious anxiously anxiousness worry worries
        worried worriedly worrying apprehension apprehensions apprehensive apprehensively unease uneasy uneasily
        uneasiness jittery jitters edgy edgily tense tensely fretful fretfully fretting trepidation""",
    "optimism": """optimism optimist optimists optimistic optimistically hope hopes hoped hoping hopeful hopefully
        hopefulness upbeat positivity sanguine""",
    "pride": """pride prides prided prideful pridefully proud proudly prouder proudest smug smugly smugness
        self-satisfied self-satisfaction triumphant triumphantly vainglory""",
    "realization": """realization realizations realize realizes realized realizing realisation realisations realise
        realises realised realising epiphany epiphanies awareness""",
    "relief": """relief relieved relievedly relieve relieves relieving reassure reassures reassured reassuring
        reassuringly reassurance reassurances unburdened""",
    "remorse": """remorse remorseful remorsefully remorsefulness regret regrets regretted regretting regretful
        regretfully regrettable guilt guilty guiltily guiltier guilt-ridden contrite contritely contrition repent
        repents repented repenting repentance repentant apologetic apologetically rueful ruefully self-reproach
        penitent sorry""",
    "sadness": """sadness sad sadly sadder saddest sadden saddens saddened saddening sorrow sorrows sorrowful
        sorrowfully melancholy melancholic despair despairs despaired despairing despairingly misery miserable
        miserably unhappy unhappily unhappiness dejected dejectedly dejection gloom gloomy gloomily depressed
        depressing depression despondent despondently despondency lonely loneliness hopeless hopelessly hopelessness
        heartbroken heartbreak heartache forlorn forlornly woe woeful woefully disconsolate downcast""",
    "surprise": """surprise surprises surprised surprising surprisingly surprisedly astonish astonishes astonished
        astonishing astonishingly astonishment astound astounds astounded astounding amazed amazement amaze amazes
        startle startles startled startling stunned shocked flabbergasted dumbfounded disbelief""",
    "neutral": "",
}


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NAMES: dict[str, frozenset[str]] = {label: _set(words) for label, words in _WORDS.items()}
ALL: frozenset[str] = frozenset().union(*NAMES.values())

FIRST_PERSON_STATES: frozenset[str] = _set(
    """afraid alarmed amazed amused angry annoyed anxious appalled apprehensive ashamed astonished astounded awestruck
    baffled bemused besotted bewildered bored confused contented cross crestfallen curious dejected delighted depressed
    despondent devastated disappointed discouraged disgusted disheartened disillusioned dismayed dissatisfied dreading
    eager ecstatic elated embarrassed enraged envious euphoric exasperated excited exhilarated fascinated fearful
    flabbergasted flummoxed forlorn frightened frustrated fuming furious glad gleeful gloomy grateful grieving guilty
    gutted happy heartbroken hopeful hopeless horrified humiliated impatient impressed inconsolable indignant infatuated
    infuriated intrigued irate irked irritated jealous jittery joyful joyous jubilant livid lonely melancholy miserable
    mortified mourning mystified nervous optimistic outraged overjoyed panicking panicky peeved perplexed petrified
    pleased proud puzzled regretful relieved remorseful repulsed resentful revolted sad saddened scared seething
    self-conscious shocked smitten sorrowful startled stressed stunned surprised tense terrified thankful thrilled
    triumphant uneasy unhappy upset worried"""
)

_NOUNS = _set(
    """admiration amazement amusement anger anguish annoyance anticipation anxiety apprehension astonishment awe bafflement
    bewilderment bitterness compassion confusion contempt contentment curiosity delight dejection despair disappointment
    disapproval disbelief disgust dismay dread elation embarrassment enthusiasm euphoria exasperation excitement
    exhilaration fear frustration fury gladness gloom glee gratitude grief guilt happiness hatred heartbreak hopelessness
    horror humiliation impatience indignation irritation jealousy joy jubilation loathing loneliness longing melancholy
    mortification misery nervousness optimism outrage panic perplexity pity pride rage regret relief remorse resentment
    revulsion sadness shame shock sorrow surprise tenderness terror trepidation unease unhappiness worry wrath
    yearning"""
)
# Only forms that a person's effect on us takes less often than a thing's: not "surprised me", "embarrassed me".
_PRESSES = _set(
    """saddens saddened angers angered infuriates infuriated enrages enraged disgusts disgusted terrifies terrified
    horrifies horrified frightens frightened scares worries annoys annoyed irritates irritated frustrates frustrated
    exasperates exasperated amuses amused confuses baffles baffled puzzles puzzled excites excited thrills thrilled
    delights delighted embarrasses depresses"""
)
# A text with none of these announces nothing; asking the set first spares most texts the long pattern.
_TRIGGERS = FIRST_PERSON_STATES | _NOUNS | _PRESSES | _set("conscious mad love happier prouder sadder angrier")

_WORD = re.compile(r"[a-z]+")
_HYPHENED = re.compile(r"[a-z]+(?:-[a-z]+)*")
_COMPOUND = re.compile(r"[a-z]+(?:-[a-z]+)+")
_LOWERED = {code: chr(code).lower() if chr(code).isalpha() else " " for code in range(128)}


def _split(text: str) -> list[str]:
    """The words in lower case; a plain text goes by a table, three times as fast as by the pattern."""
    plain = text.replace("\u2019", "'")
    return plain.translate(_LOWERED).split() if plain.isascii() else _WORD.findall(plain.lower())


@lru_cache(maxsize=4096)
def _wanted(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*(NAMES[label] for label in labels))


def _naming(word: str, wanted: frozenset[str]) -> tuple[str, ...]:
    """A hyphened word counts whole, closed up ("heart-broken") or by its parts ("fear-filled")."""
    if word in wanted or ("-" in word and word.replace("-", "") in wanted):
        return (word,)
    parts = word.split("-")
    chains = ("-".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1))
    return tuple(chain for chain in chains if chain in wanted)


def named(text: str, labels: Iterable[str]) -> tuple[str, ...]:
    """The words of the text, each once and in order, that name any of the labels."""
    wanted = _wanted(tuple(labels))
    # Most texts name nothing, and the set asks that of all words in one call.
    if wanted.isdisjoint(_split(text)):
        words = _COMPOUND.findall(text.lower()) if "-" in text else []
    else:
        words = [word for word in _HYPHENED.findall(text.lower()) if word in wanted or "-" in word]
    return tuple(dict.fromkeys(hit for word in words for hit in _naming(word, wanted)))


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(words, key=lambda word: (-len(word), word))) + ")"


# What follows turns the announcement into a courtesy or into another meaning.
_EXCUSED = (
    r"(?!afraid,?\s+(?:not|so|we|that|it|i|you|he|she|they|there|this|these|those|the|your|my|our|is|to\s+say)\b)"
    r"(?!(?:happy|glad|pleased|delighted)\s+(?:to|with\s+(?:the|it|that|this|either))\b)(?!glad\s+you\s+asked)"
    r"(?!relieved\s+(?:of|by)\b)(?!guilty\s+of\b)(?!cross(?:-|ing|ed|\s+(?:the|over|country))\b)"
)
_DEGREE = (
    r"(?:(?:so|very|really|quite|rather|pretty|too|just|still|both|more|most|much|all|also|now|always|already|even|"
    r"such|how|kind\s+of|sort\s+of|a\s+(?:bit|little|lot|tad)|that|this|as|well|again|suddenly|"
    r"(?!hardly|barely|rarely|scarcely|only\s+)\w+ly),?\s+){0,4}"
)
_BE = (
    r"(?:i|we)(?:'m|\s+am|'re|\s+are|\s+was|\s+were|(?:'ve|\s+have|'d|\s+had)\s+been"
    r"|(?:'ve|\s+have|'d|\s+had)\s+never\s+(?:been|felt)(?=\s+(?:so|this|more)\b))(?:\s+feeling)?"
)
_FEEL = r"(?:i|we)\s+(?:\w+ly\s+|still\s+|just\s+|also\s+|do\s+|can't\s+help\s+but\s+)?(?:feel|felt)"
_GROW = r"(?:i|we)(?:\s+(?:get|got|grew|became|become)|(?:'m|\s+am|\s+was)\s+(?:getting|becoming|growing))"
_PORTION = (
    r"(?:(?!(?:the|her|his|their|your|its|like|that|for|no|not|any|about|if|how|when|what|as|it|you|she|he|they|in|with"
    r"|at|on|without|less|under|through|past|towards?|against|where|is|was|little)\b)\w+,?\s+){0,7}"
)
_WITH = (
    r"(?:filled|full|overcome|overwhelmed|consumed|flooded|seized|gripped|paraly[sz]ed|burning|bursting|shaking|trembling"
    r"|boiling|racked|wracked|torn|crushed|choked|swollen|crying|weeping|sick|frozen|blind(?:ed)?|giddy|dizzy|beside\s+"
    r"myself|alight|shivering|glowing|brimming|buzzing|eaten\s+up|riddled|mad|stricken)\s+(?:up\s+)?(?:with|by|of|in|from)"
)
_RISE = (
    r"(?:\s+\w+ly)?\s+(?:r[oi]ses?|rising|wells?|welled|surge[sd]?|bubble[sd]?|wash(?:es|ed)|sweeps|swept|floods|flooded"
    r"|fill(?:s|ed)|grip(?:s|ped)|t(?:ook|akes)|over(?:came|comes)|consume[sd]|hits?|seize[sd]|boil(?:s|ed)|burn(?:s|ed))"
    r"(?:\s+(?:up|hold|of|in|inside|within|over|through)){0,2}\s+me\b"
)
_CAUSES = r"(?:ma(?:kes|de|king)|le(?:ave|aves|ft|aving)|g[eo]ts?|had|has|keeps|kept)"
_THINGS = (
    r"(?!relief\s+(?:arrive|came|nurse|driver|band)|surprise\s+(?:party|birthday|gift|visit)|panic\s+(?:button|alarm|attack)"
    r"|(?:regret|pity|shock|longing|worry)\b)"
)
_NOT_HERS = r"(?!(?:him|her|them|you|people|someone|everyone|she|he|they)\b)"


@lru_cache(maxsize=1)
def _announcements() -> re.Pattern[str]:
    """Built at the first use, not at import: some milliseconds that most callers never need."""
    state = rf"{_EXCUSED}(?P<state#>{_any(FIRST_PERSON_STATES)})\b(?!-)"
    noun = rf"(?P<noun#>{_any(_NOUNS)})\b(?!-|'s?\b)"
    ends = r"(?=\s*(?:[.,;!?…]|$)|\s+(?:about|at|that|with|of|for|because|and|now|right)\b)"
    opens = r"(?:(?<=^)|(?<=[.!?…]\s))"
    patterns = (
        rf"\b(?:{_BE}|{_FEEL}|{_GROW})\s+{_DEGREE}{state}",
        rf"\b(?:{_BE}|{_FEEL})\s+{_DEGREE}(?!not\b)(?!\w+ing\b)\w+(?:,\s+\w+)?,?\s+(?:and|but|yet)\s+{_DEGREE}{state}{ends}",
        rf"\b(?:why\s+)?(?:am|was)\s+i\s+(?:so|this)\s+{_DEGREE}{state}",
        r"\bi(?:'m|\s+am|\s+was)\s+(?:so\s+|really\s+)?mad\s+(?:at|with)\b",
        r"\bi(?:'m|\s+am|\s+was|'ve\s+been)\s+(?:\w+ly\s+|so\s+|still\s+)?in\s+(?:love|awe|despair|mourning|shock)\b",
        r"\bi\s+could(?:n't|\s+not)\s+(?:be|have\s+been)\s+(?:happier|prouder|sadder|angrier|more\s+\w+ed)\b",
        rf"(?:\bme\s+|{opens}|\bi\s+(?:\w+(?:n't)?\s+){{0,2}}{_NOT_HERS}\w+\s+)feeling\s+{_DEGREE}{state}",
        rf"\b{_CAUSES}\s+me\s+(?:feel(?:ing)?\s+)?{_DEGREE}{state}",
        rf"\b(?:ma(?:kes|de|king)\s+me\s+feel|fill(?:s|ed|ing)\s+me\s+with)\s+{_PORTION}{noun}",
        rf"\b(?:{_BE}|{_FEEL})\s+{_DEGREE}{_WITH}\s+(?:\w+\s+)?{noun}",
        rf"\b{_FEEL}\s+{_PORTION}{noun}",
        rf"\b{noun}\s+(?:that\s+)?i\s+(?:feel|felt|am\s+feeling)\b",
        rf"\b{noun}{_RISE}",
        rf"(?<!out of )\bmy\s+(?:\w+\s+)?{_THINGS}{noun}(?!\s+and\s+joy\b)",
        rf"\bto\s+my\s+(?:\w+\s+)?{noun}",
        r"\bmy\s+love\s+for\b",
        rf"\b(?:so\s+|very\s+)?{state}\s+(?:of|with|at|for)\s+myself\b",
        rf"{opens}(?:so|very|really|too)\s+{_DEGREE}{state}(?:\s+(?:of|about|at|for|with|that|i|we|right)\b|\s*[.!]|$)",
        rf"\b{_any(_PRESSES)}\s+me\b(?!\s+for\b)",
    )
    numbered = (pattern.replace("#>", f"{place}>") for place, pattern in enumerate(patterns))
    return re.compile("|".join(f"(?:{pattern})" for pattern in numbered), re.IGNORECASE)


# A feeling somebody supposes, denies or sets as a condition is not announced.
_SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|when|whenever|until|before|think|thinks|thought|says?|said|assumes?|assumed|pretend(?:s|ed|ing)?"
    r"|(?:as\s+)?though|not\s+that|not\s+because)\s+$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"")


def _own_words(text: str) -> str:
    """Without what others are quoted as saying; quotes round the whole text are only its wrapping."""
    whole = text.strip().replace("’", "'")
    if whole[:1] in '"“' and whole[-1:] in '"”' and not set('"“”') & set(whole[1:-1]):
        whole = whole[1:-1]
    return _QUOTED.sub(" … ", whole)


def _is_a_name(found: re.Match[str], text: str) -> bool:
    """Joy and Grace are people; inside a sentence only a capital tells."""
    terms = ((key, word) for key, word in found.groupdict().items() if word)
    return any(
        word.istitle() and found.start(key) > 0 and text[found.start(key) - 2] not in ".!?…" for key, word in terms
    )


def announces(text: str) -> str | None:
    """The phrase in which a first-person text merely says its feeling. Misses many; what it finds is meant to be right."""
    if _TRIGGERS.isdisjoint(_split(text)):
        return None
    own = _own_words(text)
    for found in _announcements().finditer(own):
        if not _SUPPOSED.search(own, 0, found.start()) and not _is_a_name(found, own):
            return found.group().strip()
    return None
