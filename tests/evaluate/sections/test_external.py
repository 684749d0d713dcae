"""Numbers away, at home on the same labels, and the drop; nothing is chosen away."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medprior.cohort import Cohort
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.sections.external import (
    evaluate_external_classifier,
    evaluate_external_cohort,
    evaluate_external_probes,
    evaluate_external_segmenter,
    select_external_labels,
)
from medprior.evaluate.sections.external_cohorts import ExternalCohort, find_unseen_images
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy, Section
from medprior.finetune.model import load_finetuned_model
from medprior.metrics.bootstrap import Resamples
from medprior.networks import load_backbone
from medprior.provenance import read_config
from tests.evaluate.conftest import write_cohort
from tests.evaluate.untrained import build_untrained_model

QUICK = EvaluateSettings.from_values({"resamples": 10, "map_size": 32, "device": "cpu"})


@pytest.fixture(scope="module")
def metrics(planted_evidence):
    return json.loads((planted_evidence / "metrics.json").read_text())


@pytest.fixture(scope="module")
def study(cohort):
    return EvaluationStudy.of(cohort, "test", frozenset(), QUICK)


def away_of(part, shared=0):
    """The images of `part` as an external cohort, of which `shared` were left out."""
    return ExternalCohort("away", part, part, shared, Resamples.draw(part.patient_ids, 10, 1))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Thirty images labelled for `effusion` and `elsewhere`."""
    path = tmp_path_factory.mktemp("strangers") / "c"
    write_cohort(path, 30, 5, labels=lambda known: {"effusion": known["effusion"], "elsewhere": 0.0})
    return Cohort.open(path)


def test_numbers_away_are_the_models_own(metrics, planted_home, planted_away, planted_models):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    part = other.select(find_unseen_images(other, home))
    model = load_finetuned_model(planted_models["pooled"])
    column = model.labels.index("spot")
    truth, score = part.labels(["spot"])[:, 0], model.predict_cohort(part)[:, column]
    away = metrics["external.away.classification.auc.spot"]
    assert away["value"] == pytest.approx(roc_auc_score(truth, score))
    here = metrics["external.away.home.classification.auc.spot"]["value"]
    assert here == pytest.approx(metrics["classification.auc.spot"]["value"])
    drop = metrics["external.away.drop.classification.auc.spot"]
    assert drop["value"] == pytest.approx(away["value"] - here)
    assert drop["ci95"][0] <= drop["value"] <= drop["ci95"][1]
    own = metrics["external.away.classification.sensitivity.spot"]["threshold"]
    assert own == pytest.approx(float(model.threshold[column]))


def test_missing_labels_are_named_never_zero(metrics, planted_evidence):
    assert not [k for k in metrics if k.startswith("external.") and k.endswith(".hole")]
    assert metrics["external.away.classification.mauc"]["classes"] == 1
    skipped = read_config(planted_evidence)["skipped"]
    assert "external away: hole: no such label away" in skipped
    assert "external.away" in read_config(planted_evidence)["inputs"]


def test_probes_are_trained_at_home(metrics):
    for kind in ("linear", "pooled_linear", "knn"):
        key = f"features.{kind}_mauc"
        there, here = metrics[f"external.away.{key}"], metrics[f"external.away.home.{key}"]
        assert there["n"] == 60
        assert metrics[f"external.away.drop.{key}"]["value"] == pytest.approx(there["value"] - here["value"])
        if kind != "knn":
            assert there["C"] == here["C"]


def test_baselines_stand_beside(metrics):
    assert "baseline.plain.external.away.classification.mauc" in metrics
    assert "difference.plain.external.away.classification.mauc" in metrics


def test_a_label_that_one_side_lacks_is_named_with_the_side(study, strangers):
    section = Section()
    labels = ["effusion", "cardiomegaly", "elsewhere", "nowhere"]
    assert select_external_labels(study, away_of(strangers), labels, section) == ["effusion"]
    assert section.skipped == [
        "elsewhere: no such label at home",
        "nowhere: no such label at home",
        "cardiomegaly: no such label away",
        "nowhere: no such label away",
    ]


def test_a_classifier_is_compared_on_its_own_outputs_and_thresholds(study, strangers):
    """`effusion` is the second output, so the second threshold holds on both sides."""
    model = build_untrained_model(["cardiomegaly", "effusion", "never"])
    model.threshold[:] = [0.1, 0.7, 0.3]
    away = away_of(strangers)
    estimates = evaluate_external_classifier(study, away, NamedInput("m", None, model), Section())
    truth, score = strangers.labels(["effusion"])[:, 0], model.predict_cohort(strangers)[:, 1]
    known = ~np.isnan(truth)
    auc = estimates["external.away.classification.auc.effusion"]
    assert auc.value == pytest.approx(roc_auc_score(truth[known], score[known]))
    home = estimates["external.away.home.classification.auc.effusion"]
    assert estimates["external.away.drop.classification.auc.effusion"].value == pytest.approx(auc.value - home.value)
    for side in ("", "home."):
        assert estimates[f"external.away.{side}classification.sensitivity.effusion"].facts["threshold"] == 0.7


def test_a_classifier_without_a_common_label_is_named(study, strangers):
    section = Section()
    entry = NamedInput("m", None, build_untrained_model(["cardiomegaly"]))
    assert evaluate_external_classifier(study, away_of(strangers), entry, section) == {}
    assert section.skipped[-1] == "m: no label with both classes on both sides"


def test_a_segmenter_is_averaged_over_structures_with_masks_on_both_sides(study, cohort):
    """Away no heart has a mask: it is neither there nor in the mean at home."""
    without_hearts = cohort.select(
        [image_id for image_id in cohort.image_ids if cohort.mask(image_id, "heart") is None]
    )
    model = build_untrained_model(["heart", "left_lung"], task="segmentation")
    entry = NamedInput("s", None, model)
    estimates = evaluate_external_segmenter(study, away_of(without_hearts), entry, Section())
    assert not [key for key in estimates if key.endswith(".heart")]
    for side in ("", "home."):
        mean = estimates[f"external.away.{side}segmentation.dice.mean"]
        assert mean.facts["structures"] == ["left_lung"]
        assert mean.value == estimates[f"external.away.{side}segmentation.dice.left_lung"].value


def test_probes_need_both_classes_away(study, strangers, span_path):
    one_class = strangers.select(
        [i for i, truth in zip(strangers.image_ids, strangers.labels(["effusion"])[:, 0], strict=True) if truth == 1]
    )
    section = Section()
    entry = NamedInput("b", None, load_backbone(span_path))
    assert evaluate_external_probes(study, away_of(one_class), entry, section) == {}
    assert section.skipped[-1] == "probes: no label with both classes in train, val, test and away"


def test_images_patients_and_those_left_out_are_counted(study, strangers):
    part = strangers.select(strangers.image_ids[:5])
    external = ExternalCohort("away", strangers, part, 25, Resamples.draw(part.patient_ids, 10, 1))
    section = evaluate_external_cohort(study, Inputs((), (), ()), external)
    counts = {key: (estimate.value, estimate.n) for key, estimate in section.estimates.items()}
    assert counts == {
        "external.away.data.images": (5, 5),
        "external.away.data.patients": (3, 5),
        "external.away.data.left_out": (25, 30),
    }


def test_a_reason_is_given_once_with_the_name_of_the_cohort(study, strangers):
    models = tuple(NamedInput(name, None, build_untrained_model(["effusion", "nowhere"])) for name in ("a", "b"))
    section = evaluate_external_cohort(study, Inputs((), models, ()), away_of(strangers))
    assert section.skipped == [
        "external away: nowhere: no such label at home",
        "external away: nowhere: no such label away",
    ]
    assert "baseline.b.external.away.classification.auc.effusion" in section.estimates
