"""SPAN kept while fine-tuning: the term's value, what it leaves alone, and what it is for."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medprior.errors import ConfigError, InputMissing
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.data.views import PrepareWholeViews
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.span import PriorTargets, SupervisedSpan, match_heads_to_prior
from medprior.finetune.training import prepare_run
from medprior.geometry import create_whole_image_views
from medprior.networks import ViTSettings, build_encoder, save_weights
from medprior.networks.views import compute_patch_coverage
from medprior.pretrain.objectives.objective_settings import SpanSettings
from medprior.provenance import write_config
from tests.finetune.conftest import TINY, tiny
from tests.finetune.priors import SIDE, discs, write_prior

SHAPE = TINY["network"]


def twin(logits, cover, trust, share=0.25, least=0.02, epsilon=0.02):
    """SPAN's mean over (image, structure) pairs in NumPy, one patch after another."""
    loss, count = 0.0, 0.0
    for image in range(len(logits)):
        for k in range(logits.shape[1]):
            part = cover[image, k]
            if part.mean() < least or share > 1:
                continue
            target = (1 - epsilon) * part / part.sum() + epsilon / part.size
            score = logits[image, k] - logits[image, k].max()
            attention = np.exp(score) / np.exp(score).sum()
            kl = sum(p * np.log(p / a) for p, a in zip(target, attention, strict=True))
            loss += trust[image] * kl
            count += trust[image]
    return loss / count


def test_the_term_is_its_twin():
    torch.manual_seed(0)
    vit = build_encoder(ViTSettings.from_values(SHAPE | {"heads": 6})).train()
    settings = tiny(span_weight=0.3)
    span = SupervisedSpan(vit, settings, (4, 1))
    images, views = torch.rand(3, 1, 32, 32), create_whole_image_views(np.array([0.8, 1.0, 1.2]), (32, 32))
    maps, trust = torch.rand(3, 2, SIDE, SIDE), torch.tensor([1.0, 0.5, 0.0])
    maps[0, 1] = 0  # nothing to look at: the pair does not count
    vit(images)
    found = span.loss(images, views, maps, trust)
    logits = vit(images, capture=True).cls_logits[:, [4, 1]].detach().double().numpy()
    grid = type(views)(views.box, views.flip, (4, 4))
    cover = compute_patch_coverage(maps, grid, torch.arange(3)).double().numpy()
    assert found.item() == pytest.approx(0.3 * twin(logits, cover, trust.tolist()), rel=1e-5)
    found.backward()
    grad = vit.blocks[-1].attention.qkv.weight.grad.view(3, 6, 4, 24)
    assert (grad[:2].abs().amax((0, 2, 3)) > 0).tolist() == [False, True, False, False, True, False]
    assert SpanSettings().epsilon == 0.02


def test_which_heads_follow(cohort, tmp_path):
    prior = write_prior(tmp_path / "p", cohort, lambda _: np.ones((2, SIDE, SIDE)), names=("heart", "left_lung"))
    plain = ViTSettings.from_values(SHAPE | {"heads": 6})
    assert match_heads_to_prior(prior, plain, {}) == {"heart": 0, "left_lung": 1}
    life = ViTSettings.from_values(SHAPE | {"heads": 6, "life": True})
    assert match_heads_to_prior(prior, life, {}) == {"heart": 4, "left_lung": 5}
    assert match_heads_to_prior(prior, plain, {"left_lung": 3, "spine": 0}) == {"left_lung": 3}
    with pytest.raises(ConfigError, match="none of the structures"):
        match_heads_to_prior(prior, plain, {"spine": 0})
    with pytest.raises(ConfigError, match="too many structures"):
        match_heads_to_prior(prior, ViTSettings.from_values(SHAPE), {})


def test_the_annotated_image_counts_nothing(cohort, tmp_path):
    ids = cohort.image_ids
    prior = write_prior(
        tmp_path / "p", cohort, lambda _: np.ones((2, SIDE, SIDE)), {ids[1]: 0.5},
        excluded=[ids[0]], names=("heart", "left_lung"),
    )  # fmt: skip
    targets = PriorTargets(prior, ("left_lung",))
    assert [targets.load_targets(i)["trust"].item() for i in ids[:3]] == [0.0, 0.5, 1.0]
    assert targets.load_targets(ids[0])["maps"].shape == (1, SIDE, SIDE)


@pytest.fixture(scope="module")
def prior(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior") / "p"
    write_prior(folder, cohort, discs(cohort))
    return folder


def test_weight_zero_is_bit_for_bit_without_a_prior(cohort, prior, tmp_path):
    torch.set_num_threads(1)
    runs = {"none": ({}, None), "zero": ({"span_weight": 0.0}, prior),
            "span": ({"span_weight": 0.1}, prior)}  # fmt: skip
    weights = {}
    for name, (change, given) in runs.items():
        finetune_model(cohort, tmp_path / name, settings=tiny(epochs=1, **change), prior=given)
        weights[name] = load_file(tmp_path / name / "model.safetensors")
    for name, wanted in (("zero", True), ("span", False)):
        pairs = zip(weights["none"].values(), weights[name].values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) == wanted
    records = {n: json.loads((tmp_path / n / "config.json").read_text()) for n in runs}
    assert "prior" not in records["zero"]["inputs"]
    assert records["span"]["heads"] == {"heart": 0}
    assert load_finetuned_model(tmp_path / "span").heads == {"heart": 0}


def drift(network, data, prior_targets):
    """Mean divergence of head 0 from the maps on the plain views of held-out images."""
    batch = torch.utils.data.default_collate([data[i] for i in range(len(data))])
    views = PrepareWholeViews(32)
    images, _ = views(batch)
    geometry, _ = views.geometry(batch["aspect"].numpy(), batch["index"].numpy())
    grid = type(geometry)(geometry.box, geometry.flip, (4, 4))
    maps = torch.stack([prior_targets.load_targets(i)["maps"] for i in data.cohort.image_ids])
    cover = compute_patch_coverage(maps, grid, torch.arange(len(images))).double().numpy()
    with torch.no_grad():
        logits = network.eval().vit(images, capture=True).cls_logits[:, :1].double().numpy()
    return twin(logits, cover, np.ones(len(images)))


def test_attention_drifts_less_with_it(cohort, prior, tmp_path):
    """A backbone whose head looks at the disc is tuned to labels, with and without the term."""
    torch.set_num_threads(1)
    first = tiny(span_weight=3.0, epochs=15, lr=3e-3, checkpoint_every=15, labels=("right",))
    finetune_model(cohort, tmp_path / "start", settings=first, prior=prior)
    start, folder = load_finetuned_model(tmp_path / "start"), tmp_path / "backbone"
    folder.mkdir()
    save_weights(folder / "backbone.safetensors", start.vit)
    facts = {"network": start.vit.settings.model_dump(), "heads": {"heart": 0}, "view_size": 32}
    write_config(folder, "pretrain", {}, outputs=("backbone.safetensors",), facts=facts)
    found = {}
    for weight in (0.0, 0.1):
        given = {k: v for k, v in TINY.items() if k != "network"}
        settings = FinetuneSettings.from_values(
            given | {"span_weight": weight, "epochs": 15, "lr": 3e-3, "labels": ("large",),
                     "checkpoint_every": 15, "layer_decay": 1.0}
        )  # fmt: skip
        run = prepare_run(cohort, tmp_path / f"m{weight}", settings, folder, prior=prior)
        if not found:
            targets = PriorTargets(opened(prior), ("heart",))
            found["start"] = drift(run.network, run.val, targets)
        run.trainer.run()
        found[weight] = drift(run.network, run.val, targets)
    print("divergence from the prior", found)
    assert found[0.0] > 1.5 * found["start"], found
    away = {weight: found[weight] - found["start"] for weight in (0.0, 0.1)}
    assert away[0.1] < 0.75 * away[0.0], found


def opened(folder):
    from medprior.priors import SpatialPrior

    return SpatialPrior.load(folder)


def test_where_it_has_no_meaning_it_is_refused(cohort, tmp_path):
    for change in ({"task": "segmentation"}, {"freeze": True}):
        with pytest.raises(ConfigError, match="span_weight"):
            FinetuneSettings.from_values({"span_weight": 0.1} | change)
    with pytest.raises(InputMissing, match="need a spatial prior"):
        finetune_model(cohort, tmp_path / "m", settings=tiny(span_weight=0.1))
