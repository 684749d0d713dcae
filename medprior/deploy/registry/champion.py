"""Moves the aliases `champion` and `previous` of a registered model, under a lock."""

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
PREDECESSOR_TAG = "champion_before"  # tag of a version: the champion it replaced
LOCK_WAIT_SECONDS = 30.0
LOCK_POLL_SECONDS = 0.2


def load_aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Load alias -> version of a registered model.

    Raises:
        InputMissing: no such registered model.
    """
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        fix = f"run `medprior register MODEL {name} --alias challenger` first"
        raise InputMissing("no such registered model", where=repr(name), fix=fix) from None
    return {alias: str(version) for alias, version in aliases.items()}


def make_champion(client: MlflowClient, name: str, version: str, before: str | None) -> None:
    """Make `version` champion if the champion is still `before`; the alias `champion` moves last.

    If this is interrupted, `champion` points to the old or to the new version.

    Raises:
        MedpriorError: another version became champion meanwhile, or another process holds the lock.
    """
    with hold_champion_lock(client, name):
        current = load_aliases(client, name).get(CHAMPION_ALIAS)
        if current != before:
            raise MedpriorError(
                "the champion changed meanwhile",
                where=f"models:/{name}@{CHAMPION_ALIAS}",
                expected=f"version {before}" if before else "no champion yet",
                found=f"version {current}" if current else "none",
                fix="promote again: the challenger is then judged against the new champion",
            )
        if current is not None and current != version:
            client.set_model_version_tag(name, version, PREDECESSOR_TAG, current)
            client.set_registered_model_alias(name, PREVIOUS_ALIAS, current)
        client.set_registered_model_alias(name, CHAMPION_ALIAS, version)


def find_champion_and_previous(client: MlflowClient, name: str) -> tuple[str, str]:
    """Versions of the champion and of the champion before it.

    Raises:
        InputMissing: there is no champion, or no version before it.
    """
    aliases = load_aliases(client, name)
    current, previous = aliases.get(CHAMPION_ALIAS), aliases.get(PREVIOUS_ALIAS)
    if current is not None and previous in {None, current}:  # an interrupted move did not set `previous`
        previous = client.get_model_version(name, current).tags.get(PREDECESSOR_TAG)
    if current is None or previous in {None, current}:
        raise InputMissing(
            "there is no champion to go back to",
            where=repr(name),
            found=", ".join(f"{alias} {version}" for alias, version in sorted(aliases.items())),
            fix="point the alias with `medprior register`, or in `mlflow ui`",
        )
    assert previous is not None
    return current, previous


@contextmanager
def hold_champion_lock(client: MlflowClient, name: str) -> Iterator[None]:
    """Hold the lock on the champion of `name` for the block.

    Raises:
        MedpriorError: another process held the lock for 30 seconds.
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
    """A registered model as lock: its name is unique in the store, so only one creation succeeds.

    The lock exists while aliases move, about a second. A process that sees the same lock for 30
    seconds takes it over, since its owner was killed.
    """
    from mlflow.exceptions import MlflowException

    lock = f"{name}.promotion-lock"
    deadline, first_time_ms = time.monotonic() + LOCK_WAIT_SECONDS, read_lock_time_ms(client, lock)
    while True:
        try:
            client.create_registered_model(lock, description="held while aliases move")
            break
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                what = "the promotion lock could not be created"
                raise mlflow_store.build_store_error(client.tracking_uri, what, str(error)) from None
        time_ms = read_lock_time_ms(client, lock)
        if time_ms != first_time_ms:
            deadline, first_time_ms = time.monotonic() + LOCK_WAIT_SECONDS, time_ms
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
    """Creation time of the lock, milliseconds of the server's clock; None if there is no lock."""
    from mlflow.exceptions import MlflowException

    try:
        return int(client.get_registered_model(lock).creation_timestamp)
    except MlflowException:
        return None
