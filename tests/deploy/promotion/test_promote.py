"""Promotion of a challenger and the way back to the previous champion."""

import pytest

from medprior.cli import main
from medprior.deploy import register_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.errors import MedpriorError
from tests.deploy.promotable import FAST_GATE, load_cxr_aliases, make_alias_champion


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
