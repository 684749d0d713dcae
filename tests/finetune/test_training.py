import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from ignite.engine import Events
from safetensors.torch import load_file

from medprior.cohort import Cohort
from medprior.errors import InputMissing, MedpriorError
from medprior.finetune import finetune_model, load_finetuned_model
from medprior.finetune.training import prepare_run
from tests.finetune.conftest import CNN_VIEWS, CNNS, cnn, make_cohort, tiny

WORKER = """
import json, sys
from pathlib import Path
import torch
from ignite.engine import Events
torch.set_num_threads(1)
from medprior.cohort import Cohort
from medprior.finetune import FinetuneSettings, finetune_model
cohort, out, settings = sys.argv[1:]
finetune_model(Cohort.open(cohort), Path(out), settings=FinetuneSettings.from_values(json.loads(settings)))
"""


def start(cohort: Cohort, out, settings):
    given = json.dumps(settings.model_dump(mode="json", exclude_unset=True))
    command = [sys.executable, "-c", WORKER, str(cohort.path), str(out), given]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def wait_for(folder, pattern, process, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if len(list(folder.glob(pattern))):
            return
        time.sleep(0.005)
    raise AssertionError(f"no {pattern}: {process.communicate(timeout=300)[1]}")


@pytest.fixture(scope="module")
def straight(cohort, tmp_path_factory):
    """An uninterrupted run of 12 epochs, one thread."""
    out = tmp_path_factory.mktemp("straight") / "model"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        finetune_model(cohort, out, settings=tiny(epochs=12))
    finally:
        torch.set_num_threads(threads)
    return out


def test_the_same_command_gives_the_same_weights(cohort, straight, tmp_path):
    torch.manual_seed(999)
    noise = torch.get_rng_state()
    torch.set_num_threads(1)
    finetune_model(cohort, tmp_path / "m", settings=tiny(epochs=12, workers=1))
    assert same(weights(tmp_path / "m"), weights(straight))
    assert torch.equal(torch.get_rng_state(), noise), "the caller's random state was touched"


def test_a_killed_run_goes_on_bit_for_bit(cohort, straight, tmp_path):
    out = tmp_path / "model"
    settings = tiny(epochs=12)
    for number in (2, 5):
        process = start(cohort, out, settings)
        pattern = f"checkpoints/step_{number * 6:08d}.sha256"
        wait_for(out, pattern, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=300)
        assert not (out / "config.json").exists()
    finetune_model(cohort, out, settings=settings)
    assert same(weights(out), weights(straight))
    rows = (out / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", *map(str, range(1, 13))]


def test_a_second_run_in_the_folder_is_refused_until_the_first_is_killed(cohort, tmp_path):
    out = tmp_path / "model"
    process = start(cohort, out, tiny(epochs=400, batch=1))
    try:
        wait_for(out, "checkpoints/step_*.sha256", process)
        for resume in (True, False):
            with pytest.raises(MedpriorError, match=r"^model: another run is writing this model;"):
                finetune_model(cohort, out, settings=tiny(resume=resume))
        assert process.poll() is None
        assert list(out.glob("checkpoints/step_*.sha256")), "the refused run left the checkpoints"
    finally:
        process.kill()
        process.wait(timeout=300)
    finetune_model(cohort, out, settings=tiny(epochs=1, resume=False))
    assert (out / "config.json").is_file()


def test_sigterm_saves_and_leaves_with_143(cohort, tmp_path):
    """The only checkpoint before the end of 400 epochs is that of the signal."""
    out, settings = tmp_path / "model", tiny(epochs=400, batch=1, checkpoint_every=400)
    process = start(cohort, out, settings)
    wait_for(out, "metrics.csv", process)
    assert not list(out.glob("checkpoints/*.sha256"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 143
    assert len(list(out.glob("checkpoints/step_*.sha256"))) == 1
    assert not (out / "config.json").exists()


def test_stopping_inside_an_epoch_changes_nothing(cohort, straight, tmp_path):
    """Stops after step 15 of 6 an epoch, goes on, and ends where the straight run ended."""
    from medprior.finetune.training import prepare_run

    torch.set_num_threads(1)
    out, settings = tmp_path / "model", tiny(epochs=12)
    run = prepare_run(cohort, out, settings)
    assert run.trainer.state.epoch_length == 6

    def stop(engine):
        if engine.state.iteration == 15:
            run.checkpoints.stop.signal = signal.SIGTERM

    run.trainer.add_event_handler(Events.ITERATION_STARTED, stop)
    with pytest.raises(SystemExit) as left:
        run.trainer.run()
    assert left.value.code == 143
    assert (out / "checkpoints" / "step_00000015.pt").is_file()
    finetune_model(cohort, out, settings=settings)
    assert same(weights(out), weights(straight))


def test_a_damaged_checkpoint_costs_one_epoch_and_two_stop_the_run(cohort, tmp_path, caplog):
    out, settings = tmp_path / "model", tiny(epochs=4)
    torch.set_num_threads(1)
    finetune_model(cohort, out, settings=settings)
    first = weights(out)
    paths = sorted((out / "checkpoints").glob("*.pt"))
    assert len(paths) == 2
    data = bytearray(paths[-1].read_bytes())
    data[len(data) // 2] ^= 1
    paths[-1].write_bytes(data)
    finetune_model(cohort, out, settings=settings)
    assert "damaged" in caplog.text
    assert same(weights(out), first)
    for path in (out / "checkpoints").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputMissing, match="every checkpoint is damaged"):
        finetune_model(cohort, out, settings=settings)


def test_a_folder_with_another_run_is_left_alone(cohort, straight):
    before = weights(straight)
    for other in (tiny(epochs=12, lr=0.5), tiny(epochs=12, labels=("large",))):
        with pytest.raises(MedpriorError, match="other settings"):
            finetune_model(cohort, straight, settings=other)
    assert same(weights(straight), before)


def test_repeating_a_finished_run_gives_the_same_model(cohort, straight):
    before = weights(straight)
    finetune_model(cohort, straight, settings=tiny(epochs=12))
    assert same(weights(straight), before)


def test_starting_anew_forgets_the_old_run(cohort, tmp_path):
    out = tmp_path / "model"
    finetune_model(cohort, out, settings=tiny(epochs=2))
    finetune_model(cohort, out, settings=tiny(epochs=1, seed=1, resume=False))
    assert len((out / "metrics.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(("task", "key", "goal"), [
    ("classification", "mean_auc", 0.97), ("segmentation", "mean_dice", 0.8),
])  # fmt: skip
def test_an_easy_task_is_learned(tmp_path, task, key, goal):
    cohort = make_cohort(tmp_path / "c", 120, per_patient=1)
    epochs = 25 if task == "segmentation" else 40
    settings = tiny(epochs=epochs, lr=3e-3, checkpoint_every=epochs)
    finetune_model(cohort, tmp_path / "m", task, settings=settings)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["validation"][key] > goal
    model = load_finetuned_model(tmp_path / "m")
    test = cohort.split("test")
    found = model.predict_cohort(test)
    if task == "classification":
        called = found[:, 0] >= model.threshold[0]
        assert (called == test.labels(["large"])[:, 0]).mean() > 0.9
    else:
        truth, known = test.mask_squares("heart", model.source_size)
        called, wanted = found[known, 0] >= 0.5, truth[known] >= 0.5
        assert 2 * (called & wanted).sum() / (called.sum() + wanted.sum()) > goal


def test_a_needed_prior_is_required_and_an_unused_one_is_not_read(cohort, tmp_path):
    with pytest.raises(InputMissing, match="need a spatial prior"):
        finetune_model(cohort, tmp_path / "m", settings=tiny(task="segmentation", targets="prior"))
    finetune_model(cohort, tmp_path / "n", settings=tiny(task="segmentation", epochs=1), prior=tmp_path / "nothing")
    record = json.loads((tmp_path / "n" / "config.json").read_text())
    assert "prior" not in record["inputs"]


@pytest.mark.parametrize("task", CNNS)
def test_a_stopped_cnn_run_resumes_bit_for_bit(cohort, cnn_folders, tmp_path, task):
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
    one, two = (load_file(f / "model.safetensors") for f in (out, cnn_folders / task))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    if task == "classification":
        assert any("running_mean" in name for name in one)


def test_a_cnn_ignores_settings_shared_with_a_transformer(cohort, tmp_path):
    """Arms of a comparison share `network`, `head` and `drop_path`; a CNN does without them."""
    settings = cnn("classification", epochs=1, head="pooled", drop_path=0.2)
    assert prepare_run(cohort, tmp_path / "m", settings).network.settings.architecture == "test_resnet"


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name", "key", "goal"), [
    ("classification", "resnet10t", "mean_auc", 0.95),
    ("segmentation", "unet", "mean_dice", 0.9),
    ("segmentation", "basic_unet", "mean_dice", 0.9),
])  # fmt: skip
def test_a_cnn_learns_an_easy_task(cohort, tmp_path, task, name, key, goal):
    settings = tiny(task=task, architecture=name, epochs=20, **CNN_VIEWS | {"checkpoint_every": 20})
    finetune_model(cohort, tmp_path / "m", task, settings=settings)
    record = json.loads((tmp_path / "m" / "config.json").read_text())
    assert record["validation"][key] > goal
