"""The labels, their order and groups, the words that stand for them, and their mirrors."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory import taxonomy
from factory.taxonomy import (
    DEFINITIONS,
    DROPPED,
    EKMAN,
    EMOTIONS,
    ID,
    INFLECTIONS,
    LABELS,
    LOOSE_ALIASES,
    MIRRORED,
    NEUTRAL,
    SAFE_ALIASES,
    SENTIMENT,
    Mapping,
    ekman,
    flip,
    resolve,
    sentiment,
)

PUBLISHED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "goemotions"
VALENCE_FREE = {"surprise", "realization", "curiosity", "confusion"}


def published(name: str) -> str:
    if not (PUBLISHED / name).exists():
        pytest.skip(f"the published {name} is not beside this checkout")
    return (PUBLISHED / name).read_text(encoding="utf-8")


def test_the_order_is_the_official_one() -> None:
    """A label's place, hence its id, is that of the official list, with neutral last."""
    assert LABELS == (
        "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
        "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
        "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise",
        "neutral",
    )  # fmt: skip
    assert [ID[label] for label in LABELS] == list(range(28))
    assert (*EMOTIONS, NEUTRAL) == LABELS


def test_the_order_equals_the_published_file() -> None:
    """Our order is the published file's, line by line."""
    assert tuple(published("emotions.txt").split()) == LABELS


@pytest.mark.parametrize(("name", "groups"), [("ekman_mapping.json", EKMAN), ("sentiment_mapping.json", SENTIMENT)])
def test_the_groups_equal_the_published_ones(name: str, groups: dict[str, tuple[str, ...]]) -> None:
    """Our groups are the published ones, to which we add neutral as its own group."""
    theirs: dict[str, Any] = json.loads(published(name))
    assert {group: set(labels) for group, labels in theirs.items()} | {"neutral": {"neutral"}} == {
        group: set(labels) for group, labels in groups.items()
    }


@pytest.mark.parametrize(
    ("groups", "sizes"),
    [
        (EKMAN, {"anger": 3, "disgust": 1, "fear": 2, "joy": 12, "sadness": 5, "surprise": 4, "neutral": 1}),
        (SENTIMENT, {"positive": 12, "negative": 11, "ambiguous": 4, "neutral": 1}),
    ],
)
def test_the_groups_part_the_labels(groups: dict[str, tuple[str, ...]], sizes: dict[str, int]) -> None:
    """Each label lies in exactly one group, and the groups have the published sizes."""
    assert {group: len(labels) for group, labels in groups.items()} == sizes
    assert sorted(label for labels in groups.values() for label in labels) == sorted(LABELS)


def test_a_label_knows_its_groups() -> None:
    """Embarrassment belongs to sadness and is negative; neutral is its own group in both."""
    assert (ekman("embarrassment"), sentiment("embarrassment")) == ("sadness", "negative")
    assert (ekman(NEUTRAL), sentiment(NEUTRAL)) == (NEUTRAL, NEUTRAL)
    assert all(label in EKMAN[ekman(label)] and label in SENTIMENT[sentiment(label)] for label in LABELS)


def test_definitions_do_not_lean_on_the_word_they_define() -> None:
    """Every label has one line of definition, which names neither the label nor a form of it."""
    assert tuple(DEFINITIONS) == LABELS
    for label, text in DEFINITIONS.items():
        forms = {label} | {word for word, target in INFLECTIONS.items() if target == label}
        # "ashamed" explains embarrassment and "wanting" desire: forms of an alias may, forms of the label may not.
        own = {word for word in forms if word[:4] == label[:4]}
        assert own.isdisjoint(text.lower().replace(";", " ").replace(",", " ").split()), label
        assert "\n" not in text and len(text) > 10


@pytest.mark.parametrize("table", [SAFE_ALIASES, LOOSE_ALIASES, INFLECTIONS], ids=["safe", "loose", "inflections"])
def test_every_word_leads_to_a_label(table: dict[str, str]) -> None:
    """A table sends lower-case words that are no labels to labels, and leaves no label out."""
    assert set(table.values()) == set(LABELS)
    assert set(table).isdisjoint(LABELS)
    assert all(word == word.casefold().strip() for word in table)


def test_no_word_stands_in_two_tables() -> None:
    """A word has one way to its label: inflection, safe alias or loose alias."""
    words = [*INFLECTIONS, *SAFE_ALIASES, *LOOSE_ALIASES]
    assert len(words) == len(set(words))
    assert DROPPED.isdisjoint(INFLECTIONS) and DROPPED.isdisjoint(SAFE_ALIASES)
    assert DROPPED & set(LOOSE_ALIASES) == {"trust", "boredom", "nostalgia"}


def test_no_word_is_written_under_two_labels() -> None:
    """The source names each word once, so that inverting a table loses no entry in silence."""
    source = Path(taxonomy.__file__).read_text(encoding="utf-8")
    for name, table in (("SAFE_ALIASES", SAFE_ALIASES), ("LOOSE_ALIASES", LOOSE_ALIASES), ("INFLECTIONS", INFLECTIONS)):
        block = source.split(f"{name}: dict[str, str] = _inverted(")[1].split("\n})")[0]
        written = [word for line in block.splitlines() for word in line.split('"')[1::2]]
        assert len(written) == len(table) + len(LABELS), name


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_itself(label: str) -> None:
    """A label resolves to itself, however it is dressed."""
    for raw in (
        label,
        label.upper(),
        f"1. {label}",
        f"- {label.title()}!",
        f"“{label}”",
        f"(b) {label}",
        f"😀 {label} ",
    ):
        assert resolve(raw) == Mapping(raw, label, "exact")


@pytest.mark.parametrize(
    ("raw", "label", "how"),
    [
        ("angrily", "anger", "inflection"),
        ("Angry.", "anger", "inflection"),
        ("nervously", "nervousness", "inflection"),
        ("hopeful", "optimism", "inflection"),
        ("gratefully", "gratitude", "inflection"),
        ("realisation", "realization", "inflection"),
        ("self-conscious", "embarrassment", "inflection"),
        ("anxiety", "nervousness", "alias"),
        ("3) Indignation", "anger", "alias"),
        ("hope", "optimism", "alias"),
        ("shame", "embarrassment", "alias"),
        ("self_satisfaction", "pride", "alias"),
        ("Self Satisfaction", "pride", "alias"),
        ("no emotion", "neutral", "alias"),
        ("\uff26\uff35\uff32\uff39", "anger", "alias"),
    ],
)
def test_known_words_find_their_label(raw: str, label: str, how: str) -> None:
    """Forms and safe aliases are found without loose mode, and the raw word is kept."""
    found = resolve(raw)
    assert (found.raw, found.label, found.how) == (raw, label, how)


@pytest.mark.parametrize("word", sorted(LOOSE_ALIASES))
def test_loose_aliases_wait_to_be_asked_for(word: str) -> None:
    """A loose alias gives its label in loose mode only, and says so."""
    assert resolve(word).label is None
    assert resolve(word, loose=True) == Mapping(word, LOOSE_ALIASES[word], "loose")


def test_refused_words_are_told_from_unknown_ones() -> None:
    """Jealousy is dropped for good, trust unless loose; a word we never met may still be repaired."""
    assert resolve("Jealousy").how == resolve("jealousy", loose=True).how == resolve("trust").how == "dropped"
    assert resolve("concern").how == resolve("flabberjoy").how == "unknown"
    assert resolve(" 7. ?!").how == resolve("").how == "dropped"


@pytest.mark.parametrize("raw", ["Joy", "joy", "1. JOY", "Hope"])
def test_a_name_is_a_name_before_it_is_a_label(raw: str) -> None:
    """A word that equals an actor's name gives no label, even where it is one."""
    assert resolve(raw, names=("Ada", "Joy", "Hope")) == Mapping(raw, None, "name")
    assert resolve(raw, names=("Ada",)).label is not None


@given(st.text(), st.booleans())
def test_nothing_outside_the_taxonomy_comes_out(raw: str, loose: bool) -> None:
    """Whatever the text, the result is one of the labels or none, and the raw word is untouched."""
    found = resolve(raw, loose=loose)
    assert found.raw == raw
    assert found.label is None or found.label in ID
    assert (found.label is None) == (found.how in {"name", "dropped", "unknown"})


@given(st.sampled_from([*LABELS, *INFLECTIONS, *SAFE_ALIASES]), st.sampled_from(["{}", "{}.", "2. {}", "* {}", "*{}*"]))
def test_dress_does_not_change_a_word(word: str, dress: str) -> None:
    """Numbering, bullets, punctuation and capitals change nothing."""
    plain, dressed = resolve(word), resolve(dress.format(word.title()))
    assert (dressed.label, dressed.how) == (plain.label, plain.how)
    assert plain.label is not None


def test_both_way_pairs_come_back() -> None:
    """Strict and loose mirrors are their own inverse; one-way mirrors are not."""
    for label, mirror in MIRRORED.items():
        returns = MIRRORED[mirror.target].target == label
        assert returns == (mirror.kind != "one-way"), label


def test_the_mirrors_are_those_agreed() -> None:
    """The table of mirrors is the agreed one, pair by pair."""
    both = {
        "joy": "sadness",
        "approval": "disapproval",
        "gratitude": "anger",
        "pride": "embarrassment",
        "optimism": "fear",
        "excitement": "nervousness",
        "relief": "disappointment",
        "desire": "disgust",
        "amusement": "annoyance",
    }
    one_way = {"admiration": "disapproval", "love": "anger", "remorse": "pride", "grief": "relief"}
    back = {target: label for label, target in both.items()}
    assert {label: mirror.target for label, mirror in MIRRORED.items()} == both | back | one_way


def test_a_mirror_turns_the_valence() -> None:
    """Every mirrored label has the opposite valence; only caring, neutral and the valence-free have no mirror."""
    opposite = {"positive": "negative", "negative": "positive"}
    assert all(sentiment(mirror.target) == opposite[sentiment(label)] for label, mirror in MIRRORED.items())
    assert set(LABELS) - set(MIRRORED) == VALENCE_FREE | {"caring", NEUTRAL}
    assert [sum(mirror.kind == kind for mirror in MIRRORED.values()) for kind in ("strict", "loose", "one-way")] == [
        14,
        4,
        4,
    ]


@pytest.mark.parametrize(
    ("labels", "flipped"),
    [
        (["joy"], ("sadness",)),
        (["remorse"], ("pride",)),
        (["grief"], ("relief",)),
        (["joy", "gratitude"], ("sadness", "anger")),
        (["anger", "surprise"], ("gratitude", "surprise")),
        (["gratitude", "love"], ("anger",)),
        (["embarrassment", "remorse"], ("pride",)),
        (["joy", "sadness"], None),
        (["joy", "caring"], None),
        (["caring"], None),
        (["neutral"], None),
        (["joy", "neutral"], None),
        (["surprise"], None),
        (["curiosity", "confusion"], None),
        ([], None),
    ],
)
def test_a_row_flips_whole_or_not_at_all(labels: list[str], flipped: tuple[str, ...] | None) -> None:
    """One valence turns round, the valence-free stay, repeats fall together; mixed, neutral and caring rows stay put."""
    assert flip(labels) == flipped


@given(st.lists(st.sampled_from(LABELS), max_size=5))
def test_a_flip_leaves_one_valence(labels: list[str]) -> None:
    """A flipped row has labels of the other valence only, none twice, and its valence-free labels unchanged."""
    flipped = flip(labels)
    if flipped is None:
        return
    before, after = ({sentiment(label) for label in row} - {"ambiguous"} for row in (labels, flipped))
    assert before | after == {"positive", "negative"} and len(after) == 1
    assert len(flipped) == len(set(flipped))
    assert VALENCE_FREE & set(flipped) == VALENCE_FREE & set(labels)
