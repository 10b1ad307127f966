"""Facts about the rehearsal engine: it answers every stage, always the same, in words that differ and pass the checks."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from factory import checks
from factory.corpus import Corpus, Source, cut
from factory.engines.rehearsal import Rehearsal
from factory.engines.rehearsal.answers import answer
from factory.engines.rehearsal.bank import KINDS, Phrase, phrases, prototypes, recognise
from factory.errors import Transient
from factory.lexicon import named
from factory.prompts import load
from factory.records import Labels, Passage, Utterance
from factory.requests import Message, Reply, Request, Sampling
from factory.settings import Content
from factory.stages import Asking, Outcome, Pipeline, Stage
from factory.steps import TARGETS, pipeline
from factory.taxonomy import EMOTIONS, LABELS, NEUTRAL
from factory.text import normal, one_line, sentences

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "corpora"
TALES = ROOT.parent / "shared/data/narratives/fairytaleqa.jsonl"

SCENES = (
    {"other": "Omar", "thing": "the kettle", "place": "the gate", "event": "the fire", "doing": "waiting for the cart"},
    {
        "other": "the old miller",
        "thing": "the letters",
        "place": "the mill",
        "event": "the sale",
        "doing": "selling the boat",
    },
    {
        "other": "my aunt Rosa",
        "thing": "the blue coat",
        "place": "the harbour",
        "event": "the wedding",
        "doing": "taking the key",
    },
)
SPEAKER = "Nadia"


# Asking without a runner ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One unit: every request with its reply, and how it ended."""

    stage: Stage
    row: Any
    requests: list[Request] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    outcome: Outcome


def _passages(path: Path, records: int | None = None) -> Iterator[Passage]:
    sources = (record for record in Corpus(path=path).records() if isinstance(record, Source))
    index = 0
    for source in islice(sources, records):
        for number, text in enumerate(cut(source.text, 400), 1):
            yield Passage(id=f"{source.id}.p{number}", source_id=source.id, index=index, text=text)
            index += 1


def _ask(stage: Stage, row: Any, asking: Asking) -> Asked:
    talk = stage.talk(row, asking, 0)
    requests, replies = [next(talk)], list[str]()
    while True:
        replies.append(answer(requests[-1]))
        try:
            requests.append(talk.send(Reply(text=replies[-1])))
        except StopIteration as end:
            return Asked(stage=stage, row=row, requests=requests, replies=replies, outcome=end.value)


def _walk(steps: Pipeline, passage: Passage, asking: Asking) -> Iterator[Asked]:
    """All units of a passage, depth first."""

    def go(after: str | None, before: Any, rows: Sequence[Any]) -> Iterator[Asked]:
        for step in steps.following(after):
            for row in step.stage.feed(before, rows):
                asked = _ask(step.stage, row, asking)
                yield asked
                if asked.outcome.accepted:
                    yield from go(step.stage.name, row, asked.outcome.rows)

    yield from go(None, passage, [passage])


def _all(passages: Iterator[Passage], targets: Sequence[str], preset: str = "default") -> tuple[Asked, ...]:
    steps = pipeline(Content(preset=preset)).wanted(targets)
    asking = Asking(book=load(steps.prompts()), greedy=preset == "paper")
    return tuple(asked for passage in passages for asked in _walk(steps, passage, asking))


@cache
def _bundled(preset: str = "default") -> tuple[Asked, ...]:
    """Every stage over the bundled corpora."""
    return _all(_passages(CORPORA), TARGETS, preset)


@cache
def _tales() -> tuple[Asked, ...]:
    """Actors, utterances and labels over the first sixty fairy tales."""
    if not TALES.exists():
        pytest.skip(f"the fairy tales are not here: {TALES}")
    return _all(_passages(TALES, 60), ["contextless"])


def _of(asked: Sequence[Asked], stage: str) -> list[Asked]:
    found = [one for one in asked if one.stage.name == stage]
    assert found, f"nobody asked {stage}"
    return found


def _spoken(asked: Sequence[Asked]) -> list[Utterance]:
    return [row for one in _of(asked, "utterances") for row in one.outcome.rows]


by_corpus = pytest.mark.parametrize("corpus", [_bundled, _tales], ids=["bundled", "tales"])


# The same request, the same reply -------------------------------------------------------------------------------------

_ELSEWHERE = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("here", {str(Path(__file__))!r})
here = importlib.util.module_from_spec(spec)
sys.modules["here"] = here
spec.loader.exec_module(here)
print(here.fingerprint())
"""


def fingerprint() -> str:
    """A hash over every reply of every stage to some of the bundled narratives, in order."""
    asked = _all(_passages(CORPORA / "family.jsonl"), TARGETS)
    replies = [reply for one in asked for reply in one.replies]
    assert len(replies) > 100
    return hashlib.sha256("\n".join(replies).encode()).hexdigest()


def test_the_same_request_gets_the_same_reply_whatever_came_between() -> None:
    """Replies depend on the request alone: asked again in the opposite order, each is the same."""
    asked = _bundled()
    for one in reversed(asked):
        assert [answer(request) for request in one.requests] == one.replies


def test_the_same_request_gets_the_same_reply_in_other_processes() -> None:
    """Not on the hash seed of the process either."""
    said = {
        subprocess.run(
            [sys.executable, "-c", _ELSEWHERE],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert said == {fingerprint()}


def test_another_seed_gets_another_reply() -> None:
    """The seed of a request is what its chance comes from: most units say something else under another."""
    again = [(one.replies[0], answer(_reseeded(one.requests[0]))) for one in _of(_bundled(), "utterances")]
    assert sum(a != b for a, b in again) > 0.95 * len(again)


def _reseeded(request: Request) -> Request:
    fields = {name: getattr(request, name) for name in Request.__dataclass_fields__}
    sampling = Sampling(temperature=0.8, max_tokens=900, seed=request.sampling.seed + 1)
    return Request(**fields | {"sampling": sampling})


def test_a_reply_counts_its_tokens_and_takes_the_asked_time() -> None:
    """Four characters a token, and a delay where one is wanted."""
    request = _of(_bundled(), "utterances")[0].requests[0]
    reply = asyncio.run(Rehearsal(delay_ms=30).complete(request))
    assert reply.text == answer(request)
    assert reply.tokens_out == len(reply.text) // 4
    assert reply.tokens_in == sum(len(m.content) for m in request.messages) // 4
    assert reply.seconds == 0.03


def test_the_engine_names_its_bank() -> None:
    """The revision is the bank's own hash, so another bank is another engine; two engines of one bank are one."""
    assert Rehearsal().identity == Rehearsal(delay_ms=5).identity
    assert (Rehearsal().identity.engine, len(Rehearsal().identity.revision)) == ("rehearsal", 12)


def test_a_stage_that_it_does_not_know_is_named() -> None:
    """It can only answer the built-in stages, and says so."""
    strange = Request(
        stage="titles",
        unit="t",
        messages=(Message("user", "?"),),
        schema="{}",
        sampling=Sampling(temperature=0.0, max_tokens=9, seed=1),
    )
    with pytest.raises(Transient, match="does not know stage 'titles'"):
        answer(strange)


# Every answer is one ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_every_stage_is_answered_in_its_shape(preset: str) -> None:
    """Each reply of each stage is what the stage's model of an answer allows, in both presets."""
    asked = _bundled(preset)
    assert {one.stage.name for one in asked} == {step.stage.name for step in pipeline(Content(preset=preset))}
    for one in asked:
        for request, reply in zip(one.requests, one.replies, strict=True):
            (agent,) = [agent for agent in one.stage.agents if agent.fields == request.fields.keys()]
            assert agent.said is not None
            agent.said.model_validate_json(reply)


def test_emotions_that_are_said_are_labels() -> None:
    """The closed list of the schema is kept, as an engine that decodes under it would."""
    for one in _of(_bundled(), "utterances"):
        assert [said["emotion"] for said in json.loads(one.replies[0])["utterances"]] == list(one.row.asked)


@by_corpus
def test_hardly_any_unit_is_rejected(corpus: Any) -> None:
    """Every stage accepts 97% of its units and more: a first run shows a dataset, not rejects."""
    for name, ended in _endings(corpus()).items():
        assert ended[True] >= 0.97 * ended.total(), (name, ended)


def _endings(asked: Sequence[Asked]) -> dict[str, Counter[bool]]:
    ended: dict[str, Counter[bool]] = {}
    for one in asked:
        if one.outcome.reason != "no_actor":  # a passage in which nobody acts: the passage's fault
            ended.setdefault(one.stage.name, Counter())[one.outcome.accepted] += 1
    return ended


# Utterances -------------------------------------------------------------------------------------------------------------


@by_corpus
def test_no_actor_says_the_same_twice(corpus: Any) -> None:
    """The ten of an actor are ten, also when case and marks do not count."""
    for one in _of(corpus(), "utterances"):
        said = [normal(row.text) for row in one.outcome.rows]
        assert len(set(said)) == len(said), one.row.id


@by_corpus
@pytest.mark.parametrize("neutral", [False, True], ids=["emotions", "neutral"])
def test_utterances_are_distinct_over_a_corpus(corpus: Any, neutral: bool) -> None:
    """At least 97% of the utterances are the only ones of their wording; the neutral ones by themselves too."""
    said = Counter(normal(row.text) for row in _spoken(corpus()) if (row.emotion == NEUTRAL) >= neutral)
    assert len(said) >= 0.97 * said.total()


@by_corpus
def test_hardly_any_utterance_fails_a_check(corpus: Any) -> None:
    """At most 1% of what is said at first is sent back."""
    told = failed = 0
    for one in _of(corpus(), "utterances"):
        said = one.stage.said.model_validate_json(one.replies[0])
        children = list(one.stage.rows(one.row, said))
        told += len(children)
        failed += sum(not isinstance(child, Utterance) for child in children)
    assert failed <= 0.01 * told


@by_corpus
def test_actors_differ_in_what_they_say(corpus: Any) -> None:
    """Two actors of a passage share no utterance, or hardly any in a corpus."""
    owners: dict[tuple[str, str], set[str]] = {}
    for row in _spoken(corpus()):
        owners.setdefault((row.passage_id, normal(row.text)), set()).add(row.actor_id)
    assert sum(len(who) > 1 for who in owners.values()) <= 0.005 * len(owners)


@by_corpus
def test_utterances_are_about_their_passage(corpus: Any) -> None:
    """At least half of them name something of the passage beyond its smallest words."""
    passages = {one.row.id: _content(one.row.text) for one in _of(corpus(), "actors")}
    rows = _spoken(corpus())
    assert sum(bool(_content(row.text) & passages[row.passage_id]) for row in rows) >= 0.5 * len(rows)


def _content(text: str) -> set[str]:
    return {word for word in normal(text).split() if len(word) > 5}


@by_corpus
def test_the_asked_emotion_is_found_again(corpus: Any) -> None:
    """The labeller, who sees the words alone, finds the emotion of at least 97% of them among its labels."""
    asked = {row.id: row.emotion for row in _spoken(corpus())}
    labels = [row for one in _of(corpus(), "labels") for row in one.outcome.rows if isinstance(row, Labels)]
    assert sum(asked[row.id] in row.labels for row in labels) >= 0.97 * len(labels)


def test_labels_are_soft() -> None:
    """Most feelings come with a neighbour, no score is out of steps, and now and then a word is not of the taxonomy."""
    rows = [row for one in _of(_bundled(), "labels") for row in one.outcome.rows]
    felt = [row for row in rows if row.labels[0] != NEUTRAL]
    assert sum(len(row.mapped) > 1 for row in felt) >= 0.8 * len(felt)
    assert all(round(score, 1) == score for row in rows for _, score in row.mapped)
    words = [one.label for row in rows for one in row.raw]
    assert 0.01 <= sum(word not in LABELS for word in words) / len(words) <= 0.2


# Contexts, rewritings, flips ----------------------------------------------------------------------------------------


def test_contexts_are_cut_from_the_passage_and_end_with_what_has_befallen() -> None:
    """Every cleaned context is sentences of the passage itself, word for word, and after them no more than two that show, in
    nearly all of them, why the actor feels so; and there is work for cleaning."""
    worked, shown, count = 0, 0, 0
    for one in _of(_bundled(), "cleaning"):
        passage = one_line(one.row.passage.text)
        raw = {context.utterance_id: context.text for context in one.row.contexts}
        for row in one.outcome.rows:
            whole = [one_line(sentence) in passage for sentence in sentences(row.text)]
            own = len(whole) - sum(whole)
            assert own <= 2 and all(whole[: len(whole) - own])
            shown, count = shown + bool(own), count + 1
            worked += row.text != raw[row.utterance_id]
    assert worked > 50 and shown > 0.9 * count


def test_flips_are_confirmed_by_those_who_do_not_know() -> None:
    """At least nine of ten flips are found to be what they were to be."""
    asked = _bundled()
    tried = len(_of(asked, "flip"))
    confirmed = sum(one.outcome.accepted for one in _of(asked, "flip_appraisal"))
    assert confirmed >= 0.9 * tried


# The bank ---------------------------------------------------------------------------------------------------------------


def _filled(phrase: Phrase, extra: dict[str, str] | None = None) -> list[str]:
    return [phrase.fill(scene | (extra or {})) for scene in SCENES]


@pytest.mark.parametrize("label", LABELS)
def test_every_line_of_the_bank_is_an_utterance(label: str) -> None:
    """Filled with anything, each passes the checks: first person, no announcement of the feeling, no talk of the task."""
    for phrase in phrases(label, "lines"):
        for text in _filled(phrase):
            assert checks.utterance(text, SPEAKER) is None, text
            assert one_line(text) == text
            assert text[-1] in ".!?"


@pytest.mark.parametrize("label", LABELS)
def test_every_lead_and_tail_goes_with_a_line(label: str) -> None:
    """Before or behind a line of its label, each leaves an utterance that passes."""
    lines = phrases(label, "lines")
    for kind in ("leads", "tails"):
        for number, phrase in enumerate(phrases(label, kind)):
            line = lines[number % len(lines)]
            for own, text in zip(_filled(line), _filled(phrase), strict=True):
                whole = f"{text} {own}" if kind == "leads" else f"{own} {text}"
                assert checks.utterance(whole, SPEAKER) is None, whole
                assert text[-1] in ".!?", text


@pytest.mark.parametrize("label", LABELS)
def test_every_rationale_is_a_sentence_about_the_speaker(label: str) -> None:
    """3 to 40 words, in the third person, without a word about the task."""
    for phrase in phrases(label, "rationales"):
        for text in _filled(phrase, {"actor": SPEAKER}):
            assert 3 <= len(text.split()) <= 40, text
            assert checks.prose(text) is None, text


@pytest.mark.parametrize("label", EMOTIONS)
def test_every_aside_names_its_feeling(label: str) -> None:
    """An aside is what cleaning is there to find."""
    for phrase in phrases(label, "asides"):
        for text in _filled(phrase, {"actor": SPEAKER}):
            assert named(text, [label]), text


@pytest.mark.parametrize("label", LABELS)
def test_lines_are_recognised_by_their_own_words(label: str) -> None:
    """At least 97% of a label's lines, filled in several ways, are read as that label."""
    read = [recognise(text) for phrase in phrases(label, "lines") for text in _filled(phrase)]
    assert read.count(label) >= 0.97 * len(read), Counter(read).most_common(4)


def test_no_phrase_stands_under_two_labels() -> None:
    """A line is of one label only, and stands in its file once."""
    for kind in ("lines", "tails"):
        owners = [normal("".join(phrase.pieces)) for label in LABELS for phrase in phrases(label, kind)]
        assert [text for text, n in Counter(owners).items() if n > 1] == []


def test_slots_are_those_that_a_scene_can_fill() -> None:
    """A misspelt slot would never be filled; the speaker's name stands only where somebody else tells."""
    for label in LABELS:
        for kind in KINDS:
            known = set(SCENES[0]) | ({"actor"} if kind in ("rationales", "asides") else set())
            for phrase in phrases(label, kind):
                assert phrase.needs <= known, (label, kind, phrase.pieces)


def test_prototypes_cover_every_label() -> None:
    """Each label has its appraisal scores in 0 to 1, and neighbours and words other than itself."""
    assert set(prototypes()) == set(LABELS)
    for label, one in prototypes().items():
        assert len(one.scores) == 7
        assert all(0 < value < 1 for value in one.scores.values())
        assert set(one.neighbours) <= set(LABELS) - {label}
        assert not set(one.words) & set(LABELS)
