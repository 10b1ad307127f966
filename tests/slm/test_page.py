"""Facts about docs/LANGUAGE_MODELS.md and what docs/EVALUATION.md says of models that write: they list what there is."""

import re
from dataclasses import fields
from pathlib import Path

from factory.emobench.ask import PROTOCOLS
from factory.export import FORMATS
from factory.slm.recipe import PRESETS, SlmRecipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, EVALUATION = ((DOCS / name).read_text("utf-8") for name in ("LANGUAGE_MODELS.md", "EVALUATION.md"))


def _table(page: str, heading: str) -> list[list[str]]:
    part = re.split(rf"^## {heading}$", page, flags=re.M)[1]
    lines = re.search(r"(?:^\|.*\n)+", part, re.M)[0].splitlines()  # type: ignore[index]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[2:]]


def _names(page: str, heading: str) -> list[str]:
    return [re.findall(r"`([^`]+)`", row[0])[0] for row in _table(page, heading)]


def test_every_setting_of_a_language_model_is_documented_with_its_default() -> None:
    """Each field of the recipe once, in order, with a sentence."""
    rows = _table(PAGE, "Settings")
    assert [row[0] for row in rows] == [f"`{field.name}`" for field in fields(SlmRecipe)]
    assert [row[1] for row in rows] == [
        f"`{field.default}`" if field.default != "" else "" for field in fields(SlmRecipe)
    ]
    assert all(row[2].endswith(".") for row in rows)


def test_every_switch_of_the_loss_is_documented_with_its_formula() -> None:
    """All weights of terms, and what decides rows or their order."""
    weights = [field.name for field in fields(SlmRecipe) if field.name.endswith("_weight")]
    assert set(_names(PAGE, "Parts of the loss")) == {*weights, "preserve_rows", "flips", "mix", "cooling"}


def test_presets_formats_and_protocols_are_the_ones_that_there_are() -> None:
    """Each once, in its order."""
    assert _names(PAGE, "Presets") == list(PRESETS)
    assert _names(PAGE, "Other trainers") == list(FORMATS)
    assert _names(EVALUATION, "EmoBench") == list(PROTOCOLS)
