"""Facts about docs/TRAINING.md: it lists what there is."""

import re
from dataclasses import fields
from pathlib import Path

from factory.train.recipe import LOSSES, PAPER, Recipe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "TRAINING.md").read_text("utf-8")


def _table(heading: str) -> list[list[str]]:
    part = re.split(rf"^## {heading}$", PAGE, flags=re.M)[1]
    lines = re.search(r"(?:^\|.*\n)+", part, re.M)[0].splitlines()  # type: ignore[index]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[2:]]


def test_every_setting_of_a_training_is_documented_with_its_default() -> None:
    """Each field of the recipe once, in order, with a sentence."""
    rows = _table("Settings")
    assert [row[0] for row in rows] == [f"`{field.name}`" for field in fields(Recipe)]
    assert [row[1] for row in rows] == [f"`{field.default}`" if field.default != "" else "" for field in fields(Recipe)]
    assert all(row[2].endswith(".") for row in rows)


def test_every_loss_is_documented() -> None:
    """With its formula."""
    assert [row[0] for row in _table("Losses")] == [f"`{loss}`" for loss in LOSSES]


def test_the_published_recipe_differs_from_ours_in_settings_that_there_are() -> None:
    """A preset with a name that is gone would do nothing."""
    assert set(PAPER) <= {field.name for field in fields(Recipe)}
