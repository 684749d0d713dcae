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
from tests.settings_ranges import NOT_NEGATIVE, POSITIVE, SHARE, check_range, count_from

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


@pytest.mark.parametrize(("weight", "cluster"), [(0, True), (0.01, False), (1, False), (2, False)])
def test_clusters_are_learnt_unless_ibot_does_so(weight, cluster):
    assert run_of("loca", ibot={"weight": weight}).resolve(64).loca.cluster is cluster


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


def test_defaults():
    run = PretrainSettings()
    dino, ibot, span, sar, loca = run.dino, run.ibot, run.span, run.sar, run.loca
    assert (dino.weight, span.weight, ibot.weight, sar.weight, loca.weight) == (1, 0.3, 0, 0, 0)
    assert (dino.hidden, dino.bottleneck, dino.prototype_init, dino.freeze_epochs) == (512, 64, "normal", 0)
    assert (dino.student_temperature, dino.centre_momentum, dino.koleo_weight) == (0.1, 0.9, 0.1)
    assert (dino.start_temperature, dino.temperature_epochs) == (None, 0)
    assert (ibot.probability, ibot.ratio, ibot.aspect, ibot.separate_head) == (0.5, (0.1, 0.5), 0.3, False)
    assert (span.loss, span.warmup, span.floor, span.epsilon, span.entropy_floor) == ("kl", 0.05, 1, 0.02, 0.5)
    assert (span.visible_share, span.visible_cover, span.assignment, span.assign_after) == (0.25, 0.02, "fixed", 0.01)
    assert (span.local_views, span.mass_penalty, span.guard, span.guard_every) == (False, 0, False, 100)
    assert (sar.warmup, sar.warmup_epochs, sar.connectivity, sar.excess) == (0.1, None, 8, False)
    assert (loca.warmup, loca.visible, loca.pattern, loca.reference) == (0.05, 0.2, "consecutive", "teacher")
    assert (loca.teacher_temperature, loca.student_temperature, loca.query_patches) == (0.05, 0.1, None)


BELOW_ONE = ((0, 0.99), (-0.01, 1))


@pytest.mark.parametrize(
    ("section", "field", "ends"),
    [
        *((section, "weight", NOT_NEGATIVE) for section in ("ibot", "span", "sar", "loca")),
        ("dino", "prototypes", count_from(2)), ("dino", "hidden", count_from(8)), ("dino", "bottleneck", count_from(4)),
        ("dino", "freeze_epochs", count_from(0)), ("dino", "teacher_temperature", POSITIVE),
        ("dino", "start_temperature", POSITIVE), ("dino", "temperature_epochs", NOT_NEGATIVE),
        ("dino", "student_temperature", POSITIVE), ("dino", "centre_momentum", BELOW_ONE),
        ("dino", "teacher_momentum", BELOW_ONE), ("dino", "koleo_weight", NOT_NEGATIVE),
        ("ibot", "probability", SHARE), ("ibot", "aspect", ((0.01, 1), (0, 1.01))),
        *(("span", name, SHARE) for name in ("warmup", "floor", "entropy_floor", "visible_share", "visible_cover")),
        ("span", "assign_after", SHARE), ("span", "epsilon", BELOW_ONE), ("span", "mass_penalty", NOT_NEGATIVE),
        ("span", "guard_every", count_from(1)), ("sar", "warmup", SHARE), ("sar", "warmup_epochs", NOT_NEGATIVE),
        ("loca", "warmup", SHARE), ("loca", "visible", ((0.01, 1), (0, 1.01))),
        ("loca", "query_patches", count_from(1)),
        ("loca", "prototypes", count_from(2)), ("loca", "hidden", count_from(8)), ("loca", "bottleneck", count_from(4)),
        ("loca", "teacher_temperature", POSITIVE), ("loca", "student_temperature", POSITIVE),
    ],
)  # fmt: skip
def test_ranges(section, field, ends):
    check_range(PretrainSettings, section, field, *ends)


def test_the_weight_of_dino_is_not_negative():
    assert run_of("span", dino={"weight": 0}).dino.weight == 0
    with pytest.raises(ConfigError, match=r"dino\.weight"):
        run_of("span", dino={"weight": -0.01})
