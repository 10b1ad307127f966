"""Facts about models in a folder that need no model: what names them."""

from pathlib import Path
from typing import Any

import pytest

from factory.engines.local import Chat, Model, fingerprint
from factory.errors import WrongRequest
from factory.requests import Message


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(bytes(range(256)) * 2**16)  # 16 MiB
    return tmp_path


def test_weights_that_were_trained_on_have_another_name(weights: Path) -> None:
    """A layer in the middle that differs makes another model, though header, size and both ends are the same."""
    before = fingerprint(weights)
    data = bytearray((weights / "model.safetensors").read_bytes())
    data[5 * 2**20 : 11 * 2**20] = bytes(6 * 2**20)
    (weights / "model.safetensors").write_bytes(data)
    assert fingerprint(weights) != before


def test_what_makes_no_model_changes_no_name(weights: Path) -> None:
    """A README or a log beside the weights is not part of the model; a changed chat template is."""
    before = fingerprint(weights)
    (weights / "README.md").write_text("changed")
    assert fingerprint(weights) == before
    (weights / "chat_template.jinja").write_text("{{ messages }}")
    assert fingerprint(weights) != before


def test_a_name_too_long_for_a_folder_is_one_sentence() -> None:
    """Which does not say all of it."""
    with pytest.raises(WrongRequest, match=r"there is no folder x{200};"):
        _ = Model("transformers", "x" * 5000).folder


class _Template:
    """A tokeniser whose chat template raises."""

    name_or_path = "models/one"

    def __init__(self, raised: Exception) -> None:
        self.raised = raised
        self.added_tokens_decoder: dict[int, Any] = {}

    def apply_chat_template(self, *_: Any, **__: Any) -> str:
        raise self.raised


@pytest.mark.parametrize(
    "raised", [ZeroDivisionError("by zero"), KeyError("role"), TypeError("no"), RecursionError("deep")]
)
def test_a_chat_template_that_fails_is_one_sentence(raised: Exception) -> None:
    """It is a program."""
    with pytest.raises(WrongRequest, match=r"the chat template of models/one fails \(\w+: .*\); mend it"):
        Chat(_Template(raised)).text([Message("user", "x")])
