"""Compiled blocks compute what plain ones do."""

import pytest
import torch

from medprior.errors import ConfigError
from medprior.networks import ViTSettings, build_encoder
from medprior.pretrain.compilation import compile_blocks, restore_eager_blocks, should_compile

SHAPE = {"width": 24, "depth": 2, "heads": 2, "patch": 8, "image_size": 32, "drop_path": 0.0}


@pytest.mark.parametrize("changes", [{}, {"life": True, "heads": 4}, {"nosn": True, "layer_scale": 0.1}])
def test_values_and_gradients_are_those_of_plain_blocks(changes):
    """Graphs as torch traces them, run by its own kernels: what the code generator makes of them is torch's matter."""
    torch.manual_seed(0)
    network = build_encoder(ViTSettings.from_values(SHAPE | changes))
    names = list(network.state_dict())
    results = []
    for compiled in (False, True):
        if compiled:
            compile_blocks(network, backend="aot_eager")
        network.zero_grad(set_to_none=True)
        tokens = [network(torch.linspace(0, 1, 2 * s * s).view(2, 1, s, s), True) for s in (32, 16)]
        sum(x.cls.square().sum() + x.cls_logits.square().sum() for x in tokens).backward()
        gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        results.append((tokens, gradients))
    (plain, left), (traced, right) = results
    for one, two in zip(plain, traced, strict=True):
        torch.testing.assert_close(two.cls, one.cls, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(two.cls_logits, one.cls_logits, rtol=1e-5, atol=1e-6)
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert list(network.state_dict()) == names
    assert all(block._compiled_call_impl is not None for block in network.blocks)
    restore_eager_blocks(network)
    assert all(block._compiled_call_impl is None for block in network.blocks)
    assert torch.equal(network(torch.zeros(1, 1, 32, 32)).cls, network(torch.zeros(1, 1, 32, 32)).cls)


def test_the_last_block_of_timm_stays_plain():
    network = build_encoder(ViTSettings.from_values({"source": "timm", "name": "vit_tiny_patch16_224"}))
    compile_blocks(network, backend="aot_eager")
    assert [block._compiled_call_impl is None for block in network.blocks][-2:] == [False, True]


def test_what_can_be_compiled_where(monkeypatch, caplog):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert not should_compile("auto", cpu)
    assert not should_compile("off", cuda)
    monkeypatch.setenv("PATH", "")
    assert not should_compile("auto", cuda)
    assert "needs Triton" in caplog.text
    for device in (cpu, cuda):
        with pytest.raises(ConfigError, match="compile=off"):
            should_compile("on", device)
