"""CNNs through the trainer, the files and the answers of the Vision Transformers."""

import json

import numpy as np
import pytest
import torch
from ignite.engine import Events
from safetensors.torch import load_file

from medprior.errors import ConfigError, InputMissing
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.model import Model
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.single_pass import run_single_pass
from medprior.finetune.training import prepare_run
from medprior.provenance import write_json
from tests.finetune.conftest import tiny

SMALL = {"classification": "test_resnet", "segmentation": "unet"}
BIG = {"size": 64, "source_size": 64, "checkpoint_every": 1}


def cnn(task, **changes):
    return tiny(task=task, architecture=SMALL[task], **(BIG | changes))


@pytest.fixture(scope="module")
def folders(cohort, tmp_path_factory):
    base = tmp_path_factory.mktemp("cnns")
    torch.set_num_threads(1)
    for task in SMALL:
        finetune_model(cohort, base / task, task, settings=cnn(task, epochs=2))
    return base


@pytest.mark.parametrize("task", SMALL)
def test_what_is_loaded_says_what_was_trained(cohort, folders, task):
    record = json.loads((folders / task / "config.json").read_text())
    assert record["network"] == {"architecture": SMALL[task], "mean": 0.5, "std": 0.25}
    assert record["settings"]["architecture"] == SMALL[task]
    model, test = load_finetuned_model(folders / task), cohort.split("test")
    found = model.predict_cohort(test)
    images, _ = model.create_views(test.squares(64), test.aspect)
    logits = model.network(images)
    if task == "classification":
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits.numpy() / model.temperature)), atol=1e-6)
    else:
        assert found.shape == (len(test), 1, 64, 64)
    reading = model.predict_pixels(cohort.pixels(cohort.image_ids[4]))
    assert reading.attention.shape == (0, 48, 40)
    assert bool(reading.masks) == (task == "segmentation")
    assert model.familiarity is not None
    assert reading.familiarity is not None


def test_attention_is_none_and_says_so(cohort, folders):
    model = load_finetuned_model(folders / "classification")
    assert not model.has_attention
    assert model.attention(cohort.take(3)).shape == (3, 0, 64, 64)
    with pytest.raises(ConfigError, match="no attention"):
        _ = model.vit


@pytest.mark.parametrize("task", SMALL)
def test_one_pass_gives_logits_and_tokens(folders, task):
    model: Model = load_finetuned_model(folders / task)
    images = torch.rand(2, 1, 64, 64)
    seen = run_single_pass(model.network, images)
    torch.testing.assert_close(seen.logits, model.network(images), atol=1e-6, rtol=1e-5)
    assert seen[1].tokens.patches.shape[0] == 1
    assert torch.equal(model.network.vit(images).patches, seen.tokens.patches)
    assert seen.attention.shape[:2] == (2, 0)


@pytest.mark.parametrize("task", SMALL)
def test_a_stopped_run_ends_where_a_straight_one_does(cohort, folders, tmp_path, task):
    """Batch statistics, too, are in the checkpoint."""
    torch.set_num_threads(1)
    out, settings = tmp_path / "m", cnn(task, epochs=2)
    run = prepare_run(cohort, out, settings)
    stop_at = run.trainer.state.epoch_length + 2

    def stop(engine):
        if engine.state.iteration == stop_at:
            run.checkpoints.stop.signal = 15

    run.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(SystemExit):
        run.trainer.run()
    finetune_model(cohort, out, task, settings=settings)
    one, two = (load_file(f / "model.safetensors") for f in (out, folders / task))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    if task == "classification":
        assert any("running_mean" in name for name in one)


def test_a_forged_record_is_one_clear_error(folders, tmp_path):
    forged = (
        ("architecture", "convnext_xxlarge"), ("architecture", "densenet121"),
        ("architecture", "no_such_net"), ("architecture", "hf-hub:a/b"), ("std", 0),
    )  # fmt: skip
    for number, (name, value) in enumerate(forged):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in (folders / "classification").glob("*.*"):
            (folder / path.name).write_bytes(path.read_bytes())
        record = json.loads((folder / "config.json").read_text())
        record["network"][name] = value
        write_json(folder / "config.json", record)
        with pytest.raises((InputMissing, ConfigError)):
            load_finetuned_model(folder)
    del record["settings"]["architecture"]
    write_json(folder / "config.json", record)
    with pytest.raises(ConfigError):
        load_finetuned_model(folder)


@pytest.mark.parametrize("change", [
    {"freeze": True}, {"sar_weight": 0.01}, {"span_weight": 0.1}, {"layer_decay": 0.75},
])  # fmt: skip
def test_what_only_a_transformer_has_is_refused(change):
    with pytest.raises(ConfigError, match=f"{next(iter(change))}.*not with architecture"):
        FinetuneSettings.checked({"architecture": "resnet18"} | change)


def test_shared_settings_of_the_transformer_do_not_hinder(cohort, tmp_path):
    """Arms of a comparison share `network`, `head` and `drop_path`; a CNN does without them."""
    settings = cnn("classification", epochs=1, head="pooled", drop_path=0.2)
    assert prepare_run(cohort, tmp_path / "m", settings).network.settings.architecture == "test_resnet"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name", "key", "goal"), [
    ("classification", "resnet10t", "mean_auc", 0.95),
    ("segmentation", "unet", "mean_dice", 0.9),
    ("segmentation", "basic_unet", "mean_dice", 0.9),
])  # fmt: skip
def test_an_easy_task_is_learned(cohort, tmp_path, task, name, key, goal):
    settings = tiny(task=task, architecture=name, epochs=20, **BIG | {"checkpoint_every": 20})
    finetune_model(cohort, tmp_path / "m", task, settings=settings)
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert record["validation"][key] > goal
