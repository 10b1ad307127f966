"""What must not stand on two sides of a split: the same text, or two rows of one source. Found before anything is trained.

Texts are compared in normal form with their contexts. What stands in validation or test is taken out of train, and out of
validation where it stands in test; where so much is doubled that the split was plainly made after copying, it is refused
(a benchmark's own split is never refused, only cleaned).
"""

from collections.abc import Sequence
from dataclasses import replace

from factory.errors import WrongRequest
from factory.train.records import Dataset, Examples

MOST = 0.2  # of the distinct texts of validation or test that may stand in train: more was copied before it was split
FEW = 20  # doubled texts that are never too many


def cleaned(made: Dataset) -> Dataset:
    """The same without rows that repeat another part; WrongRequest where that is no accident."""
    notes = list(made.notes)
    test, validation = made.test, made.validation
    held = set(test.keys())
    validation, gone = _apart(validation, held)
    if gone:
        notes.append(f"{gone:,} validation rows repeat a text of test and were left out")
    mine = made.train.keys()
    _refuse_copies(made, "validation", set(validation.keys()), mine)
    _refuse_copies(made, "test", held, mine)
    train, gone = _apart(made.train, held | set(validation.keys()))
    if gone:
        notes.append(f"{gone:,} training rows repeat a text of validation or test and were left out")
    made = replace(made, train=train, validation=validation, test=test, notes=tuple(notes))
    _refuse_groups(made)
    return made


def _apart(part: Examples, held: set[str]) -> tuple[Examples, int]:
    stay = [row for row, key in enumerate(part.keys()) if key not in held]
    return (part, 0) if len(stay) == len(part) else (part.take(stay), len(part) - len(stay))


def _refuse_copies(made: Dataset, name: str, held: set[str], mine: Sequence[str]) -> None:
    both = len(held & set(mine))
    if not made.official and both > max(FEW, MOST * len(held)):
        raise WrongRequest(
            f"{both:,} of the {len(held):,} texts of the {name} part of {made.name} stand in its training part too: rows were copied "
            "before they were split. Split first, then oversample or augment the training part alone (SAMPLING= does)"
        )


def _refuse_groups(made: Dataset) -> None:
    """A source, respondent or conversation on two sides."""
    parts = {"train": set(made.train.groups), "validation": set(made.validation.groups), "test": set(made.test.groups)}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = (parts[one] & parts[other]) - {""}
        if both:
            raise WrongRequest(
                f"{len(both):,} sources of {made.name} stand in {one} and in {other} (the first: {min(both)[:60]}); "
                "split by source, as make build does"
            )
