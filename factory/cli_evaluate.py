"""The command `evaluate`: a classifier, a model that writes, or any engine, on public benchmarks."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from factory.errors import WrongRequest
from factory.given import given

if TYPE_CHECKING:
    from factory.answerers import EngineAnswerer, FolderAnswerer
    from factory.answers import Source
    from factory.emobench import About
    from factory.evaluate_slm import Plan
    from factory.seen import Seen
    from factory.settings import Content, Operation

Kind = Literal["engine", "writer", "classifier"]
ENGINE = "engine:"
EMOBENCH = "emobench"
HERE = ("vllm", "transformers")  # engines with a model in this process
PROTOCOLS = ("likelihood", "letters", "v1", "v2")
_NEEDED = {"classifier": ("torch", "transformers", "sklearn"), "writer": ("torch", "transformers", "safetensors")}


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(
        *names, help=text.replace("[", r"\["), show_default=False, **more
    )  # else rich takes it for markup


def evaluate(
    who: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="a model folder, a hub name, or engine:NAME", show_default=False),
    ],
    benchmark: Annotated[str, _option("one, several with commas, or all; emobench and run too [all]")] = "all",
    data: Annotated[Path, _option("folder with a folder for each benchmark, or the path of one, or a run")] = Path(
        "data"
    ),
    out: Annotated[Path | None, _option("folder of the results [the model's, or evaluations/<name>]")] = None,
    model: Annotated[str | None, _option("the engine's model")] = None,
    revision: Annotated[str | None, _option("of a model on the hub [its newest]")] = None,
    base_url: Annotated[str | None, _option("address of an OpenAI-compatible server, with its /v1")] = None,
    config: Annotated[Path | None, _option("TOML file of settings of the engine (docs/SETTINGS.md)")] = None,
    concurrency: Annotated[int | None, _option("questions in flight, or answered together")] = None,
    limit: Annotated[int, _option("only so many rows of each benchmark", min=0)] = 0,
    protocol: Annotated[str | None, _option("of EmoBench: likelihood, letters, v1 or v2 [by what can be had]")] = None,
    language: Annotated[str, _option("of EmoBench: en, zh, or both with a comma [en]")] = "en",
    cot: Annotated[bool, _option("of EmoBench: the model reasons before it answers")] = False,
    guided: Annotated[bool, _option("replies are held to their JSON schema")] = False,
    taught: Annotated[
        bool, _option("the model learnt the contract: its form is not told [of make train's own]")
    ] = False,
    against: Annotated[Path | None, _option("OUT of another model's EmoBench results: paired tests")] = None,
    set_: Annotated[
        list[str] | None,
        _option("of EmoBench: name=value, such as wording=ours, orders=1, tasks=EU (docs/EVALUATION.md)", "--set"),
    ] = None,
    no_cache: Annotated[bool, _option("every token is written without the key-value cache", "--no-cache")] = False,
    fresh: Annotated[bool, _option("throw away the replies that are there and ask anew")] = False,
) -> None:
    """Measure a model on benchmarks as published; nothing is trained, tuned or downloaded. The same command resumes."""
    kind = kind_of(who)
    if who == f"{ENGINE}transformers" and model:  # the model in this process, which can do more than an engine
        who, model, kind = model, None, "writer"
    told: dict[str, Any] = {"MODEL": model, "REVISION": revision, "BASE_URL": base_url, "CONFIG": config}
    told |= {"CONCURRENCY": concurrency, "LIMIT": limit, "PROTOCOL": protocol, "COT": cot, "GUIDED": guided}
    told |= {"NO_CACHE": no_cache, "FRESH": fresh, "AGAINST": against, "TAUGHT": taught, "SET": set_}
    _refuse_useless(kind, told)
    _need(kind, guided)
    if kind == "classifier":
        _classifier(Path(who), benchmark, data, out)
        return
    names, folder = _asked(benchmark, data)
    asked = Items(
        folder=folder,
        protocol=_protocol(protocol, folder, "v2" if kind == "engine" or cot or guided else "likelihood"),
        languages=tuple(one.strip() for one in language.split(",") if one.strip()),
        cot=cot,
        guided=guided,
        limit=limit,
        against=against,
        more=_more(set_ or ()),
    )
    if folder is None and (against is not None or set_):
        slip = f"AGAINST={against}" if against is not None else f"SET={' '.join(set_ or ())}"
        raise WrongRequest(f"{slip} is for EmoBench, which is not asked for; leave it out")
    engine = who.removeprefix(ENGINE) if kind == "engine" else "transformers"
    reads = folder is not None and asked.protocol in ("likelihood", "letters")
    named = {"model": model, "revision": revision, "base_url": base_url, "concurrency": concurrency}
    content, operation = _settings(engine, config, named, reads)
    taught = taught or _ours(content.model or who)
    plan = None
    if names:
        from factory.evaluate_slm import How, planned

        learnt = _learnt(content.model or who)
        how = How(limit=limit, spelt=not taught, guided=guided, told=_decoding(content, no_cache), taught=learnt)
        plan = planned(names, data, how, _seen(content.model or who))
    source = _engine(content, operation) if kind == "engine" else _writer(who, content, operation, cache=not no_cache)
    place = out or _place(who, source.name)
    about = _about(content, no_cache, content.model or who) if folder is not None else None
    _answered(source, place, asked, plan, fresh, about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """What is asked of EmoBench; `folder` None: nothing."""

    folder: Path | None
    protocol: str
    languages: tuple[str, ...]
    cot: bool
    guided: bool
    limit: int
    against: Path | None
    more: Mapping[str, Any]  # settings of SET


# What SET knows, each with a value of its type; what is not given is as the protocol has it.
SETTINGS: Mapping[str, Any] = {
    "wording": "", "tasks": "", "orders": 0, "repeats": 0, "temperature": 0.0, "faithful": False
}  # fmt: skip


def _more(told: Sequence[str]) -> dict[str, Any]:
    unknown = f"is no setting of EmoBench; write name=value with one of {', '.join(SETTINGS)}"
    made = given(told, SETTINGS, unknown, {})
    return made | ({"tasks": [one for one in made["tasks"].split(",") if one]} if "tasks" in made else {})


def _answered(
    source: "Source", out: Path, asked: Items, plan: "Plan | None", fresh: bool, about: "About | None"
) -> None:
    """EmoBench first, for it is small, and says at once what cannot be done."""
    from factory.answers import opened, source_fingerprint

    _refuse_others(out, source_fingerprint(source), fresh)
    with opened(source, out, _say, fresh=fresh) as answerer:
        if asked.folder is not None and about is not None:
            from factory.emobench import report, run

            outcome = run(
                answerer,
                asked.folder,
                protocol=asked.protocol,
                languages=asked.languages,
                cot=asked.cot,
                guided=asked.guided,
                limit=asked.limit,
                against=asked.against,
                **asked.more,
                about=replace(about, fingerprint=answerer.fingerprint),
                out=out,
                says=_say,
            )
            compared = f"\n\n{report.compared(outcome.comparisons)}" if outcome.comparisons else ""
            typer.echo(f"{report.summary(outcome)}{compared}\n\nin full: {out / 'emobench.md'}")
        if plan is not None:
            from factory.evaluate_slm import evaluate as contracted

            typer.echo(contracted(answerer, plan, out, _say))


def _refuse_others(out: Path, fingerprint: str, fresh: bool) -> None:
    """Nothing that an evaluation of ours did not write is written over, and no results of another model unasked."""
    from factory import journal
    from factory.answers import RECORD
    from factory.benchmarks import report
    from factory.emobench import read_outcome

    readers: dict[str, Callable[[Path], Any]] = {
        "results.json": lambda path: report.of_json(path.read_bytes()),
        "emobench.json": read_outcome,
    }
    for name, read in readers.items():
        if not (out / name).exists():
            continue
        try:
            before = read(out / name)
        except (WrongRequest, OSError):
            raise WrongRequest(f"OUT={out} holds {name}, which no evaluation of ours wrote; give another OUT") from None
        if before.fingerprint != fingerprint and not fresh:
            raise WrongRequest(
                f"OUT={out} holds the results of another model, or of one that has changed ({before.model}); give another OUT, "
                "or FRESH=1 to replace them"
            )
    record = out / RECORD
    if record.exists() and (not record.is_file() or (b"\n" in record.read_bytes() and not any(journal.read(record)))):
        raise WrongRequest(f"OUT={out} holds {RECORD}, which no evaluation of ours wrote; give another OUT")


def kind_of(who: str) -> Kind:
    """What stands in the place of MODEL. A folder that is nothing of these is left to the classifier's reader, which says so."""
    if who.startswith(ENGINE):
        return "engine"
    folder = Path(who).expanduser()
    if not folder.is_dir():
        hub = re.fullmatch(r"[\w.-]+/[\w.-]+", who) and not folder.parent.is_dir()
        return "writer" if hub else "classifier"
    told = _read(folder / "slm.json")
    if told:
        return "classifier" if told.get("mode") == "classify" else "writer"
    if (folder / "adapter_config.json").is_file():
        return "writer"
    kinds = _read(folder / "config.json").get("architectures")
    kinds = kinds if isinstance(kinds, list) else []
    return "writer" if any("CausalLM" in str(one) or "LMHead" in str(one) for one in kinds) else "classifier"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def _refuse_useless(kind: Kind, told: Mapping[str, Any]) -> None:
    """An option that would do nothing is a slip of the pen."""
    useless = {
        "classifier": set(told),
        "writer": {"MODEL", "BASE_URL"},
        "engine": {"NO_CACHE"},
    }[kind]
    slips = [name for name in told if name in useless and told[name]]
    if slips:
        what = {
            "classifier": "a classifier has no use for it: it is for models that write",
            "writer": "it is for engine:NAME",
            "engine": "an engine decodes in its own way; give the model's folder or hub name instead of engine:NAME",
        }[kind]
        raise WrongRequest(f"{', '.join(slips)} was given, and {what}; leave it out")


def _need(kind: Kind, guided: bool) -> None:
    missing = [name for name in _NEEDED.get(kind, ()) if find_spec(name) is None]
    if missing:
        raise WrongRequest(
            f"{', '.join(missing)} is not installed; make train sets it up, or: pip install 'emotion-factory[train]'"
        )
    if guided and kind == "writer" and find_spec("llguidance") is None:
        raise WrongRequest(
            "GUIDED=1 needs llguidance, which is not installed: pip install 'emotion-factory[transformers]', or leave it out"
        )


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _classifier(folder: Path, benchmark: str, data: Path, out: Path | None) -> None:
    from factory import evaluate as evaluation
    from factory.predict import whole

    names = [one for one in benchmark.split(",") if one.strip().partition(":")[0] != EMOBENCH]
    if not names:
        raise WrongRequest(f"{folder} is a classifier, and EmoBench asks questions; give a model that writes")
    typer.echo(evaluation.evaluate(whole(folder), ",".join(names), data, out or folder, _say))


# Which benchmarks -----------------------------------------------------------------------------------------------------


def _asked(benchmark: str, data: Path) -> tuple[str, Path | None]:
    """What goes through the contract ('' for nothing), and EmoBench's folder (None where it is not asked for or, of all, not
    there)."""
    names = [one.strip() for one in benchmark.split(",") if one.strip()] or ["all"]
    mine = [one for one in names if one.partition(":")[0] == EMOBENCH]
    rest = [one for one in names if one not in mine]
    usual = data / EMOBENCH
    if mine:
        told = mine[0].partition(":")[2]
        alone = not rest and not usual.is_dir()
        return ",".join(rest), Path(told).expanduser() if told else (data if alone else usual)
    if names == ["all"] and (data / "EU.jsonl").is_file():
        return "", data
    return ",".join(rest), usual if names == ["all"] and usual.is_dir() else None


def _protocol(given: str | None, folder: Path | None, usual: str) -> str:
    if given is None:
        return usual
    if folder is None or given not in PROTOCOLS:
        cure = f"choose one of {', '.join(PROTOCOLS)}" if folder else "only EmoBench has one; leave it out"
        raise WrongRequest(f"PROTOCOL={given} does not fit; {cure}")
    return given


def _seen(who: str) -> "Seen | None":
    from factory.seen import seen_by

    return seen_by(Path(who).expanduser()) if _ours(who) else None


# Who answers ----------------------------------------------------------------------------------------------------------


def _settings(engine: str, config: Path | None, told: Mapping[str, Any], reads: bool) -> "tuple[Content, Operation]":
    """As for a run; which engine stands in the place of MODEL, so a file cannot say another. `reads`: log-probabilities
    will be needed, which a server is asked for beforehand."""
    from factory import settings

    content, operation = settings.from_file(config) if config else ({}, {})
    labeller = "logprobs" if reads and engine == "openai" else None
    named = {name: told[name] for name in ("model", "revision")}
    content = settings.with_given(content, engine=engine, labeller=labeller, **named)
    operation = settings.with_given(operation, base_url=told["base_url"], concurrency=told["concurrency"])
    return settings.content_from(content), settings.operation_from(operation)


def _engine(content: "Content", operation: "Operation") -> "EngineAnswerer":
    from factory.answerers import EngineAnswerer
    from factory.engines.open import in_flight, open_engine

    parts = [content.dtype, content.quantization, json.dumps(content.extra_body, sort_keys=True)]
    more = "" if parts == ["auto", "", "{}"] else f" {' '.join(parts)}"
    return EngineAnswerer(open_engine(content, operation, _say), in_flight(content, operation), more)


def _writer(who: str, content: "Content", operation: "Operation", *, cache: bool) -> "FolderAnswerer":
    from factory.answerers import BATCH, FolderAnswerer

    batch = operation.concurrency or BATCH
    return FolderAnswerer(who, content.revision, cache=cache, batch=batch, dtype=content.dtype, says=_say)


def _ours(who: str) -> bool:
    """Whether make train made it, and so taught it the contract."""
    from factory.answerers import told_of

    return bool(told_of(Path(who).expanduser()))


def _learnt(who: str) -> tuple[str, ...]:
    """The tasks that a model of ours was taught; () where that is not known."""
    from factory.answerers import told_of

    tasks = told_of(Path(who).expanduser()).get("tasks")
    return tuple(map(str, tasks)) if isinstance(tasks, list) else ()


def _place(who: str, name: str) -> Path:
    """An adapter's results lie in its folder, as a classifier's; what is not ours to write into has a folder of its own."""
    from factory.answerers import MERGED

    folder = Path(who).expanduser()
    if (folder / "slm.json").is_file() and not (folder / "config.json").is_file():
        return folder
    name = f"{folder.parent.name}-{name}" if folder.name == MERGED and _ours(who) else name
    return Path("evaluations") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "model")


def _about(content: "Content", no_cache: bool, who: str) -> "About":
    """What EmoBench's report says of the model, but for its fingerprint."""
    from factory.answerers import base_of
    from factory.emobench import About
    from factory.evaluate_slm import versions

    return About(
        base=base_of(who),
        decoding=", ".join(_numbers(content, no_cache)),
        versions=versions() if content.engine in HERE else {},
    )


def _decoding(content: "Content", no_cache: bool) -> str:
    return ", ".join(["greedy", *_numbers(content, no_cache)])


def _numbers(content: "Content", no_cache: bool) -> list[str]:
    """What of the decoding can be told of every protocol."""
    numbers = [f"numbers {content.dtype}"] if content.engine in HERE else []
    return [*numbers, *(["without the key-value cache"] if no_cache else [])]


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
