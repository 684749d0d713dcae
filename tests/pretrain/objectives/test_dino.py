"""DINO (Caron et al. 2021, arXiv 2104.14294): loss, centre, Sinkhorn-Knopp (Caron et al. 2020)."""

import math

import numpy as np
import pytest
import torch

from medprior.errors import TrainingCollapsed
from medprior.pretrain.objectives.dino import (
    DinoObjective,
    apply_sinkhorn,
    centred_softmax,
    compute_mean_entropy,
    dino_loss,
    update_centre,
)

from ..multi_crops import build_multi_crop, learner_of, pictures, take_dino_step, tiny
from ..slow_twins import softmax


def test_dino_against_twin():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(5, 3, 7)), softmax(rng.normal(size=(2, 3, 7)))
    pairs = []
    for g in range(2):
        for v in range(5):
            if v != g:
                log_p = np.log(softmax(student[v] / 0.1))
                pairs.append(np.mean([-(teacher[g, b] * log_p[b]).sum() for b in range(3)]))
    ours = dino_loss(torch.tensor(student), torch.tensor(teacher, dtype=torch.float32), 0.1)
    assert ours.item() == pytest.approx(np.mean(pairs), rel=1e-5)


def test_centre_and_softmax():
    scores = torch.randn(2, 4, 6)
    centre = update_centre(torch.zeros(6), scores.reshape(-1, 6).mean(0), 0.9)
    assert torch.allclose(centre, 0.1 * scores.reshape(-1, 6).mean(0))
    twin = softmax((scores.numpy() - centre.numpy()) / 0.04)
    assert np.allclose(centred_softmax(scores, centre, 0.04).numpy(), twin, atol=1e-5)


def test_entropy_bounds():
    assert compute_mean_entropy(torch.full((3, 8), 1 / 8)).item() == pytest.approx(np.log(8))
    assert compute_mean_entropy(torch.eye(8)).item() == 0


@pytest.mark.parametrize(
    ("prototypes", "log_k", "tolerance"), [(256, np.log(256), 1e-6 * np.log(256)), (4096, 8.3178, 1e-4)]
)
def test_collapse_is_log_k(prototypes, log_k, tolerance):
    loss = dino_loss(torch.zeros(4, 2, prototypes), torch.full((2, 2, prototypes), 1 / prototypes), 0.1)
    assert loss.item() == pytest.approx(log_k, rel=0, abs=tolerance)


def test_no_view_is_compared_with_itself():
    """With two views, swapping the student's makes the pair (g, v != g) the aligned one."""
    teacher = torch.eye(2).reshape(2, 1, 2)
    aligned = 10 * teacher.clone()
    assert dino_loss(aligned.flip(0), teacher, 1.0) < 1e-3
    assert dino_loss(aligned, teacher, 1.0) > 5


def test_centre_moves_when_the_step_is_taken_and_only_then():
    settings, learner, multi_crop, _, _ = take_dino_step()
    dino = learner.objectives["dino"]
    assert torch.equal(dino.centre, torch.zeros(32))
    learner.discard_step()
    learner.commit_step()
    assert torch.equal(dino.centre, torch.zeros(32))
    learner.compute_losses(learner.student, multi_crop)
    learner.commit_step()
    with torch.no_grad():
        _, scores = learner.teacher([multi_crop.globals_.pixels], 0)
    assert torch.allclose(dino.centre, 0.1 * scores.mean(0), atol=1e-6)
    moved = update_centre(torch.ones(32), scores.mean(0), settings.dino.centre_momentum)
    assert torch.allclose(moved, 0.9 + 0.1 * scores.mean(0))


def test_health_is_logged():
    *_, logs = take_dino_step()
    assert 0 < logs["teacher_entropy"] < np.log(32)
    assert logs["teacher_entropy"] <= logs["mean_entropy"] + 1e-6
    assert logs["feature_std"] > 0


def test_marginals():
    torch.manual_seed(0)
    q = apply_sinkhorn(torch.randn(64, 32), 0.5, iterations=30)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(q.sum(0), torch.full((32,), 2.0), atol=1e-3)


def test_three_rounds_as_loca_uses_them():
    torch.manual_seed(0)
    q = apply_sinkhorn(torch.randn(64, 32).log_softmax(-1), 1.0)
    assert torch.allclose(q.sum(1), torch.ones(64), atol=1e-6)
    columns = q.sum(0) / 2
    assert (columns - 1).abs().max() < 1e-3
    twin = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)).softmax(-1)
    for _ in range(3):
        twin = twin / twin.sum(0)
        twin = twin / twin.sum(1, keepdim=True)
    assert torch.allclose(q, twin, atol=1e-6)


def health_rows(*shares):
    """Rows of metrics whose teacher entropy is a share of the log of 32 prototypes."""
    return [{"teacher_entropy": share * 3.4657359} for share in shares]


def test_a_run_has_collapsed_where_every_row_says_so():
    dino = DinoObjective(tiny())
    with pytest.raises(TrainingCollapsed, match=r"0\.98 of ln K at step 7.*teacher_temperature"):
        dino.check_health(health_rows(1.0, 0.9801), 7)
    with pytest.raises(TrainingCollapsed, match=r"0\.01 of ln K at step 7.*teacher_momentum"):
        dino.check_health(health_rows(0.0199, 0.01), 7)


def test_one_row_between_the_limits_is_health():
    dino = DinoObjective(tiny())
    dino.check_health(health_rows(1.0, 0.979, 1.0), 7)
    dino.check_health(health_rows(0.0, 0.021, 0.0), 7)
    dino.check_health(health_rows(0.0, 1.0), 7)
    dino.check_health([{"loss": 1.0}], 7)
    dino.check_health([], 7)


def test_sinkhorn_balances_each_view_by_itself_and_needs_no_centre():
    settings = tiny(dino={"teacher": "sinkhorn", "teacher_temperature": 0.5})
    dino = DinoObjective(settings)
    torch.manual_seed(0)
    scores = torch.randn(8, 32)
    probabilities = dino._teacher_probabilities(scores, 4)
    torch.testing.assert_close(probabilities[1], apply_sinkhorn(scores[4:], 0.5))
    dino.commit_step()
    assert dino.centre.abs().max() == 0


def test_centre_moves_to_the_mean_over_parts_of_a_step():
    dino = DinoObjective(tiny(dino={"prototypes": 2, "centre_momentum": 0.75}))
    dino._teacher_probabilities(torch.tensor([[1.0, 0.0], [3.0, 0.0]]), 1)
    dino._teacher_probabilities(torch.tensor([[6.0, 4.0], [6.0, 4.0]]), 1)
    dino.commit_step()
    assert dino.centre.tolist() == [1.0, 0.5]


def test_sinkhorn_of_one_row_of_no_rows_and_of_alike_rows():
    assert apply_sinkhorn(torch.tensor([[5.0, -3.0]]), 1.0)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-5)
    assert apply_sinkhorn(torch.zeros(0, 4), 1.0).shape == (0, 4)
    assert apply_sinkhorn(torch.zeros(3, 4), 0.1).flatten().tolist() == pytest.approx([0.25] * 12)


def test_the_teacher_is_as_sharp_as_its_step_says():
    """From 0.5 over one epoch of 8 steps to 0.1."""
    settings = tiny(dino={"teacher_temperature": 0.1, "start_temperature": 0.5, "temperature_epochs": 1})
    scores = torch.tensor([[0.0, 0.2], [0.0, 0.2]])
    for step, temperature in ((0, 0.5), (4, 0.3), (8, 0.1), (50, 0.1)):
        dino = DinoObjective(settings)
        dino.centre = torch.zeros(2)
        probabilities = dino._teacher_probabilities(scores, 1, step)
        assert probabilities[0, 0, 1].item() == pytest.approx(1 / (1 + math.exp(-0.2 / temperature)), rel=1e-5)


def test_steps_of_a_run_reach_the_teacher():
    learner = learner_of(tiny(dino={"teacher_temperature": 0.02, "start_temperature": 5.0, "temperature_epochs": 1}))
    entropies = []
    for step in (0, 8):
        multi_crop = build_multi_crop(learner.settings, learner, pictures(4)[0], step=step)
        entropies.append(learner.compute_losses(learner.student, multi_crop)[1]["teacher_entropy"].item())
        learner.discard_step()
    assert entropies[0] == pytest.approx(math.log(32), rel=1e-3)
    assert entropies[1] < 0.99 * entropies[0]
