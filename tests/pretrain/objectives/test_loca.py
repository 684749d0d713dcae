"""LOCA (arXiv 2212.02400): losses of located queries, of clusters, and what counts nothing."""

import math

import pytest
import torch

from medprior.errors import ConfigError
from medprior.pretrain.objectives.loca import cluster_loss, location_loss, mean_entropy_penalty
from medprior.pretrain.objectives.locator import Locator

from ..multi_crops import WITHOUT_DINO, build_multi_crop, count_steps_until, gradients, learner_of, pictures, tiny


def test_chance_is_the_log_of_the_cells():
    cell = torch.randint(0, 196, (2, 50))
    assert location_loss(torch.zeros(2, 50, 196), cell).item() / 100 == pytest.approx(5.2781, abs=1e-4)
    torch.manual_seed(0)
    scores = Locator(48, 6, 196)(torch.randn(2, 50, 48), torch.randn(2, 39, 48))
    assert location_loss(scores, cell).item() / 100 == pytest.approx(math.log(196), abs=0.1)


def test_targets_do_not_depend_on_intensity():
    images, _ = pictures(4)
    targets = []
    for brightness in (0.0, 0.5):
        settings = tiny(recipe="loca", intensity={"brightness": brightness})
        learner = learner_of(settings)
        multi_crop = build_multi_crop(settings, learner, images)
        targets.append(learner.objectives["loca"].targets(multi_crop)[0])
    assert torch.equal(targets[0].cell, targets[1].cell)
    assert torch.equal(targets[0].visible, targets[1].visible)
    assert (targets[0].cell >= 0).float().mean() > 0.3


@pytest.mark.parametrize("reference", ["teacher", "student"])
def test_gradient_reaches_the_reference_only_without_the_moving_average(reference):
    """Seen through pixels: whether the position loss depends on the student's global view 1."""
    settings = tiny(
        recipe="loca", loca={"reference": reference, "cluster": False},
        dino={"weight": 0.0, "koleo_weight": 0.0},
    )  # fmt: skip
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    pixels = multi_crop.globals_.pixels.requires_grad_()
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    losses["loca"].backward()
    reached = pixels.grad.abs().amax((1, 2, 3)) > 0
    assert reached[4:].all()
    assert reached[:4].all().item() is (reference == "student")
    assert all(p.grad is None for p in learner.teacher.parameters())


def test_cluster_loss_and_even_use_of_prototypes():
    torch.manual_seed(0)
    targets = torch.rand(1, 9, 8).softmax(-1)
    cell = torch.tensor([[4, -1, 0]])
    scores = torch.randn(1, 3, 8)
    log_p = (scores / 0.1).log_softmax(-1)[0]
    expected = -(targets[0, 4] * log_p[0]).sum() - (targets[0, 0] * log_p[2]).sum()
    assert cluster_loss(scores, targets, cell, 0.1).item() == pytest.approx(expected.item())
    assert mean_entropy_penalty(torch.zeros(2, 5, 8), 0.1).item() == pytest.approx(-math.log(8))
    one = torch.zeros(2, 5, 8)
    one[..., 3] = 50
    assert mean_entropy_penalty(one, 0.1).item() == pytest.approx(0, abs=1e-4)


def test_cluster_loss_is_off_beside_ibot():
    assert tiny(recipe="loca").loca.cluster
    assert not tiny(recipe="loca+ibot").loca.cluster
    settings = tiny(recipe="loca")
    learner = learner_of(settings)
    gradient = gradients(learner, build_multi_crop(settings, learner, pictures(4)[0]), {"loca": 1.0})
    assert any(name.startswith("parts.loca_prototypes") for name in gradient)
    assert not any(name.startswith("head.") for name in gradient)
    assert "loca" not in learner.teacher.parts


def test_queries_outside_contribute_exactly_zero():
    torch.manual_seed(0)
    scores = torch.randn(2, 6, 9, requires_grad=True)
    cell = torch.tensor([[0, -1, 8, -1, 3, 3], [-1] * 6])
    location_loss(scores, cell).backward()
    outside = cell < 0
    assert torch.equal(scores.grad[outside], torch.zeros(8, 9))
    assert scores.grad[~outside].abs().amax(-1).min() > 0
    full = location_loss(scores[0][None, cell[0] >= 0], cell[0][None, cell[0] >= 0])
    assert torch.equal(location_loss(scores, cell), full)
    # -1 as an index would wrap to the last cell: what stands there must not matter
    targets = torch.rand(2, 9, 5)
    prototypes = torch.randn(2, 6, 5)
    first = cluster_loss(prototypes, targets, cell, 0.1)
    targets[1] = 77.0
    assert torch.equal(first, cluster_loss(prototypes, targets, cell, 0.1))


def test_all_outside_is_zero_not_nan():
    settings = tiny(recipe="loca", crops={"globals_scale": [0.3, 0.3], "locals": 0})
    learner = learner_of(settings)
    multi_crop = build_multi_crop(settings, learner, pictures(4)[0])
    multi_crop.globals_.geometry.box[4:, :2] += 5  # views elsewhere
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    losses["loca"].backward()
    assert torch.isfinite(losses["loca"])
    block = learner.student.parts["loca"]
    assert all(p.grad is None or float(p.grad.abs().max()) == 0 for p in block.parameters())


def test_hidden_patches_are_no_queries_and_hold_no_target():
    settings = tiny(recipe="all")
    learner = learner_of(settings)
    images, masks = pictures(6)
    multi_crop = build_multi_crop(settings, learner, images, masks)
    assert multi_crop.masked.any()
    located, _ = learner.objectives["loca"].targets(multi_crop)
    second = multi_crop.masked[6:]
    assert (located.cell[:, : second.shape[1]][second] == -1).all()
    (followed,), _ = learner.objectives["span"].targets(multi_crop)
    covered = followed.cover.transpose(1, 2)[multi_crop.masked]
    assert torch.equal(covered, torch.zeros_like(covered))


def test_loca_places_nine_patches_of_ten():
    settings = tiny(recipe="loca", loca={"cluster": False}, crops={"locals": 1}, **WITHOUT_DINO)
    assert count_steps_until(settings, lambda _, logs: logs["loca_accuracy"].item() > 0.9) <= 300


def test_location_loss_is_a_sum_over_located_queries():
    assert location_loss(torch.zeros(1, 3, 4), torch.tensor([[0, -1, 3]])).item() == pytest.approx(2 * math.log(4))
    scores = torch.tensor([[[0.0, math.log(3)]]])
    assert location_loss(scores, torch.tensor([[1]])).item() == pytest.approx(math.log(4 / 3))


def test_one_classifier_output_per_reference_patch_and_prototypes_with_clusters():
    clustered = learner_of(tiny(recipe="loca")).objectives["loca"]
    assert clustered.student_parts()["loca"].classify.out_features == 36
    assert list(clustered.parts()) == ["loca_prototypes"]
    assert learner_of(tiny(recipe="loca", loca={"cluster": False})).objectives["loca"].parts() == {}


def test_weight_is_warmed_up_and_held_to_the_end():
    loca = learner_of(tiny(recipe="loca", loca={"warmup": 0.2})).objectives["loca"]
    assert [loca.weight(progress) for progress in (0.0, 0.1, 0.2, 1.0)] == pytest.approx([0, 0.25, 0.5, 0.5])


def test_targets_of_a_part_are_those_of_the_whole():
    settings = tiny(recipe="loca")
    learner = learner_of(settings)
    images, loca = pictures(4)[0], learner.objectives["loca"]
    whole, count = loca.targets(build_multi_crop(settings, learner, images))
    parts = [loca.targets(build_multi_crop(settings, learner, images, part=p)) for p in (slice(0, 2), slice(2, 4))]
    assert whole.cell.shape == (4, 36 + 2 * 9)
    assert whole.visible.shape == (4, 7)
    for field in ("cell", "visible"):
        torch.testing.assert_close(torch.cat([getattr(part, field) for part, _ in parts]), getattr(whole, field))
    assert sum(part_count.item() for _, part_count in parts) == count.item() == (whole.cell >= 0).sum().item()


def build_published_step(**changes):
    """Settings, learner and multi-crop batch of LOCA alone with 9 of 36 query patches of global view 2."""
    settings = tiny(recipe="loca-alone", loca={"query_patches": 9} | changes)
    learner = learner_of(settings)
    return settings, learner, build_multi_crop(settings, learner, pictures(4)[0])


def test_dropped_patches_are_neither_encoded_nor_queries():
    """Pixels of a patch that is not kept change no loss; those of a kept one do."""
    _, learner, multi_crop = build_published_step()
    assert multi_crop.kept.shape == (4, 9)
    located, count = learner.objectives["loca"].targets(multi_crop)
    assert located.cell.shape == (4, 9 + 2 * 9)
    assert count.item() == (located.cell >= 0).sum().item()
    pixels = multi_crop.globals_.pixels.requires_grad_()
    losses, _ = learner.compute_losses(learner.student, multi_crop)
    losses["loca"].backward()
    second = pixels.grad[4:].unflatten(2, (6, 8)).unflatten(4, (6, 8)).abs().amax((1, 3, 5)).flatten(1)
    is_kept = torch.zeros(4, 36, dtype=torch.bool).scatter(1, multi_crop.kept, True)
    assert torch.equal(second > 0, is_kept)


def test_the_cells_are_those_of_the_kept_patches():
    settings, learner, multi_crop = build_published_step()
    whole = learner_of(tiny(recipe="loca-alone")).objectives["loca"]
    every, _ = whole.targets(build_multi_crop(settings, learner_of(tiny(recipe="loca-alone")), pictures(4)[0]))
    located, _ = learner.objectives["loca"].targets(multi_crop)
    assert torch.equal(located.cell[:, :9], every.cell[:, :36].gather(1, multi_crop.kept))
    assert torch.equal(located.cell[:, 9:], every.cell[:, 36:])


def test_kept_patches_are_of_seed_and_step_and_of_the_part():
    loca = build_published_step()[1].objectives["loca"]
    whole = loca.sample_kept_patches(3, slice(0, 4), 4, (6, 6))
    assert torch.equal(loca.sample_kept_patches(3, slice(2, 4), 4, (6, 6)), whole[2:])
    assert not torch.equal(loca.sample_kept_patches(4, slice(0, 4), 4, (6, 6)), whole)
    assert all(len(set(row)) == 9 for row in whole.tolist())
    assert learner_of(tiny(recipe="loca")).sample_kept_patches(0, slice(0, 4), 4, (6, 6)) is None


def test_more_patches_than_a_view_has_are_refused():
    with pytest.raises(ConfigError, match=r"loca\.query_patches.*at most 36, found 37"):
        build_published_step(query_patches=37)
    with pytest.raises(ConfigError, match=r"loca\.query_patches.*without life"):
        learner_of(tiny(recipe="loca-alone+life", loca={"query_patches": 9}))


def test_the_learners_location_loss_is_the_mean_over_located_queries():
    """A locator that knows nothing is as good as chance, however many queries there are."""
    settings = tiny(recipe="loca", loca={"cluster": False}, **WITHOUT_DINO)
    learner = learner_of(settings)
    with torch.no_grad():
        for parameter in learner.student.parts["loca"].parameters():
            parameter.zero_()
    images = pictures(4)[0]
    for count in (2, 4):
        multi_crop = build_multi_crop(settings, learner, images[:count])
        losses, _ = learner.compute_losses(learner.student, multi_crop)
        cells = math.prod(multi_crop.globals_.geometry.grid)
        assert losses["loca"].item() == pytest.approx(math.log(cells), rel=1e-5)
