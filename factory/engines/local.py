"""What the engines with a model in this process share: which model it is, whether it is whole, and how a chat becomes
tokens without a text in it becoming structure."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from factory.errors import Refused, WrongRequest
from factory.requests import Finish, Message, Reply

LEAST_ROOM = 16  # tokens: with less left for the answer there is no use in asking
_SMALL = 2**20  # bytes of a file that is hashed as a whole
_PIECE, _STEP = 2**16, 2**22  # of a larger one so many bytes at every such step, and at its end
_TELLING = ("*.json", "*.jinja", "*.model", "*.safetensors", "vocab.txt", "merges.txt")  # files that make a model
_LIGHT = [name for name in _TELLING if name != "*.safetensors"]
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ANSWER = "qzanswer"  # stands for an answer where a template is looked at
_MISTAKES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of a template
_TAG = re.compile(r"[<\[{|].*[>\]}|]", re.S)


def needs(engine: str, packages: Iterable[str], cure: str) -> None:
    """WrongRequest where a package is not installed; nothing is imported."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise WrongRequest(f"ENGINE={engine} needs {' and '.join(missing)}, which is not installed; {cure}")


@dataclass
class Model:
    """A folder, or a name on the Hugging Face hub at one commit."""

    engine: str
    given: str
    revision: str = ""

    @cached_property
    def folder(self) -> Path | None:
        """The folder that was given; None for a hub name. WrongRequest where it looks like a folder and is none."""
        try:
            path = Path(self.given).expanduser()
            if path.is_dir():
                return path
            lost = path.is_absolute() or self.given.startswith((".", "~")) or self.given.count("/") > 1 or path.exists()
        except (OSError, RuntimeError):  # a name too long, the home of nobody
            lost = True
        if lost:
            raise WrongRequest(
                f"there is no folder {self.given[:200]}; give MODEL the folder of a model or its hub name"
            )
        return None

    @cached_property
    def name(self) -> str:
        """The hub name, or the last part of the folder's path: where a model lies does not change what it says."""
        return self.given if self.folder is None else self.folder.resolve().name

    @cached_property
    def commit(self) -> str:
        """What names these very weights: the hub's commit, or the hash of what is in the folder."""
        return _hub_commit(self.given, self.revision) if self.folder is None else fingerprint(self.folder)

    @cached_property
    def place(self) -> str:
        """What the libraries are told to load."""
        return self.given if self.folder is None else str(self.folder.resolve())

    @property
    def pinned(self) -> str | None:
        """The revision that the libraries are told to load; None for a folder."""
        return self.commit if self.folder is None else None

    def check(self) -> tuple[str, ...]:
        """Looks at the files without loading them; WrongRequest where the model is not whole."""
        if self.folder is not None:
            _refuse_broken(self.folder, [path.name for path in self.folder.iterdir()], self.given)
            return (f"{self.name} ({self.engine}, revision {self.commit}) is whole",)
        light, names = _hub_files(self.given, self.commit)
        _refuse_broken(light, names, self.given)
        return (f"{self.name} ({self.engine}, commit {self.commit[:12]}) is there",)


def fingerprint(folder: Path, telling: Sequence[str] = _TELLING) -> str:
    """Twelve hex digits over the files that make a model (`telling` are their patterns): name, size, content (of large
    ones a piece every few megabytes, for weights that were trained on differ all over)."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not any(fnmatch(path.name, one) for one in telling):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            for start in (*range(0, size, _STEP), size - _PIECE) if size >= _SMALL else (0,):
                file.seek(start)
                digest.update(file.read(_PIECE if size >= _SMALL else _SMALL))
    return digest.hexdigest()[:12]


def _refuse_broken(folder: Path, names: Sequence[str], given: str) -> None:
    """`names` are all files of the model, of which the small ones lie in the folder."""
    if "config.json" not in names:
        raise WrongRequest(
            f"{given} holds no config.json, so it is no model; give MODEL the folder of one or a hub name"
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise WrongRequest(
            f"{given} holds no safetensors; other formats can run code when they are read, so convert the model "
            "(save_pretrained writes safetensors) or choose another"
        )
    if "chat_template.jinja" not in names and not _templated(folder / "tokenizer_config.json"):
        raise WrongRequest(f"{given} has no chat template, so it was never taught to answer; choose an instruct model")


def _templated(config: Path) -> bool:
    try:
        return bool(json.loads(config.read_bytes()).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def _hub_commit(name: str, revision: str) -> str:
    """The commit of a hub model: as given, else as the hub says, else as it was when last downloaded."""
    if _COMMIT.fullmatch(revision):
        return revision
    needs("vllm or transformers", ["huggingface_hub"], "run it through make, which installs it")
    from huggingface_hub import HfApi

    try:
        return str(HfApi().model_info(name, revision=revision or None, timeout=20).sha)
    except Exception as err:  # whose errors these are depends on the version of the library
        known = _hub_cache(name) / "refs" / (revision or "main")
        if known.is_file():
            return known.read_text(encoding="utf-8").strip()
        raise WrongRequest(
            f"the model {name}{f' at {revision}' if revision else ''} is neither on this computer nor to be had from the "
            f"hub ({type(err).__name__}); check the name, the network and, for a gated model, HF_TOKEN, or give MODEL a folder"
        ) from err


def _hub_cache(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _hub_files(name: str, commit: str) -> tuple[Path, list[str]]:
    """A folder with the small files of a hub model, and the names of all; what is not here yet is fetched."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        names = list(HfApi().list_repo_files(name, revision=commit))
        return Path(snapshot_download(name, revision=commit, allow_patterns=_LIGHT)), names
    except Exception as err:  # as above
        here = _hub_cache(name) / "snapshots" / commit
        if here.is_dir():
            return here, [path.name for path in here.iterdir()]
        raise WrongRequest(
            f"the files of {name} cannot be had from the hub ({type(err).__name__}) and are not on this computer; check the "
            "network and, for a gated model, HF_TOKEN, or give MODEL a folder"
        ) from err


@dataclass
class Chat:
    """The tokenizer of a model and its chat template. One thread at a time: fast tokenizers cannot be shared."""

    tokenizer: Any
    _expected: dict[tuple[str, ...], int] = field(default_factory=dict)
    _frames: dict[tuple[str, ...], tuple[str, str]] = field(default_factory=dict)

    @staticmethod
    def of(model: Model) -> "Chat":
        """Loads the tokenizer; no code from the model's folder is run."""
        from transformers import AutoTokenizer

        return Chat(AutoTokenizer.from_pretrained(model.place, revision=model.pinned, trust_remote_code=False))

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """The ids of the rendered chat, up to where the answer begins.

        Refused where a text would put a token of the chat's structure into it: that cannot happen to what went through
        `prompts.neutral` and through `_broken`, and is looked at all the same.
        """
        roles = tuple(message.role for message in messages)
        if roles not in self._expected:
            plain = self._encoded(self.text([Message(message.role, "x") for message in messages]))
            self._expected[roles] = self.structural(plain)
        found = self._encoded(self.text(messages))
        if self.structural(found) != self._expected[roles]:
            raise Refused("prompt_structure", "a text holds tokens of the chat template, so it is not sent")
        return found

    def text(self, messages: Sequence[Message]) -> str:
        """The chat as the model's own template writes it, thinking switched off where it can be."""
        return self._rendered(self._turns(messages))

    def answered(self, messages: Sequence[Message]) -> tuple[str, str]:
        """A chat with its answer as two texts: what `text` says of its question, and what is to be said then, up to the
        token that ends an answer.

        WrongRequest where the template shows no answer as it is given, or nothing ends one.
        """
        *asked, answer = messages
        before, behind = self._around(tuple(message.role for message in asked))
        return self.text(asked), f"{before}{self._broken(answer.content)}{behind}"

    def structural(self, tokens: Sequence[int]) -> int:
        """How many of the tokens are no text."""
        return sum(map(self._structure.__contains__, tokens))

    def word(self, text: str) -> int:
        """The one token that is this word at the beginning of an answer; WrongRequest where there is none."""
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if len(found) != 1:
            raise WrongRequest(
                f"{text!r} is {len(found)} tokens for this model, so its likelihood cannot be read at one place; choose another "
                "model or leave LABELLER=logprobs out"
            )
        return found[0]

    def _around(self, roles: tuple[str, ...]) -> tuple[str, str]:
        """What the template writes before and behind an answer; before it only what `text` leaves for the model to say."""
        if roles not in self._frames:
            turns = [Message(role, "qzasked") for role in roles]  # type: ignore[arg-type]  # roles of messages
            asked = self.text(turns)
            whole = self._rendered(self._turns([*turns, Message("assistant", _ANSWER)]), asks=False)
            head, shown, behind = whole.rpartition(_ANSWER)
            if not shown:
                raise WrongRequest(
                    f"the chat template of {self._name} leaves out or changes an answer, so none can be learnt; choose another "
                    "model"
                )
            before = (
                head.removeprefix(asked) if head.startswith(asked) else ""
            )  # else it asks in another way than it shows
            self._frames[roles] = before, self._ending(behind)
        return self._frames[roles]

    def _ending(self, behind: str) -> str:
        """What follows an answer, up to its first token that is no text: there a model stops, and learns to."""
        if self._pattern and (found := self._pattern.search(behind)):
            return behind[: found.end()]
        if not self.tokenizer.eos_token:
            raise WrongRequest(
                f"neither the chat template of {self._name} nor its tokenizer says what ends an answer; choose another model"
            )
        return str(self.tokenizer.eos_token)

    @property
    def _name(self) -> str:
        return str(self.tokenizer.name_or_path) or "this model"

    def _encoded(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _turns(self, messages: Sequence[Message]) -> list[dict[str, str]]:
        turns = [{"role": message.role, "content": self._broken(message.content)} for message in messages]
        return _folded(turns) if self._folds else turns

    def _rendered(self, turns: list[dict[str, str]], asks: bool = True) -> str:
        """WrongRequest where the template fails: it is a program, and can do so in any of a program's ways."""
        from jinja2.exceptions import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, tokenize=False, add_generation_prompt=asks, enable_thinking=False
                )
            )
        except (TemplateError, *_MISTAKES) as err:
            raise WrongRequest(
                f"the chat template of {self._name} fails ({short(err)}); mend it, or choose another model"
            ) from err

    @cached_property
    def _folds(self) -> bool:
        """Whether the template knows no system turn (Gemma, early Mistral), or leaves out what it says."""
        turns = [{"role": "system", "content": "qzsystem"}, {"role": "user", "content": "qzuser"}]
        try:
            return "qzsystem" not in self._rendered(turns)
        except WrongRequest:
            return True

    @cached_property
    def _structure(self) -> dict[int, str]:
        """Tokens that are no text: the special ones, and those that look like tags."""
        added = self.tokenizer.added_tokens_decoder.items()
        return {number: str(token) for number, token in added if token.special or _TAG.fullmatch(str(token))}

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        """Finds structure written as text, whatever its case; one-character tokens are left to the count."""
        long = sorted((one for one in self._structure.values() if len(one.strip()) > 1), key=len, reverse=True)
        return re.compile("|".join(re.escape(one.strip()) for one in long), re.I) if long else None

    def _broken(self, text: str) -> str:
        """The text with a space in every structural token that it spells out."""
        while self._pattern and self._pattern.search(text):
            text = self._pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return text


def _folded(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """The system's words put before the first question, for templates without a system turn."""
    if len(turns) < 2 or turns[0]["role"] != "system":
        return turns
    first = {"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
    return [first, *turns[2:]]


def room(prompt: int, wanted: int, most: int) -> int:
    """How many tokens the answer may have where prompt and answer together have `most`; Refused where too few are left."""
    left = most - prompt
    if left < min(LEAST_ROOM, wanted):
        raise Refused(
            "context_too_long", f"the prompt has {prompt} tokens and the model takes {most}, the answer's among them"
        )
    return min(wanted, left)


@lru_cache(maxsize=64)
def grammar(schema: str) -> str:
    """A JSON schema as llguidance decodes under it: no white space between tokens, where a model could run on for ever."""
    from llguidance import LLMatcher

    return str(LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_flexible": False}))


def reading(words: Sequence[str], found: Sequence[float], tokens_in: int, tokens_cached: int, seconds: float) -> Reply:
    """The reply to a request with `read`."""
    text = json.dumps({word: min(0.0, value) for word, value in zip(words, found, strict=True)})
    finish: Finish = "stop"
    return Reply(
        text=text, finish=finish, tokens_in=tokens_in, tokens_out=1, tokens_cached=tokens_cached, seconds=seconds
    )


def short(err: BaseException) -> str:
    """What a library raised, on one line."""
    return f"{type(err).__name__}: {' '.join(str(err).split())[:300]}"
