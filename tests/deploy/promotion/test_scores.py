"""Scores of one model on the gate's images."""

import pytest

from medprior.deploy.promotion.promote import promote_challenger
from tests.deploy.promotable import FAST_GATE


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
