"""Moves the aliases `champion` and `previous` of a registered model, under a lock."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from medprior.errors import InputMissing, MedpriorError
from medprior.locks import hold_lock
from medprior.tracking import mlflow_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION_ALIAS, PREVIOUS_ALIAS = "champion", "previous"
PREDECESSOR_TAG = "champion_before"  # tag of a version: the champion it replaced
APPROVAL_TAG = "champion.approved_by"  # tag of a version: `gate`, `hand` or `rollback`
APPROVED_DIGEST_TAG = "champion.model_digest"  # tag of a version: the model digest that was approved
OWNER_TAG = "medprior.lock_owner"  # tag of a lock: a random text of its holder
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


def make_champion(client: MlflowClient, name: str, version: str, before: str | None, approval: str = "hand") -> None:
    """Make `version` champion if the champion is still `before`; the alias `champion` moves last.

    If this is interrupted, `champion` points to the old or to the new version.

    Args:
        client: of the registry.
        name: registered model.
        version: the new champion.
        before: the version that is champion now; None for none.
        approval: who approved it, `gate`, `hand` or `rollback`; a tag of the version, as is the digest of what
            was approved.

    Raises:
        MedpriorError: another version became champion meanwhile, another process holds the lock, or took it
            over because this one was slow.
    """
    with hold_champion_lock(client, name) as check_held:
        current = load_aliases(client, name).get(CHAMPION_ALIAS)
        if current != before:
            raise MedpriorError(
                "the champion changed meanwhile",
                where=f"models:/{name}@{CHAMPION_ALIAS}",
                expected=f"version {before}" if before else "no champion yet",
                found=f"version {current}" if current else "none",
                fix="promote again: the challenger is then judged against the new champion",
            )
        check_held()
        if current is not None and current != version:
            client.set_model_version_tag(name, version, PREDECESSOR_TAG, current)
            client.set_registered_model_alias(name, PREVIOUS_ALIAS, current)
        client.set_model_version_tag(name, version, APPROVAL_TAG, approval)
        digest = client.get_model_version(name, version).tags.get("model_digest", "")
        client.set_model_version_tag(name, version, APPROVED_DIGEST_TAG, digest)
        check_held()
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
def hold_champion_lock(client: MlflowClient, name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock on the champion of `name` for the block; yield a check that it is still held.

    Raises:
        MedpriorError: another process held the lock for 30 seconds.
    """
    path = mlflow_store.sqlite_path(client.tracking_uri)
    if path is not None:
        lock = path.with_name(f".{path.name}.{mlflow_store.slugify_name(name)}.lock")
        with hold_lock(lock, f"the champion of {name!r}", wait_seconds=LOCK_WAIT_SECONDS, mode=0o600):
            yield lambda: None  # the kernel takes a file's lock from nobody
    else:
        with hold_registry_lock(client, name) as check_held:
            yield check_held


@contextmanager
def hold_registry_lock(client: MlflowClient, name: str) -> Iterator[Callable[[], None]]:
    """A registered model as lock: its name is unique in the store, so only one creation succeeds.

    The lock exists while aliases move, about a second, and carries its holder's token. A process that sees the
    same token for 30 seconds takes the lock over, since its owner was killed or hangs. A holder that was only
    slow finds another token: it moves no alias any more and leaves its successor's lock alone.

    Yields:
        A check that raises MedpriorError if the lock was taken over.
    """
    lock, token = f"{name}.promotion-lock", secrets.token_hex(16)
    create_registry_lock(client, lock, token)

    def check_held() -> None:
        """Raise MedpriorError if another process took the lock over."""
        if read_lock_owner(client, lock) != token:
            raise MedpriorError(
                "another process took over the promotion lock, since this one was slow",
                where=repr(name),
                expected=f"less than {LOCK_WAIT_SECONDS:.0f} s for moving the aliases",
                fix="see which version is champion and run the command again",
            )

    try:
        yield check_held
    finally:
        delete_registry_lock(client, lock, token)


def create_registry_lock(client: MlflowClient, lock: str, token: str) -> None:
    """Wait until the lock can be created; take over one whose owner did not change for 30 seconds."""
    from mlflow.exceptions import MlflowException

    deadline, first_owner = time.monotonic() + LOCK_WAIT_SECONDS, read_lock_owner(client, lock)
    while True:
        try:
            client.create_registered_model(lock, tags={OWNER_TAG: token}, description="held while aliases move")
            return
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                what = "the promotion lock could not be created"
                raise mlflow_store.build_store_error(client.tracking_uri, what, str(error)) from None
        owner = read_lock_owner(client, lock)
        if owner != first_owner:
            deadline, first_owner = time.monotonic() + LOCK_WAIT_SECONDS, owner
        elif time.monotonic() > deadline and owner is not None:
            delete_registry_lock(client, lock, owner)
        time.sleep(LOCK_POLL_SECONDS)


def delete_registry_lock(client: MlflowClient, lock: str, owner: str) -> None:
    """Delete the lock if it is still that of `owner`."""
    from mlflow.exceptions import MlflowException

    with suppress(MlflowException):
        if read_lock_owner(client, lock) == owner:
            client.delete_registered_model(lock)


def read_lock_owner(client: MlflowClient, lock: str) -> str | None:
    """Token of the lock's holder, its creation time where it has none; None if there is no lock."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(lock)
    except MlflowException:
        return None
    return str(model.tags.get(OWNER_TAG, model.creation_timestamp))
