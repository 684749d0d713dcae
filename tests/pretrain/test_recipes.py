"""Recipes and their joins."""

import pytest

from medprior.pretrain.recipes import RECIPE_BASE, build_recipe_settings


def test_dino_alone_leaves_span_out():
    assert build_recipe_settings("dino") == {"span": {"weight": 0.0}}


def test_a_join_holds_the_sections_of_its_parts():
    assert build_recipe_settings("span+sar") == {"span": {"weight": 0.3}, "sar": {"weight": 0.01}}
    assert RECIPE_BASE == {"span": {"weight": 0.0}}


def test_the_later_part_wins():
    assert build_recipe_settings("koleo+nokoleo")["dino"] == {"koleo_weight": 0.0}
    assert build_recipe_settings("nokoleo+koleo")["dino"] == {"koleo_weight": 0.1}


@pytest.mark.parametrize("name", ["dino+magic", "magic", "dino+", ""])
def test_an_unknown_part_is_named_beside_the_known(name):
    with pytest.raises(ValueError, match=rf"no recipe '{name.rpartition('+')[2]}'; recipes are dino, koleo"):
        build_recipe_settings(name)
