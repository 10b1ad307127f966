"""Facts about EmoBench's files and the orders in which their choices are shown."""

from collections import Counter
from pathlib import Path

import pytest
from emobench import fake

from factory.emobench.items import LANGUAGES, TASKS, Bench, orders, places, read
from factory.errors import WrongRequest


def test_items_keep_every_field_and_the_place_of_each_label(tmp_path: Path) -> None:
    """An EU item has two lists of choices with two places, an EA item one, and white space around a text goes."""
    eu = fake.understanding(7, scenario=" A small scene. ")
    bench = read(fake.write(tmp_path, [eu], [fake.application(3)]))
    one, other = bench.items
    assert (one.task, one.qid, one.category, one.fine) == ("EU", "7", "emotional_cues", "made_up")
    assert one.scenario == "A small scene."
    assert one.labels == (7 % 6, 7 % 4)
    assert [len(choices) for choices in one.choices] == [6, 4]
    assert (other.task, other.category, other.fine, other.labels) == ("EA", "Social-Others", "Response", (3,))


def test_a_short_file_is_read_with_a_note(folder: Path) -> None:
    """Fewer items than were published may be meant; the report says so."""
    notes = read(folder).notes
    assert "EU.jsonl holds 12 items in en, the published file 200" in notes
    assert len(notes) == 4


def test_a_checkout_and_a_single_file_are_found(folder: Path, tmp_path: Path) -> None:
    """The repository has the files in `data`; one file is one task."""
    fake.write(tmp_path / "checkout/data")
    assert set(places(tmp_path / "checkout")) == {"EU", "EA"}
    assert {item.task for item in read(folder / "EA.jsonl").items} == {"EA"}
    assert read(folder).files.keys() == {"EU.jsonl", "EA.jsonl"}


def test_qid_repeats_across_languages_only(tmp_path: Path) -> None:
    """The same qid in both languages is the same item twice; in one language it is a broken file."""
    fine = [fake.understanding(1), fake.understanding(1, "zh")]
    assert len(read(_eu(tmp_path, fine)).items) == 2
    with pytest.raises(WrongRequest, match=r"EU.jsonl line 3: qid '1' in en stands on line 1 already; fetch"):
        read(_eu(tmp_path, [*fine, fake.understanding(1)]))


def _eu(folder: Path, rows: list[dict[str, object]]) -> Path:
    fake.write(folder, rows, [])
    (folder / "EA.jsonl").unlink()
    return folder


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"emotion_label": "Joy"}, "its emotion_label 'Joy' is none of its choices"),
        ({"cause_choices": ["It rained"]}, "its cause_choices are no list of 2 to 26 choices"),
        ({"cause_choices": "It rained"}, "its cause_choices are no list"),
        ({"cause_choices": ["It rained", "It rained"]}, "hold an empty choice, or one twice"),
        ({"cause_choices": ["It rained", 3]}, "hold an empty choice, or one twice"),
        ({"language": "fr"}, "language 'fr' is none of en, zh"),
        ({"scenario": "  "}, "its scenario is no text"),
        ({"subject": None}, "its subject is no text"),
        ({"qid": True}, "its qid is no text"),
    ],
)
def test_an_odd_line_ends_the_reading_with_its_place(changed: dict[str, object], said: str, tmp_path: Path) -> None:
    """File, line, what is wrong with it, and what to do."""
    rows = [fake.understanding(0), fake.understanding(1) | changed]
    with pytest.raises(WrongRequest, match=r"EU.jsonl line 2: .*; fetch the file again") as caught:
        read(_eu(tmp_path, rows))
    assert said in str(caught.value)


def test_an_odd_application_is_told_too(tmp_path: Path) -> None:
    """The kind of question decides how it is asked, so another one is refused; a field that is absent is named."""
    row = fake.application(0)
    fake.write(tmp_path, [fake.understanding(0)], [row | {"question type": "Song"}])
    with pytest.raises(WrongRequest, match=r"EA.jsonl line 1: question type 'Song' is none of Action, Response"):
        read(tmp_path)
    del row["question type"]
    fake.write(tmp_path, [fake.understanding(0)], [row])
    with pytest.raises(WrongRequest, match=r"EA.jsonl line 1: there is no question type"):
        read(tmp_path)


@pytest.mark.parametrize(("language", "said"), [("en", "it is no whole line of JSON"), ("zh", "it is not UTF-8")])
def test_a_truncated_file_is_refused_at_its_last_line(language: str, said: str, tmp_path: Path) -> None:
    """A download that stopped leaves half a line, perhaps half a character."""
    file = fake.write(tmp_path, [fake.understanding(n, language) for n in range(3)], []) / "EU.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(WrongRequest, match=f"EU.jsonl line 3: {said}.* fetch the file again"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["[1]\n", '"EU"\n', "3\n"])
def test_lines_that_are_no_objects_are_refused(text: str, tmp_path: Path) -> None:
    """Valid JSON of another kind is no item."""
    (tmp_path / "EA.jsonl").write_text(text)
    with pytest.raises(WrongRequest, match=r"EA.jsonl line 1: it is no JSON object"):
        read(tmp_path)


def test_what_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    """No folder, a folder without the files, a file of another name, an empty file."""
    with pytest.raises(WrongRequest, match="nowhere does not exist; give the folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(WrongRequest, match=r"holds no EU.jsonl or EA.jsonl; give the folder"):
        read(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(WrongRequest, match=r"rows.jsonl is neither EU.jsonl nor EA.jsonl"):
        read(tmp_path / "rows.jsonl")
    (tmp_path / "EU.jsonl").write_text("\n")
    with pytest.raises(WrongRequest, match=r"EU.jsonl is empty"):
        read(tmp_path)


@pytest.mark.parametrize("choices", [2, 3, 4, 6, 7])
def test_the_first_order_is_the_published_one_and_each_is_a_permutation(choices: int) -> None:
    """Nothing is lost by showing choices in another order."""
    some = orders(4, choices)
    assert some[0] == tuple(range(choices))
    assert all(sorted(order) == list(range(choices)) for order in some)
    assert len(set(some)) == min(4, choices)


def test_four_choices_stand_once_at_each_place() -> None:
    """So that any fixed letter is worth exactly chance."""
    for place in range(4):
        assert sorted(order[place] for order in orders(4, 4)) == [0, 1, 2, 3]


def test_the_published_files_are_read_whole(real: Bench) -> None:
    """200 of each task in each language, with the categories that METHODS counts, and no note."""
    assert real.notes == ()
    assert {(task, one): len(real.of(task, one)) for task in TASKS for one in LANGUAGES} == {
        (task, one): 200 for task in TASKS for one in LANGUAGES
    }
    for language in LANGUAGES:
        assert Counter(item.category for item in real.of("EU", language)) == {
            "perspective_taking": 67,
            "personal_beliefs_and_experiences": 56,
            "complex_emotions": 49,
            "emotional_cues": 28,
        }
        assert set(Counter(item.category for item in real.of("EA", language)).values()) == {50}
    causes = Counter(len(item.choices[1]) for item in real.of("EU", "en"))
    assert causes == {4: 140, 6: 60}
