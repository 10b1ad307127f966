"""EmoBench's emotional understanding (EU): what somebody feels in a scene, and why; six emotions, four causes."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from factory import items
from factory.checks import Finding
from factory.records import Case, EuItem
from factory.stages import Answer, Line, Place, most
from factory.stages.mcq import Items, exactly

# EmoBench's eleven fine categories, each as often as any other: weights from test scores would be learning the test.
CATEGORIES = (
    (
        "complex_emotions / emotion_transition",
        "what the subject feels turns into something else in the course of the scene, and what is asked for is "
        "where it ends",
    ),
    (
        "complex_emotions / mixture_of_emotions",
        "two feelings are there at once, each with a reason of its own in the scene",
    ),
    (
        "complex_emotions / unexpected_outcome",
        "it comes out otherwise than the subject expected, so the feeling is not the one that the beginning promises",
    ),
    (
        "emotional_cues / visual",
        "the feeling shows only in what can be seen: face, hands, posture, what is done with things",
    ),
    (
        "emotional_cues / vocal",
        "the feeling shows only in how something is said: pace, loudness, pauses, a word swallowed",
    ),
    (
        "personal_beliefs_and_experiences / cultural_value",
        "the feeling makes sense only by what people there hold proper, due or shameful",
    ),
    (
        "personal_beliefs_and_experiences / persona",
        "most people would feel something else; the subject's own nature or history explains it",
    ),
    (
        "personal_beliefs_and_experiences / sentimental_value",
        "a thing, place or habit of little worth to others carries a memory for the subject",
    ),
    (
        "perspective_taking / false_belief",
        "the subject does not know something that the reader knows, and feels by what he or she believes",
    ),
    (
        "perspective_taking / faux_pas",
        "somebody says or does what, unknown to that person, hurts or exposes the subject",
    ),
    (
        "perspective_taking / strange_story",
        "what is said is not meant as it is said: irony, a white lie, a bluff, a jest, a pretence",
    ),
)
EMOTIONS, CAUSES = 6, 4


class Item(Answer):
    n: Place
    scenario: Annotated[str, most(2000)]
    subject: Line
    rationale: Annotated[str, most(1500)]  # before the answer: it is to lead there
    emotion: Line
    wrong_emotions: Annotated[list[Line], exactly(EMOTIONS - 1)]
    cause: Line
    wrong_causes: Annotated[list[Line], exactly(CAUSES - 1)]


class Said(Answer):
    items: Annotated[list[Item], most(10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EuItems(Items):
    """The right emotion maps into the 28, one or two of them; wrong ones are any emotions."""

    name: ClassVar[str] = "mcq_eu"
    short: ClassVar[str] = "eu"
    kinds: ClassVar[tuple[tuple[str, str], ...]] = CATEGORIES
    said: ClassVar[type[Answer]] = Said
    record: ClassVar[type] = EuItem

    def item(self, row: Case, ident: str, number: int, place: int, one: Item) -> EuItem:
        coarse, _, fine = CATEGORIES[place][0].partition(" / ")
        emotion, cause = items.emotion(one.emotion), items.option(one.cause)
        wrong_emotions = [items.emotion(text) for text in one.wrong_emotions[: EMOTIONS - 1]]
        wrong_causes = [items.option(text) for text in one.wrong_causes[: CAUSES - 1]]
        return EuItem(
            **self.shared(row, ident, one),
            coarse_category=coarse,
            finegrained_category=fine,
            emotion_choices=self.placed(row, "emotion", number, emotion, wrong_emotions),
            emotion_label=emotion,
            emotion=" & ".join(items.labels(emotion)),
            cause_choices=self.placed(row, "cause", number, cause, wrong_causes),
            cause_label=cause,
        )

    def wrong(self, item: EuItem, one: Item) -> Finding | None:
        if len(item.emotion_choices) < EMOTIONS or len(item.cause_choices) < CAUSES:
            return "missing", f"give {EMOTIONS - 1} wrong emotions and {CAUSES - 1} wrong causes"
        wrong = [choice for choice in item.emotion_choices if choice != item.emotion_label]
        choices = (*item.emotion_choices, *item.cause_choices)
        return (
            items.scene(item.scenario, item.subject)
            or items.equal(item.emotion_choices)
            or items.emotions(item.emotion_label, wrong)
            or items.texts(item.cause_choices)
            or items.names(item.scenario, item.emotion_choices, (item.subject, item.actor))
            or items.reasoning(item.rationale, item.scenario, item.subject, choices)
            or items.reaches_emotion(item.rationale, item.emotion_label, wrong)
        )
