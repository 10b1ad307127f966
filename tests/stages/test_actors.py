"""Facts about the actors stage: who is taken from a passage, and who is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.records import Actor, Fault, Passage
from factory.stages.actors import Actors, Named, Said, anchored

TEXT = (
    "Mara found the lamp by the well. Old Tobias, who keeps\nthe ferry, shouted across the lane. "
    "The baker's wife saw them both, and O'Brien (the smith) saw her. Anna-Lise slept."
)
PASSAGE = Passage(id="tale.p1", source_id="tale", index=0, text=TEXT)


def _read(*names: str, line: str = "walks about the village", most: int = 6) -> list[Actor | Fault]:
    return list(Actors(most=most).rows(PASSAGE, Said(actors=[Named(name=name, line=line) for name in names])))


def _reasons(*names: str, line: str = "walks about the village") -> list[str]:
    return [child.reason if isinstance(child, Fault) else "" for child in _read(*names, line=line)]


@pytest.mark.parametrize(
    "name", ["Mara", "MARA", "Old Tobias", "Tobias", "keeps the", "O'Brien", "baker's wife", "Anna-Lise"]
)
def test_a_name_that_stands_in_the_passage_is_taken(name: str) -> None:
    """Whatever its case, and across a line break."""
    assert _reasons(name) == [""]


@pytest.mark.parametrize("name", ["Tob", "Mar", "Maria", "ferry man", "Tobias Old", "Brien (a smith", "M.r.", "M?ra"])
def test_a_name_that_does_not_stand_there_is_not(name: str) -> None:
    """Parts of words, other words, another order; patterns are only text."""
    assert _reasons(name) == ["not_in_passage"]


@pytest.mark.parametrize(
    "name", ["", "  ", "?", ".*", "They", "he", "Narrator", "everyone", "the lamp by the well and the lane"]
)
def test_what_is_no_name_is_not_taken(name: str) -> None:
    """Pronouns, the teller, nothing, half a sentence."""
    assert _reasons(name) == ["not_a_name"]


def test_a_leading_article_is_no_part_of_the_name() -> None:
    """'The baker's wife' speaks as 'baker's wife', and is not listed twice by it."""
    children = _read("The baker's wife", "baker's wife")
    assert isinstance(children[0], Actor) and children[0].name == "baker's wife"
    assert isinstance(children[1], Fault) and children[1].reason == "duplicate"


@pytest.mark.parametrize(
    "line", ["", "ferryman", "word " * 41, "I'm sorry, but I can't help with that.", '{"line": "a b"}']
)
def test_a_line_that_describes_nobody_is_a_fault(line: str) -> None:
    """Empty, one word, endless, a refusal, a piece of JSON."""
    assert _reasons("Mara", line=line) == ["bad_line"]


def test_only_the_first_few_are_read() -> None:
    """A model that lists half the village is not asked again for it."""
    children = _read("Mara", "Tobias", "O'Brien", most=2)
    assert [child.id for child in children] == ["tale.p1.a1", "tale.p1.a2"]


def test_a_passage_without_actors_is_a_finding() -> None:
    """Final: asking again would only press the model to invent one."""
    (fault,) = _read()
    assert isinstance(fault, Fault) and fault.reason == "no_actor" and fault.final


def test_an_actor_knows_its_parents_by_column() -> None:
    """Nobody has to parse ids."""
    (actor,) = _read(" Old  Tobias ")
    assert actor == Actor(
        id="tale.p1.a1", source_id="tale", passage_id="tale.p1", name="Old Tobias", line="walks about the village"
    )


@given(st.text(), st.text(), st.text())
def test_any_name_and_line_give_one_child(name: str, line: str, passage: str) -> None:
    """No text of a model or corpus makes the stage fail, and nobody is taken who does not stand in the passage."""
    row = Passage(id="p", source_id="s", index=0, text=passage)
    (child,) = Actors().rows(row, Said(actors=[Named(name=name, line=line)]))
    assert isinstance(child, Fault) or anchored(child.name, passage)
