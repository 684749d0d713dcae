"""Runs tasks on a Dask cluster; only the calling process writes results."""

from __future__ import annotations

import importlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import islice
from typing import Any, Self

import medprior
from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.workers.secret_bytes import SecretBytes, unpack_message

CONNECT_SECONDS, WORKER_SECONDS, POLL_SECONDS = 15.0, 120.0, 5.0
TASKS_PER_THREAD, MIN_PENDING_TASKS = 4, 16
ClusterTask = Callable[[str, SecretBytes], SecretBytes]


class DaskCluster:
    """A client of a Dask cluster whose workers run tasks. A context manager.

    Each worker gets the plugin of the subclass; tasks find it by the name of this client.

    Args:
        address: address of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        # A scheduler shows and logs names: this one reveals nothing.
        self._name = f"medprior-{secrets.token_hex(6)}"
        self._client: Any = None
        self._threads, self._threads_checked_at = 0, 0.0

    def _plugin(self) -> Any:
        """Create the plugin that every worker, also one that joins later, gets before its first task."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        distributed: Any = importlib.import_module("distributed")
        try:
            self._client = distributed.Client(
                self._address, timeout=CONNECT_SECONDS, set_as_default=False, name=self._name
            )
        except Exception as error:
            raise scheduler_unreachable_error(error) from None
        try:
            self._prepare()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # The cluster may be gone; the error that ended the run is then more useful than this one.
        try:
            self._client.unregister_worker_plugin(self._name)
        except Exception:
            pass
        finally:
            self._client.close()

    def _prepare(self) -> None:
        plugin = self._plugin()
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError:
            raise no_workers_error() from None
        try:
            self._client.register_plugin(plugin, name=self._name)
        except Exception as error:
            raise MedpriorError(
                f"the workers of the cluster cannot run medprior ({type(error).__name__})",
                where="--scheduler",
                fix="install the same medprior on all of them",
            ) from None

    def _submit_tasks(self, task: ClusterTask, messages: Iterable[SecretBytes]) -> Iterator[Any]:
        """Yield futures of `task` on each message, in order; at most `_max_pending_tasks` are pending."""
        remaining = iter(messages)
        pending: deque[Any] = deque()
        while True:
            for message in islice(remaining, max(0, self._max_pending_tasks() - len(pending))):
                pending.append(self._submit_task(task, message, retries=2))
            if not pending:
                return
            yield pending.popleft()

    def _submit_task(self, task: ClusterTask, message: SecretBytes, retries: int = 0) -> Any:
        """Submit one task under a unique key, so that no earlier result is taken for it."""
        return self._client.submit(task, self._name, message, pure=False, retries=retries)

    def _max_pending_tasks(self) -> int:
        """Largest number of pending tasks: a few for each current thread of the cluster."""
        if time.monotonic() - self._threads_checked_at > POLL_SECONDS:
            self._threads = sum(self._client.nthreads().values())
            self._threads_checked_at = time.monotonic()
        return max(MIN_PENDING_TASKS, TASKS_PER_THREAD * self._threads)

    def _receive_result(self, future: Any) -> tuple[dict[str, Any], list[Any]]:
        """Wait for the result of a task: facts and arrays.

        Raises:
            KilledWorker: several workers died while they ran the task.
            MedpriorError: the task asks to stop, or the cluster is gone.
        """
        facts, arrays = unpack_message(self._wait_for_result(future))
        if "stop" in facts:
            raise MedpriorError(str(facts["stop"]), where="--scheduler")
        return facts, arrays

    def _wait_for_result(self, future: Any) -> Any:
        """Wait for the result as long as the cluster has workers."""
        from distributed import KilledWorker

        empty_since: float | None = None
        while True:
            try:
                return future.result(timeout=POLL_SECONDS)
            except TimeoutError:
                if self._client.nthreads():
                    empty_since = None
                    continue
                empty_since = empty_since or time.monotonic()
                if time.monotonic() - empty_since > WORKER_SECONDS:
                    raise no_workers_error() from None
            except KilledWorker:
                raise
            except (CancelledError, OSError) as error:
                raise scheduler_unreachable_error(error) from None
            except Exception as error:
                raise MedpriorError(
                    f"a task failed on the cluster ({type(error).__name__})",
                    where="--scheduler",
                    fix="see the workers' logs; what was read so far is kept",
                ) from None


def check_scheduler_security(address: str | None, insecure: bool) -> None:
    """Refuse a scheduler without encryption and certificates, unless the user accepts that in so many words.

    Dask runs the code that any peer sends it, so whoever reaches a `tcp://` scheduler or worker runs code as its
    owner, and reads the pictures and identifiers that pass.

    Raises:
        ConfigError: the address is not `tls://HOST:PORT`.
    """
    if address is not None and not address.startswith("tls://") and not insecure:
        raise ConfigError(
            "anybody who reaches this cluster runs code as you and reads what it reads",
            where="--scheduler",
            expected="tls://HOST:PORT, with certificates in Dask's configuration (distributed.comm.tls)",
            found=address.split(":", 1)[0] + "://",
            fix="start the cluster with TLS, or accept it with --insecure",
        )


def scheduler_unreachable_error(error: BaseException) -> MedpriorError:
    """Build the error of a scheduler that does not answer, or no longer."""
    return InputMissing(
        f"the Dask scheduler does not answer ({type(error).__name__})",
        where="--scheduler",
        expected="tcp://HOST:PORT",
        fix="start it and run the same command again; what was read so far is kept",
    )


def no_workers_error() -> MedpriorError:
    """Build the error of a cluster without workers."""
    return InputMissing(
        f"the cluster has had no worker for {WORKER_SECONDS:.0f} s",
        where="--scheduler",
        fix="start workers and run the same command again; what was read so far is kept",
    )


def check_worker_version(version: str) -> None:
    """Refuse a worker whose medprior has another version than the caller's (MedpriorError)."""
    if medprior.__version__ != version:
        raise MedpriorError(
            "a worker has another version of medprior",
            where="--scheduler",
            expected=version,
            found=medprior.__version__,
        )
