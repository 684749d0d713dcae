import pytest

from medprior.errors import InputMissing
from medprior.finetune import finetune_model
from tests.finetune.conftest import tiny


def test_a_validation_split_without_both_classes_is_refused(cohort, tmp_path):
    table = cohort.manifest
    wanted = (table.split != "val") | (table["large"] == 0)
    part = cohort.select(tuple(table.image_id[wanted]))
    with pytest.raises(InputMissing, match="both positive and negative validation images"):
        finetune_model(part, tmp_path / "m", settings=tiny(labels=("large",)))
    only = cohort.select(tuple(table.image_id[table.split == "train"]))
    with pytest.raises(InputMissing, match="split 'val' is empty"):
        finetune_model(only, tmp_path / "m", settings=tiny())
