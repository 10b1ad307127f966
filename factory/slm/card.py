"""The README.md of a language model's folder, written from its own record: nothing in it is typed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from factory import contract, questions
from factory.slm.recipe import OF_CLASSIFY, OF_GENERATE, SlmRecipe
from factory.train.model_card import warned

_ALWAYS = ("mode", "epochs", "batch", "lora_rank", "lora_alpha", "lora_targets", "learning_rate", "flips", "seed")
_COOLING = ("tau_high", "tau_low", "floor", "looks", "looked_at")
_TAUGHT = {
    "emotion_json": (
        "an utterance with one line of JSON: labels of GoEmotions' 28, valence, arousal and dominance from 0 to 1, and a sentence"
    ),
    "mcq_eu": "a question on what somebody in a scene feels and why with one line of JSON: a rationale and two letters",
    "mcq_ea": "a question on what would help somebody in a scene with one line of JSON: a rationale and a letter",
}
_SCENE = {"scenario": "Ama missed the last boat home, and her sister laughed.", "subject": "Ama", "rationale": ""}
_FEELS = {
    "emotion_choices": ["Joy", "Anger"],
    "emotion_label": "Anger",
    "cause_choices": ["her sister laughed", "the boat was blue"],
    "cause_label": "her sister laughed",
}
_HELPS = {"question_type": "Action", "choices": ["Laugh too", "Offer her a bed"], "label": "Offer her a bed"}


def written(record: Mapping[str, Any]) -> str:
    """Markdown with the head that a model hub reads."""
    taught = [task for task in _TAUGHT if any(task in tasks for tasks in record["learnt"].values())]
    lines = [
        "---",
        f"base_model: {record['base']}",
        "library_name: peft",
        "pipeline_tag: text-generation",
        "tags: [emotion, lora]",
        "---",
        "",
        "# Emotion language model",
        "",
        *warned(record["notes"]),
        f"A LoRA adapter for `{record['base']}` (at `{record['base_commit']}`), trained by emotion-factory "
        f"{record['factory']} on `{record['data']}` (fingerprint `{record['fingerprint']}`), in {record['precision']}. It "
        f"was taught to answer {'; '.join(_TAUGHT[task] for task in taught)}.",
        "",
        "## What was measured while it was trained",
        "",
        "How little the answers of held-out rows surprise it. That says nothing of how often it obeys the contract or is right: "
        "`factory evaluate` measures that.",
        "",
        "| part | nats a token | probability of a token | macro-F1 of the label head |",
        "| --- | --- | --- | --- |",
        *(_line(part, found) for part, found in record["results"].items()),
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in applying(record).items()),
        "",
        "## Data",
        "",
        *(f"- {name}: {_counts(parts, record['learnt'][name])}" for name, parts in record["pools"].items()),
        *(f"- {note}" for note in record["notes"]),
        f"- licence of the data: {record['licence'] or 'not known'}",
        "- licence of the base: see where it comes from; it binds the merged model too",
        "",
        "## Use",
        "",
        *_use(taught[0]),
        "The prompt is the `sft` view's: the system's words, then the question. A template that knows no turn of the system "
        "(Gemma's older ones, Mistral's) needs its words put before the question, with an empty line between: so it was taught. "
        "`SET=merge=1` writes the whole model into `merged`, which transformers loads without peft. The terms of the loss beside "
        "plain language modelling are ours, inspired by EmoLoom-2B.",
        "",
    ]
    return "\n".join(lines)


def applying(record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decided something, with what was found for those that stand for it: the rate and the precision."""
    made = SlmRecipe(**record["recipe"])
    idle = {*(OF_CLASSIFY if made.mode == "generate" else OF_GENERATE)}
    idle |= set() if made.cooling else {*_COOLING}
    idle |= {"head_rate"} if made.mode == "generate" and not made.heads else set()
    idle |= {"warmup"} if made.warmup_updates else set()
    idle |= set() if "emotion_json" in made.tasks else {"flips"}
    used = asdict(made) | {"learning_rate": made.rate, "precision": record["precision"]}
    off = ("", 0, 0.0, False)
    return {name: value for name, value in used.items() if name not in idle and (name in _ALWAYS or value not in off)}


def of_seeds(records: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """seeds.json and README.md over several models that differ in their seed."""
    part = "test" if "test" in records[0]["results"] else "validation"
    found = [record["results"][part] for record in records]
    name = "surprise" if "surprise" in found[0] else "macro_f1"
    scores = [one[name] if name == "surprise" else one[name]["value"] for one in found]
    mean = sum(scores) / len(scores)
    spread = (sum((one - mean) ** 2 for one in scores) / (len(scores) - 1)) ** 0.5
    seeds = [record["recipe"]["seed"] for record in records]
    told = {"seeds": seeds, "part": part, name: scores, "mean": mean, "standard_deviation": spread}
    lines = [
        "# Models of several seeds",
        "",
        f"`{records[0]['base']}` on `{records[0]['data']}`; {name.replace('_', ' ')} on {part}:",
        "",
        "| model | " + name.replace("_", " ") + " |",
        "| --- | --- |",
        *(f"| [seed {seed}](seed-{seed}/README.md) | {score:.4f} |" for seed, score in zip(seeds, scores, strict=True)),
        f"| mean | {mean:.4f} |",
        f"| standard deviation | {spread:.4f} |",
        "",
    ]
    return {"README.md": "\n".join(lines).encode(), "seeds.json": orjson.dumps(told, option=orjson.OPT_INDENT_2)}


def _line(part: str, found: Mapping[str, Any]) -> str:
    head = f"{found['label_head_macro_f1']:.3f}" if "label_head_macro_f1" in found else ""
    return f"| {part} | {found['surprise']:.4f} | {found['probability']:.3g} | {head} |"


def _counts(parts: Mapping[str, int], learnt: Mapping[str, int]) -> str:
    """Rows of a pool, of its training part those that were learnt from."""
    tasks = ", ".join(f"{task} {count:,}" for task, count in learnt.items())
    held = ", ".join(f"{part} {count:,}" for part, count in parts.items() if part != "train")
    return f"learnt from {sum(learnt.values()):,} of {parts['train']:,} training rows ({tasks or 'none'}); {held} rows"


def _use(task: str) -> list[str]:
    """Python that runs where the card lies, with a question of a task that was taught."""
    turns: questions.Turns = [("system", contract.SYSTEM), ("user", "I never thought you would come back!")]
    if task == "mcq_eu":
        turns = questions.understanding({**_SCENE, **_FEELS}, True)[:2]
    if task == "mcq_ea":
        turns = questions.application({**_SCENE, **_HELPS}, True)[:2]
    return [
        "```python",
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer",
        "",
        'FOLDER = "."  # where adapter_config.json lies',
        'model = AutoPeftModelForCausalLM.from_pretrained(FOLDER, dtype="auto")  # loads the base too',
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
        "messages = [",
        *(f'    {{"role": "{role}", "content": {orjson.dumps(content).decode()}}},' for role, content in turns),
        "]",
        "asked = tokenizer.apply_chat_template(",
        '    messages, add_generation_prompt=True, enable_thinking=False, return_dict=True, return_tensors="pt"',
        ")",
        "answer = model.generate(**asked, max_new_tokens=300, do_sample=False)",
        'print(tokenizer.decode(answer[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))',
        "```",
        "",
    ]
