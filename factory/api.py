"""The Python side of the commands: `factory.synth(...)`, `factory.load(run)`, and a pipeline that takes your own stage."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from factory import frozen, run, show
from factory import steps as built_in
from factory.engines import Engine
from factory.errors import WrongRequest
from factory.records import Reject
from factory.settings import Content, Operation, content_from, operation_from
from factory.stages import Pipeline
from factory.store import Store, rejects

if TYPE_CHECKING:
    import pandas as pd

Where = str | os.PathLike[str]


def synth(
    corpus: Where,
    out: Where | None = None,
    *,
    stages: Sequence[str] | None = None,
    prompts: Where | None = None,
    fresh: bool = False,
    engine: Engine | str | None = None,
    pipeline: Pipeline | None = None,
    **settings: Any,
) -> "Run":
    """Generate a dataset, or go on with it; `settings` are those of docs/SETTINGS.md by name.

    `engine` is a name or an object with `identity` and `async complete(request)`. Raises FactoryError subclasses only.
    """
    if isinstance(engine, str):
        settings, engine = settings | {"engine": engine}, None
    content, operation = _split(settings)
    result = run.synth(
        corpus,
        out=out,
        content=content,
        operation=operation,
        stages=built_in.targets(",".join(stages)) if stages is not None else None,
        prompts_folder=Path(prompts) if prompts is not None else None,
        fresh=fresh,
        engine=engine,
        line=pipeline,
    )
    return Run(result.out)


def resume(out: Where, *, engine: Engine | None = None, pipeline: Pipeline | None = None, **settings: Any) -> "Run":
    """Go on with an interrupted run; only settings that do not decide rows may be given."""
    content, operation = _split(run.last_prices(out) | settings)
    if content != Content():
        raise WrongRequest("resume takes its content settings from the run; give them to synth on another OUT")
    run.resume(out, operation=operation, engine=engine, line=pipeline)
    return Run(Path(out))


def pipeline(**settings: Any) -> Pipeline:
    """The built-in stages under these settings; `.plus(MyStage(), after="labels")` adds one of your own."""
    return built_in.pipeline(_split(settings)[0])


def load(out: Where) -> "Run":
    """A run that is there; WrongRequest where it is none."""
    store = Store(Path(out))
    frozen.need(store)
    return Run(store.out)


class Run:
    """A run's folder as data."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._store = Store(out)

    def dataset(self, view: str = "contextless", split: str | None = None) -> "pd.DataFrame":
        """One view, one split or (None) all three with a column `split`."""
        import pandas as pd

        wanted = [split] if split else ["train", "validation", "test"]
        parts = []
        for one in wanted:
            found = show.files(self._store, view, one)
            if not found:
                raise WrongRequest(f"{self.out} has no {view}/{one}; finish it with factory.resume, or check the names")
            part = pd.concat([pd.read_parquet(path) for path in found], ignore_index=True)
            parts.append(part if split else part.assign(split=one))
        return pd.concat(parts, ignore_index=True)

    def table(self, stage: str) -> pa.Table:
        """All rows of a stage's own table (also of a stage of yours), with the key of the reply that made each."""
        tables = [t for name in self._store.names() if (t := self._store.table(name, stage)) is not None]
        if not tables:
            raise WrongRequest(f"{self.out} has no table {stage!r}; tables carry the names of the stages")
        return pa.concat_tables(tables)

    def rejects(self) -> Iterator[Reject]:
        """Everything that was thrown away, with its reason and raw text."""
        return rejects(self._store, self._store.names())


def _split(settings: dict[str, Any]) -> tuple[Content, Operation]:
    content, operation = ({f.name for f in fields(kind)} for kind in (Content, Operation))
    unknown = sorted(set(settings) - content - operation)
    if unknown:
        raise WrongRequest(f"there is no setting {', '.join(unknown)}; the settings are listed in docs/SETTINGS.md")
    return (
        content_from({k: v for k, v in settings.items() if k in content}),
        operation_from({k: v for k, v in settings.items() if k in operation}),
    )
