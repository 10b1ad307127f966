"""Facts about the maps between the classes of benchmarks and the 28 labels."""

import pytest

from factory import benchmarks
from factory.benchmarks import Benchmark
from factory.taxonomy import LABELS

# Written out again on purpose: METHODS 7.1.
WANTED = {
    "isear": "joy:joy fear:fear anger:anger sadness:sadness disgust:disgust shame:embarrassment guilt:remorse",
    "emocontext": "others:neutral happy:joy sad:sadness angry:anger",
    "iemocap6": "happy:joy excited:excitement sad:sadness neutral:neutral angry:anger frustrated:annoyance",
    "iemocap4": "happy:joy,excitement sad:sadness neutral:neutral angry:anger",
    "dailydialog": (
        "no_emotion:neutral anger:anger disgust:disgust fear:fear happiness:joy sadness:sadness surprise:surprise"
    ),
    "meld": "anger:anger disgust:disgust fear:fear joy:joy neutral:neutral sadness:sadness surprise:surprise",
    "empathetic": (
        "afraid:fear terrified:fear angry:anger furious:anger annoyed:annoyance anxious:nervousness "
        "apprehensive:nervousness ashamed:embarrassment embarrassed:embarrassment caring:caring content:joy joyful:joy "
        "devastated:grief disappointed:disappointment disgusted:disgust excited:excitement grateful:gratitude "
        "guilty:remorse hopeful:optimism impressed:admiration lonely:sadness sad:sadness proud:pride surprised:surprise "
        "anticipating:excitement confident:optimism nostalgic:sadness faithful: jealous: prepared: sentimental: trusting:"
    ),
}


@pytest.mark.parametrize("name", WANTED)
def test_a_map_is_the_documented_one(name: str) -> None:
    """Each class has the labels that METHODS 7.1 gives it, and none has others."""
    pairs = (pair.partition(":") for pair in WANTED[name].split())
    wanted = {own.replace("_", " "): tuple(filter(None, labels.split(","))) for own, _, labels in pairs}
    assert dict(benchmarks.of(name).to28) == wanted


FORMS = [form for one in benchmarks.ALL.values() for form in benchmarks.tables_of(one).values()]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.title)
def test_a_map_has_every_class_and_only_known_labels(form: Benchmark) -> None:
    """No class is forgotten, no label misspelt, and what the metric counts are classes."""
    assert set(form.to28) == set(form.classes)
    assert {label for labels in form.to28.values() for label in labels} <= set(LABELS)
    assert set(form.counted) <= set(form.classes)


def test_goemotions_maps_every_label_once_in_each_table() -> None:
    """The groups of Ekman and of sentiment take each of the 28 exactly once."""
    for form in benchmarks.tables_of(benchmarks.of("goemotions")).values():
        assert sorted(label for labels in form.to28.values() for label in labels) == sorted(LABELS)
