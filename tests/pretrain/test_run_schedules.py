"""What changes over the steps of a whole run: rates, decay, the teacher's momentum; and the gradient of a step.

Read from the parameters themselves: what the optimiser and the teacher did, not what was asked of them.
"""

import copy

import pytest
import torch
from ignite.engine import Events

from medprior.pretrain import Pretraining
from medprior.pretrain.optimiser import build_pretrain_optimiser

from .multi_crops import learner_of, tiny
from .runs import TINY_RUN, run_settings

STEPS = 4
SETTINGS = {
    "recipe": "dino", "steps": STEPS, "dino": TINY_RUN["dino"] | {"teacher_momentum": 0.5},
    "optimiser": {"lr": 1e-3, "final_lr": 1e-4, "warmup": 0.25, "weight_decay": [0.0, 0.4], "clip": 1e-3},
}  # fmt: skip


class StepRecorder:
    """Momentum, rates, decay and gradient norm of every step; the teacher starts apart from the student."""

    def __init__(self, trainer):
        self.trainer, self.rows = trainer, []
        torch.manual_seed(3)
        with torch.no_grad():
            for parameter in trainer.learner.teacher.parameters():
                parameter.add_(torch.randn_like(parameter))
        trainer.add_event_handler(Events.ITERATION_STARTED, self.keep_teacher)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self.record_step)

    def keep_teacher(self, engine):
        self.before = [p.clone() for p in self.trainer.learner.teacher.parameters()]

    @torch.no_grad()
    def record_step(self, engine):
        learner, groups = self.trainer.learner, self.trainer.optimiser.param_groups
        students = dict(learner.student.named_parameters())
        moved, whole = 0.0, 0.0
        for old, (name, new) in zip(self.before, learner.teacher.named_parameters(), strict=True):
            way = (old - students[name]).flatten().double()
            moved += float((new - students[name]).flatten().double() @ way)
            whole += float(way @ way)
        norm = torch.cat([p.grad.flatten() for p in students.values() if p.grad is not None]).norm().item()
        rates = [(group["lr"], group["weight_decay"]) for group in groups]
        self.rows.append((moved / whole, norm, *rates))


@pytest.fixture(scope="module")
def rows(phantom_cohort, tmp_path_factory):
    run = Pretraining(phantom_cohort, tmp_path_factory.mktemp("run"), settings=run_settings(**SETTINGS))
    recorder = StepRecorder(run.trainer)
    run.trainer.run()
    assert len(recorder.rows) == STEPS
    return recorder.rows


def test_momentum_rises_from_its_setting_towards_one(rows):
    assert [row[0] for row in rows] == pytest.approx([0.5, 0.5732233, 0.75, 0.9267767], abs=1e-5)


def test_the_gradient_of_a_step_is_clipped_to_its_setting(rows):
    assert [row[1] for row in rows] == pytest.approx([1e-3] * STEPS, rel=1e-3)


def test_the_rate_of_both_groups_is_warmed_up_then_falls(rows):
    expected = [0, 1e-3, 7.75e-4, 3.25e-4]
    for group in (2, 3):
        assert [row[group][0] for row in rows] == pytest.approx(expected, abs=1e-9)


def test_decay_of_matrices_rises_and_that_of_the_rest_stays_zero(rows):
    assert [row[2][1] for row in rows] == pytest.approx([0, 0.0585786, 0.2, 0.3414214], abs=1e-6)
    assert [row[3][1] for row in rows] == [0] * STEPS


def test_a_parameter_is_in_one_group_and_no_bias_or_norm_decays():
    student = learner_of(tiny(recipe="all", ibot={"separate_head": True})).student
    optimiser = build_pretrain_optimiser(student, tiny())
    decaying, rest = ({id(p) for p in group["params"]} for group in optimiser.param_groups)
    assert not decaying & rest
    assert decaying | rest == {id(p) for p in student.parameters()}
    names = {name for name, p in student.named_parameters() if id(p) in decaying}
    assert not [name for name in names if name.endswith("bias") or ".norm" in name]
    assert {"head.prototypes", "parts.loca.classify.weight", "parts.ibot.mlp.0.weight"} < names
    assert optimiser.defaults["betas"] == (0.9, 0.999)
    assert isinstance(optimiser, torch.optim.AdamW)


def test_the_gradient_is_that_of_the_weighted_sum_of_losses(phantom_cohort, phantom_prior, tmp_path):
    """With weights far apart, at a step in the middle of the run."""
    settings = run_settings(
        recipe="span+sar", steps=STEPS, window=1, dino=TINY_RUN["dino"] | {"weight": 0.5, "koleo_weight": 0.25},
        span={"weight": 2.0, "warmup": 0.75}, sar={"weight": 3.0, "warmup": 0.6},
        optimiser={"lr": 1e-3, "warmup": 0.0, "clip": 1e9},
    )  # fmt: skip
    run = Pretraining(phantom_cohort, tmp_path, phantom_prior, settings)
    before = []
    run.trainer.add_event_handler(
        Events.ITERATION_STARTED(once=3), lambda engine: before.append(copy.deepcopy(run.trainer.learner))
    )
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda engine: engine.terminate())
    run.trainer.run()
    (learner,) = before
    (multi_crop,) = run.trainer.multi_crops(run.trainer.state.batch, 2, torch.device("cpu"))
    losses, _ = learner.train().compute_losses(learner.student, multi_crop)
    weights = {"dino": 0.5, "koleo": 0.25, "span": 2 * 0.5 / 0.75, "sar": 3 * 0.5 / 0.6}
    assert list(losses) == list(weights)
    learner.zero_grad(set_to_none=True)
    sum(weights[name] * loss for name, loss in losses.items()).backward()
    taken = dict(run.trainer.learner.student.named_parameters())
    for name, parameter in learner.student.named_parameters():
        torch.testing.assert_close(taken[name].grad, parameter.grad, rtol=1e-4, atol=1e-7)


def test_the_guard_looks_at_gradients_every_so_many_steps(phantom_cohort, phantom_prior, tmp_path):
    settings = run_settings(recipe="span", steps=STEPS, span={"guard": True, "guard_every": 2})
    run = Pretraining(phantom_cohort, tmp_path, phantom_prior, settings)
    guard, looks = run.trainer.learner.objectives["span"].guard, []
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: looks.append(int(guard.looks)))
    run.trainer.run()
    assert looks == [0, 1, 1, 2]
    assert guard.norms.min() > 0
