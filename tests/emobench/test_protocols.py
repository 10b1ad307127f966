"""Facts about the ways of asking, played by models that do what a test wants."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from emobench import fake

from factory.answers import NotOffered, Question
from factory.emobench import About, protocols, report, run
from factory.emobench.ask import PROTOCOLS, READINGS, Answered, asking
from factory.emobench.items import Bench, Item, Task
from factory.emobench.parse import NONE
from factory.emobench.protocols import best, vote
from factory.emobench.words import OURS, wording
from factory.errors import WrongRequest


def _asked(model: fake.Model, bench: Bench, protocol: str, task: Task = "EA", **more: object) -> tuple[Answered, ...]:
    ask = asking(protocol, task, "en", **more)  # type: ignore[arg-type]
    return protocols.answered(model, bench.of(task, "en"), ask, wording(Path(), "en", OURS))


@pytest.mark.parametrize("cot", [False, True], ids=["base", "cot"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_perfect_model_has_everything_right(protocol: str, cot: bool, folder: Path, bench: Bench) -> None:
    """Under every protocol, in both languages and tasks, with and without reasoning, by every reading and part."""
    outcome = run(fake.perfect(bench.items), folder, protocol=protocol, languages=("en", "zh"), cot=cot)
    assert [(one.ask.task, one.ask.language) for one in outcome.results] == [
        (task, language) for task in ("EU", "EA") for language in ("en", "zh")
    ]
    for result in outcome.results:
        assert [score.reading for score in result.scores] == list(READINGS[protocol])
        for score in result.scores:
            figures = [
                score.accuracy,
                score.voted,
                score.given_parsed,
                *score.parts.values(),
                *score.categories.values(),
            ]
            assert {figure.value for figure in figures} == {1.0}
            assert score.parse_ok == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_perfect_model_scores_100_on_the_published_files(protocol: str, real: Bench) -> None:
    """One item in ten of each task and language."""
    some = real.items[::10]
    for task, language in (("EU", "en"), ("EU", "zh"), ("EA", "en"), ("EA", "zh")):
        items = [item for item in some if (item.task, item.language) == (task, language)]
        ask = asking(protocol, task, language)  # type: ignore[arg-type]
        found = protocols.answered(fake.perfect(some), items, ask, wording(Path(), language, OURS))
        assert len(found) == 20
        assert all(all(one.right(reading)) for one in found for reading in READINGS[protocol])


def test_a_silent_model_has_nothing_right(folder: Path, bench: Bench) -> None:
    """An empty reply, as of an engine that failed, is a wrong answer and no error."""
    for protocol in ("v1", "v2"):
        for result in run(fake.Model(bench.items), folder, protocol=protocol).results:
            assert [score.accuracy.value for score in result.scores] == [0, 0]
            assert [score.parse_ok for score in result.scores] == [0, 0]
            assert set(result.heard) == {"empty"}


# Formats --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaks", "strict", "lenient"),
    [
        (lambda text: text, 1, 1),
        (lambda text: f"```json\n{text}\n```", 1, 1),
        (lambda text: f"Let me see.\n```json\n{text}\n```\nThat is all.", 1, 1),
        (lambda text: re.sub(r'"([A-F])"', r'"\1) as it says there"', text), 0, 1),
        (lambda text: re.sub(r'"([A-F])"', r'"\1)"', text), 0, 1),
        (lambda text: re.sub(r'"([A-F])"', lambda found: found[0].lower(), text), 0, 1),
        (lambda text: f"The answer is {text}", 0, 1),
        (lambda text: f"```\n{text}\n```", 0, 1),
        (lambda text: "I would rather not say", 0, 0),
        (lambda text: "", 0, 0),
    ],
    ids="plain json-fence prose-and-fence letter-and-text bracket lower prose fence prose-alone empty".split(),
)
@pytest.mark.parametrize("task", ["EU", "EA"])
def test_a_model_that_breaks_the_format_is_wrong_strictly_and_right_leniently(
    task: Task, breaks: Callable[[str], str], strict: int, lenient: int, bench: Bench
) -> None:
    """What it knows is the same each time; only the json block and the bare object are the protocol's."""
    model = fake.Model(bench.items, lambda question, right: breaks(fake.as_json(right)))
    found = _asked(model, bench, "v2", task)
    assert {one.right("strict") for one in found} == {(bool(strict),)}
    assert {one.right("lenient") for one in found} == {(bool(lenient),)}


def test_replies_are_counted_by_how_they_could_be_read(bench: Bench) -> None:
    """One of each: as the protocol does, leniently alone, not at all, empty."""
    said = iter(['{"answer": "A"}', '{"answer": "A)"}', "well", " "] * 3)
    found = _asked(fake.Model(bench.items, lambda question, right: next(said)), bench, "v2")
    assert [one.heard for one in found[:4]] == [("strict",), ("lenient",), ("unread",), ("empty",)]


# Protocol v1 ----------------------------------------------------------------------------------------------------------


def test_v1_asks_each_question_five_times_in_four_orders(bench: Bench) -> None:
    """EU is two questions of which the second waits for the first: two calls; no two questions are the same draw."""
    model = fake.perfect(bench.items)
    found = _asked(model, bench, "v1", "EU")
    assert model.calls == 2
    assert len(model.asked) == 12 * 4 * 5 * 2
    assert len({question.unit for question in model.asked}) == len(model.asked)
    assert len({question.seed for question in model.asked}) == len(model.asked)
    assert {(question.temperature, question.top_p, question.max_tokens) for question in model.asked} == {(0.6, 0.9, 75)}
    assert {question.task for question in model.asked} == {"mcq_eu"}
    assert {len(one.replies) for one in found} == {40}


def test_v1_shows_the_choices_in_the_order_of_each_view(bench: Bench) -> None:
    """The same letter is another choice in each order, and comes back as that choice."""
    found = _asked(fake.Model(bench.items, lambda question, right: "(a)"), bench, "v1")
    assert found[0].readings["strict"].orders == ((0,), (1,), (2,), (3,))
    assert sum(map(sum, (one.right("strict") for one in found))) == 12


def _felt(model: fake.Model) -> list[str]:
    """The emotions that cause questions name."""
    pages = (question.messages[1].content for question in model.asked if question.unit.endswith(".1"))
    return [found[1] if (found := re.search("Why does Odile feel (.*) here", page)) else "" for page in pages]


def test_the_cause_is_asked_for_with_the_models_own_emotion(bench: Bench) -> None:
    """Right or wrong: the chain goes on from what was chosen."""
    model = fake.Model(bench.items, lambda question, right: "(c)")
    _asked(model, bench, "v1", "EU", orders=1, repeats=1)
    assert set(_felt(model)) == {"Envy"}


def test_an_unread_emotion_is_told_as_the_last_one_in_the_faithful_mode_alone(bench: Bench) -> None:
    """The authors' code indexes with -1; ours asks without an emotion."""
    for faithful, told in ((True, "Longing"), (False, "")):
        model = fake.Model(bench.items, lambda question, right: "I cannot say")
        found = _asked(model, bench, "v1", "EU", orders=1, repeats=1, faithful=faithful)
        assert set(_felt(model)) == {told}
        assert {one.readings["strict"].voted for one in found} == {(NONE, NONE)}


def test_the_last_emotion_is_the_last_of_the_order_shown(bench: Bench) -> None:
    """In the second order the first choice stands last."""
    model = fake.Model(bench.items, lambda question, right: "I cannot say")
    _asked(model, bench, "v1", "EU", orders=2, repeats=1, faithful=True)
    assert _felt(model)[:2] == ["Longing", "Envy"]


def test_emotion_and_cause_are_voted_on_apart(bench: Bench) -> None:
    """Each is right in three of five repeats, both in one only: the vote is right in both."""
    rights = {0: "e", 1: "c", 2: "ec", 3: "e", 4: "c"}

    def says(question: Question, right: dict[str, str]) -> str:
        repeat, part = (int(one.lstrip("r")) for one in question.unit.split(".")[-2:])
        name = ("emotion", "cause")[part]
        letter = right[name]
        return f"({letter})" if name[0] in rights[repeat] else "(b)" if letter == "a" else "(a)"

    found = _asked(fake.Model(bench.items, says), bench, "v1", "EU", orders=1)
    assert all(one.right("strict") == (True,) for one in found)


def test_a_vote_takes_the_first_seen_of_equals_and_passes_over_what_was_not_read() -> None:
    """-1 wins only alone."""
    assert vote([2, 1, 1, 2, 0]) == 2
    assert vote([NONE, NONE, NONE, 3, 1]) == 3
    assert vote([NONE, NONE]) == NONE


def test_the_orders_vote_on_one_decision_for_the_item(bench: Bench) -> None:
    """Wrong in the first order and right in three: the item's decision is right, its mean three quarters."""

    def says(question: Question, right: dict[str, str]) -> str:
        wrong = "(b)" if right["answer"] == "a" else "(a)"
        return wrong if ".o0." in question.unit else f"({right['answer']})"

    found = _asked(fake.Model(bench.items, says), bench, "v1")
    assert {one.right("strict") for one in found} == {(False, True, True, True)}
    assert all(one.readings["strict"].voted == one.labels for one in found)


def test_a_letter_beyond_the_choices_is_a_wrong_answer(bench: Bench) -> None:
    """v1's parser knows six letters though a question shows four causes."""
    found = _asked(fake.Model(bench.items, lambda question, right: "(f)"), bench, "v1", "EU", orders=1, repeats=1)
    assert found[0].readings["strict"].orders == ((5, 5),)
    assert found[0].heard == ("strict", "strict")


# Protocol v2 ----------------------------------------------------------------------------------------------------------


def test_v2_asks_once_in_the_published_order(bench: Bench) -> None:
    """One pass with the published temperature and lengths, free of any schema."""
    for cot, tokens in ((False, 50), (True, 2048)):
        model = fake.perfect(bench.items)
        _asked(model, bench, "v2", "EU", cot=cot)
        assert model.calls == 1
        assert len(model.asked) == 12
        assert {(one.max_tokens, one.temperature, one.schema) for one in model.asked} == {(tokens, 0.6, "")}


def test_guided_decoding_passes_a_schema_of_each_items_letters(bench: Bench) -> None:
    """Six emotions, four or six causes; the reasoning stands first where it is wanted."""
    model = fake.perfect(bench.items)
    _asked(model, bench, "v2", "EU", guided=True, cot=True)
    schemas = [json.loads(question.schema) for question in model.asked]
    assert list(schemas[0]["properties"]) == ["reasoning", "answer_q1", "answer_q2"]
    assert schemas[0]["properties"]["answer_q2"]["enum"] == list("ABCD")
    assert schemas[2]["properties"]["answer_q2"]["enum"] == list("ABCDEF")
    assert schemas[0]["additionalProperties"] is False
    assert schemas[0]["required"] == ["reasoning", "answer_q1", "answer_q2"]


@pytest.mark.parametrize(
    ("name", "base", "cot", "told"),
    [
        ("Qwen/Qwen3-0.6B", "", False, True),
        ("Qwen/Qwen3-0.6B", "", True, False),
        ("qwen/other", "", False, False),
        ("models/slm", "Qwen/Qwen3-0.6B", False, True),
        ("models/qwen-like", "org/llama", False, False),
    ],
)
def test_a_model_made_of_a_qwen_is_told_not_to_think(
    name: str, base: str, cot: bool, told: bool, folder: Path, bench: Bench
) -> None:
    """As published, by the last part of the name, and not where it is to reason; an adapter is asked as its base is, and the
    report says which it was."""
    model = fake.perfect(bench.items)
    model.name = name
    outcome = run(model, folder, protocol="v2", cot=cot, about=About(base=base))
    assert {question.messages[0].content.startswith("/no_think") for question in model.asked} == {told}
    assert {result.ask.no_think for result in outcome.results} == {told}
    said = "this one was told so" if told else "this one was not told so"
    assert (said in report.markdown(outcome)) == (not cot)


# Likelihoods ----------------------------------------------------------------------------------------------------------


def test_the_best_option_by_sum_and_by_mean_may_differ() -> None:
    """-6 over 3 tokens is better by token than -4 over 1, and worse as a whole."""
    scores = [(-4.0, 1), (-6.0, 3)]
    assert best(scores, normalised=False) == 0
    assert best(scores, normalised=True) == 1


def test_options_without_a_probability_are_never_chosen() -> None:
    """Minus infinity and what is no number; the first of equals; NONE where nothing is left."""
    nothing = float("-inf")
    assert best([(nothing, 1), (float("nan"), 1), (-9.0, 1)], normalised=False) == 2
    assert best([(-1.0, 2), (-1.0, 2)], normalised=True) == 0
    assert best([(nothing, 1), (nothing, 0)], normalised=True) == NONE


def test_likelihoods_of_whole_texts_are_read_raw_and_by_token(bench: Bench) -> None:
    """A model with a constant loss per token likes the shortest option raw and has no choice by token."""

    def likes(item: Item, option: str) -> float:
        return -1.0 * len(option)

    found = _asked(fake.Model(bench.items, likes=likes), bench, "likelihood")
    assert {one.readings["raw"].voted for one in found} == {(3,)}  # "Sing"
    assert found[0].readings["normalised"].orders == ((0,), (1,), (2,), (3,))


def test_readings_that_part_at_the_emotion_ask_for_their_own_causes(bench: Bench) -> None:
    """ "Envy" raw and another by token: each cause question names the emotion of its reading."""

    def likes(item: Item, option: str) -> float:
        return {"Pride & Guilt": -5.0, "Envy": -4.0}.get(option, -99.0)

    model = fake.Model(bench.items, likes=likes)
    _asked(model, bench, "likelihood", "EU", orders=1)
    pages = [question.messages[1].content for question in model.asked if question.unit.endswith("scored.1")]
    named = [re.findall("Why does Odile feel (.*) here", page)[0] for page in pages]
    assert sorted(set(named)) == ["Envy", "Pride & Guilt"]
    assert len(pages) == 24


def test_letters_are_one_token_each(bench: Bench) -> None:
    """What an engine that tells the next token alone can score."""
    seen: list[str] = []

    class Watching(fake.Model):
        def _text(self, question: Question, option: str) -> str:
            seen.append(option)
            return super()._text(question, option)

    model = fake.perfect(bench.items)
    _asked(Watching(bench.items, model.says, model.likes), bench, "letters", "EU")
    assert set(seen) == set("ABCDEF")


def test_with_reasoning_the_thought_comes_first_and_is_shown(bench: Bench) -> None:
    """It is asked for greedily, then scored behind; an empty thought is left out."""
    model = fake.perfect(bench.items)
    _asked(model, bench, "likelihood", "EA", cot=True, orders=1)
    thoughts, scored = model.asked[:12], model.asked[12:]
    assert {(one.temperature, one.max_tokens) for one in thoughts} == {(0.0, 500)}
    assert {one.messages[2].content for one in scored} == {"Odile has seen the lamp."}
    silent = fake.Model(bench.items)
    _asked(silent, bench, "likelihood", "EA", cot=True, orders=1)
    assert {len(one.messages) for one in silent.asked} == {2}


def test_a_model_that_tells_no_likelihoods_is_refused_by_its_own_sentence(folder: Path, bench: Bench) -> None:
    """NotOffered goes through as it is, and nothing is written."""
    model = fake.perfect(bench.items)
    model.scores = False
    with pytest.raises(NotOffered, match="choose another protocol"):
        run(model, folder, out=folder / "out")
    assert not (folder / "out").exists()


# Settings -------------------------------------------------------------------------------------------------------------


def test_each_protocol_has_its_own_settings() -> None:
    """As METHODS 4.3 and 4.4 have them; a change of them is no longer the published protocol."""
    one, two, ours = asking("v1", "EU", "en"), asking("v2", "EU", "en"), asking("likelihood", "EU", "en")
    assert (one.orders, one.repeats, one.temperature, one.max_tokens) == (4, 5, 0.6, 75)
    assert (two.orders, two.repeats, two.temperature, two.max_tokens) == (1, 1, 0.6, 50)
    assert (ours.orders, ours.repeats, ours.temperature) == (4, 1, 0.0)
    assert (one.official, two.official, ours.official) == (False, True, False)
    assert asking("v1", "EU", "en", faithful=True).official
    assert asking("v1", "EA", "en").official
    assert not asking("v2", "EU", "en", guided=True).official
    assert not asking("v2", "EU", "en", orders=4).official
    assert not asking("v1", "EA", "en", temperature=0).official


@pytest.mark.parametrize(
    ("protocol", "more", "said"),
    [
        ("v3", {}, "PROTOCOL=v3 is not known; choose one of likelihood, letters, v1, v2"),
        ("v1", {"guided": True}, "schema is for PROTOCOL=v2"),
        ("v2", {"faithful": True}, "faithful mode is one of PROTOCOL=v1"),
        ("v2", {"repeats": 5}, "repeats that are voted on are for v1"),
        ("v1", {"orders": 0}, "give 1 to 24 orders"),
        ("v1", {"temperature": 3}, "a temperature from 0 to 2"),
    ],
)
def test_settings_without_a_meaning_are_refused(protocol: str, more: dict[str, int], said: str) -> None:
    """Before anything is asked, with what would have one."""
    with pytest.raises(WrongRequest, match=said):
        asking(protocol, "EU", "en", **more)  # type: ignore[arg-type]
