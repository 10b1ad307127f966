"""Facts about a training from its data to its folder: what is written, what it loads as, what it is measured by."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train import tiny

from factory.benchmarks import ALL
from factory.errors import Interrupted, WrongRequest
from factory.taxonomy import LABELS

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")

from safetensors.torch import load_file, save_file  # noqa: E402

from factory.predict import Classifier  # noqa: E402
from factory.train import encoder, head, keep, loop, model, thresholds  # noqa: E402
from factory.train.course import Watcher  # noqa: E402
from factory.train.recipe import Recipe, for_rows, recipe  # noqa: E402

Base = Callable[..., Path]
SOME = tuple(text for text, _ in tiny.sayings(20, 9))


@pytest.fixture
def how(base: Base) -> Callable[..., Recipe]:
    """A recipe for a small model."""

    def made(preset: str = "default", kind: str = "bert", **given: Any) -> Recipe:
        usual = {"learning_rate": 5e-3, "head_rate": 2e-2, "precision": "fp32", "average": 0.9, "batch": 16}
        mine = {"base": str(base(kind)), "epochs": 2}
        return recipe(preset, **(mine | (usual if preset == "default" else {}) | given))

    return made


@pytest.fixture(scope="module")
def trained(base: Base, rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learnt something."""
    out = tmp_path_factory.mktemp("models") / "one"
    made = recipe(
        base=str(base()),
        learning_rate=5e-3,
        head_rate=2e-2,
        precision="fp32",
        average=0.9,
        epochs=16,
        batch=8,
        patience=0,
    )
    encoder.train(str(rows), out, made)
    return out


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _record(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "training.json").read_text("utf-8")))


# The folder ---------------------------------------------------------------------------------------------------------------


def test_the_folder_holds_standard_files_and_nothing_else(trained: Path) -> None:
    """No pickle, no checkpoint, no lock; the curves are TensorBoard's own files."""
    names = [name for name in _files(trained) if not name.startswith("tensorboard/")]
    assert set(names) >= {"README.md", "config.json", "model.safetensors", "thresholds.json", "training.json"}
    assert all(Path(name).suffix in (".json", ".md", ".safetensors", ".txt") for name in names)
    assert not (trained / ".training").exists() and not (trained / ".lock").exists()
    for name in names:
        assert (trained / name).read_bytes()[:2] not in (b"\x80\x02", b"PK")  # how pickles and torch's zips begin


def test_transformers_alone_loads_it_and_classifies(trained: Path) -> None:
    """AutoModelForSequenceClassification and the pipeline; classes in taxonomy order; sigmoids, which sum to anything."""
    from transformers import AutoModelForSequenceClassification, pipeline

    with model.quiet():
        net = AutoModelForSequenceClassification.from_pretrained(trained)
        classify = pipeline("text-classification", model=str(trained), top_k=None)
    assert tuple(net.config.id2label[n] for n in range(28)) == LABELS
    assert net.config.label2id["neutral"] == LABELS.index("neutral")
    assert net.config.problem_type == "multi_label_classification"
    (found,) = classify(["the hammer in the boat"])
    assert {one["label"] for one in found} == set(LABELS)
    assert found[0]["label"] == "anger" and abs(sum(one["score"] for one in found) - 1) > 0.01


def test_predictions_are_those_of_the_pipeline_at_the_temperature(trained: Path) -> None:
    """sigmoid(logit / T) where the pipeline has sigmoid(logit)."""
    from transformers import pipeline

    with model.quiet():
        classify = pipeline("text-classification", model=str(trained), top_k=None)
    classifier = Classifier.of(trained)
    mine = classifier.probabilities(SOME)
    theirs = np.array(
        [[{o["label"]: o["score"] for o in row}[label] for label in LABELS] for row in classify(list(SOME))]
    )
    logits = np.log(theirs / (1 - theirs))
    assert np.allclose(mine, 1 / (1 + np.exp(-logits / classifier.thresholds.temperature)), atol=1e-4)


def test_the_record_says_what_was_measured_and_the_card_repeats_it(trained: Path) -> None:
    """Rows, thresholds, test with its interval, history, and what is in the data; all read from one record."""
    record, card = _record(trained), (trained / "README.md").read_text("utf-8")
    assert record["rows"] == {"train": 240, "validation": 60, "test": 60, "trained_on": 240}
    found = record["results"]["test"]["macro_f1"]
    assert f"| macro f1 | {found['value']:.3f} | {found['low']:.3f} to {found['high']:.3f} |" in card
    assert record["fingerprint"] in card and "licence of the data" in card and "calibration error" in card
    assert len(record["history"]["score"]) == 16 and record["precision"] == "fp32"
    assert sorted(record["files"]) == sorted(
        {*_files(trained)} - {n for n in _files(trained) if "/" in n} - {"training.json"}
    )


def test_it_was_measured_by_what_it_predicts(trained: Path, rows: Path) -> None:
    """The test figure of the record is that of `Classifier`, labels and all."""
    from factory.train import data, thresholds

    test, classifier = data.load(str(rows)).test, Classifier.of(trained)
    kept = classifier.thresholds.keep(classifier.probabilities(test.texts))
    value = thresholds.macro_f1(kept, test.hard)
    assert value == pytest.approx(_record(trained)["results"]["test"]["macro_f1"]["value"], abs=1e-6)
    assert value > 0.08  # of the 28, six occur: 6/28 is the most


def test_the_curves_hold_loss_rate_and_score(trained: Path) -> None:
    """What TensorBoard shows."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "validation/macro_f1"} <= set(events.Tags()["scalars"])
    told = [one.value for one in events.Scalars("validation/macro_f1")]
    assert told == pytest.approx(_record(trained)["history"]["score"], abs=1e-6)


# Thresholds ---------------------------------------------------------------------------------------------------------------


def test_thresholds_and_temperature_are_those_of_validation_whatever_test_holds(
    rows: Path, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """The same training with all labels of its test part exchanged keeps the same thresholds, and another figure."""
    from pyarrow import parquet

    told = []
    for name in ("as-is", "exchanged"):
        folder = tiny.dataset(tmp_path / name)
        if name == "exchanged":
            (file,) = (folder / "contextless").glob("test*")
            table = parquet.read_table(file).to_pylist()
            moved = [
                tiny.row(
                    row["id"], row["utterance"], ["joy"] if "joy" not in row["labels"] else ["fear"], row["source_id"]
                )
                for row in table
            ]
            tiny.write(file, moved)
        encoder.train(str(folder), tmp_path / f"{name}-model", how(epochs=4))
        told.append(json.loads((tmp_path / f"{name}-model" / "thresholds.json").read_text()))
    figures = [
        _record(tmp_path / f"{name}-model")["results"]["test"]["macro_f1"]["value"] for name in ("as-is", "exchanged")
    ]
    assert {k: v for k, v in told[0].items() if k != "tuned_on"} == {
        k: v for k, v in told[1].items() if k != "tuned_on"
    }
    assert told[0]["tuned_on"] == "as-is validation" and figures[0] > figures[1] + 0.02


def test_the_temperature_comes_first_and_the_thresholds_are_of_the_scaled_probabilities(
    trained: Path, rows: Path
) -> None:
    """As they are used: tuning again on the classifier's own probabilities gives the same."""
    from factory.train import data, thresholds

    validation, classifier = data.load(str(rows)).validation, Classifier.of(trained)
    again = thresholds.tuned(classifier.probabilities(validation.texts), validation.hard, LABELS, "per_class", "")
    assert again.shared == classifier.thresholds.shared
    assert again.per_class == pytest.approx(classifier.thresholds.per_class, abs=1e-3)
    plain = loop.logits(
        classifier._model,
        classifier._tokenizer,
        model.Shown(tokenizer=classifier._tokenizer, max_length=128, token_types=True).tokens(
            validation.texts, [""] * 60
        ),
    )
    assert thresholds.temperature(plain, validation.hard) == pytest.approx(classifier.thresholds.temperature, abs=1e-3)


# Again --------------------------------------------------------------------------------------------------------------------


def test_a_finished_model_is_not_trained_again(trained: Path, rows: Path) -> None:
    """The same call says so and changes nothing; it may come with another path to the same data."""
    before, said = {n: (trained / n).read_bytes() for n in _files(trained)}, []
    made = Recipe(**_record(trained)["recipe"])
    (found,) = encoder.train(f"{rows}/", trained, made, watcher=Watcher(says=said.append))
    assert {n: (trained / n).read_bytes() for n in _files(trained)} == before
    assert any("is finished already" in line for line in said) and found.test is not None


def test_another_training_in_the_same_folder_is_refused_and_named(trained: Path, rows: Path, tmp_path: Path) -> None:
    """Another setting, or other data; what stands there stays."""
    before = _record(trained)
    made = Recipe(**before["recipe"])
    with pytest.raises(WrongRequest, match=r"epochs was 16, is 17.*FRESH=1"):
        encoder.train(str(rows), trained, replace(made, epochs=17))
    with pytest.raises(WrongRequest, match="data was"):
        encoder.train(str(tiny.dataset(tmp_path / "other", (50, 20, 20))), trained, made)
    assert _record(trained) == before


def test_fresh_takes_away_what_training_wrote_and_nothing_else(
    rows: Path, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """A file of somebody else's stays, results of the old model go."""
    out = tmp_path / "model"
    encoder.train(str(rows), out, how(epochs=1))
    (out / "mine.txt").write_text("mine")
    (out / "results.json").write_text("{}")
    encoder.train(str(rows), out, how(epochs=1, learning_rate=1e-3), fresh=True)
    assert (out / "mine.txt").exists() and not (out / "results.json").exists()
    assert _record(out)["recipe"]["learning_rate"] == 1e-3


def test_two_trainings_do_not_share_a_folder(rows: Path, tmp_path: Path, how: Callable[..., Recipe]) -> None:
    """The second is told who works there."""
    out = tmp_path / "model"
    told = []

    def report(_: loop.Report) -> None:
        if not told:
            with pytest.raises(WrongRequest, match="another process") as caught:
                encoder.train(str(rows), out, how(epochs=1))
            told.append(str(caught.value))

    encoder.train(str(rows), out, how(epochs=1), watcher=Watcher(reports=report))
    assert told


def test_a_base_that_changed_since_is_not_gone_on_from(rows: Path, tmp_path: Path, how: Callable[..., Recipe]) -> None:
    """The same name with other weights: the checkpoint's would be put onto them."""
    made = how()
    shutil.copytree(made.base, tmp_path / "base")
    made = replace(made, base=str(tmp_path / "base"))
    with pytest.raises(Interrupted):
        encoder.train(str(rows), tmp_path / "out", made, watcher=Watcher(stops=lambda: True))
    weights = load_file(tmp_path / "base/model.safetensors")
    save_file(
        {name: one + 0.01 for name, one in weights.items()}, tmp_path / "base/model.safetensors", {"format": "pt"}
    )
    with pytest.raises(WrongRequest, match="whose files have changed since; give another OUT, or FRESH=1"):
        encoder.train(str(rows), tmp_path / "out", made)


# Ways of training ---------------------------------------------------------------------------------------------------------


def test_several_seeds_give_a_model_each_and_their_mean(rows: Path, tmp_path: Path, how: Callable[..., Recipe]) -> None:
    """Mean and standard deviation by hand, in seeds.json and the card; stopped in the second one it goes on there."""
    out, calls = tmp_path / "models", [0]

    def stops() -> bool:
        calls[0] += 1
        return calls[0] == 20  # 15 updates an epoch, one epoch each

    with pytest.raises(Interrupted):
        encoder.train(str(rows), out, how(epochs=1), (0, 1, 2), Watcher(stops=stops))
    assert (out / "seed-0" / "training.json").exists() and (out / "seed-1" / ".training").is_dir()
    found = encoder.train(str(rows), out, how(epochs=1), (0, 1, 2))
    values = [one.test.value for one in found if one.test]
    told = json.loads((out / "seeds.json").read_text())
    assert told["macro_f1"] == values and len(set(values)) > 1 and told["seeds"] == [0, 1, 2]
    assert told["mean"] == pytest.approx(np.mean(values)) and told["standard_deviation"] == pytest.approx(
        np.std(values, ddof=1)
    )
    card = (out / "README.md").read_text()
    assert f"| mean | {told['mean']:.3f} |" in card and "seed-2/README.md" in card
    assert len({one.record["fingerprint"] for one in found}) == 1


def test_two_stages_go_on_from_the_first_model(
    trained: Path, rows: Path, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """INIT with the same classes: its head goes on too, at the rate of the other layers, and the thresholds are new."""
    out, first = tmp_path / "two", json.loads((trained / "thresholds.json").read_text())
    before = Classifier.of(trained).probabilities(SOME)
    made = recipe(init=str(trained), learning_rate=1e-9, epochs=1, precision="fp32", average=0.0)
    encoder.train(str(tiny.dataset(tmp_path / "other", (60, 40, 20))), out, made)
    net = Classifier.of(out)
    again = Classifier.of(trained)
    assert torch.allclose(net._model.classifier.weight, again._model.classifier.weight, atol=1e-6)
    assert torch.allclose(net._model.classifier.bias, again._model.classifier.bias, atol=1e-6)
    assert before.shape == net.probabilities(SOME).shape
    second = json.loads((out / "thresholds.json").read_text())
    assert second["tuned_on"] == "other validation" and second["per_class"] != first["per_class"]
    assert f"going on from {trained}" in (out / "README.md").read_text()


def test_other_classes_get_a_new_head_on_the_first_models_encoder(trained: Path, tmp_path: Path) -> None:
    """From the 28 to a benchmark of seven classes, one a row: the most probable is the answer."""
    folder = tmp_path / "meld"
    folder.mkdir()
    names = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
    for number, part in enumerate(("train", "dev", "test")):
        told = [
            f"{n},{text},A,{labels[0]},neutral,{number}{n},0"
            for n, (text, labels) in enumerate(tiny.sayings(60, number, ("joy", "anger", "fear")))
        ]
        (folder / f"{part}_sent_emo.csv").write_text("\n".join([",".join(names), *told]) + "\n")
    (found,) = encoder.train(
        f"meld:{folder}", tmp_path / "out", recipe(init=str(trained), learning_rate=5e-3, epochs=2, batch=16)
    )
    classifier = Classifier.of(tmp_path / "out")
    assert classifier.classes == ALL["meld"].classes and classifier.thresholds.use == "argmax"
    assert {len(labels) for labels in classifier.labels(classifier.probabilities(SOME))} == {1}
    assert "single-label" in (found.folder / "README.md").read_text()


def test_the_published_recipe_is_as_published(rows: Path, tmp_path: Path, how: Callable[..., Recipe]) -> None:
    """METHODS 2.6: 128 tokens and 64 rows, 512 and 32 with context; plain head, last weights, one threshold."""
    made = how("paper")
    plain, contextual = for_rows(made, False), for_rows(made, True)
    assert (plain.max_length, plain.batch, contextual.max_length, contextual.batch) == (128, 64, 512, 32)
    assert (recipe("paper").epochs, made.learning_rate, made.weight_decay, made.warmup) == (10, 2e-5, 0.0, 0.0)
    assert (made.loss, made.schedule, made.keep, made.thresholds) == ("bce", "linear", "last", "global")
    assert made.fixed_length and not (made.prior or made.mean_layer or made.head_rate or made.average or made.patience)
    assert made.layer_decay == 1.0 and made.pos_weight == 0 and made.precision == "fp32"
    out = tmp_path / "paper"
    encoder.train(str(rows), out, made)
    told = json.loads((out / "thresholds.json").read_text())
    assert told["use"] == "global" and set(Classifier.of(out).thresholds.values()) == {told["global"]}


def test_contextual_rows_are_learnt_as_pairs_and_predicted_as_pairs(tmp_path: Path, how: Callable[..., Recipe]) -> None:
    """The label stands in the context alone: a model that sees it learns, one that does not cannot."""
    parts = {}
    for number, part in enumerate(("train", "validation", "test")):
        told = list(tiny.sayings((240, 60, 60)[number], number, ("joy", "anger")))
        parts[part] = [
            {
                **tiny.row(f"{part}{n}", f"it is so no{number}x{n}", labels, f"{part}-{n % 10}", context=text),
                "kind": ("original", "rewritten")[n % 3 == 0],
            }
            for n, (text, labels) in enumerate(told)
        ]
        tiny.write(tmp_path / "set" / "contextual" / f"{part}-00000-of-00001.parquet", parts[part], True)
    found = {
        context: encoder.train(
            str(tmp_path / "set"),
            tmp_path / f"model-{context}",
            how(view="contextual", context=context, epochs=10, patience=0, batch=8),
        )[0]
        for context in (True, False)
    }
    assert found[True].test and found[False].test and found[True].test.value > found[False].test.value + 0.01
    classifier = Classifier.of(tmp_path / "model-True")
    rewritten = [one for one in parts["test"] if one["kind"] == "rewritten"]
    before = [f"{one['character']}\n{one['context']}" for one in rewritten]
    said = classifier.thresholds.keep(classifier.probabilities([one["utterance"] for one in rewritten], before))
    alone = thresholds.macro_f1(said, np.asarray([np.eye(28)[one["label_ids"]].max(axis=0) for one in rewritten]))
    measured = found[True].record["results"]
    assert measured["test_rewritten"]["macro_f1"]["value"] == pytest.approx(alone)
    assert f"macro-F1 {alone:.3f} (" in (tmp_path / "model-True" / "README.md").read_text()
    assert classifier.context and classifier.max_length == 128  # all that the base reads
    rows = [classifier.probabilities(["it is so"], [context])[0] for context in ("the hammer", "the sunshine")]
    joy, anger = LABELS.index("joy"), LABELS.index("anger")
    assert rows[0][anger] > rows[0][joy] and rows[1][joy] > rows[1][anger]
    assert not Classifier.of(tmp_path / "model-False").context


def test_the_card_names_the_settings_that_were_used_and_no_others(trained: Path) -> None:
    """Not the zero that stands for a number found later, nor the constants of another loss."""
    card = (trained / "README.md").read_text()
    assert "- batch: 8\n" in card and "- max_length: 128\n" in card and "- precision: auto" not in card
    assert not any(f"- {name}:" in card for name in ("gamma", "clip", "ismote", "alpha"))


def test_the_program_in_the_card_runs_where_the_card_lies(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there."""
    monkeypatch.chdir(trained)
    exec((trained / "README.md").read_text("utf-8").split("```python\n")[1].split("```")[0], {})
    assert "'label': 'joy'" in capsys.readouterr().out


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "config.json",
        "slm.json",
        "pytorch_model.bin",
        "train-00000.parquet",
        "training.json",
        "seed-1/seeds.json",
    ],
)
def test_files_of_somebody_else_are_neither_overwritten_nor_thrown_away(
    rows: Path, tmp_path: Path, how: Callable[..., Recipe], name: str, fresh: bool
) -> None:
    """A dataset's card, another model, a record of something else: the folder is refused as it stands, with a lock too."""
    (tmp_path / ".lock").touch()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(WrongRequest, match=f"holds {Path(name).name}, which no training of ours wrote"):
        encoder.train(str(rows), tmp_path, how(), (1, 2), fresh=fresh)
    assert (tmp_path / name).read_text() == "{}"


def test_fresh_takes_away_what_is_ours_and_goes_on_where_it_was_killed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the record, results, folders of ours; notes and folders of others stay. What is half gone is no model."""
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    for name in ("notes.txt", "results.json", "merged/model.safetensors", "seed-3/merged/mine"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("x")
    monkeypatch.setattr("factory.train.keep.shutil.rmtree", lambda *_, **__: 1 / 0)  # the power fails
    with pytest.raises(ZeroDivisionError):
        keep.throw_away(out, ("merged",))
    monkeypatch.undo()
    assert not (out / keep.DONE).exists()
    keep.refuse_other(out)  # still ours
    keep.throw_away(out, ("merged",))
    left = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} - {".lock"}
    assert {name for name in left if not name.startswith("tensorboard/")} == {"notes.txt", "seed-3/merged/mine"}


def test_one_model_and_several_are_not_mixed_in_a_folder(
    trained: Path, rows: Path, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """Finished or only begun."""
    with pytest.raises(WrongRequest, match="holds one model"):
        encoder.train(str(rows), trained, how(), (0, 1))
    for place, several, said in (
        ("one", True, "holds one model"),
        ("two/seed-1", False, "holds models of several seeds"),
    ):
        keep.begin(tmp_path / place, {}, "")
        with pytest.raises(WrongRequest, match=said):
            keep.refuse_mixed(tmp_path / place.split("/")[0], several)


def test_a_model_to_go_on_from_is_not_thrown_away(trained: Path, rows: Path, how: Callable[..., Recipe]) -> None:
    """OUT and INIT are one folder, or OUT holds INIT."""
    for out in (trained, trained.parent):
        with pytest.raises(WrongRequest, match="which would be lost"):
            encoder.train(str(rows), out, how(init=str(trained)), fresh=True)


@pytest.mark.parametrize("said", ["{}", "[1]", '{"recipe": {}, "fingerprint": "x"}'])
def test_a_record_that_is_none_is_one_sentence(tmp_path: Path, said: str) -> None:
    (tmp_path / "training.json").write_text(said)
    with pytest.raises(WrongRequest, match="is no record of a training of ours"):
        keep.record(tmp_path / "training.json")


@pytest.mark.parametrize("loss", ["soft", "focal", "asl"])
def test_every_loss_trains(rows: Path, tmp_path: Path, how: Callable[..., Recipe], loss: str) -> None:
    """And says what it was."""
    (found,) = encoder.train(str(rows), tmp_path / loss, how(loss=loss, pos_weight=0.5))
    losses = found.record["history"]["loss"]
    assert losses[-1] < losses[0] and f"- loss: {loss}" in (found.folder / "README.md").read_text()


@pytest.mark.parametrize("sampling", ["undersample", "oversample"])
def test_sampling_is_of_the_training_part_alone(
    rows: Path, tmp_path: Path, how: Callable[..., Recipe], sampling: str
) -> None:
    """Told in the notes; the other parts are as they were."""
    (found,) = encoder.train(str(rows), tmp_path / "m", how(sampling=sampling, epochs=1))
    assert found.record["rows"]["validation"] == 60 and found.record["rows"]["trained_on"] != 0
    assert any(note.startswith(f"{sampling}: 240 training rows became") for note in found.record["notes"])


def test_a_frozen_encoder_learns_a_head_with_made_rows_and_nothing_else_changes(
    base: Base, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """ISMOTE for a rare label; the encoder's weights are those of the base."""
    folder = tiny.dataset(tmp_path / "set")
    rare = [tiny.row(f"r{n}", f"a grave at the river r{n}", ["grief"], "train-1") for n in range(8)]
    often = [tiny.row(f"o{n}", f"a table at the river o{n}", ["neutral"], "train-2") for n in range(300)]
    tiny.write(
        folder / "contextless" / "train-00000-of-00001.parquet",
        rare + often + [tiny.row(f"j{n}", f"some sunshine o{n}", ["joy"], "train-3") for n in range(200)],
    )
    (found,) = encoder.train(str(folder), tmp_path / "m", how(freeze=True, sampling="ismote", epochs=3, patience=0))
    assert any(note.startswith("ismote (paper): ") for note in found.record["notes"])
    net = Classifier.of(tmp_path / "m")._model
    plain = model.load(str(base()), LABELS).model
    mine, theirs = (one.bert.encoder.layer[1].output.dense.weight for one in (net, plain))
    assert torch.equal(mine, theirs) and found.record["history"]["loss"][-1] < found.record["history"]["loss"][0]


def test_embeddings_are_in_the_order_of_their_rows(base: Base) -> None:
    """However they are put together by length."""
    found = model.load(str(base()), LABELS)
    shown = model.Shown(tokenizer=found.tokenizer, max_length=64, token_types=True)
    rows = shown.tokens(SOME, [""] * len(SOME))
    found.model.eval()
    made = head.embeddings(found.model, found.tokenizer, rows)
    apart = torch.cat([head.embeddings(found.model, found.tokenizer, [row]) for row in rows])
    assert torch.allclose(made, apart, atol=1e-5) and made.shape == (20, 32)


# Before anything is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"base": "nowhere"}, {"init": "nowhere"}])
def test_what_is_wrong_is_said_before_anything_is_written(rows: Path, tmp_path: Path, given: dict[str, str]) -> None:
    """No folder is made."""
    with pytest.raises(WrongRequest, match="nowhere"):
        encoder.train(str(rows), tmp_path / "m", recipe(**given))
    assert not (tmp_path / "m").exists()


def test_a_folder_that_holds_something_else_is_no_place_for_a_model(
    rows: Path, tmp_path: Path, how: Callable[..., Recipe]
) -> None:
    """A run, a project, or a file."""
    (tmp_path / "run.toml").touch()
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(WrongRequest, match="OUT="):
            encoder.train(str(rows), out, how(epochs=1), fresh=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "mse"}, "LOSS=mse"),
        ({"learning_rate": 2.0}, "learning_rate = 2.0 is not between"),
        ({"max_length": 4}, "max_length = 4"),
        ({"sampling": "ismote"}, "freeze=1"),
        ({"epochs": 0}, "epochs = 0"),
        ({"ismote": "other"}, "ISMOTE=other"),
        ({"nothing": 1}, "no training setting nothing"),
    ],
)
def test_a_setting_that_cannot_be_is_named(given: dict[str, Any], said: str) -> None:
    """In one sentence."""
    with pytest.raises(WrongRequest) as caught:
        recipe(**given)
    assert said in str(caught.value)
