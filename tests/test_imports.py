"""Facts about what imports what: the shape of the package, and how light its front door is."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "factory"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# What a module may import of the package, anywhere in its text; a module that is not here must be added with thought.
# `factory` itself stands for its version and its lazy names.
ALLOWED = {
    "factory": "api",
    # knows nothing of the rest
    "errors": "",
    "taxonomy": "",
    "records": "",
    "requests": "",
    "text": "",
    "lexicon": "",
    # small things on top of these
    "settings": "errors",
    "contract": "taxonomy",
    "given": "errors",
    "questions": "",
    "fit": "taxonomy",
    "mend": "errors fit",
    "deal": "requests taxonomy",
    "duplicates": "requests text",
    "arrow": "records",
    "prompts": "errors requests",
    "cost": "records settings",
    "corpus": "errors text",
    "checks": "lexicon text stages",
    "items": "checks lexicon stages.actors taxonomy text",
    # stages are pure: no engine, store, clock or setting of a run
    "stages": "errors fit mend prompts records requests",
    "stages.*": "checks deal errors items questions records requests stages stages.* taxonomy text",
    "steps": "errors settings stages stages.*",
    # benchmarks know nothing of runs and models
    "benchmarks": "benchmarks.* errors",
    "benchmarks.rows": "",
    "benchmarks.splits": "benchmarks.rows errors text",
    "benchmarks.metrics": "benchmarks.rows",
    "benchmarks.baselines": "benchmarks.metrics benchmarks.rows benchmarks.splits errors lexicon taxonomy",
    "benchmarks.projection": "benchmarks.metrics benchmarks.rows taxonomy",
    "benchmarks.places": "benchmarks benchmarks.report errors files",
    "benchmarks.results": "benchmarks.metrics benchmarks.rows errors",
    "benchmarks.report": "benchmarks.metrics benchmarks.results errors",
    "benchmarks.*": "benchmarks.rows benchmarks.tables errors taxonomy text",
    # engines know requests; the one without a model reads what requests were rendered from
    "engines": "requests",
    "engines.*": "engines errors requests",
    "engines.vllm": "engines.guard engines.local errors requests",
    "engines.transformers": "engines.local errors requests",
    "engines.likelihood": "engines.transformers errors requests",
    "engines.open": "engines engines.* errors settings",
    "engines.flow": "engines engines.pace errors requests",
    "engines.pace": "",
    "engines.openai*": "engines.openai.* errors requests",
    "engines.rehearsal*": "engines.rehearsal.* errors lexicon requests taxonomy text",
    # the disk
    "files": "errors",
    "journal": "errors files records",
    "store": "arrow errors files journal records",
    "views": "arrow contract questions records stages.appraisal taxonomy",
    "level": "",
    "sift": "duplicates errors level",
    "card_items": "level records sift views",
    "card": "card_items checks prompts records requests settings sift stages taxonomy text views",
    "build": "card card_items duplicates files prompts records requests settings sift stages store views",
    # what joins them
    "runner": "cost engines errors journal records requests settings stages store text",
    "plan": "corpus errors records runner settings store text",
    "worker": "errors records runner store run",
    "replay": "prompts records requests stages",
    "frozen": "errors prompts requests settings stages store",
    "run": (
        "factory build corpus cost engines engines.open errors files frozen plan prompts replay runner settings sift "
        "stages steps store worker"
    ),
    # a model on benchmarks
    "seen": "benchmarks benchmarks.metrics errors text train.data",
    "evaluate": "factory benchmarks benchmarks.* errors files predict seen train.thresholds",
    # what people see
    "progress": "cost runner",
    "show": (
        "build cost errors frozen journal prompts questions records replay requests run sift stages steps store text "
        "views"
    ),
    "forecast": (
        "corpus cost engines.open engines.rehearsal errors frozen plan progress records run settings show steps store"
    ),
    "doctor": "factory engines engines.open errors frozen prompts settings steps store text",
    "api": "engines errors frozen records run settings show stages steps store",
    # the trainer knows nothing of runs but their files; it is imported by what joins it to the command line alone
    "train": "",
    "train.records": "text",
    "train.recipe": "errors",
    "train.batches": "",
    "train.thresholds": "",
    "train.imbalance": "",
    "train.team": "",
    "train.losses": "train.recipe",
    "train.model": "errors",
    "train.leaks": "errors text train.records",
    "train.data": "benchmarks errors taxonomy train.leaks train.records",
    "train.work": "train.batches",
    "train.pace": "train.work",
    "train.checkpoint": "errors files",
    "train.loop": (
        "errors train.batches train.checkpoint train.losses train.model train.pace train.recipe train.team train.work"
    ),
    "train.curves": "train.work",
    "train.course": "files train.curves train.keep train.team train.work",
    "train.head": "errors taxonomy train.imbalance train.loop train.model train.pace train.recipe train.work",
    "train.model_card": "benchmarks.metrics train.records train.thresholds",
    "train.keep": "errors files",
    "train.vad": "factory benchmarks.* errors files vad train.*",
    "train.vad_figures": "benchmarks.metrics vad",
    "train.vad_words": "benchmarks.metrics text train.records vad",
    "train.vad_card": "train.model_card",
    "train.guide": (
        "factory benchmarks benchmarks.* errors files train.batches train.data train.keep train.model train.model_card"
    ),
    "train.encoder": "factory benchmarks.metrics files train.*",
    "finished": "errors train.model",
    "vad": "errors finished text train.loop train.model",
    "predict": (
        "answerers answers contract errors evaluate_slm finished requests train.loop train.model train.recipe train.thresholds "
        "vad"
    ),
    "slm": "",
    "slm.rows": "benchmarks contract errors requests taxonomy text train.data train.leaks train.records",
    "slm.tokens": "engines.local errors requests slm.rows",
    "slm.recipe": "errors taxonomy",
    "slm.parts": "train.losses",
    "slm.mixture": "train.batches",
    "slm.rating": "files vad",
    "slm.base": "engines.local errors files requests slm.recipe slm.rows slm.tokens train.model",
    "slm.card": "contract questions slm.recipe train.model_card",
    "slm.learner": (
        "slm.mixture slm.parts slm.recipe slm.rows slm.tokens taxonomy train.batches train.team train.work"
    ),
    "slm.classify": "factory benchmarks.metrics slm.base slm.card slm.recipe train.*",
    "slm.train": "factory benchmarks errors files slm.* taxonomy train.* vad",
    "export": "errors files slm.rows text train.records",
    "answers": "errors files journal records requests",
    "answerers": "answers engines engines.likelihood engines.local engines.transformers errors requests slm.base",
    "evaluate_items": "answers benchmarks.* contract errors files questions requests slm.rows",
    "evaluate_slm": "factory answers benchmarks benchmarks.* contract errors evaluate_items files requests seen taxonomy",
    "emobench": "factory answers emobench.* errors files",
    "emobench.items": "benchmarks.tables errors files",
    "emobench.words": "emobench.items errors",
    "emobench.prompts": "emobench.items emobench.words requests",
    "emobench.parse": "text",
    "emobench.ask": "emobench.items emobench.words errors",
    "emobench.protocols": (
        "answers emobench.ask emobench.items emobench.parse emobench.prompts emobench.words requests"
    ),
    "emobench.baselines": "emobench.items",
    "emobench.score": "benchmarks.metrics emobench.ask emobench.baselines emobench.items emobench.parse errors",
    "emobench.report": (
        "benchmarks.metrics emobench.ask emobench.baselines emobench.items emobench.score emobench.words errors text"
    ),
    "cli_evaluate": (
        "answerers answers benchmarks.report emobench emobench.report engines.open errors evaluate evaluate_slm given journal "
        "predict seen settings"
    ),
    "cli_train": (
        "benchmarks errors given predict progress slm.recipe slm.train train.course train.encoder train.guide train.recipe "
        "train.thresholds train.vad"
    ),
    "cli": "factory cli_evaluate cli_train cost doctor errors export forecast frozen progress run settings show steps store",
}
# The trainer may: the command line imports it when it is asked to train.
TRAINER = ("factory.train.", *(f"factory.slm.{name}" for name in ("base", "parts", "learner", "classify", "train")))
HEAVY = {"torch", "vllm", "transformers", "ray", "datasets"}
SLOW = HEAVY | {"pandas", "pyarrow", "numpy"}


def _imports(tree: ast.AST) -> Iterator[str]:
    """Modules that a text imports, wherever in it; `from factory import x` is the module x where there is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else str(node.module)


def _own(name: str) -> set[str]:
    """Modules of the package that a module of it imports, without the package's name."""
    found = (_short(one) for one in _imports(ast.parse(MODULES[name].read_text("utf-8"))) if one in MODULES)
    return set(found)


def _short(name: str) -> str:
    return name.removeprefix("factory.")


def _allowed(name: str) -> list[str]:
    """The narrowest line of the table that fits a module."""
    fits = [pattern for pattern in ALLOWED if fnmatch(name, pattern)]
    assert fits, f"{name} is not in the table of imports; say what it may know"
    return ALLOWED[max(fits, key=len)].split()


def _top_level(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module is: nothing inside a function, nothing for type checkers alone."""
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _imports(node)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_it_may_know(name: str) -> None:
    """Imports point one way: the table says which edges there may be."""
    unwanted = {one for one in _own(name) if not any(fnmatch(one, pattern) for pattern in _allowed(_short(name)))}
    assert unwanted == set()


def test_the_table_has_no_line_without_a_use() -> None:
    """A line for a module that is gone, or an edge that nobody takes, is deleted."""
    names = {_short(name): _own(name) for name in MODULES}
    for pattern, allowed in ALLOWED.items():
        mine = [own for name, own in names.items() if fnmatch(name, pattern) and _allowed(name) == allowed.split()]
        assert mine, f"no module fits {pattern}"
        for edge in allowed.split():
            assert any(fnmatch(one, edge) for own in mine for one in own), f"{pattern} never imports {edge}"


def test_imports_make_no_ring() -> None:
    """Modules can be put in an order in which each imports only those before it, `worker` asking for `run` in a call apart."""
    edges = {_short(name): _own(name) - {_short(name)} for name in MODULES}
    edges["worker"].discard("run")
    edges["factory"].discard("api")
    while edges:
        free = {name for name, own in edges.items() if not own & edges.keys()}
        assert free, f"these import each other: {sorted(edges)}"
        edges = {name: own for name, own in edges.items() if name not in free}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(TRAINER)])
def test_no_module_loads_a_heavy_library_by_being_imported(name: str) -> None:
    """torch, vllm, transformers, ray and datasets are imported where they are used, if at all."""
    top = {one.partition(".")[0] for one in _top_level(ast.parse(MODULES[name].read_text("utf-8")))}
    assert top & HEAVY == set()


@pytest.mark.parametrize(
    "code",
    [
        "import factory",
        "import factory.cli",
        "import sys; from factory.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "import sys; from factory.cli import main\ntry: main(['synth', '--help'])\nexcept SystemExit: pass",
        "import sys; from factory.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass",
        "import sys; from factory.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass",
    ],
    ids=["import", "import-cli", "help", "help-synth", "help-train", "version"],
)
def test_the_front_door_is_light_and_quick(code: str) -> None:
    """Importing the package or asking for help loads none of the slow libraries and takes under a second."""
    shown = f"{code}\nimport sys; print('LOADED', *sorted({{m.partition('.')[0] for m in sys.modules}}))"
    best = 9.0
    for _ in range(3):  # the processor's time, and the best of three: the machine may be busy
        began = sum(os.times()[2:4])
        said = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
        best = min(best, sum(os.times()[2:4]) - began)
    loaded = set(said.stdout.rpartition("LOADED")[2].split())
    assert "factory" in loaded
    assert loaded & SLOW == set()
    assert best < 1.0
