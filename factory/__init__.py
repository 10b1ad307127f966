"""Emotion factory: narratives in, labelled and traceable emotion datasets out.

`import factory` is light; what it names is loaded when it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "pipeline", "resume", "synth"]

if TYPE_CHECKING:
    from factory.api import load, pipeline, resume, synth


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("factory.api"), name)
    raise AttributeError(f"module 'factory' has no attribute {name!r}")
