"""Words that name a feeling, and sentences that announce one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.lexicon import ALL, FIRST_PERSON_STATES, NAMES, announces, named
from factory.taxonomy import EMOTIONS, LABELS

ANNOUNCED = [
    "I feel so angry about the fence.",
    "I'm sad.",
    "I’m sad, that is all there is to it.",
    "I am so very nervous about Thursday.",
    "I was filled with joy when the gate opened.",
    "Nobody in that office has ever seen my anger.",
    "The way he folds his napkin makes me furious.",
    "Feeling anxious, third night in a row.",
    "What sadness I feel when the shop is shut.",
    "I am overcome with grief and the kettle is on.",
    "I'm so proud of myself I could run to Leeds and back.",
    "So proud of myself I could burst.",
    "I was terrified on that ladder.",
    "We were thrilled with the room.",
    "I felt embarrassed in front of the whole choir.",
    "I feel a pang of guilt each time I pass the chemist's.",
    "I feel nothing but contempt for that committee.",
    "I'm really quite annoyed with the council.",
    "I have been worried since the second letter.",
    "I've never been so happy.",
    "I have never felt so ashamed in my life.",
    "I got excited and dropped the tray.",
    "I'm getting nervous about the boat.",
    "I couldn't be happier with how it went.",
    "It left me heartbroken.",
    "That bang had me scared for an hour.",
    "It fills me with dread, that corridor.",
    "It saddens me to see the orchard gone.",
    "Those stairs terrify no one else, but the dark up there frightened me.",
    "To my horror, the lid came off.",
    "Much to my relief, she rang at nine.",
    "I woke up feeling miserable.",
    "I can't stop feeling guilty about the dog.",
    "I was shaking with rage by the time he hung up.",
    "I'm in love, Martha.",
    "I am in awe of her backhand.",
    "Anger rose in me like milk in a pan.",
    "A kind of joy washed over me on the platform.",
    "So excited! Only two sleeps.",
    "Why am I so nervous over a haircut?",
    "I'm mad at the lot of them.",
    "I was cold, tired and miserable.",
    "I'm hurt and angry, and he knows it.",
    "My fear is that the roof goes next.",
    "My love for that old van is hard to explain.",
    "I am truly grateful for the soup.",
    "I'm afraid of the cellar.",
    "I was both amused and disgusted at the sight of the cake.",
    "I AM SO ANGRY.",
    '"I feel so lonely in this flat."',
    "I still feel guilty over the goldfish.",
    "I'm curious how the lock works.",
    "I was confused by the second map.",
    "I am relieved that the plaster held.",
]

SHOWN = [
    "Thank you for carrying the boxes.",
    "I love you, now eat your toast.",
    "I love the way she counts the stairs.",
    "I'm sorry, the last bus has gone.",
    "I am so sorry about the vase.",
    "I hope it rains before the weekend.",
    "I wish you had seen his face.",
    "I wonder who left the light on.",
    "I'm afraid not, we close at six.",
    "I'm afraid that the oven is broken.",
    "I'm afraid so.",
    "I'm afraid we have no record of it.",
    "The plumber, I'm afraid, is off until Monday.",
    "I am sure the door was locked.",
    "I'm fine, put the phone down.",
    "The angry sea took the jetty in one night.",
    "Her fear was plain from the way she held the rail.",
    "My hands would not do up the buttons.",
    "He was sad, and I made him tea.",
    "She feels nervous in lifts, so I took the stairs with her.",
    "If I was angry I would have said so at dinner.",
    "He asked whether I was jealous, and I passed the salt.",
    "She thinks I'm angry because I wash up loudly.",
    "I'm not angry, I just want the receipt.",
    "I'm hardly surprised by the price.",
    "“I'm so angry,” she said, and sat on the step.",
    'My brother wrote "I am scared" on the steamed window.',
    "My Joy starts school on Monday.",
    "That girl is my pride and joy.",
    "It was my pleasure, any time.",
    "My love, pass me the salt.",
    "I felt along the wall for the switch.",
    "I felt her fear through the rope.",
    "I feel like a cup of tea.",
    "I'm happy to drive if you do the map.",
    "I'd be grateful if you could close the window.",
    "I'm glad to help with the chairs.",
    "My relief arrived at six with a flask.",
    "I was relieved of my post in March.",
    "She surprised me with a cake.",
    "He tried to scare me with the hoover.",
    "They planned my surprise party in the laundry.",
    "Feelings are for Sundays.",
    "I saw her feeling sad by the ducks.",
    "I was sick with flu when the letter came.",
    "I read Pride and Prejudice on the night train.",
    "Please put that crab out of my misery; no, out of its misery, I mean.",
    "I was cross-legged on the mat when the bell rang.",
    "I want the window seat and I am not moving.",
    "I am the worried sort, said no plumber ever.",
    "We were at the Happy Prawn until two.",
    "I slept through the alarm and the fire brigade.",
    "I kept the ticket in my coat until it fell apart.",
    "Read it again, slowly, the bit with my name in it.",
]


def test_every_emotion_has_its_names() -> None:
    """Each of the 27 emotions has a dozen forms or more, its own name among them; neutral has none."""
    assert tuple(NAMES) == LABELS
    assert all(len(NAMES[label]) >= 12 and label in NAMES[label] for label in EMOTIONS)
    assert NAMES["neutral"] == frozenset()
    assert frozenset().union(*NAMES.values()) == ALL


def test_names_are_single_lower_case_words() -> None:
    """A name is one word of lower-case letters, perhaps with a hyphen."""
    assert all(word.replace("-", "").isalpha() and word == word.lower() for word in ALL | FIRST_PERSON_STATES)


def test_both_spellings_are_known() -> None:
    """British and American forms name the same feeling."""
    assert {"realise", "realize", "realisation"} <= NAMES["realization"]
    assert {"humour", "humor"} <= NAMES["amusement"]
    assert {"enamoured", "enamored"} <= NAMES["love"]


@pytest.mark.parametrize("word", ["mad", "blue", "down", "kind", "like", "want", "well", "hot", "care", "low"])
def test_words_that_mostly_mean_something_else_are_left_out(word: str) -> None:
    """A word with a commoner everyday sense names nothing."""
    assert word not in ALL


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("She was angry; furious, even.", ["anger"], ("angry", "furious")),
        ("Angry men, angry dogs.", ["anger"], ("angry",)),
        ("Heart-broken and grief-stricken.", ["grief"], ("heart-broken", "grief-stricken")),
        ("A fear-filled night.", ["fear"], ("fear",)),
        ("Fear's a poor guide, fear’s a thief.", ["fear"], ("fear",)),
        ("Self-conscious, he coughed.", ["embarrassment"], ("self-conscious",)),
        ("PROUD and sad", ["sadness", "pride"], ("proud", "sad")),
        ("proud and sad", ["joy"], ()),
        ("stranger danger, courage, a range of oranges", ["anger", "fear"], ()),
        ("gone—angry—back", ["anger"], ("angry",)),
        ("angry", [], ()),
        ("angry sad proud", ["neutral"], ()),
        ("", EMOTIONS, ()),
    ],
)
def test_named_finds_whole_words(text: str, labels: list[str], words: tuple[str, ...]) -> None:
    """The words that name the given feelings come back whole, once, in order; parts of other words do not."""
    assert named(text, labels) == words


@pytest.mark.parametrize("frame", ["{}", "the {} dog", "“{}!”", "so-{}", "{}’s", "({})"])
def test_every_name_is_found_in_a_text(frame: str) -> None:
    """Whatever stands around it, a word that names a feeling is found under some label."""
    assert [word for word in sorted(ALL) if not named(frame.format(word), EMOTIONS)] == []


@given(st.text())
def test_named_only_reports_names(text: str) -> None:
    """What comes back is, closed up or as it stands, one of our words, and stands in the text."""
    found = named(text, EMOTIONS)
    assert len(found) == len(set(found))
    assert all((word in ALL or word.replace("-", "") in ALL) and word in text.lower() for word in found)


@pytest.mark.parametrize("text", ANNOUNCED)
def test_an_announced_feeling_is_found(text: str) -> None:
    """A sentence that merely says the speaker's feeling is found, and the phrase stands in it."""
    phrase = announces(text)
    assert phrase and phrase in text.replace("’", "'")


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_shown_or_said_of_others_passes(text: str) -> None:
    """Courtesies, others' feelings, denials, suppositions, quotations and names pass."""
    assert announces(text) is None


@pytest.mark.parametrize("state", sorted(FIRST_PERSON_STATES - {"cross"}))
def test_every_state_announces(state: str) -> None:
    """Each listed state, said of oneself without more, is an announcement."""
    assert announces(f"I am {state}.") == f"I am {state}"
    assert announces(f"The {state} lad from the mill waved.") is None


def test_long_texts_end() -> None:
    """A long run of near-misses ends at once, because the pattern's repeats are bounded."""
    start = time.process_time()
    assert announces("I feel really " * 400 + "tall. Sad tidings.") is None
    assert time.process_time() - start < 5


@given(st.text())
def test_any_text_may_be_asked(text: str) -> None:
    """No text makes the check fail."""
    phrase = announces(text)
    assert phrase is None or phrase
