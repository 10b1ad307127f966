"""Trains a model, with a checkpoint after every update, and says each update on a line: to be killed in the middle.

`python tests/train/killable.py DATA OUT BASE [UPDATES BEFORE WHICH IT WAITS]`
"""

import sys
import time
from pathlib import Path

from factory.train import encoder
from factory.train.course import Watcher
from factory.train.recipe import recipe
from factory.train.work import Report

data, out, base, *wait = sys.argv[1:]
made = recipe(
    base=base, learning_rate=5e-3, head_rate=2e-2, precision="fp32", average=0.9, epochs=3, batch=16, patience=0
)


def report(one: Report) -> None:
    print(one.update, flush=True)
    if wait and one.update >= int(wait[0]):
        time.sleep(60)


encoder.train(data, Path(out), made, watcher=Watcher(reports=report), checkpoint_seconds=0.0)
