"""A small EmoBench of our own making, and models that do what a test wants of them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factory.answers import NotOffered, Question
from factory.emobench.items import Item
from factory.requests import Reply

FEELINGS = {
    "en": ("Relief", "Pride & Guilt", "Envy", "Dread", "Calm", "Longing"),
    "zh": ("宽慰", "自豪 & 内疚", "羡慕", "恐惧", "平静", "思念"),
}
CAUSES = {
    "en": (
        "The lamp was lit",
        "Nobody had asked for the key, which the porter had lost",
        "It rained",
        "The train was late again",
        "The soup had gone cold",
        "A dog barked",
    ),
    "zh": ("灯亮了", "没有人问起门房弄丢的钥匙", "下雨了", "火车又晚点了", "汤凉了", "狗叫了"),
}
ACTIONS = {
    "en": ("Wait outside", "Ask how she is and listen until she has told it all", "Write a bill", "Sing"),
    "zh": ("在外面等", "问她怎么样，听她把话说完", "写一张账单", "唱歌"),
}
NAMES = {"en": "Odile", "zh": "阿狄"}
EU_CATEGORIES = ("complex_emotions", "emotional_cues", "perspective_taking")
EA_CATEGORIES = ("Personal-Self", "Social-Others")


# What an EmoBench checkout has beside its data, in words of our own.
PROMPTS = """\
sys:
  en: |
    # Theirs
    Choose.
  zh: 选吧。
EA:
  en: "Tale: {scenario} / {q_type} of {subject}?\\n{choices}"
  zh: "{scenario} {q_type} {subject} {choices}"
EU:
  en: "Tale: {scenario} ({subject})\\n{emo_choices}\\nand\\n{cause_choices}"
  zh: "{scenario} {subject} {emo_choices} {cause_choices}"
"""
RESPONSE = """\
base: {en: Just the letter., zh: 只要字母。}
cot: {en: Think first., zh: 先想。}
EA: {en: '"answer": "<letter>"', zh: '"answer": "<字母>"'}
EU: {en: '"answer_q1": "<letter>", "answer_q2": "<letter>"', zh: '"answer_q1": "", "answer_q2": ""'}
reasoning: {en: '"reasoning": "<why>"', zh: '"reasoning": "<为什么>"'}
"""


def understanding(number: int, language: str = "en", **other: Any) -> dict[str, Any]:
    """An EU record; the right choices move on with the number, every third record has six causes."""
    causes = CAUSES[language][: 6 if number % 3 == 2 else 4]
    return {
        "qid": str(number),
        "language": language,
        "coarse_category": EU_CATEGORIES[number % 3],
        "finegrained_category": "made_up",
        "scenario": f"{NAMES[language]} / {number} / {language} eu: a small scene by the harbour.",
        "subject": NAMES[language],
        "emotion_choices": list(FEELINGS[language]),
        "emotion_label": FEELINGS[language][number % 6],
        "cause_choices": list(causes),
        "cause_label": causes[number % len(causes)],
    } | other


def application(number: int, language: str = "en", **other: Any) -> dict[str, Any]:
    return {
        "qid": str(number),
        "language": language,
        "category": EA_CATEGORIES[number % 2],
        "question type": ("Action", "Response")[number % 2],
        "scenario": f"{NAMES[language]} / {number} / {language} ea: a small scene on the stairs.",
        "subject": NAMES[language],
        "choices": list(ACTIONS[language]),
        "label": ACTIONS[language][number % 4],
    } | other


def write(folder: Path, eu: Sequence[dict[str, Any]] | None = None, ea: Sequence[dict[str, Any]] | None = None) -> Path:
    """Twelve records of each task in English, six in Chinese."""
    folder.mkdir(parents=True, exist_ok=True)
    both = [(n, "en") for n in range(12)] + [(n, "zh") for n in range(6)]
    rows = {
        "EU": [understanding(n, language) for n, language in both] if eu is None else eu,
        "EA": [application(n, language) for n, language in both] if ea is None else ea,
    }
    for task, some in rows.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
        (folder / f"{task}.jsonl").write_text(text, encoding="utf-8")
    return folder


@dataclass
class Model:
    """Says what `says` makes of a question and of the letters that are right in it: part -> letter as shown."""

    items: Sequence[Item]
    says: Callable[[Question, dict[str, str]], str] = lambda question, right: ""
    likes: Callable[[Item, str], float] = lambda item, option: 0.0
    name: str = "fake"
    scores: bool = True
    asked: list[Question] = field(default_factory=list)
    calls: int = 0

    def answers(self, questions: Sequence[Question]) -> list[str]:
        self.calls += 1
        self.asked += questions
        return [self.says(question, self.right(question)) for question in questions]

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        return [Reply(text=text) for text in self.answers(questions)]

    def likelihoods(
        self, questions: Sequence[Question], options: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, int]]]:
        if not self.scores:
            raise NotOffered("this model tells no likelihoods; choose another protocol")
        self.calls += 1
        self.asked += questions
        return [
            [(self.likes(self.item(question), self._text(question, option)), len(option)) for option in some]
            for question, some in zip(questions, options, strict=True)
        ]

    def item(self, question: Question) -> Item:
        _, *named = question.unit.split(".")  # some of the published scenes stand in several items
        (found,) = (one for one in self.items if [one.task, one.language, one.qid] == named[:3])
        assert found.scenario in question.messages[1].content
        return found

    def right(self, question: Question) -> dict[str, str]:
        """The letters of the right choices among those that the question shows."""
        item, page = self.item(question), question.messages[1].content
        found = {}
        for name, choices, label in zip(("emotion", "cause"), item.choices, item.labels, strict=False):
            shown = re.search(rf"^\(?([A-Za-z])[).] {re.escape(choices[label])}$", page, re.M)
            if shown:
                found[name if item.task == "EU" else "answer"] = shown[1]
        return found

    def _text(self, question: Question, option: str) -> str:
        """The choice that a letter stands for."""
        if len(option) > 1:
            return option
        shown = re.search(rf"^{option}\. (.*)$", question.messages[1].content, re.M)
        return shown[1] if shown else option


def perfect(items: Sequence[Item]) -> Model:
    """Always right, in the form that is asked for, whatever the protocol."""

    def says(question: Question, right: dict[str, str]) -> str:
        if ".thought." in question.unit:
            return "Odile has seen the lamp."
        if question.unit.startswith("v1"):
            return f"({next(iter(right.values()))})"
        return as_json(right)

    return Model(items, says, lambda item, option: 0.0 if option in right_texts(item) else -9.0)


def as_json(right: dict[str, str]) -> str:
    keys = {"emotion": "answer_q1", "cause": "answer_q2", "answer": "answer"}
    return json.dumps({keys[name]: letter for name, letter in right.items()})


def right_texts(item: Item) -> set[str]:
    return {choices[label] for choices, label in zip(item.choices, item.labels, strict=True)}
