"""The aliases `champion` and `previous`, and the lock under which they move; no model is trained here."""

import pytest
from mlflow import MlflowClient

from medprior.deploy.registry import champion
from medprior.deploy.registry.champion import PREDECESSOR_TAG, find_champion_and_previous, load_aliases, make_champion
from medprior.errors import InputMissing, MedpriorError
from medprior.tracking import mlflow_store


@pytest.fixture
def client(tracking_uri) -> MlflowClient:
    """A store whose model `cxr` has three versions without files and no alias."""
    store = mlflow_store.connect_to_store(tracking_uri)
    store.create_registered_model("cxr")
    for _ in range(3):
        store.create_model_version("cxr", "runs:/nothing/model")
    return store


def test_previous_follows_only_a_move_to_another_version(client):
    make_champion(client, "cxr", "1", None)
    assert load_aliases(client, "cxr") == {"champion": "1"}
    make_champion(client, "cxr", "3", "1")
    assert load_aliases(client, "cxr") == {"champion": "3", "previous": "1"}
    make_champion(client, "cxr", "3", "3")
    assert load_aliases(client, "cxr") == {"champion": "3", "previous": "1"}
    assert client.get_model_version("cxr", "3").tags[PREDECESSOR_TAG] == "1"
    assert PREDECESSOR_TAG not in client.get_model_version("cxr", "1").tags


def test_what_was_approved_is_recorded_before_the_alias_moves(client):
    client.set_model_version_tag("cxr", "1", "model_digest", "abc")
    make_champion(client, "cxr", "1", None, "gate")
    tags = client.get_model_version("cxr", "1").tags
    assert (tags[champion.APPROVAL_TAG], tags[champion.APPROVED_DIGEST_TAG]) == ("gate", "abc")


def test_a_slow_holder_loses_the_lock_and_leaves_its_successors_alone(client, monkeypatch):
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(champion, "LOCK_POLL_SECONDS", 0.02)
    lock = "cxr.promotion-lock"
    with champion.hold_registry_lock(client, "cxr") as slow_check:
        slow_check()
        slow_owner = champion.read_lock_owner(client, lock)
        # The successor takes over after the wait, and the slow holder ends while the successor works.
        with champion.hold_registry_lock(client, "cxr") as check:
            with pytest.raises(MedpriorError, match="took over the promotion lock"):
                slow_check()
            champion.delete_registry_lock(client, lock, slow_owner)
            check()
            successor = champion.read_lock_owner(client, lock)
            assert successor not in {None, slow_owner}
        assert champion.read_lock_owner(client, lock) is None


def test_a_slow_holder_moves_no_alias(client, monkeypatch):
    """Its successor works while it sleeps between the two aliases."""
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(champion, "LOCK_POLL_SECONDS", 0.02)
    monkeypatch.setattr(mlflow_store, "sqlite_path", lambda uri: None)
    make_champion(client, "cxr", "1", None)
    set_alias = MlflowClient.set_registered_model_alias
    successors = ["3"]

    def set_slowly(self, name, alias, version):
        set_alias(self, name, alias, version)
        if alias == "previous" and successors:
            make_champion(client, "cxr", successors.pop(), "1")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_slowly)
    with pytest.raises(MedpriorError, match="took over the promotion lock"):
        make_champion(client, "cxr", "2", "1")
    assert load_aliases(client, "cxr")["champion"] == "3"
    assert [model.name for model in client.search_registered_models()] == ["cxr"]


@pytest.mark.parametrize("before", [None, "2"])
def test_a_champion_that_changed_meanwhile_stays(client, before):
    make_champion(client, "cxr", "1", None)
    with pytest.raises(MedpriorError, match="the champion changed meanwhile"):
        make_champion(client, "cxr", "3", before)
    assert load_aliases(client, "cxr") == {"champion": "1"}


def test_the_predecessor_is_the_alias_or_after_an_interrupted_move_the_tag(client):
    with pytest.raises(InputMissing, match="no champion to go back to"):
        find_champion_and_previous(client, "cxr")
    client.set_registered_model_alias("cxr", "champion", "3")
    with pytest.raises(InputMissing, match="no champion to go back to"):
        find_champion_and_previous(client, "cxr")
    client.set_registered_model_alias("cxr", "previous", "2")
    assert find_champion_and_previous(client, "cxr") == ("3", "2")
    client.set_model_version_tag("cxr", "3", PREDECESSOR_TAG, "1")
    assert find_champion_and_previous(client, "cxr") == ("3", "2")
    client.set_registered_model_alias("cxr", "previous", "3")
    assert find_champion_and_previous(client, "cxr") == ("3", "1")


def test_a_lock_left_by_a_killed_process_is_taken_over_once_its_owner_stays_the_same(client, monkeypatch):
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(champion, "LOCK_POLL_SECONDS", 0.02)
    client.create_registered_model("cxr.promotion-lock")
    with champion.hold_registry_lock(client, "cxr") as check:
        check()
    assert champion.read_lock_owner(client, "cxr.promotion-lock") is None
    # Where nobody holds it there is nothing to wait for.
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 1e9)
    with champion.hold_registry_lock(client, "cxr") as check:
        check()


def test_a_lock_is_deleted_by_its_owner_alone(client):
    client.create_registered_model("lock", tags={champion.OWNER_TAG: "me"})
    champion.delete_registry_lock(client, "lock", "other")
    assert champion.read_lock_owner(client, "lock") == "me"
    champion.delete_registry_lock(client, "lock", "me")
    assert champion.read_lock_owner(client, "lock") is None
    champion.delete_registry_lock(client, "lock", "me")
