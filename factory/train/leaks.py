"""What must not stand on two sides of a split: the same text, or two rows of one source. Found before anything is trained.

Texts are compared in normal form with their contexts. What stands in validation or test is taken out of train, and out of
validation where it stands in test; where so much is doubled that the split was plainly made after copying, it is refused
(a benchmark's own split is never refused, only cleaned).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from factory.errors import WrongRequest
from factory.text import normal
from factory.train.records import PARTS, Dataset, Examples

MOST = 0.2  # of the distinct texts of validation or test that may stand in train: more was copied before it was split
FEW = 20  # doubled texts that are never too many


def cleaned(made: Dataset) -> Dataset:
    """The same without rows that repeat another part; WrongRequest where that is no accident."""
    notes = list(made.notes)
    validation, gone = _apart(made.validation, [made.test])
    if gone:
        notes.append(f"{gone:,} validation rows repeat a text of test and were left out")
    for name, held in (("validation", validation), ("test", made.test)):
        _refuse_copies(made, name, held)
    train, gone = _apart(made.train, [validation, made.test])
    if gone:
        notes.append(f"{gone:,} training rows repeat a text of validation or test and were left out")
    made = replace(made, train=train, validation=validation)
    return replace(made, notes=(*notes, *_groups_on_two_sides(made)))


def _apart(part: Examples, others: Sequence[Examples]) -> tuple[Examples, int]:
    """Rows that no other part has, and how many went. Where one of two rows has no context, their texts alone are compared."""
    pairs: set[str] = set().union(*(other.keys() for other in others))
    alone = {
        normal(t) for other in others for t, context in zip(other.texts, other.contexts, strict=True) if not context
    }
    texts = {normal(text) for other in others for text in other.texts} if not all(part.contexts) else set()
    stay = [
        row
        for row, (key, text, context) in enumerate(zip(part.keys(), part.texts, part.contexts, strict=True))
        if key not in pairs and normal(text) not in (alone if context else texts)
    ]
    return (part, 0) if len(stay) == len(part) else (part.take(stay), len(part) - len(stay))


def _refuse_copies(made: Dataset, name: str, held: Examples) -> None:
    keys = set(held.keys())
    both = len(keys & set(made.train.keys()))
    if not made.official and both > max(FEW, MOST * len(keys)):
        raise WrongRequest(
            f"{both:,} of the {len(keys):,} texts of the {name} part of {made.name} stand in its training part too: rows were "
            "copied before they were split. Split first, then oversample or augment the training part alone (SET=sampling=...)"
        )


def _groups_on_two_sides(made: Dataset) -> list[str]:
    """A source, respondent or conversation on two sides is refused; in an official split it is told."""
    notes = []
    parts = {name: set(getattr(made, name).groups) - {""} for name in PARTS}
    for one, other in combinations(PARTS, 2):
        both = parts[one] & parts[other]
        if both and not made.official:
            raise WrongRequest(
                f"{len(both):,} sources of {made.name} stand in {one} and in {other} (the first: {min(both)[:60]}); "
                "split by source, as make build does"
            )
        if both:
            notes.append(f"the official split has {len(both):,} groups both in {one} and in {other}")
    return notes
