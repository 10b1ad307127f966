"""What decides a run, frozen in run.toml at its first start, and whether a later request is for the same."""

import tomllib
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from factory.errors import WrongRequest
from factory.prompts import Book
from factory.requests import Identity
from factory.settings import Content, content_from, differing
from factory.stages import Pipeline
from factory.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """What run.toml holds: everything that decides the dataset, written once."""

    content: Content
    targets: tuple[str, ...]
    identity: Identity
    corpus: str
    fingerprint: str
    prompts: dict[str, str]
    stages: tuple[str, ...]


def need(store: Store) -> Frozen:
    """The frozen configuration of a run that must be there."""
    frozen = read(store)
    if frozen is None:
        raise WrongRequest(
            f"{store.out} is no run (it has no run.toml); give OUT the folder of one, or start one with synth"
        )
    return frozen


def toml(frozen: Frozen) -> dict[str, Any]:
    return {
        "content": asdict(frozen.content),
        "targets": list(frozen.targets),
        "engine": asdict(frozen.identity),
        "corpus": {"path": frozen.corpus, "fingerprint": frozen.fingerprint},
        "prompts": frozen.prompts,
        "stages": list(frozen.stages),
    }


def read(store: Store) -> Frozen | None:
    path = store.out / "run.toml"
    try:
        found = tomllib.loads(path.read_bytes().decode())
        return Frozen(
            content=content_from(found["content"]),
            targets=tuple(found["targets"]),
            identity=Identity(**found["engine"]),
            corpus=found["corpus"]["path"],
            fingerprint=found["corpus"]["fingerprint"],
            prompts=found["prompts"],
            stages=tuple(found["stages"]),
        )
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise WrongRequest(f"{store.out} is a file; give OUT a folder") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as err:
        raise WrongRequest(f"{path} is damaged ({err}); start anew with FRESH=1, or choose another OUT") from err


def refuse_strangers(store: Store) -> None:
    """A folder that holds anything but a run is not written to."""
    strangers = store.strangers()
    if strangers:
        raise WrongRequest(
            f"{store.out} holds other things ({', '.join(strangers[:3])}) and is no run; give OUT a folder of its own"
        )


def refuse_changed(store: Store, old: Frozen, new: Frozen) -> None:
    """A run is one dataset: other settings, another corpus, other prompts are another one."""
    changed = differing(old.content, new.content)
    if old.identity.engine != new.identity.engine and not changed:
        changed.append(f"engine ({named(old.identity)} then, {named(new.identity)} now)")
    if old.fingerprint != new.fingerprint:
        changed.append(f"corpus ({old.corpus} then, {new.corpus} or its content now)")
    changed += [f"prompt {n}" for n, h in new.prompts.items() if old.prompts.get(n, h) != h]
    if set(old.targets) <= set(new.targets):
        changed += [f"stage {s.split('(')[0]}" for s in old.stages if s not in new.stages and not changed]
    else:
        changed.append(f"STAGES ({', '.join(sorted(set(old.targets) - set(new.targets)))} taken away)")
    if changed:
        raise WrongRequest(
            f"{store.out} was made with other settings: {'; '.join(changed)}. "
            "Give them as they were, choose another OUT, or start anew with FRESH=1"
        )


def refuse_other(store: Store, old: Frozen, steps: Pipeline, book: Book) -> None:
    """A resumed run goes on with the stages and the prompts that it began with."""
    changed = [
        f"prompt {n} in {store.out}/prompts"
        for n, h in old.prompts.items()
        if n not in book.templates or book[n].hash != h
    ]
    other = set(stages(steps)) ^ set(old.stages)
    if other:
        named_ = ", ".join(sorted({one.split("(")[0] for one in other}))
        changed.append(f"stage {named_} (give resume the pipeline that the run was begun with)")
    if changed:
        raise WrongRequest(f"{store.out} cannot go on: {'; '.join(changed)} changed since it began")


def stages(steps: Pipeline) -> tuple[str, ...]:
    """Every stage with its settings, as text that is the same in every process."""
    return tuple(repr(s.stage) if is_dataclass(s.stage) else type(s.stage).__qualname__ for s in steps)


def refuse_misfits(steps: Pipeline, book: Book) -> None:
    """A template asks for the fields that its stage gives, no more and no fewer."""
    for stage, agent in ((step.stage, agent) for step in steps for agent in step.stage.agents):
        has = book[agent.prompt].fields
        if agent.fields is not None and has != agent.fields:
            raise WrongRequest(
                f"the prompt {agent.prompt}.md misses the fields {sorted(agent.fields - has)} and has the unknown fields "
                f"{sorted(has - agent.fields)}; stage {stage.name!r} gives {sorted(agent.fields)}"
            )


def named(identity: Identity) -> str:
    return " ".join(filter(None, (identity.engine, identity.model, identity.revision)))
