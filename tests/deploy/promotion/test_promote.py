"""Promotion of a challenger and the way back to the previous champion."""

from medprior.cli import main
from medprior.deploy.promotion.promote import promote_challenger
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
