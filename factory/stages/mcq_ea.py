"""EmoBench's emotional application (EA): what somebody had best do or say in a scene; four choices."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from factory import items
from factory.checks import Finding
from factory.records import Case, EaItem
from factory.stages import Answer, Line, Place, most
from factory.stages.mcq import Items, exactly

# EmoBench's four categories, each with its two types of question.
KINDS = (
    (
        "Personal-Self, Action",
        "the subject has a trouble of his or her own with somebody close; what had the subject best do",
    ),
    (
        "Personal-Self, Response",
        "the subject has a trouble of his or her own with somebody close, who has just said something; what had "
        "the subject best answer",
    ),
    (
        "Personal-Others, Action",
        "somebody close to the subject is in trouble; what had the subject best do for that person",
    ),
    (
        "Personal-Others, Response",
        "somebody close to the subject is in trouble and has just said something; what had the subject best answer",
    ),
    (
        "Social-Self, Action",
        "the subject has a trouble of his or her own at work or among people who are not close; what had the "
        "subject best do",
    ),
    (
        "Social-Self, Response",
        "the subject has a trouble of his or her own at work or among people who are not close, one of whom has "
        "just said something; what had the subject best answer",
    ),
    (
        "Social-Others, Action",
        "somebody whom the subject knows from work or by acquaintance is in trouble; what had the subject best do "
        "for that person",
    ),
    (
        "Social-Others, Response",
        "somebody whom the subject knows from work or by acquaintance is in trouble and has just said something; "
        "what had the subject best answer",
    ),
)
CHOICES = 4


class Item(Answer):
    n: Place
    scenario: Annotated[str, most(2000)]
    subject: Line
    rationale: Annotated[str, most(1500)]  # before the answer: it is to lead there
    answer: Line
    wrong: Annotated[list[Line], exactly(CHOICES - 1)]


class Said(Answer):
    items: Annotated[list[Item], most(10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EaItems(Items):
    """Wrong answers are what people do and what helps less."""

    name: ClassVar[str] = "mcq_ea"
    short: ClassVar[str] = "ea"
    kinds: ClassVar[tuple[tuple[str, str], ...]] = KINDS
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = EaItem

    def item(self, row: Case, ident: str, number: int, place: int, one: Item) -> EaItem:
        category, _, asked = KINDS[place][0].partition(", ")
        answer, wrong = items.option(one.answer), [items.option(text) for text in one.wrong[: CHOICES - 1]]
        return EaItem(
            **self.shared(row, ident, one),
            category=category,
            question_type=asked,
            choices=self.placed(row, "answer", number, answer, wrong),
            label=answer,
        )

    def wrong(self, item: EaItem, one: Item) -> Finding | None:
        if len(item.choices) < CHOICES:
            return "missing", f"give {CHOICES - 1} wrong answers"
        wrong = [choice for choice in item.choices if choice != item.label]
        return (
            items.scene(item.scenario, item.subject)
            or items.texts(item.choices)
            or items.reasoning(item.rationale, item.scenario, item.subject, item.choices)
            or items.reaches_answer(item.rationale, item.label, wrong, item.subject)
        )
