"""Where a classifier looks: the maps of the evaluation, boxes only with their evidence, and no state left behind."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medprior.cohort import Cohort, CohortWriter
from medprior.deploy import load_model
from medprior.deploy.inference.finding_evidence import FindingEvidence, LocationEvidence
from medprior.deploy.inference.finding_locations import FindingLocator, find_attention_boxes
from medprior.deploy.inference.predictor import Predictor, build_file_predictor
from medprior.dicom.bounded_reader import BoundedReader
from medprior.dicom.display.resample import resize_pixels
from medprior.evaluate.localisation.finding_maps import ClassifierMapSource
from tests.deploy.located import evaluate_locations
from tests.evaluate.untrained import build_untrained_model

LOCATION = LocationEvidence(0.5, 0.7, (0.6, 0.8), 40)
SURE = FindingEvidence("test set", 0.9, (0.8, 0.95), location=LOCATION)


def test_boxes_lie_around_the_parts_of_a_map_the_largest_first():
    attention = np.zeros((40, 20), np.float32)
    attention[4:10, 2:6] = 1.0
    attention[20:36, 10:18] = 0.8
    attention[0, 19] = 1.0  # a speck
    attention[12:14, 12:14] = 0.4  # below the threshold
    boxes = find_attention_boxes(attention, 0.5, (400, 100))
    assert boxes == ((50.0, 200.0, 90.0, 360.0), (10.0, 40.0, 30.0, 100.0))
    assert find_attention_boxes(attention, 0.9, (400, 100)) == ((10.0, 40.0, 30.0, 100.0),)
    assert find_attention_boxes(np.zeros((4, 4), np.float32), 0.5, (4, 4)) == ()


def test_no_more_than_three_boxes_are_given():
    attention = np.zeros((10, 50), np.float32)
    for number in range(5):
        attention[2:8, 10 * number + 1 : 10 * number + 8 - number] = 1.0
    assert [box[0] for box in find_attention_boxes(attention, 0.5, (10, 50))] == [1.0, 11.0, 21.0]


@pytest.fixture(scope="module")
def pictures():
    """Three noisy pictures with a blob each, float32 [3, 60, 40]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:60, :40]
    blobs = [np.exp(-((y - 15 * (n + 1)) ** 2 + (x - 20) ** 2) / 60) for n in range(3)]
    return np.stack([np.clip(0.3 + 0.4 * b + 0.05 * rng.random(b.shape), 0, 1) for b in blobs]).astype(np.float32)


@pytest.fixture(scope="module")
def cohort(pictures, tmp_path_factory):
    path = tmp_path_factory.mktemp("blobs") / "cohort"
    with CohortWriter(path, store_size=64) as writer:
        for number, pixels in enumerate(pictures):
            writer.add(image_id=f"i{number}", pixels=pixels, patient_id=f"p{number}")
        writer.finish(split={f"i{number}": "test" for number in range(len(pictures))})
    return Cohort.open(path)


@pytest.fixture
def predictor():
    """A random network that calls every finding present."""
    model = replace(build_untrained_model(["disc", "other"], "pooled"), threshold=np.zeros(2))
    return Predictor({"classification": model}, "digest", evidence={"disc": SURE})


def test_maps_are_those_that_the_evaluation_scores(cohort, predictor):
    model = predictor.models["classification"]
    (scored,) = ClassifierMapSource(model, "class_rollout", ["disc", "other"]).batches(cohort, 64)
    locator = FindingLocator(model)
    patches = (model.size // model.vit.settings.patch) ** 2
    for image_id, expected in zip(cohort.image_ids, scored, strict=True):
        locations = locator.locate(cohort.pixels(image_id), ["other", "disc"], {})
        for number, label in enumerate(("disc", "other")):
            rows, cols = locations[label].attention.shape
            assert locations[label].boxes == ()
            assert (rows, cols) == cohort.pixels(image_id).shape
            square = resize_pixels(locations[label].attention, 64, 64)
            np.testing.assert_allclose(square, expected[number] * patches, atol=0.05 * square.max())
    assert locator.locate(cohort.pixels(image_id), [], {}) == {}


def test_boxes_need_evidence_of_their_hit_rate(predictor, pictures):
    prediction = replace(predictor.predict_pixels(pictures[0]), flags=())
    located = predictor.locate_findings(prediction)
    assert set(located) == {"disc", "other"}
    attention = located["disc"].attention
    assert located["disc"].boxes == find_attention_boxes(attention, 0.5, (60, 40)) != ()
    assert located["other"].boxes == ()
    predictor.evidence = {"disc": replace(SURE, location=None)}
    bare = predictor.locate_findings(replace(prediction, evidence=predictor.evidence))["disc"]
    assert bare.boxes == ()
    np.testing.assert_allclose(bare.attention, attention, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"flags": ("far_from_training",)}, set()),
        ({"flags": ("not_frontal",)}, {"disc", "other"}),
        ({"findings": {"disc": -1.0, "other": 0.5}}, {"other"}),
        ({"evidence": {"disc": replace(SURE, auc_ci95=(0.5, 0.9))}}, {"other"}),
    ],
)
def test_only_findings_that_are_called_on_familiar_pictures_are_located(predictor, pictures, changes, labels):
    prediction = replace(predictor.predict_pixels(pictures[0]), flags=())
    assert set(predictor.locate_findings(replace(prediction, **changes))) == labels


def test_at_most_five_findings_are_located_the_most_certain_first(pictures):
    names = [f"f{number}" for number in range(7)]
    model = replace(build_untrained_model(names, "cls"), threshold=np.zeros(7))
    predictor = Predictor({"classification": model}, "digest", evidence={})
    prediction = replace(predictor.predict_pixels(pictures[1]), flags=())
    assert list(predictor.locate_findings(prediction)) == sorted(names, key=lambda n: -prediction.findings[n])[:5]


def test_networks_without_attention_locate_nothing(pictures):
    model = replace(build_untrained_model(["disc"], "resnet18"), threshold=np.zeros(1))
    predictor = Predictor({"classification": model}, "digest", evidence={"disc": SURE})
    assert predictor.locate_findings(replace(predictor.predict_pixels(pictures[0]), flags=())) == {}
    assert Predictor({}, "digest")._locator is None


def test_locating_changes_nothing_for_predictions_at_the_same_time(predictor, pictures):
    prediction = replace(predictor.predict_pixels(pictures[0]), flags=())
    stop, wrong = threading.Event(), []

    def predict():
        while not stop.is_set():
            again = predictor.predict_pixels(pictures[0])
            if abs(again.findings["disc"] - prediction.findings["disc"]) > 1e-5:
                wrong.append(again.findings)

    thread = threading.Thread(target=predict)
    thread.start()
    first = predictor.locate_findings(prediction)["disc"].attention
    for _ in range(5):
        np.testing.assert_allclose(predictor.locate_findings(prediction)["disc"].attention, first, rtol=1e-5)
    stop.set()
    thread.join(60)
    assert wrong == []


def test_the_record_of_a_file_has_the_boxes_of_its_findings(predictor, pictures, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.round(np.tile(pictures[0], (3, 4)) * 255).astype(np.uint8)).save(path)

    def predict_record():
        with BoundedReader() as reader:
            return build_file_predictor(predictor, reader, refusing=False)(path).record()["findings"]

    radiograph = predictor.predict(path)
    boxes = predictor.locate_findings(radiograph)["disc"].boxes
    record = predict_record()
    assert record["disc"]["boxes"] == [[round(side, 1) for side in box] for box in boxes] != []
    assert "boxes" not in record["other"]
    predictor.evidence = {"disc": replace(SURE, location=None)}
    assert all("boxes" not in finding for finding in predict_record().values())


@pytest.mark.parametrize("with_boxes", [True, False])
def test_the_evidence_of_an_evaluation_decides(disc_models, discs, tmp_path, with_boxes):
    evidence = evaluate_locations(discs, disc_models["good"], tmp_path, with_boxes)
    predictor = load_model(disc_models["good"], evidence=evidence)
    location = predictor.evidence["disc"].location
    assert (location is not None) == with_boxes
    if location is not None:
        assert 0 < location.threshold < 1
        assert 0 <= location.hit_rate_ci95[0] <= location.hit_rate <= location.hit_rate_ci95[1] <= 1
        positive = Cohort.open(discs).split("test").manifest.disc.sum()
        assert location.images == positive
