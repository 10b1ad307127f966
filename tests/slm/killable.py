"""Trains an adapter, with a checkpoint after every update, and says each update on a line: to be killed in the middle.

`python tests/slm/killable.py DATA OUT BASE [UPDATES BEFORE WHICH IT WAITS]`
"""

import sys
import time
from pathlib import Path

from factory.slm import train
from factory.slm.recipe import recipe
from factory.train.course import Watcher
from factory.train.work import Report

data, out, base, *wait = sys.argv[1:]
made = recipe(
    base=base,
    tasks="emotion_json",
    learning_rate=5e-3,
    precision="fp32",
    batch=4,
    epochs=3,
    average=0.9,
    label_weight=0.5,
    mix="0.3,0.7",
    cooling=True,
    looks=2,
)


def report(one: Report) -> None:
    print(one.update, flush=True)
    if wait and one.update >= int(wait[0]):
        time.sleep(60)


train.train(data, Path(out), made, watcher=Watcher(reports=report), checkpoint_seconds=0.0)
