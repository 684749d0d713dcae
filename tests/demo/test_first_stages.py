"""Stages that the demonstrations share."""

import pytest

from medprior.demo.first_stages import annotate_typical_radiograph, ingest_data_set, require_data_sets
from medprior.errors import InputMissing


class RecordedPipeline:
    """Keeps the stages that it is asked to run."""

    def __init__(self):
        self.stages = []

    def run_stage(self, title, name, *argv, result):
        self.stages.append((title, name, [str(argument) for argument in argv], result))


def test_a_missing_data_set_is_named_beside_all(tmp_path):
    (tmp_path / "nih").mkdir()
    require_data_sets("--real", tmp_path, ("nih",))
    with pytest.raises(InputMissing) as caught:
        require_data_sets("--real", tmp_path, ("nih", "shenzhen"))
    assert (caught.value.where, caught.value.found) == (f"--real {tmp_path}", "no shenzhen/")
    assert caught.value.expected == "nih and shenzhen"


def test_data_sets_go_into_one_cohort_with_their_options(tmp_path):
    pipeline = RecordedPipeline()
    ingest_data_set(pipeline, "kermany", tmp_path, tmp_path / "c", 256, "--limit", 700)
    ((title, name, argv, result),) = pipeline.stages
    assert (title, name, result) == ("Ingest kermany", "ingest", tmp_path / "c" / "config.json")
    assert argv[:2] == [str(tmp_path / "kermany"), str(tmp_path / "c")]
    assert argv[2:] == ["--dataset", "kermany", "--store-size", "256", "--limit", "700"]


def test_the_most_typical_radiograph_is_annotated(tmp_path):
    pipeline = RecordedPipeline()
    annotation = annotate_typical_radiograph(pipeline, tmp_path, tmp_path / "c")
    ((_, name, argv, result),) = pipeline.stages
    assert (name, annotation, result) == ("annotate", tmp_path / "annotation", annotation / "annotation.json")
    assert argv == [str(annotation), "--cohort", str(tmp_path / "c"), "--image-id", "auto"]
