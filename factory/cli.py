"""The command line: options to settings, settings to a run, errors to one sentence and an exit code."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from factory import __version__, cli_evaluate, cli_train
from factory.errors import FactoryError, Interrupted

app = typer.Typer(
    name="factory",
    help="Turns narratives into a labelled, traceable emotion dataset; stop it and start it at any time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Argument(help="folder of a run", show_default=False)]
Corpus = Annotated[
    Path, typer.Argument(help="narratives: a file (.jsonl .csv .tsv .parquet .txt) or a folder", show_default=False)
]


def _option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, show_default=False, **more)


@app.command()
def synth(
    corpus: Corpus,
    out: Annotated[Path | None, _option("folder of the run [outputs/<corpus name>]")] = None,
    engine: Annotated[str | None, _option("who answers [rehearsal]")] = None,
    model: Annotated[str | None, _option("the engine's model: a folder, a hub id, or the server's name for it")] = None,
    revision: Annotated[str | None, _option("of a model on the hub [its newest]")] = None,
    base_url: Annotated[str | None, _option("address of an OpenAI-compatible server, with its /v1")] = None,
    labeller: Annotated[
        str | None, _option("asked, or logprobs: labels are also read from likelihoods [asked]")
    ] = None,
    limit: Annotated[int | None, _option("only the first so many records; may grow later")] = None,
    shard_size: Annotated[int | None, _option("passages of a new shard [64]")] = None,
    stages: Annotated[str | None, _option("what to make: contextless,contextual,appraisal,flip,mcq [all]")] = None,
    preset: Annotated[str | None, _option("default, or paper: Emo Pillars as published")] = None,
    seed: Annotated[int | None, _option("everything drawn is drawn from it [0]")] = None,
    prompts: Annotated[Path | None, _option("folder of templates instead of the built-in one")] = None,
    config: Annotated[Path | None, _option("TOML file of settings (docs/SETTINGS.md)")] = None,
    text_column: Annotated[str | None, _option("column of the text [guessed]")] = None,
    id_column: Annotated[str | None, _option("column of the id [guessed]")] = None,
    separator: Annotated[str | None, _option("'blank': a .txt holds records between blank lines")] = None,
    concurrency: Annotated[int | None, _option("requests in flight [64]")] = None,
    workers: Annotated[int | None, _option("processes, for the rehearsal engine [as many as pay]")] = None,
    max_rejects: Annotated[float | None, _option("share of a stage's units that may be rejected [0.5]")] = None,
    max_tokens: Annotated[int | None, _option("stop when so many tokens are used")] = None,
    max_cost: Annotated[float | None, _option("stop when so much money is spent, by the prices")] = None,
    price_in: Annotated[float | None, _option("of a million prompt tokens")] = None,
    price_out: Annotated[float | None, _option("of a million tokens of replies")] = None,
    decontaminate: Annotated[str | None, _option("EmoBench's files: items that repeat a scenario are left out")] = None,
    faults: Annotated[str | None, _option("spoil replies on purpose, e.g. malformed=0.1,error=0.05")] = None,
    delay_ms: Annotated[float | None, _option("every rehearsal reply takes so long")] = None,
    fresh: Annotated[bool, _option("throw away what is in OUT and start anew")] = False,
) -> None:
    """Generate a dataset from narratives, or go on with it: the same command resumes."""
    from factory import run, settings
    from factory.steps import targets

    content, operation = settings.from_file(config) if config else ({}, {})
    content = settings.with_given(
        content,
        engine=engine,
        model=model,
        revision=revision,
        labeller=labeller,
        preset=preset,
        seed=seed,
        text_column=text_column,
        id_column=id_column,
        separator=separator,
    )
    operation = settings.with_given(
        operation,
        base_url=base_url,
        limit=limit,
        shard_size=shard_size,
        concurrency=concurrency,
        workers=workers,
        max_rejects=max_rejects,
        max_tokens=max_tokens,
        max_cost=max_cost,
        price_in=price_in,
        price_out=price_out,
        decontaminate=decontaminate,
        faults=faults,
        delay_ms=delay_ms,
    )
    _run(
        lambda watcher: run.synth(
            corpus,
            out=out,
            content=settings.content_from(content),
            operation=settings.operation_from(operation),
            stages=targets(stages) if stages is not None else None,
            prompts_folder=prompts,
            fresh=fresh,
            watcher=watcher,
        )
    )


@app.command()
def plan(
    corpus: Corpus,
    from_: Annotated[
        Path | None, typer.Option("--from", help="measure by this run instead of a rehearsal", show_default=False)
    ] = None,
    limit: Annotated[int | None, _option("only the first so many records")] = None,
    stages: Annotated[str | None, _option("what to make: contextless,contextual,appraisal,flip,mcq [all]")] = None,
    preset: Annotated[str | None, _option("default, or paper: Emo Pillars as published")] = None,
    seed: Annotated[int | None, _option("everything drawn is drawn from it [0]")] = None,
    prompts: Annotated[Path | None, _option("folder of templates instead of the built-in one")] = None,
    config: Annotated[Path | None, _option("TOML file of settings (docs/SETTINGS.md)")] = None,
    labeller: Annotated[
        str | None, _option("asked, or logprobs: labels are also read from likelihoods [asked]")
    ] = None,
    text_column: Annotated[str | None, _option("column of the text [guessed]")] = None,
    id_column: Annotated[str | None, _option("column of the id [guessed]")] = None,
    separator: Annotated[str | None, _option("'blank': a .txt holds records between blank lines")] = None,
    price_in: Annotated[float | None, _option("of a million prompt tokens")] = None,
    price_out: Annotated[float | None, _option("of a million tokens of replies")] = None,
    tokens_per_second: Annotated[
        float, _option("tokens of all replies together that the engine writes a second", min=0.0, max=1e9)
    ] = 0.0,
) -> None:
    """Requests, tokens, money and hours that a run will take, from a sample; nothing is written."""
    from factory import forecast, run, settings
    from factory.cost import Prices
    from factory.errors import WrongRequest
    from factory.steps import targets
    from factory.store import Store

    content, operation = settings.from_file(config) if config else ({}, {})
    content = settings.with_given(content, preset=preset, seed=seed, labeller=labeller)
    if from_ is not None and (content or prompts):
        given = ", ".join([*content, *(["prompts"] if prompts else [])])
        raise WrongRequest(f"FROM takes the settings of {from_}; leave out {given}, or leave out FROM")
    content = settings.with_given(content, text_column=text_column, id_column=id_column, separator=separator)
    before = run.last_prices(from_) if from_ is not None else {}
    operation = settings.with_given(before | operation, limit=limit, price_in=price_in, price_out=price_out)
    made, how = settings.content_from(content), settings.operation_from(operation)
    source = run.corpus_of(corpus, made)
    wanted = targets(stages) if stages is not None else None
    more: dict[str, Any] = {"limit": how.limit, "targets": wanted, "tokens_per_second": tokens_per_second}
    if from_ is not None:
        found = forecast.measured(source, Store(from_), **more)
    else:
        found = forecast.rehearsed(source, made, prompts_folder=prompts, **more)
    _print(forecast.report(found, Prices.of(how)))


@app.command()
def resume(
    out: Out,
    base_url: Annotated[str | None, _option("address of the server [as before]")] = None,
    limit: Annotated[int | None, _option("only the first so many records [as before]")] = None,
    shard_size: Annotated[int | None, _option("passages of a new shard [64]")] = None,
    concurrency: Annotated[int | None, _option("requests in flight [64]")] = None,
    workers: Annotated[int | None, _option("processes, for the rehearsal engine [as many as pay]")] = None,
    max_rejects: Annotated[float | None, _option("share of a stage's units that may be rejected [0.5]")] = None,
    max_tokens: Annotated[int | None, _option("stop when so many tokens are used")] = None,
    max_cost: Annotated[float | None, _option("stop when so much money is spent, by the prices")] = None,
    price_in: Annotated[float | None, _option("of a million prompt tokens")] = None,
    price_out: Annotated[float | None, _option("of a million tokens of replies")] = None,
    decontaminate: Annotated[
        str | None, _option("EmoBench's files: items that repeat a scenario are left out [as before]")
    ] = None,
    faults: Annotated[str | None, _option("spoil replies on purpose")] = None,
    delay_ms: Annotated[float | None, _option("every rehearsal reply takes so long")] = None,
) -> None:
    """Go on with an interrupted run, or mend a damaged one, from what is in its folder."""
    from factory import run

    operation = _operation(
        run.last_prices(out),
        base_url=base_url,
        limit=limit,
        shard_size=shard_size,
        concurrency=concurrency,
        workers=workers,
        max_rejects=max_rejects,
        max_tokens=max_tokens,
        max_cost=max_cost,
        price_in=price_in,
        price_out=price_out,
        decontaminate=decontaminate,
        faults=faults,
        delay_ms=delay_ms,
    )
    _run(lambda watcher: run.resume(out, operation=operation, watcher=watcher))


@app.command()
def status(out: Out) -> None:
    """Shards done, open and left; units, tokens, rejects by reason."""
    from factory import show
    from factory.store import Store

    _print(show.state(Store(out)))


@app.command()
def verify(out: Out) -> None:
    """Hash every file again; exit 1 names what is damaged, and resume makes it anew."""
    from factory import show
    from factory.store import Store

    lines, fine = show.verified(Store(out))
    _print(lines)
    if not fine:
        raise typer.Exit(1)


@app.command()
def build(out: Out) -> None:
    """Make the dataset of a finished run anew, if it is not what its shards give."""
    from factory import run

    run.rebuild(out)
    typer.echo(f"{out}/dataset is built")


@app.command()
def show(
    out: Out,
    view: Annotated[str, _option("contextless, contextual, dialogues, mcq_eu, mcq_ea or sft")] = "contextless",
    rows: Annotated[int, _option("how many [10]", min=1)] = 10,
) -> None:
    """Rows to look at."""
    from factory import show as shown
    from factory.store import Store

    store = Store(out)
    from factory.frozen import need

    need(store)
    _print(shown.report(store, view, rows))


@app.command()
def export(
    data: Annotated[Path, typer.Argument(help="a run or a dataset folder", show_default=False)],
    format_: Annotated[str, typer.Option("--format", help="trl, llama-factory or axolotl", show_default=False)],
    out: Annotated[Path | None, _option("folder of the files [exports/<data>/<format>]")] = None,
    task: Annotated[str, _option("emotion_json, mcq_eu, mcq_ea, with commas [all]")] = "",
) -> None:
    """The sft view as files that another trainer reads."""
    from factory import export as exporting

    tasks = [one.strip() for one in task.split(",") if one.strip()]
    made = exporting.export(data, format_, out or Path("exports") / data.resolve().name / format_, tasks)
    typer.echo(f"{made.told()} for {format_}: {made.folder}. How to train with them: {made.folder}/README.md")


@app.command()
def trace(
    out: Out, ident: Annotated[str, typer.Argument(metavar="ID", help="id of any row", show_default=False)]
) -> None:
    """How one row came to be: prompts, replies, checks."""
    from factory import show as shown
    from factory.store import Store

    _print(shown.trace(Store(out), ident))


@app.command()
def rejects(
    out: Out,
    retry: Annotated[bool, _option("ask again for every rejected unit, in a new round")] = False,
    stage: Annotated[str, _option("only of this stage")] = "",
    reason: Annotated[str, _option("only with this reason")] = "",
    rows: Annotated[int, _option("how many to list [20]", min=0)] = 20,
    base_url: Annotated[str | None, _option("address of the server [as before]")] = None,
    max_tokens: Annotated[int | None, _option("stop when so many tokens are used [as before]")] = None,
    max_cost: Annotated[float | None, _option("stop when so much money is spent [as before]")] = None,
    faults: Annotated[str | None, _option("spoil replies on purpose")] = None,
) -> None:
    """What was thrown away and why; --retry asks again for it."""
    from factory import run
    from factory import show as shown
    from factory.store import Store

    if not retry:
        _print(shown.thrown(Store(out), stage, reason, rows))
        return

    def again(watcher: Any) -> Any:
        prices = run.last_prices(out)
        operation = _operation(prices, base_url=base_url, max_tokens=max_tokens, max_cost=max_cost, faults=faults)
        asked, still, result = run.retry(out, stage, reason, operation=operation, watcher=watcher)
        typer.echo(f"asked again for {asked} rejected units: {asked - still} accepted now, {still} rejected as before")
        return result

    _run(again)


@app.command()
def doctor(
    out: Annotated[Path | None, _option("folder of a run to look at too")] = None,
    engine: Annotated[str | None, _option("who is to answer: it is opened and checked")] = None,
    model: Annotated[str | None, _option("the engine's model")] = None,
    revision: Annotated[str | None, _option("of a model on the hub [its newest]")] = None,
    base_url: Annotated[str | None, _option("address of an OpenAI-compatible server, with its /v1")] = None,
    prompts: Annotated[Path | None, _option("folder of templates instead of the built-in one")] = None,
    config: Annotated[Path | None, _option("TOML file of settings (docs/SETTINGS.md)")] = None,
) -> None:
    """What is installed, reachable and set, one line each with its cure; exit 1 where something is bad."""
    from factory import settings
    from factory.doctor import Asked, examined

    content, operation = settings.from_file(config) if config else ({}, {})
    engine = engine or ("openai" if base_url and "engine" not in content else None)
    content = settings.with_given(content, engine=engine, model=model, revision=revision)
    asked = Asked(
        content=settings.content_from(content),
        operation=settings.operation_from(settings.with_given(operation, base_url=base_url)),
        engine=any(name in content for name in ("engine", "model")),
        out=out,
        prompts_folder=prompts,
    )
    worst = False
    for found in examined(asked):
        typer.echo(f"{found.state:<5} {found.sentence}")
        worst |= found.state == "bad"
    if worst:
        raise typer.Exit(1)


cli_train.register(app)
cli_evaluate.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emotion-factory {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None: ...


def _operation(before: dict[str, Any], **given: Any) -> Any:
    from factory import settings

    return settings.operation_from(settings.with_given(before, **given))


def _run(work: Callable[[Any], Any]) -> None:
    """Long work with its display, then its summary; a finished run only says so."""
    from factory import progress, show

    console = progress.stderr()
    result = work(progress.watcher(console))
    for note in result.notes:
        typer.echo(note, err=True)
    if not result.did:
        typer.echo(
            f"{result.out} is finished ({result.tally.passages_done:,} passages); nothing to do. "
            f"Look at it with: make show OUT={result.out}"
        )
        return
    _print(show.summary(result))
    typer.echo(f"done in {progress.clock(result.seconds)}: {result.out}/dataset")


def _print(parts: Iterable[Any]) -> None:
    from factory import progress

    console = progress.stdout()
    for part in parts:
        console.print(part, highlight=False)


def main(arguments: list[str] | None = None) -> None:
    """Every error of the family becomes one sentence and its exit code; the last line names the code."""
    for name in (
        "stdout",
        "stderr",
    ):  # a closed stream is a quiet one; what a terminal cannot show is no reason to fail
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  # for the life of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)  # also before the run's own handlers are in place
    try:
        if code := app(arguments, standalone_mode=False):  # that is how a typer.Exit comes back
            sys.exit(code)
    except FactoryError as err:
        unsaid = isinstance(err, Interrupted) and "same command" not in str(err)
        again = "; go on with the same command, or with make resume OUT=..." if unsaid else ""
        _fail(f"{err}{again}", err.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("interrupted; go on with the same command", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as err:  # click's own family: wrong options
        if type(err).__module__.startswith("click") or type(err).__module__.startswith("typer"):
            told = err.format_message() if hasattr(err, "format_message") else str(err)
            _fail(f"{told or 'give a command'}; see factory --help", 2)
        raise


def _terminated(number: int, _: object) -> None:
    raise KeyboardInterrupt


def _fail(sentence: str, code: int) -> None:
    sys.stdout.flush()
    typer.echo(f"factory: {sentence}", err=True)
    typer.echo(f"factory: exit {code}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
