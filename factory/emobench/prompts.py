"""What is asked: messages of both published protocols and of our own, in English and Chinese. METHODS 4.3, 4.4.

Scenes and choices are written into it as they are: that no text of theirs becomes a token of a chat template is seen to
where messages become tokens.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple

from factory.emobench.items import Item
from factory.emobench.words import WORDS, Wording
from factory.requests import Message

KEYS: Mapping[str, tuple[str, ...]] = {"EU": ("answer_q1", "answer_q2"), "EA": ("answer",)}


class View(NamedTuple):
    """An item in one order: what is shown at place j of a part is the published choice turned[part][j]."""

    item: Item
    number: int
    turned: tuple[tuple[int, ...], ...]

    def shown(self, part: int) -> tuple[str, ...]:
        return tuple(self.item.choices[part][place] for place in self.turned[part])

    def published(self, part: int, place: int) -> int:
        """The published place of what is shown at `place`; a place beyond the choices, or none, stays what it is."""
        turned = self.turned[part]
        return turned[place] if 0 <= place < len(turned) else place


# One question with one answer: protocol v1 and likelihoods -----------------------------------------------------------------


def v1(view: View, part: int, felt: str, cot: bool) -> tuple[Message, ...]:
    """One question with lower-case letters; `felt` is the text of the emotion that the model itself chose, "" where none
    is told."""
    words = WORDS[view.item.language]
    ask = f"{words.think} {words.bracket_last}" if cot else words.bracket
    page = _page(view, part, felt, "({}) {}", ascii_lowercase)
    return _system(words.role, ask), Message("user", f"{page}\n\n{words.steps if cot else words.answer}")


def scored(view: View, part: int, felt: str, letters: bool, thought: str = "") -> tuple[Message, ...]:
    """The question whose replies are scored: the choice's letter, or its whole text. After a `thought` of the model's own
    the answer is asked for in a turn of its own."""
    words = WORDS[view.item.language]
    if thought:
        so = words.so_letter if letters else words.so_verbatim
        return (*thinking(view, part, felt, letters), Message("assistant", thought), Message("user", so))
    ask = words.letter if letters else words.verbatim
    return _system(words.role, ask), Message("user", _listed(view, part, felt, letters))


def thinking(view: View, part: int, felt: str, letters: bool) -> tuple[Message, ...]:
    """The same question, to which only the reasoning is wanted."""
    words = WORDS[view.item.language]
    return _system(words.role, words.think, words.aloud), Message("user", _listed(view, part, felt, letters))


def _system(*sentences: str) -> Message:
    return Message("system", " ".join(sentences))


def _listed(view: View, part: int, felt: str, letters: bool) -> str:
    return _page(view, part, felt, "{}. {}" if letters else "- {1}", ascii_uppercase)


def _page(view: View, part: int, felt: str, form: str, letters: str) -> str:
    item, words = view.item, WORDS[view.item.language]
    if item.task == "EA":
        asked = words.best[item.fine]
    else:
        asked = words.felt if part == 0 else words.why if felt else words.why_so
    question = _filled(asked, subject=item.subject, emotion=felt)
    choices = _lines(view.shown(part), form, letters)
    return _filled(words.page, scenario=item.scenario, question=question, choices=choices)


def _lines(choices: Sequence[str], form: str, letters: str) -> str:
    return "\n".join(form.format(letter, choice) for letter, choice in zip(letters, choices, strict=False))


def _filled(template: str, **values: str) -> str:
    """Fields in one pass, so that a scene that itself says {subject} stays as it is."""
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], template)


# One prompt for all questions: protocol v2 -----------------------------------------------------------------------------------


def v2(view: View, wording: Wording, cot: bool, no_think: bool) -> tuple[Message, ...]:
    """All questions at once, upper-case letters, the format of the reply as a fenced block; `no_think` is what the authors
    write before everything where the model's name holds "qwen" (ours: that of its base). White space around the block is ours."""
    item = view.item
    fields = wording.fields[item.task]
    if cot:
        fields = f"{wording.reasoning},\n{fields}"
    statement = wording.cot if cot else wording.base
    system = f"{wording.system}\n\n{statement}\n```json\n{{\n{fields}\n}}\n```"
    shown = [_lines(view.shown(part), "{}) {}", ascii_uppercase) for part in range(len(item.labels))]
    names = ("emo_choices", "cause_choices") if item.task == "EU" else ("choices",)
    page = _filled(
        wording.page[item.task],
        scenario=item.scenario,
        subject=item.subject,
        q_type=wording.kinds[item.fine] if item.task == "EA" else "",
        **dict(zip(names, shown, strict=True)),
    )
    return Message("system", f"/no_think\n\n{system}" if no_think else system), Message("user", page)
