"""How likely a model finds each of some answers to a question, as the whole of its reply.

The log-probability of an answer is that of its tokens and of the one that ends the turn, each given all before it, from the
raw logits in float32: no temperature, no penalty, no grammar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.engines.transformers import Loaded, translated
from factory.errors import FactoryError
from factory.requests import Message

_LOGITS, _LOGITS_GPU = 2**26, 2**29  # numbers that may be in memory at once: 256 MiB and 2 GiB of float32
_MARK = "qzanswer"

Likelihood = tuple[float, int]  # sum of natural log-probabilities, tokens


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question as tokens, with the tokens of each answer and the end of the turn."""

    place: int
    prompt: list[int]
    answers: list[list[int]]


def likelihoods(
    loaded: Loaded, chats: Sequence[Sequence[Message]], options: Sequence[Sequence[str]]
) -> list[list[Likelihood] | Exception]:
    """For each question the likelihood of each of its options, or what went wrong; a prompt is read once for all options.

    Without the model's cache each option is read together with the whole prompt.
    """
    try:
        end = ending(loaded)
        found: list[list[Likelihood] | Exception] = [[] for _ in chats]
        asked = []
        for place, (chat, several) in enumerate(zip(chats, options, strict=True)):
            try:
                asked.append(_Asked(place, loaded.chat.tokens(chat), [_tokens(loaded, one, end) for one in several]))
            except FactoryError as err:
                found[place] = err
        for batch in _batches(loaded, asked):
            sums = _shared(loaded, batch) if loaded.cache else _apart(loaded, batch)
            for one, values in zip(batch, sums, strict=True):
                found[one.place] = [(value, len(ids)) for value, ids in zip(values, one.answers, strict=True)]
        return found
    except FactoryError:
        raise
    except Exception as err:
        raise translated(err) from err


def ending(loaded: Loaded) -> int:
    """The token that ends a turn of the assistant, as the chat template writes it."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    tokenizer = loaded.chat.tokenizer
    whole = str(tokenizer.apply_chat_template(turns, tokenize=False, enable_thinking=False))
    after = tokenizer(whole[whole.rindex(_MARK) + len(_MARK) :], add_special_tokens=False)["input_ids"]
    return int(after[0]) if after and after[0] in loaded.ends else int(min(loaded.ends))


def _tokens(loaded: Loaded, option: str, end: int) -> list[int]:
    """As the model would write it after the prompt, whose tokens stand already."""
    return [*loaded.chat.tokenizer.encode(option, add_special_tokens=False), end]


def _batches(loaded: Loaded, asked: Sequence[_Asked]) -> list[list[_Asked]]:
    """Of like length, so that little is padding, and so few that their logits fit."""
    most = _LOGITS_GPU if loaded.model.device.type == "cuda" else _LOGITS
    room = most // loaded.model.config.get_text_config().vocab_size  # tokens of answers
    made: list[list[_Asked]] = []
    used = longest = 0
    for one in sorted(asked, key=lambda some: -len(some.prompt)):
        longest = max(longest, *map(len, one.answers))
        used += len(one.answers)
        if not made or used * longest > room:
            made.append([])
            used, longest = len(one.answers), max(map(len, one.answers))
        made[-1].append(one)
    return made


def _shared(loaded: Loaded, batch: Sequence[_Asked]) -> list[list[float]]:
    """The prompts in one pass; then all answers at once, each after the cache of its prompt."""
    import torch

    device = loaded.model.device
    ids, mask = _left([one.prompt for one in batch], min(loaded.ends), device)
    rows = [n for n, one in enumerate(batch) for _ in one.answers]
    answers = [answer for one in batch for answer in one.answers]
    with torch.inference_mode():
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        read = loaded.model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1)
        which = torch.tensor(rows, device=device)
        firsts = torch.tensor([answer[0] for answer in answers], device=device)
        sums = read.logits[:, -1].float().log_softmax(-1)[which, firsts]
        width = max(map(len, answers)) - 1
        if width:
            cache = read.past_key_values
            cache.batch_select_indices(which)
            given = torch.tensor([_filled(answer[:-1], width) for answer in answers], device=device)
            wanted = torch.tensor([_filled(answer[1:], width) for answer in answers], device=device)
            real = torch.tensor([_filled([1] * (len(answer) - 1), width) for answer in answers], device=device)
            after = mask.sum(-1)[which, None] + torch.arange(width, device=device)
            said = loaded.model(
                input_ids=given,
                attention_mask=torch.cat([mask[which], real], dim=1),
                position_ids=after,
                past_key_values=cache,
                use_cache=True,
            ).logits
            sums = sums + _gathered(said, wanted, real)
    return _per_question(batch, sums.tolist())


def _apart(loaded: Loaded, batch: Sequence[_Asked]) -> list[list[float]]:
    """Every answer with its whole prompt, nothing remembered."""
    import torch

    device = loaded.model.device
    answers = [answer for one in batch for answer in one.answers]
    whole = [one.prompt + answer[:-1] for one in batch for answer in one.answers]
    ids, mask = _left(whole, min(loaded.ends), device)
    width = max(map(len, answers))
    with torch.inference_mode():
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        said = loaded.model(
            input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=width
        ).logits
        wanted = torch.tensor([[0] * (width - len(answer)) + answer for answer in answers], device=device)
        real = torch.tensor([[0] * (width - len(answer)) + [1] * len(answer) for answer in answers], device=device)
        sums = _gathered(said, wanted, real)
    return _per_question(batch, sums.tolist())


def _gathered(logits: Any, wanted: Any, real: Any) -> Any:
    """Sums [rows] of the log-probabilities of `wanted` [rows, tokens] where `real`; a row at a time, for float32 is large."""
    import torch

    sums = []
    for row, ids, here in zip(logits, wanted, real, strict=True):
        found = row.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        sums.append(torch.where(here.bool(), found, 0.0).sum())
    return torch.stack(sums)


def _left(rows: Sequence[list[int]], filler: int, device: Any) -> tuple[Any, Any]:
    """Token ids and mask, padded on the left."""
    import torch

    longest = max(map(len, rows))
    ids = [[filler] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _filled(row: list[int], width: int) -> list[int]:
    return row + [0] * (width - len(row))


def _per_question(batch: Sequence[_Asked], sums: list[float]) -> list[list[float]]:
    left = iter(sums)
    return [[next(left) for _ in one.answers] for one in batch]
