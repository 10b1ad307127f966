"""An item as a chat for training: the question with lettered options, and the answer as one line of JSON."""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

import orjson

LETTERS = ascii_uppercase
_REASON = "rationale (what happened, what the person believes and wants, and why the other options fail), then "
_EU = "emotion (the letter of what the person ends up feeling) and cause (the letter of why)"
_EA = "answer (the letter of what would help the person best)"
_ASKED = {
    "Action": "What would be the most helpful thing for {subject} to do?",
    "Response": "What would be the most helpful way for {subject} to respond?",
}

Turns = list[tuple[str, str]]  # (role, content)


def understanding(item: Mapping[str, Any], rationale: bool) -> Turns:
    """A row of mcq_eu: two questions on one scene. `rationale`: the answer begins with it."""
    question = (
        f"Scene: {item['scenario']}\n\nWhat does {item['subject']} end up feeling?\n{lettered(item['emotion_choices'])}"
        f"\n\nWhy?\n{lettered(item['cause_choices'])}"
    )
    emotion = letter(item["emotion_choices"], item["emotion_label"])
    cause = letter(item["cause_choices"], item["cause_label"])
    return _chat(_EU, question, item["rationale"] if rationale else None, emotion=emotion, cause=cause)


def application(item: Mapping[str, Any], rationale: bool) -> Turns:
    """A row of mcq_ea: one question on one scene."""
    asked = _ASKED[item["question_type"]].format(subject=item["subject"])
    question = f"Scene: {item['scenario']}\n\n{asked}\n{lettered(item['choices'])}"
    return _chat(_EA, question, item["rationale"] if rationale else None, answer=letter(item["choices"], item["label"]))


def lettered(choices: Sequence[str]) -> str:
    return "\n".join(f"{LETTERS[n]}. {choice}" for n, choice in enumerate(choices))


def letter(choices: Sequence[str], right: str) -> str:
    return LETTERS[choices.index(right)]


def _chat(wanted: str, question: str, rationale: str | None, **answer: str) -> Turns:
    reason = _REASON if rationale is not None else ""
    system = f"You read a short scene and a question about it, and answer with one line of JSON: {reason}{wanted}."
    fields = ({} if rationale is None else {"rationale": rationale}) | answer
    line = ", ".join(f'"{name}": {orjson.dumps(value).decode()}' for name, value in fields.items())
    return [("system", system), ("user", question), ("assistant", f"{{{line}}}")]
