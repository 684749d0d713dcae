import json

import pandas as pd
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.cohort.kept_splits import PatientSplitRule, PublishedSplits
from tests.cohort.images import add_picture

SHARES = (0.7, 0.1, 0.2)


def read_splits(path):
    manifest = Cohort.open(path).manifest
    return dict(zip(manifest.image_id, manifest.split, strict=True))


def finish(path, split=None, seed=0, **more):
    with CohortWriter(path) as writer:
        for number in range(6):
            add_picture(writer, number, official="val" if number < 5 else None)
        writer.finish(split, seed=seed, **more)
    return read_splits(path)


def test_a_given_split_comes_before_the_official_one(tmp_path):
    splits = finish(tmp_path / "c", {"i001": "test", "i002": "train"})
    assert [splits[f"i00{number}"] for number in range(5)] == ["val", "test", "train", "val", "val"]


def test_splits_of_the_same_rule_are_kept_and_a_new_given_one_replaces_them(tmp_path):
    finish(tmp_path / "c", {"i001": "test", "i002": "train"})
    assert finish(tmp_path / "c")["i001"] == "test"
    again = finish(tmp_path / "c", {"i001": "val"})
    assert (again["i001"], again["i002"]) == ("val", "train")
    # Another seed is another rule: the official split holds again.
    assert finish(tmp_path / "c", seed=1)["i002"] == "val"


def test_previous_splits_are_those_of_a_finished_cohort_of_the_same_rule(tmp_path):
    path = tmp_path / "c"
    assert PublishedSplits.load(path, PatientSplitRule(0, SHARES)).by_image == {}
    splits = finish(path)
    assert PublishedSplits.load(path, PatientSplitRule(0, SHARES)).by_image == splits
    assert PublishedSplits.load(path, PatientSplitRule(1, SHARES)).by_image == {}
    assert PublishedSplits.load(path, PatientSplitRule(0, (0.6, 0.2, 0.2))).by_image == {}


def test_the_summary_counts_and_the_old_cache_goes(tmp_path):
    path = tmp_path / "c"
    splits = finish(path)
    (path / "cache").mkdir()
    finish(path, quarantine=[("item", "empty", "no bytes")], summary={"files": 7})
    assert not (path / "cache").exists()
    summary = json.loads((path / "summary.json").read_text())
    assert (summary["images"], summary["patients"], summary["files"]) == (6, 6, 7)
    assert sum(summary["splits"].values()) == 6
    assert summary["splits"]["val"] == list(splits.values()).count("val")
    quarantine = pd.read_csv(path / "quarantine.csv")
    assert quarantine.to_dict("records") == [{"item": "item", "code": "empty", "message": "no bytes"}]


@pytest.mark.parametrize("name", ["manifest.parquet", "pixels/index.parquet", "summary.json", "quarantine.csv"])
def test_the_digest_of_every_file_is_recorded(tmp_path, name):
    import hashlib

    finish(tmp_path / "c")
    outputs = json.loads((tmp_path / "c" / "config.json").read_text())["outputs"]
    assert outputs[name] == hashlib.sha256((tmp_path / "c" / name).read_bytes()).hexdigest()
