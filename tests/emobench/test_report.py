"""Facts about a whole run and what it writes."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from emobench import fake

from factory.emobench import About, compare, read_outcome, report, run
from factory.emobench.items import Bench, read
from factory.emobench.score import Outcome
from factory.errors import WrongRequest
from factory.requests import Message

Says = Callable[..., str]
HOSTILE = (
    "| a | b |\n\n# Title\n<script>alert(1)</script> [x](http://y) `c` **d** \\ \u202e \x1b[31m ![z](w)" + " long" * 99
)


def _run(folder: Path, bench: Bench, reply: Says | None = None, **more: object) -> Outcome:
    model = fake.perfect(bench.items)
    if reply is not None:
        model.says = reply
    return run(model, folder, **({"protocol": "v2"} | more))  # type: ignore[arg-type]


def _tables(text: str) -> list[list[int]]:
    """Of each table the number of cells of its lines."""
    blocks = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    return [[len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()] for block in blocks]


def test_json_reads_back_to_the_same(folder: Path, bench: Bench, tmp_path: Path) -> None:
    """Every reply and every figure, and the same bytes again; a folder or the file itself is read."""
    for protocol in ("v1", "letters"):
        outcome = _run(folder, bench, protocol=protocol, out=tmp_path)
        assert read_outcome(tmp_path) == read_outcome(tmp_path / "emobench.json") == outcome
        assert report.to_json(report.of_json(report.to_json(outcome))) == report.to_json(outcome)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"model": 3}'])
def test_other_json_is_refused(data: bytes, tmp_path: Path) -> None:
    """One sentence for what is no outcome, another for what is not there."""
    with pytest.raises(WrongRequest, match="this is no outcome of EmoBench"):
        report.of_json(data)
    with pytest.raises(WrongRequest, match=r"emobench.json cannot be read .*; give the OUT of an evaluation"):
        read_outcome(tmp_path)


@pytest.mark.parametrize(
    ("protocol", "changed"),
    [
        ("v2", {"readings": {}}),
        ("v2", {"readings": {"strict": {"orders": [[0, 0]], "voted": [0, 0]}}}),
        ("v2", {"labels": [0]}),
        ("letters", {"readings": {"letter": {"orders": [], "voted": [0, 0]}}}),
        ("letters", {"readings": {"letter": {"orders": [[0, 0]] * 5, "voted": [0, 0]}}}),
        ("letters", {"readings": {"letter": {"orders": [[0]] * 4, "voted": [0, 0]}}}),
        ("letters", {"readings": {"letter": {"orders": [[0, 0]] * 4, "voted": [0]}}}),
    ],
)
def test_an_outcome_whose_parts_do_not_fit_is_refused(
    folder: Path, bench: Bench, protocol: str, changed: dict[str, object]
) -> None:
    """Readings of another protocol, orders or parts that are not there: nothing is compared with what was not asked."""
    told = json.loads(report.to_json(_run(folder, bench, protocol=protocol)))
    told["results"][0]["answered"][1] |= changed
    with pytest.raises(WrongRequest, match=r"this is no outcome of EmoBench \(results.0.answered.1\); write it anew"):
        report.of_json(json.dumps(told).encode())


def test_an_outcome_with_figures_of_other_readings_is_refused(folder: Path, bench: Bench) -> None:
    """Those of its protocol, in their order."""
    told = json.loads(report.to_json(_run(folder, bench)))
    told["results"][1]["scores"].pop()
    with pytest.raises(WrongRequest, match=r"this is no outcome of EmoBench \(results.1.scores\); write it anew"):
        report.of_json(json.dumps(told).encode())


def test_the_same_run_writes_the_same_bytes(folder: Path, bench: Bench, tmp_path: Path) -> None:
    """No clock and no order of a set is in them."""
    for name in ("one", "other"):
        _run(folder, bench, out=tmp_path / name)
    for file in ("emobench.json", "emobench.md"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_nothing_half_written_stays(folder: Path, bench: Bench, tmp_path: Path) -> None:
    """Both files are there whole, and nothing else."""
    _run(folder, bench, out=tmp_path / "a/b")
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["emobench.json", "emobench.md"]


def test_the_report_says_how_it_was_asked(folder: Path, bench: Bench) -> None:
    """Protocol, whose wording, whether the settings are the published ones, and what stands beside the figures."""
    text = report.markdown(_run(folder, bench))
    assert "protocol v2, the authors' code of May 2025" in text
    assert "our own wording; settings as published" in text
    assert "EU.jsonl holds 12 items in en, the published file 200" in text.replace("\\", "")
    assert "| uniform | all |" in text
    assert "emotion A, longest cause" in text
    assert "Replies: 12 read as the protocol reads them." in text
    guided = report.markdown(_run(folder, bench, guided=True))
    assert "settings differ from the published ones" in guided
    assert "decoded under a schema" in guided
    chain = report.markdown(_run(folder, bench, protocol="v1", faithful=True))
    assert "the last emotion is told, as in the authors' code" in chain
    assert "5 repeats, voted on within each of 4 option orders" in chain
    assert "one vote over the orders" in chain


def test_likelihoods_are_told_as_what_they_are(folder: Path, bench: Bench) -> None:
    """Nothing is parsed, so there is no ParseOK; reasoning comes first where it is asked for; what had no probability is said."""
    text = report.markdown(_run(folder, bench, protocol="likelihood", cot=True))
    assert "nothing is parsed" in text and "ParseOK is" not in text and "no probability" not in text
    assert "the model reasons first, greedily, in at most 500 tokens" in text
    model = fake.Model(bench.items, likes=lambda item, option: float("-inf"))
    outcome = run(model, folder, protocol="letters")
    lines = report.summary(outcome).splitlines()
    assert lines[2].startswith("| EU | en | letters | letter | 12 | 0.000 | - | - | - |")
    assert "The model told no probability for 100.0% of the questions" in report.markdown(outcome)


def test_the_authors_wording_is_named_in_the_report(bench: Bench, tmp_path: Path) -> None:
    """Where the user's checkout has it, v2 asks in it and says so; `wording` turns it off."""
    place = fake.write(tmp_path)
    (place / "prompts.yaml").write_text(fake.PROMPTS, encoding="utf-8")
    (place / "response.yaml").write_text(fake.RESPONSE, encoding="utf-8")
    model = fake.perfect(bench.items)
    assert "the authors' wording, read from their files" in report.markdown(run(model, place, protocol="v2"))
    assert model.asked[0].messages[0].content.startswith("# Theirs")
    assert "our own wording" in report.markdown(run(model, place, protocol="v2", wording="ours"))


def test_the_table_stands_on_its_own(folder: Path, bench: Bench) -> None:
    """A line for each reading, with interval, ParseOK, chance and the best that needs no model."""
    lines = report.summary(_run(folder, bench, languages=("en", "zh"))).splitlines()
    assert len(lines) == 2 + 4 * 2 + 2
    assert lines[2].startswith("| EU | en | v2 | strict | 12 | 1.000 | - | 1.000 | 1.000 | 0.0370 |")
    assert {line.count("|") for line in lines[:-2]} == {12}
    assert lines[-2:] == ["", "-: too few items for an interval (under 30)"]


def test_an_interval_stands_where_there_are_enough_items(bench: Bench, tmp_path: Path) -> None:
    """Thirty of them; of fewer a bootstrap's shrinks to a point, and says what is not so."""
    place = fake.write(tmp_path, [fake.understanding(n) for n in range(29)], [fake.application(n) for n in range(30)])
    model = fake.perfect(read(place).items)
    outcome = run(model, place, protocol="v2")
    outcome = replace(outcome, comparisons=compare(outcome, outcome))
    _, _, eu, _, ea, *_ = report.summary(outcome).splitlines()
    assert "| 29 | 1.000 | - |" in eu and "| 30 | 1.000 | 0.886 to 1.000 |" in ea
    _, _, eu, _, ea, *_ = report.compared(outcome.comparisons).splitlines()
    assert "| +0.000 | - |" in eu and "| +0.000 | +0.000 to +0.000 |" in ea
    assert report.markdown(outcome).count("too few") == 1


def test_what_was_measured_stands_in_both_files(folder: Path, bench: Bench) -> None:
    """Fingerprint, base, number format and what answered, where that is known; of a server nothing is."""
    about = About(base="org/base", fingerprint="ab12", decoding="numbers bfloat16", versions={"torch": "2"})
    outcome = _run(folder, bench, about=about)
    text = report.markdown(outcome)
    assert r"- model: fingerprint `ab12`; base org/base; numbers bfloat16" in text and ", torch 2" in text
    assert (outcome.fingerprint, outcome.base, outcome.versions["torch"]) == ("ab12", "org/base", "2")
    assert "- model:" not in report.markdown(_run(folder, bench))


def test_hostile_texts_break_no_table_and_stay_words(bench: Bench, tmp_path: Path) -> None:
    """Marks of Markdown and HTML, line breaks, controls and lengths in names, categories, ids and replies."""
    eu = [fake.understanding(n) | {"qid": f"{n}|`x`", "coarse_category": "a|b\n<b>c</b>"} for n in range(3)]
    ea = [fake.application(n) | {"category": "x | y"} for n in range(2)]
    place = fake.write(tmp_path, eu, ea)
    model = fake.Model((), lambda question, right: HOSTILE, name="model | `x` <b>")
    model.right = lambda question: {}  # type: ignore[method-assign]
    outcome = run(model, place, protocol="v2")
    text = report.markdown(outcome)
    assert outcome.results[0].heard == {"unread": 3}
    for counts in _tables(text):
        assert len(set(counts)) == 1
    assert "<script>" not in text and "\n# Title" not in text and "](http" not in text
    assert not re.search(r"[\u202e\x1b]", text)
    assert max(map(len, text.splitlines())) < 400
    assert report.of_json(report.to_json(outcome)) == outcome


def test_a_reply_that_is_no_unicode_can_be_written(folder: Path, bench: Bench, tmp_path: Path) -> None:
    """Half a surrogate pair becomes a question mark."""
    outcome = _run(folder, bench, lambda question, right: "so \ud83d", out=tmp_path)
    assert outcome.results[0].answered[0].replies == ("so ?",)
    assert read_outcome(tmp_path) == outcome


def test_two_outcomes_make_a_table(folder: Path, bench: Bench) -> None:
    """The first's accuracy less the other's, with interval and p; and two protocols make none."""
    good = _run(folder, bench)
    bad = _run(folder, bench, lambda question, right: "well")
    lines = report.compared(compare(good, bad)).splitlines()
    assert lines[2] == "| EU | en | strict | 12 | 1.000 | 0.000 | +1.000 | - | 12 | 0 | 0.0005 |"
    with pytest.raises(WrongRequest, match="protocol v2 and v1"):
        compare(good, _run(folder, bench, protocol="v1"))


def test_a_run_is_compared_with_another_models(folder: Path, bench: Bench, tmp_path: Path) -> None:
    """The other's OUT is given; the table stands in both files, and survives reading back."""
    _run(folder, bench, lambda question, right: "well", out=tmp_path / "base")
    outcome = _run(folder, bench, against=tmp_path / "base", out=tmp_path / "tuned")
    assert outcome.against == "fake"
    assert [(one.task, one.only_one) for one in outcome.comparisons] == [("EU", 12), ("EU", 12), ("EA", 12), ("EA", 12)]
    assert "## Compared with fake" in (tmp_path / "tuned/emobench.md").read_text("utf-8")
    assert read_outcome(tmp_path / "tuned") == outcome


def test_a_comparison_that_cannot_be_is_refused_before_anything_is_asked(
    folder: Path, bench: Bench, tmp_path: Path
) -> None:
    """Another protocol, or no outcome: not after thousands of questions."""
    _run(folder, bench, protocol="v1", out=tmp_path)
    model = fake.perfect(bench.items)
    with pytest.raises(WrongRequest, match="are not compared: protocol v2 and v1"):
        run(model, folder, protocol="v2", against=tmp_path)
    with pytest.raises(WrongRequest, match="the items of EU in en are not the same"):
        run(model, folder, protocol="v1", limit=3, against=tmp_path)
    with pytest.raises(WrongRequest, match="fake and fake were asked about no task in the same language"):
        run(model, folder, protocol="v1", languages=("zh",), against=tmp_path)
    with pytest.raises(WrongRequest, match="give the OUT of an evaluation"):
        run(model, folder, protocol="v2", against=tmp_path / "none")
    assert model.calls == 0


# What is asked for ----------------------------------------------------------------------------------------------------


def test_tasks_languages_and_limit_are_kept_to(folder: Path, bench: Bench) -> None:
    """Each once, in our order; so many items of each, with a note."""
    outcome = _run(folder, bench, tasks=("EA",), languages=("zh", "en", "zh"), limit=2)
    assert [(one.ask.task, one.ask.language, len(one.answered)) for one in outcome.results] == [
        ("EA", "en", 2),
        ("EA", "zh", 2),
    ]
    assert "LIMIT: 2 items of each task and language were asked, drawn by a fixed seed" in outcome.notes


def test_a_limit_is_drawn_from_all_categories_and_fewer_are_a_part_of_more(bench: Bench, tmp_path: Path) -> None:
    """The published files are sorted by category: their first items are of one alone."""
    sorted_ = sorted((fake.understanding(n) for n in range(60)), key=lambda row: row["coarse_category"])
    place = fake.write(tmp_path, sorted_, [fake.application(0)])
    items = read(place).of("EU", "en")
    order, asked = {item.qid: n for n, item in enumerate(items)}, []
    for limit in (6, 12, 24, 60):
        found = run(fake.perfect(items), place, protocol="v2", tasks=("EU",), limit=limit).results[0].answered
        places = [order[one.qid] for one in found]
        assert len(places) == limit and places == sorted(places)
        asked.append({*places})
        assert len({one.category for one in found}) > 1
    assert asked[0] < asked[1] < asked[2] < asked[3]


def test_a_task_that_is_not_there_is_said_and_left_out(bench: Bench, tmp_path: Path) -> None:
    """Chinese without a Chinese item; nothing at all is refused."""
    place = fake.write(tmp_path, [fake.understanding(0)], [fake.application(0)])
    said: list[str] = []
    outcome = _run(place, bench, languages=("en", "zh"), says=said.append)
    assert len(outcome.results) == 2
    assert any("has no item of EU in zh" in sentence for sentence in said)
    assert any("has no item of EU in zh" in note for note in outcome.notes)
    with pytest.raises(WrongRequest, match=r"there is nothing to ask: .* has no item of EU in zh"):
        _run(place, bench, languages=("zh",))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tasks": ("EX",)}, "tasks=EX is not known; choose among EU, EA"),
        ({"tasks": ()}, "tasks names none; choose among EU, EA"),
        ({"languages": ("fr",)}, "LANGUAGE=fr is not known; choose among en, zh"),
        ({"limit": -1}, "LIMIT=-1 is below 0"),
        ({"protocol": "v1", "wording": "ours"}, "wording=ours is for PROTOCOL=v2"),
        ({"wording": "mine"}, "wording=mine is not known"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is(
    more: dict[str, object], said: str, folder: Path, bench: Bench, tmp_path: Path
) -> None:
    """One sentence, no question, no file."""
    model = fake.perfect(bench.items)
    with pytest.raises(WrongRequest, match=said):
        run(model, folder, out=tmp_path / "out", **({"protocol": "v2"} | more))  # type: ignore[arg-type]
    assert model.calls == 0
    assert not (tmp_path / "out").exists()


def test_questions_begin_with_instructions_and_end_with_the_item(folder: Path, bench: Bench) -> None:
    """A system message and a user message, whatever the protocol."""
    for protocol in ("likelihood", "letters", "v1", "v2"):
        model = fake.perfect(bench.items)
        run(model, folder, protocol=protocol, limit=1)
        for question in model.asked:
            assert all(isinstance(message, Message) for message in question.messages)
            assert [message.role for message in question.messages] == ["system", "user"]
