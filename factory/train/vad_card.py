"""The README.md of a VAD regressor, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from factory.train.model_card import LICENCES

DIMENSIONS = ("valence", "arousal", "dominance")
_MEASURES = {"pearson": "Pearson r", "concordance": "CCC", "mae": "MAE", "one_minus_rmse": "1 - RMSE"}


def written(record: Mapping[str, Any]) -> str:
    """Markdown with the head that a model hub reads."""
    results = record["results"]
    part = "test" if "test" in results else "validation"
    found = results[part]
    looked = "test was looked at once, afterwards" if part == "test" else "there is no test part"
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-classification",
        "license: cc-by-sa-4.0",
        "tags: [emotion, valence, arousal, dominance, regression]",
        "---",
        "",
        "# Valence, arousal and dominance",
        "",
        f"A regressor of three values from 0 to 1, trained by emotion-factory {record['factory']} on EmoBank (fingerprint "
        f"`{record['fingerprint']}`), from {record['base']}, in {record['precision']}.",
        "",
        "## How good it is",
        "",
        f"On {part} ({found['rows']:,} rows; validation chose the epoch, {looked}), with 95% intervals of 1,000 bootstrap draws. "
        "Beside each figure is that of always saying the mean of the training part: EmoBank's raters hardly left the middle "
        "of their scale, so a constant has small errors, and only r and CCC tell the two apart.",
        "",
        "| dimension | " + " | ".join(f"{name} | constant" for name in _MEASURES.values()) + " | skill |",
        "| --- |" + " ---: |" * (2 * len(_MEASURES) + 1),
        *(_line(name, found[name]) for name in DIMENSIONS),
        "",
        f"Mean of the three r {_figure(found['mean_pearson'])}. 1 - RMSE over all three {found['pooled_one_minus_rmse']:.3f}; "
        f"the constant's {found['constant_pooled_one_minus_rmse']:.3f}. Skill is 1 - MSE / the constant's MSE.",
        "",
        "## Table of words",
        "",
        f"`words.tsv`: {record['words']['count']:,} words, each at least 20 times in what it was learnt from: "
        f"{record['words']['source']}. The mean over the words of a text, with the mean of train where it has none: mean r "
        f"{record['words'][part]['mean_pearson']:.3f} on {part}. It says what words do in texts, not how people rate them alone.",
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in record["recipe"].items() if name in _SETTINGS and value != ""),
        *(
            [f"- limit: at most {limit:,} rows of train are learnt from"]
            if (limit := record["recipe"]["limit"])
            else []
        ),
        f"- best epoch: {record['history']['best_epoch']} of {len(record['history']['score'])} that were trained",
        "",
        "## Data",
        "",
        *(f"- {name}: {count:,} rows" for name, count in record["rows"].items()),
        *(f"- {note}" for note in record["notes"]),
        f"- licence of the data, and so of this model and its table: {record['licence']} (EmoBank, Buechel and Hahn 2017, "
        "https://github.com/JULIELab/EmoBank)",
        f"- licence of the base: {LICENCES.get(record['base'], 'see where it comes from')}",
        "",
        "## Use",
        "",
        "```python",
        "from pathlib import Path",
        "",
        "from factory.vad import Regressor",
        "",
        'FOLDER = "."  # where this card lies',
        'print(Regressor.of(Path(FOLDER)).vad(["I never thought you would come back!"]))  # [texts, 3] from 0 to 1',
        "```",
        "",
        "Or `factory predict FOLDER --text '...'`. It is a standard folder of transformers with three outputs "
        "(`problem_type: regression`), which are the values.",
        "",
    ]
    return "\n".join(lines)


_SETTINGS = ("base", "init", "loss", "epochs", "batch", "learning_rate", "head_rate", "layer_decay", "average", "seed")


def of_seeds(records: Sequence[Mapping[str, Any]]) -> str:
    """The README.md over several regressors that differ in their seed."""
    part = "test" if "test" in records[0]["results"] else "validation"
    lines = ["# VAD regressors of several seeds", "", f"Pearson r on {part}:", ""]
    lines += ["| model | " + " | ".join((*DIMENSIONS, "mean")) + " |", "| --- |" + " ---: |" * 4]
    each = [[*(one["results"][part][name]["pearson"]["value"] for name in DIMENSIONS)] for one in records]
    for one, r in zip(records, each, strict=True):
        seed = one["recipe"]["seed"]
        figures = " | ".join(f"{value:.3f}" for value in (*r, sum(r) / 3))
        lines.append(f"| [seed {seed}](seed-{seed}/README.md) | {figures} |")
    means = [sum(column) / len(column) for column in zip(*each, strict=True)]
    lines.append("| mean | " + " | ".join(f"{value:.3f}" for value in (*means, sum(means) / 3)) + " |")
    return "\n".join([*lines, "", "Each model's own card has its intervals and the constant beside them.", ""])


def _figure(found: Mapping[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _line(name: str, found: Mapping[str, Any]) -> str:
    cells = []
    for kind in _MEASURES:
        always = "none" if kind == "pearson" else f"{abs(found['constant'][kind]):.3f}"
        cells += [_figure(found[kind]), always]
    return f"| {name} | " + " | ".join(cells) + f" | {found['skill']:.3f} |"
