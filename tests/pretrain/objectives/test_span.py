"""SPAN (idea: arXiv 2209.03745): which views teach a structure, which heads follow it, and whether they learn."""

from dataclasses import replace

import pytest
import torch

from medprior.geometry import Views
from medprior.pretrain.objectives.divergences import (
    AttentionComparison,
    build_attention_target,
    compute_top_mass_iou,
    kl_divergence,
)
from medprior.pretrain.objectives.head_assignment import find_best_assignment
from medprior.pretrain.objectives.objective import MultiCropBatch, PriorMaps
from medprior.pretrain.objectives.span import SpanObjective, compute_mass_penalty, find_visible_pairs
from medprior.pretrain.views.augment import ViewBatch

from ..multi_crops import WITHOUT_DINO, build_multi_crop, count_steps_until, learner_of, pictures, tiny


def test_gate_needs_a_quarter_of_the_structure_and_two_percent_of_the_view():
    patches = torch.zeros(4, 1, 100)
    patches[0, 0, :50] = 1  # all of it
    patches[1, 0, :10] = 1  # a fifth of it
    patches[2, 0, :1] = 1  # all of it, but 1 % of the view
    source = torch.tensor([[0.5], [0.5], [0.01], [0.5]])
    assert find_visible_pairs(patches, source, 0.25, 0.02).flatten().tolist() == [True, False, False, False]


def targets_of(boxes, maps, hidden=None, trust=1.0):
    """SPAN's targets for one image seen in two global views."""
    settings = tiny(recipe="span")
    span = learner_of(settings).objectives["span"]
    box = torch.tensor(boxes, dtype=torch.float64).numpy()
    geometry = Views(box, box[:, 0] > 9, (6, 6))
    views = ViewBatch(torch.zeros(2, 1, 48, 48), geometry, torch.zeros(2, dtype=torch.long))
    prior = PriorMaps(maps, torch.full((1,), trust))
    return span.targets(MultiCropBatch(views, None, prior, hidden))


def organ():
    """One structure in the upper left eighth, one everywhere, one nowhere."""
    maps = torch.zeros(1, 3, 96, 96)
    maps[0, 0, :48, :24] = 1
    maps[0, 1] = 1
    return maps


def test_gate_on_real_crops():
    (followed,), count = targets_of([[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], organ())
    assert followed.gate.tolist() == [[1, 1, 0], [0, 1, 0]]
    assert count.item() == 3
    # a crop of the lower right sixth of the first structure alone: less than a quarter of it
    (followed,), _ = targets_of([[0.0, 0.2, 0.5, 0.5], [0, 0, 0.5, 0.5]], organ())
    assert followed.gate[:, 0].tolist() == [0, 1]


def test_trust_weighs_pairs():
    (followed,), count = targets_of([[0, 0, 1, 1], [0, 0, 1, 1]], organ(), trust=0.5)
    assert followed.gate[:, 1].tolist() == [0.5, 0.5]
    assert count.item() == 2


def test_a_structure_that_is_hidden_does_not_count():
    hidden = torch.zeros(2, 36, dtype=torch.bool)
    hidden[0].view(6, 6)[:3, :2] = True
    (followed,), _ = targets_of([[0, 0, 1, 1], [0, 0, 1, 1]], organ(), hidden)
    assert followed.gate[:, 0].tolist() == [0, 1]
    assert followed.cover[0, 1][hidden[0]].abs().max() == 0


def test_a_closed_gate_gives_no_loss_and_no_gradient():
    settings = tiny(recipe="span", dino={"weight": 0.0, "koleo_weight": 0.0})
    learner = learner_of(settings)
    box = torch.tensor([[0.5, 0.5, 0.5, 0.5]] * 2, dtype=torch.float64).numpy()
    geometry = Views(box, box[:, 0] > 9, (6, 6))
    views = ViewBatch(torch.rand(2, 1, 48, 48), geometry, torch.zeros(2, dtype=torch.long))
    empty = PriorMaps(torch.zeros(1, 3, 96, 96), torch.ones(1))
    losses, _ = learner.compute_losses(learner.student, MultiCropBatch(views, None, empty))
    losses["span"].backward()
    assert losses["span"].item() == 0
    grads = [p.grad for p in learner.student.parameters() if p.grad is not None]
    assert all(float(g.abs().max()) == 0 for g in grads)


def test_scores_of_cls_and_registers_do_not_matter():
    """Whatever the CLS query thinks of itself and of the registers, the loss is the same."""
    settings = tiny(recipe="span")
    images, masks = pictures(4)
    losses_and_mass = []
    for shift in (0.0, 5.0):
        learner = learner_of(settings)
        backbone = learner.student.backbone
        multi_crop = build_multi_crop(settings, learner, images, masks)

        def shifted(row, shift=shift, prefix=backbone.prefix):
            row[..., :prefix] += shift
            return row

        original = type(backbone).step

        def step(index, x, context, row=False, watch=None, original=original, own=backbone):
            x, scores = original(own, index, x, context, row, watch)
            return x, None if scores is None else shifted(scores.clone())

        backbone.step = step
        losses, logs = learner.compute_losses(learner.student, multi_crop)
        losses_and_mass.append((losses["span"].item(), logs["cls_mass"].item()))
    assert losses_and_mass[0][0] == pytest.approx(losses_and_mass[1][0], rel=1e-6)
    assert losses_and_mass[1][1] < losses_and_mass[0][1] / 2  # the shift did reach the row


def test_heads_are_assigned_once_after_a_hundredth_of_the_run():
    settings = tiny(recipe="span+sar", span={"assignment": "hungarian"}, steps=296)
    learner = learner_of(settings, (-1, -1, -1))
    span = learner.objectives["span"]
    assert span.assign_at == 3
    images, masks = pictures(4)
    costs = []
    for step in range(4):
        multi_crop = build_multi_crop(settings, learner, images, masks, step)
        losses, logs = learner.compute_losses(learner.student, multi_crop)
        pending = step < 3
        assert (losses["span"].item() == 0) is pending
        assert ("span_kl_0" in logs) is not pending
        if pending:
            tokens = learner.student.backbone(multi_crop.globals_.pixels, True)
            (followed,), _ = span.targets(multi_crop)
            target = build_attention_target(followed.cover, 0.02)
            each = [
                kl_divergence(AttentionComparison(tokens.cls_logits[:, [h] * 3], followed.cover, target))
                for h in range(6)
            ]
            costs.append((torch.stack(each, -1), followed.gate))
        learner.commit_step()
    sums = sum((each * gate[..., None]).sum(0) for each, gate in costs)
    mean = sums / sum(gate.sum(0) for _, gate in costs)[:, None]
    assert span.heads.tolist() == find_best_assignment(mean)
    assert torch.equal(learner.structure_heads(), span.heads)


def test_guard_scales_the_weight_and_survives_in_the_state():
    settings = tiny(recipe="span", span={"guard": True})
    learner = learner_of(settings)
    span = learner.objectives["span"]
    span.guard.update_norms(torch.tensor(1.0), torch.tensor(0.1))
    assert learner.weights(0.5)["span"] == pytest.approx(0.15)
    other = learner_of(settings)
    other.load_state_dict(learner.state_dict())
    assert other.weights(0.5)["span"] == pytest.approx(0.15)


def test_logs_are_means_over_the_pairs_that_count():
    """Divergence, overlap and entropy of each structure; overlap and entropy in detailed steps alone."""
    settings = tiny(recipe="span")
    learner = learner_of(settings, (4, 0, 3))
    multi_crop = build_multi_crop(settings, learner, *pictures(4))
    detailed = replace(multi_crop, detail=True)
    losses, logs = learner.compute_losses(learner.student, detailed)
    (followed,), _ = learner.objectives["span"].targets(multi_crop)
    tokens = learner.student.backbone(multi_crop.globals_.pixels, True)
    target = build_attention_target(followed.cover, 0.02)
    x = AttentionComparison(tokens.cls_logits[:, [4, 0, 3]], followed.cover, target)
    values = {"kl": kl_divergence(x), "iou60": compute_top_mass_iou(x), "entropy": -(target * target.log()).sum(-1)}
    for name, value in values.items():
        means = (value * followed.gate).sum(0) / followed.gate.sum(0)
        assert [logs[f"span_{name}_{k}"].item() for k in range(3)] == pytest.approx(means.tolist(), rel=1e-4)
    mean = (values["kl"] * followed.gate).sum() / followed.gate.sum()
    assert losses["span"].item() == pytest.approx(mean.item(), rel=1e-4)
    assert logs["cls_mass"].item() == pytest.approx(tokens.cls_mass[:, [4, 0, 3]].mean().item(), rel=1e-4)
    _, plain = learner.compute_losses(learner.student, replace(multi_crop, detail=False))
    assert {name for name in logs if name.startswith("span_")} - plain.keys() == {
        f"span_{name}_{k}" for name in ("iou60", "entropy") for k in range(3)
    }


def test_penalty_on_heads_that_hide_their_mass():
    mass = torch.tensor([0.9, 0.5, 0.25], requires_grad=True)
    penalty = compute_mass_penalty(mass)
    assert penalty.tolist() == pytest.approx([0, 0, 0.6931], abs=1e-4)
    penalty.sum().backward()
    assert mass.grad.tolist() == pytest.approx([0, 0, -4], abs=1e-3)


def test_the_penalty_joins_the_divergence_of_the_pairs_that_count():
    losses = {}
    for factor in (0.0, 0.5):
        settings = tiny(recipe="span", span={"mass_penalty": factor})
        learner = learner_of(settings, (4, 0, 3))
        multi_crop = build_multi_crop(settings, learner, *pictures(4))
        losses[factor] = learner.compute_losses(learner.student, multi_crop)[0]["span"].item()
    (followed,), _ = learner.objectives["span"].targets(multi_crop)
    tokens = learner.student.backbone(multi_crop.globals_.pixels, True)
    penalty = compute_mass_penalty(tokens.cls_mass[:, [4, 0, 3]])
    expected = 0.5 * ((penalty * followed.gate).sum() / followed.gate.sum()).item()
    assert losses[0.5] - losses[0.0] == pytest.approx(expected, abs=1e-5)


def test_span_falls_below_a_twentieth():
    settings = tiny(recipe="span", crops={"locals": 0}, **WITHOUT_DINO)
    assert count_steps_until(settings, lambda losses, _: losses["span"].item() < 0.05) <= 300


def test_span_finds_the_structures():
    """Not only is the loss low: most of the attention's densest part lies on the structures."""
    settings = tiny(recipe="span", crops={"locals": 0}, **WITHOUT_DINO)

    def done(_, logs):
        return min(logs[f"span_iou60_{k}"].item() for k in range(2)) > 0.45

    assert count_steps_until(settings, done) <= 300


def test_gate_is_open_at_its_bounds():
    patches = torch.full((1, 1, 64), 0.125)
    assert find_visible_pairs(patches, torch.tensor([[0.5]]), 0.25, 0.125).item()
    assert not find_visible_pairs(patches, torch.tensor([[0.51]]), 0.25, 0.125).item()
    assert not find_visible_pairs(patches, torch.tensor([[0.5]]), 0.25, 0.126).item()


@pytest.mark.parametrize(("local_size", "asked", "stacks"), [(48, True, 2), (40, True, 1), (48, False, 1)])
def test_local_views_teach_from_six_patches_on(local_size, asked, stacks):
    settings = tiny(recipe="span", crops={"local_size": local_size}, span={"local_views": asked})
    learner = learner_of(settings)
    targets, count = learner.objectives["span"].targets(build_multi_crop(settings, learner, *pictures(2)))
    assert len(targets) == stacks
    assert count.item() == sum(stack.gate.sum().item() for stack in targets)
    assert learner.objectives["span"].cls_row_stacks == 1 + asked


def test_columns_carry_the_names_of_structures():
    span = learner_of(tiny(recipe="span")).objectives["span"]
    names = ("left_lung", "right_lung", "heart")
    assert span.log_name("span_kl_2", names) == "span_kl_heart"
    assert span.log_name("span_guard", names) == "span_guard"
    assert span.log_name("gradient_1", names) == "gradient_1"


def test_without_weight_or_prior_there_is_no_span():
    assert SpanObjective.create(tiny(recipe="span"), ()) is None
    assert SpanObjective.create(tiny(recipe="span", span={"weight": 0.0}), (0, 1)) is None
    assert SpanObjective.create(tiny(recipe="span"), (0, 1)).heads.tolist() == [0, 1]


def test_weight_is_warmed_up_held_and_lowered_to_the_floor():
    span = learner_of(tiny(recipe="span", span={"weight": 0.4, "warmup": 0.1, "floor": 0.5})).objectives["span"]
    weights = [span.weight(progress) for progress in (0.05, 0.1, 0.5, 0.75, 1.0)]
    assert weights == pytest.approx([0.2, 0.4, 0.4, 0.3, 0.2])
    span.guard.factor.fill_(0.5)
    assert span.weight(0.5) == pytest.approx(0.4)  # unless it is asked for, the guard only watches


def test_the_guard_needs_dinos_norm():
    span = learner_of(tiny(recipe="span", span={"guard": True, "guard_every": 7})).objectives["span"]
    assert span.gradient_period == 7
    span.receive_gradient_norms({"span": torch.tensor(9.0)})
    assert span.guard.factor.item() == 1
    span.receive_gradient_norms({"span": torch.tensor(9.0), "dino": torch.tensor(1.0)})
    assert span.guard.factor.item() == 0.5
    assert learner_of(tiny(recipe="span")).objectives["span"].gradient_period == 0


def test_a_skipped_step_adds_no_cost():
    settings = tiny(recipe="span", span={"assignment": "hungarian"})
    learner = learner_of(settings, (-1, -1, -1))
    learner.compute_losses(learner.student, build_multi_crop(settings, learner, *pictures(2)))
    learner.discard_step()
    learner.commit_step()
    assert learner.objectives["span"].pairs.abs().max() == 0
    assert learner.objectives["span"].heads_pending
