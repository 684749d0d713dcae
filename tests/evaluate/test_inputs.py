"""Names and folders of what is evaluated, and the images it may be evaluated on."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.inputs import (
    Inputs,
    NamedInput,
    convert_entries_to_list,
    parse_named_paths,
    select_evaluation_split,
    select_tuning_split,
    split_named_path,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model
from medprior.pretrain import PretrainSettings, pretrain_backbone
from medprior.provenance import read_config, result_digest
from tests.evaluate.comparing import PRETRAIN
from tests.evaluate.untrained import build_untrained_model

QUICK = EvaluateSettings.from_values({"resamples": 40, "map_size": 32, "probe": False})
TINY = PRETRAIN | {"recipe": "dino"}


def test_a_folder_called_prior_needs_no_other_name(tmp_path):
    own = tmp_path / "prior"
    (tmp_path / "static").mkdir()
    own.symlink_to(tmp_path / "static")
    assert split_named_path(own)[0] == "static"
    assert split_named_path(tmp_path / "gone" / "prior") == ("prior_1", tmp_path / "gone" / "prior")
    assert split_named_path("mine=somewhere/prior") == ("mine", Path("somewhere/prior"))


def test_every_image_of_a_strange_cohort(tmp_path, planted_away, planted_home, planted_models):
    model = planted_models["pooled"]
    metrics = evaluate_cohort(planted_away, tmp_path / "out", model=model, split="all", settings=QUICK)
    assert metrics["data.images.evaluated"]["value"] == 100
    with pytest.raises(ConfigError, match="was trained on images of this cohort"):
        evaluate_cohort(planted_home, tmp_path / "no", model=model, split="all", settings=QUICK)


def test_a_cohort_that_a_models_backbone_has_seen_is_refused(tmp_path, planted_home, cohort_path):
    pretrain_backbone(planted_home, tmp_path / "first", settings=PretrainSettings.from_values(TINY))
    further = {k: v for k, v in TINY.items() if k != "network"}
    further |= {"init": str(tmp_path / "first")}
    pretrain_backbone(cohort_path, tmp_path / "second", settings=PretrainSettings.from_values(further))
    away = Cohort.open(cohort_path)
    tuning = {"task": "classification", "epochs": 1, "batch": 8, "size": 32}
    settings = FinetuneSettings.from_values(tuning)
    finetune_model(away, tmp_path / "model", "classification", tmp_path / "second", settings)
    digests = sorted(map(result_digest, (planted_home, cohort_path)))
    seen = read_config(tmp_path / "model")["seen_cohorts"]
    assert seen == digests
    for kind in ("backbone", "model"):
        path = tmp_path / {"backbone": "second"}.get(kind, kind)
        with pytest.raises(ConfigError, match="was trained on images of this cohort"):
            evaluate_cohort(planted_home, tmp_path / "no", split="all", settings=QUICK, **{kind: path})


def test_a_split_that_shares_patients_is_refused(tmp_path, planted_home, planted_models):
    shutil.copytree(planted_home, tmp_path / "c", ignore=shutil.ignore_patterns("cache"))
    path = tmp_path / "c" / "manifest.parquet"
    table = pd.read_parquet(path)
    table.loc[table.index[table.split == "test"][0], "split"] = "train"
    table.to_parquet(path, index=False)
    with pytest.raises(InputMissing, match=r"1 patient.s. are in both train and test"):
        evaluate_cohort(tmp_path / "c", tmp_path / "out", model=planted_models["plain"], settings=QUICK)


def test_entries_may_be_one_path_one_pair_or_many():
    assert convert_entries_to_list(None) == []
    assert convert_entries_to_list("a") == ["a"]
    assert convert_entries_to_list(("name", Path("a"))) == [("name", Path("a"))]
    assert convert_entries_to_list(["a", "b"]) == ["a", "b"]
    assert convert_entries_to_list({"x": "a"}.items()) == [("x", "a")]


def test_names_become_part_of_a_key_and_must_differ():
    assert parse_named_paths(["my model.v2=a", "b/c"], "--model") == [("my_model_v2", Path("a")), ("c", Path("b/c"))]
    assert parse_named_paths(["runs/a=b"], "--model") == [("a_b", Path("runs/a=b"))]
    with pytest.raises(ConfigError, match="used twice"):
        parse_named_paths(["a.b=x", "a b=y"], "--model")
    with pytest.raises(ConfigError, match="is taken"):
        parse_named_paths(["uniform=x"], "--model")


def test_folders_are_recorded_by_kind_and_name():
    models = tuple(NamedInput(name, Path(name), build_untrained_model(["spot"])) for name in ("a", "b"))
    assert Inputs((), models, ()).folders == {"model.a": Path("a"), "model.b": Path("b")}
    assert Inputs((), models, ()).find_excluded_images() == frozenset()


def test_annotated_images_are_left_out_and_not_all_may_be(cohort):
    test = cohort.split("test")
    part = select_evaluation_split(cohort, "test", frozenset(test.image_ids[:2]))
    assert list(part.image_ids) == list(test.image_ids[2:])
    with pytest.raises(InputMissing, match="holds only the annotated image"):
        select_evaluation_split(cohort, "test", frozenset(test.image_ids))


def test_maps_are_chosen_on_validation_else_on_training_images(cohort):
    val, train = cohort.split("val"), cohort.split("train")
    assert list(select_tuning_split(cohort, "test", frozenset()).image_ids) == list(val.image_ids)
    assert list(select_tuning_split(cohort, "val", frozenset()).image_ids) == list(train.image_ids)
    assert list(select_tuning_split(cohort, "test", frozenset(val.image_ids)).image_ids) == list(train.image_ids)
    assert list(select_tuning_split(cohort, "train", frozenset()).image_ids) == list(val.image_ids)
    assert select_tuning_split(cohort, "all", frozenset()) is None
