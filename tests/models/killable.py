"""Run by a test as a process of its own, to be killed: `killable.py CORPUS OUT MODEL LOG`, vLLM behind a `Relay`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.shadow import Relay

from factory import run
from factory.engines.vllm import VLLM
from factory.settings import Content, Operation


def main(corpus: str, out: str, model: str, log: str) -> None:
    engine = VLLM(model, arguments={"enforce_eager": True, "max_model_len": 8192, "max_num_seqs": 8})
    operation = Operation(concurrency=4, shard_size=1, max_rejects=1.0, fsync_seconds=0.05)
    content = Content(repairs=1)
    run.synth(corpus, out=out, content=content, operation=operation, engine=Relay(engine, log=Path(log)))


if __name__ == "__main__":
    main(*sys.argv[1:])
