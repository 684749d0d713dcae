"""Sections of the objectives: what each asks of a run, and what it may not be beside."""

import pytest

from medprior.errors import ConfigError
from medprior.networks import ViTSettings
from medprior.pretrain import PretrainSettings
from medprior.pretrain.objectives.objective_settings import (
    DinoSettings,
    IbotSettings,
    ObjectiveNeeds,
    SarSettings,
    SpanSettings,
)

NETWORK = ViTSettings(width=48, heads=6)


def run_of(recipe, **sections):
    return PretrainSettings.from_values({"recipe": recipe} | sections)


def test_at_weight_zero_nothing_is_needed():
    for section in (DinoSettings(weight=0), IbotSettings(separate_head=True), SpanSettings(weight=0)):
        assert section.needs == ObjectiveNeeds()
    assert SarSettings(excess=True).needs == ObjectiveNeeds()


def test_each_active_section_says_what_it_needs():
    assert DinoSettings().needs == ObjectiveNeeds(head=True, scores=True)
    assert IbotSettings(weight=1).needs == ObjectiveNeeds(masks=True, head=True)
    assert IbotSettings(weight=1, separate_head=True).needs == ObjectiveNeeds(masks=True)
    assert SpanSettings().needs == ObjectiveNeeds(prior="SPAN")
    assert SarSettings(weight=1).needs == ObjectiveNeeds()
    assert SarSettings(weight=1, excess=True).needs == ObjectiveNeeds(prior="sar.excess")


def test_needs_of_a_run_are_those_of_any_section():
    assert run_of("dino").needs == ObjectiveNeeds(head=True, scores=True)
    assert run_of("ibot", dino={"weight": 0}).needs == ObjectiveNeeds(masks=True, head=True)
    assert run_of("span+sar", sar={"excess": True}).needs.prior == "SPAN"
    assert run_of("sar", sar={"excess": True}).needs.prior == "sar.excess"
    assert not run_of("sar+loca+ibot").needs_prior


def test_a_masked_student_is_no_reference():
    with pytest.raises(ConfigError, match=r"loca\.reference=student and ibot\.weight > 0"):
        run_of("loca+ibot", loca={"reference": "student"})
    assert run_of("ibot", loca={"reference": "student"}).loca.weight == 0
    assert run_of("loca", loca={"reference": "student"}).loca.reference == "student"


def test_a_run_without_any_objective_is_refused():
    with pytest.raises(ConfigError, match="nothing to learn"):
        run_of("dino", dino={"weight": 0})


def test_ibots_teacher_is_dinos_unless_it_is_given():
    sinkhorn = run_of("ibot", dino={"teacher": "sinkhorn"})
    assert sinkhorn.resolve(64).ibot.teacher == "sinkhorn"
    assert run_of("ibot").resolve(64).ibot.teacher == "centering"
    own = run_of("ibot", dino={"teacher": "sinkhorn"}, ibot={"teacher": "centering"})
    assert own.resolve(64).ibot.teacher == "centering"


def test_clusters_can_be_asked_for_beside_ibot():
    assert run_of("loca+ibot", loca={"cluster": True}).resolve(64).loca.cluster
    assert not run_of("loca", loca={"cluster": False}).resolve(64).loca.cluster


def test_heads_at_the_start():
    names = ("left_lung", "right_lung", "heart")
    assert run_of("span").initial_heads(names, NETWORK) == [0, 1, 2]
    assert run_of("span").initial_heads(names[:2], ViTSettings(width=48, heads=6, life=True)) == [4, 5]
    hungarian = run_of("span", span={"assignment": "hungarian"})
    assert hungarian.initial_heads(names, NETWORK) == [-1, -1, -1]
    with pytest.raises(ConfigError, match="too many structures"):
        hungarian.initial_heads((*names, "spine"), NETWORK)
    assert run_of("dino").initial_heads(names, NETWORK) == []
    chosen = run_of("span", span={"heads": {"heart": 3, "left_lung": 5, "right_lung": 0}})
    assert chosen.initial_heads(names, NETWORK) == [5, 0, 3]


def test_uniform_entropy_is_the_log_of_the_prototypes():
    assert run_of("dino").resolve(64).uniform_entropy == pytest.approx(5.545177)
    assert run_of("dino").uniform_entropy == 0


def test_dropped_queries_are_not_beside_who_reads_them():
    for other in ("ibot", "sar", "span"):
        with pytest.raises(ConfigError, match=r"loca\.query_patches drops patches"):
            run_of(f"loca+{other}", loca={"query_patches": 9})
    assert run_of("loca", loca={"query_patches": 9}).loca.query_patches == 9
    assert run_of("sar", loca={"query_patches": 9}).loca.weight == 0


def test_locas_head_is_dinos_where_it_is_not_given():
    loca = run_of("loca", loca={"prototypes": 5}, dino={"hidden": 40, "prototype_init": "unit"}).resolve(64).loca
    assert (loca.prototypes, loca.hidden, loca.bottleneck, loca.batch_norm) == (5, 40, 64, True)
    assert loca.prototype_init == "unit"
