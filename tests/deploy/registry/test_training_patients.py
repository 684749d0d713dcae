"""Training patients of a registered model, and those the gate compares on."""

import pytest

from medprior.deploy import register_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.errors import MedpriorError
from tests.deploy.discs import disc_cohort
from tests.deploy.promotable import FAST_GATE, make_alias_champion


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
