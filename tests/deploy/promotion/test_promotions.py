"""Whole promotions on a real store: what is refused with the figures, and what is enough."""

import pytest

from medprior.cli import main
from medprior.deploy import register_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry.champion import load_aliases
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store
from tests.deploy.discs import disc_cohort, segmenter_model
from tests.deploy.promotable import FAST_GATE, load_cxr_aliases, make_alias_champion


@pytest.mark.parametrize(
    ("challenger", "words"),
    [
        ("@weak", ("quality", "champion mauc 0.9", "challenger mauc 0.", "difference -0.")),
        ("@broken", ("finite outputs: not on", "smoke prediction")),
        ("@sharp", ("calibration: champion ece", "difference +0.")),
        ("@sized", ("preprocessing: size 64 -> 48", "--allow-preprocessing")),
    ],
)
def test_what_is_worse_is_refused_with_the_figures(filled_uri, discs, capsys, challenger, words):
    make_alias_champion(filled_uri, "good")
    assert main(["promote", "cxr", "--challenger", challenger, "--cohort", str(discs)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert load_cxr_aliases(filled_uri)["champion"] == "2"
    version = load_cxr_aliases(filled_uri)[challenger[1:]]
    tags = mlflow_store.connect_to_store(filled_uri).get_model_version("cxr", version).tags
    assert tags["gate.verdict"] == "refused"


def test_no_worse_within_the_margin_is_enough(filled_uri, discs):
    make_alias_champion(filled_uri, "good")
    facts = promote_challenger("cxr", discs, "@again", settings=FAST_GATE, tracking_uri=filled_uri)
    assert facts["numbers"]["classification"]["difference"]["value"] == 0
    assert load_cxr_aliases(filled_uri)["champion"] == load_cxr_aliases(filled_uri)["again"]


def test_other_preprocessing_may_be_allowed_but_must_still_be_good(filled_uri, discs):
    make_alias_champion(filled_uri, "good")
    settings = GateSettings(resamples=300, allow_preprocessing=True)
    with pytest.raises(MedpriorError, match="quality: champion"):
        promote_challenger("cxr", discs, "@sized", settings=settings, tracking_uri=filled_uri)


def test_the_first_champion_meets_absolute_bounds(filled_uri, discs):
    for alias in ("@weak", "@broken"):
        with pytest.raises(MedpriorError, match="there is no champion yet"):
            promote_challenger("cxr", discs, alias, settings=FAST_GATE, tracking_uri=filled_uri)
    assert "champion" not in load_cxr_aliases(filled_uri)
    promote_challenger("cxr", discs, "2", settings=FAST_GATE, tracking_uri=filled_uri)
    assert load_cxr_aliases(filled_uri)["champion"] == "2"
    assert "previous" not in load_cxr_aliases(filled_uri)


def test_masks_are_judged_by_dice_and_are_not_lost(filled_uri, discs, disc_models, tmp_path):
    poor = segmenter_model(discs, tmp_path / "poor", epochs=1)
    sound = segmenter_model(discs, tmp_path / "sound", epochs=3)
    register_model(disc_models["good"], "both", "challenger", segmenter=sound, tracking_uri=filled_uri)
    facts = promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    dice = facts["numbers"]["segmentation"]["challenger"]["segmentation.dice.mean"]
    assert dice["ci95"][0] > 0.5
    register_model(disc_models["good"], "both", "challenger", segmenter=poor, tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="segmentation quality: champion dice"):
        promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    register_model(disc_models["good"], "both", "challenger", tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="champion has a segmentation model"):
        promote_challenger("both", discs, settings=FAST_GATE, tracking_uri=filled_uri)
    allowed = GateSettings(resamples=300, allow_labels=True)
    promote_challenger("both", discs, settings=allowed, tracking_uri=filled_uri)
    assert load_aliases(mlflow_store.connect_to_store(filled_uri), "both")["champion"] == "3"


def test_rollback_goes_back_and_forth(filled_uri, discs, capsys):
    make_alias_champion(filled_uri, "weak")
    assert main(["promote", "cxr", "--rollback"]) == 2
    assert "no champion to go back to" in capsys.readouterr().err
    promote_challenger("cxr", discs, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    assert main(["promote", "cxr", "--rollback"]) == 0
    assert "version 1 is champion again" in capsys.readouterr().out
    assert (load_cxr_aliases(filled_uri)["champion"], load_cxr_aliases(filled_uri)["previous"]) == ("1", "2")
    assert main(["promote", "cxr", "--rollback"]) == 0
    assert load_cxr_aliases(filled_uri)["champion"] == "2"


def test_the_patients_of_both_models_of_a_package_are_checked(tracking_uri, classifier, segmenter, phantom_cohort):
    register_model(classifier, "cxr", "challenger", segmenter=segmenter, tracking_uri=tracking_uri)
    with pytest.raises(MedpriorError) as caught:
        promote_challenger("cxr", phantom_cohort, split="val", settings=FAST_GATE, tracking_uri=tracking_uri)
    for artifact in ("model", "segmenter"):
        assert f"{artifact} patients apart: trained on this cohort, " in str(caught.value)
    assert "champion" not in load_cxr_aliases(tracking_uri)


def test_the_evidence_is_what_evaluate_measures(filled_uri, discs, disc_models, tmp_path):
    from medprior.evaluate.evaluate import evaluate_cohort
    from medprior.evaluate.settings import EvaluateSettings

    facts = promote_challenger("cxr", discs, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    metrics = evaluate_cohort(
        discs, tmp_path / "evidence", model=disc_models["good"], settings=EvaluateSettings(resamples=300)
    )
    found = facts["numbers"]["classification"]["challenger"]
    for key in ("classification.mauc", "classification.ece"):
        assert found[key]["value"] == pytest.approx(metrics[key]["value"], abs=1e-9)
        assert found[key]["ci95"] == pytest.approx(metrics[key]["ci95"], abs=1e-9)


def test_its_own_training_patients_are_no_judges(filled_uri, discs, disc_models, tmp_path):
    make_alias_champion(filled_uri, "weak")
    with pytest.raises(MedpriorError, match="patients apart: trained on this cohort"):
        promote_challenger("cxr", discs, "@good", split="val", settings=FAST_GATE, tracking_uri=filled_uri)
    # The same patients in another cohort: only the record of the registration can tell. (A patient
    # falls into the same split in every cohort, so that its own test split is free of them.)
    other = disc_cohort(tmp_path / "other", patients=100)
    facts = promote_challenger("cxr", other, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    assert any("not recorded" in check["text"] for check in facts["checks"])
    register_model(disc_models["again"], "cxr", "told", tracking_uri=filled_uri, cohorts=[discs])
    with pytest.raises(MedpriorError, match=r"patients apart: 1\d\d training patients recorded"):
        promote_challenger("cxr", other, "@told", split="train", settings=FAST_GATE, tracking_uri=filled_uri)
    strangers = disc_cohort(tmp_path / "strangers", patients=150, first=5000)
    promote_challenger("cxr", strangers, "@told", settings=FAST_GATE, tracking_uri=filled_uri)
    with pytest.raises(MedpriorError, match="trained on another cohort"):
        register_model(disc_models["again"], "cxr", "told", tracking_uri=filled_uri, cohorts=[other])
