"""Writes situations/weights.toml anew; to be run when situations or the features of options have changed:

`python tests/engines/weigh.py`
"""

from pathlib import Path

from factory.engines.rehearsal import application, understanding

PATH = Path(understanding.__file__).parent / "situations" / "weights.toml"
HEAD = "# How options are drawn so that nothing of their form tells (see even.py); made by tests/engines/weigh.py.\n\n"


def weighed() -> dict[str, tuple[float, ...]]:
    return understanding.weighed() | {kind: application.weighed(kind) for kind in ("action", "response")}


if __name__ == "__main__":
    lines = [f"{kind} = {list(values)}\n" for kind, values in weighed().items()]
    PATH.write_text(HEAD + "".join(lines), encoding="utf-8")
