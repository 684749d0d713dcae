"""Operations are counted as torch counts them."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medprior.bench.gpu_suite.trainers import Bench
from medprior.bench.pretrain_gpu import compute_forward_flops, compute_step_flops
from medprior.networks import ViTSettings, build_encoder


def test_flops_are_those_torch_counts():
    shape = {"width": 48, "depth": 3, "heads": 3, "patch": 8, "registers": 2, "image_size": 64}
    net = ViTSettings.from_values(shape)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel of the CPU is not counted
        build_encoder(net)(torch.rand(1, 1, 64, 64))
    assert counter.get_total_flops() == pytest.approx(compute_forward_flops(net, 64), rel=0.01)
    small = Bench(torch.device("cpu")).build_settings("dino", 4)
    assert compute_step_flops(small, 4) == 4 * compute_step_flops(small, 1)
    # 4.6 GMAC for ViT-S/16 at 224 px
    assert compute_forward_flops(small.network, 224) / 2e9 == pytest.approx(4.6, rel=0.05)


def test_a_step_is_forward_of_both_networks_and_backward_of_the_student():
    settings = Bench(torch.device("cpu")).build_settings("dino", 4)
    large, small = (compute_forward_flops(settings.network, size) for size in (224, 96))
    # The student sees 2 large and 8 small views, three times as dear with backward; the teacher the large ones.
    assert compute_step_flops(settings, 1) == pytest.approx(3 * (2 * large + 8 * small) + 2 * large)
