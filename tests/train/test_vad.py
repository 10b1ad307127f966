"""Facts about the VAD regressor and the table of words: what is learnt, what is told of it, how a finished one is used."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from train import vad_rows

from factory import predict
from factory.errors import Interrupted, WrongRequest
from factory.vad import Regressor, WordTable, is_one

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")

from safetensors.torch import load_file, save_file  # noqa: E402

from factory.train import vad, vad_card, vad_figures, vad_words  # noqa: E402
from factory.train.course import Watcher  # noqa: E402

Base = Callable[..., Path]
REAL = Path(__file__).resolve().parents[2] / "../shared/data/emobank"
HOW: dict[str, Any] = {"learning_rate": 5e-3, "head_rate": 2e-2, "average": 0.9, "batch": 16, "precision": "fp32"}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small file in EmoBank's form."""
    return vad_rows.write(tmp_path_factory.mktemp("emobank") / "one")


@pytest.fixture(scope="module")
def trained(base: Base, ratings: Path, tmp_path_factory: pytest.TempPathFactory) -> vad.Trained:
    """A small regressor that has learnt what the words give away."""
    made = vad.recipe(base=str(base()), epochs=12, patience=0, **HOW)
    (one,) = vad.train(f"emobank:{ratings}", tmp_path_factory.mktemp("models") / "vad", made)
    return one


# What is learnt -----------------------------------------------------------------------------------------------------------


def test_a_small_regressor_learns_each_dimension(trained: vad.Trained) -> None:
    """On the test part r is far from the 0 of a constant, and the errors are smaller than the constant's."""
    found = trained.record["results"]["test"]
    for name in vad.DIMENSIONS:
        assert found[name]["pearson"]["value"] > 0.7
        assert found[name]["constant"]["pearson"] == 0 and found[name]["constant"]["concordance"] == pytest.approx(
            0, abs=1e-9
        )
        assert found[name]["mae"]["value"] < found[name]["constant"]["mae"]
        assert found[name]["skill"] > 0.3
    assert found["pooled_one_minus_rmse"] > found["constant_pooled_one_minus_rmse"]


def test_the_folder_is_a_standard_regressor_whose_outputs_are_the_values(trained: vad.Trained) -> None:
    """transformers alone gives what ours gives: from 0 to 1, without a function of ours."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    net = AutoModelForSequenceClassification.from_pretrained(trained.folder).eval()
    assert net.config.problem_type == "regression"
    assert list(net.config.id2label.values()) == ["valence", "arousal", "dominance"]
    tokenizer = AutoTokenizer.from_pretrained(trained.folder)
    with torch.inference_mode():
        said = net(**tokenizer("the old hammer", return_tensors="pt")).logits[0].numpy()
    assert np.allclose(said, Regressor.of(trained.folder).vad(["the old hammer"])[0], atol=1e-5)


def test_validation_chooses_the_epoch(trained: vad.Trained) -> None:
    """The weights are those of the epoch with the best mean r there, and its r stands in the results."""
    history, results = trained.record["history"], trained.record["results"]
    best = int(np.argmax(history["score"]))
    assert history["best_epoch"] == best + 1
    assert results["validation"]["mean_pearson"]["value"] == pytest.approx(history["score"][best], abs=1e-4)


def test_going_on_from_a_regressor_starts_with_what_it_says(trained: vad.Trained, ratings: Path) -> None:
    """INIT unfolds the scale of the last layer, so that what is learnt from is what was learnt."""
    made = vad.recipe(init=str(trained.folder), **HOW)
    begun = vad.Lesson(vad.load(f"emobank:{ratings}"), made, vad.team.here())
    part = begun.data.parts.test
    found = vad.loop.logits(begun.net, begun.tokenizer, begun.tokens(part))
    mine = found * begun.scale.spread + begun.scale.mean
    assert np.allclose(mine.clip(0, 1), Regressor.of(trained.folder).vad(part.texts), atol=1e-4)


def test_the_losses_are_what_their_formulas_say() -> None:
    """MSE is the mean over the dimensions; CCC of equal columns is 1, of a doubled one 0.8, of the opposite -1."""
    truth = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    said = torch.tensor([[1.0, 2.0, -1.0], [-1.0, -2.0, 1.0]])
    assert vad.loss_of("mse")(said, truth).tolist() == pytest.approx([(0 + 1 + 4) / 3] * 2)
    assert vad.concordance(said, truth).tolist() == pytest.approx([1, 0.8, -1], abs=1e-5)
    assert vad.concordance(truth + 1, truth).tolist() == pytest.approx([2 / 3] * 3, abs=1e-5)  # 2 / (1 + 1 + 1)
    assert vad.loss_of("ccc")(said, truth).tolist() == pytest.approx([(0 + 0.2 + 2) / 3] * 2, abs=1e-5)
    both = vad.loss_of("both")(said, truth)
    assert torch.equal(both, vad.loss_of("mse")(said, truth) + vad.loss_of("ccc")(said, truth))


def test_one_row_in_a_pass_has_a_loss_that_is_a_number() -> None:
    """Its CCC is 0, and the gradient is finite."""
    said = torch.ones(1, 3, requires_grad=True)
    vad.loss_of("ccc")(said, torch.zeros(1, 3)).sum().backward()
    assert said.grad is not None and torch.isfinite(said.grad).all()


def test_figures_are_those_of_a_hand_calculation() -> None:
    """Truth 0.4 and 0.6 said as 0.5 and 0.7: r 1, MAE 0.1, RMSE 0.1, CCC 2 * 0.01 / (0.01 + 0.01 + 0.01)."""
    truth = np.array([[0.4] * 3, [0.6] * 3])
    found = vad_figures.measured(truth, truth + 0.1, np.array([0.5] * 3))["valence"]
    assert found["pearson"]["value"] == pytest.approx(1)
    assert found["mae"]["value"] == pytest.approx(0.1) and found["one_minus_rmse"]["value"] == pytest.approx(0.9)
    assert found["concordance"]["value"] == pytest.approx(2 / 3)
    assert found["constant"]["one_minus_rmse"] == pytest.approx(0.9) and found["skill"] == pytest.approx(0)


@pytest.mark.skipif(not REAL.is_dir(), reason="EmoBank is not here")
def test_a_constant_scores_on_the_real_file_what_methods_says() -> None:
    """1 - RMSE of the training mean is .914, .938, .947 and .932 over all three: what makes distances look good."""
    parts = vad.load(f"emobank:{REAL}").parts
    mean = parts.train.hard.astype(np.float64).mean(axis=0)
    found = vad_figures.measured(parts.test.hard, np.broadcast_to(mean, parts.test.hard.shape), mean)
    assert [round(found[name]["one_minus_rmse"]["value"], 3) for name in vad.DIMENSIONS] == [0.914, 0.938, 0.947]
    assert round(found["pooled_one_minus_rmse"], 3) == 0.932
    assert len(parts.test) == 1000 and any("repeat a text" in note for note in parts.notes)


# Folder -------------------------------------------------------------------------------------------------------------------


def test_a_training_that_is_stopped_goes_on_to_the_same_weights(base: Base, ratings: Path, tmp_path: Path) -> None:
    """Asked to stop after twenty updates, it writes a checkpoint; the same call ends as one that was left alone."""
    made = vad.recipe(base=str(base()), epochs=2, **HOW)
    left = [20]

    def stop() -> bool:
        left[0] -= 1
        return left[0] == 0

    with pytest.raises(Interrupted):
        vad.train(f"emobank:{ratings}", tmp_path / "parts", made, watcher=Watcher(stops=stop))
    assert not is_one(tmp_path / "parts")
    for name in ("parts", "whole"):
        vad.train(f"emobank:{ratings}", tmp_path / name, made)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("parts", "whole"))
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)
    assert not (tmp_path / "parts" / ".training").exists()


def test_several_seeds_have_a_folder_each_and_their_mean_above(base: Base, ratings: Path, tmp_path: Path) -> None:
    """And the same call again trains nothing."""
    made = vad.recipe(base=str(base()), epochs=1, limit=64, **HOW)
    first = vad.train(f"emobank:{ratings}", tmp_path / "m", made, (0, 1))
    assert [one.folder.name for one in first] == ["seed-0", "seed-1"] and all(is_one(one.folder) for one in first)
    assert "| mean |" in (tmp_path / "m" / "README.md").read_text("utf-8")
    told = json.loads((tmp_path / "m" / "seeds.json").read_text("utf-8"))
    values = [one.record["results"]["test"]["mean_pearson"]["value"] for one in first]
    assert told["seeds"] == [0, 1] and told["mean_pearson"] == values and told["mean"] == pytest.approx(np.mean(values))
    said: list[str] = []
    vad.train(f"emobank:{ratings}", tmp_path / "m", made, (0, 1), Watcher(says=said.append))
    assert sum("is finished already" in line for line in said) == 2


def test_another_training_in_the_same_folder_is_refused(trained: vad.Trained, ratings: Path, base: Base) -> None:
    """Its sentence names what differs."""
    made = vad.recipe(base=str(base()), epochs=12, patience=0, loss="ccc", **HOW)
    with pytest.raises(WrongRequest, match="loss was 'mse', is 'ccc'"):
        vad.train(f"emobank:{ratings}", trained.folder, made)


def test_an_out_of_others_is_refused_and_stays_as_it_is(trained: vad.Trained, ratings: Path, tmp_path: Path) -> None:
    """Files of somebody else, the model to go on from, one model where several are asked for, a record that is none."""
    (tmp_path / "words.tsv").write_text("mine", "utf-8")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "training.json").write_text('{"recipe": {}, "fingerprint": "x"}', "utf-8")
    made, again = vad.recipe(**HOW), vad.recipe(init=str(trained.folder), **HOW)
    cases: list[tuple[Path, Any, tuple[int, ...], bool, str]] = [
        (tmp_path, made, (0,), False, "holds words.tsv, which no training of ours wrote"),
        (trained.folder, again, (0,), True, "is or holds INIT="),
        (trained.folder.parent, again, (0,), True, "is or holds INIT="),
        (trained.folder, made, (0, 1), False, "holds one model"),
        (tmp_path / "half", made, (0,), False, "no training of ours wrote"),
    ]
    for out, how, seeds, fresh, said in cases:
        before = sorted(out.rglob("*"))
        with pytest.raises(WrongRequest, match=said) as found:
            vad.train(f"emobank:{ratings}", out, how, seeds, fresh=fresh)
        assert "\n" not in str(found.value) and sorted(out.rglob("*")) == before


def test_the_card_says_licence_figures_and_the_constant(trained: vad.Trained) -> None:
    """As the record has them."""
    card = (trained.folder / "README.md").read_text("utf-8")
    found = trained.record["results"]["test"]["valence"]
    assert "license: cc-by-sa-4.0" in card and "CC BY-SA 4.0 (EmoBank" in card
    assert f"| valence | {found['pearson']['value']:.3f}" in card
    assert f"{found['constant']['one_minus_rmse']:.3f}" in card
    note = json.loads((trained.folder / "vad.json").read_text("utf-8"))
    assert note["licence"] == "CC BY-SA 4.0" and note["range"] == [0, 1]


def test_the_program_in_the_card_runs_where_the_card_lies(
    trained: vad.Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there: three values."""
    monkeypatch.chdir(trained.folder)
    exec((trained.folder / "README.md").read_text("utf-8").split("```python\n")[1].split("```")[0], {})
    assert len(re.findall(r"0\.\d+", capsys.readouterr().out)) == 3


def test_the_card_says_that_rows_were_left_out(trained: vad.Trained) -> None:
    """Only where they were."""
    record = dict(trained.record)
    assert "- limit" not in vad_card.written(record)
    some = record | {"recipe": record["recipe"] | {"limit": 64}}
    assert "- limit: at most 64 rows of train are learnt from\n" in vad_card.written(some)


def test_predict_says_vad_for_a_regressor(trained: vad.Trained) -> None:
    """v, a and d from 0 to 1, and sunshine is better than a cellar."""
    one, other = predict.answers(trained.folder, [("the sunshine", ""), ("the cellar", "")])
    assert list(one) == ["text", "vad"] and list(one["vad"]) == ["v", "a", "d"]
    assert one["vad"]["v"] > 0.5 > other["vad"]["v"]
    assert list(predict.answers(trained.folder, [])) == []


def test_a_regressor_is_no_classifier(trained: vad.Trained) -> None:
    """Read for labels it is refused, and thresholds are not made up."""
    with pytest.raises(WrongRequest, match="gives values"):
        predict.Classifier.of(trained.folder)


# What cannot be -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loss": "bce"}, "LOSS=bce is not known for TASK=vad"),
        ({"pos_weight": 0.5}, "pos_weight decides nothing"),
        ({"epochs": 0}, "epochs = 0"),
        ({"nothing": 1}, "no training setting nothing"),
    ],
)
def test_a_setting_that_cannot_be_is_named(given: dict[str, Any], said: str) -> None:
    """In one sentence."""
    with pytest.raises(WrongRequest, match=said):
        vad.recipe(**given)


def _cut(file: Path, folder: Path, keep: int, more: str = "") -> str:
    folder.mkdir()
    (folder / "emobank.csv").write_text(file.read_text("utf-8")[:keep] + more, "utf-8")
    return f"emobank:{folder}"


def test_a_broken_file_is_one_sentence(ratings: Path, tmp_path: Path) -> None:
    """Cut off inside a line, or in quotes; a value that is no number; without a part; or nothing of VAD at all."""
    file = ratings / "emobank.csv"
    text = file.read_text("utf-8")
    end = text.index("\n", 15000)
    cases = [
        (_cut(file, tmp_path / "inside", end - 2), "is cut off: it ends inside a line"),
        (_cut(file, tmp_path / "cells", text.rindex(",", 0, end) - 3), "columns where 6 should be"),
        (_cut(file, tmp_path / "quote", end + 1, 'x_0_9,dev,3,3,3,"and then'), "no whole CSV table"),
        (_cut(file, tmp_path / "nan", end + 1, "x_0_9,dev,nan,3,3,text\n"), "'nan' is no value from 1 to 5"),
        (_cut(file, tmp_path / "part", text.index("\n", 2000) + 1), "no validation part"),
        ("goemotions:here", "has no VAD to learn from"),
        ("here", "has no VAD to learn from"),
        (f"emobank:{tmp_path / 'absent'}", "does not exist"),
    ]
    for spec, said in cases:
        with pytest.raises(WrongRequest, match=said) as found:
            vad.load(spec)
        assert "\n" not in str(found.value)


def test_a_folder_without_a_vad_model_is_one_sentence(trained: vad.Trained, base: Base, tmp_path: Path) -> None:
    """An empty folder, an encoder, a note that is broken, a classifier that says it is one, weights that are no numbers."""
    with pytest.raises(WrongRequest, match="holds no VAD model"):
        Regressor.of(tmp_path)
    with pytest.raises(WrongRequest, match="holds no VAD model"):
        Regressor.of(base())
    broken = tmp_path / "broken"
    shutil.copytree(trained.folder, broken)
    weights = load_file(broken / "model.safetensors")
    save_file({key: one * float("nan") for key, one in weights.items()}, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(WrongRequest, match="values that are no numbers"):
        Regressor.of(broken).vad(["the table"])
    config = json.loads((broken / "config.json").read_text("utf-8"))
    config["problem_type"] = "multi_label_classification"
    (broken / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(WrongRequest, match="is no VAD model"):
        Regressor.of(broken)
    deep = '{"a":' * 100_000
    for said in ("{", deep, *(f'{{"max_length": {one}}}' for one in ("Infinity", "-5", "0", "1e30", "null"))):
        (broken / "vad.json").write_text(said, "utf-8")
        with pytest.raises(WrongRequest, match="is not as make train TASK=vad writes it"):
            Regressor.of(broken)


def test_half_a_character_has_values_too(trained: vad.Trained) -> None:
    """JSON can hold half of a surrogate pair, and no tokeniser takes it."""
    assert Regressor.of(trained.folder).vad(["so \ud83d what"]).shape == (1, 3)


# Words --------------------------------------------------------------------------------------------------------------------


def test_the_table_has_the_words_that_occur_often_and_where_it_is_from(trained: vad.Trained) -> None:
    """Twenty times or more in the training part; sunshine is better than a hammer; its first lines say licence and source."""
    table = WordTable.of(trained.folder)
    assert set(vad_rows.SIGNS) <= set(table.words) and "context" not in table.words
    assert table.words["sunshine"][0] > 0.6 > 0.4 > table.words["hammer"][0]
    assert table.licence == "CC BY-SA 4.0" and "EmoBank" in table.source
    lines = (trained.folder / "words.tsv").read_text("utf-8").splitlines()
    assert all(int(line.split("\t")[4]) >= 20 for line in lines[3:])


def test_words_of_a_second_set_are_rated_by_the_regressor(base: Base, ratings: Path, tmp_path: Path) -> None:
    """A word that only GoEmotions has gets what the regressor makes of its texts; its ratings are not asked for."""
    folder = tmp_path / "goemotions"
    folder.mkdir()
    lines = [f"the zebra and sunshine number {n}\t17\tid{n}" for n in range(30)]
    for part in ("train", "dev", "test"):
        (folder / f"{part}.tsv").write_text("\n".join(lines if part == "train" else lines[:1]) + "\n", "utf-8")
    made = vad.recipe(base=str(base()), epochs=4, patience=0, **HOW)
    (one,) = vad.train(f"emobank:{ratings},goemotions:{folder}", tmp_path / "m", made)
    table = WordTable.of(one.folder)
    assert "zebra" in table.words and "GoEmotions" in table.source
    assert one.record["rows"]["train"] == 240 and one.record["more"] == 30


def test_reading_a_text_is_the_mean_of_the_words_that_it_has() -> None:
    """A word that stands twice counts twice; one that is unknown does not; a text without any is None."""
    table = WordTable(words={"good": (1.0, 0.5, 0.5), "bad": (0.0, 0.8, 0.2)})
    mean, count = table.read("Good, GOOD and bad!")
    assert count == 3 and mean is not None and np.allclose(mean, [2 / 3, 0.6, 0.4])
    assert table.read("nothing here") == (None, 0)


def test_the_ridge_recovers_words_whose_mean_is_the_value() -> None:
    """Texts made from known words, nearly no ridge: the words come back; a strong ridge gives all the mean."""
    texts = ["good", "bad", "good bad", "bad bad good", "good good bad"] * 10
    values = np.array([[_mean(text)] * 3 for text in texts])
    free = vad_words.ridge_words(texts, values, ["bad", "good"], 1e-6)
    assert free["good"][0] == pytest.approx(0.9, abs=1e-3) and free["bad"][1] == pytest.approx(0.2, abs=1e-3)
    held = vad_words.ridge_words(texts, values, ["bad", "good"], 1e9)
    assert held["good"] == pytest.approx([values.mean()] * 3, abs=1e-3)
    assert vad_words.ridge_words(texts, values, [], 1.0) == {}


def _mean(text: str) -> float:
    return float(np.mean([{"good": 0.9, "bad": 0.2}[word] for word in text.split()]))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_tokens_that_are_whole_words_have_the_values_of_the_table(base: Base, kind: str) -> None:
    """With the space before them; a word of several tokens, and a piece inside one, have none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base(kind))
    table = WordTable(words={"a": (0.1, 0.2, 0.3), "antidisestablishment": (1.0, 1.0, 1.0)})
    made = table.tokens(tokenizer, size=len(tokenizer) + 7)
    assert made.shape == (len(tokenizer) + 7, 4)
    (ident,) = tokenizer(" a", add_special_tokens=False)["input_ids"]
    assert made[ident].tolist() == pytest.approx([0.1, 0.2, 0.3, 1])
    forms = {
        token.lstrip("Ġ").lower() for token in tokenizer.convert_ids_to_tokens(np.flatnonzero(made[:, 3]).tolist())
    }
    assert forms == {"a"} and made[made[:, 3] == 0].sum() == 0
    (bare,) = tokenizer("a", add_special_tokens=False)["input_ids"]
    assert (bare == ident) == (kind == "bert") and made[bare, 3] == (kind == "bert")


@pytest.mark.parametrize(
    ("text", "scale", "wanted"),
    [
        ("Word\tValence\tArousal\tDominance\nlove\t1\t0.5\t0\n", "", (1.0, 0.5, 0.0)),
        ("term\tvalence\tarousal\tdominance\nlove\t1\t0\t-1\nat home\t1\t1\t1\n", "-1..1", (1.0, 0.5, 0.0)),
        (",Word,V.Mean.Sum,V.SD.Sum,A.Mean.Sum,D.Mean.Sum\n1,love,9,1,5,1\n", "1..9", (1.0, 0.5, 0.0)),
    ],
)
def test_tables_of_others_are_read_on_their_declared_scale(
    tmp_path: Path, text: str, scale: str, wanted: tuple[float, ...]
) -> None:
    """NRC-VAD of both versions and Warriner, in their columns; phrases are left out."""
    file = tmp_path / "words"
    file.write_text(text, "utf-8")
    table = WordTable.of(file, scale)
    assert table.words == {"love": wanted} and table.licence == ""


@pytest.mark.parametrize(
    ("text", "scale", "said"),
    [
        ("word\tvalence\tarousal\tdominance\nlove\t5\t5\t5\n", "", "declare it"),
        ("word\tvalence\tarousal\tdominance\nlove\tnan\t.5\t.5\n", "0..1", "mend the line"),
        ("word\tvalence\tarousal\tdominance\nlove\t.5\t.5\n", "0..1", "are not three numbers"),
        ("word\tvalence\tarousal\tdominance\nlove\t.5\t.5\t.5\n", "-1..1", "has no number under 0"),
        ("word\tvalence\tarousal\tdominance\nlove\t.5\t.5\t.5\n", "0..5", "is not known"),
        ("love\t.5\t.5\t.5\n", "", "name them in the first line"),
        ("word\tvalence\tarousal\tdominance\nat home\t.5\t.5\t.5\n", "", "holds no single word"),
        ("", "", "is empty"),
        ('word,valence,arousal,dominance\n"love,.5,.5,.5\nhate,.1,.5,.5\n', "", "is no table with a word on each line"),
        (f"word\tvalence\tarousal\tdominance\n{'a' * 140_000}\t.5\t.5\t.5\n", "", "is no table with a word"),
    ],
)
def test_a_table_that_cannot_be_right_is_one_sentence(tmp_path: Path, text: str, scale: str, said: str) -> None:
    """A scale is never guessed."""
    file = tmp_path / "words.tsv"
    file.write_text(text, "utf-8")
    with pytest.raises(WrongRequest, match=said) as found:
        WordTable.of(file, scale)
    assert "\n" not in str(found.value)
    with pytest.raises(WrongRequest, match="is no table of words"):
        WordTable.of(tmp_path / "absent")


def test_a_table_can_be_put_onto_another_spread() -> None:
    """Mean and standard deviation become those asked for; the order of the words stays."""
    table = WordTable(words={f"w{n}": (0.5 + n / 100, 0.5 - n / 100, 0.5) for n in range(-5, 6)})
    made = np.array(list(table.onto([0.4, 0.6, 0.5], [0.1, 0.2, 0.1]).words.values()))
    assert made.mean(axis=0) == pytest.approx([0.4, 0.6, 0.5]) and made.std(axis=0)[:2] == pytest.approx([0.1, 0.2])
    assert np.all(np.diff(made[:, 0]) > 0) and np.all(np.diff(made[:, 1]) < 0)
