"""Whole runs: results on disk, the same seed, collapse, and input that is refused."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing, MedpriorError, TrainingFailed
from medprior.networks import load_backbone
from medprior.pretrain import Pretraining, PretrainSettings, pretrain_backbone
from medprior.pretrain.handlers import CheckpointHandler
from medprior.pretrain.pipeline import check_batch_size, compute_intensity_stats, save_on_signal, source_side_px

from .runs import TINY_RUN, load_teacher_weights, run_settings, start_run


def test_result_folder_and_same_seed_same_weights(phantom_cohort, tmp_path, saved_figures):
    pretrain_backbone(phantom_cohort, tmp_path / "a", settings=run_settings())
    pretrain_backbone(phantom_cohort, tmp_path / "b", settings=run_settings())
    first, second = load_teacher_weights(tmp_path / "a"), load_teacher_weights(tmp_path / "b")
    assert all(torch.equal(first[k], second[k]) for k in first)
    backbone = load_backbone(tmp_path / "a")
    assert backbone.heads == {}
    assert backbone.size == 32
    assert backbone.config["training"]["uniform_entropy"] == pytest.approx(2.7726, abs=1e-3)
    table = pd.read_csv(tmp_path / "a" / "metrics.csv")
    assert table.step.tolist() == [4, 8, 12]
    wanted = {"loss_dino", "loss_koleo", "teacher_entropy", "feature_std", "data_wait"}
    assert wanted <= set(table.columns)
    assert (tmp_path / "a" / "attention.png").is_file()
    heads = backbone.config["network"]["heads"]
    assert [len(figure.axes) for figure in saved_figures] == [4 * (1 + heads)] * 2


def test_a_second_run_in_the_folder_is_refused_until_the_first_is_killed(phantom_cohort, tmp_path):
    out = tmp_path / "backbone"
    with start_run(phantom_cohort, out, tmp_path / "none", TINY_RUN | {"steps": 400}) as process:
        try:
            while not list(out.glob("checkpoints/*")) and process.poll() is None:
                time.sleep(0.05)
            for resume in (True, False):
                with pytest.raises(MedpriorError, match=r"^backbone: another run is writing this backbone;"):
                    pretrain_backbone(phantom_cohort, out, settings=run_settings(resume=resume))
            with pytest.raises(MedpriorError, match="another run is writing this backbone"):
                Pretraining(phantom_cohort, out, settings=run_settings()).run()
            assert process.poll() is None
        finally:
            process.kill()
    assert not (out / "config.json").exists()
    pretrain_backbone(phantom_cohort, out, settings=run_settings(resume=False))
    assert load_backbone(out).size == 32


def test_objective_at_weight_zero_is_not_computed(phantom_cohort, tmp_path):
    """A SPAN run with weight 0 is the DINO run, bit for bit."""
    pretrain_backbone(phantom_cohort, tmp_path / "dino", settings=run_settings())
    span = run_settings(recipe="span", span={"weight": 0.0})
    pretrain_backbone(phantom_cohort, tmp_path / "span", settings=span)
    first, second = load_teacher_weights(tmp_path / "dino"), load_teacher_weights(tmp_path / "span")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_collapse_stops_the_run_and_names_the_knob(phantom_cohort, tmp_path):
    dino = TINY_RUN["dino"] | {"teacher_temperature": 100.0}
    with pytest.raises(TrainingFailed, match="teacher_temperature"):
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=run_settings(dino=dino))


def test_bad_input(phantom_cohort, tmp_path):
    with pytest.raises(MedpriorError, match="needs a spatial prior"):
        pretrain_backbone(phantom_cohort, tmp_path / "a", settings=run_settings(recipe="span"))
    with pytest.raises(ConfigError, match="unknown key 'stepz'"):
        PretrainSettings.load(None, ["stepz=3"])
    with pytest.raises(InputMissing, match="ingest"):
        pretrain_backbone(tmp_path / "no", tmp_path / "b", settings=run_settings())
    with pytest.raises(ConfigError, match="no such device"):
        pretrain_backbone(phantom_cohort, tmp_path / "c", settings=run_settings(device="cuda:7"))


def test_stored_squares_have_half_again_the_side_of_a_view():
    assert source_side_px(run_settings()) == 48
    assert source_side_px(run_settings(crops={"global_size": 25})) == 37


def test_intensities_are_of_all_pixels_and_never_divide_by_zero():
    images = np.zeros((2, 4, 4), dtype=np.float32)
    images[0] = 1
    assert compute_intensity_stats(images) == (0.5, 0.5)
    images[0, :2] = 0
    assert compute_intensity_stats(images) == (0.25, 0.433)
    assert compute_intensity_stats(np.full((1, 2, 2), 0.3, np.float32)) == (0.3, 0.001)


def test_parts_share_the_batch_evenly():
    check_batch_size(run_settings(accumulate=4))
    with pytest.raises(ConfigError, match=r"a multiple of 3.*8"):
        check_batch_size(run_settings(accumulate=3))


def test_signals_are_handled_during_a_run_only():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    checkpoints = CheckpointHandler(Path("none"), None)
    with save_on_signal(checkpoints):
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGINT) == checkpoints.stop_after_step
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_thread_leaves_signals_alone():
    def look():
        with save_on_signal(CheckpointHandler(Path("none"), None)):
            return signal.getsignal(signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(look).result() == signal.getsignal(signal.SIGTERM)


def test_the_training_split_and_its_intensities_decide(phantom_cohort, phantom_prior, tmp_path):
    settings = run_settings(recipe="span", span={"assignment": "hungarian"})
    run = Pretraining(phantom_cohort, tmp_path / "out", phantom_prior, settings)
    cohort = Cohort.open(phantom_cohort).split("train")
    assert len(run.cohort) == len(cohort) < 48
    pixels = cohort.squares(48).astype(np.float64)
    assert run.settings.network.mean == pytest.approx(pixels.mean(), abs=6e-5)
    assert run.settings.network.std == pytest.approx(pixels.std(), abs=6e-5)
    assert run.settings.network.image_size == 32
    assert run.names == ("left_lung", "right_lung", "heart")
    assert run.heads == {}  # none is assigned yet
    run.trainer.learner.objectives["span"].heads.copy_(torch.tensor([4, -1, 0]))
    assert run.heads == {"left_lung": 4, "heart": 0}
