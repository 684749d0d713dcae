import pytest
import torch

from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.single_pass import run_single_pass
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
