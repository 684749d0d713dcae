"""Who is champion: the aliases `champion` and `previous`, and one mover of them at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from medprior.errors import InputMissing, MedpriorError
from medprior.locks import hold_lock
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION_ALIAS, PREVIOUS_ALIAS = "champion", "previous"
PREDECESSOR_TAG = "champion_before"  # tag of a version: the champion it took over from
LOCK_WAIT_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.2


def load_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias -> version of a registered model.

    Raises:
        InputMissing: no such registered model.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name).aliases
    except MlflowException:
        fix = f"run `medprior register MODEL {name} --alias challenger` first"
        raise InputMissing("no such registered model", where=repr(name), fix=fix) from None
    return {alias: str(version) for alias, version in found.items()}


def make_champion(client: MlflowClient, name: str, version: str, before: str | None) -> None:
    """Make `version` champion, if the champion is still `before`; the alias `champion` moves last.

    Whatever interrupts this, `champion` points to the old or to the new version.

    Raises:
        MedpriorError: another version became champion meanwhile, or somebody holds the lock.
    """
    with hold_champion_lock(client, name):
        now = load_aliases(client, name).get(CHAMPION_ALIAS)
        if now != before:
            raise MedpriorError(
                "the champion changed meanwhile",
                where=f"models:/{name}@{CHAMPION_ALIAS}",
                expected=f"version {before}" if before else "no champion yet",
                found=f"version {now}" if now else "none",
                fix="promote again: the challenger is then judged against the new champion",
            )
        if now is not None and now != version:
            client.set_model_version_tag(name, version, PREDECESSOR_TAG, now)
            client.set_registered_model_alias(name, PREVIOUS_ALIAS, now)
        client.set_registered_model_alias(name, CHAMPION_ALIAS, version)


def find_predecessor(client: MlflowClient, name: str) -> tuple[str, str]:
    """The champion's version, and the version that was champion before it.

    Raises:
        InputMissing: there is no champion, or none before it.
    """
    known = load_aliases(client, name)
    now, old = known.get(CHAMPION_ALIAS), known.get(PREVIOUS_ALIAS)
    if now is not None and old in {None, now}:  # a move that was cut short left `previous` behind
        old = client.get_model_version(name, now).tags.get(PREDECESSOR_TAG)
    if now is None or old in {None, now}:
        raise InputMissing(
            "there is no champion to go back to",
            where=repr(name),
            found=", ".join(f"{alias} {version}" for alias, version in sorted(known.items())),
            fix="point the alias with `medprior register`, or in `mlflow ui`",
        )
    assert old is not None
    return now, old


@contextmanager
def hold_champion_lock(client: MlflowClient, name: str) -> Iterator[None]:
    """Hold the only right to move the champion of `name` for the block.

    Raises:
        MedpriorError: another process held it for half a minute.
    """
    path = mlflow_store.sqlite_path(client.tracking_uri)
    if path is not None:
        lock = path.with_name(f".{path.name}.{mlflow_store.slugify_name(name)}.lock")
        with hold_lock(lock, f"the champion of {name!r}", wait_seconds=LOCK_WAIT_SECONDS, mode=0o600):
            yield
    else:
        with hold_registry_lock(client, name):
            yield


@contextmanager
def hold_registry_lock(client: MlflowClient, name: str) -> Iterator[None]:
    """A registered model as lock: its name is unique in the store, so that one creation succeeds.

    It is there for the second in which aliases move. One that a killed process left is taken over
    by whoever saw it unchanged for half a minute.
    """
    from mlflow.exceptions import MlflowException

    lock = f"{name}.promotion-lock"
    deadline, first = time.monotonic() + LOCK_WAIT_SECONDS, read_lock_time_ms(client, lock)
    while True:
        try:
            client.create_registered_model(lock, description="held while aliases move")
            break
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise mlflow_store.build_store_error(client.tracking_uri, "no lock", str(error)) from None
        now = read_lock_time_ms(client, lock)
        if now != first:
            deadline, first = time.monotonic() + LOCK_WAIT_SECONDS, now
        elif time.monotonic() > deadline:
            with suppress(MlflowException):
                client.delete_registered_model(lock)
        time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        with suppress(MlflowException):
            client.delete_registered_model(lock)


def read_lock_time_ms(client: MlflowClient, lock: str) -> int | None:
    """When the lock that is there was made, milliseconds of the server's clock; None without."""
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_registered_model(lock).creation_timestamp)
    except MlflowException:
        return None
