"""Facts about the appraisal guide: what it learns from, what it is tested on, what it says."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from train import tiny

from factory.errors import WrongRequest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("sklearn")

from factory.taxonomy import LABELS  # noqa: E402
from factory.train import guide  # noqa: E402

REAL = Path(__file__).resolve().parents[2] / "../shared/data/isear"
HEADER = "ID|EXPC|PLAN|FAIR|COPING|Field1|MYKEY|SIT|STATE|"
SIGNS = {"sunshine": (0.9, 0.8, 0.9, 0.9), "cellar": (0.1, 0.2, 0.1, 0.1)}


def _view(folder: Path, count: int = 200, **other: Any) -> Path:
    """A run's contextless view whose words give its appraisals away."""
    draw = np.random.default_rng(0)
    rows = []
    for n in range(count):
        word = ("sunshine", "cellar")[n % 2]
        text = " ".join([*draw.choice(tiny.FILLERS, 4).tolist(), word])
        rows.append(
            {"utterance": text, "source_id": f"s{n // 5}", "labels": ["neutral"]}
            | dict(zip(guide.ATOMS, SIGNS[word], strict=True))
            | other
        )
    for part, some in (("train", rows[: count // 2]), ("validation", rows[count // 2 :]), ("test", rows[:0])):
        path = folder / "dataset" / "contextless" / f"{part}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = [("utterance", pa.string()), ("source_id", pa.string()), ("labels", pa.list_(pa.string()))]
        parquet.write_table(
            pa.Table.from_pylist(some, pa.schema([*kinds, *((atom, pa.float32()) for atom in guide.ATOMS)])), path
        )
    return folder


def _isear(folder: Path, answers: str = "1|1|1|5", other: str = "3|3|3|1") -> Path:
    """A file in ISEAR's form: EXPC, PLAN, FAIR, COPING, and the emotion."""
    lines = [HEADER]
    for n in range(120):
        said, word, emotion = ((answers, "sunshine", "joy"), (other, "cellar", "anger"))[n % 2]
        lines.append(f"{n}|{said}|{emotion}|{n // 2:05d}{n % 7 + 1}|The {word} was|here, number {n}.|1|")
    folder.mkdir()
    (folder / "isear.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(base: Any, tmp_path_factory: pytest.TempPathFactory) -> guide.Trained:
    """A guide from the appraisals of a run."""
    run = _view(tmp_path_factory.mktemp("run"))
    return guide.train(str(run), tmp_path_factory.mktemp("models") / "guide", base=str(base()))


def test_a_guide_learns_what_the_words_give_away(trained: guide.Trained) -> None:
    """On sources that it has not seen, each appraisal has an AUC far above chance; saved and read again it says the same."""
    assert all(one["auc"]["value"] > 0.8 for one in trained.record["results"].values())
    said = guide.Guide.of(trained.folder).read(["the old sunshine", "the old cellar"])
    assert said.shape == (2, 4) and (said[0] > said[1]).all() and ((said > 0) & (said < 1)).all()


def test_it_says_what_it_does_before_it_does_it(base: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading thousands of texts takes a minute, and so does learning on folds."""
    said: list[str] = []
    heard: list[int] = []
    plain = guide.Encoder.embeddings

    def embeddings(self: guide.Encoder, texts: Any) -> Any:
        heard.append(len(said))
        return plain(self, texts)

    monkeypatch.setattr(guide.Encoder, "embeddings", embeddings)
    guide.train(str(_view(tmp_path / "run")), tmp_path / "guide", base=str(base()), says=said.append)
    assert heard == [1] and "reading them with" in said[0] and "5 folds by source" in said[1]


def test_its_folder_holds_a_matrix_and_words_and_no_pickle(trained: guide.Trained) -> None:
    """The base stays where it is."""
    names = {path.name for path in trained.folder.iterdir()}
    assert names == {"guide.json", "guide.safetensors", "README.md", "training.json"}
    assert (trained.folder / "guide.safetensors").stat().st_size < 10_000


def test_the_card_has_the_constant_of_the_rows_that_guide() -> None:
    """Three of the four rows that guide are a yes, so a constant has .75 right; the fifth is unsure and does not count."""
    truth, said = np.array([1.0, 1, 1, 0, 0]), np.array([0.9, 0.9, 0.2, 0.1, 0.55])
    rated = guide.Rated(
        name="made",
        texts=("text",) * 5,
        targets=np.stack([truth] * 4, axis=1),
        labels=((),) * 5,
        groups=tuple("abcde"),
        licence="",
        human=True,
    )
    found = guide.measured(rated, np.stack([said] * 4, axis=1))
    assert (found["fairness"]["right"], found["fairness"]["constant"]) == (0.75, 0.75)
    none = guide.measured(rated, np.full((5, 4), 0.5))
    assert (none["fairness"]["right"], none["fairness"]["constant"]) == (0.0, 0.0)


def test_the_card_says_of_rehearsal_rows_that_they_are_no_models(base: Any, tmp_path: Path) -> None:
    """In bold; and has the constant beside what is right."""
    run = _view(tmp_path / "run")
    (file,) = (run / "dataset" / "contextless").glob("train-*")
    table = parquet.read_table(file)
    parquet.write_table(table.append_column("engine", pa.array(["rehearsal"] * len(table))), file)
    found = guide.train(str(run), tmp_path / "out", base=str(base()))
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "\n**Training rows of run are template text of the rehearsal engine, not a language model's" in card
    one = found.record["results"]["fairness"]
    assert "| of these right | a constant |" in card and f"| {one['right']:.0%} | {one['constant']:.0%} |" in card


def test_shares_are_learnt_as_shares() -> None:
    """Without anything to tell rows apart, the probability is the mean of the ratings; what is not known has no part in it."""
    embeddings = np.zeros((4, 3))
    targets = np.array([[0.7, 1.0, 0.5, 0.0], [0.7, 0.0, 0.5, 1.0], [0.7, np.nan, 0.2, 0.0], [0.7, np.nan, 0.4, 0.0]])
    made = guide.fit(embeddings, targets, encoder=None)  # type: ignore[arg-type]
    assert made.said(embeddings[:1])[0] == pytest.approx([0.7, 0.5, 0.4, 0.25], abs=1e-3)


def test_a_source_is_never_on_both_sides() -> None:
    """Rows that only their source tells apart are told as badly as chance when it was not seen."""
    draw = np.random.default_rng(0)
    groups = tuple(f"g{n // 10}" for n in range(300))
    per_group = draw.random((30, 8)).repeat(10, axis=0)
    truth = draw.integers(0, 2, 30).repeat(10).astype(float)
    rated = guide.Rated(
        name="made",
        texts=tuple(f"text number {n}" for n in range(300)),
        targets=np.stack([truth] * 4, axis=1),
        labels=((),) * 300,
        groups=groups,
        licence="",
        human=True,
    )
    encoder: Any = None
    found = guide.measured(rated, guide.held_out(rated, per_group * 5, rated.targets, encoder))
    known = guide.fit(per_group * 5, rated.targets, encoder).said(per_group * 5)
    seen = guide.measured(rated, known)
    assert seen["fairness"]["auc"]["value"] > 0.75 > found["fairness"]["auc"]["value"]
    wide = found["fairness"]["auc"]["high"] - found["fairness"]["auc"]["low"]
    assert wide > 0.15  # thirty sources say less than three hundred rows


def test_the_sign_table_has_each_label_once() -> None:
    """All of the taxonomy; a sign is -1, 0 or 1."""
    assert set(guide.SIGNS) == set(LABELS)
    assert {sign for signs in guide.SIGNS.values() for sign in signs} == {-1, 0, 1}
    assert guide.SIGNS["pride"] == (1, 1, 1, 1) and guide.SIGNS["remorse"] == (-1, 1, 1, -1)


def test_a_rating_is_odd_where_all_its_labels_say_otherwise() -> None:
    """Joy hinders no goal; joy and sadness together leave the goal open; neutral allows all; what is not known is not odd."""
    ratings = np.array([[0.1, 0.1, 0.9, 0.1], [0.1, 0.9, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1], [np.nan, 0.1, 0.1, np.nan]])
    found = guide.against(ratings, [["joy"], ["joy", "sadness"], ["neutral"], ["anger"]])
    assert found.tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False] * 4,
        [False, True, True, False],
    ]


def test_odd_ratings_of_a_model_are_not_learnt_from_and_those_of_people_are(base: Any, tmp_path: Path) -> None:
    """Unless it is asked for otherwise; the record says which."""
    run = _view(tmp_path / "run", labels=["joy"])
    by_model = guide.train(str(run), tmp_path / "a", base=str(base()), signs=None).record
    assert by_model["signs"] is True and by_model["against_signs"]["goal_attainment"] == 0.5
    by_people = guide.train(f"isear:{_isear(tmp_path / 'isear')}", tmp_path / "b", base=str(base())).record
    assert by_people["signs"] is False
    cards = [(tmp_path / name / "README.md").read_text("utf-8") for name in ("a", "b")]
    chosen = "(C = 0.3) was chosen from seven values on the"
    assert f"{chosen} folds of ISEAR, others than these." in cards[0]
    assert f"{chosen} very folds of ISEAR whose AUCs stand here, so these flatter slightly." in cards[1]


def test_answers_of_isear_become_appraisals_in_their_direction(tmp_path: Path) -> None:
    """Helped, fair, influenced and expected is 1; hindered, unfair and powerless 0; a stray | in the text moves nothing."""
    rated = guide.load(f"isear:{_isear(tmp_path / 'one', '3|1|1|5', '1|3|3|1')}")
    assert rated.targets[0].tolist() == [1, 1, 1, 1] and rated.targets[1].tolist() == [0, 0, 0, 0]
    assert rated.labels[:2] == (("joy",), ("anger",)) and rated.texts[0] == "The sunshine was here, number 0."
    silent = (tmp_path / "one" / "isear.csv").read_text("utf-8").replace("|3|1|1|5|", "|2|2|0|3|", 1)
    (tmp_path / "one" / "isear.csv").write_text(silent, "utf-8")
    first = guide.load(f"isear:{tmp_path / 'one'}").targets[0]
    assert first[[0, 2]].tolist() == [0.5, 0.5] and np.isnan(first[[1, 3]]).all()


@pytest.mark.skipif(not REAL.is_dir(), reason="ISEAR is not here")
def test_the_real_answers_agree_with_their_emotions() -> None:
    """Joy attains and is fair, anger is unfair, sadness and fear are powerless: the directions of the mapping."""
    rated = guide.load(f"isear:{REAL}")
    kind = np.array([labels[0] for labels in rated.labels])
    mean = {name: np.nanmean(rated.targets[kind == name], axis=0).round(2).tolist() for name in sorted(set(kind))}
    goal, control, _, fair = range(4)
    assert mean["joy"][goal] > 0.8 and max(mean[name][goal] for name in mean if name != "joy") < 0.5
    assert mean["anger"][fair] < 0.3 < mean["joy"][fair] and mean["joy"][fair] > 0.9
    assert mean["sadness"][control] < 0.4 < mean["anger"][control]
    assert len(set(rated.groups)) > 500


def test_an_out_of_others_is_refused_and_stays_as_it_is(trained: guide.Trained, base: Any, tmp_path: Path) -> None:
    """Files of somebody else, the base that is read, models of several seeds."""
    run = _view(tmp_path / "run")
    for name, text, said in (
        ("README.md", "mine", "no training of ours wrote"),
        ("seeds.json", '{"seeds": [0]}', "models of several seeds"),
    ):
        (tmp_path / name).write_text(text, "utf-8")
        with pytest.raises(WrongRequest, match=said):
            guide.train(str(run), tmp_path, base=str(base()))
        assert {path.name for path in tmp_path.iterdir()} <= {"run", "README.md", "seeds.json"}
    shutil.copytree(base(), tmp_path / "taught")
    (tmp_path / "taught" / "training.json").write_bytes((trained.folder / "training.json").read_bytes())
    with pytest.raises(WrongRequest, match="is or holds BASE="):
        guide.train(str(run), tmp_path / "taught", base=str(tmp_path / "taught"), fresh=True)
    assert (tmp_path / "taught" / "model.safetensors").exists()


def test_what_cannot_be_is_one_sentence(base: Any, trained: guide.Trained, tmp_path: Path) -> None:
    """No appraisals, no answers, too few rows, no guide in the folder, another base than it was made for."""
    empty = _view(tmp_path / "empty", **dict.fromkeys(guide.ATOMS))
    wild = _view(tmp_path / "wild", fairness=7.0)
    few = _view(tmp_path / "few", 30)
    clean = tmp_path / "isear_clean.tsv"
    clean.write_text("emotion\ttext\tmykey\njoy\tA day.\t11\n", "utf-8")
    cases = [
        (str(empty), "has no appraisals"),
        (str(wild), "not from 0 to 1"),
        (str(few), "fewer than 20 rows"),
        (f"isear:{clean}", "rated their situations"),
        (str(tmp_path / "absent"), "no contextless view"),
    ]
    for spec, said in cases:
        with pytest.raises(WrongRequest, match=said) as found:
            guide.train(spec, tmp_path / "out", base=str(base()))
        assert "\n" not in str(found.value) and not (tmp_path / "out").exists()
    with pytest.raises(WrongRequest, match="holds no appraisal guide"):
        guide.Guide.of(tmp_path)
    note = trained.folder / "guide.json"
    before = note.read_text("utf-8")
    other = before.replace(str(base()), str(base("roberta")))
    assert other != before
    note.write_text(other, "utf-8")
    with pytest.raises(WrongRequest, match="another base"):
        guide.Guide.of(trained.folder)
    note.write_text(before[:40], "utf-8")
    with pytest.raises(WrongRequest, match="train it again"):
        guide.Guide.of(trained.folder)
    note.write_text(before, "utf-8")
