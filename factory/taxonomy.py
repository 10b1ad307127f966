"""The 28 labels, the words that stand for them, and their mirrors: the one place where label order and meaning live."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

# The published order. An id is a position in this tuple; it is never rebuilt by sorting.
LABELS: tuple[str, ...] = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
)  # fmt: skip
NEUTRAL = "neutral"
EMOTIONS: tuple[str, ...] = LABELS[:27]
ID: dict[str, int] = {label: position for position, label in enumerate(LABELS)}

DEFINITIONS: dict[str, str] = {
    "admiration": "regarding someone or something as impressive or worthy of respect",
    "amusement": "finding something funny or entertaining",
    "anger": "strong displeasure or hostility towards a cause",
    "annoyance": "mild irritation or impatience",
    "approval": "holding or voicing a favourable opinion",
    "caring": "kindness towards someone and concern for their well-being",
    "confusion": "not understanding; being unsure what is meant or true",
    "curiosity": "wanting to find out or learn",
    "desire": "wanting to have something or wanting it to happen",
    "disappointment": "low mood because an expectation was not met",
    "disapproval": "holding or voicing an unfavourable opinion",
    "disgust": "revulsion at something offensive or unpleasant",
    "embarrassment": "feeling awkward, exposed or ashamed of oneself",
    "excitement": "high-energy enthusiasm or eagerness",
    "fear": "feeling threatened or scared",
    "gratitude": "feeling thankful to someone or for something",
    "grief": "deep sorrow over a loss, above all a death",
    "joy": "pleasure or happiness",
    "love": "strong affection or attachment",
    "nervousness": "uneasy anticipation, worry or tension",
    "optimism": "expecting things to turn out well",
    "pride": "satisfaction with one's own achievement or that of one's people",
    "realization": "becoming aware of something",
    "relief": "easing after worry or distress has passed",
    "remorse": "regret or guilt about one's own act",
    "sadness": "emotional pain or low mood",
    "surprise": "being startled by something unexpected",
    "neutral": "no discernible emotion",
}

EKMAN: dict[str, tuple[str, ...]] = {
    "anger": ("anger", "annoyance", "disapproval"),
    "disgust": ("disgust",),
    "fear": ("fear", "nervousness"),
    "joy": (
        "admiration", "amusement", "approval", "caring", "desire", "excitement", "gratitude", "joy", "love",
        "optimism", "pride", "relief",
    ),
    "sadness": ("disappointment", "embarrassment", "grief", "remorse", "sadness"),
    "surprise": ("confusion", "curiosity", "realization", "surprise"),
    "neutral": ("neutral",),
}  # fmt: skip

SENTIMENT: dict[str, tuple[str, ...]] = {
    "positive": EKMAN["joy"],
    "negative": (*EKMAN["anger"], *EKMAN["disgust"], *EKMAN["fear"], *EKMAN["sadness"]),
    "ambiguous": EKMAN["surprise"],
    "neutral": ("neutral",),
}


def _inverted(groups: Table[str, Collection[str]]) -> dict[str, str]:
    return {word: label for label, words in groups.items() for word in words}


_EKMAN_OF = _inverted(EKMAN)
_SENTIMENT_OF = _inverted(SENTIMENT)


def ekman(label: str) -> str:
    return _EKMAN_OF[label]


def sentiment(label: str) -> str:
    return _SENTIMENT_OF[label]


# Applied always: within the 28 these words can only mean one label.
SAFE_ALIASES: dict[str, str] = _inverted({
    "admiration": ("awe", "respect", "reverence", "esteem", "impressed", "veneration"),
    "amusement": ("hilarity", "mirth", "laughter", "humor", "humour"),
    "anger": ("rage", "fury", "wrath", "outrage", "indignation", "hatred", "hostility", "resentment"),
    "annoyance": ("irritation", "frustration", "exasperation", "impatience", "aggravation"),
    "approval": ("agreement", "endorsement", "acceptance"),
    "caring": ("compassion", "sympathy", "empathy", "tenderness", "protectiveness", "kindness"),
    "confusion": ("bewilderment", "perplexity", "puzzlement", "disorientation", "uncertainty"),
    "curiosity": ("interest", "intrigue", "inquisitiveness"),
    "desire": ("longing", "yearning", "craving", "wanting", "lust"),
    "disappointment": ("letdown", "let-down", "dissatisfaction", "disillusionment", "disillusion", "discouragement"),
    "disapproval": ("criticism", "reproach", "condemnation", "disagreement", "objection"),
    "disgust": ("revulsion", "repulsion", "loathing", "abhorrence", "contempt", "disdain"),
    "embarrassment": ("shame", "humiliation", "awkwardness", "mortification", "self-consciousness"),
    "excitement": ("enthusiasm", "eagerness", "thrill", "exhilaration"),
    "fear": ("terror", "horror", "dread", "panic", "fright", "alarm"),
    "gratitude": ("thankfulness", "indebtedness"),
    "grief": ("mourning", "bereavement"),
    "joy": (
        "happiness", "delight", "elation", "bliss", "cheerfulness", "contentment", "pleasure", "euphoria",
    ),
    "love": ("affection", "adoration", "fondness", "devotion", "infatuation"),
    "nervousness": ("anxiety", "worry", "apprehension", "unease", "tension"),
    "optimism": ("hope", "hopefulness"),
    "pride": ("triumph", "accomplishment", "self-satisfaction"),
    "realization": ("insight", "epiphany", "awareness", "recognition", "understanding"),
    "relief": ("reassurance",),
    "remorse": ("guilt", "regret", "contrition", "repentance", "self-reproach"),
    "sadness": (
        "sorrow", "melancholy", "despair", "hopelessness", "loneliness", "misery", "unhappiness", "dejection", "gloom",
        "depression",
    ),
    "surprise": ("shock", "astonishment", "amazement", "disbelief"),
    "neutral": ("none", "no emotion", "unemotional", "indifference"),
})  # fmt: skip

# Applied on request only. Where the right label depends on the text (concern: for another or for oneself) the word
# stands once, under the reading that speakers of a first-person text have more often.
LOOSE_ALIASES: dict[str, str] = _inverted({
    "admiration": ("worship", "inspiration"),
    "amusement": ("playfulness", "fun", "mischief"),
    "anger": ("bitterness", "vengefulness", "betrayal"),
    "annoyance": ("boredom",),
    "approval": ("support", "validation", "trust"),
    "caring": ("pity",),
    "confusion": ("doubt", "ambivalence"),
    "curiosity": ("wonder", "fascination"),
    "desire": ("ambition", "temptation"),
    "disappointment": ("resignation",),
    "disapproval": ("skepticism", "scepticism", "suspicion"),
    "disgust": ("nausea", "scorn"),
    "embarrassment": ("shyness",),
    "excitement": ("anticipation",),
    "fear": ("helplessness",),
    "gratitude": ("appreciation",),
    "grief": ("devastation",),
    "joy": ("satisfaction", "serenity"),
    "love": ("attachment", "loyalty"),
    "nervousness": ("stress", "insecurity", "concern"),
    "optimism": ("confidence", "faith", "encouragement"),
    "pride": ("smugness",),
    "realization": ("clarity",),
    "relief": ("comfort", "release"),
    "remorse": ("self-blame",),
    "sadness": ("hurt", "heartbreak", "nostalgia"),
    "surprise": ("startle",),
    "neutral": ("calm",),
})  # fmt: skip

# Other forms of the labels and of their safe aliases. A table, because a stemmer takes "gracious" for "grace".
INFLECTIONS: dict[str, str] = _inverted({
    "admiration": (
        "admire", "admires", "admired", "admiring", "admiringly", "admirable", "admirably", "admirer", "awed",
        "awestruck", "respectful", "respectfully", "respected", "reverent", "reverently", "reverential",
    ),
    "amusement": (
        "amuse", "amuses", "amused", "amusing", "amusingly", "amusedly", "mirthful", "hilarious", "humorous",
        "entertained", "laughing",
    ),
    "anger": (
        "angry", "angrily", "angrier", "angers", "angered", "angering", "enraged", "raging", "furious", "furiously",
        "infuriated", "wrathful", "outraged", "indignant", "indignantly", "hateful", "hostile", "resentful",
        "resentfully", "irate", "livid", "mad",
    ),
    "annoyance": (
        "annoy", "annoys", "annoyed", "annoying", "annoyingly", "annoyances", "irritated", "irritable", "irritably",
        "frustrated", "frustrating", "exasperated", "impatient", "impatiently", "aggravated", "irked",
    ),
    "approval": (
        "approve", "approves", "approved", "approving", "approvingly", "agree", "agreeing", "accepting", "endorsing",
    ),
    "caring": (
        "care", "cares", "cared", "caringly", "compassionate", "compassionately", "sympathetic", "sympathetically",
        "empathetic", "empathic", "tender", "tenderly", "protective", "protectively", "kind", "kindly",
    ),
    "confusion": (
        "confuse", "confuses", "confused", "confusing", "confusedly", "confusingly", "bewildered", "perplexed",
        "puzzled", "disoriented", "disorientated", "baffled", "uncertain", "unsure",
    ),
    "curiosity": (
        "curious", "curiously", "curiousness", "interested", "intrigued", "inquisitive", "inquisitively",
    ),
    "desire": (
        "desires", "desired", "desiring", "desirous", "yearn", "yearns", "yearned", "crave", "craves", "craved",
        "longed", "longingly", "lustful", "want", "wants", "wanted",
    ),
    "disappointment": (
        "disappoint", "disappoints", "disappointed", "disappointing", "disappointedly", "disappointingly",
        "disappointments", "disillusioned", "dissatisfied", "discouraged",
    ),
    "disapproval": (
        "disapprove", "disapproves", "disapproved", "disapproving", "disapprovingly", "critical", "reproachful",
        "reproachfully", "reproaching", "condemning", "condemnatory", "disagree", "disagreeing",
    ),
    "disgust": (
        "disgusts", "disgusted", "disgusting", "disgustedly", "disgustingly", "revolted", "repulsed", "repelled",
        "appalled", "contemptuous", "contemptuously", "disdainful", "disdainfully",
    ),
    "embarrassment": (
        "embarrass", "embarrasses", "embarrassed", "embarrassing", "embarrassedly", "embarrassingly", "ashamed",
        "shameful", "shamed", "humiliated", "humiliating", "mortified", "awkward", "awkwardly", "self-conscious",
        "self-consciously", "sheepish", "sheepishly",
    ),
    "excitement": (
        "excite", "excites", "excited", "exciting", "excitedly", "excitingly", "excitable", "enthusiastic",
        "enthusiastically", "eager", "eagerly", "thrilled", "thrilling", "exhilarated",
    ),
    "fear": (
        "fears", "feared", "fearing", "fearful", "fearfully", "fearfulness", "afraid", "scared", "terrified",
        "horrified", "panicked", "panicking", "panicky", "frightened", "alarmed", "dreading", "dreaded",
    ),
    "gratitude": (
        "grateful", "gratefully", "gratefulness", "thankful", "thankfully", "thanking", "indebted", "thanks",
    ),
    "grief": (
        "grieve", "grieves", "grieved", "grieving", "grievingly", "griefs", "grief-stricken", "mourn", "mourns",
        "mourned", "mournful", "mournfully", "bereaved", "bereft",
    ),
    "joy": (
        "joyful", "joyfully", "joyfulness", "joyous", "joyously", "joyousness", "joys", "enjoy", "enjoying",
        "enjoyment", "happy", "happily", "happier", "delighted", "delightedly", "elated", "blissful", "blissfully",
        "cheerful", "cheerfully", "content", "contented", "contentedly", "pleased", "euphoric", "jubilant", "glad",
    ),
    "love": (
        "loves", "loved", "loving", "lovingly", "lovable", "affectionate", "affectionately", "adoring", "adoringly",
        "adore", "fond", "fondly", "devoted", "infatuated", "smitten",
    ),
    "nervousness": (
        "nervous", "nervously", "nerves", "anxious", "anxiously", "anxiousness", "worried", "worrying", "worries",
        "worriedly", "apprehensive", "apprehensively", "uneasy", "uneasily", "uneasiness", "tense", "tensely", "jittery",
    ),
    "optimism": ("optimistic", "optimistically", "optimist", "hopeful", "hopefully", "hopes", "hoping", "hoped"),
    "pride": ("proud", "proudly", "prideful", "pridefully", "prided", "triumphant", "triumphantly", "self-satisfied"),
    "realization": (
        "realisation", "realizations", "realisations", "realize", "realise", "realizes", "realises", "realized",
        "realised", "realizing", "realising", "insightful", "aware",
    ),
    "relief": ("relieved", "relieve", "relieves", "relieving", "relievedly", "reassured"),
    "remorse": (
        "remorseful", "remorsefully", "remorsefulness", "guilty", "guiltily", "guilt-ridden", "regretful",
        "regretfully", "regrets", "regretted", "regretting", "contrite", "contritely", "repentant", "apologetic",
        "apologetically", "sorry",
    ),
    "sadness": (
        "sad", "sadly", "sadden", "saddens", "saddened", "saddening", "sadder", "sorrowful", "sorrowfully",
        "melancholic", "despairing", "despairingly", "hopeless", "hopelessly", "lonely", "miserable", "miserably",
        "unhappy", "unhappily", "dejected", "dejectedly", "gloomy", "gloomily", "depressed", "despondent",
    ),
    "surprise": (
        "surprises", "surprised", "surprising", "surprisingly", "surprisedly", "shocked", "astonished", "astounded",
        "amazed", "stunned", "disbelieving", "startled",
    ),
    "neutral": ("neutrally", "neutrality", "indifferent", "indifferently", "emotionless"),
})  # fmt: skip

# No single label is right for these: the row keeps the raw word and gets no label from it.
DROPPED: frozenset[str] = frozenset((
    "jealousy", "jealous", "envy", "envious", "determination", "determined", "courage", "courageous", "schadenfreude",
    "trust", "boredom", "nostalgia", "vulnerability", "vulnerable", "sarcasm", "sarcastic", "urgency", "urgent",
    "defiance", "defiant", "power", "powerful", "responsibility", "responsible", "mixed", "unknown", "actor", "plot",
    "thread", "thinking",
))  # fmt: skip

How = Literal["exact", "inflection", "alias", "loose", "name", "dropped", "unknown"]


@dataclass(frozen=True, slots=True)
class Mapping:
    """What became of one word: `dropped` is final, `unknown` may still be repaired."""

    raw: str
    label: str | None
    how: How


_NUMBERING = re.compile(r"^\W*(?:\d+|[a-z]|[ivx]+)[.):]\s*")
_WORD = re.compile(r"[^\W\d_]+")


def _spaced(word: str) -> str:
    """Letters only, words parted by one space, so that "self-satisfaction" and "Self_Satisfaction!" meet."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    return " ".join(_WORD.findall(_NUMBERING.sub("", folded)))


def _table() -> dict[str, Mapping]:
    known: dict[str, Mapping] = {label: Mapping(label, label, "exact") for label in LABELS}
    steps: tuple[tuple[dict[str, str], How], ...] = ((INFLECTIONS, "inflection"), (SAFE_ALIASES, "alias"))
    for words, how in steps:
        for word, label in words.items():
            known.setdefault(_spaced(word), Mapping(word, label, how))
    return known


_KNOWN = _table()
_LOOSE = {_spaced(word): label for word, label in LOOSE_ALIASES.items()}

_spaced_once = lru_cache(maxsize=8192)(_spaced)


@lru_cache(maxsize=8192)
def _resolved(raw: str, loose: bool) -> Mapping:
    word = _spaced_once(raw)
    if found := _KNOWN.get(word):
        return Mapping(raw, found.label, found.how)
    if loose and word in _LOOSE:
        return Mapping(raw, _LOOSE[word], "loose")
    return Mapping(raw, None, "dropped" if word in DROPPED or not word else "unknown")


def resolve(raw: str, names: Collection[str] = (), loose: bool = False) -> Mapping:
    """The label a model's word stands for. A name among the actors is a name first, even where it is also a label."""
    if names:
        word = _spaced_once(raw)
        if word and any(word == _spaced_once(name) for name in names):
            return Mapping(raw, None, "name")
    return _resolved(raw, loose)


@dataclass(frozen=True, slots=True)
class Mirror:
    """The label of the same situation with the opposite desirability; `one-way` has no way back."""

    target: str
    kind: Literal["strict", "loose", "one-way"]


_STRICT = (
    ("joy", "sadness"), ("approval", "disapproval"), ("gratitude", "anger"), ("pride", "embarrassment"),
    ("optimism", "fear"), ("excitement", "nervousness"), ("relief", "disappointment"),
)  # fmt: skip
_LOOSE_PAIRS = (("desire", "disgust"), ("amusement", "annoyance"))

MIRRORED: dict[str, Mirror] = {
    **{one: Mirror(other, "strict") for pair in _STRICT for one, other in (pair, pair[::-1])},
    **{one: Mirror(other, "loose") for pair in _LOOSE_PAIRS for one, other in (pair, pair[::-1])},
    "admiration": Mirror("disapproval", "one-way"),
    "love": Mirror("anger", "one-way"),
    "remorse": Mirror("pride", "one-way"),
    "grief": Mirror("relief", "one-way"),
}


def flip(labels: Sequence[str]) -> tuple[str, ...] | None:
    """All labels mirrored, or None where the row has no single valence to turn round."""
    valences = {sentiment(label) for label in labels} - {"ambiguous"}
    turnable = all(label in MIRRORED or sentiment(label) == "ambiguous" for label in labels)
    if not turnable or valences not in ({"positive"}, {"negative"}):
        return None
    return tuple(dict.fromkeys(MIRRORED[label].target if label in MIRRORED else label for label in labels))
