"""Rows as tokens: the chat as the base model's own template writes it, and where its prompt ends.

What stands before the answer is exactly what an engine sends when it asks (`factory.engines.local.Chat`), so a model is
trained under the prompt that it will see. Texts of a corpus stay text: template tokens that they spell out are broken up.
"""

import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from factory.engines.local import Chat
from factory.errors import WrongRequest
from factory.requests import Message
from factory.slm.rows import Row

_TOGETHER = 512  # rows that are tokenised at once
_RATIONALE = re.compile(r'"rationale"\s*:\s*"((?:[^"\\]|\\.)*)"', re.S)  # inside a string its quotes would be escaped


class Tokens(NamedTuple):
    """One row: all `ids`, of which the first `prompt` are not learnt from; `rationale` is its span in them, (0, 0) for none."""

    ids: list[int]
    prompt: int
    rationale: tuple[int, int]


def tokens(tokenizer: Any, rows: Sequence[Row], max_length: int, reads: int = sys.maxsize) -> list[Tokens]:
    """The rows in their order, up to the token that ends each answer, never cut.

    WrongRequest where the base has no chat template or one that cannot be learnt under, and where a row is longer than
    `max_length` tokens, or than the base `reads` (its positions end there), or spells out a template token that cannot be
    broken up.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise WrongRequest(
            f"{tokenizer.name_or_path or 'the base'} has no chat template, so it was never taught to answer; give BASE an "
            "instruct model"
        )
    if not tokenizer.is_fast:
        raise WrongRequest(
            f"{tokenizer.name_or_path or 'the base'} has a tokenizer that cannot say where its tokens stand; give BASE a "
            "model with a tokenizer.json"
        )
    reader = _Reader(tokenizer)
    made = [one for at in range(0, len(rows), _TOGETHER) for one in reader.read(rows[at : at + _TOGETHER])]
    _refuse_long(rows, made, max_length, reads, tokenizer.name_or_path or "the base")
    return made


def _refuse_long(rows: Sequence[Row], made: Sequence[Tokens], max_length: int, reads: int, base: str) -> None:
    long = [n for n, one in enumerate(made) if len(one.ids) > min(max_length, reads)]
    if not long:
        return
    most = max(len(made[n].ids) for n in long)
    limit = f"max_length={max_length} tokens" if max_length <= reads else f"the {reads:,} tokens that {base} reads"
    larger = f"SET='max_length={most}'"
    cure = f"give {larger}" if most <= reads else f"give BASE a model that reads {most:,}"
    cure += f" and {larger}" if most > max(reads, max_length) else ""
    raise WrongRequest(
        f"{len(long):,} of {len(rows):,} rows are longer than {limit} (the first: {rows[long[0]].id}, "
        f"{len(made[long[0]].ids):,} tokens); {cure}, or leave them out"
    )


class _Reader:
    """A tokenizer with its chat template, and how many template tokens a harmless chat of each form has."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.chat = tokenizer, Chat(tokenizer)
        self._expected: dict[tuple[str, ...], int] = {}

    def read(self, rows: Sequence[Row]) -> list[Tokens]:
        texts = [self.chat.answered(row.messages) for row in rows]
        asked = self._encoded([before for before, _ in texts])["input_ids"]
        whole = self._encoded([before + answer for before, answer in texts])
        found = zip(rows, texts, asked, whole["input_ids"], whole["offset_mapping"], strict=True)
        return [self._one(*each) for each in found]

    def _one(
        self, row: Row, texts: tuple[str, str], asked: list[int], ids: list[int], places: list[tuple[int, int]]
    ) -> Tokens:
        if ids[: len(asked)] != asked:
            ids, places = self._apart(row, texts, asked, ids)
        if self.chat.structural(ids) != self._structure(tuple(message.role for message in row.messages)):
            raise WrongRequest(
                f"row {row.id} spells out tokens of the chat template of the base; leave the row out, or choose another base"
            )
        return Tokens(ids, len(asked), self._rationale(texts, places, len(asked)))

    def _apart(
        self, row: Row, texts: tuple[str, str], asked: list[int], whole: list[int]
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Prompt and answer by themselves, as an engine meets them, where together they would share tokens."""
        start, answer = len(texts[0]), self._encoded([texts[1]])
        ids = [*asked, *answer["input_ids"][0]]
        if self._decoded(ids) != self._decoded(whole):
            raise WrongRequest(
                f"the tokenizer of the base writes the answer of row {row.id} otherwise behind its prompt than alone, so the "
                "prompt cannot be masked exactly; choose another base"
            )
        return ids, [(0, 0)] * len(asked) + [(start + a, start + b) for a, b in answer["offset_mapping"][0]]

    @staticmethod
    def _rationale(texts: tuple[str, str], places: Sequence[tuple[int, int]], prompt: int) -> tuple[int, int]:
        """The tokens that lie wholly inside the rationale's quotes."""
        told = _RATIONALE.search(texts[1])
        if told is None:
            return 0, 0
        start, end = (len(texts[0]) + place for place in told.span(1))
        inside = [n for n in range(prompt, len(places)) if start <= places[n][0] < places[n][1] <= end]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def _structure(self, roles: tuple[Any, ...]) -> int:
        if roles not in self._expected:
            plain = "".join(self.chat.answered([Message(role, "x") for role in roles]))
            self._expected[roles] = self.chat.structural(self._encoded([plain])["input_ids"][0])
        return self._expected[roles]

    def _encoded(self, texts: list[str]) -> Any:
        return self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)

    def _decoded(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))
