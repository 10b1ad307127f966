"""Scenes: who and what a passage offers the rehearsal engine."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from factory.engines.rehearsal.scene import Scene, read_scene

NARRATIVES = Path(__file__).resolve().parents[3].parent / "shared/data/narratives"
SOURCES = ("fairytaleqa", "aesop4children", "wikiplots_romcom.0")

TALE = (
    "There was once a ferryman who had lost both his oars in one night. The old woman lived across\n"
    "the river, and the Heron fished beside her door. 'Who has my oars?' asked the Heron, but the frogs\n"
    "only laughed. The old woman opened the door and gave the Heron a lamp. Then the Heron went home."
)
OFFICE = (
    "On Monday Nadia Sorel quarrelled with Mr. Brandt about the invoice. Nadia had promised it for noon. "
    "Mr. Brandt, a cautious manager from the Leeds office, closed the drawer and said nothing. "
    "In London nobody noticed. Her brother Emeka came back from Paris and asked Nadia to forgive him."
)


def names(passage: str) -> list[str]:
    return [person.name for person in read_scene(passage).people]


def mentions(passage: str) -> list[str]:
    return [person.mention for person in read_scene(passage).people]


def line(passage: str, name: str) -> str:
    return next(person.line for person in read_scene(passage).people if person.name == name)


def passages(source: str, most: int = 250) -> Iterator[str]:
    """The first four hundred words of real narratives, their line breaks kept."""
    path = NARRATIVES / f"{source}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} beside this checkout")
    with path.open(encoding="utf-8") as rows:
        for row in islice(rows, most):
            yield " ".join(json.loads(row)["text"].split(" ")[:400])


def stands(name: str, passage: str) -> bool:
    """Written apart from the reader's own check, character by character."""
    size = len(name)
    for at in range(len(passage) - size + 1):
        if passage[at : at + size] == name:
            around = passage[at - 1 : at] + passage[at + size : at + size + 1]
            if not any(char.isalnum() for char in around):
                return True
    return False


def test_people_are_roles_with_an_article_and_names_without():
    """A role is spoken of as "the Heron", a name as itself."""
    assert set(mentions(TALE)) == {"the Heron", "the old woman"}
    assert set(mentions(OFFICE)) == {"Nadia", "Mr. Brandt", "Emeka"}


def test_a_full_name_and_its_first_half_are_one_person():
    """ "Nadia Sorel" and "Nadia" are not counted twice."""
    assert [name for name in names(OFFICE) if "Nadia" in name] == ["Nadia"]


def test_a_title_joins_the_name_and_the_bare_title_is_the_same_person():
    """King Oswin and the King of the next sentence are one."""
    assert names("The gate was shut when King Oswin rode up. The King laughed, and the porter ran.") == [
        "King Oswin",
        "porter",
    ]


def test_a_courtesy_title_makes_no_second_animal():
    """ "Master Otter" is the Otter."""
    assert mentions("The Otter dived. 'Come here, Master Otter,' called the Stork.") == ["the Otter", "the Stork"]


def test_towns_days_and_nations_are_nobody():
    """Capitals that never act, or that name a place or a time, are left out."""
    assert names("In March the French train stopped at Lille, and on Friday it left Lille for Rome.") == []


def test_plural_groups_are_nobody():
    """Frogs and soldiers think in no single voice."""
    assert names("The Frogs laughed at the soldiers. The Frogs croaked, and the soldiers ran away.") == []


def test_a_likeness_is_nobody():
    """ "Like a lion" brings no lion into the passage."""
    assert names("Ingrid roared like a lion. Ingrid sat down.") == ["Ingrid"]


def test_two_women_are_told_apart_by_their_age():
    """The adjective that tells them apart stays in the name."""
    assert set(names("The old woman sang. The young woman listened.")) == {"old woman", "young woman"}


def test_town_and_country_stay_in_a_name():
    """Capitalised words before a role are part of it."""
    assert names("So the Marsh Hare said no, and the Hill Hare went home.") == ["Marsh Hare", "Hill Hare"]


def test_a_passage_without_anybody_gives_nobody():
    """Nothing found is an empty tuple, not an invented person."""
    assert read_scene("It rained all night. By noon the water had reached the step.").people == ()
    assert read_scene("") == Scene((), (), (), (), (), ())


def test_no_more_people_than_asked_for():
    """The weightiest ones are kept."""
    assert [person.name for person in read_scene(TALE, 1).people] == ["Heron"]


def test_a_line_uses_the_words_of_the_passage():
    """An apposition is the best description there is."""
    assert line(OFFICE, "Mr. Brandt") == "a cautious manager from the Leeds office"


def test_a_line_never_repeats_what_is_said_in_a_talkers_own_voice():
    """ "My" and "you" would mean somebody else in a description."""
    text = "The smith, the man who owes me my horse and your cart, laughed. The smith went home."
    assert " me " not in line(text, "smith")


def test_things_and_places_come_in_order_of_mention():
    """Each once, with its article."""
    scene = read_scene("She crossed the bridge with a lamp. Under the bridge lay her basket, and the lamp went out.")
    assert scene.things == ("the lamp", "the basket")
    assert scene.places == ("the bridge",)


def test_verbs_are_not_things():
    """ "Ring the bell" has a bell and no ring; "book a room" has no book."""
    assert read_scene("They ring the bell. We book a room.").things == ("the bell",)


def test_the_last_of_two_nouns_is_the_thing():
    """A kitchen table is a table."""
    scene = read_scene("He sat at the kitchen table.")
    assert (scene.things, scene.places) == (("the table",), ())


def test_events_are_named_for_what_happened():
    """Verbs and nouns of the same happening give the same words."""
    assert read_scene(OFFICE).events[:2] == ("the quarrel", "the promise")
    assert read_scene("They had been married a year, and nobody spoke of the wedding.").events == ("the wedding",)


def test_what_did_not_happen_is_no_event():
    """A denial close before the verb takes it away."""
    assert read_scene("She never promised it, and he had not stolen anything.").events == ()


def test_doings_are_gerunds_of_what_was_done():
    """A verb with its thing, or with its particle."""
    assert read_scene(OFFICE).doings == ("closing the drawer", "coming back")
    assert read_scene("She did not open the box. He ran to the harbour.").doings == ("running to the harbour",)


@pytest.mark.parametrize("source", SOURCES)
def test_every_name_stands_in_its_passage(source: str):
    """Anchoring: case for case and as whole words, over real narratives."""
    for passage in passages(source):
        for person in read_scene(passage).people:
            assert stands(person.name, passage), (person, passage)
            assert person.mention in (person.name, f"the {person.name}")


@pytest.mark.parametrize("source", SOURCES)
def test_lines_keep_their_length_and_nobody_comes_twice(source: str):
    """Five to sixteen words, at most the people asked for, each name once."""
    for passage in passages(source):
        people = read_scene(passage).people
        assert len({person.name for person in people}) == len(people) <= 6
        assert all(5 <= len(person.line.split()) <= 16 for person in people)


def test_most_real_passages_have_somebody():
    """At least nine in ten of the tales offer two people or more."""
    counts = [len(read_scene(passage).people) for passage in passages("fairytaleqa")]
    assert sum(count >= 2 for count in counts) >= 0.9 * len(counts)


def test_the_same_passage_gives_the_same_scene():
    """Nothing but the passage decides."""
    first = read_scene(TALE)
    read_scene.cache_clear()
    assert read_scene(TALE) == first
