import pytest
import torch

from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.single_pass import run_single_pass
from medprior.networks.attention import compute_attention_maps
from tests.finetune.conftest import CNNS


@pytest.mark.parametrize("task", CNNS)
def test_one_pass_of_a_cnn_gives_logits_and_tokens(cnn_folders, task):
    model: Model = load_finetuned_model(cnn_folders / task)
    images = torch.rand(2, 1, 64, 64)
    seen = run_single_pass(model.network, images)
    torch.testing.assert_close(seen.logits, model.network(images), atol=1e-6, rtol=1e-5)
    assert seen[1].tokens.patches.shape[0] == 1
    assert torch.equal(model.network.vit(images).patches, seen.tokens.patches)
    assert seen.attention.shape[:2] == (2, 0)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_one_image_of_a_batch_is_its_own_row(vit_folders, task):
    network = load_finetuned_model(vit_folders / task).network
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    output = run_single_pass(network, images)
    assert output.logits.requires_grad is False
    torch.testing.assert_close(output.attention.sum((2, 3)), torch.ones(3, 3))
    assert output.attention.shape == (3, 3, 4, 4)
    for index in range(3):
        one = output[index]
        assert torch.equal(one.logits, output.logits[index : index + 1])
        assert torch.equal(one.attention, output.attention[index : index + 1])
        for name in ("cls", "patches", "cls_logits", "cls_mass"):
            assert torch.equal(getattr(one.tokens, name), getattr(output.tokens, name)[index : index + 1]), name
        assert one.tokens.grid == (4, 4)
        alone = run_single_pass(network, images[index : index + 1])
        torch.testing.assert_close(one.logits, alone.logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_one_pass_gives_what_several_give(vit_folders, task):
    model = load_finetuned_model(vit_folders / task)
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, tokens = model.network(images), model.vit(images, capture=True)
        seen = run_single_pass(model.network, images)
    assert torch.equal(seen.logits, logits)
    for name in ("cls", "patches", "cls_logits", "cls_mass"):
        assert torch.equal(getattr(seen.tokens, name), getattr(tokens, name)), name
    assert seen.tokens.grid == tokens.grid
    looked = seen.tokens.cls_logits.softmax(-1).reshape(3, -1, 4, 4)
    assert torch.equal(compute_attention_maps(model.vit, images), looked)
