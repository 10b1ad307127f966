"""What a person sees of a run: its summary, its state, rows to look at, how one row came to be, what was thrown away."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from factory import build, journal, prompts
from factory.cost import Prices
from factory.errors import WrongRequest
from factory.frozen import Frozen, need, stages
from factory.questions import lettered
from factory.records import Batch, Count, Dialogue, EaItem, EuItem, Labels, Passage, Reject
from factory.replay import Unit, asking_of, units
from factory.requests import draw
from factory.run import Result, last_start
from factory.sift import OPTIONS, category
from factory.stages import Asking, Pipeline
from factory.stages import thrown as refused
from factory.steps import pipeline
from factory.store import Store, rejects
from factory.text import clean
from factory.views import ITEMS, SCHEMAS


def summary(result: Result) -> Iterator[RenderableType]:
    """The end of a run: accounts, what was skipped, five rows, and what to do next."""
    store = Store(result.out)
    yield accounts(result.tally.counts)
    yield from money(store, result.tally.counts, result.tally.counts)
    yield from _skipped(result.corpus)
    yield Text(_sizes(store), style="bold")
    view = next((one for one in ("contextless", *ITEMS, "dialogues") if _count(store, one)), "contextless")
    five = rows(store, view, 5)
    if not five:
        why = Counter[str]()
        for count in result.tally.counts.values():
            why.update(dict(count.why()))
        shapeless = {"not_json", "schema", "truncated", "refusal", "repetition", "engine_error", "bad_request"}
        if why and why.most_common(1)[0][0] in shapeless:
            cure = f"The model does not answer in the form that it is asked for: look at make rejects OUT={result.out}"
        elif clientless := _clientless(result):
            cure = clientless
        else:
            cure = "Actors must stand in the text by name or role; a story told by 'I' alone has none."
        yield Text(f"There is no row: {_counted(why) or 'nothing was made'}. {cure}", style="bold red")
        return
    if clientless := _clientless(result):
        yield Text(clientless, style="yellow")
    yield Rule("five rows", style="dim", align="left")
    for row in five:
        yield _row(row)
    if result.frozen.identity.engine == "rehearsal":
        yield Text.assemble(
            ("Rehearsal text is template text, not a model's. ", "yellow"),
            "The same command takes a real model, on another OUT:\n",
            ("  a local Ollama   ENGINE=openai BASE_URL=http://127.0.0.1:11434/v1 MODEL=qwen3:8b\n", "dim"),
            ("  a GPU here       ENGINE=vllm MODEL=Qwen/Qwen3-8B", "dim"),
        )
    other = f" VIEW={view}" if view != "contextless" else ""
    yield Text.assemble(
        "Next: ", (f"make show OUT={result.out}{other}", "bold"), f"   or read {result.out}/dataset/README.md"
    )


def _clientless(result: Result) -> str:
    """Why no actor of a run became a client, where there are some and dialogues were asked for; '' otherwise."""
    counts, share = result.tally.counts, result.frozen.content.dialogue_share
    actors = counts["actors"].kept if "actors" in counts else 0
    if "mcq" not in result.frozen.targets or not actors or ("background" in counts and counts["background"].inputs):
        return ""
    return (
        f"dialogue_share = {share:g} took no client from the {actors:,} actor{'s' * (actors != 1)} found, so there is no "
        "dialogue: give it a higher value (on a new OUT), or give more text."
    )


def accounts(counts: Mapping[str, Count]) -> Table:
    """Inputs = accepted + rejected, made = kept + dropped, stage by stage."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("stage", "inputs", "accepted", "rejected", "made", "kept", "dropped", "commonest reason")
    for name in names:
        left = name in ("stage", "commonest reason")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "commonest reason")
    for stage, c in counts.items():
        reason = ", ".join(f"{r} {n:,}" for r, n in c.why()[:2])
        numbers = (c.inputs, c.accepted, c.rejected, c.made, c.kept, c.dropped)
        table.add_row(stage, *(f"{n:,}" for n in numbers), reason or "-")
    return table


def money(store: Store, used: Mapping[str, Count], finished: Mapping[str, Count]) -> Iterator[RenderableType]:
    """What a run has used, stage by stage, and what a row of contextless and an item cost, at the prices of its last
    start. The stages that both need count for the rows, where there are any."""
    prices = Prices.of_values(last_start(store))
    yield spent(used, prices)
    talks = {name: count for name, count in finished.items() if name in build.TALKS or "utterances" not in finished}
    rest = {name: count for name, count in finished.items() if name not in talks}
    utterances = _accepted(store, finished, ("contextless",), ("labels", "flip_appraisal"))
    items = _accepted(store, finished, tuple(ITEMS), ("solve",))
    for what, counts, (made, so_far) in (("rows of contextless", rest, utterances), ("items", talks, items)):
        if made:
            total = together(counts)
            each = f"{total.tokens_in / made:,.0f} tokens in and {total.tokens_out / made:,.0f} out"
            paid = f", {prices.shown(prices.of_count(total) / made)}" if prices.known else ""
            yield Text(f"for each of the {made:,} {what}{so_far}: {each}{paid}")
    if mended := together(finished).mended:
        yield Text(f"replies mended before they could be read: {_counted(Counter(mended))}")


def spent(counts: Mapping[str, Count], prices: Prices, asked: str = "replies") -> Table:
    """Replies, tokens, seconds a reply and money of each stage, and of all of them; a column that holds nothing is left
    out."""
    total = together(counts)
    shown = {
        asked: lambda c: f"{c.asked:,}",
        "tokens in": lambda c: f"{c.tokens_in:,}",
        "cached": lambda c: f"{c.tokens_cached:,}",
        "tokens out": lambda c: f"{c.tokens_out:,}",
        "s a reply": lambda c: f"{c.seconds / max(1, c.asked):.2f}",
        prices.currency: lambda c: f"{prices.of_count(c):,.4f}",
    }
    absent = {"cached": not total.tokens_cached, "s a reply": not total.seconds, prices.currency: not prices.known}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage", no_wrap=True)
    for name in (columns := [n for n in shown if not absent.get(n)]):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for stage, count in counts.items():
        table.add_row(stage, *(shown[n](count) for n in columns))
    table.add_row("all", *(shown[n](total) for n in columns), style="bold")
    return table


def together(counts: Mapping[str, Count]) -> Count:
    """The accounts of all stages as one."""
    total = Count()
    for count in counts.values():
        total.add(count)
    return total


def _accepted(
    store: Store, counts: Mapping[str, Count], views: Sequence[str], stages: Sequence[str]
) -> tuple[int, str]:
    """Rows of these views: those of the dataset, or before it is built those that the stages made."""
    if build.is_current(store):
        return sum(_count(store, view) for view in views), ""
    return sum(counts[name].kept for name in stages if name in counts), " so far"


def _skipped(corpus: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not corpus.get("english", True):
        yield Text("The corpus does not look English; prompts, checks and the taxonomy's words are English.", "yellow")
    if corpus.get("skipped_count"):
        yield Text(f"records of the corpus that were skipped: {corpus['skipped_count']:,}", style="yellow")
        for one in corpus["skipped"][:5]:
            yield Text(f"  {one['where']}: {one['reason']} {one['detail']}".rstrip())


def _sizes(store: Store) -> str:
    parts = []
    for view in sorted(p.name for p in store.dataset.iterdir() if p.is_dir()):
        sizes = [sum(pq.read_metadata(f).num_rows for f in files(store, view, split)) for split in build.SPLITS]
        parts.append(f"{view} {sum(sizes):,} rows ({' / '.join(f'{n:,}' for n in sizes)})")
    return f"{store.dataset}: " + ", ".join(parts)


def _count(store: Store, view: str) -> int:
    return sum(pq.read_metadata(f).num_rows for f in files(store, view))


def files(store: Store, view: str, split: str = "*") -> list[Any]:
    return sorted((store.dataset / view).glob(f"{split}-*.parquet"))


def rows(store: Store, view: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows to look at, drawn over the whole view by hash, the same ones every time."""
    found = files(store, view)
    if not found:
        if not store.dataset.exists():
            raise WrongRequest(f"{store.out} has no dataset yet; go on with make resume OUT={store.out}")
        raise WrongRequest(f"{store.out} has no view {view!r}; choose among {', '.join(SCHEMAS)}")
    picked: list[tuple[float, dict[str, Any]]] = []
    for path in found:
        ids = pq.read_table(path, columns=["id"])["id"].to_pylist()
        best = sorted((draw(ident, "show", seed), i) for i, ident in enumerate(ids))[:count]
        if best:
            table = pq.read_table(path).take([i for _, i in best])
            picked += [(at, row) for (at, _), row in zip(best, table.to_pylist(), strict=True)]
    return [row for _, row in sorted(picked, key=lambda p: p[0])[:count]]


def report(store: Store, view: str, count: int) -> Iterator[RenderableType]:
    found = rows(store, view, count)
    if not found:
        yield Text(f"the view {view} has no rows in this run")
    for row in found:
        yield _row(row)


def _row(row: Mapping[str, Any]) -> RenderableType:
    """One row as a person reads it; nothing of a corpus or a model can style the terminal: no markup, no control character."""
    if "turns" in row:
        return Group(
            Text.assemble((clean(row["actor"]), "bold"), "  ", (row["id"], "dim"), f"   ended by {row['stop_reason']}"),
            Text(f"  {clean(row['background'])}", style="dim"),
            *(Text.assemble((f"  {turn['role']}: ", "bold"), clean(turn["text"])) for turn in row["turns"]),
            Text(),
        )
    if "qid" in row:
        return _item(row)
    if "messages" in row:
        lines = [f"[dim]{escape(m['role'])}[/dim] {escape(clean(m['content']))}" for m in row["messages"]]
        return Group(Text(row["id"], style="dim"), *(Text.from_markup(line) for line in lines), Text())
    parts = [Text.assemble((clean(row["actor"]), "bold"), "  ", (row["id"], "dim"))]
    if row.get("context"):
        parts.append(Text(f"  {clean(row['context'])}", style="dim"))
    parts.append(Text(f"  {clean(row['utterance'])}"))
    scores = " ".join(
        f"{label} {row['intensities'][i]:.1f}" for label, i in zip(row["labels"], row["label_ids"], strict=True)
    )
    vad = "" if row["valence"] is None else f"   v {row['valence']:.2f} a {row['arousal']:.2f} d {row['dominance']:.2f}"
    asked = f"{row['kind']}, asked for {row['emotion']}"
    parts.append(Text.assemble("  ", (scores, "cyan"), (vad, "dim"), (f"   {asked}", "dim")))
    if row["rationale"]:
        parts.append(Text(f"  {clean(row['rationale'])}", style="italic dim"))
    return Group(*parts, Text())


def _item(row: Mapping[str, Any]) -> RenderableType:
    """A question with its options, the right ones marked, why they are right, and what the solver said."""
    view = "mcq_eu" if "cause_label" in row else "mcq_ea"
    parts = [
        Text.assemble((clean(row["subject"]), "bold"), "  ", (row["id"], "dim"), f"   {category(view, row)}"),
        Text(f"  {clean(row['scenario'])}"),
        *(Text(f"  {line}", style="green" if line[0] == "*" else "") for line in _options(view, row)),
    ]
    agreed = f"{row['solver_agreement']:.0%} of {len(row['solver_votes'])} answers of the solver are right"
    return Group(
        *parts, Text(f"  {clean(row['rationale'])}", style="italic dim"), Text(f"  {agreed}", style="dim"), Text()
    )


def _options(view: str, item: Mapping[str, Any]) -> Iterator[str]:
    """The options of an item with their letters, the right ones marked."""
    for choices, right in OPTIONS[view]:
        marks = ["*" if one == item[right] else " " for one in item[choices]]
        yield from map(" ".join, zip(marks, lettered([clean(one) for one in item[choices]]).split("\n"), strict=True))


def state(store: Store) -> Iterator[RenderableType]:
    """Shards done, open and left; accounts of the finished ones; what the open ones have paid for."""
    frozen = need(store)
    counted = store.read_json("corpus.json") or {}
    total = counted.get("passages", 0)
    done, counts, finished = 0, dict[str, Count](), 0
    waiting = []
    for name in store.names():
        manifest = store.finished(name, frozen.targets)
        if manifest is None:
            waiting.append(name)
            continue
        finished += 1
        done += manifest.passages
        for stage, count in manifest.units.items():
            counts.setdefault(stage, Count()).add(count)
    opened = sum(len(store.passages(name)) for name in waiting)
    paid = sum(1 for name in waiting for _ in journal.read(store.journal_path(name)))
    left = max(0, total - done - opened)
    yield Text(f"{store.out}: {frozen.identity.engine} {frozen.identity.model}, targets {', '.join(frozen.targets)}")
    yield Text(f"shards: {finished} done, {len(waiting)} open ({paid:,} replies in their journals)")
    yield Text(f"passages: {done:,} done, {opened:,} open, {left:,} left of {total:,}")
    if counts:
        yield accounts(counts)
    if used := _with_open(store, waiting, counts):
        yield from money(store, used, counts)
        why = Counter[str](dict(together(counts).why()))
        tokens = sum(c.tokens_in + c.tokens_out for c in used.values())
        yield Text(f"tokens: {tokens:,}; rejects by reason: " + (_counted(why) or "none"))
    current = build.is_current(store)
    yield Text("dataset: built" if current else f"dataset: not built yet; go on with make resume OUT={store.out}")


def _with_open(store: Store, waiting: Sequence[str], counts: Mapping[str, Count]) -> dict[str, Count]:
    """The accounts of the finished shards, with the replies that open ones have paid for."""
    used = {stage: replace(count) for stage, count in counts.items()}
    for said in (one for name in waiting for one in store.remembered(name).values()):
        count = used.setdefault(said.stage, Count())
        count.asked += 1
        count.tokens_in += said.tokens_in
        count.tokens_out += said.tokens_out
        count.tokens_cached += said.tokens_cached
        count.seconds += said.seconds
    return used


def verified(store: Store) -> tuple[list[RenderableType], bool]:
    """Re-hash every file; True where all are as they were written."""
    need(store)
    wrong = [(f"shards/{name}/{f}", what) for name in store.names() for f, what in store.verify(name)]
    wrong += build.verify(store)
    lines: list[RenderableType] = [Text(f"{path} {what}", style="red") for path, what in wrong]
    if wrong:
        lines.append(Text(f"{len(wrong)} files are damaged; make them again with make resume OUT={store.out}"))
    else:
        done = sum(store.manifest(name) is not None for name in store.names())
        rest = "" if build.is_current(store) else f"; the run is not finished: make resume OUT={store.out}"
        lines.append(Text(f"{store.out}: everything that is finished is as it was written (shards: {done}{rest})"))
    return lines, not wrong


def thrown(store: Store, stage: str = "", reason: str = "", most: int = 20) -> Iterator[RenderableType]:
    """Rejects counted by stage, level and reason, then some of them."""
    frozen = need(store)
    counts: Counter[tuple[str, str, str]] = Counter()
    some: list[Reject] = []
    for one in _every_reject(store, frozen):
        if (stage and one.stage != stage) or (reason and one.reason != reason):
            continue
        counts[one.stage, one.level, one.reason] += 1
        if len(some) < most:
            some.append(one)
    if not counts:
        yield Text("nothing was rejected")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("stage", "level", "reason"):
        table.add_column(name)
    table.add_column("count", justify="right")
    for (where, level, why), n in sorted(counts.items(), key=lambda c: (-c[1], c[0])):
        table.add_row(where, level, why, f"{n:,}")
    yield table
    for one in some:
        ident = one.child_id or one.id
        yield Text.assemble((f"{one.stage} {ident} ", "dim"), (one.reason, "red"), f"  {clean(one.detail[:200])}")
        if one.raw:
            yield Text(f"    {clean(one.raw[:200])}", style="dim")


def _every_reject(store: Store, frozen: Frozen) -> Iterator[Reject]:
    """Of finished shards from their tables, of open ones from what their journals remember."""
    steps = pipeline(frozen.content).wanted(frozen.targets)
    asking = _asking(store, frozen, steps)
    for name in store.names():
        if store.finished(name) is not None:
            yield from rejects(store, [name])
            continue
        remembered, rounds = store.remembered(name), store.rounds(name)
        for passage in store.passages(name):
            for unit in units(passage, steps, asking, frozen.identity, remembered, rounds):
                if unit.outcome is not None:
                    yield from refused(unit.stage.name, unit.row, unit.outcome, unit.round)


def trace(store: Store, ident: str) -> Iterator[RenderableType]:
    """How a row came to be: every stage from the passage on, with its prompt, its reply, and what the checks said."""
    frozen = need(store)
    for name in store.names():
        passages = {p.id: p for p in store.passages(name)}
        found = _family(store, name, ident)
        if found is None:
            continue
        passage = passages[found]
        steps = pipeline(frozen.content).wanted(frozen.targets)
        yield from _told(store, name, ident, passage, steps, frozen)
        return
    raise WrongRequest(f"no row {ident!r} in {store.out}; ids stand in the column id of every view (make show OUT=...)")


def _family(store: Store, name: str, ident: str) -> str | None:
    """The passage that a row of any table belongs to."""
    for path in sorted((store.shards / name).glob("*.parquet")):
        columns = pq.read_schema(path).names
        if "source_id" not in columns:
            continue
        at = [c for c in ("id", "child_id") if c in columns]
        table = pq.read_table(path, columns=[*at, *(["passage_id"] if "passage_id" in columns else [])])
        for column in at:
            hit = table.filter(pc.equal(table[column], ident))
            if hit.num_rows:
                return str(hit["passage_id"][0].as_py()) if "passage_id" in columns else ident
    return None


def _told(
    store: Store, name: str, ident: str, passage: Passage, steps: Pipeline, frozen: Frozen
) -> Iterator[RenderableType]:
    """Replays the pure stages over the remembered replies of one passage, and shows the units of the row's own line."""
    remembered, rounds = store.remembered(name), store.rounds(name)
    thrown_here = [r for r in rejects(store, [name]) if r.passage_id == passage.id]
    yield Text.assemble((ident, "bold"), f"   shard {name}   {clean(passage.where)}")
    yield Rule(Text(f"passage {passage.id}"), align="left", style="dim")  # no box: where nothing wraps it has one line
    yield Text(clean(passage.text))
    asking = _asking(store, frozen, steps)
    for unit in units(passage, steps, asking, frozen.identity, remembered, rounds, lambda row: _related(row, ident)):
        yield from _unit(unit, ident, thrown_here)
    yield from _left_out(store, ident)
    if stages(steps) != frozen.stages:
        own = ", ".join(sorted({one.split("(")[0] for one in set(frozen.stages) - set(stages(steps))}))
        yield Text(f"stages of its own ({own}) made this run too; they are not shown here", style="yellow")


def _left_out(store: Store, ident: str) -> Iterator[RenderableType]:
    """What the build found against a row when it looked at the whole run."""
    path = store.dataset / "dropped.parquet"
    if path.exists():
        for row in pq.read_table(path, filters=[("id", "=", ident)]).to_pylist():
            twin = f", as {row['twin']}" if row["twin"] else ""
            yield Text(f"left out of {row['view']} by the build: {row['reason']}{twin}", style="red")


def _asking(store: Store, frozen: Frozen, steps: Pipeline) -> Asking:
    content = frozen.content
    return asking_of(
        prompts.load(steps.prompts(), store.out / "prompts"), content.seed, content.repairs, content.preset
    )


def _related(row: Any, ident: str) -> bool:
    """Whether a unit belongs to the line of a row: the row's ancestors, itself, and what was made of it."""
    return any(_near(one, ident) for one in _own(row))


def _own(row: Any) -> set[str]:
    """The ids of an input: its own, and of a batch those of its utterances."""
    return {row.id} | ({u.id for u in row.utterances} if isinstance(row, Batch) else set())


def _at_or_below(one: str, ident: str) -> bool:
    return one == ident or one.startswith(f"{ident}.")


def _unit(unit: Unit, ident: str, thrown_here: Sequence[Any]) -> Iterator[RenderableType]:
    stage, row, outcome = unit.stage, unit.row, unit.outcome
    lost = [
        one
        for one in thrown_here
        if one.stage == stage.name and one.level == "child" and one.id == row.id and _near(one.child_id, ident)
    ]
    kept = [child for child in (outcome.rows if outcome is not None else ()) if _near(child.id, ident)]
    if not (lost or kept or outcome is None) and not any(_at_or_below(one, ident) for one in _own(row)):
        return  # another branch of the row's line: a talk of an actor is no part of how its utterance came to be
    yield Rule(f"{stage.name} · {row.id}", align="left")
    yield from _asked(unit)
    if outcome is None:
        yield Text("no reply is remembered for this unit", style="yellow")
    elif not outcome.accepted:
        yield Text(f"rejected: {outcome.reason} {clean(outcome.detail)}", style="red")
    for one in lost:
        yield Text(f"dropped {one.child_id}: {one.reason} {clean(one.detail)}", style="red")
    for child in kept:
        yield Text(f"kept {clean(_short(child))}", style="green")


def _asked(unit: Unit) -> Iterator[RenderableType]:
    """Every message and reply of a unit, each message once: a repair goes on where the question stopped, and the agents
    of a talk are told the same at every turn."""
    seen: set[tuple[str, str]] = set()
    agents = unit.stage.agents
    for request, reply in unit.said:
        if len(agents) > 1:
            yield Text(next(a.prompt for a in agents if a.fields == request.fields.keys()), style="bold cyan")
        for message in request.messages:
            if (message.role, message.content) in seen and message is not request.messages[-1]:
                continue
            seen.add((message.role, message.content))
            yield Text.assemble((f"{message.role}: ", "bold"), (clean(message.content), "dim"))
        about = f"   [{reply.finish}, {reply.tokens_out} tokens, key {reply.key[:12]}]"
        yield Text.assemble(("reply: ", "bold green"), clean(reply.text), (about, "dim"))


def _near(child: str, ident: str) -> bool:
    return ident == child or ident.startswith(f"{child}.") or child.startswith(f"{ident}.")


def _short(child: Any) -> str:
    """One line for a record: what it adds."""
    if isinstance(child, Labels):
        return f"{child.id}: {', '.join(f'{s.label} {s.score:g}' for s in child.mapped)} -> {', '.join(child.labels)}"
    if isinstance(child, Dialogue):
        return "\n  ".join([f"{child.id}: ended by {child.stop_reason}", *(f"{t.role}: {t.text}" for t in child.turns)])
    if isinstance(child, EuItem | EaItem):
        view = "mcq_eu" if isinstance(child, EuItem) else "mcq_ea"
        item = {name: getattr(child, name) for name in child.__dataclass_fields__}
        return "\n  ".join(
            [
                f"{child.id}: {category(view, item)}, about {child.subject}",
                child.scenario,
                *_options(view, item),
                child.rationale,
            ]
        )
    hidden = ("source_id", "passage_id", "actor_id", "seed")
    values = {f: getattr(child, f) for f in child.__dataclass_fields__ if f not in hidden}
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(reasons.items(), key=lambda r: (-r[1], r[0])))
