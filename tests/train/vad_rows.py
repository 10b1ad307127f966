"""A small set in the form of EmoBank's file, whose words give their values away."""

import csv
import random
from collections.abc import Iterator
from pathlib import Path

from train.tiny import FILLERS

# What a word adds to valence, arousal and dominance, which else are 3.
SIGNS = {
    "sunshine": (1.0, 0.4, 0.4),
    "hammer": (-1.0, 0.8, 0.2),
    "cellar": (-0.8, 0.2, -0.8),
    "present": (0.6, -0.2, 0.0),
    "table": (0.0, -0.8, 0.2),
}
COLUMNS = ("id", "split", "V", "A", "D", "text")


def sayings(count: int, seed: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Texts that are all different, with their three values from 1 to 5."""
    draw = random.Random(seed)
    for number in range(count):
        mine = draw.sample(list(SIGNS), draw.choice((1, 2)))
        words = [*draw.sample(FILLERS, draw.randint(1, 8)), *mine, f"no{seed}x{number}"]
        draw.shuffle(words)
        yield " ".join(words), tuple(round(3 + sum(SIGNS[one][n] for one in mine) / len(mine), 2) for n in range(3))


def write(folder: Path, counts: tuple[int, int, int] = (240, 60, 60)) -> Path:
    """Writes emobank.csv into the folder, which is made, and gives the folder back."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "emobank.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for seed, (part, count) in enumerate(zip(("train", "dev", "test"), counts, strict=True)):
            for number, (text, values) in enumerate(sayings(count, seed)):
                table.writerow((f"{part}{number // 5}_{number}_{number + 9}", part, *values, text))
    return folder
