"""Whether a rationale speaks of its scene: by the words that carry both."""

from collections.abc import Callable, Iterable

from factory.text import words

GROUNDED = 0.2  # share of a rationale's content words that its scene has; the stage's check wants 0.15
_COMMON = frozenset(
    """about after again against alone already also another anybody anything because been before behind being between
    could does doing done down each either else even ever every everybody everything feel felt from give given gives goes
    hardly have having here hers herself himself into itself just keep know known knows least less like made make makes
    many might more most much must neither never nobody none nothing once only other others over quite rather same says
    should since some somebody something still such take takes than that their them then there these they thing things
    this those though together told until very want wants well were what when where which while whom whose will with
    within without would wrong reason reasons""".split()
)


def content(text: str) -> frozenset[str]:
    """The words that carry a text, without their endings."""
    return frozenset(word[:6] for word in words(text) if len(word) > 3 and word not in _COMMON)


def shared(text: str, scenario: str) -> float:
    """Share of a text's content words that a scene has too."""
    own = content(text)
    return len(own & content(scenario)) / max(1, len(own))


def first_grounded(shapes: Iterable[int], reasoned: Callable[[int], str], scenario: str) -> str:
    """The rationale in the first of these shapes that rests on the scene; else in the one that does so most."""
    best = ""
    for shape in shapes:
        text = reasoned(shape)
        if shared(text, scenario) >= GROUNDED:
            return text
        best = max(best, text, key=lambda one: shared(one, scenario))
    return best
