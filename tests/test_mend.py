"""Facts about reading replies: what models put around and into their JSON is mended, what was cut off never is."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import BadReply
from factory.fit import fitted
from factory.mend import KINDS, LONGEST, mended
from factory.requests import Finish, Reply
from factory.stages import Answer, parse, schema
from factory.stages.actors import Said as Actors
from factory.stages.appraisal import Said as Appraisals
from factory.stages.flip import Said as Flip
from factory.stages.labels import Said as Labels
from factory.stages.rewriting import Said as Rewriting
from factory.stages.utterances import Said as Utterances

ANNA = {"name": "Anna", "line": "the miller's daughter"}
BOB = {"name": "Bob", "line": "a king who wants gold"}
ONE = '{"actors": [{"name": "Anna", "line": "the miller\'s daughter"}]}'
TWO = (
    '{"actors": [{"name": "Anna", "line": "the miller\'s daughter"}, {"name": "Bob", "line": "a king who wants gold"}]}'
)


class Mood(Answer):
    """What a stage of one's own may ask for: a closed list that pydantic holds the model to."""

    label: Literal["anger", "sadness", "nervousness", "self_reproach"]
    times: int = 0


def read(said: type[Answer], text: str) -> tuple[Any, tuple[str, ...]]:
    """What a reply says, as plain data, and the kinds that were mended."""
    found = parse(said, Reply(text=text))
    return found.said.model_dump(), found.mended


def refused(said: type[Answer], text: str, finish: Finish = "stop") -> str:
    with pytest.raises(BadReply) as caught:
        parse(said, Reply(text=text, finish=finish))
    return caught.value.reason


# What small models do with the actors stage: the reply, who is in it, what was mended.
ACTORS: list[tuple[str, str, int, str]] = [
    ("as asked", ONE, 1, ""),
    ("a fence", f"```json\n{ONE}\n```", 1, "fence"),
    ("a fence without a language", f"```\n{ONE}\n```\n", 1, "fence"),
    ("a fence of tildes", f"~~~json\n{ONE}\n~~~", 1, "fence"),
    ("a fence that is never closed", f"```json\n{ONE}", 1, "fence"),
    ("words before", f"Sure! Here are the people in the passage:\n\n{ONE}", 1, "prose"),
    ("words behind", f"{ONE}\n\nLet me know if you need anything else [1].", 1, "prose"),
    ("words and a fence", f"Here is the JSON:\n```json\n{ONE}\n```\nI hope this helps!", 1, "fence prose"),
    ("tags of an answer", f"<answer>{ONE}</answer>", 1, "prose"),
    ("brackets in the words", f"The people [as asked, with {{name}} and line] are:\n{ONE}", 1, "prose"),
    ("thinking", f'<think>\nWho acts? {{"actors": []}}? No.\n</think>\n\n{ONE}', 1, "thinking"),
    ("thinking, opened by the template", f'Who acts? {{"actors": []}}? No.\n</think>\n\n{ONE}', 1, "thinking"),
    ("thinking in a longer tag", f"<thinking>Anna.</thinking>{ONE}", 1, "thinking"),
    ("thinking in brackets", f"[THINK]Anna, I think.[/THINK]{ONE}", 1, "thinking"),
    ("two blocks of thinking", f"<think>Anna</think>\n<think></think>{ONE}", 1, "thinking"),
    (
        "harmony",
        f'<|channel|>analysis<|message|>{{"actors": []}}?<|end|><|start|>assistant<|channel|>final<|message|>{ONE}<|return|>',
        1,
        "thinking",
    ),
    ("harmony without its marks", f"analysisWe need the people.assistantfinal{ONE}", 1, "thinking"),
    ("thinking, then a fence", f"<think>Anna</think>\n```json\n{ONE}\n```", 1, "thinking fence"),
    (
        "single quotes, with an apostrophe",
        "{'actors': [{'name': 'Anna', 'line': 'the miller's daughter'}]}",
        1,
        "quotes syntax",
    ),
    (
        "a dict of Python",
        """{'actors': [{'name': 'Anna', 'line': "the miller's daughter"}], 'notes': None}""",
        1,
        "quotes syntax extra",
    ),
    ("typographic quotes", "{“actors”: [{“name”: “Anna”, “line”: “the miller's daughter”}]}", 1, "quotes"),
    ("trailing commas", '{"actors": [{"name": "Anna", "line": "the miller\'s daughter",},],}', 1, "comma"),
    (
        "no comma between entries",
        TWO.replace("}, {", "}\n{"),
        2,
        "comma",
    ),
    ("no comma between fields", ONE.replace('"Anna", ', '"Anna"\n'), 1, "comma"),
    ("two commas", TWO.replace("}, {", "},, {"), 2, "comma"),
    ("a byte order mark", f"\ufeff{ONE}", 1, "control"),
    ("a NUL", ONE.replace("Anna", "An\0na"), 1, "control"),
    ("a bell", ONE.replace("Anna", "An\x07na"), 1, "control"),
    ("keys without quotes", '{actors: [{name: "Anna", line: "the miller\'s daughter"}]}', 1, "syntax"),
    ("a comment", ONE.replace("[", "[ // who acts\n"), 1, "syntax"),
    ("no colon", ONE.replace('"name":', '"name"'), 1, "syntax"),
    ("an apostrophe that is escaped", ONE.replace("'", "\\'"), 1, "syntax"),
    ("a brace too many", f"{ONE}}}", 1, "syntax"),
    ("a brace too many inside", TWO.replace("},", "}},"), 2, "syntax"),
    ("a brace missing inside", ONE.replace("}]", "]"), 1, "syntax"),
    ("doubled braces", f"{{{ONE}}}", 1, "syntax"),
    ("written down twice", orjson.dumps(ONE).decode(), 1, "syntax"),
    ("the last brace missing", ONE[:-1], 1, "unclosed"),
    ("the last brackets missing before a fence", f"```json\n{ONE[:-2]}\n```", 1, "fence unclosed"),
    ("the array alone", TWO[len('{"actors": ') : -1], 2, "list"),
    ("one entry alone", orjson.dumps(ANNA).decode(), 1, "list"),
    ("one entry for the array", f'{{"actors": {orjson.dumps(ANNA).decode()}}}', 1, "list"),
    (
        "entries without an array",
        f"{orjson.dumps(ANNA).decode()}\n{orjson.dumps(BOB).decode()}",
        2,
        "list",
    ),
    ("the same with a comma", f"{orjson.dumps(ANNA).decode()},\n{orjson.dumps(BOB).decode()}", 2, "list"),
    ("keys in capitals", ONE.replace("actors", "Actors").replace("name", "NAME"), 1, "key"),
    ("more fields", ONE.replace('"name"', '"role": "hero", "name"'), 1, "extra"),
    ("one more object around", f'{{"response": {ONE}}}', 1, "extra"),
    ("a correction", f"{ONE}\nWait, there is the king, too:\n{TWO}", 2, "prose several"),
    ("an example, then the answer", f"The form is {{'actors': []}}, so:\n{TWO}", 2, "prose several"),
]


@pytest.mark.parametrize(("text", "people", "kinds"), [one[1:] for one in ACTORS], ids=[one[0] for one in ACTORS])
def test_a_reply_is_read_as_it_was_meant(text: str, people: int, kinds: str) -> None:
    """The people of the passage come out, and each kind of mending is named once."""
    said, found = read(Actors, text)
    assert said == {"actors": [ANNA, BOB][:people]}
    assert set(found) == set(kinds.split())
    assert len(found) == len(set(found))


SHAPES: list[tuple[str, type[Answer], str, Any, str]] = [
    (
        "percent signs",
        Labels,
        '{"items": [{"n": 1, "scores": [{"label": "joy", "score": "80%"}, {"label": "fear", "score": 5%}]}]}',
        [("joy", 0.8), ("fear", 0.05)],
        "syntax number",
    ),
    (
        "percentages, of which 1 is one percent",
        Labels,
        '{"items": [{"n": 1, "scores": [{"label": "joy", "score": 80}, {"label": "fear", "score": 1}]}]}',
        [("joy", 0.8), ("fear", 0.01)],
        "number",
    ),
    (
        "of ten, and decimal commas",
        Labels,
        '{"items": [{"n": "1.", "scores": [{"label": "joy", "score": "8/10"}, {"label": "fear", "score": 0,7}]}]}',
        [("joy", 0.8), ("fear", 0.7)],
        "syntax number",
    ),
    (
        "one score without an array",
        Labels,
        '{"items": [{"n": 1, "scores": {"label": "joy", "score": 0.8}}]}',
        [("joy", 0.8)],
        "list",
    ),
    (
        "words without quotes",
        Labels,
        '{"items": [{"n": 1, "scores": [{"label": joy, "score": .8}]}]}',
        [("joy", 0.8)],
        "syntax",
    ),
]


@pytest.mark.parametrize(("said", "text", "scores", "kinds"), [x[1:] for x in SHAPES], ids=[x[0] for x in SHAPES])
def test_scores_are_read_on_the_scale_they_are_on(said: type[Answer], text: str, scores: Any, kinds: str) -> None:
    """Percent, of ten, a decimal comma: the share that was meant."""
    found, mends = read(said, text)
    (item,) = found["items"]
    assert (item["n"], [(one["label"], one["score"]) for one in item["scores"]]) == (1, scores)
    assert set(mends) == set(kinds.split())


@pytest.mark.parametrize("scores", ["80, 0.5", "8, 0.5", "8, 5", "8", "-3, 80", "800", '"high"', '"0.8 or 0.9"'])
def test_a_score_of_which_nobody_can_say_what_it_means_is_refused(scores: str) -> None:
    """8 may be of ten or percent, 0.5 beside 80 may be either."""
    items = ", ".join(f'{{"label": "joy", "score": {one}}}' for one in scores.split(", "))
    assert refused(Labels, f'{{"items": [{{"n": 1, "scores": [{items}]}}]}}') == "schema"


@pytest.mark.parametrize("spoil", ["{}", "```{}```"])
@pytest.mark.parametrize(
    ("n", "score"), [("1", "true"), ("true", "0.5"), ("1", "false"), ("1", '"1,000"'), ("1", "1,000")]
)
def test_what_is_no_number_is_not_read_as_one(n: str, score: str, spoil: str) -> None:
    """True is not 1, and a thousand is not 1.0."""
    text = f'{{"items": [{{"n": {n}, "scores": [{{"label": "joy", "score": {score}}}]}}]}}'
    assert refused(Labels, spoil.format(text)) == "schema"


def test_an_appraisal_with_titles_for_keys_is_read() -> None:
    """Spaces and capitals for the names of its dimensions, and one number with a comma."""
    text = """{"Items": [{"N": 1, "Valence": "0,7", "Arousal": 0.5, "Dominance": 0.5, "Goal Attainment": 0.25,
    "Controllability": 1, "Certainty": 1, "Fairness": 0, "Rationale": "She has what she wanted."}]}"""
    said, kinds = read(Appraisals, text)
    assert (said["items"][0]["valence"], said["items"][0]["goal_attainment"]) == (0.7, 0.25)
    assert kinds == ("number", "key")


@pytest.mark.parametrize(
    ("text", "said", "kinds"),
    [
        ('{"text": "At last!"', "At last!", "unclosed"),
        ('[{"text": "At last!"}]', "At last!", "list"),
        ('{"text": "She said "no", and left."}', 'She said "no", and left.', "syntax"),
        ('{"text": "Two\nlines."}', "Two\nlines.", "control"),
        ('{"text": "A caf\\u00e9 \\ud83d\\ude00 \\d \\_"}', "A café 😀 \\d _", "syntax"),
        ('{"text": "Half \\ud83d of it"}', "Half \ufffd of it", "control"),
        ("{'text': 'It’s the dogs' fault, isn't it?'}", "It’s the dogs' fault, isn't it?", "quotes syntax"),
        ('{"text": "Use {braces} and [brackets], he said: \\"so\\""} ```', None, "fence"),
    ],
)
def test_texts_come_out_whole(text: str, said: str | None, kinds: str) -> None:
    """Quotes, apostrophes, line breaks and brackets inside a text neither end nor change it."""
    found, mends = read(Flip, text)
    assert found["text"] == (said or 'Use {braces} and [brackets], he said: "so"')
    assert set(mends) == set(kinds.split())


@pytest.mark.parametrize(
    ("word", "label", "kind"),
    [
        ("Anger", "anger", "case"),
        ("self-reproach", "self_reproach", "case"),
        ("Self Reproach", "self_reproach", "case"),
        ("angrily", "anger", "form"),
        ("sad", "sadness", "form"),
        ("Anxious", "nervousness", "form"),
    ],
)
def test_a_word_of_a_closed_list_is_known_in_another_form(word: str, label: str, kind: str) -> None:
    """Capitals and dashes are another case, an adverb or adjective another form."""
    assert read(Mood, f'{{"label": "{word}", "times": 2}}') == ({"label": label, "times": 2}, (kind,))


def test_a_word_that_is_not_in_the_list_is_refused() -> None:
    """Neither a near word nor one whose label the list does not hold."""
    assert {refused(Mood, f'{{"label": "{word}"}}') for word in ("gloomth", "happy", "")} == {"schema"}


def test_labels_that_the_stage_maps_itself_stay_as_they_were_said() -> None:
    """The raw word is a column of the dataset: it is mapped there, and nothing is counted here."""
    text = '{"utterances": [{"emotion": "Angrily", "text": "Get out!"}]}'
    assert read(Utterances, text) == (orjson.loads(text), ())
    assert read(Utterances, f"```{text}```") == (orjson.loads(text), ("fence",))
    assert read(Utterances, text.replace('"text"', '"Text"')) == (orjson.loads(text), ("key",))


@pytest.mark.parametrize(
    "text",
    [
        '{"actors": [{"name": "Anna", "line": "the mil',
        '{"actors": [{"name": "Anna", "line": "the miller"',
        '{"actors": [{"name": "Anna", "line": "the miller"}',
        '{"actors": [{"name": "Anna", "line": "the miller"},',
        '{"actors": [{"name": "Anna", "li',
        '{"actors": [{"name": "Anna", "line"',
        '{"actors": [{"name": "Anna", "line":',
        '{"actors": [',
        '{"actors":',
        "{",
        "[",
        '```json\n{"actors": [{"name": "Anna"',
        "<think>Who acts? " + ONE,
        "[THINK]" + ONE,
        "<|channel|>analysis<|message|>" + ONE,
        ONE + '\nWait, one more:\n{"actors": [{"name": "Bob", "li',
        ONE + "\nLet me refine that:\n```",
        ONE + "\n```json\n",
        ONE[:-2] + "\n```",
        ONE[:-1] + "\n```json",
    ],
)
def test_a_reply_that_was_cut_off_is_truncated(text: str) -> None:
    """Also where the server says that the model stopped, and where whole entries, or a draft, stand before the cut."""
    assert refused(Actors, text) == "truncated"


@pytest.mark.parametrize(
    "text",
    [
        '{"text": "I told my brother that I was so glad when he said "welcome home"',
        '{"text": "I told my brother that he said "',
        "{'text': 'It was my brother’",
        "{'text': 'It was the boys'",
        "{‘text’: ‘It was the boys’",
        "{“text”: “I was so glad when he said “",
    ],
)
def test_a_text_that_ends_at_a_quote_of_its_own_is_truncated(text: str) -> None:
    """The quote may close the text, or stand in it: an apostrophe, or one around words that somebody said."""
    assert refused(Flip, text) == "truncated"


@pytest.mark.parametrize("text", ['"I am glad he came" + " and stayed."', "'I am glad he came' + ' and stayed.'"])
def test_a_text_that_is_put_together_of_parts_is_no_json(text: str) -> None:
    """Nothing is computed here, and the plus is no part of what somebody says."""
    assert refused(Flip, f'{{"text": {text}}}') == "not_json"


@pytest.mark.parametrize(("text", "said"), [('{"label": "anger", "times": 12', Mood), ('{"label": "anger"', Mood)])
def test_a_number_or_a_field_that_may_be_missing_a_part_is_truncated(text: str, said: type[Answer]) -> None:
    """12 may have been 120, and a field with a default may have been on its way."""
    assert refused(said, text) == "truncated"


@pytest.mark.parametrize(
    "text",
    [
        '{"actors": [{"name": "Anna", "line": "the miller"}, ...]}',
        '{"actors": [{"name": "Anna", "line": }]}',
        '{"actors": [{"name": "Anna, "line": "the miller"}]}',
        '{"actors": [{"name": "Anna", "the miller"}]}',
        '{"actors": [{"name": "Anna", "line": "the miller}]}',
        '{"actors": {"name": ["Anna"], ["Bob"]}}',
        """{'actors':[{'name":"Anna","line":"the miller"}],,""",
        '{"actors": [{"name": "Anna", "line": "the miller", "line": a king}]}',
        "The passage names Anna and a king.",
        "",
        "```json\n```",
        "<think>Nobody.</think>",
    ],
)
def test_what_could_only_be_guessed_is_no_json(text: str) -> None:
    """No part is made up: not what dots stand for, not a missing value, not where a quote was meant."""
    assert refused(Actors, text) == "not_json"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "truncated"), ("repetition", "repetition"), ("filtered", "refusal"), ("error", "not_json")],
)
def test_a_reply_that_did_not_end_by_itself_is_not_read(finish: Finish, reason: str) -> None:
    """Whatever its text is."""
    assert refused(Actors, ONE, finish) == reason


def test_a_refusal_is_told_from_broken_json() -> None:
    """Also inside a fence."""
    assert refused(Actors, "```\nI'm sorry, but I can't help with that.\n```") == "refusal"


@pytest.mark.parametrize("words", ["I cannot help with that.", "I’m sorry, but I can’t do this."])
def test_an_object_beside_a_refusal_is_no_answer(words: str) -> None:
    """It only shows the form; words that decline count within the object no more than before."""
    assert refused(Flip, f'{words} The format would be {{"text": "some text here"}}') == "refusal"
    assert read(Flip, f'Sorry for the wait: {{"text": "{words}"}}') == ({"text": words}, ("prose",))


def test_a_reply_of_another_shape_says_what_is_wrong_with_it() -> None:
    """The first violation, with its place, as before anything was mended."""
    with pytest.raises(BadReply, match=r"schema: actors\.0\.line: Field required"):
        parse(Actors, Reply(text='```{"actors": [{"name": "Anna"}]}```'))


def test_a_good_reply_is_validated_once_and_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path never comes here."""
    monkeypatch.setattr("factory.stages.mended", None)
    assert parse(Actors, Reply(text=ONE)).mended == ()


# --- properties -----------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=30)
ITEMS = st.lists(st.fixed_dictionaries({"n": st.integers(1, 40), "text": TEXTS}), min_size=1, max_size=3)


@given(ITEMS, st.booleans())
def test_no_beginning_of_a_reply_is_taken_for_another_whole(items: list[dict[str, Any]], spaced: bool) -> None:
    """Cut anywhere, it is refused, or read as the whole where nothing but a last bracket was cut."""
    whole = {"items": items}
    text = orjson.dumps(whole, option=orjson.OPT_INDENT_2 if spaced else 0).decode()
    for cut in range(len(text)):
        try:
            assert read(Rewriting, text[:cut])[0] == whole
        except BadReply as err:
            assert err.reason in ("truncated", "not_json")


@given(ITEMS)
def test_a_beginning_in_a_fence_that_was_not_closed_is_not_taken_for_another_whole(items: list[dict[str, Any]]) -> None:
    """As without the fence, and so without a schema: there nothing is known to be whole."""
    text = "```json\n" + orjson.dumps({"items": items}).decode()
    for cut in range(len(text)):
        with pytest.raises(BadReply):
            list(mended(text[:cut]))


SPOILT = {
    "fence": lambda text: f"```json\n{text}\n```",
    "prose": lambda text: f"Here you are:\n{text}\nDone.",
    "comma": lambda text: text.replace("}]", "},]"),
    "thinking": lambda text: f"<think>{{}} hm</think>{text}",
    "unclosed": lambda text: text[:-1],
    "extra": lambda text: text[:-1] + ', "note": 1}',
}


@given(ITEMS, st.sets(st.sampled_from(["fence", "thinking", "extra"])), st.sampled_from(sorted(SPOILT)))
def test_what_is_spoilt_around_a_text_does_not_change_it(
    items: list[dict[str, Any]], more: set[str], kind: str
) -> None:
    """Whatever the texts hold: fences, brackets, tags of thinking, escapes."""
    whole, text = {"items": items}, orjson.dumps({"items": items}).decode()
    for one in (
        ("unclosed",) if kind == "unclosed" else sorted({kind, *more} - {"unclosed"}, key=list(SPOILT)[::-1].index)
    ):
        text = SPOILT[one](text)
    try:
        said, kinds = read(Rewriting, text)
    except BadReply:
        assert any(mark in str(items) for mark in ("think", "THINK", "}]", "```"))
        return
    assert said == whole or any("}]" in item["text"] for item in items)
    assert set(kinds) <= set(KINDS)


WILD = st.lists(
    st.sampled_from(
        (
            *"{}[],:\"'\\ \n/*#`~.0a-“”‘’",
            *("null", "True", '"a"', '"a":', '": "', "//", "/*", "*/", "```", "...", "1e999", "NaN", "Infinity"),
            *("<think>", "</think>", "<|channel|>", "<|message|>", "8/0", "0,7", "%", "٣", "\u2028", "\x85", "\0"),
            *("\\u12", "\\ud800", "\ud800", '{"items": [', '{"n": 1, "text": "', '"}', "]}"),
        )
    ),
    max_size=40,
).map("".join)


@settings(max_examples=500)
@given(WILD | TEXTS, st.sampled_from([Actors, Labels, Flip, Mood, Rewriting]))
def test_nothing_but_a_bad_reply_is_raised(text: str, said: type[Answer]) -> None:
    """Any text at all is read or refused; what is read can be written down as UTF-8."""
    try:
        found = parse(said, Reply(text=text))
    except BadReply as err:
        assert err.reason in ("not_json", "schema", "refusal", "truncated")
        err.detail.encode()
    else:
        orjson.dumps(found.said.model_dump())


@given(WILD)
def test_without_a_schema_nothing_but_a_bad_reply_is_raised(text: str) -> None:
    """The kinds are those of the list, each once and in its order."""
    try:
        for one in mended(text):
            assert list(one.kinds) == [kind for kind in KINDS if kind in one.kinds]
    except BadReply as err:
        assert err.reason in ("not_json", "truncated")


# --- bounds ---------------------------------------------------------------------------------------------------------


def hostile() -> Iterator[str]:
    """Long texts that are hard on a parser: nested, never closed, or looked over again and again."""
    pieces = [
        "[",
        "{",
        '"',
        "'",
        '{"a":',
        '{"a":"',
        '"a" ',
        '{"a":1}',
        "[1]",
        "[1],",
        "\\",
        "/* ",
        "{# ",
        "```",
        "<think>",
    ]
    pieces += [
        "<think></think>",
        "</think>",
        "<|channel|>final<|message|>",
        "analysis ",
        "“",
        "...",
        '",a ',
        "}{",
        "True ",
    ]
    for piece in pieces:
        for before, after in (("", ""), ('{"a":', "}"), ('{"items":[{"n":1,"text":"', '"}]}')):
            yield before + piece * ((LONGEST - 100) // len(piece)) + after


def test_hostile_replies_are_refused_in_bounded_time() -> None:
    """Up to the longest that is looked at, none takes seconds or a deep stack."""
    for text in hostile():
        start = time.process_time()
        with suppress(BadReply):
            list(mended(text, orjson.loads(schema(Rewriting))))
        assert time.process_time() - start < 3, text[:60]


@pytest.mark.parametrize("bound", ["_LIBRARY", "_STEPS"])
def test_the_library_is_held_to_its_bounds(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """What it would take too long for is refused; what needs it not is read at any length."""
    monkeypatch.setattr(f"factory.mend.{bound}", -1000)
    assert refused(Actors, '{"actors": [{"name": Anna, "line": "the miller"}]}') == "not_json"
    people = orjson.dumps({"actors": [ANNA] * 1000}).decode()
    assert read(Actors, people.replace("}]", "},],"))[1] == ("comma",)


def test_a_reply_of_too_many_objects_is_not_read() -> None:
    """Two hundred are no answer any more."""
    with pytest.raises(BadReply, match="more than 200 objects"):
        list(mended('{"text": "Yes."}\n' * 201))


def test_what_json_has_no_number_for_is_none() -> None:
    """NaN stays a word."""
    assert [next(mended(text)).value for text in ('{"a": NaN,}', '{"a": NaN}')] == [{"a": "NaN"}] * 2


def test_an_object_without_needed_fields_is_no_entry() -> None:
    """Else any object would be one of an array whose entries need nothing."""
    array = {"type": "array", "items": {"properties": {"a": {}}}}
    assert fitted({"b": 1}, {"properties": {"items": array}}, words=False) == ({"b": 1}, ())


def test_a_reply_that_is_too_long_is_not_looked_at() -> None:
    """It would cost more than it is worth."""
    assert refused(Actors, "x" * LONGEST + ONE) == "not_json"
    assert refused(Flip, orjson.dumps({"text": "x" * LONGEST}).decode()) == "not_json"


def test_mistakes_without_number_are_counted_and_not_listed() -> None:
    """Each would be a record of its own, in memory all at once."""
    with pytest.raises(BadReply, match="20,000 mistakes"):
        parse(Actors, Reply(text='{"actors": [' + ",".join(["{}"] * 10_000) + "]}"))


@pytest.mark.parametrize("text", ["[" * 65 + "]" * 65, '{"a":' * 65 + "1" + "}" * 65, "[" * 100_000])
def test_a_reply_that_is_nested_too_deep_is_not_read(text: str) -> None:
    """64 is deep enough for any schema here."""
    with pytest.raises(BadReply, match="not_json: the answer is nested"):
        list(mended(text))
    assert next(mended("[" * 64 + "1" + "]" * 64)).kinds == ()
