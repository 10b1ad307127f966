"""The command line of the trainer: train and predict. What they need is in the extra `train`."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.errors import WrongRequest
from factory.given import given

TASKS = ("encoder", "slm", "vad", "guide")
PREDICT = "make predict MODEL={} TEXT='I never thought you would come back!'"
_NEEDED = ("torch", "transformers", "sklearn")


def _option(text: str, **more: Any) -> Any:
    return typer.Option(
        help=text.replace("[", r"\["), show_default=False, **more
    )  # else rich takes a default for markup


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What TASK names: options that it knows beside those of all, its recipe, its training, and what validation is scored by."""

    options: tuple[str, ...]
    settings: type
    recipe: Callable[..., Any]
    train: Callable[..., Any]
    score: Callable[[Any], str]
    says: Callable[[Any], str]
    next: Callable[[Any, Path], str]  # a command to try with what was made in a folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guide:
    """Settings of TASK=guide."""

    base: str = "minilm"


def _kind(task: str) -> _Kind:
    if task not in TASKS:
        raise WrongRequest(f"TASK={task} is not known; choose one of {', '.join(TASKS)}")
    from factory.train.recipe import Recipe, recipe

    if task == "slm":
        from factory.slm import recipe as slm
        from factory.slm import train as slm_train

        return _Kind(
            options=("base", "mode", "mix", "vad", "guide", "loss", "view", "epochs"),
            settings=slm.SlmRecipe,
            recipe=slm.recipe,
            train=slm_train.train,
            score=lambda made: "macro-F1" if made.mode == "classify" else slm_train.SCORE,
            says=lambda one: one.says,
            next=_after_slm,
        )
    if task == "vad":
        from factory.train import vad

        return _Kind(
            options=("base", "init", "loss", "epochs"),
            settings=Recipe,
            recipe=lambda preset, **given: vad.recipe(**given),
            train=vad.train,
            score=lambda made: vad.SCORE,
            says=lambda one: one.says,
            next=lambda made, folder: (
                f"make train TASK=slm VAD={folder} DATA=outputs/corpora,goemotions:benchmarks/goemotions BASE=Qwen/Qwen3-0.6B"
            ),
        )
    if task == "guide":
        from factory.train import guide

        return _Kind(
            options=("base",),
            settings=_Guide,
            recipe=lambda preset, **given: _Guide(**given),
            train=lambda data, out, made, seeds, watcher, fresh: [
                guide.train(data, out, made.base, says=watcher.says, fresh=fresh)
            ],
            score=lambda made: "",
            says=lambda one: one.says,
            next=lambda made, folder: (
                f"make train TASK=slm GUIDE={folder} DATA=outputs/corpora BASE=Qwen/Qwen3-0.6B SET=appraisal_weight=0.1"
            ),
        )
    from factory.train import encoder

    return _Kind(
        options=("base", "view", "init", "loss", "epochs"),
        settings=Recipe,
        recipe=recipe,
        train=encoder.train,
        score=lambda made: "macro-F1",
        says=_of_encoder,
        next=lambda made, folder: PREDICT.format(folder),
    )


def _after_slm(made: Any, folder: Path) -> str:
    """What can be done with it: an adapter that classifies is read merged, and a model of items knows items alone."""
    if made.mode == "classify":
        return PREDICT.format(folder) if made.merge else "the same command with merge=1 in SET, and then make predict"
    asked = "goemotions" if "emotion_json" in made.tasks.split(",") else "emobench"
    return f"make evaluate MODEL={folder} BENCHMARK={asked} DATA=benchmarks"


def _of_encoder(one: Any) -> str:
    from factory.train.thresholds import told

    part = "test" if one.test else "validation"
    found = f"{one.test.value:.3f} ({one.test.low:.3f} to {one.test.high:.3f})" if one.test else f"{one.validation:.3f}"
    return f"{one.folder}: macro-F1 {found} on {part}, {told(one.record)}"


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="a run, a dataset folder, or a benchmark such as goemotions:path; more for its training part with commas"
        ),
    ],
    task: Annotated[
        str, _option("what is trained: encoder, slm (a small language model), vad, or guide (of appraisals) [encoder]")
    ] = "encoder",
    base: Annotated[str | None, _option("minilm, a hub id, or a folder [minilm; an slm has none]")] = None,
    view: Annotated[str | None, _option("contextless, contextual, or both with a comma [contextless]")] = None,
    init: Annotated[str | None, _option("a model folder to go on from")] = None,
    loss: Annotated[str | None, _option("bce, soft, focal or asl [bce]; vad: mse, ccc or both [mse]")] = None,
    mode: Annotated[str | None, _option("slm: generate the JSON contract, or classify [generate]")] = None,
    mix: Annotated[str | None, _option("slm: shares of the first part of DATA and of the others, as 0.2,0.8")] = None,
    vad: Annotated[str | None, _option("slm: folder of a model of TASK=vad")] = None,
    guide: Annotated[str | None, _option("slm: folder of an appraisal guide")] = None,
    epochs: Annotated[int | None, _option("at most so many [5; slm: 3; vad: 4]")] = None,
    seeds: Annotated[str, _option("one, or several with commas: a model each [0]")] = "0",
    out: Annotated[Path | None, _option("folder of the model [models/<data>, models/<data>-slm]")] = None,
    preset: Annotated[str, _option("default; paper: Emo Pillars' recipe; slm: emoloom, korab or ec2er")] = "default",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="any other setting: name=value (docs/TRAINING.md, docs/LANGUAGE_MODELS.md)",
            show_default=False,
        ),
    ] = None,
    fresh: Annotated[bool, _option("throw away what is in OUT and start anew")] = False,
) -> None:
    """Fine-tune a classifier, a small language model or a VAD regressor on a dataset; the same command resumes."""
    _need(task)
    kind = _kind(task)
    told = {"base": base, "view": view, "init": init, "loss": loss, "epochs": epochs, "mode": mode, "mix": mix}
    told = {name: value for name, value in {**told, "vad": vad, "guide": guide}.items() if value is not None}
    if idle := [name for name in told if name not in kind.options]:
        raise WrongRequest(f"{idle[0].upper()} is not of TASK={task}; leave it out")
    if preset != "default" and task in ("vad", "guide"):
        raise WrongRequest(f"PRESET={preset} is not of TASK={task}; leave it out")
    if init and base:
        raise WrongRequest("INIT goes on from a model, which has its base already; leave out BASE")
    made = kind.recipe(preset, **_settings(set_ or [], told, kind.settings), **told)
    if task == "guide" and seeds != "0":
        raise WrongRequest("SEEDS decides nothing with TASK=guide; leave it out")
    folder = out or Path("models") / (_name(data) if task == "encoder" else f"{_name(data)}-{task}")
    start = time.monotonic()
    with _stoppable() as stops:
        finished = kind.train(data, folder, made, _seeds(seeds), _watcher(stops, kind.score(made)), fresh=fresh)
    if not finished:
        return  # this process only helped another one
    for one in finished:
        typer.echo(kind.says(one))
    typer.echo(f"done in {time.monotonic() - start:.0f} s. Look at {finished[0].folder}/README.md, or try:")
    typer.echo(f"  {kind.next(made, finished[0].folder)}")


def predict(
    model: Annotated[Path, typer.Argument(help="folder of a model", show_default=False)],
    text: Annotated[
        list[str] | None, typer.Option(help="a text; may be given several times", show_default=False)
    ] = None,
    context: Annotated[str, _option("what was there before the texts")] = "",
    file: Annotated[Path | None, _option("texts: .txt (lines), .jsonl, .csv, .tsv, .parquet")] = None,
    text_column: Annotated[str, _option("column of the texts [guessed]")] = "",
) -> None:
    """Labels of texts with their probabilities, their VAD, or the answers of a model that writes; one line of JSON each."""
    _need()
    from factory.predict import answers, texts_of, writes

    if bool(text) == bool(file):
        raise WrongRequest("give TEXT='...' or FILE=path")
    if file and context:
        raise WrongRequest("CONTEXT is of TEXT; a FILE has a column `context` of its own")
    if text and text_column:
        raise WrongRequest("TEXT_COLUMN is of FILE; leave it out")
    if writes(model):
        _need("slm")
        if context:
            raise WrongRequest(f"{model} was taught to read one utterance and nothing before it; leave out CONTEXT")
    rows = list(texts_of(file, text_column)) if file else [(one, context) for one in text or ()]
    for said in answers(model, rows, lambda sentence: typer.echo(sentence, err=True)):
        typer.echo(json.dumps(said, ensure_ascii=False))


def _need(task: str = "") -> None:
    missing = [name for name in (*_NEEDED, *(["peft"] if task == "slm" else [])) if find_spec(name) is None]
    if missing:
        raise WrongRequest(
            f"{', '.join(missing)} is not installed; make train sets it up, or: pip install 'emotion-factory[train]'"
        )


def _name(data: str) -> str:
    """models/<this>: of a run its name, of a benchmark its own."""
    from factory.benchmarks import ALL

    named = [one.strip() for one in data.split(",") if one.strip()]
    parts = [one.split(":", 1)[0] if one.split(":", 1)[0] in ALL else Path(one).resolve().name for one in named]
    return "+".join(filter(None, parts)) or "model"


def _seeds(told: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(one) for one in told.split(",")))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or max(seeds) >= 1 << 31:
        raise WrongRequest(f"SEEDS={told} are no whole numbers from 0 on with commas between; give SEEDS=0,1,2")
    return seeds


def _settings(told: list[str], taken: Mapping[str, Any], settings: Any) -> dict[str, Any]:
    """Of the recipe; what is `taken` has an option of its own, and is not given twice."""
    return given(
        told,
        {field.name: field.default for field in fields(settings)},
        "is no training setting; write name=value with a name of docs/TRAINING.md (slm: docs/LANGUAGE_MODELS.md)",
        {**{name: f"{name} once" for name in taken}, "seed": "SEEDS="},
    )


@contextmanager
def _stoppable() -> Iterator[Any]:
    """Ctrl-C or SIGTERM ask the loop to write a checkpoint and end; a second one ends at once."""
    asked = threading.Event()
    before = {}

    def ask(number: int, _: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        typer.echo("stopping after this update, with a checkpoint (what is being measured is finished first)", err=True)

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watcher(stops: Any, score: str) -> Any:
    """A line in place on a terminal, one every ten seconds in a log."""
    from factory import progress
    from factory.train.course import Watcher

    console = progress.stderr()
    last = [0.0]

    def report(one: Any) -> None:
        now = time.monotonic()
        if one.score is None and now - last[0] < (0.5 if console.is_terminal else progress.LINE_SECONDS):
            return
        last[0] = now
        if console.is_terminal:
            end = "\r" if one.score is None else "\n"
            console.print(_line(one, score), end=end, highlight=False, markup=False, overflow="crop", no_wrap=True)
        else:
            console.print(_line(one, score), highlight=False, markup=False, soft_wrap=True)

    return Watcher(
        says=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        reports=report,
        stops=stops,
    )


def _line(one: Any, score: str = "macro-F1") -> str:
    """How far a training is; the time left is that of all epochs, and it may stop sooner."""
    from factory import progress

    found = f", validation {score} {one.score:.4f}" if one.score is not None else ""
    return (
        f"epoch {one.epoch}/{one.epochs}, update {one.update:,}/{one.updates:,}, loss {one.loss:.4f}{found}, "
        f"{one.rows_per_second:,.0f} rows/s, at most {progress.clock(one.seconds_left)} left"
    )


def register(app: typer.Typer) -> None:
    for command in (train, predict):
        app.command()(command)
