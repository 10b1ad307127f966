"""The `sft` view as files of other trainers: TRL, LLaMA-Factory, axolotl, each in the form that its documents ask for.

Texts are written as JSON strings, so nothing in them can become a row, a turn or a setting of its own. Field names:
https://huggingface.co/docs/trl/dataset_formats, data/README.md of hiyouga/LLaMA-Factory, and
docs/dataset-formats/conversation.qmd of axolotl-ai-cloud/axolotl.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from factory.errors import WrongRequest
from factory.files import locked, write_atomic, write_pieces, writing
from factory.slm.rows import TASKS, Row, batches, conversation, dataset_of, row_name
from factory.text import one_line
from factory.train.records import PARTS, REHEARSAL

FORMATS = ("trl", "llama-factory", "axolotl")
_FILES = tuple(f"{part}.jsonl" for part in PARTS)
_INFO, _CONFIG, _README = "dataset_info.json", "axolotl.yml", "README.md"
_OURS = {*_FILES, _INFO, _CONFIG, _README}
_MARK = "exported by emotion-factory"
_NAME = 120  # characters that are shown of one
_COLUMNS = ("id", "task", "messages", "engine", "model")
# Line breaks to some readers of text, though not to JSON: written as escapes.
_BREAKS = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}


@dataclass(slots=True)
class Written:
    """What an export came to: rows by part and task, and who wrote them."""

    folder: Path
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    def of(self, part: str) -> int:
        return sum(count for (one, _), count in self.rows.items() if one == part)

    def told(self) -> str:
        """How many rows each part has."""
        return ", ".join(f"{self.of(part):,} {part}" for part in PARTS) + " rows"


def export(data: Path, form: str, out: Path, tasks: Sequence[str] = ()) -> Written:
    """Writes one file for each part that has rows, and what the trainer reads beside them; README.md says that the folder is
    ours before the first of them, and that all is there after the last.

    `data` is a run or a dataset folder; no `tasks` are all of them. WrongRequest where it has no such row or one
    that is no conversation, or where `out` holds files of others.
    """
    if form not in FORMATS:
        raise WrongRequest(f"FORMAT={form} is not known; choose one of {', '.join(FORMATS)}")
    if unknown := [task for task in tasks if task not in TASKS]:
        raise WrongRequest(f"TASK={unknown[0]} is no task of the sft view; choose among {', '.join(TASKS)}")
    folder, name = dataset_of(data), _name(data)
    if not (folder / "sft").is_dir():
        raise WrongRequest(f"{data} has no sft view; give a finished run (make resume OUT=...) or a dataset folder")
    _refuse_others(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"):
        return _written(folder, form, out, tasks or TASKS, name)


def _written(folder: Path, form: str, out: Path, tasks: Sequence[str], name: str) -> Written:
    made = Written(out)
    for part, file in zip(PARTS, _FILES, strict=True):
        lines = _lines(folder, part, form, tasks, made)
        if (first := next(lines, None)) is not None:
            if sum(made.rows.values()) == 1:
                write_pieces(out / _README, [_unfinished(name).encode()])
            write_pieces(out / file, _chained(first, lines))
    if not made.rows:
        raise WrongRequest(f"{folder} has no sft row of {', '.join(tasks)}; choose other tasks, or make some (STAGES=)")
    parts = [part for part in PARTS if made.of(part)]
    beside = {"llama-factory": {_INFO: _info(name, parts)}, "axolotl": {_CONFIG: _config(parts)}}.get(form, {})
    for file, text in beside.items():
        write_atomic(out / file, text.encode())
    with writing(out):
        for file in _OURS - {_README, *beside} - {f"{part}.jsonl" for part in parts}:
            (out / file).unlink(missing_ok=True)  # of an export before this one
    write_atomic(out / _README, _readme(name, form, made).encode())
    return made


def _refuse_others(out: Path) -> None:
    """Nothing that an export did not write is written over: names as common as train.jsonl are ours only beside the README
    that says so."""
    if out.exists() and not out.is_dir():
        raise WrongRequest(f"OUT={out} is a file; give a folder")
    ours = {".lock", f".{_README}.tmp"}
    if _marked(out / _README):
        ours |= _OURS | {f".{name}.tmp" for name in _OURS}
    found = out.iterdir() if out.is_dir() else ()
    if others := {path.name for path in found if path.name not in ours or path.is_dir()}:
        raise WrongRequest(f"OUT={out} holds other files ({min(others)}); give a folder of its own")


def _marked(readme: Path) -> bool:
    """Did an export write it?"""
    try:
        return readme.is_file() and _MARK in readme.read_text("utf-8", "replace")
    except OSError:
        return False


def _name(data: Path) -> str:
    """A name that can stand in a list with commas and in YAML."""
    return re.sub(r"[^A-Za-z0-9]+", "_", data.resolve().name).strip("_").lower() or "sft"


# Rows -----------------------------------------------------------------------------------------------------------------


def _lines(folder: Path, part: str, form: str, tasks: Sequence[str], made: Written) -> Iterator[bytes]:
    """The rows of a part as lines of JSON, counted as they pass."""
    for batch in batches(folder, "sft", part, _COLUMNS):
        for row in batch.to_pylist():
            if row["task"] in tasks:
                said = conversation(row, row_name(folder, part, row))
                made.rows[part, said.task] += 1
                made.models[_author(row["engine"], row["model"])] += 1
                yield line(said, form)


def _author(engine: str | None, model: str | None) -> str:
    """Who wrote a row, as a span of code within a line of Markdown: a name can hold anything."""
    plain = one_line(f"{engine}: {model}".replace("`", " "))
    return plain if len(plain) <= _NAME else plain[: _NAME - 1] + "…"


def line(row: Row, form: str) -> bytes:
    """One row as its line, with the line break.

    TRL gets prompt and completion, so that it learns from the completion alone, and the argument that keeps a template
    such as Qwen3's from asking for a thought; the other two learn from the assistant's turn of `messages`.
    """
    turns = [{"role": turn.role, "content": turn.content} for turn in row.messages]
    made: dict[str, Any] = {"id": row.id, "task": row.task}
    if form == "trl":
        thinking = {"chat_template_kwargs": {"enable_thinking": False}}
        made |= {"prompt": turns[:-1], "completion": turns[-1:]} | thinking
    else:
        made |= {"messages": turns}
    return orjson.dumps(made).decode().translate(_BREAKS).encode() + b"\n"


def _chained(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


# What stands beside them ----------------------------------------------------------------------------------------------


def _info(name: str, parts: Sequence[str]) -> str:
    """LLaMA-Factory's register of datasets: ShareGPT's form with the names that OpenAI gives to turns."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    told = {
        f"{name}_{part}": {
            "file_name": f"{part}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": tags,
        }
        for part in parts
    }
    return json.dumps(told, indent=2) + "\n"


def _config(parts: Sequence[str]) -> str:
    """The part of an axolotl configuration that reads the files."""

    def read(part: str) -> str:
        return (
            f"  - path: {part}.jsonl\n    ds_type: json\n    split: train\n    type: chat_template\n"
            "    field_messages: messages\n    message_property_mappings:\n      role: role\n      content: content\n"
            '    roles_to_train: ["assistant"]\n    train_on_eos: turn\n'
        )

    held = f"test_datasets:\n{read('validation')}" if "validation" in parts else ""
    return (
        "# What reads these files: add base_model and whatever else a training needs, and start axolotl in this folder.\n"
        f"datasets:\n{read('train') if 'train' in parts else ''}{held}"
        "chat_template: tokenizer_default\nchat_template_kwargs:\n  enable_thinking: false\n"
    )


_HOW = {
    "trl": """```python
from datasets import load_dataset
from trl import SFTConfig, SFTTrainer

data = load_dataset("json", data_files={{{files}}})
trainer = SFTTrainer("Qwen/Qwen3-0.6B", args=SFTConfig(max_length=2048), train_dataset=data["train"]{held})
```

Each row is a conversation as prompt and completion: TRL masks the prompt. `chat_template_kwargs` keeps templates that can
think from asking for a thought; others do not look at it.""",
    "llama-factory": """In the configuration of a training:

```yaml
stage: sft
template: qwen3  # that of your base, among LLaMA-Factory's
enable_thinking: false  # its default asks templates that can think for a thought, and the rows hold none
dataset_dir: .  # this folder
dataset: {name}_train{held}
cutoff_len: 2048
```

`dataset_info.json` says how the rows are read. The prompt is masked unless `train_on_prompt` is set.""",
    "axolotl": """`axolotl.yml` is the part of a configuration that reads these files, with the chat template of the base model
and the loss on the assistant's turn alone. Set `sequence_len` to 2048 or more: axolotl drops longer rows.""",
}


def _unfinished(name: str) -> str:
    """What README.md says until all is there: whose the files are, so that the same command goes on after it was killed."""
    return f"# {name}: not whole\n\nConversations, {_MARK}, of which some are missing: run the same command again.\n"


def _readme(name: str, form: str, made: Written) -> str:
    tasks = [task for task in TASKS if any(one == task for _, one in made.rows)]
    table = ["| part | " + " | ".join(tasks) + " |", "| --- |" + " ---: |" * len(tasks)]
    for part in PARTS:
        counts = " | ".join(f"{made.rows[part, task]:,}" for task in tasks)
        table.append(f"| {part} | {counts} |" if made.of(part) else f"| {part} (no file) | {counts} |")
    held = ""
    if made.of("validation"):
        held = {"trl": ', eval_dataset=data["validation"]', "llama-factory": f"\neval_dataset: {name}_validation"}.get(
            form, ""
        )
    files = ", ".join(f'"{part}": "{part}.jsonl"' for part in PARTS if made.of(part))
    models = "\n".join(f"- `{one}`: {count:,} rows" for one, count in made.models.most_common())
    rehearsed = sum(count for one, count in made.models.items() if one.startswith("rehearsal:"))
    warning = (
        f"\n**{rehearsed:,} rows are {REHEARSAL}**: export a run of a real model for a model to use.\n"
        if rehearsed
        else ""
    )
    return f"""# {name}: conversations for {form}

The `sft` view of a dataset, {_MARK}. The answer to `emotion_json` is one line of JSON (labels of GoEmotions, valence,
arousal and dominance, a rationale); that to an item (`mcq_eu`, `mcq_ea`) is a rationale and letters. The parts are split by
source: tune on validation, and look at test once.
{warning}
{chr(10).join(table)}

## Use

{_HOW[form].format(name=name, files=files, held=held)}

The rows hold a turn of the system. A template that knows none (Gemma's older ones, Mistral's) needs its words put before the
question. Texts are as they were written: a base whose tokenizer reads its own special tokens out of a text would read them
out of these too.

## Licence

Written by:

{models}

The text follows a corpus: its licence extends to what stays close to it, and the terms of the generator to what it wrote.
Neither is changed by this export. State both when you publish the rows, or a model that was trained on them.
"""
