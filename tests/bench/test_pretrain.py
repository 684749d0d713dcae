"""The benchmark runs, prints a ratio for each comparison, and counts as torch does."""

import re

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medprior.bench import pretrain
from medprior.bench.pretrain_gpu import compute_forward_flops, compute_step_flops, vit_small_settings
from medprior.networks import ViTSettings, build_encoder

LINE = re.compile(r"^(.*): (\d+\.\d\d) \[(\d+\.\d\d), (\d+\.\d\d)\], memory (\d+\.\d\d)$")


@pytest.mark.slow
def test_every_comparison_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(pretrain, "PAIRS", 1)
    monkeypatch.setattr(pretrain, "BENCH_BATCH_SIZE", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pretrain.main()
    lines = capsys.readouterr().out.strip().splitlines()[1:]
    found = [LINE.match(line) for line in lines]
    assert all(found), lines
    assert len(found) == 10
    assert all(float(m[2]) > 0 and float(m[5]) > 0 for m in found)


def test_peak_memory_is_that_of_what_is_alive():
    def call():
        kept = torch.ones(1_000_000)
        for _ in range(3):
            torch.ones(500_000)
        return kept

    assert pretrain.measure_peak_bytes(call) == pytest.approx(6e6, rel=0.05)


def test_flops_are_those_torch_counts():
    shape = {"width": 48, "depth": 3, "heads": 3, "patch": 8, "registers": 2, "image_size": 64}
    net = ViTSettings.checked(shape)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # the fused kernel of the CPU is not counted
        build_encoder(net)(torch.rand(1, 1, 64, 64))
    assert counter.get_total_flops() == pytest.approx(compute_forward_flops(net, 64), rel=0.01)
    small = vit_small_settings("dino", 4)
    assert compute_step_flops(small, 4) == 4 * compute_step_flops(small, 1)
    # 4.6 GMAC for ViT-S/16 at 224 px
    assert compute_forward_flops(small.network, 224) / 2e9 == pytest.approx(4.6, rel=0.05)
