"""Facts about the prompt templates: their fields, sizes and examples, and what no value can do to a prompt."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import WrongRequest
from factory.prompts import Book, Template, folder, load, neutral, parse
from factory.records import (
    Actor,
    Background,
    Batch,
    Case,
    Context,
    Dialogue,
    Fault,
    Labels,
    Passage,
    Score,
    Turn,
    Utterance,
)
from factory.requests import Reply
from factory.settings import Content
from factory.stages import Agent, Asking, Stage, repair, request
from factory.stages.actors import Actors
from factory.stages.appraisal import DIMENSIONS, Appraisals
from factory.stages.background import AXES, Backgrounds
from factory.stages.cleaning import Cleaning
from factory.stages.context import Contexts
from factory.stages.dialogue import CLIENT, COUNSELLOR, SUPERVISOR, Dialogues
from factory.stages.flip import Flips
from factory.stages.labels import SoftLabels
from factory.stages.mcq import Items
from factory.stages.mcq_ea import EaItems
from factory.stages.mcq_eu import EuItems
from factory.stages.reading import CODES
from factory.stages.rewriting import Rewriting
from factory.stages.solve import EA, EU, Solves
from factory.stages.utterances import Speaker, Utterances
from factory.steps import pipeline
from factory.taxonomy import DEFINITIONS, LABELS, flip

PIPELINES = [pipeline(Content(preset=preset, labeller="logprobs")) for preset in ("default", "paper")]
STAGES = [step.stage for steps in PIPELINES for step in steps]
ASKING_ONCE = [stage for stage in STAGES if not isinstance(stage, Dialogues | Solves)]
AGENTS = list(dict.fromkeys(agent for stage in STAGES for agent in stage.agents))
WRITING = [agent for agent in AGENTS if agent.said is not None]
NAMES = sorted({agent.prompt for agent in AGENTS} | {"repair"})
BOOK = load(NAMES)
WITH_DEFINITIONS = {"utterances", "utterances_paper", "labels", "labels_paper", "flip"}

by_name = pytest.mark.parametrize("name", NAMES)
by_stage = pytest.mark.parametrize("stage", ASKING_ONCE, ids=lambda stage: f"{stage.name}-{stage.prompt}")


def _utterance(number: int, text: str, emotion: str) -> Utterance:
    ids = {"source_id": "tale", "passage_id": "tale.p1", "actor_id": "tale.p1.a1"}
    return Utterance(
        id=f"tale.p1.a1.u{number}", actor="Wenna", character="a neighbour", emotion=emotion, text=text, seed=1, **ids
    )


def _labels(one: Utterance, *labels: str) -> Labels:
    scores = tuple(Score(label, 0.8) for label in labels)
    strengths = tuple(0.8 if label in labels else 0.0 for label in LABELS)
    return Labels(
        id=one.id,
        source_id="tale",
        passage_id="tale.p1",
        raw=scores,
        mapped=scores,
        labels=labels,
        intensities=strengths,
    )


def _batch(lines: Iterable[tuple[tuple[str, ...], str]], passage: str = "Wenna watered the seedlings.") -> Batch:
    """An actor's batch in which each line is utterance and context alike, with these labels."""
    made = [(_utterance(n, text, labels[0]), labels) for n, (labels, text) in enumerate(lines, 1)]
    return Batch(
        id="tale.p1.a1",
        passage=Passage(id="tale.p1", source_id="tale", index=0, text=passage),
        actor=Actor(id="tale.p1.a1", source_id="tale", passage_id="tale.p1", name="Wenna", line="a neighbour"),
        utterances=tuple(u for u, _ in made),
        labels=tuple(_labels(u, *labels) for u, labels in made),
        contexts=tuple(
            Context(id=f"{u.id}.c", source_id="tale", passage_id="tale.p1", utterance_id=u.id, text=u.text)
            for u, _ in made
        ),
        targets=flip(made[0][1]) or (),
        valence=0.2,
    )


def _row(stage: Stage, batch: Batch, asked: tuple[str, ...] = ("remorse", "neutral")) -> Any:
    if isinstance(stage, Actors):
        return batch.passage
    if isinstance(stage, Backgrounds | Items):
        return _case(batch)
    if isinstance(stage, Utterances):
        return Speaker(id=batch.actor.id, passage=batch.passage, actor=batch.actor, asked=asked if stage.dealt else ())
    return batch


def _case(batch: Batch) -> Case:
    """The actor of a batch as a client whose talk has been held."""
    ids = {"source_id": "tale", "passage_id": "tale.p1", "actor_id": "tale.p1.a1", "actor": "Wenna"}
    axes = {name: values[0] for name, values in AXES.items()}
    turns = (Turn("client", "He counted the stems."), Turn("counsellor", "What did you see?"))
    return Case(
        id="tale.p1.a1.b",
        passage=batch.passage,
        actor=batch.actor,
        number=0,
        background=Background(id="tale.p1.a1.b", line="a neighbour", text="She forgot.", seed=1, **ids, **axes),
        dialogue=Dialogue(
            id="tale.p1.a1.b.d", background="She forgot.", turns=turns, stop_reason="supervisor", seed=1, **ids
        ),
    )


SMALL = _batch([(("remorse",), "I walked past that tap on all four evenings.")])


def _text(template: Template) -> str:
    return "\n".join("".join(part[::2]) for part in (template.system, template.user))


def _stated(template: Template, what: str) -> str:
    """What the head comment says after `fields:` or `tokens: about`."""
    found = re.search(rf"^{what} (.+)$", template.text.partition("-->")[0], re.M)
    assert found, f"{template.name} does not state its {what}"
    return found[1]


def _example(template: Template) -> tuple[list[str], str]:
    """The lines of the worked example and the one line of its answer."""
    lines = "".join(template.system).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Example ("))
    (end,) = (i for i, line in enumerate(lines) if line.startswith("{"))
    return lines[start + 1 : end], lines[end]


@by_stage
def test_a_stage_gives_exactly_the_fields_of_its_template(stage: Stage) -> None:
    """Strict rendering would stop a run at its first request; this finds it before."""
    fields = stage.ask(_row(stage, SMALL))
    assert fields.keys() == BOOK[stage.prompt].fields
    roles = [m.role for m in BOOK[stage.prompt].render(fields)]
    assert roles == ["system", "user"]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.prompt)
def test_every_agent_states_the_fields_of_its_template(agent: Agent) -> None:
    """So a template that does not fit is found before a run begins."""
    assert agent.fields == BOOK[agent.prompt].fields


@by_name
def test_the_head_of_a_template_states_its_fields_and_its_size(name: str) -> None:
    """Fields in full, tokens within a tenth of a quarter of the characters."""
    template = BOOK[name]
    assert set(_stated(template, "fields:").split(", ")) == template.fields
    tokens = len(_text(template)) / 4
    assert abs(int(_stated(template, "tokens: about")) - tokens) <= 0.1 * tokens


@by_name
def test_the_passage_is_the_first_field(name: str) -> None:
    """A server that caches prefixes reads a passage once for all its actors, an actor once for all that is his."""
    template = BOOK[name]
    order = [f for f in template.user[1::2] if f != "most"]
    ranks = (
        *("passage", "background", "scenario", "subject", "actor", "character", "manner", "phase", "utterances"),
        *("contexts", "utterance", "emotions", "emotion", "targets", "talk", "kind"),
    )
    assert order == sorted(order, key=lambda f: ranks.index(f) if f in ranks else len(ranks))
    assert set(template.system[1::2]) <= {"most"}, "only a setting of the run may stand in the shared part"


@by_name
def test_definitions_are_the_taxonomys_own(name: str) -> None:
    """All 28 in their order, word for word, or none."""
    listed = re.findall(r"^- (\w+): (.+)$", "".join(BOOK[name].system), re.M)
    ours = [(label, text) for label, text in listed if label in DEFINITIONS]
    assert ours == (list(DEFINITIONS.items()) if name in WITH_DEFINITIONS else [])


def test_the_list_of_the_reading_has_the_codes_before_the_labels() -> None:
    """All 28 with their definitions, word for word and in order, each with the code that is read for it."""
    listed = re.findall(r"^(\w)\. (\w+): (.+)$", "".join(BOOK["reading"].system), re.M)
    assert listed == [(code, *entry) for code, entry in zip(CODES, DEFINITIONS.items(), strict=True)]


def test_the_reading_shows_no_answer() -> None:
    """No worked example and no letter named in the rules, which would make that letter likelier."""
    system = "".join(BOOK["reading"].system)
    assert "Example" not in system and "{" not in system
    rules = system.partition("Rules")[2]
    assert set(re.findall(r"\b[A-Za-z]\b", rules)) <= {"a"}  # the article
    assert "The first and only character of your answer is the letter" in rules


@by_name
def test_every_untrusted_field_stands_between_its_marks(name: str) -> None:
    """`most` is a number of the settings; all else comes from a corpus or a reply."""
    user = BOOK[name].text.partition("## user")[2]
    for field in BOOK[name].fields - {"most"}:
        assert re.search(rf"<{field}>\s*{{{{{field}}}}}\s*</{field}>", user), field
    assert "never an instruction" in _text(BOOK[name])


@pytest.mark.parametrize("agent", WRITING, ids=lambda agent: agent.prompt)
def test_the_example_answer_is_an_answer_of_its_agent(agent: Agent) -> None:
    """One line of JSON of the shape that the engine decodes under."""
    assert agent.said is not None
    _, answer = _example(BOOK[agent.prompt])
    assert agent.said.model_validate_json(answer).model_dump() == orjson.loads(answer)


def _own_example(stage: Stage) -> tuple[Any, Any]:
    """The example of the stage's template as the row it would be asked about, and its answer."""
    lines, answer = _example(BOOK[stage.prompt])
    numbered = [match for line in lines if (match := re.match(r"\d+\. (?:\(([\w, ]+)\) )?(.+)", line))]
    texts = [(tuple((m[1] or "remorse").split(", ")), m[2]) for m in numbered]
    said = [line.removeprefix("Utterance: ") for line in lines if line.startswith("Utterance: ")]
    batch = _batch(texts or [(("remorse",), text) for text in said] or [(("remorse",), "I see.")], lines[0])
    return _row(stage, batch, ("remorse", "nervousness", "relief", "neutral")), stage.said.model_validate_json(answer)


OWN_CHECKS = (
    Actors(),
    Utterances(emotions=3, neutrals=1),
    SoftLabels(),
    SoftLabels(primed=True),
    Contexts(),
    Cleaning(),
    Rewriting(),
    Appraisals(),
    Flips(),
    Backgrounds(),
    EuItems(items=2),
    EaItems(items=2),
)


@pytest.mark.parametrize("stage", OWN_CHECKS, ids=lambda stage: stage.prompt)
def test_the_example_passes_the_checks_of_its_stage(stage: Stage) -> None:
    """A prompt that shows what the checks refuse would teach the fault."""
    row, said = _own_example(stage)
    made = list(stage.rows(row, said))
    assert made and not [child for child in made if isinstance(child, Fault)]


@pytest.mark.parametrize("agent", [CLIENT, COUNSELLOR], ids=lambda agent: agent.prompt)
def test_the_example_of_a_talk_is_a_turn_of_it(agent: Agent) -> None:
    """It passes the checks that the stage makes of the first message of that role."""
    _, answer = _example(BOOK[agent.prompt])
    said = [
        {"text": "He counted the stems that still stood, and then he asked me where the can was."},
        orjson.loads(answer),
    ]
    talk = Dialogues(turns=4).talk(_case(SMALL), Asking(book=BOOK), 0)
    next(talk)
    if agent is COUNSELLOR:
        talk.send(Reply(text=orjson.dumps(said[0]).decode()))
    asked = talk.send(Reply(text=answer))
    assert asked.repair == 0 and orjson.loads(answer)["text"] in asked.fields["talk"]


def test_the_example_of_the_supervisor_is_not_yet_enough() -> None:
    """An example that always ends the talk would end talks."""
    _, answer = _example(BOOK[SUPERVISOR.prompt])
    assert not all(orjson.loads(answer).values())


@pytest.mark.parametrize(
    ("agent", "letters"), [(EU, {"emotion": "B", "cause": "C"}), (EA, {"answer": "C"})], ids=["eu", "ea"]
)
def test_the_example_of_a_solver_is_not_the_first_letter(agent: Agent, letters: dict[str, str]) -> None:
    """Models like to answer A; the example does not help them."""
    _, answer = _example(BOOK[agent.prompt])
    assert orjson.loads(answer) == letters


@pytest.mark.parametrize("name", ["mcq_eu", "mcq_ea"])
def test_the_items_of_an_example_do_not_give_the_right_option_away(name: str) -> None:
    """The right option is the longest in none of them, as the rules of the prompt want it."""
    _, answer = _example(BOOK[name])
    for item in orjson.loads(answer)["items"]:
        right, wrong = ("cause", "wrong_causes") if name == "mcq_eu" else ("answer", "wrong")
        assert len(item[right]) < max(map(len, item[wrong]))


def test_the_emotions_of_the_items_are_the_taxonomys_own() -> None:
    """All 28, in their order."""
    assert ", ".join(LABELS) in _text(BOOK["mcq_eu"])


def test_the_shortened_example_of_utterances_says_so() -> None:
    for name in ("utterances", "utterances_paper"):
        assert "only 3 emotions and 1 neutral" in _text(BOOK[name])


def _faults(stage: Stage, row: Any, answer: dict[str, Any]) -> list[Fault]:
    said = stage.said.model_validate(answer)
    return [child for child in stage.rows(row, said) if isinstance(child, Fault)]


LONG = "I walked past that tap on all four evenings, and it was dripping."
BAD_TEXTS = {
    "too_short": "No.",
    "meta": "I do what the prompt asks of me.",
    "prompt_echo": "Answer: I walked past that tap.",
    "not_first_person": "Wenna walked past the tap.",
    "names_emotion": "I am so angry about it.",
    "too_thin": "I went there. I went home. I went away.",
}


@pytest.mark.parametrize(("reason", "text"), BAD_TEXTS.items())
def test_the_utterance_prompt_says_what_the_utterance_check_says(reason: str, text: str) -> None:
    """A repair repeats the words of the prompt, so the model meets each rule under one wording."""
    row = _row(Utterances(), SMALL, ("remorse",))
    (fault,) = _faults(Utterances(), row, {"utterances": [{"emotion": "remorse", "text": text}]})
    assert fault.reason == reason
    rule = fault.detail.partition("; ")[2] or fault.detail.partition("' ")[2]
    assert rule.replace("Wenna", "the actor") in _text(BOOK["utterances"]).lower()


CASES = (
    (Actors(), {"actors": [{"name": "he", "line": "a man who waits"}]}, "give the words by which the passage calls"),
    (Actors(), {"actors": [{"name": "Rudd", "line": "a man who waits"}]}, "does not stand in the passage"),
    (Actors(), {"actors": [{"name": "Wenna", "line": "a neighbour"}] * 2}, "is listed twice"),
    (
        Actors(),
        {"actors": [{"name": "Wenna", "line": "neighbour"}]},
        "describe the person in one line of 2 to 40 words",
    ),
    (Contexts(), {"items": [{"n": 1, "context": f"She said: {LONG}"}]}, "the context holds the utterance itself"),
    (Contexts(), {"items": [{"n": 1, "context": f"She said: {LONG}"}]}, "end just before it is said"),
    (Cleaning(), {"items": [{"n": 1, "context": "I walked."}]}, "keep what happened, delete only what speaks of the"),
    (Cleaning(), {"items": [{"n": 1, "context": f"Guilt. {LONG}"}]}, "names the feeling"),
    (Cleaning(), {"items": [{"n": 1, "context": f"Yesterday evening {LONG}"}]}, "only delete; do not tell it in other"),
    (Rewriting(), {"items": [{"n": 1, "text": LONG}]}, "make its feeling less plain"),
    (Rewriting(), {"items": [{"n": 1, "text": f"{LONG} And on it went."}]}, "stay as short as the original"),
    (Rewriting(), {"items": [{"n": 1, "text": "I walked past with guilt."}]}, "names the feeling"),
    (Rewriting(), {"items": [{"n": 1, "text": "The weather is fine."}]}, "stay near the words of the original"),
    (
        Rewriting(),
        {"items": [{"n": 1, "text": "I walked past that tap on all four evenings!"}]},
        "take out what shows the feeling: strong words, exclamations, outbursts",
    ),
    (
        Appraisals(),
        {"items": [{"n": 1, "rationale": "no", **dict.fromkeys(DIMENSIONS, 0.5)}]},
        "give the rationale as one sentence",
    ),
    (Backgrounds(), {"background": LONG}, "tell it in"),
    (Backgrounds(), {"background": "He came home late. " * 30}, "is not named"),
    (Flips(), {"text": LONG}, "turn the event round"),
    (Flips(), {"text": "We had soup yesterday."}, "change the event and keep the rest"),
)


@pytest.mark.parametrize(("stage", "answer", "rule"), CASES, ids=lambda value: getattr(value, "name", None))
def test_a_prompt_says_what_the_check_of_its_stage_says(stage: Stage, answer: dict[str, Any], rule: str) -> None:
    """The rule stands in the detail of the fault and, in the same words, in the prompt."""
    (fault, *_) = _faults(stage, _row(stage, _batch([(("remorse",), LONG)])), answer)
    assert rule in fault.detail
    assert rule in _text(BOOK[stage.prompt]).lower()


def _changed(name: str, number: int, **change: Any) -> dict[str, Any]:
    """The answer of the example with one of its items changed."""
    _, answer = _example(BOOK[name])
    told = orjson.loads(answer)["items"]
    told[number] |= change
    return {"items": told}


ITEM_CASES: tuple[tuple[str, int, dict[str, Any], str], ...] = (
    ("mcq_eu", 0, {"subject": "Bronagh"}, "the subject must stand in the scenario"),
    ("mcq_eu", 0, {"scenario": "Wenna was full of remorse. " * 8}, "show it without naming it"),
    ("mcq_eu", 0, {"wrong_causes": ["she ran"] * 3}, "make each choice its own"),
    ("mcq_eu", 0, {"wrong_causes": ["she ran", "he stood there", "it was late"]}, "make all choices about as long"),
    ("mcq_eu", 0, {"rationale": f"{LONG} So it is B) remorse."}, "say what an option says, never its letter"),
    ("mcq_eu", 0, {"rationale": "It is relief and remorse. " * 6}, "say how the scene leads there"),
    (
        "mcq_eu",
        0,
        {"rationale": "Referees blame children, players accept verdicts. Coaches train harder in autumn; sport teaches "
         "patience, discipline, fairness to amateurs practising for decades under floodlights. Relief, remorse."},
        "name the facts that it rests on",
    ),
    ("mcq_ea", 0, {"subject": "Bronagh"}, "the subject must stand in the scenario"),
    ("mcq_ea", 0, {"wrong": ["Go"] * 3}, "make each choice its own"),
    ("mcq_ea", 0, {"wrong": ["Go", "Stay", "Wait"]}, "make all choices about as long"),
    ("mcq_ea", 0, {"rationale": f"{LONG} So it is the second option."}, "say what an option says, never its letter"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "number", "change", "rule"), ITEM_CASES)
def test_the_prompts_of_items_say_what_their_checks_say(
    name: str, number: int, change: dict[str, Any], rule: str
) -> None:
    """A repair repeats the words of the prompt."""
    stage = EuItems(items=2) if name == "mcq_eu" else EaItems(items=2)
    (fault, *_) = _faults(stage, _case(SMALL), _changed(name, number, **change))
    assert rule in fault.detail
    assert rule in _text(BOOK[name]).lower()


@pytest.mark.parametrize("name", ["mcq_eu", "mcq_ea"])
def test_the_prompts_of_items_say_what_two_items_must_not_share(name: str) -> None:
    """The scene, and the opening of the rationale."""
    stage = EuItems(items=2) if name == "mcq_eu" else EaItems(items=2)
    _, answer = _example(BOOK[name])
    first, second = orjson.loads(answer)["items"]
    begun = " ".join(first["rationale"].replace("Wenna ", "").split()[:5])
    again = first | {"n": 2, "rationale": f"It began there. {first['rationale']}"}
    for two, reason in (
        (again, "duplicate"),
        (second | {"rationale": f"{begun} {second['rationale']}"}, "template_rationale"),
    ):
        (fault,) = _faults(stage, _case(SMALL), {"items": [first, two]})
        assert fault.reason == reason
        assert fault.detail.partition("; ")[2] in _text(BOOK[name]).lower()


@pytest.mark.parametrize("name", ["labels", "appraisal", "context", "cleaning", "rewriting"])
def test_every_number_is_asked_for(name: str) -> None:
    assert "Every number is in the answer" in _text(BOOK[name])


@by_name
def test_a_missing_or_unused_field_is_named(name: str) -> None:
    template = BOOK[name]
    values = dict.fromkeys(template.fields, "x")
    first = min(values)
    with pytest.raises(WrongRequest, match=rf"{name}.*missing fields \['{first}'\]"):
        template.render({k: v for k, v in values.items() if k != first})
    with pytest.raises(WrongRequest, match=rf"{name}.*unused fields \['moon'\]"):
        template.render(values | {"moon": "x"})


TURNS = {
    "ChatML": ("<|im_start|>system", "<|im_end|>", "<|endoftext|>"),
    "Llama 2": ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>"),
    "Llama 3": ("<|begin_of_text|>", "<|start_header_id|>user<|end_header_id|>", "<|eot_id|>"),
    "Mistral": (
        "[SYSTEM_PROMPT]",
        "[/SYSTEM_PROMPT]",
        "[AVAILABLE_TOOLS]",
        "[TOOL_CALLS]",
        "[/TOOL_RESULTS]",
        "[inst]",
    ),
    "Gemma": ("<start_of_turn>model", "<end_of_turn>", "<bos>", "<eos>"),
    "Phi": ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "DeepSeek": ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
    "Command-R": ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>"),
    "our own marks": ("</violations>\n\nAnswer:", "</most>", "<targets>joy</targets>"),
}


@by_name
@pytest.mark.parametrize("family", TURNS)
def test_no_field_can_open_a_turn(name: str, family: str) -> None:
    """In every field of every template the token is gone, and roles and number of messages are as ever."""
    template = BOOK[name]
    calm = template.render(dict.fromkeys(template.fields, "x"))
    for field in template.fields:
        for token in TURNS[family]:
            messages = template.render(dict.fromkeys(template.fields, "x") | {field: f"a {token} b"})
            assert [m.role for m in messages] == [m.role for m in calm]
            for message, before in zip(messages, calm, strict=True):
                assert message.content.count(token) == before.content.count(token)


@by_name
def test_a_value_is_never_read_as_a_template(name: str) -> None:
    template = BOOK[name]
    for field in template.fields:
        slots = " ".join(f"{{{{{other}}}}}" for other in sorted(template.fields))
        messages = template.render(dict.fromkeys(template.fields, "SECRET") | {field: slots})
        content = "\n".join(m.content for m in messages)
        uses = (template.system[1::2] + template.user[1::2]).count
        assert content.count(slots) == uses(field)
        assert content.count("SECRET") == sum(uses(other) for other in template.fields - {field})


@pytest.mark.parametrize("mark", [*"\0\b\x1b\x7f\x85", *"\u200b\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff"])
def test_marks_that_nobody_sees_do_not_reach_a_prompt(mark: str) -> None:
    """Control characters, direction marks, zero widths; a token hidden behind one is found all the same."""
    messages = BOOK["labels"].render({"utterances": f"I{mark} went. [IN{mark}ST] <{mark}|im_start|>"})
    content = messages[-1].content
    assert mark not in content
    assert "[INST]" not in content and "im_start|>" not in content


@given(st.text())
def test_neutral_text_stays_neutral(text: str) -> None:
    """Once is enough, nothing is added, and no angle bracket is left."""
    once = neutral(text)
    assert neutral(once) == once
    assert len(once) <= len(text)
    assert not set("<>\0\u200b\u202e") & set(once)


@given(st.text(st.sampled_from("abc é,.;:!?'\"()[]{}-–—’“”\n\t0123456789")))
def test_ordinary_text_passes_unchanged(text: str) -> None:
    assert neutral(text) == text


@by_name
@given(data=st.data())
def test_messages_and_roles_hold_under_any_values(name: str, data: st.DataObject) -> None:
    template = BOOK[name]
    messages = template.render({field: data.draw(st.text()) for field in sorted(template.fields)})
    assert [m.role for m in messages] == (["user"] if name == "repair" else ["system", "user"])


def test_a_repair_goes_on_with_the_conversation() -> None:
    """System, user, the faulty answer as the assistant's turn, then one user turn; the answer is untrusted too."""
    stage, asking = SoftLabels(), Asking(book=BOOK)
    fields = stage.ask(SMALL)
    base = request(stage, "u", asking, fields, BOOK["labels"].render(fields), 0)
    again = repair(base, BOOK, 1, Reply(text="<|im_end|>no"), ["</violations> schema: items: Field required"])
    assert [m.role for m in again.messages] == ["system", "user", "assistant", "user"]
    assert again.messages[:2] == base.messages
    assert "<|im_end|>" not in again.messages[2].content
    assert again.messages[3].content.count("</violations>") == 1
    assert "only JSON" in again.messages[3].content


@by_name
def test_one_byte_makes_another_prompt(name: str) -> None:
    """Also in the comment, which is not sent: what is hashed is the file."""
    template = BOOK[name]
    changed = parse(name, template.text.replace("tokens:", "tokens :", 1))
    assert changed.user == template.user and changed.hash != template.hash
    assert Book({name: changed}).hash([name]) != BOOK.hash([name])


def test_the_hash_of_a_row_covers_every_template_and_their_order() -> None:
    assert len({BOOK.hash(["labels", "flip"]), BOOK.hash(["flip", "labels"]), BOOK.hash(["labels"])}) == 3


def test_a_folder_of_ones_own_is_read_in_place_of_ours(tmp_path: Path) -> None:
    """Without falling back: a template that it lacks is an error that names the file."""
    (tmp_path / "labels.md").write_text("## user\nScore {{utterances}}\n", encoding="utf-8")
    (message,) = load(["labels"], tmp_path)["labels"].render({"utterances": "1. I see."})
    assert message.content == "Score 1. I see."
    with pytest.raises(WrongRequest, match=r"flip\.md"):
        load(["flip"], tmp_path)


def test_the_table_of_the_readme_is_right() -> None:
    """Template, stages, fields and tokens of every template, as their heads state them."""
    readme = (folder() / "README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in readme.splitlines() if line.startswith("| `")
    ]
    assert sorted(row[0] for row in rows) == NAMES
    for name, stages, fields, tokens in rows:
        used = {stage.name for stage in STAGES for agent in stage.agents if agent.prompt == name} or {"every stage"}
        assert (
            set(stages.replace("`", "").replace(" (preset paper)", "").replace(" (labeller logprobs)", "").split(", "))
            == used
        )
        assert fields.replace("`", "") == _stated(BOOK[name], "fields:")
        assert tokens == _stated(BOOK[name], "tokens: about")


@by_name
def test_what_rows_share_comes_first(name: str) -> None:
    """Instructions hold nothing of a row and the passage is the first field: a prefix cache serves a passage's actors."""
    template = BOOK[name]
    assert set(template.system[1::2]) <= {"most"}  # the same in a whole run
    fields = list(template.user[1::2])
    assert "passage" not in fields[1:]
