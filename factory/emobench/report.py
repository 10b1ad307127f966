"""An outcome as JSON, which reads back to the same, and as Markdown, for people. Texts of models and files are escaped."""

import re
from collections.abc import Iterator, Mapping, Sequence

import orjson
from pydantic import TypeAdapter, ValidationError

from factory.benchmarks.metrics import ENOUGH
from factory.emobench.ask import READINGS, Answered, Ask
from factory.emobench.baselines import WHOLE
from factory.emobench.items import PARTS
from factory.emobench.score import Comparison, Figure, Outcome, Result, Score
from factory.emobench.words import AUTHORS
from factory.errors import WrongRequest
from factory.text import one_line

_ABOUT = {
    "likelihood": "ours: the option whose whole text is the most probable reply; nothing is parsed",
    "letters": "ours: the option whose letter is the most probable next token; nothing is parsed",
    "v1": "the paper's (code of March 2024): one question at a time, EU as a chain, votes, four option orders",
    "v2": "the authors' code of May 2025: one prompt, one pass, a letter in JSON",
}
_READ = {
    "strict": "as the protocol reads it",
    "lenient": "and, where that fails, as we do: the first letter or the option's own text",
    "normalised": "mean log-probability of an option's tokens",
    "raw": "sum of them",
    "letter": "log-probability of the letter",
}
_HEARD = {
    "strict": "read as the protocol reads them",
    "lenient": "read leniently alone",
    "unread": "not read",
    "empty": "empty",
}
_UNREAD_SHOWN = 5
TOO_FEW = f"-: too few items for an interval (under {ENOUGH})"


def to_json(outcome: Outcome) -> bytes:
    """Fields in their order and two spaces, so that two outcomes can be compared by line."""
    return orjson.dumps(outcome, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def of_json(data: bytes) -> Outcome:
    """What `to_json` wrote; WrongRequest where it is something else, or its parts do not fit together."""
    try:
        made = TypeAdapter(Outcome).validate_json(data)
    except ValidationError as err:
        raise _no_outcome(".".join(map(str, err.errors()[0]["loc"])) or "the whole") from err
    for n, result in enumerate(made.results):
        if tuple(score.reading for score in result.scores) != READINGS[result.ask.protocol]:
            raise _no_outcome(f"results.{n}.scores")
        for place, one in enumerate(result.answered):
            if not _whole(one, result.ask):
                raise _no_outcome(f"results.{n}.answered.{place}")
    return made


def _no_outcome(where: str) -> WrongRequest:
    return WrongRequest(
        f"this is no outcome of EmoBench ({one_line(where)[:120]}); write it anew with factory evaluate"
    )


def _whole(one: Answered, ask: Ask) -> bool:
    """Has an item every reading of its protocol, and in each a choice for every order and part?"""
    parts = len(PARTS[ask.task])
    return {*one.readings} == {*READINGS[ask.protocol]} and all(
        len(said.orders) == ask.orders
        and all(len(places) == parts for places in (*said.orders, said.voted, one.labels))
        for said in one.readings.values()
    )


def summary(outcome: Outcome) -> str:
    """The table alone: one line for each reading, with what needs no model beside it; nothing is parsed of a likelihood."""
    few = any(score.accuracy.items < ENOUGH for result in outcome.results for score in result.scores)
    return _results(outcome) + (f"\n\n{TOO_FEW}" if few else "")


def _results(outcome: Outcome) -> str:
    rows = [_line(result, score) for result in outcome.results for score in result.scores]
    head = (
        "task", "language", "protocol", "reading", "items", "accuracy", "95% interval", "ParseOK", "given parsed", "chance",
        "best shortcut",
    )  # fmt: skip
    return _table(head, rows)


def markdown(outcome: Outcome) -> str:
    """What was asked in which way, the table, then each task's parts, categories, baselines and replies."""
    lines = [
        f"# EmoBench: {cell(outcome.model, 200)}",
        "",
        *_model(outcome),
        f"- versions: {', '.join(f'{cell(name)} {cell(version)}' for name, version in outcome.versions.items())}",
        *(f"- {cell(name)}: SHA-256 `{digest}`" for name, digest in outcome.files.items()),
        *(f"- {cell(note, 300)}" for note in outcome.notes),
        "",
        "An EU item is right where emotion and cause are. What could not be read counts as wrong. Intervals are Wilson's: with "
        f"200 items a difference of a few points is noise, and under {ENOUGH} items are too few for one (-). Figures of "
        "different protocols are never compared.",
        "",
        _results(outcome),
    ]
    if outcome.comparisons:
        about = "first: this model; p is McNemar's, of one vote over the orders; the interval is a paired bootstrap's"
        lines += [
            "",
            f"## Compared with {cell(outcome.against, 200)}",
            "",
            f"{about}.",
            "",
            compared(outcome.comparisons),
        ]
    for result in outcome.results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def compared(comparisons: Sequence[Comparison]) -> str:
    """Two models as a table: the first's accuracy less the other's."""
    head = (
        "task", "language", "reading", "items", "first", "other", "difference", "95% interval", "only first", "only other",
        "McNemar p",
    )  # fmt: skip
    rows = [
        (
            one.task,
            one.language,
            one.reading,
            f"{one.items}",
            f"{one.one:.3f}",
            f"{one.other:.3f}",
            f"{one.difference:+.3f}",
            f"{one.low:+.3f} to {one.high:+.3f}" if one.items >= ENOUGH else "-",
            f"{one.only_one}",
            f"{one.only_other}",
            f"{one.p:.4f}",
        )
        for one in comparisons
    ]
    return _table(head, rows)


# Parts -----------------------------------------------------------------------------------------------------------------------


def _model(outcome: Outcome) -> Iterator[str]:
    """What was measured, as far as it is known: of a server nothing but its name is."""
    told = [f"fingerprint `{cell(outcome.fingerprint)}`"] if outcome.fingerprint else []
    told += [f"base {cell(outcome.base, 200)}"] if outcome.base else []
    told += [outcome.decoding] if outcome.decoding else []
    if told:
        yield f"- model: {'; '.join(told)}"


def _line(result: Result, score: Score) -> tuple[str, ...]:
    ask, known = result.ask, {one.name: one.turned[WHOLE] for one in result.baselines}
    chance = known.pop("uniform", 0.0)
    best = max(known, key=lambda name: known[name], default="")
    return (
        ask.task,
        ask.language,
        _name(ask),
        score.reading,
        f"{score.accuracy.items}",
        f"{score.accuracy.value:.3f}",
        _interval(score.accuracy),
        f"{score.parse_ok:.3f}" if written(ask) else "-",
        f"{score.given_parsed.value:.3f}" if written(ask) else "-",
        f"{chance:.4f}",
        f"{best} {known[best]:.3f}" if best else "none",
    )


def _name(ask: Ask) -> str:
    return ask.protocol + (" CoT" if ask.cot else "") + (" guided" if ask.guided else "")


def _section(result: Result) -> Iterator[str]:
    ask = result.ask
    yield f"## {ask.task}, {ask.language}: {_name(ask)}"
    yield ""
    yield from (f"- {sentence}" for sentence in how(ask))
    yield ""
    head = ("reading", "of what", "items", "accuracy", "95% interval")
    yield _table(head, [row for score in result.scores for row in _figures(score, ask)])
    yield ""
    several = ask.orders > 1
    mean = f", and as the mean over {_orders(ask)}" if several else ""
    yield f"Shares right without a model, in the published order{mean}:"
    yield ""
    head = ("baseline", "of what", "published order", *(("all orders",) if several else ()))
    yield _table(head, list(_baselines(result)))
    silent = 1 - min((score.parse_ok for score in result.scores), default=1.0)
    if silent and not written(ask):
        yield ""
        yield f"The model told no probability for {silent:.1%} of the questions; they are wrong here."
    if result.heard:
        yield ""
        yield f"Replies: {', '.join(f'{count:,} {_HEARD[how]}' for how, count in result.heard.items())}."
    yield from _unread(result)


def how(ask: Ask) -> list[str]:
    """How it was asked, in sentences."""
    said = [f"protocol {ask.protocol}, {_ABOUT[ask.protocol]}"]
    if written(ask):
        whose = "the authors' wording, read from their files" if ask.wording == AUTHORS else "our own wording"
        said.append(
            f"{whose}; {'settings as published' if ask.official else 'settings differ from the published ones'}"
        )
        said.append(f"temperature {ask.temperature:g}, top-p {ask.top_p:g}, at most {ask.max_tokens} tokens a reply")
    else:
        said.append("our own wording")
        if ask.cot:
            said.append(
                f"the model reasons first, greedily, in at most {ask.max_tokens} tokens, and the options follow that"
            )
    if ask.protocol == "v1":
        unread = "the last emotion is told, as in the authors' code" if ask.faithful else "none is told"
        said.append(f"where an emotion could not be read, {unread}; no ban on repeated pairs of tokens")
        said.append(f"{ask.repeats} repeats, voted on within each of {_orders(ask)}")
    elif ask.orders > 1:
        said.append(_orders(ask))
    if ask.task == "EU" and ask.protocol != "v2":
        said.append("the cause is asked for with the emotion that the model itself chose")
    if ask.protocol == "v2" and not ask.cot:
        said.append(
            'the authors\' code tells a model whose name (here: that of its base) holds "qwen" /no_think first: this one was '
            f"{'' if ask.no_think else 'not '}told so"
        )
    if ask.guided:
        said.append("replies were decoded under a schema, so that none can break the format")
    return said


def written(ask: Ask) -> bool:
    """Are replies read, or options scored?"""
    return ask.protocol in ("v1", "v2")


def _orders(ask: Ask) -> str:
    return f"{ask.orders} option orders" if ask.orders > 1 else "one option order, the published one"


def _figures(score: Score, ask: Ask) -> Iterator[tuple[str, ...]]:
    yield f"{score.reading}: {_READ[score.reading]}", "all", *_told(score.accuracy)
    if score.parse_ok < 1:
        yield (
            score.reading,
            "what could be read" if written(ask) else "what had a probability",
            *_told(score.given_parsed),
        )
    if ask.orders > 1:
        yield score.reading, "one vote over the orders", *_told(score.voted)
    if len(score.parts) > 1:
        yield from ((score.reading, name, *_told(figure)) for name, figure in score.parts.items())
    yield from ((score.reading, cell(name), *_told(figure)) for name, figure in score.categories.items())


def _told(figure: Figure) -> tuple[str, str, str]:
    return f"{figure.items}", f"{figure.value:.3f}", _interval(figure)


def _baselines(result: Result) -> Iterator[tuple[str, ...]]:
    for one in result.baselines:
        parts: Mapping[str, float] = one.published
        for name in [WHOLE, *(part for part in parts if part != WHOLE)]:
            if name == WHOLE or len(parts) > 2:
                turned = (f"{one.turned[name]:.4f}",) if result.ask.orders > 1 else ()
                yield one.name, name, f"{one.published[name]:.4f}", *turned


def _unread(result: Result) -> Iterator[str]:
    """The first replies that neither reading could read: what the model does instead is seen at a glance."""
    found = [
        (one.qid, text)
        for one in result.answered
        for text, how in zip(one.replies, one.heard, strict=False)
        if how == "unread"
    ]
    if found:
        yield from ("", "Replies that could not be read:", "")
        yield _table(("item", "reply"), [(cell(qid), cell(text)) for qid, text in found[:_UNREAD_SHOWN]])


def _interval(figure: Figure) -> str:
    return f"{figure.low:.3f} to {figure.high:.3f}" if figure.items >= ENOUGH else "-"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


_MARKS = re.compile(r"([\\`*_{}\[\]()<>#|~!&$])")


def cell(text: str, most: int = 120) -> str:
    """Any text as plain words within a line of Markdown: no line break, no mark-up, no HTML, cut at `most` characters."""
    plain = one_line(text)
    if len(plain) > most:
        plain = plain[: most - 1] + "…"
    return _MARKS.sub(r"\\\1", plain)
