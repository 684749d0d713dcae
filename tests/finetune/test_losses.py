import numpy as np
import pytest
import torch

from medprior.finetune.losses import masked_bce, masked_dice_bce


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_bce(logits, targets, pos_weight=None):
    terms = []
    for row, wanted in zip(logits, targets, strict=True):
        for c, (x, y) in enumerate(zip(row, wanted, strict=True)):
            if not np.isnan(y):
                w = 1.0 if pos_weight is None else pos_weight[c]
                p = sigmoid(x)
                terms.append(-w * y * np.log(p) - (1 - y) * np.log(1 - p))
    return np.mean(terms) if terms else 0.0


def slow_dice_bce(logits, targets, dice_weight, smooth):
    terms = []
    for b in range(logits.shape[0]):
        for k in range(logits.shape[1]):
            y, p = targets[b, k], sigmoid(logits[b, k])
            if np.isnan(y).any():
                continue
            bce = np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
            dice = (2 * (p * y).sum() + smooth) / (p.sum() + y.sum() + smooth)
            terms.append(bce + dice_weight * (1 - dice))
    return np.mean(terms) if terms else 0.0


def labels(rng, shape, unknown=0.3):
    y = rng.integers(0, 2, shape).astype(float)
    y[rng.random(shape) < unknown] = np.nan
    return y


@pytest.mark.parametrize("weighted", [False, True])
def test_bce_is_its_twin(weighted):
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.normal(0, 3, (5, 4)), labels(rng, (5, 4))
        w = rng.uniform(0.5, 4, 4) if weighted else None
        got = masked_bce(torch.tensor(x), torch.tensor(y), None if w is None else torch.tensor(w))
        assert got.item() == pytest.approx(slow_bce(x, y, w), rel=1e-5)


def test_dice_bce_is_its_twin():
    rng = np.random.default_rng(1)
    for _ in range(10):
        x, y = rng.normal(0, 2, (3, 2, 6, 6)), rng.random((3, 2, 6, 6))
        y[rng.random((3, 2)) < 0.3] = np.nan
        got = masked_dice_bce(torch.tensor(x), torch.tensor(y), 0.7, 1.0)
        assert got.item() == pytest.approx(slow_dice_bce(x, y, 0.7, 1.0), rel=1e-5)


@pytest.mark.parametrize(("loss", "shape"), [(masked_bce, (4, 3)), (masked_dice_bce, (4, 3, 5, 5))])
def test_unknown_targets_give_no_gradient(loss, shape):
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.normal(size=shape), requires_grad=True)
    y = torch.tensor(rng.random(shape))
    y[1, 2] = torch.nan
    y[3] = torch.nan
    loss(x, y).backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[1, 2] == 0).all()
    assert (x.grad[3] == 0).all()
    assert (x.grad[0] != 0).all()


@pytest.mark.parametrize(("loss", "shape"), [(masked_bce, (4, 3)), (masked_dice_bce, (4, 3, 5, 5))])
def test_a_batch_without_any_known_target_costs_nothing(loss, shape):
    x = torch.zeros(shape, requires_grad=True)
    value = loss(x, torch.full(shape, torch.nan))
    value.backward()
    assert value.item() == 0
    assert (x.grad == 0).all()


def test_dice_bce_falls_to_zero_at_the_target():
    y = torch.zeros(1, 1, 8, 8)
    y[..., 2:6, 2:6] = 1
    assert masked_dice_bce((y * 2 - 1) * 20, y).item() < 1e-4
    assert masked_dice_bce(-(y * 2 - 1) * 20, y).item() > 1
    assert masked_dice_bce(torch.full_like(y, -20), torch.zeros_like(y)).item() < 1e-4


def test_half_the_weight_is_half_the_gradient():
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 8, 8, requires_grad=True)
    targets = (torch.rand(3, 2, 8, 8) > 0.5).float()
    targets[1, 0] = torch.nan
    weight = torch.tensor([1.0, 0.5, 0.0])
    each = []
    for row in range(3):
        alone = masked_dice_bce(logits[row : row + 1], targets[row : row + 1])
        each.append(alone * (~torch.isnan(targets[row])).all(-1).all(-1).sum())
    wanted = sum(w * one for w, one in zip(weight.tolist(), each, strict=True)) / 5
    found = masked_dice_bce(logits, targets, weight=weight)
    torch.testing.assert_close(found, wanted)
    (grad,) = torch.autograd.grad(found, logits)
    assert grad[2].abs().max() == 0
    assert torch.equal(masked_dice_bce(logits, targets, weight=torch.ones(3)),
                       masked_dice_bce(logits, targets))  # fmt: skip
