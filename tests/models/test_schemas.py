"""The schemas that engines decode under hold nothing that a grammar library would refuse, ignore, or run on for ever in."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from factory.settings import Content
from factory.stages import schema
from factory.steps import pipeline

SAID = {agent.prompt: agent.said for step in pipeline(Content()) for agent in step.stage.agents if agent.said}
# What llguidance and xgrammar both decode under; `uniqueItems`, `multipleOf`, `contains` are not among it.
DECODED = frozenset(
    "type properties required additionalProperties items minItems maxItems minLength maxLength minimum maximum "
    "enum const anyOf $ref $defs".split()
)
SAYING = frozenset(("title", "description", "default"))  # nothing is decoded by these
SCHEMAS = pytest.mark.parametrize("prompt", SAID)


def parts(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema; the names of properties are no keywords."""
    if isinstance(node, list):
        for one in node:
            yield from parts(one)
    if isinstance(node, dict):
        yield node
        for name, value in node.items():
            if name in ("properties", "$defs"):
                for one in value.values():
                    yield from parts(one)
            elif name in ("items", "anyOf", "additionalProperties"):
                yield from parts(value)


@SCHEMAS
def test_a_schema_uses_only_keywords_that_are_decoded_under(prompt: str) -> None:
    """A keyword that is ignored would promise what the text does not keep."""
    used = {name for part in parts(json.loads(schema(SAID[prompt]))) for name in part}
    assert used - DECODED - SAYING == set()


@SCHEMAS
def test_every_text_and_list_has_an_end(prompt: str) -> None:
    """A string or a list without a greatest length can be written until the tokens run out."""
    for part in parts(json.loads(schema(SAID[prompt]))):
        if part.get("type") == "string" and "enum" not in part and "const" not in part:
            assert "maxLength" in part, part
        if part.get("type") == "array":
            assert "maxItems" in part, part


@SCHEMAS
def test_an_object_has_no_fields_but_those_it_needs(prompt: str) -> None:
    """Decoders write the properties in the order of the schema, all of them and no others."""
    for part in parts(json.loads(schema(SAID[prompt]))):
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert set(part["required"]) == set(part["properties"])


@SCHEMAS
def test_llguidance_takes_the_grammar(prompt: str) -> None:
    """It compiles without a fault, white space between tokens left out."""
    llguidance = pytest.importorskip("llguidance", reason="needs the vllm extra: make test-vllm")
    from factory.engines.local import grammar

    assert llguidance.LLMatcher.validate_grammar(grammar(schema(SAID[prompt]))) == ""


def test_llguidance_would_say_so_of_a_keyword_that_it_lacks() -> None:
    """The test above can fail: a list of different things is refused."""
    llguidance = pytest.importorskip("llguidance", reason="needs the vllm extra: make test-vllm")
    from factory.engines.local import grammar

    unlike = json.dumps({"type": "array", "items": {"type": "integer"}, "uniqueItems": True})
    assert "uniqueItems" in llguidance.LLMatcher.validate_grammar(grammar(unlike))


@SCHEMAS
def test_xgrammar_could_take_the_schema_too(prompt: str) -> None:
    """Servers often decode with it, and vLLM set to `auto` would change its back end without a word."""
    pytest.importorskip("vllm", reason="needs the vllm extra: make test-vllm")
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

    assert has_xgrammar_unsupported_json_features(json.loads(schema(SAID[prompt]))) is False
