"""The name of a reply."""

import hashlib

import pytest

from factory.requests import Identity, Message, Request, Sampling, canonical, key

MESSAGES = (Message("system", 'Say "hé".'), Message("user", "line\none"), Message("assistant", "{}"))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_key_is_the_hash_of_the_canonical_bytes(count: int) -> None:
    """Hashing what requests share only once changes no key."""
    identity = Identity(engine="mine", model="by hand", revision="1")
    sampling = Sampling(temperature=0.7, max_tokens=9, seed=3)
    request = Request(
        stage="s", unit="u", messages=MESSAGES[:count], schema='{"a": "\\n"}', sampling=sampling, repair=1, round=2
    )
    assert key(identity, request) == hashlib.sha256(canonical(identity, request)).hexdigest()
