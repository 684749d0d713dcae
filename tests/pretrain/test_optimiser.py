"""Groups, rates and clipping of pretraining's AdamW, and prototypes that stay."""

from itertools import pairwise

import pandas as pd
import pytest
import torch
from ignite.engine import Events

from medprior.pretrain import Pretraining
from medprior.pretrain.optimiser import (
    build_pretrain_optimiser,
    clip_gradients,
    compute_rate_scale,
    freeze_prototypes,
    set_rates,
)
from medprior.pretrain.settings import OptimiserSettings

from .multi_crops import learner_of, tiny
from .runs import TINY_RUN, run_settings


def test_matrices_decay_and_vectors_do_not():
    student = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.LayerNorm(3)])
    optimiser = build_pretrain_optimiser(student, tiny(optimiser={"weight_decay": [0.5, 0.7], "lr": 0.25}))
    decaying, rest = optimiser.param_groups
    assert [p.shape for p in decaying["params"]] == [(3, 2)]
    assert [p.shape for p in rest["params"]] == [(3,), (3,), (3,)]
    assert (decaying["weight_decay"], rest["weight_decay"]) == (0.5, 0.0)
    assert decaying["lr"] == rest["lr"] == 0.25


@pytest.mark.parametrize(
    ("scaling", "batch", "expected"),
    [("none", 1024, 0.004), ("linear", 64, 0.001), ("linear", 1024, 0.016), ("sqrt", 64, 0.002), ("sqrt", 1024, 0.008)],
)
def test_the_peak_rate_follows_the_batch(scaling, batch, expected):
    settings = OptimiserSettings(lr=0.004, lr_scaling=scaling, lr_batch=256)
    assert settings.scale_rate(batch) == pytest.approx(expected)


def test_the_scaled_rate_is_that_of_the_run_and_warm_up_is_in_epochs():
    """Batch 8 of 64 images: 8 steps an epoch, 16 steps, warm-up 1 of 2 epochs; lr 0.5 * 8 / 4."""
    optimiser = {"lr": 0.5, "lr_scaling": "linear", "lr_batch": 4, "final_lr": 0.0, "warmup": 0.9, "warmup_epochs": 1}
    settings = tiny(steps=16, optimiser=optimiser)
    adam = build_pretrain_optimiser(learner_of(settings).student, settings)
    rates = []
    for step in (0, 4, 8, 12):
        set_rates(adam, settings, step / 16)
        rates.append(adam.param_groups[0]["lr"])
    assert rates == pytest.approx([0, 0.5, 1, 0.5], abs=1e-6)
    assert settings.compute_warmup_share(0.9, 5) == 1
    assert settings.compute_warmup_share(0.9, None) == 0.9


def test_lower_layers_learn_slower_and_the_patch_embedding_slowest():
    settings = OptimiserSettings(layer_decay=0.5, patch_embed_rate=0.2)
    expected = {
        "backbone.embed.weight": 0.025, "backbone.stem.patch_embed.proj.weight": 0.025, "backbone.cls": 0.125,
        "backbone.position": 0.125, "backbone.blocks.0.mlp.0.weight": 0.25, "backbone.blocks.1.norm1.bias": 0.5,
        "backbone.norm.weight": 1, "head.prototypes": 1, "parts.loca.query.weight": 1,
    }  # fmt: skip
    assert {name: compute_rate_scale(name, 2, settings) for name in expected} == pytest.approx(expected)


def test_groups_hold_every_parameter_with_its_factor():
    settings = tiny(recipe="loca+ibot", optimiser={"layer_decay": 0.5, "lr": 1.0, "warmup": 0.0})
    student = learner_of(settings).student
    adam = build_pretrain_optimiser(student, settings)
    grouped = [id(p) for group in adam.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in student.parameters())
    set_rates(adam, settings, 0.0)
    rate = {id(p): group["lr"] for group in adam.param_groups for p in group["params"]}
    assert rate[id(student.backbone.embed.weight)] == pytest.approx(0.125, rel=1e-4)
    assert rate[id(student.backbone.blocks[1].mlp[0].weight)] == pytest.approx(0.5, rel=1e-4)
    assert rate[id(student.head.prototypes)] == pytest.approx(1, rel=1e-4)
    assert adam.param_groups[0]["scale"] == 1  # whose rate is logged


def student_with_gradients():
    """Backbone, head and LOCA's two parts; every gradient is 1."""
    student = learner_of(tiny(recipe="loca")).student
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    return student


def norm_of(parameters):
    return torch.stack([p.grad.norm() for p in parameters]).norm().item()


def test_clipping_is_over_the_student_its_parts_or_each_tensor():
    students = {}
    for by in ("student", "part", "tensor"):
        students[by] = student_with_gradients()
        whole = norm_of(students[by].parameters())
        norm = clip_gradients(students[by], OptimiserSettings(clip=2.0, clip_by=by))
        assert norm.item() == pytest.approx(whole, rel=1e-5)
    assert norm_of(students["student"].parameters()) == pytest.approx(2, rel=1e-4)
    parts = [students["part"].backbone, students["part"].head, *students["part"].parts.values()]
    assert [norm_of(part.parameters()) for part in parts] == pytest.approx([2] * 4, rel=1e-4)
    norms = [p.grad.norm().item() for p in students["tensor"].parameters()]
    lengths = [min(2.0, p.numel() ** 0.5) for p in students["tensor"].parameters()]  # shorter ones stay
    assert norms == pytest.approx(lengths, rel=1e-4)


def test_parameters_without_gradient_are_left_out_of_clipping():
    student = student_with_gradients()
    student.head.prototypes.grad = None
    for by in ("student", "part", "tensor"):
        clip_gradients(student, OptimiserSettings(clip=2.0, clip_by=by))
    assert student.head.prototypes.grad is None


def test_prototypes_of_dino_and_ibot_are_frozen_and_not_those_of_loca():
    student = learner_of(tiny(recipe="loca+ibot", loca={"cluster": True}, ibot={"separate_head": True})).student
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    freeze_prototypes(student)
    frozen = [name for name, p in student.named_parameters() if p.grad is None]
    assert frozen == ["head.prototypes", "parts.ibot.prototypes"]


def test_prototypes_stay_for_the_first_epoch_of_a_run(phantom_cohort, tmp_path):
    """Neither gradient nor weight decay moves them before the epoch is over."""
    dino = TINY_RUN["dino"] | {"freeze_epochs": 1}
    run = Pretraining(phantom_cohort, tmp_path, settings=run_settings(dino=dino, optimiser={"warmup": 0.0}, window=1))
    length = run.trainer.state.epoch_length
    prototypes = run.trainer.learner.student.head.prototypes
    values = [prototypes.detach().clone()]
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: values.append(prototypes.detach().clone()))
    run.trainer.run()
    assert 1 < length < len(values) - 1
    moved = [not torch.equal(left, right) for left, right in pairwise(values)]
    assert moved == [False] * length + [True] * (len(moved) - length)
    assert pd.DataFrame(run.metrics.rows).lr.iloc[0] == pytest.approx(1e-3, rel=1e-6)
