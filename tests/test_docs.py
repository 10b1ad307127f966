"""Facts about the documents: what they name is there, what they show runs, what they list is complete."""

import ast
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pyarrow import parquet

from factory import __version__, errors
from factory.build import SPLITS
from factory.cli import app
from factory.records import Reject
from factory.settings import Content, Operation, content_from, from_file, operation_from
from factory.taxonomy import ID, LABELS
from factory.views import SCHEMAS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    p
    for p in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / f"{n}/README.md" for n in ("corpora", "prompts", "outputs")),
    )
    if p.exists()
)
README, SETTINGS, TRAINING, ERRORS, DESIGN, METHODS = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "docs/SETTINGS.md",
        "docs/TRAINING.md",
        "docs/ERRORS.md",
        "docs/DESIGN.md",
        "docs/METHODS.md",
    )
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
# The options of every command, without the dashes.
OPTIONS = {
    name: {long[2:] for one in command.params for long in one.opts if long.startswith("--")} - {"help"}
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}
# Variables that a target reads itself, beside those that become options of its command.
OWN = {
    "synth": {"CORPUS", "FRESH"},
    "plan": {"CORPUS"},
    "export": {"DATA"},
    "trace": {"ID"},
    "rejects": {"RETRY"},
    "train": {"DATA", "FRESH"},
    "predict": {"MODEL"},
    "evaluate": {"MODEL", "ENGINE", "COT", "GUIDED", "NO_CACHE", "TAUGHT", "FRESH"},
}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _made_options(target: str) -> set[str]:
    """The variables that a target of the Makefile turns into options."""
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert recipe, f"the Makefile has no target {target}"
    lists = dict(re.findall(r"^(SYNTH|RESUME) := (.*)$", MAKEFILE, re.M))
    names = " ".join(re.findall(r"\$\(call options,([^)]*\)?)", recipe[1]))
    return set(re.sub(r"\$\((\w+)\)", lambda m: lists[m[1]], names).replace(")", "").split())


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))


def _code(text: str) -> Iterator[str]:
    """Lines of code of a page: indented, fenced, and what stands between backticks."""
    fenced = re.compile(r"^```.*?^```", re.M | re.S)
    for block in fenced.findall(text):
        yield from block.splitlines()[1:-1]
    rest = fenced.sub("", text)
    for line in rest.splitlines():
        if line.startswith("    "):
            yield line.strip()
        else:
            yield from re.findall(r"`([^`]+)`", line)


def _commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command line in the documents that starts with this program."""
    for page in PAGES:
        for line in _code(page.read_text(encoding="utf-8")):
            if line.startswith(f"{program} "):
                yield _name(page), shlex.split(line, comments=True)[1:]


def _table(text: str, heading: str) -> list[dict[str, str]]:
    """The first table under a heading, by the names of its columns."""
    part = re.split(rf"^## {re.escape(heading)}\s*$", text, flags=re.M)[1]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in re.search(r"(?:^\|.*\n)+", part, re.M)[0].splitlines()  # type: ignore[index]
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def _words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# What the documents name is there --------------------------------------------------------------------------------------


def _anchors(text: str) -> set[str]:
    """GitHub's anchors of the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link in a document leads to a file of the project and, where it names one, to a heading in it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in _anchors(there.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_file_of_the_source_that_a_document_names_exists(page: Path) -> None:
    """Paths under factory/, tests/, docs/, prompts/ and .ci/ in backticks are paths of the project."""
    paths = re.findall(r"`((?:factory|tests|docs|prompts|\.ci)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_command_has_its_target_and_variables() -> None:
    """A `make` line in a document names targets of the Makefile, with variables that they take."""
    wrong, seen = [], 0
    for page, words in _commands("make"):
        names = [w for w in words if "=" not in w]
        given = {w.partition("=")[0] for w in words if "=" in w}
        seen += 1
        for target in names:
            known = _made_options(target) | OWN.get(target, set()) | {"OUT"} if target in _targets() else set()
            if target not in _targets() or given - known:
                wrong.append((page, " ".join(words), sorted(given - known)))
    assert seen > 20
    assert wrong == []


def test_every_factory_command_exists_with_its_options() -> None:
    """A `factory` line in a document is a command of the command line, with options that it has."""
    wrong, seen = [], 0
    for page, words in _commands("factory"):
        seen += 1
        options = {w[2:].partition("=")[0] for w in words if w.startswith("--")}
        if words[0].startswith("--"):
            continue
        if options - OPTIONS.get(words[0], set()) or words[0] not in OPTIONS:
            wrong.append((page, " ".join(words)))
    assert seen > 0
    assert wrong == []


@pytest.mark.parametrize("command", sorted(OPTIONS))
def test_make_and_the_command_line_take_the_same(command: str) -> None:
    """Every option of a command is a variable of its make target, and the other way round."""
    variables = _made_options(command) | OWN.get(command, set()) - {"CORPUS", "ID", "DATA", "MODEL", "ENGINE"}
    assert {v.lower().replace("_", "-") for v in variables} == OPTIONS[command]


def test_make_hands_a_value_over_unharmed(tmp_path: Path) -> None:
    """A variable reaches the command as one word, whatever stands in it."""
    shown = tmp_path / "show"
    shown.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shown.chmod(0o755)
    (tmp_path / "factory").symlink_to(shown)
    words = ["make", "-s", "-o", ".venv/.base", "synth", f"BIN={tmp_path}"]
    given = ["CORPUS=a b", "OUT=it's $HOME $(shell echo x)", "SHARD_SIZE=8", "FRESH=1"]
    alone = {"PATH": os.environ["PATH"]}  # the tests may themselves run under a make with variables of its own
    said = subprocess.run([*words, *given], cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == [
        "synth",
        "a b",
        "--out",
        "it's $HOME $(shell echo x)",
        "--shard-size",
        "8",
        "--fresh",
    ]


# What they list is complete ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("Content: what decides rows", Content), ("Operation: how rows are made, never which", Operation)],
)
def test_every_setting_is_documented(heading: str, kind: type[Content] | type[Operation]) -> None:
    """docs/SETTINGS.md has each field once, in order, with its true default, its variable and a sentence."""
    rows = _table(SETTINGS, heading)
    fields = dataclasses.fields(kind)
    assert [_words(row["setting"])[0] for row in rows] == [f.name for f in fields]
    for row, field in zip(rows, fields, strict=True):
        default = field.default_factory() if callable(field.default_factory) else field.default
        assert tomllib.loads(f"x = {_words(row['default'])[0]}")["x"] == default, field.name
        option = field.name.replace("_", "-") in OPTIONS["synth"]
        assert row["variable"] == (f"`{field.name.upper()}`" if option else "-"), field.name
        assert row["what it does"].endswith("."), field.name


@pytest.mark.parametrize("heading", ["Content: what decides rows", "Operation: how rows are made, never which"])
def test_documented_ranges_are_the_ranges(heading: str) -> None:
    """A value at either end of a documented range is taken, one beyond it is refused."""
    made = content_from if heading.startswith("Content") else operation_from
    bounded = 0
    for row in _table(SETTINGS, heading):
        name = _words(row["setting"])[0]
        ends = re.fullmatch(r"([\d.]+) (?:to ([\d.]+)|or more)", row["range"])
        if not ends:
            continue
        kind = type(getattr(Content() if made is content_from else Operation(), name))
        low, high = kind(ends[1]), kind(ends[2]) if ends[2] else None
        bounded += 1
        made({name: low})
        with pytest.raises(errors.WrongRequest, match="out of range"):
            made({name: low - 1})
        if high is not None:
            made({name: high})
            with pytest.raises(errors.WrongRequest, match="out of range"):
                made({name: high + 1})
    assert bounded >= 5


def test_every_variable_of_make_is_documented() -> None:
    """docs/SETTINGS.md or docs/TRAINING.md names each variable that the Makefile hands on."""
    variables = set().union(*map(_made_options, OPTIONS), *OWN.values())
    assert variables - set(re.findall(r"`([A-Z_]+)`", SETTINGS + TRAINING)) == set()


def test_the_settings_file_shown_is_one(tmp_path: Path) -> None:
    """The TOML file in docs/SETTINGS.md is read, and each name in it is a setting."""
    path = tmp_path / "my.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", SETTINGS, re.S)[1])  # type: ignore[index]
    content, operation = from_file(path)
    assert content_from(content) != Content()
    assert operation_from(operation) != Operation()


def _family(kind: type[errors.FactoryError]) -> Iterator[type[errors.FactoryError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _family(one)


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes has those of the errors, 0, and 1 for verify and doctor, and no other."""
    codes = {one.exit_code for one in _family(errors.FactoryError) if one is not errors.BadReply}
    assert {int(row["code"]) for row in _table(ERRORS, "Exit codes")} == codes | {0, 1}


def test_the_columns_of_rejects_are_documented() -> None:
    """The table of rejects has every field of a reject."""
    columns = [word for row in _table(ERRORS, "Rejects") for word in _words(row["column"])]
    assert sorted(columns) == sorted(field.name for field in dataclasses.fields(Reject))


def _reasons(path: Path) -> Iterator[str]:
    """Reason words that a file gives: of faults, bad replies, outcomes, and (reason, detail) pairs."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        values: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("BadReply", "Refused", "Left"):
                values = node.args[:1]
            elif node.func.id in ("Fault", "Outcome", "Twin"):
                values = [*node.args[2:3], *(k.value for k in node.keywords if k.arg == "reason")]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant):
            second = node.elts[1]
            sentence = isinstance(second, ast.JoinedStr) or (
                isinstance(second, ast.Constant) and isinstance(second.value, str) and " " in second.value
            )
            values = node.elts[:1] if sentence else []
        for value in values:
            if isinstance(value, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)*", str(value.value)):
                yield str(value.value)


def test_every_reason_is_documented() -> None:
    """Each reason word that a stage, a check, an engine or the runner can give stands in docs/ERRORS.md."""
    files = [*(ROOT / "factory/stages").glob("*.py"), ROOT / "factory/checks.py", ROOT / "factory/runner.py"]
    files += [ROOT / "factory/items.py", ROOT / "factory/sift.py"]
    files += [p for p in (ROOT / "factory/engines").rglob("*.py") if "rehearsal" not in p.parts]  # it rejects nothing
    files += [ROOT / "factory/mend.py", ROOT / "factory/duplicates.py"]
    found = {reason for path in files for reason in _reasons(path)}
    assert len(found) > 25
    assert found - set(re.findall(r"`([a-z_]+)`", ERRORS)) == set()


def _imports(path: Path) -> Iterator[str]:
    """Modules of the package that a file imports, by the first name under `factory`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "factory":
            rest = (node.module or "").split(".")[1:]
            yield from rest[:1] or (a.name for a in node.names if a.name != "__version__")


def test_the_layers_hold() -> None:
    """docs/DESIGN.md lists each module once, and each imports only from its own layer and those above it."""
    layer = {m: n for n, row in enumerate(_table(DESIGN, "What may import what")) for m in _words(row["modules"])}
    files = {p.relative_to(ROOT / "factory").parts[0].removesuffix(".py"): p for p in (ROOT / "factory").rglob("*.py")}
    assert sorted(layer) == sorted(set(files) - {"__init__"})
    wrong = []
    for path in (ROOT / "factory").rglob("*.py"):
        module = path.relative_to(ROOT / "factory").parts[0].removesuffix(".py")
        if module != "__init__":
            wrong += [f"{module} imports {other}" for other in _imports(path) if layer[other] > layer[module]]
    assert wrong == []


def test_the_changelog_knows_this_version() -> None:
    """The newest entry of the changelog is the version of the package, in the source and in pyproject.toml."""
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert newest
    assert {newest[1], project["version"]} == {__version__}


def test_the_licence_is_the_whole_one() -> None:
    """LICENSE is the Apache License 2.0 to the letter."""
    digest = sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


# What they show is so ----------------------------------------------------------------------------------------------


def test_the_row_shown_is_one_of_its_view() -> None:
    """The row in the README has the columns of the view in their order, and its labels agree with each other."""
    row = json.loads(re.search(r"```json\n(.*?)```", README, re.S)[1])  # type: ignore[index]
    assert list(row) == SCHEMAS["contextless"].names
    assert row["label_ids"] == [ID[label] for label in row["labels"]]
    assert row["labels"] == [LABELS[i] for i, score in _falling(row["intensities"]) if score >= 0.3]


def test_the_item_shown_is_one_of_its_view() -> None:
    """The second row in the README has the columns of mcq_eu, and its right options are among its options."""
    row = json.loads(re.findall(r"```json\n(.*?)```", README, re.S)[1])
    assert list(row) == SCHEMAS["mcq_eu"].names
    assert row["emotion_label"] in row["emotion_choices"] and row["cause_label"] in row["cause_choices"]


def _falling(scores: list[float]) -> list[tuple[int, float]]:
    return sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize(("number", "view"), [(0, "contextless"), (1, "mcq_eu")])
def test_the_rows_shown_are_those_of_the_first_run(number: int, view: str, workplace: Path) -> None:
    """The README's first command makes them as they are printed, by this engine's revision; scores are float32."""
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.S)[number])
    tables = (workplace / "outputs/corpora/dataset" / view).glob("*.parquet")
    found = [row for path in tables for row in parquet.read_table(path).to_pylist() if row["id"] == shown["id"]]
    assert [_rounded(row) for row in found] == [shown]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout after the README's first command, with the templates laid out as it says."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "corpora").symlink_to(ROOT / "corpora")
    _python(folder, "-m", "factory.cli", "synth", "corpora")
    (folder / "my_prompts").mkdir()
    for path in (ROOT / "prompts").glob("*.md"):
        (folder / "my_prompts" / path.name).write_bytes(path.read_bytes())
    (folder / "my_prompts/wishes.md").write_text(re.search(r"```markdown\n(.*?)```", README, re.S)[1])  # type: ignore[index]
    return folder


def _python(folder: Path, *arguments: str) -> str:
    quiet = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | quiet, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr[-2000:]
    return said.stdout


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README + SETTINGS, re.S)


@pytest.mark.parametrize("number", range(len(_examples())))
def test_every_python_example_runs(number: int, workplace: Path) -> None:
    """Each piece of Python in the README and the settings runs as it stands after the README's first command."""
    example = _examples()[number]
    if "from datasets" in example:
        pytest.importorskip("datasets", reason="the example needs datasets, which `make test` installs")
    said = _python(workplace, "-c", example)
    assert said or "print" not in example


def test_the_card_of_the_first_run_agrees_with_the_figures_quoted(workplace: Path) -> None:
    """How level the deal is stands in docs/METHODS.md as the card of the bundled corpora measures it."""
    card = (workplace / "outputs/corpora/dataset/README.md").read_text(encoding="utf-8")
    measured = re.search(r"asked for, most over least: ([\d.]+)", card)
    quoted = re.search(r"is asked for ([\d.]+) times as often", METHODS)
    assert measured and quoted
    assert quoted[1] == measured[1]


def test_the_layout_of_a_run_is_the_one_shown(workplace: Path) -> None:
    """Every file of a finished run has its line in outputs/README.md."""
    out = workplace / "outputs/corpora"
    shown = (ROOT / "outputs/README.md").read_text(encoding="utf-8")
    stages = {p.stem for p in out.glob("shards/*/*.parquet")} - {"passages", "rejects", "replies"}
    missing = []
    for path in (p for p in out.rglob("*") if p.is_file()):
        name = path.name
        if path.stem in stages:
            name = "<stage>.parquet"
        elif any(name.startswith(f"{split}-") for split in SPLITS):
            name = "<view>/<split>-NNNNN-of-NNNNN.parquet"
        elif path.parent.name == "prompts":
            name = "prompts/"
        if name not in shown:
            missing.append(path.relative_to(out).as_posix())
    assert missing == []
