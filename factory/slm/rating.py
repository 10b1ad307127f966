"""Valence, arousal and dominance of the texts that have none, by a model of TASK=vad: dear, so each once, and told of."""

import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from factory import vad
from factory.files import sha256 as file_hash

TOGETHER = 512  # texts between two looks at the clock
SECONDS = 10.0  # between two lines on how far it is


class Rater:
    """Texts to [texts, 3] from 0 to 1; WrongRequest where the folder holds no VAD model. `what` names whose texts they are."""

    def __init__(self, folder: Path, what: str, says: Callable[[str], None] = lambda line: None) -> None:
        self._model, self._what, self._says = vad.Regressor.of(folder), what, says
        self._known: dict[str, list[float]] = {}

    @property
    def fingerprint(self) -> str:
        """Of the files that decide what it says."""
        folder = self._model.folder
        files = [folder / vad.NOTE, *sorted(folder.glob("*.safetensors")), folder / "tokenizer.json"]
        return sha256("".join(file_hash(one) for one in files if one.is_file()).encode()).hexdigest()[:16]

    def __call__(self, texts: Sequence[str]) -> vad.Floats:
        waiting = [text for text in dict.fromkeys(texts) if text not in self._known]
        if waiting:
            self._says(f"rating {len(waiting):,} texts of {self._what} with {self._model.folder}")
        last = time.monotonic()
        for start in range(0, len(waiting), TOGETHER):
            if time.monotonic() - last > SECONDS:
                last = time.monotonic()
                self._says(f"  {start:,} of {len(waiting):,} texts are rated")
            some = waiting[start : start + TOGETHER]
            self._known.update(zip(some, self._model.vad(some).tolist(), strict=True))
        return np.asarray([self._known[text] for text in texts], np.float64).reshape(len(texts), 3)
