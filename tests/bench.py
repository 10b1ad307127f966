"""Speed and memory of the whole pipeline with the rehearsal engine; `make bench` prints what docs/BENCHMARKS.md quotes.

Input is fairytaleqa (beside the checkout, see README) where it is there, else the bundled corpora several times over.
Each figure is the median of several runs where a run takes seconds; times on a shared machine are noisy.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from factory import run
from factory.engines.rehearsal import Rehearsal
from factory.requests import Reply, Request
from factory.settings import Operation

ROOT = Path(__file__).resolve().parents[1]
TALES = ROOT.parent / "shared/data/narratives/fairytaleqa.jsonl"
BIN = [sys.executable, "-m", "factory.cli"]


class Timed(Rehearsal):
    """The rehearsal engine with a clock: what is left of a run's time is ours."""

    spent = 0.0
    replies = 0

    async def complete(self, request: Request) -> Reply:
        began = time.perf_counter()
        reply = await super().complete(request)
        Timed.spent += time.perf_counter() - began
        Timed.replies += 1
        return reply


def corpus(folder: Path, times: int) -> Path:
    """The benchmark corpus, `times` over with new ids and texts that differ in a word."""
    sources = [TALES] if TALES.exists() else sorted((ROOT / "corpora").glob("*.jsonl"))
    rows = [json.loads(line) for path in sources for line in path.read_text("utf-8").splitlines() if line.strip()]
    path = folder / f"corpus{times}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for copy in range(times):
            for row in rows:
                text = f"Copy {copy}. {row['text']}" if copy else row["text"]
                file.write(json.dumps({"id": f"{row['id']}-{copy}", "text": text}) + "\n")
    return path


def whole(folder: Path, repeats: int) -> None:
    """The command as a person gives it: processes started, corpus counted, dataset built, summary printed."""
    path, rates, walls = corpus(folder, 1 if TALES.exists() else 20), [], []
    for _ in range(repeats):
        out = folder / "whole"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        subprocess.run([*BIN, "synth", str(path), "--out", str(out)], check=True, capture_output=True)
        walls.append(time.perf_counter() - began)
        asked = sum(count.asked for count in run.synth(path, out=out).tally.counts.values())
        rates.append(asked / walls[-1])
    print(f"| whole command, {asked:,} replies | {statistics.median(rates):,.0f} replies/s | wall {_each(walls)} s |")
    began = time.perf_counter()
    subprocess.run([*BIN, "synth", str(path), "--out", str(out)], check=True, capture_output=True)
    print(f"| the same command again, nothing to do | {time.perf_counter() - began:.2f} s | |")


def ours(folder: Path, repeats: int) -> None:
    """One process, the engine's own time taken out: checks, journal, accounts, shards and dataset."""
    path, each = corpus(folder, 1 if TALES.exists() else 20), []
    for _ in range(repeats):
        Timed.spent, Timed.replies = 0.0, 0
        out = folder / "ours"
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        run.synth(path, out=out, engine=Timed(), operation=Operation(limit=60))
        total = time.perf_counter() - began
        each.append((total - Timed.spent) / Timed.replies * 1000)
    print(
        f"| ours for each reply, one process, {Timed.replies:,} replies | {statistics.median(each):.2f} ms | {_each(each)} |"
    )


def memory(folder: Path) -> None:
    """Peak of the proportional set size of all processes of a run, for a corpus once and four times over."""
    for times in (1, 4):
        path, out = corpus(folder, times), folder / f"memory{times}"
        process = subprocess.Popen([*BIN, "synth", str(path), "--out", str(out)], stdout=-3, stderr=-3)
        peak = 0.0
        while process.poll() is None:
            try:
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                peak = max(peak, sum(one.memory_full_info().pss for one in tree) / 1e6)
            except psutil.Error:
                pass
            time.sleep(0.2)
        print(f"| memory, all processes, corpus {times} times | {peak:,.0f} MB | |")
        shutil.rmtree(out)


def startup() -> None:
    """What a person waits for first."""
    for name, command in (
        ("import factory", [sys.executable, "-c", "import factory"]),
        ("factory --help", [*BIN, "--help"]),
    ):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        print(f"| {name} | {statistics.median(times):.2f} s | |")


def _each(values: list[float]) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["startup", "ours", "whole", "memory"])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(
        f"corpus: {'fairytaleqa' if TALES.exists() else 'bundled corpora, 20 times'}\n\n"
        "| what | figure | runs |\n| --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "startup" in given.parts:
            startup()
        if "ours" in given.parts:
            ours(folder, given.repeats)
        if "whole" in given.parts:
            whole(folder, given.repeats)
        if "memory" in given.parts:
            memory(folder)


if __name__ == "__main__":
    main()
