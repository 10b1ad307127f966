"""The command line of the trainer: train, predict, evaluate. What they need is in the extra `train`."""

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from factory.errors import WrongRequest

TASKS = ("encoder",)
KINDS = {int: "whole number", float: "number", bool: "yes or no (1 or 0)", str: "text"}
_NEEDED = ("torch", "transformers", "sklearn")


def _option(text: str, **more: Any) -> Any:
    return typer.Option(
        help=text.replace("[", r"\["), show_default=False, **more
    )  # else rich takes a default for markup


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="a run, a dataset folder, or a benchmark such as goemotions:path; more for its training part with commas"
        ),
    ],
    task: Annotated[str, _option("what is trained [encoder]")] = "encoder",
    base: Annotated[str | None, _option("minilm, a hub id, or a folder [minilm]")] = None,
    view: Annotated[str | None, _option("contextless, contextual, or both with a comma [contextless]")] = None,
    init: Annotated[str | None, _option("a model folder to go on from")] = None,
    loss: Annotated[str | None, _option("bce, soft, focal or asl [bce]")] = None,
    epochs: Annotated[int | None, _option("at most so many [5]")] = None,
    seeds: Annotated[str, _option("one, or several with commas: a model each [0]")] = "0",
    out: Annotated[Path | None, _option("folder of the model [models/<data>]")] = None,
    preset: Annotated[str, _option("default, or paper: Emo Pillars' recipe")] = "default",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="any other training setting: name=value (docs/TRAINING.md)", show_default=False),
    ] = None,
    fresh: Annotated[bool, _option("throw away what is in OUT and start anew")] = False,
) -> None:
    """Fine-tune a classifier on a dataset; the same command resumes."""
    _need()
    if task not in TASKS:
        raise WrongRequest(f"TASK={task} is not known; choose one of {', '.join(TASKS)}")
    from factory.train import encoder
    from factory.train.recipe import recipe

    given = {"base": base, "view": view, "init": init, "loss": loss, "epochs": epochs}
    told = {k: v for k, v in given.items() if v is not None}
    made = recipe(preset, **_settings(set_ or [], told), **told)
    if made.init and base:
        raise WrongRequest("INIT goes on from a model, which has its base already; leave out BASE")
    folder = out or Path("models") / _name(data)
    start = time.monotonic()
    with _stoppable() as stops:
        finished = encoder.train(data, folder, made, _seeds(seeds), _watcher(stops), fresh=fresh)
    if not finished:
        return  # this process only helped another one
    for one in finished:
        part = "test" if one.test else "validation"
        found = (
            f"{one.test.value:.3f} ({one.test.low:.3f} to {one.test.high:.3f})" if one.test else f"{one.validation:.3f}"
        )
        typer.echo(f"{one.folder}: macro-F1 {found} on {part}, thresholds from validation")
    typer.echo(f"done in {time.monotonic() - start:.0f} s. Look at {finished[0].folder}/README.md, or try:")
    typer.echo(f"  make predict MODEL={finished[0].folder} TEXT='I never thought you would come back!'")


def predict(
    model: Annotated[Path, typer.Argument(help="folder of a model", show_default=False)],
    text: Annotated[
        list[str] | None, typer.Option(help="a text; may be given several times", show_default=False)
    ] = None,
    context: Annotated[str, _option("what was there before the texts")] = "",
    file: Annotated[Path | None, _option("texts: .txt (lines), .jsonl, .csv, .tsv, .parquet")] = None,
    text_column: Annotated[str, _option("column of the texts [guessed]")] = "",
) -> None:
    """Labels of texts with their probabilities, one line of JSON each."""
    _need()
    from factory.predict import Classifier, texts_of

    if bool(text) == bool(file):
        raise WrongRequest("give TEXT='...' or FILE=path")
    if file and context:
        raise WrongRequest("CONTEXT is of TEXT; a FILE has a column `context` of its own")
    if text and text_column:
        raise WrongRequest("TEXT_COLUMN is of FILE; leave it out")
    rows = list(texts_of(file, text_column)) if file else [(one, context) for one in text or ()]
    classifier = Classifier.of(model)
    if any(told for _, told in rows) and not classifier.context:
        typer.echo(f"{model} was trained without context; the contexts were not shown to it", err=True)
    found = classifier.probabilities([one for one, _ in rows], [told for _, told in rows]) if rows else None
    if found is not None:
        for (told, _), labels in zip(rows, classifier.labels(found), strict=True):
            typer.echo(json.dumps({"text": told, "labels": dict(labels)}, ensure_ascii=False))


def evaluate(
    model: Annotated[Path, typer.Argument(help="folder of a model", show_default=False)],
    benchmark: Annotated[str, _option("one, several with commas, or all [all]")] = "all",
    data: Annotated[Path, _option("folder with a folder for each benchmark, or the path of one")] = Path("data"),
    out: Annotated[Path | None, _option("folder for results.json and results.md [the model's]")] = None,
) -> None:
    """Measure a model on benchmarks as published; nothing is trained, tuned or downloaded."""
    _need()
    from factory import evaluate as evaluation

    told = evaluation.evaluate(model, benchmark, data, out or model, lambda line: typer.echo(line, err=True))
    typer.echo(told)


def _need() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
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


def _settings(told: list[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """name=value by the type of the recipe's own default; what is `given` by an option of its own is not given twice."""
    from factory.train.recipe import Recipe

    known = {field.name: field.default for field in fields(Recipe)}
    made: dict[str, Any] = {}
    for one in (part for text in told for part in text.split()):
        name, equals, value = one.partition("=")
        if not equals or name not in known:
            raise WrongRequest(f"{one!r} is no training setting; write name=value with a name of docs/TRAINING.md")
        if name == "seed" or name in given or name in made:
            raise WrongRequest(f"{one}: give {'SEEDS=' if name == 'seed' else f'{name} once'}")
        try:
            made[name] = _typed(known[name], value)
        except ValueError:
            raise WrongRequest(f"{one}: that is no {KINDS[type(known[name])]}") from None
    return made


def _typed(default: Any, value: str) -> Any:
    if isinstance(default, bool):
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError(value)
        return value.lower() in ("true", "1", "yes")
    return type(default)(value)


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


def _watcher(stops: Any) -> Any:
    """A line in place on a terminal, one every ten seconds in a log."""
    from factory import progress
    from factory.train import encoder

    console = progress.stderr()
    last = [0.0]

    def report(one: Any) -> None:
        now = time.monotonic()
        if one.score is None and now - last[0] < (0.5 if console.is_terminal else progress.LINE_SECONDS):
            return
        last[0] = now
        if console.is_terminal:
            end = "\r" if one.score is None else "\n"
            console.print(_line(one), end=end, highlight=False, markup=False, overflow="crop", no_wrap=True)
        else:
            console.print(_line(one), highlight=False, markup=False, soft_wrap=True)

    return encoder.Watcher(
        says=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
        reports=report,
        stops=stops,
    )


def _line(one: Any) -> str:
    """How far a training is; the time left is that of all epochs, and it may stop sooner."""
    from factory import progress

    score = f", validation macro-F1 {one.score:.4f}" if one.score is not None else ""
    return (
        f"epoch {one.epoch}/{one.epochs}, update {one.update:,}/{one.updates:,}, loss {one.loss:.4f}{score}, "
        f"{one.rows_per_second:,.0f} rows/s, at most {progress.clock(one.seconds_left)} left"
    )


def register(app: typer.Typer) -> None:
    for command in (train, predict, evaluate):
        app.command()(command)
