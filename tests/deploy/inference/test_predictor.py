"""Trained (briefly) on phantoms, then asked about a phantom's DICOM file."""

import io
import json

import numpy as np
import pytest
from torch import nn

from medprior.deploy import load_model
from medprior.deploy.inference.predictor import label_thresholds, list_doubt_flags, select_attention_maps
from medprior.dicom import Radiograph, read_image
from medprior.errors import Rejected
from medprior.finetune.familiarity import OutOfDistributionScore
from medprior.finetune.model import Model, Prediction
from medprior.finetune.model import load_finetuned_model as load_finetuned
from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio, measure_cardiothoracic_ratio
from medprior.phantom import render_phantom


def test_a_reading_is_what_the_models_say(classifier, segmenter, dicom):
    predictor = load_model(classifier, segmenter=segmenter)
    reading = predictor.predict(dicom)
    pixels = read_image(dicom).pixels
    want = load_finetuned(classifier).predict_pixels(pixels)
    masks = load_finetuned(segmenter).predict_pixels(pixels).masks
    assert reading.findings == want.probabilities
    assert set(reading.findings) == set(reading.thresholds)
    assert set(masks) == set(reading.masks) == {"left_lung", "right_lung", "heart"}
    assert all(np.array_equal(masks[name], reading.masks[name]) for name in masks)
    assert all(mask.shape == pixels.shape for mask in reading.masks.values())
    assert list(reading.attention) == ["all_heads"]
    assert reading.attention["all_heads"].shape == pixels.shape
    assert reading.attention["all_heads"].mean() == pytest.approx(1, abs=0.2)
    record = json.loads(json.dumps(reading.record()))
    assert record["view"] in {"PA", "AP"}
    assert record["model_digest"] == predictor.digest
    for name, entry in record["findings"].items():
        assert entry["present"] == (want.probabilities[name] >= reading.thresholds[name])


def test_path_bytes_and_stream_agree(classifier, dicom):
    predictor = load_model(str(classifier))
    data = dicom.read_bytes()
    answers = [predictor.predict(item).record() for item in (dicom, str(dicom), data, io.BytesIO(data))]
    assert all(answer == answers[0] for answer in answers)


def test_no_file_is_parsed_in_the_calling_process(classifier, dicom, monkeypatch):
    def parse(*_):
        raise AssertionError("parsed in the calling process")

    for name in ("raster.open_regular_file", "reading.open_regular_file"):
        monkeypatch.setattr(f"medprior.dicom.{name}", parse)
    with pytest.raises(AssertionError):
        read_image(dicom)
    predictor = load_model(classifier)
    assert predictor.predict(dicom).findings == predictor.predict(dicom.read_bytes()).findings != {}


def test_the_heart_ratio_follows_the_masks(segmenter):
    predictor = load_model(segmenter)
    measured = 0
    for seed in range(2000, 2008):
        image = render_phantom(seed, size=256)
        reading = predictor.predict_pixels(image.pixels)
        assert reading.cardiothoracic == measure_cardiothoracic_ratio(reading.masks)
        flagged = "implausible_cardiothoracic_ratio" in reading.flags
        assert reading.cardiothoracic is None or flagged != reading.cardiothoracic.plausible
        measured += reading.cardiothoracic is not None
    assert measured > 0


def test_true_masks_give_the_phantoms_own_ratio():
    errors = []
    for seed in range(8):
        image = render_phantom(seed, size=256)
        found = measure_cardiothoracic_ratio(image.masks)
        assert found is not None
        errors.append(abs(found.ratio - image.facts["ctr"]))
    assert np.mean(errors) < 0.01


def test_doubts_are_flagged(segmenter):
    predictor = load_model(segmenter)
    image = render_phantom(2000, size=256)
    valid = np.ones(image.pixels.shape, bool)
    side = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="LL", age=9, flags=("dark",)))
    assert side.flags == ("dark", "not_frontal", "child")
    assert side.cardiothoracic is None
    lying = predictor.predict_radiograph(Radiograph(image.pixels, valid, view="AP"))
    assert "ap_magnifies_heart" in lying.flags


def test_no_radiograph_is_rejected_with_its_code(classifier):
    predictor = load_model(classifier)
    with pytest.raises(Rejected) as caught:
        predictor.predict(b"no radiograph at all")
    assert caught.value.code
    with pytest.raises(Rejected):
        predictor.predict(b"")


def radiograph_of(**facts) -> Radiograph:
    """A dark radiograph of 8 x 8 pixels."""
    return Radiograph(np.zeros((8, 8), np.float32), np.ones((8, 8), bool), **facts)


RATIO = CardiothoracicRatio(0.5, ((2.0, 5.0), (4.0, 5.0)), (1.0, 5.0, 4.0))
FAMILIAR = OutOfDistributionScore(1.0, 1.0, 0.1)


@pytest.mark.parametrize(
    ("facts", "ratio", "familiar", "flags"),
    [
        ({"view": "PA", "age": 18}, RATIO, FAMILIAR, []),
        ({"view": "PA", "age": 17.9}, RATIO, FAMILIAR, ["child"]),
        ({"view": "AP"}, RATIO, FAMILIAR, ["ap_magnifies_heart"]),
        ({"view": "AP"}, None, FAMILIAR, []),
        ({"view": "LATERAL"}, None, FAMILIAR, ["not_frontal"]),
        (
            {"view": "PA"},
            CardiothoracicRatio(0.95, *((RATIO.heart), RATIO.thorax)),
            FAMILIAR,
            ["implausible_cardiothoracic_ratio"],
        ),
        ({"view": "PA"}, RATIO, OutOfDistributionScore(1.001, 1.0, 0.1), ["far_from_training"]),
        ({"view": "PA"}, RATIO, None, ["familiarity_unknown"]),
    ],
)
def test_each_doubt_has_its_own_flag(facts, ratio, familiar, flags):
    assert list_doubt_flags(radiograph_of(**facts), ratio, {}, familiar) == flags


def model_of(task: str, heads: dict[str, int]) -> Model:
    """A model with two outputs and the given heads."""
    thresholds = np.array([0.25, 0.75])
    return Model(nn.Identity(), task, ("a", "b"), 8, 8, np.ones(2), thresholds, heads, {})


def test_maps_are_those_of_the_heads_trained_on_structures_or_their_mean():
    maps = np.stack([np.full((2, 2), value, np.float32) for value in (1.0, 2.0, 6.0)])
    classified, segmented = Prediction({}, {}, maps), Prediction({}, {}, maps + 10)
    models = {"segmentation": model_of("segmentation", {}), "classification": model_of("classification", {"heart": 2})}
    outputs = {"segmentation": segmented, "classification": classified}
    selected = select_attention_maps(models, outputs)
    assert {name: item.tolist() for name, item in selected.items()} == {"heart": [[6.0, 6.0], [6.0, 6.0]]}
    alone = select_attention_maps({"segmentation": models["segmentation"]}, {"segmentation": segmented})
    assert {name: item.tolist() for name, item in alone.items()} == {"all_heads": [[13.0, 13.0], [13.0, 13.0]]}
    none = Prediction({}, {}, np.zeros((0, 2, 2), np.float32))
    assert select_attention_maps(models, {"classification": none}) == {}


def test_thresholds_go_by_the_order_of_the_labels():
    assert label_thresholds(model_of("classification", {})) == {"a": 0.25, "b": 0.75}
