"""Recipes and their joins."""

import pytest

from medprior.pretrain.recipes import RECIPE_BASE, build_recipe_settings
from medprior.pretrain.settings import PretrainSettings

from .multi_crops import learner_of, tiny


def test_dino_alone_leaves_span_out():
    assert build_recipe_settings("dino") == {"span": {"weight": 0.0}}


def test_a_join_holds_the_sections_of_its_parts():
    assert build_recipe_settings("span+sar") == {"span": {"weight": 0.3}, "sar": {"weight": 0.01}}
    assert RECIPE_BASE == {"span": {"weight": 0.0}}


def test_the_later_part_wins():
    assert build_recipe_settings("koleo+nokoleo")["dino"] == {"koleo_weight": 0.0}
    assert build_recipe_settings("nokoleo+koleo")["dino"] == {"koleo_weight": 0.1}


def test_loca_alone_has_no_other_objective():
    settings = PretrainSettings.from_values({"recipe": "loca-alone"})
    assert {name: section.weight for name, section in settings.sections.items() if section.weight} == {"loca": 1.0}
    assert settings.dino.koleo_weight == 0
    learner = learner_of(tiny(recipe="loca-alone"))
    assert list(learner.objectives) == ["loca"]
    assert learner.weights(0.0) == learner.weights(1.0) == {"loca": 1.0}
    assert learner.student.head is None


def test_nosn_is_the_last_block_of_sars_command():
    assert build_recipe_settings("sar+nosn")["network"] == {"nosn": True}
    blocks = learner_of(tiny(recipe="sar+nosn")).student.backbone.blocks
    assert [block.nosn for block in blocks] == [False, True]


@pytest.mark.parametrize("name", ["dino+magic", "magic", "dino+", ""])
def test_an_unknown_part_is_named_beside_the_known(name):
    with pytest.raises(ValueError, match=rf"no recipe '{name.rpartition('+')[2]}'; recipes are dino, koleo"):
        build_recipe_settings(name)
