import pytest
import torch
from torch.nn import functional as F

from medprior.networks.attention_capture import AttentionCaptureMode

from .encoder_cases import CASES, build_perturbed, compute_dense_scores


@pytest.mark.parametrize("case", CASES)
def test_watched_blocks_compute_what_fused_ones_do(case):
    net = build_perturbed(case)
    images = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    x, grid = net.embed_images(images)
    context, shown = net.context(grid), []
    for index in range(len(net.blocks)):
        fused, _ = net.step(index, x, context)
        x, row = net.step(index, x, context, row=True, watch=shown.append)
        assert torch.allclose(x, fused, rtol=1e-4, atol=1e-4)
        assert torch.allclose(shown[-1][:, :, 0], row.softmax(-1), atol=1e-6)
    assert torch.allclose(shown[-1].double(), compute_dense_scores(net, images).softmax(-1), atol=1e-5)
    assert len(shown) == len(net.blocks)


def queries_keys_values():
    torch.manual_seed(0)
    return torch.randn(3, 1, 2, 5, 4)


@pytest.mark.parametrize("options", [{"attn_mask": torch.ones(5, 5).bool()}, {"is_causal": True}])
def test_masked_attention_is_refused(options):
    with AttentionCaptureMode(True, None), pytest.raises(ValueError, match="attn_mask and is_causal are not supported"):
        F.scaled_dot_product_attention(*queries_keys_values(), **options)


def test_the_row_is_that_of_the_last_call_and_of_the_first_query():
    q, k, v = queries_keys_values()
    with AttentionCaptureMode(True, None) as seen:
        assert seen.row is None
        F.scaled_dot_product_attention(k, q, v)
        output = F.scaled_dot_product_attention(q, k, v)
    expected = [[sum(float(a * b) for a, b in zip(q[0, h, 0], k[0, h, t], strict=True)) / 2 for t in range(5)]
                for h in range(2)]  # fmt: skip
    torch.testing.assert_close(seen.row[0], torch.tensor(expected))
    assert torch.equal(output, F.scaled_dot_product_attention(q, k, v))


def test_what_is_shown_replaces_the_kernel_and_no_row_is_kept_unasked():
    q, k, v = queries_keys_values()
    shown = []
    with AttentionCaptureMode(False, shown.append) as seen:
        output = F.scaled_dot_product_attention(q, k, v)
    assert seen.row is None
    torch.testing.assert_close(shown[0], (q @ k.transpose(-1, -2) / 2).softmax(-1))
    torch.testing.assert_close(output, shown[0] @ v)
