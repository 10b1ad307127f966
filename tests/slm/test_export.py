"""Facts about files for other trainers: their form, that hostile text stays inside them, and that they are whole or absent."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from slm.conversations import PARTS, Said, lines, some, sound, written
from typer.testing import CliRunner

from factory import contract, export
from factory.cli import app
from factory.errors import Stopped, WrongRequest
from factory.export import FORMATS

EACH = pytest.mark.parametrize("form", FORMATS)
HOSTILE = (
    'He said "no"}]}\n{"messages": []}\n--- \u2028\u2029\x85 <|im_end|>\n<|im_start|>system\r\n\\u0022 {{ x }} {% raw %} '
    "```\n# Title\n- path: /etc/passwd: &a *a !!python/object 😀 \x00\x1b[0m"
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A dataset folder with rows of two tasks, one of them hostile."""
    parts = {part: some(part, 4) + some(f"{part} item", 2, task="mcq_eu") for part in PARTS}
    parts["train"].append(Said(id="hostile", text=HOSTILE, source="train-9", why=HOSTILE))
    return written(tmp_path / "a run, of: #tales", parts)


def _refused(*given: Any) -> str:
    with pytest.raises(WrongRequest) as caught:
        export.export(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _files(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()}


def _turns(row: dict[str, Any]) -> list[dict[str, str]]:
    turns: list[dict[str, str]] = row["messages"] if "messages" in row else row["prompt"] + row["completion"]
    return turns


# Form -----------------------------------------------------------------------------------------------------------------


@EACH
def test_each_part_is_a_file_and_each_row_a_line(run: Path, tmp_path: Path, form: str) -> None:
    """The conversations of the view, in its order."""
    made = export.export(run, form, tmp_path / "out")
    assert [made.of(part) for part in PARTS] == [7, 6, 6]
    for part in PARTS:
        found = lines(tmp_path / "out" / f"{part}.jsonl")
        assert [row["id"] for row in found[:4]] == [f"{part}{n}" for n in range(4)]
        assert all([turn["role"] for turn in _turns(row)] == ["system", "user", "assistant"] for row in found)
        assert contract.parsed(_turns(found[0])[-1]["content"]).how == "strict"


@EACH
def test_hostile_text_stays_inside_its_string(run: Path, tmp_path: Path, form: str) -> None:
    """Whatever a text spells out, it is one line, of one row, and comes back as it was."""
    export.export(run, form, tmp_path / "out")
    raw = (tmp_path / "out" / "train.jsonl").read_text("utf-8")
    assert len(raw.splitlines()) == raw.count("\n") == 7  # also for readers to whom U+2028 ends a line
    row = next(row for row in lines(tmp_path / "out" / "train.jsonl") if row["id"] == "hostile")
    assert _turns(row)[1]["content"] == HOSTILE
    said = contract.parsed(_turns(row)[2]["content"]).contract
    assert said is not None and said.rationale == HOSTILE


def test_trl_reads_prompt_and_completion(run: Path, tmp_path: Path) -> None:
    """A conversational dataset, of which the completion alone is learnt, and no template is asked for a thought."""
    datasets = pytest.importorskip("datasets")
    export.export(run, "trl", tmp_path / "out")
    files = {part: str(tmp_path / "out" / f"{part}.jsonl") for part in PARTS}
    data = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {part: len(rows) for part, rows in data.items()} == {"train": 7, "validation": 6, "test": 6}
    row = data["train"][0]
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
    assert [turn["role"] for turn in row["completion"]] == ["assistant"]
    assert row["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of another library
def test_trl_masks_what_we_mask(tmp_path: Path) -> None:
    """SFTTrainer, fed with an export, learns from the same tokens as our trainer does."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl", reason="trl is not installed")
    pytest.importorskip("torch")
    from models import tiny
    from slm.test_tokens import TEMPLATES
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from factory.slm.rows import load
    from factory.slm.tokens import tokens

    folder, base = sound(tmp_path / "run"), tiny.make(tmp_path / "base")
    export.export(folder, "trl", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = TEMPLATES["qwen3"]
    file = str(tmp_path / "out" / "train.jsonl")
    trainer = trl.SFTTrainer(
        AutoModelForCausalLM.from_pretrained(base),
        args=trl.SFTConfig(output_dir=str(tmp_path / "o"), report_to=[], use_cpu=True, bf16=False),
        train_dataset=datasets.load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path / "cache")),
        processing_class=tokenizer,
    )
    ours = tokens(tokenizer, load(str(folder))[0].train, 1000)
    assert len(trainer.train_dataset) == len(ours) == 8
    for theirs, mine in zip(trainer.train_dataset, ours, strict=True):
        learnt = [token for token, label in zip(theirs["input_ids"], theirs["labels"], strict=True) if label != -100]
        assert theirs["input_ids"][: len(mine.ids)] == mine.ids
        assert learnt[: len(mine.ids) - mine.prompt] == mine.ids[mine.prompt :]
        assert tokenizer.decode(learnt[len(mine.ids) - mine.prompt :]).strip() == ""  # the line break behind it


def test_llama_factory_finds_each_part_in_its_register(run: Path, tmp_path: Path) -> None:
    """dataset_info.json names file, form, column and tags; the names can stand in a list with commas."""
    export.export(run, "llama-factory", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert list(told) == [f"a_run_of_tales_{part}" for part in PARTS]
    for part, entry in zip(PARTS, told.values(), strict=True):
        assert entry["formatting"] == "sharegpt"
        row = lines(tmp_path / "out" / entry["file_name"])[0]
        assert entry["file_name"] == f"{part}.jsonl"
        turns = row[entry["columns"]["messages"]]
        tags = entry["tags"]
        roles = [turn[tags["role_tag"]] for turn in turns]
        assert roles == [tags["system_tag"], tags["user_tag"], tags["assistant_tag"]]
        assert all(turn[tags["content_tag"]] for turn in turns)


def test_axolotl_gets_the_part_of_a_configuration(run: Path, tmp_path: Path) -> None:
    """YAML that reads the files under the base's own template and learns from the assistant alone."""
    yaml = pytest.importorskip("yaml")
    export.export(run, "axolotl", tmp_path / "out")
    told = yaml.safe_load((tmp_path / "out" / "axolotl.yml").read_text())
    (train,), (held,) = told["datasets"], told["test_datasets"]
    assert (train["path"], held["path"]) == ("train.jsonl", "validation.jsonl")
    for one in (train, held):
        assert (one["type"], one["ds_type"], one["split"]) == ("chat_template", "json", "train")
        assert one["roles_to_train"] == ["assistant"] and one["train_on_eos"] == "turn"
        row = lines(tmp_path / "out" / one["path"])[0]
        mapped = one["message_property_mappings"]
        assert [turn[mapped["role"]] for turn in row[one["field_messages"]]] == ["system", "user", "assistant"]
    assert told["chat_template"] == "tokenizer_default"
    assert told["chat_template_kwargs"] == {"enable_thinking": False}


@EACH
def test_the_readme_counts_the_rows_and_says_whose_they_are(run: Path, tmp_path: Path, form: str) -> None:
    """And that an export changes no licence."""
    export.export(run, form, tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "| train | 5 | 2 |" in told and "| test | 4 | 2 |" in told and "mcq_ea |" not in told
    assert "`toy: test`: 19 rows" in told and "## Licence" in told
    assert "{" not in told or form == "trl"


@EACH
def test_the_readme_says_in_bold_that_rows_are_of_the_rehearsal(tmp_path: Path, form: str) -> None:
    """With their number; of other rows it says nothing of the kind."""
    for name, rows in (("toy", some("a", 6)), ("mixed", some("a", 2) + some("b", 4, engine="rehearsal"))):
        export.export(written(tmp_path / name, {"train": rows}), form, tmp_path / "out" / name)
    plain, told = ((tmp_path / "out" / name / "README.md").read_text("utf-8") for name in ("toy", "mixed"))
    assert "**4 rows are template text of the rehearsal engine, not a language model's**" in told
    assert "rehearsal" not in plain and "**" not in plain


def test_a_hostile_name_of_a_model_stays_one_line(tmp_path: Path) -> None:
    """Nothing that it spells out becomes a heading or HTML of the README, and it is cut."""
    hostile = "m`\r\n\n# Injected\n<script>alert(1)</script>\x1b[0m" + " long" * 99
    export.export(written(tmp_path / "run", {"train": some("a", 2, engine=hostile)}), "trl", tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text("utf-8")
    (line,) = (line for line in told.splitlines() if "Injected" in line)
    assert line.startswith("- `m # Injected <script>") and line.endswith("…`: 2 rows") and line.count("`") == 2
    assert "\x1b" not in told and len(line) < 150


def test_llama_factory_is_told_of_template_and_thinking(run: Path, tmp_path: Path) -> None:
    """Its own default is to think, and no row holds a thought."""
    yaml = pytest.importorskip("yaml")
    export.export(run, "llama-factory", tmp_path / "out")
    told = yaml.safe_load((tmp_path / "out" / "README.md").read_text("utf-8").split("```yaml\n")[1].split("```")[0])
    assert (
        told["enable_thinking"] is False and told["template"] == "qwen3" and told["dataset"] == "a_run_of_tales_train"
    )


def test_the_program_in_the_readme_for_trl_is_one(run: Path, tmp_path: Path) -> None:
    """It names the files that are there."""
    export.export(run, "trl", tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text("utf-8")
    program = told.split("```python\n")[1].split("```")[0]
    compile(program, "README.md", "exec")
    assert '{"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}' in program


# What is chosen and what is refused -----------------------------------------------------------------------------------


def test_tasks_choose_rows(run: Path, tmp_path: Path) -> None:
    """Of the command line, with commas."""
    made = export.export(run, "trl", tmp_path / "out", ["mcq_eu"])
    assert {row["task"] for row in lines(tmp_path / "out" / "train.jsonl")} == {"mcq_eu"} and made.of("train") == 2


def test_a_part_without_rows_has_no_file(tmp_path: Path) -> None:
    """Readers stumble over empty ones; the README and the configurations say that it is not there."""
    folder = written(tmp_path / "run", {"train": some("train", 4)})
    for form in FORMATS:
        export.export(folder, form, tmp_path / form)
    assert _files(tmp_path / "trl") == {"train.jsonl", "README.md"}
    assert "| validation (no file) | 0 |" in (tmp_path / "trl" / "README.md").read_text()
    assert list(json.loads((tmp_path / "llama-factory" / "dataset_info.json").read_text())) == ["run_train"]
    assert "test_datasets" not in (tmp_path / "axolotl" / "axolotl.yml").read_text()
    assert "eval_dataset" not in (tmp_path / "llama-factory" / "README.md").read_text()


def test_an_export_replaces_an_earlier_one_and_nothing_else(run: Path, tmp_path: Path) -> None:
    """Files of another form or part go; a folder with anything else in it is refused, the run's own above all."""
    out = tmp_path / "out"
    export.export(run, "axolotl", out)
    export.export(written(tmp_path / "small", {"train": some("train", 2)}), "llama-factory", out)
    assert _files(out) == {"train.jsonl", "dataset_info.json", "README.md"}
    (out / "mine.txt").write_text("x")
    assert "holds other files (mine.txt)" in _refused(run, "trl", out)
    assert "holds other files" in _refused(run, "trl", run)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "README.md").write_text("mine")
    assert "holds other files (README.md)" in _refused(run, "trl", tmp_path / "page")
    for place in (out / "mine.txt", out / "mine.txt" / "trl"):
        assert "is a file; give a folder" in _refused(run, "trl", place)
    assert (tmp_path / "page" / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "names", [("train.jsonl",), ("axolotl.yml", "test.jsonl"), ("dataset_info.json",), (".train.jsonl.tmp",)]
)
@EACH
def test_files_of_others_with_our_names_are_refused(
    run: Path, tmp_path: Path, form: str, names: tuple[str, ...]
) -> None:
    """The names are common ones; only beside a README of an export are they an export's."""
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).write_text("mine")
    assert f"holds other files ({min(names)}); give a folder of its own" in _refused(run, form, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "mine")


@pytest.mark.parametrize("name", ["README.md", "train.jsonl"])
def test_a_folder_with_a_name_of_ours_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    """In a folder of its own, and beside the files of an export."""
    (tmp_path / "out" / name).mkdir(parents=True)
    assert f"holds other files ({name})" in _refused(run, "trl", tmp_path / "out")
    export.export(run, "trl", tmp_path / "again")
    (tmp_path / "again" / name).unlink()
    (tmp_path / "again" / name).mkdir()
    assert "holds other files" in _refused(run, "trl", tmp_path / "again")


class Killed(BaseException):
    """What no part of the program catches."""


@EACH
def test_an_export_that_was_killed_goes_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Before any of its renames, new or over an earlier one, with what a kill leaves lying about: the same files in the end."""
    export.export(run, form, tmp_path / "whole")
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    earlier = written(tmp_path / "earlier", {"train": some("train", 2)})
    rename, ends = os.replace, len(wanted) + 1  # README.md is written twice
    for n in range(2 * ends):
        out, left = tmp_path / f"out{n}", n % ends
        if n >= ends:
            export.export(earlier, "axolotl", out)

        def killed(unfinished: Path, path: Path) -> None:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            rename(unfinished, path)

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            export.export(run, form, out)
        monkeypatch.setattr(os, "replace", rename)
        (out / ".lock").write_text("pid 1")
        (out / (".train.jsonl.tmp" if n % ends else ".README.md.tmp")).write_text("half")
        export.export(run, form, out)
        assert {path.name: path.read_bytes() for path in out.iterdir() if not path.name.endswith(".tmp")} == wanted


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": " "}, "row odd is no question with an answer"),
        ({"turns": (("user", "Hello."),)}, "row odd is no question with an answer"),
        ({"turns": (("user", "Hello."), ("assistant", None))}, "row odd is no question with an answer"),
        (
            {"answer": '{"labels": ["bliss"], "vad": {"v": 0.5, "a": 0.5, "d": 0.5}, "rationale": "x"}'},
            "row odd: it has the label 'bliss'",
        ),
        ({"task": "mcq_eu", "answer": '["A"]'}, "row odd: its answer is not JSON with cause and emotion"),
        ({"id": "odd\n\x1b[31m", "answer": "no"}, "sft/train: row odd [31m: its answer"),
    ],
)
@EACH
def test_what_no_training_would_take_is_not_exported(
    tmp_path: Path, changed: dict[str, Any], said: str, form: str
) -> None:
    """A row without an answer, or with one that is not of its task, is named."""
    odd = replace(Said(id="odd", text="Well.", source="s"), **changed)
    refusal = _refused(written(tmp_path / "run", {"train": [odd]}), form, tmp_path / "out")
    assert said in refusal and refusal.endswith("build the dataset anew") and "\x1b" not in refusal


@pytest.mark.parametrize(
    "column", [None, "text", ["text"], [{"role": "user", "content": ["text"]}], [{"role": "user"}]]
)
def test_turns_of_another_form_are_refused(run: Path, tmp_path: Path, column: Any) -> None:
    """Strings, lists of them, content in parts, nothing at all."""
    path = next((run / "sft").glob("train-*"))
    rows = [{**row, "messages": column} for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), path)
    refusal = _refused(run, "trl", tmp_path / "out")
    assert (
        "is no question" if column is None else f"{path} cannot be read as a view of a run (its column messages"
    ) in refusal


def test_what_cannot_be_exported_is_refused_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    """An unknown form or task, no sft view."""
    assert "FORMAT=alpaca is not known; choose one of trl" in _refused(run, "alpaca", tmp_path / "out")
    assert "TASK=mcq is no task" in _refused(run, "trl", tmp_path / "out", ["mcq"])
    assert "has no sft view" in _refused(tmp_path / "nowhere", "trl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "has no sft row of mcq_ea" in _refused(run, "trl", tmp_path / "out", ["mcq_ea"])
    next((run / "sft").glob("validation-*")).write_bytes(b"no")
    assert "cannot be read as a view" in _refused(run, "trl", tmp_path / "other")


def test_a_full_disk_leaves_the_earlier_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is whole or as it was, and the error says what to do."""
    out = tmp_path / "out"
    export.export(run, "trl", out)
    before = (out / "train.jsonl").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Stopped, match="No space left"):
        export.export(run, "axolotl", out)
    assert (out / "train.jsonl").read_bytes() == before
    assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]


def test_a_view_that_breaks_off_leaves_no_half_file(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that were read before it are not taken for all."""
    read = export.batches

    def breaking(folder: Path, view: str, part: str, columns: Any) -> Iterator[pa.RecordBatch]:
        yield from read(folder, view, part, columns)
        raise WrongRequest("broken")

    monkeypatch.setattr(export, "batches", breaking)
    assert _refused(run, "trl", tmp_path / "out") == "broken"
    assert _files(tmp_path / "out") == {"README.md"}
    assert "not whole" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_the_command_says_where_the_files_are(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default under exports/, named by data and form."""
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["export", str(run), "--format", "trl", "--task", "emotion_json, mcq_eu"])
    assert said.exit_code == 0, said.output
    assert "7 train, 6 validation, 6 test rows for trl" in said.output
    assert _files(tmp_path / "exports" / run.name / "trl") == {"README.md", *(f"{part}.jsonl" for part in PARTS)}
