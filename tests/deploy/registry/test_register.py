"""A model goes into a real MLflow registry and answers from a clean process by its alias."""

import os

import pytest

from medprior.deploy import load_model, register_model
from medprior.deploy.registry.register import check_registry_names, find_alias_version
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store


def test_the_alias_moves_to_the_new_version(tracking_uri, classifier, segmenter):
    register_model(segmenter, "cxr", tracking_uri=tracking_uri)
    assert register_model(classifier, "cxr", tracking_uri=tracking_uri) == "2"
    register_model(segmenter, "cxr", alias="challenger", tracking_uri=tracking_uri)
    client = mlflow_store.connect_to_store(tracking_uri)
    aliases = client.get_registered_model("cxr").aliases
    assert {key: str(value) for key, value in aliases.items()} == {
        "champion": "2",
        "previous": "1",
        "challenger": "3",
    }
    assert (find_alias_version("cxr"), find_alias_version("cxr", "challenger")) == ("2", "3")
    assert load_model("models:/cxr@challenger", tracking_uri).models.keys() == {"segmentation"}
    assert load_model("models:/cxr/latest", tracking_uri).models.keys() == {"segmentation"}


def test_bad_registrations_leave_nothing(tracking_uri, classifier, segmenter, tmp_path):
    attempts = [
        {"model": tmp_path, "name": "cxr"},
        {"model": classifier, "name": "a/b"},
        {"model": classifier, "name": "cxr", "alias": "v1"},
        {"model": classifier, "name": "cxr", "alias": "latest"},
        {"model": classifier, "name": "cxr", "segmenter": classifier},
        {"model": segmenter, "name": "cxr", "segmenter": segmenter},
        {"model": classifier, "name": "cxr", "evidence": tmp_path},
    ]
    for attempt in attempts:
        with pytest.raises(MedpriorError):
            register_model(**attempt, tracking_uri=tracking_uri)
    assert not mlflow_store.connect_to_store(tracking_uri).search_registered_models()


def test_the_user_s_own_store_stays_current(tracking_uri, classifier, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    register_model(classifier, "cxr", tracking_uri=tracking_uri)
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:1"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("name", "alias", "refused"),
    [
        ("x" * 200, "champion", None), ("x" * 201, "champion", "name"), ("", "champion", "name"),
        ("a.b-c_1", "champion", None), ("a b", "champion", "name"), ("a\n", "champion", "name"),
        *((f"a{character}b", "champion", "name") for character in "/:@%"),
        ("cxr", "c", None), ("cxr", "c" * 101, None), ("cxr", "c" * 102, "alias"), ("cxr", "", "alias"),
        ("cxr", "1st", "alias"), ("cxr", "first-1_x", None), ("cxr", "a.b", "alias"),
        ("cxr", "V12", "alias"), ("cxr", "Latest", "alias"), ("cxr", "v", None), ("cxr", "v1x", None),
        ("cxr", "latest2", None),
    ],
)  # fmt: skip
def test_names_that_mlflow_would_refuse_after_the_upload(name, alias, refused):
    if refused is None:
        check_registry_names(name, alias)
        return
    with pytest.raises(MedpriorError, match=rf"invalid (model )?{refused}"):
        check_registry_names(name, alias)
