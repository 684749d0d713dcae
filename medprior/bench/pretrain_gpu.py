"""Operations of a step of pretraining, and the peaks of GPUs' data sheets."""

from __future__ import annotations

from medprior.networks.vit_settings import ViTSettings
from medprior.pretrain.settings import PretrainSettings

# Dense bf16 peak of the data sheets, without sparsity, FLOP/s.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def compute_forward_flops(net: ViTSettings, size: int) -> float:
    """FLOP of the backbone on one view of `size` pixels.

    12 D^2 + 2 T D multiply-adds per token and block, two FLOP each, and the embedding.
    """
    patches = (size // net.patch) ** 2
    tokens = patches + 1 + net.registers
    blocks = net.depth * tokens * (12 * net.width**2 + 2 * tokens * net.width)
    return 2.0 * (blocks + patches * net.width * net.patch**2)


def compute_step_flops(settings: PretrainSettings, batch: int) -> float:
    """FLOP of the backbones in one step: forward of both, backward of the student (twice it)."""
    net, crops = settings.network, settings.crops
    global_flops = 2 * compute_forward_flops(net, crops.global_size)
    local_flops = crops.locals * compute_forward_flops(net, crops.local_size)
    return batch * (3 * (global_flops + local_flops) + global_flops)
