"""Whose words EmoBench is asked in: ours, in English and Chinese, and for protocol v2 the authors' own where the user has them.

None of ours is taken from the authors: theirs stay in the user's checkout and are read from there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from factory.emobench.items import KINDS, TASKS
from factory.errors import WrongRequest

OURS, AUTHORS = "ours", "authors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The wording in one language; `{}` fields are filled by `_filled`."""

    role: str
    letter: str  # what to reply with, in the three forms of asking
    bracket: str
    verbatim: str
    think: str  # first the reasoning ...
    bracket_last: str  # ... and v1's answer on its last line
    aloud: str
    so_letter: str
    so_verbatim: str
    page: str
    answer: str  # how v1's user message ends
    steps: str
    felt: str  # the questions
    why: str
    why_so: str
    best: Mapping[str, str]


EN = Words(
    role="You are given a short scene, a question on one person in it, and several answers. See things as that person does.",
    letter="Reply with the letter of the answer that fits best, and with nothing else.",
    bracket="Reply with the letter of the one answer that fits best, in round brackets, and with nothing else.",
    verbatim="Reply with the answer that fits best, word for word, and with nothing else.",
    think="First weigh the answers against what the person knows, wants and has been through, one step after the other.",
    bracket_last="Then decide: the last line holds the letter of the one answer that fits best, in round brackets, alone.",
    aloud="Only think aloud; the answer will be asked for afterwards.",
    so_letter="So which of the answers fits best? Give its letter alone.",
    so_verbatim="So which of the answers fits best? Give it word for word, without anything else.",
    page="Scene:\n{scenario}\n\nQuestion:\n{question}\n\nAnswers:\n{choices}",
    answer="The letter of the answer:",
    steps="My reasoning, one step after the other:",
    felt="Which emotion or emotions does {subject} end up feeling here?",
    why="Why does {subject} feel {emotion} here?",
    why_so="Why does {subject} end up feeling that way here?",
    best={
        "Action": "Which of these would be the most effective thing for {subject} to do here?",
        "Response": "Which of these would be the most effective way for {subject} to respond here?",
    },
)
ZH = Words(
    role="下面给出一段情景、一个关于其中某个人的问题，以及若干答案。请设身处地，从这个人的立场来看。",
    letter="只回复最合适的那个答案的字母，不要写别的。",
    bracket="只回复最合适的那一个答案的字母，写在圆括号里，不要写别的。",
    verbatim="逐字回复最合适的那个答案，不要写别的。",
    think="先结合这个人所知道的、想要的和经历过的，一步一步地比较各个答案。",
    bracket_last="然后作出决定：最后一行只写最合适的那一个答案的字母，放在圆括号里。",
    aloud="现在只写思考过程，答案稍后再问。",
    so_letter="那么哪个答案最合适？只给出它的字母。",
    so_verbatim="那么哪个答案最合适？请逐字给出，不要写别的。",
    page="情景：\n{scenario}\n\n问题：\n{question}\n\n答案：\n{choices}",
    answer="答案的字母：",
    steps="我一步一步的思考：",
    felt="在这里，{subject}最后心里是什么情绪？",
    why="{subject}为什么会感到{emotion}？",
    why_so="{subject}为什么最后会有这样的情绪？",
    best={
        "Action": "在这里，{subject}怎么做最有效？",
        "Response": "在这里，{subject}怎样回应最有效？",
    },
)
WORDS: Mapping[str, Words] = {"en": EN, "zh": ZH}


# Protocol v2: all questions in one prompt ---------------------------------------------------------------------------


class Wording(NamedTuple):
    """Protocol v2's words in one language, in the shape in which the authors keep theirs."""

    whose: str  # OURS or AUTHORS
    system: str
    base: str  # stands before the format of the reply
    cot: str
    page: Mapping[str, str]  # task -> the user message
    fields: Mapping[str, str]  # task -> the lines of the format
    reasoning: str
    kinds: Mapping[str, str]  # what stands for Action and Response


_OURS: Mapping[str, Wording] = {
    "en": Wording(
        whose=OURS,
        system=f"{EN.role} Choose the answer that fits best.",
        base="Give one letter for each question and no explanation, as JSON of this form:",
        cot=f"{EN.think} Then choose one letter for each question. Reply with JSON of this form:",
        page={
            "EU": (
                f"Scene:\n{{scenario}}\n\nQuestion 1:\n{EN.felt}\n\nAnswers to question 1:\n{{emo_choices}}\n\n"
                f"Question 2:\n{EN.why_so}\n\nAnswers to question 2:\n{{cause_choices}}"
            ),
            "EA": (
                "Scene:\n{scenario}\n\nQuestion:\nWhich {q_type} would be the most effective one for {subject} to choose here?"
                "\n\nAnswers:\n{choices}"
            ),
        },
        fields={
            "EU": '"answer_q1": "(letter of the answer to question 1)",\n"answer_q2": "(letter of the answer to question 2)"',
            "EA": '"answer": "(letter of the answer)"',
        },
        reasoning='"reasoning": "(your reasoning, step by step)"',
        kinds={"Action": "action", "Response": "response"},
    ),
    "zh": Wording(
        whose=OURS,
        system=f"{ZH.role}请选出最合适的答案。",
        base="每个问题只给一个字母，不要解释，按下面的JSON格式回复：",
        cot=f"{ZH.think}然后为每个问题选一个字母，按下面的JSON格式回复：",
        page={
            "EU": (
                f"情景：\n{{scenario}}\n\n问题1：\n{ZH.felt}\n\n问题1的答案：\n{{emo_choices}}\n\n"
                f"问题2：\n{ZH.why_so}\n\n问题2的答案：\n{{cause_choices}}"
            ),
            "EA": "情景：\n{scenario}\n\n问题：\n在这里，{subject}怎样{q_type}最有效？\n\n答案：\n{choices}",
        },
        fields={
            "EU": '"answer_q1": "（问题1的答案的字母）",\n"answer_q2": "（问题2的答案的字母）"',
            "EA": '"answer": "（答案的字母）"',
        },
        reasoning='"reasoning": "（你一步一步的思考）"',
        kinds={"Action": "做", "Response": "回应"},
    ),
}


def wording(folder: Path, language: str, asked: str = "") -> Wording:
    """Protocol v2's words: the authors' where prompts.yaml and response.yaml stand beside the data or in src/configs of the
    checkout, or else ours. `asked` OURS or AUTHORS decides it; "" is the authors' where they are there."""
    if asked not in ("", OURS, AUTHORS):
        raise WrongRequest(f"wording={asked} is not known; choose {OURS} or {AUTHORS}, or leave it out")
    found = None if asked == OURS else _checkout(folder)
    if found is not None:
        return _authors(*found, language)
    if asked == AUTHORS:
        raise WrongRequest(
            f"there is no prompts.yaml with a response.yaml in {folder}, its src/configs or the folder above; "
            f"give a checkout of EmoBench, or SET=wording={OURS}"
        )
    return _OURS[language]


def _checkout(folder: Path) -> tuple[Path, Path] | None:
    """Both files, side by side; the folder given may be the checkout, its `data`, or a file in that."""
    base = folder if folder.is_dir() else folder.parent
    for place in (base, base / "src/configs", base.parent / "src/configs", base / "data"):
        both = place / "prompts.yaml", place / "response.yaml"
        if all(path.is_file() for path in both):
            return both
    return None


_MOST_BYTES = 100_000  # of the authors' two files, which have 1,600 each


def _authors(prompts: Path, response: Path, language: str) -> Wording:
    asked, replies = _yaml(prompts), _yaml(response)
    try:
        found = Wording(
            whose=AUTHORS,
            system=_said(asked, "sys", language),
            base=_said(replies, "base", language),
            cot=_said(replies, "cot", language),
            page={task: _said(asked, task, language) for task in TASKS},
            fields={task: _said(replies, task, language) for task in TASKS},
            reasoning=_said(replies, "reasoning", language),
            kinds={kind: kind for kind in KINDS},
        )
    except (KeyError, TypeError) as err:
        raise WrongRequest(
            f"{prompts} and {response} are not the authors' files ({err} is not there in {language}); fetch them again, or "
            f"give SET=wording={OURS}"
        ) from err
    wanted = {
        "EU": {"scenario", "subject", "emo_choices", "cause_choices"},
        "EA": {"scenario", "subject", "choices", "q_type"},
    }
    for task, page in found.page.items():
        if set(re.findall(r"\{(\w+)\}", page)) != wanted[task]:
            raise WrongRequest(
                f"{prompts}: the {task} prompt in {language} has not the fields {', '.join(sorted(wanted[task]))}; fetch it "
                f"again, or give SET=wording={OURS}"
            )
    return found


def _said(table: Any, name: str, language: str) -> str:
    """A text of the file, without the white space around it."""
    text = table[name][language]
    if not isinstance(text, str) or not text.strip():
        raise KeyError(name)
    return text.strip()


def _yaml(path: Path) -> Any:
    try:
        yaml = import_module("yaml")  # comes with transformers, and has no types
    except ImportError as err:
        raise WrongRequest(
            f"reading {path} needs PyYAML: pip install pyyaml, or give SET=wording={OURS} to ask in our own words"
        ) from err
    try:
        data = path.read_bytes()
        if len(data) > _MOST_BYTES:
            raise WrongRequest(
                f"{path} is too large to be the authors' file; fetch it again, or give SET=wording={OURS}"
            )
        return yaml.safe_load(data.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as err:
        what = " ".join(str(err).split())[:200]
        raise WrongRequest(f"{path} cannot be read ({what}); fetch it again, or give SET=wording={OURS}") from err
