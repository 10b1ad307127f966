"""Facts about the command line: what each command says, how it ends, and what bad input gets."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

import factory
from factory.cli import app, main
from factory.engines.rehearsal import Rehearsal
from factory.requests import Reply, Request
from factory.store import Store
from factory.views import SCHEMAS

TALE = (
    "Nadia carried the brass kettle across the yard to Omar. Omar had waited at the gate since noon with the broken cart. "
    "Nadia set the kettle down and looked at the wheel. Omar asked her to hold the lantern while he hammered the rim."
)
# What a terminal would obey, in everything that a corpus or a model may say.
HOSTILE = "\x1b[31m\x1b]0;owned\x07\x9b5m\x08\r\u202e\u200b [red]x[/red] [bold]y[/] [/] <script>z</script> [link=file:///x]w[/link]"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")
OF_MODELS = ("train", "predict", "evaluate")
COMMANDS = (
    "synth",
    "plan",
    "resume",
    "status",
    "verify",
    "build",
    "show",
    "trace",
    "rejects",
    "doctor",
    "export",
    *OF_MODELS,
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence of a refusal, checked for its form: no traceback, and the exit code as the last line."""
        lines = self.err.splitlines()
        assert "Traceback" not in self.err + self.out
        assert lines[-1] == f"factory: exit {self.code}"
        assert lines[-2].startswith("factory: ")
        assert sum(line.startswith("factory: ") for line in lines) == 2
        assert not OBEYED.search(lines[-2])
        return lines[-2].removeprefix("factory: ")


Call = Callable[..., Ended]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """A command, run here, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code: object = 0
        try:
            main([str(a) for a in arguments])
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return Ended(code, said.out, said.err)

    return run


def _process(*arguments: object, cwd: Path, **environment: str) -> Ended:
    """A command in a process of its own, as a person runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def _jsonl(path: Path, *records: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def _tales(path: Path, count: int = 3) -> Path:
    return _jsonl(path, *({"id": f"t{n}", "text": f"{TALE} It was day {n}."} for n in range(count)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for those who only look."""
    folder = tmp_path_factory.mktemp("run")
    factory.synth(_tales(folder / "tales.jsonl"), folder / "out", flip_share=0.15)
    return folder / "out"


# Each command ---------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(call: Call) -> None:
    """`factory --help` names each command, and each command has a help of its own."""
    whole = call("--help")
    assert whole.code == 0
    assert {c.name or c.callback.__name__ for c in app.registered_commands if c.callback} == set(COMMANDS)
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", whole.out)
        assert call(name, "--help").code == 0


def test_without_a_command_the_help_and_one_sentence(call: Call) -> None:
    """`factory` alone shows its help and says what is missing."""
    ended = call()
    assert ended.code == 2
    assert "synth" in ended.out
    assert ended.sentence == "give a command; see factory --help"


def test_version(call: Call) -> None:
    """`factory --version` says the version of the package."""
    assert call("--version") == Ended(0, f"emotion-factory {factory.__version__}\n", "")


def test_synth_ends_with_accounts_rows_and_the_next_command(call: Call) -> None:
    """The end of a run: every stage with inputs = accepted + rejected, five rows, a plain word on template text, a next step."""
    ended = call("synth", _tales(Path("tales.jsonl")))
    assert ended.code == 0
    accounts = dict(re.findall(r"^(\w+) +(\d+ +\d+ +\d+ +\d+ +\d+ +\d+) ", ended.out, re.M))
    assert {"actors", "utterances", "labels", "context", "cleaning", "rewriting", "appraisal", "flip"} <= set(accounts)
    for numbers in accounts.values():
        inputs, accepted, rejected, made, kept, dropped = map(int, numbers.split())
        assert inputs == accepted + rejected
        assert made == kept + dropped
    assert len(re.findall(r"asked for \w+$", ended.out, re.M)) == 5
    assert "Rehearsal text is template text, not a model's" in ended.out
    assert "Next: make show OUT=outputs/tales" in ended.out
    assert Path("outputs/tales/dataset/README.md").exists()


def test_a_finished_run_asked_again_says_so(call: Call, run: Path) -> None:
    """The same command on a finished run does nothing, says that and what to do instead."""
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    ended = call("synth", run.parent / "tales.jsonl", "--out", run)
    assert ended.code == 0
    assert "is finished (3 passages); nothing to do" in ended.out
    assert f"make show OUT={run}" in ended.out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_resume_of_a_finished_run_says_so(call: Call, run: Path) -> None:
    """There is nothing to go on with."""
    ended = call("resume", run)
    assert (ended.code, "nothing to do" in ended.out) == (0, True)


def test_status_counts_shards_passages_and_tokens(call: Call, run: Path) -> None:
    """What is done, open and left."""
    ended = call("status", run)
    assert ended.code == 0
    assert "shards: 1 done, 0 open" in ended.out
    assert "passages: 3 done, 0 open, 0 left of 3" in ended.out
    assert re.search(r"^tokens: [\d,]+; rejects by reason: ", ended.out, re.M)
    assert "dataset: built" in ended.out


def test_verify_names_the_damaged_file_and_ends_with_one(call: Call, run: Path, tmp_path: Path) -> None:
    """A whole run is said to be whole; one flipped byte is found, named, and ends with 1; resume mends it."""
    assert call("verify", run).code == 0
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    victim = copy / "dataset/sft/train-00000-of-00001.parquet"
    good = victim.read_bytes()
    victim.write_bytes(good[:50] + bytes([good[50] ^ 1]) + good[51:])
    ended = call("verify", copy)
    assert ended.code == 1
    assert "sft/train-00000-of-00001.parquet" in ended.out
    assert f"make resume OUT={copy}" in ended.out
    assert call("resume", copy).code == 0
    assert victim.read_bytes() == good
    assert call("verify", copy).code == 0


def test_build_makes_a_lost_dataset_anew(call: Call, run: Path, tmp_path: Path) -> None:
    """The dataset is made from the shards alone, to the same bytes."""
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    shutil.rmtree(copy / "dataset")
    assert call("build", copy).code == 0
    for path in sorted(p for p in (run / "dataset").rglob("*") if p.is_file()):
        assert (copy / path.relative_to(run)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("view", ["contextless", "contextual", "dialogues", "mcq_eu", "mcq_ea", "sft"])
def test_show_gives_rows_of_a_view(call: Call, run: Path, view: str) -> None:
    """As many rows as asked for, with ids that stand in the view."""
    ended = call("show", run, "--view", view, "--rows", 4)
    ids = set(factory.load(run).dataset(view)["id"])
    assert ended.code == 0 and ids
    assert len([word for word in ended.out.split() if word in ids]) == min(4, len(ids))


def test_trace_shows_the_whole_passage_where_nothing_wraps(run: Path) -> None:
    """In a pipe or a file: from its first word to its last."""
    ident = factory.load(run).dataset("contextless")["id"].iloc[0]
    said = _process("trace", run, ident, cwd=run).out.partition("actors · ")[0]  # before the prompts, which have it too
    store = Store(run)
    (text,) = [p.text for name in store.names() for p in store.passages(name) if ident.startswith(f"{p.id}.")]
    assert len(text) > 160 and text in said and f"passage {ident.split('.a')[0]}" in said


@pytest.mark.parametrize(
    ("view", "ending"), [("contextless", ""), ("contextless", ".f"), ("contextual", ".c"), ("contextual", ".r")]
)
def test_trace_shows_prompt_and_reply_of_every_step_to_a_row(call: Call, run: Path, view: str, ending: str) -> None:
    """From the passage on: each stage on the way to the row, with what was asked and what was said."""
    ids = factory.load(run).dataset(view)["id"]
    ident = next(i for i in ids if i.endswith(ending) and (ending or not i.endswith((".f", ".c", ".r"))))
    ended = call("trace", run, ident)
    assert ended.code == 0
    stages = re.findall(r"^(\w+) · \S+ ─", ended.out, re.M)
    wanted = {
        "": ["labels", "appraisal"],
        ".f": ["flip", "flip_labels", "flip_appraisal"],
        ".c": ["context", "cleaning"],
    }
    assert stages[:2] == ["actors", "utterances"]
    assert set(wanted.get(ending, ["rewriting"])) <= set(stages)
    assert ended.out.count("reply: ") >= len(stages)
    assert ended.out.count("user: ") >= len(stages)
    assert "no reply is remembered" not in ended.out
    assert f"passage {ident.split('.p')[0]}.p1" in ended.out


def test_rejects_are_counted_listed_and_asked_for_again(call: Call) -> None:
    """`rejects` counts by stage and reason and filters by both; `--retry` asks again for what was rejected and only that."""
    tales = _tales(Path("tales.jsonl"), 8)
    assert call("synth", tales, "--out", "run", "--faults", "refusal=0.7", "--max-rejects", 1).code == 0
    listed = call("rejects", "run", "--rows", 1)
    counted = re.findall(r"^(\w+) +(unit|child) +(\w+) +([\d,]+)$", listed.out, re.M)
    units = sum(int(n.replace(",", "")) for _, level, _, n in counted if level == "unit")
    assert units > 0
    assert {"refusal"} <= {reason for _, _, reason, _ in counted}
    only = call("rejects", "run", "--stage", "actors", "--reason", "refusal")
    assert {row[0] for row in re.findall(r"^(\w+) +(unit|child) ", only.out, re.M)} == {"actors"}
    assert "nothing was rejected" in call("rejects", "run", "--stage", "nobody").out
    again = call("rejects", "run", "--retry")
    assert again.code == 0
    assert f"asked again for {units} rejected units: " in again.out
    left = re.findall(r"^(\w+) +unit +(\w+) +([\d,]+)$", call("rejects", "run").out, re.M)
    assert "refusal" not in {reason for _, reason, _ in left}


def test_too_many_rejects_end_with_three_and_the_commonest_reason(call: Call) -> None:
    """A broken prompt is not paid for all night; with a higher limit the run ends, and the rejects can be asked again."""
    tales = _tales(Path("tales.jsonl"), 60)
    ended = call("synth", tales, "--out", "run", "--faults", "malformed=1")
    assert ended.code == 3
    assert re.search(r"\d+ of \d+ units of stage 'actors' were rejected, most as 'not_json'", ended.sentence)
    assert "MAX_REJECTS=0.5" in ended.sentence
    assert call("synth", tales, "--out", "run", "--max-rejects", 1).code == 0
    assert call("rejects", "run", "--retry").code == 0
    assert len(factory.load("run").dataset()) > 0


def test_a_token_limit_ends_with_three_and_the_same_command_goes_on(call: Call) -> None:
    """MAX_TOKENS stops a run; with a higher one it goes on."""
    tales = _tales(Path("tales.jsonl"))
    ended = call("synth", tales, "--out", "run", "--max-tokens", 5000)
    assert ended.code == 3
    assert "MAX_TOKENS" in ended.sentence
    assert call("synth", tales, "--out", "run").code == 0


def test_options_win_over_the_configuration_file(call: Call) -> None:
    """A setting given twice is the option's; one given once is where it was given."""
    Path("set.toml").write_text("seed = 3\nthreshold = 0.5\nconcurrency = 2\n")
    call("synth", _tales(Path("tales.jsonl")), "--out", "run", "--config", "set.toml", "--seed", 4)
    frozen = Path("run/run.toml").read_text()
    assert "seed = 4" in frozen
    assert "threshold = 0.5" in frozen


def test_a_command_works_as_a_process_of_its_own(tmp_path: Path) -> None:
    """`python -m factory.cli` ends with the code, the words on stdout, and no colour where there is no terminal."""
    _tales(tmp_path / "tales.jsonl")
    good = _process("synth", "tales.jsonl", "--limit", 2, cwd=tmp_path)
    assert good.code == 0
    assert "done in" in good.out
    assert not OBEYED.search(good.out + good.err)
    bad = _process("synth", "tails.jsonl", cwd=tmp_path)
    assert (bad.code, bad.out) == (2, "")
    assert "no such file or folder: tails.jsonl" in bad.sentence


def test_a_reader_who_leaves_early_sees_no_traceback(run: Path) -> None:
    """`factory show ... | head -1` ends in silence."""
    command = f"{sys.executable} -m factory.cli show {run} --view sft --rows 1000 | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


# Bad input ------------------------------------------------------------------------------------------------------------


def _latin(path: Path) -> Path:
    path.write_bytes(f'{{"text": "{TALE} A café."}}\n'.encode("latin-1"))
    return path


def _utf16(path: Path) -> Path:
    path.write_bytes(f"text\n{TALE}\n".encode("utf-16"))
    return path


def _bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "notes.md").write_text(TALE)
    return path


def _parquet(path: Path) -> Path:
    parquet.write_table(pa.table({"words": [TALE], "mood": ["calm"]}), path)
    return path


WRONG_AS_A_WHOLE: dict[str, tuple[Callable[[], Path], Sequence[str], str]] = {
    "no such file": (lambda: Path("nowhere.jsonl"), [], "no such file or folder: nowhere.jsonl"),
    "no such folder": (lambda: Path("a/b"), [], "no such file or folder: a/b"),
    "another kind": (lambda: _bytes(Path("a.pdf"), b"%PDF"), [], "cannot tell the format of a.pdf"),
    "nothing to read": (lambda: _folder(Path("empty")), [], "nothing to read in empty"),
    "empty file": (lambda: _bytes(Path("a.jsonl"), b""), [], "a.jsonl is empty: it holds no record"),
    "blank lines": (lambda: _bytes(Path("a.jsonl"), b"\n \n\n"), [], "a.jsonl is empty: it holds no record"),
    "header alone": (lambda: _bytes(Path("a.csv"), b"text\n"), [], "a.csv is empty: it holds no record"),
    "empty csv": (lambda: _bytes(Path("a.csv"), b""), [], "a.csv is empty: it holds no record"),
    "empty text": (lambda: _bytes(Path("a.txt"), b"  \n"), [], "1 of 1 records of a.txt cannot be used"),
    "latin-1 lines": (lambda: _latin(Path("a.jsonl")), [], "not_utf8 (the first at a.jsonl:1"),
    "latin-1 text": (lambda: _latin(Path("a.txt")), [], "not_utf8 (the first at a.txt"),
    "utf-16 table": (lambda: _utf16(Path("a.csv")), [], "a.csv is not UTF-8"),
    "utf-16 text": (lambda: _utf16(Path("a.txt")), [], "not_utf8 (the first at a.txt"),
    "no parquet": (lambda: _bytes(Path("a.parquet"), b"PAR1 or so"), [], "cannot read a.parquet as Parquet"),
    "empty parquet": (lambda: _bytes(Path("a.parquet"), b""), [], "cannot read a.parquet as Parquet"),
    "all lines broken": (
        lambda: _jsonl(Path("a.jsonl"), "{", "[", "x"),
        [],
        "3 of 3 records of a.jsonl cannot be used",
    ),
    "most lines broken": (
        lambda: _jsonl(Path("a.jsonl"), {"text": TALE}, "{", "["),
        [],
        "2 of 3 records of a.jsonl cannot be used, 2 of them for not_json (the first at a.jsonl:2",
    ),
    "no text column": (
        lambda: _jsonl(Path("a.jsonl"), {"words": TALE, "mood": "calm"}),
        [],
        "no column that looks like text; its columns are: words, mood; name the right one with TEXT_COLUMN",
    ),
    "named column absent": (
        lambda: _jsonl(Path("a.jsonl"), {"text": TALE, "mood": "calm"}),
        ["--text-column", "body"],
        "a.jsonl has no column 'body' (TEXT_COLUMN); its columns are: text, mood",
    ),
    "named id column absent": (
        lambda: _jsonl(Path("a.jsonl"), {"text": TALE, "mood": "calm"}),
        ["--id-column", "uid"],
        "a.jsonl has no column 'uid' (ID_COLUMN); its columns are: text, mood",
    ),
    "no text column in parquet": (lambda: _parquet(Path("a.parquet")), [], "its columns are: words, mood"),
    "a name that styles": (
        lambda: _bytes(Path("a\x1b[31m[red].pdf"), b"x"),
        [],
        "cannot tell the format of a[31m[red].pdf",
    ),
    "columns that style": (
        lambda: _jsonl(Path("a.jsonl"), {"w\x1b[31m": TALE, "[red]": 1}),
        [],
        "its columns are: w[31m, [red]",
    ),
    "separator": (lambda: _tales(Path("a.jsonl")), ["--separator", "tabs"], "SEPARATOR"),
    "limit below one": (lambda: _tales(Path("a.jsonl")), ["--limit", "-1"], "LIMIT=-1 is out of range"),
    "a number that is none": (lambda: _tales(Path("a.jsonl")), ["--limit", "ten"], "'--limit'"),
    "no shard": (lambda: _tales(Path("a.jsonl")), ["--shard-size", "0"], "SHARD_SIZE=0 is out of range"),
    "a share over one": (lambda: _tales(Path("a.jsonl")), ["--max-rejects", "2"], "MAX_REJECTS=2 is out of range"),
    "a share that is none": (lambda: _tales(Path("a.jsonl")), ["--max-rejects", "nan"], "MAX_REJECTS"),
    "unknown engine": (lambda: _tales(Path("a.jsonl")), ["--engine", "vlm"], "ENGINE=vlm is unknown; choose among"),
    "unknown preset": (
        lambda: _tales(Path("a.jsonl")),
        ["--preset", "papers"],
        "PRESET=papers is unknown; choose among",
    ),
    "unknown target": (
        lambda: _tales(Path("a.jsonl")),
        ["--stages", "contextless,flips"],
        "no target flips; choose among contextless, contextual, appraisal, flip, mcq",
    ),
    "no target": (lambda: _tales(Path("a.jsonl")), ["--stages", ","], "choose among contextless"),
    "unknown fault": (lambda: _tales(Path("a.jsonl")), ["--faults", "odd=0.1"], "FAULTS: unknown kind odd"),
    "fault without a share": (lambda: _tales(Path("a.jsonl")), ["--faults", "error"], "FAULTS"),
    "no prompts": (lambda: _tales(Path("a.jsonl")), ["--prompts", "nowhere"], "no prompts folder nowhere"),
    "no configuration": (
        lambda: _tales(Path("a.jsonl")),
        ["--config", "no.toml"],
        "the configuration no.toml cannot be read",
    ),
    "unknown option": (lambda: _tales(Path("a.jsonl")), ["--text-colum", "x"], "No such option: --text-colum"),
    "option without its value": (lambda: _tales(Path("a.jsonl")), ["--seed"], "'--seed'"),
    "one argument too many": (lambda: _tales(Path("a.jsonl")), ["b.jsonl"], "b.jsonl"),
}


@pytest.mark.parametrize("case", WRONG_AS_A_WHOLE)
def test_a_request_that_is_wrong_as_a_whole_is_one_sentence_and_nothing_written(call: Call, case: str) -> None:
    """Exit 2, one sentence that names the cause, and not even the folder of the run."""
    make, options, named = WRONG_AS_A_WHOLE[case]
    corpus = make()
    before = sorted(Path().rglob("*"))
    ended = call("synth", corpus, "--out", "run", *options)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.sentence
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed = 1\n\ntreshold = 0.4\n", "set.toml:3: there is no setting 'treshold'"),
        ("seed = 1\nseed = 2\n", "line 2"),
        ("seed = \n", "line 1"),
        ('seed = "one"\n', "seed = 'one' is not of type int"),
        ("seed = 1.5\n", "seed = 1.5 is not of type int"),
        ("threshold = 3\n", "threshold=3 is out of range"),
        ("[content]\nseed = 1\n", "set.toml:1: there is no setting 'content'"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_place(call: Call, text: str, named: str) -> None:
    """A name that there is not stands with its file and line, a wrong value with its name."""
    Path("set.toml").write_text(text)
    ended = call("synth", _tales(Path("tales.jsonl")), "--out", "run", "--config", "set.toml")
    assert ended.code == 2
    assert named in ended.sentence
    assert not Path("run").exists()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("synth", "plan", "doctor", "export", *OF_MODELS)])
def test_a_folder_that_is_no_run_is_refused(call: Call, command: str) -> None:
    """Every other command wants the folder of a run, says so, and makes none."""
    more = ["row"] if command == "trace" else []
    for out in ("nowhere", "."):
        ended = call(command, out, *more)
        assert ended.code == 2
        assert f"{out} is no run (it has no run.toml)" in ended.sentence
        assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["show", "--view", "contextles"],
            "no view 'contextles'; choose among contextless, contextual, dialogues, mcq_eu, mcq_ea, sft",
        ),
        (["show", "--rows", "0"], "'--rows'"),
        (["show", "--rows", "-3"], "'--rows'"),
        (["trace"], "'ID'"),
        (["trace", "t0.p9.a1.u1"], "no row 't0.p9.a1.u1'"),
        (["trace", "../../x"], "no row '../../x'"),
        (["resume", "--seed", "3"], "--seed"),
        (["rejects", "--rows", "-1"], "'--rows'"),
        (["statu"], "No such command 'statu'"),
    ],
)
def test_a_wrong_question_about_a_run_is_one_sentence(call: Call, run: Path, arguments: list[str], named: str) -> None:
    """What there is not is named, and with it what there is."""
    ended = call(arguments[0], run, *arguments[1:])
    assert ended.code == 2
    assert named in ended.sentence


@pytest.mark.parametrize("out", ["tales.jsonl", "tales.jsonl/below", "/proc/none/such"])
def test_an_out_that_cannot_be_written_is_refused(call: Call, out: str) -> None:
    """Exit 2 before anything is asked."""
    tales = _tales(Path("tales.jsonl"))
    before = tales.read_bytes()
    ended = call("synth", tales, "--out", out)
    assert ended.code == 2
    assert out.partition("/b")[0] in ended.sentence
    assert tales.read_bytes() == before


def test_an_out_with_other_things_in_it_is_refused(call: Call) -> None:
    """A folder that holds something else is no place for a run, with --fresh neither, and is left as it is."""
    tales = _tales(Path("tales.jsonl"))
    Path("home").mkdir()
    Path("home/thesis.txt").write_text("years of work")
    for more in ([], ["--fresh"]):
        ended = call("synth", tales, "--out", "home", *more)
        assert ended.code == 2
        assert "thesis.txt" in ended.sentence
        assert [p.name for p in Path("home").iterdir()] == ["thesis.txt"]


def test_single_bad_records_are_skipped_counted_and_named(call: Call) -> None:
    """Each with its place and its reason in the summary; the others are read, and the run is fine."""
    lines = [{"id": f"t{n}", "text": f"{TALE} It was day {n}."} for n in range(8)]
    bad = ['{"text": "cut off', "[1, 2]", {"id": "x"}, {"id": "y", "text": 7}, {"id": "t0", "text": TALE}]
    ended = call("synth", _jsonl(Path("tales.jsonl"), *lines, *bad), "--out", "run")
    assert ended.code == 0
    assert "records of the corpus that were skipped: 5" in ended.out
    named = re.findall(r"^  tales\.jsonl:(\d+): (\w+)", ended.out, re.M)
    assert named == [
        ("9", "not_json"),
        ("10", "not_an_object"),
        ("11", "no_text"),
        ("12", "text_not_a_string"),
        ("13", "duplicate_id"),
    ]
    assert set(factory.load("run").dataset()["source_id"]) == {f"t{n}" for n in range(8)}


def test_a_duplicate_id_keeps_the_first_record(call: Call) -> None:
    """The second one is skipped by name; nothing of it comes out."""
    twice = [{"id": "t", "text": f"{TALE} It was day one."}, {"id": "t", "text": f"{TALE} Vera came by."}]
    ended = call("synth", _jsonl(Path("tales.jsonl"), *twice), "--out", "run")
    assert ended.code == 0
    assert "tales.jsonl:2: duplicate_id" in ended.out
    passages = factory.load("run").table("passages").to_pylist()
    assert [p["text"] for p in passages] == [f"{TALE} It was day one."]


@pytest.mark.parametrize(
    "ident", ["../../x", "/etc/passwd", "a/b\\c", "CON", "..", "[red]x[/red]", "\x1b[31mx", "x\ny", "ü" * 200]
)
def test_no_id_can_harm_a_folder_or_a_terminal(call: Call, tmp_path: Path, ident: str) -> None:
    """Whatever an id is, files stay below OUT, and its row can be shown and traced by the id that the dataset has."""
    inner = tmp_path / "deep/er"
    inner.mkdir(parents=True)
    corpus = _jsonl(inner / "tales.jsonl", {"id": ident, "text": TALE})
    outside = {p for p in tmp_path.rglob("*") if "run" not in p.parts}
    assert call("synth", corpus, "--out", inner / "run").code == 0
    assert {p for p in tmp_path.rglob("*") if "run" not in p.parts} == outside
    row = factory.load(inner / "run").dataset()["id"][0]
    assert re.fullmatch(r"[\w%.-]+", row, re.A)
    for ended in (call("show", inner / "run", "--rows", 50), call("trace", inner / "run", row)):
        assert ended.code == 0
        assert row in ended.out
        assert not OBEYED.search(ended.out)


def _long(path: Path, characters: int) -> Path:
    """One record of so many characters without a space: as few passages as such a record can have."""
    with path.open("w") as file:
        file.write('{"id": "long", "text": "Nadia carried the kettle over to Omar at noon. ')
        for _ in range(characters // 1_000_000):
            file.write("x" * 1_000_000)
        file.write('"}\n')
    return path


@pytest.mark.parametrize("megabytes", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_record_of_many_megabytes_is_read_cut_and_finished(call: Call, megabytes: int) -> None:
    """A single record of 50 MB goes through to a dataset; passages without a person are rejects, not the end."""
    ended = call("synth", _long(Path("long.jsonl"), megabytes * 1_000_000), "--out", "run", "--max-rejects", 1)
    assert ended.code == 0
    passages = factory.load("run").table("passages").to_pylist()
    assert len(passages) == -(-(megabytes * 1000 + 9) // 400)
    assert sum(len(p["text"].replace(" ", "")) for p in passages) > megabytes * 1_000_000
    assert {p["source_id"] for p in passages} == {"long"}


# Hostile text ---------------------------------------------------------------------------------------------------------


class Hostile:
    """The rehearsal engine, who has learnt to swear at terminals."""

    def __init__(self, broken: bool = False) -> None:
        self._inner, self._broken = Rehearsal(), broken
        self.identity = replace(self._inner.identity, engine="hostile")

    async def complete(self, request: Request) -> Reply:
        reply = await self._inner.complete(request)
        if self._broken:
            return replace(reply, text=HOSTILE)
        said = json.loads(reply.text)
        for one in said.get("actors", []):
            one["line"] += HOSTILE
        for one in said.get("utterances", []):
            one["text"] += f" I say {HOSTILE}"
        for one in said.get("items", []):
            for field in {"context", "text", "rationale"} & one.keys():
                one[field] += HOSTILE
        return replace(reply, text=json.dumps(said))

    async def close(self) -> None: ...


def _seen(call: Call, out: Path) -> str:
    """Everything that the commands which show text have to say of a run."""
    rows = [factory.load(out).dataset(view) for view in ("contextless", "contextual", "dialogues")]
    idents = [row for some in rows for row in some["id"][:2]]
    views = [call("show", out, "--view", view, "--rows", 50) for view in SCHEMAS]
    told = [call(command, out) for command in ("status", "rejects", "verify")] + [call("trace", out, i) for i in idents]
    assert {ended.code for ended in views + told} == {0}
    return "".join(ended.out + ended.err for ended in views + told)


def _is_plain(shown: str) -> None:
    assert OBEYED.search(shown) is None
    assert "[red]x[/red] [bold]y[/] [/]" in shown
    assert "<script>z</script> [link=file:///x]w[/link]" in shown


def test_hostile_text_of_a_corpus_styles_nothing(call: Call, tmp_path: Path) -> None:
    """Escape sequences lose their control characters; markup and HTML are shown as the letters they are."""
    text = TALE.replace("kettle", f"kettle {HOSTILE} and", 1)
    _jsonl(Path("tales.jsonl"), {"id": f"h{HOSTILE}", "text": text}, {"id": "n\x1b[1m", "text": "\x1b[31mshort"})
    ended = call("synth", "tales.jsonl", "--out", "run")
    assert ended.code == 0
    assert OBEYED.search(ended.out + ended.err) is None
    _is_plain(_seen(call, tmp_path / "run"))


def test_hostile_text_of_a_model_styles_nothing(call: Call, tmp_path: Path) -> None:
    """What a model says is no more trusted than a corpus."""
    factory.synth(_tales(Path("tales.jsonl")), tmp_path / "run", engine=Hostile())
    _is_plain(_seen(call, tmp_path / "run"))


def test_a_broken_hostile_reply_styles_nothing(call: Call, tmp_path: Path) -> None:
    """A reply that was thrown away is kept raw and shown plain."""
    factory.synth(_tales(Path("tales.jsonl")), tmp_path / "run", engine=Hostile(broken=True), max_rejects=1.0)
    assert {one.raw for one in factory.load("run").rejects()} == {HOSTILE}
    _is_plain(call("rejects", "run").out)


def test_no_control_character_of_a_model_gets_into_the_dataset(tmp_path: Path) -> None:
    """Escapes that JSON carries are gone from every text of every view."""
    run = factory.synth(_tales(tmp_path / "tales.jsonl"), tmp_path / "run", engine=Hostile())
    for view, columns in (
        ("contextless", ["utterance", "rationale"]),
        ("contextual", ["context", "utterance"]),
        ("dialogues", ["background", "actor"]),
        ("mcq_eu", ["scenario", "subject", "cause_label", "rationale"]),
        ("mcq_ea", ["scenario", "subject", "label", "rationale"]),
    ):
        rows = run.dataset(view)
        assert not any(OBEYED.search(text) for column in columns for text in rows[column] if text)
