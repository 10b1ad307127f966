"""Facts about what is asked, and in whose words."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from emobench import fake
from emobench.conftest import REAL

from factory.emobench import prompts
from factory.emobench.items import Bench, Item, orders, read
from factory.emobench.prompts import View
from factory.emobench.words import AUTHORS, OURS, wording
from factory.errors import WrongRequest
from factory.requests import Message


def _view(bench: Bench, task: str, language: str = "en", at: int = 1, order: int = 0) -> View:
    item: Item = bench.of(task, language)[at]
    return View(item, order, tuple(orders(4, len(choices))[order] for choices in item.choices))


def _whole(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages)


def _checkout(folder: Path, asked: str = fake.PROMPTS, reply: str = fake.RESPONSE, place: str = ".") -> Path:
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / place / "prompts.yaml").write_text(asked, encoding="utf-8")
    (folder / place / "response.yaml").write_text(reply, encoding="utf-8")
    return folder


def test_v1_asks_one_question_with_lower_case_letters_in_brackets(bench: Bench) -> None:
    """A system message that wants the letter alone, then scene, question, choices and a closing line."""
    system, user = prompts.v1(_view(bench, "EU"), 0, "", cot=False)
    assert (system.role, user.role) == ("system", "user")
    assert "with nothing else" in system.content
    assert "(a) Relief\n(b) Pride & Guilt\n(c) Envy" in user.content
    assert "end up feeling" in user.content
    assert user.content.endswith("The letter of the answer:")
    assert "Nobody had asked for the key" not in user.content


def test_v1_tells_the_emotion_that_the_model_chose(bench: Bench) -> None:
    """The second question names it; where it is not known the question stands without."""
    assert "Why does Odile feel Envy here?" in _whole(prompts.v1(_view(bench, "EU"), 1, "Envy", cot=False))
    unknown = _whole(prompts.v1(_view(bench, "EU"), 1, "", cot=False))
    assert "Why does Odile end up feeling that way here?" in unknown
    assert "(b) Nobody had asked" in unknown


def test_v1_with_reasoning_wants_the_letter_on_the_last_line(bench: Bench) -> None:
    """The system message asks to reason and then conclude, and the user message ends with a cue to begin."""
    system, user = prompts.v1(_view(bench, "EA"), 0, "", cot=True)
    assert "last line" in system.content
    assert "with nothing else" not in system.content
    assert user.content.endswith("one step after the other:")


def test_application_asks_for_what_is_to_be_done_or_said(bench: Bench) -> None:
    """Action and Response are two questions, in both languages and both protocols."""
    for language, words in (
        ("en", ("thing for Odile to do", "way for Odile to respond")),
        ("zh", ("怎么做", "怎样回应")),
    ):
        for at, said in enumerate(words):
            assert said in _whole(prompts.v1(_view(bench, "EA", language, at), 0, "", cot=False))
    for at, said in enumerate(("Which action", "Which response")):
        assert said in _whole(prompts.v2(_view(bench, "EA", at=at), wording(Path(), "en", OURS), False, False))


def test_v2_asks_everything_at_once_with_upper_case_letters(bench: Bench) -> None:
    """One prompt for both questions, and the format of the reply as a fenced block of JSON."""
    found = wording(Path(), "en", OURS)
    system, user = prompts.v2(_view(bench, "EU"), found, cot=False, no_think=False)
    assert "A) Relief\nB) Pride & Guilt" in user.content
    assert "B) Nobody had asked for the key" in user.content
    block = re.search(r"```json\n\{\n(.*)\n\}\n```$", system.content, re.S)
    assert block is not None
    assert re.findall(r'"(\w+)":', block[1]) == ["answer_q1", "answer_q2"]


def test_v2_puts_the_reasoning_first(bench: Bench) -> None:
    """A model that decides before it reasons has not reasoned."""
    found = wording(Path(), "zh", OURS)
    system, _ = prompts.v2(_view(bench, "EA", "zh"), found, cot=True, no_think=False)
    assert re.findall(r'"(\w+)":', system.content) == ["reasoning", "answer"]


def test_no_think_stands_before_everything(bench: Bench) -> None:
    """As the authors write it for a model called qwen."""
    found = wording(Path(), "en", OURS)
    system, _ = prompts.v2(_view(bench, "EA"), found, cot=False, no_think=True)
    assert system.content.startswith("/no_think\n\n")


def test_likelihoods_are_asked_for_with_plain_choices_or_with_letters(bench: Bench) -> None:
    """Where the whole text is scored no letter stands before it."""
    assert "- Relief\n- Pride & Guilt" in _whole(prompts.scored(_view(bench, "EU"), 0, "", letters=False))
    assert "A. Relief\nB. Pride & Guilt" in _whole(prompts.scored(_view(bench, "EU"), 0, "", letters=True))


def test_an_answer_after_a_thought_is_a_turn_of_its_own(bench: Bench) -> None:
    """The thought stands as the model's own words, and what is scored follows a last question."""
    found = prompts.scored(_view(bench, "EA"), 0, "", letters=False, thought="She is tired.")
    assert [message.role for message in found] == ["system", "user", "assistant", "user"]
    assert found[2].content == "She is tired."
    assert "word for word" in found[3].content


def test_the_order_decides_where_a_choice_stands(bench: Bench) -> None:
    """The second order begins with the second choice, and a place shown is led back to the published one."""
    view = _view(bench, "EA", order=1)
    assert view.shown(0)[0] == fake.ACTIONS["en"][1]
    assert [view.published(0, place) for place in (0, 3, -1, 9)] == [1, 0, -1, 9]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("task", ["EU", "EA"])
def test_a_scene_with_the_fields_of_a_prompt_stays_as_it_is(task: str, language: str, tmp_path: Path) -> None:
    """Braces, percent signs and backslashes in a scene or a choice are text."""
    hostile = "{subject} said {choices} {0} {__class__} 100% \\1 {{x}}"
    made = {"EU": fake.understanding, "EA": fake.application}[task](1, language, scenario=hostile, subject="{emotion}")
    rows = {"EU": [fake.understanding(0)], "EA": [fake.application(0)]} | {task: [made]}
    view = _view(read(fake.write(tmp_path, rows["EU"], rows["EA"])), task, language, at=0)
    for messages in (
        prompts.v1(view, 0, "", False),
        prompts.v2(view, wording(Path(), language, OURS), False, False),
        prompts.scored(view, 0, "", True),
    ):
        assert hostile in _whole(messages)
        assert "{emotion}" in _whole(messages)


# The authors' words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "src/configs", "../src/configs", "data"])
def test_the_authors_words_are_read_from_the_users_checkout(place: str, bench: Bench, tmp_path: Path) -> None:
    """Beside the data, or in src/configs of the checkout whether it or its data folder is given."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    _checkout(folder, place=place)
    found = wording(folder, "en")
    assert found.whose == AUTHORS
    system, user = prompts.v2(_view(bench, "EA"), found, cot=False, no_think=False)
    assert system.content.startswith("# Theirs\nChoose.\n\nJust the letter.\n```json")
    assert "a small scene on the stairs. / Response of Odile?\nA) Wait outside" in user.content


def test_our_words_are_used_where_theirs_are_not_or_are_not_wanted(tmp_path: Path) -> None:
    """Without both files, and where the user says so."""
    assert wording(tmp_path, "en").whose == OURS
    _checkout(tmp_path)
    assert wording(tmp_path, "en", OURS).whose == OURS
    (tmp_path / "response.yaml").unlink()
    assert wording(tmp_path, "en").whose == OURS


def test_asking_for_words_that_are_not_there_is_refused(tmp_path: Path) -> None:
    """The cure is a checkout, or our own."""
    with pytest.raises(
        WrongRequest, match=r"there is no prompts.yaml .*; give a checkout of EmoBench, or SET=wording=ours"
    ):
        wording(tmp_path, "en", AUTHORS)
    with pytest.raises(WrongRequest, match="wording=mine is not known; choose ours or authors"):
        wording(tmp_path, "en", "mine")


@pytest.mark.parametrize(
    ("asked", "reply", "said"),
    [
        ("sys: [", fake.RESPONSE, "cannot be read"),
        ("- 1\n", fake.RESPONSE, "are not the authors' files"),
        (fake.PROMPTS.replace("sys:", "system:"), fake.RESPONSE, "'sys' is not there in en"),
        (fake.PROMPTS, fake.RESPONSE.replace("Think first.", "''"), "'cot' is not there in en"),
        (fake.PROMPTS.replace("{q_type} of", ""), fake.RESPONSE, "the EA prompt in en has not the fields"),
        (
            fake.PROMPTS.replace("{scenario} (", "{scenario.__class__} ("),
            fake.RESPONSE,
            "the EU prompt in en has not the fields",
        ),
        ("!!python/object/apply:os.getcwd []", fake.RESPONSE, "cannot be read"),
        ("# " + "x" * 200_000, fake.RESPONSE, "is too large"),
    ],
)
def test_odd_files_of_words_are_refused(asked: str, reply: str, said: str, tmp_path: Path) -> None:
    """Nothing of them is run, and the sentence says how to go on without."""
    with pytest.raises(WrongRequest, match="SET=wording=ours") as caught:
        wording(_checkout(tmp_path, asked, reply), "en")
    assert said in str(caught.value)


def test_without_a_reader_of_yaml_the_cure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No silent change to our words."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(WrongRequest, match="needs PyYAML: pip install pyyaml, or give SET=wording=ours"):
        wording(_checkout(tmp_path), "en")


def test_the_published_words_are_read(real: Bench) -> None:
    """In both languages, with all that protocol v2 needs."""
    folder = REAL
    if not (folder / "prompts.yaml").is_file():
        pytest.skip("shared/data/emobench has no prompts.yaml")
    for language in ("en", "zh"):
        found = wording(folder, language)
        assert found.whose == AUTHORS
        text = _whole(prompts.v2(_view(real, "EU", language), found, cot=True, no_think=False))
        assert "{" not in text.replace("{\n", "")
        assert re.findall(r'"(\w+)":', text) == ["reasoning", "answer_q1", "answer_q2"]


def test_our_words_are_not_theirs(real: Bench) -> None:
    """No line of ours stands in the authors' files."""
    folder = REAL
    theirs = "\n".join((folder / name).read_text("utf-8") for name in ("prompts.yaml", "response.yaml"))
    for language in ("en", "zh"):
        ours = wording(folder, language, OURS)
        view = _view(real, "EU", language)
        texts = [*ours[1:4], *ours.page.values(), _whole(prompts.v1(view, 0, "", True)).replace(view.item.scenario, "")]
        for line in "\n".join(texts).splitlines():
            assert len(line) < 12 or line.startswith("{") or line not in theirs
