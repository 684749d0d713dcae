"""Work on a Dask cluster; the process that began it is the only writer."""

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
from medprior.errors import InputMissing, MedpriorError
from medprior.workers.secret_bytes import SecretBytes, unpack_message

CONNECT_SECONDS, WORKER_SECONDS, POLL_SECONDS = 15.0, 120.0, 5.0


TASKS_PER_THREAD = 4


MIN_PENDING_TASKS = 16


ClusterTask = Callable[[str, SecretBytes], SecretBytes]


class DaskCluster:
    """Work done by the workers of a Dask cluster. A context manager.

    What it is to the workers is its plugin; tasks find it there by this cluster's name.

    Args:
        address: of the scheduler, `tcp://HOST:PORT` or `tls://HOST:PORT`.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        # A scheduler shows and logs names: this one says nothing.
        self._name = f"medprior-{secrets.token_hex(6)}"
        self._client: Any = None
        self._threads, self._threads_checked_at = 0, 0.0

    def _plugin(self) -> Any:
        """What every worker gets, those that come later too, before its first task."""
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
        # The cluster may be gone, which then is what ended the run.
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

    def _begun(self, task: ClusterTask, messages: Iterable[SecretBytes]) -> Iterator[Any]:
        """Futures of `task` on each message, in order; only so many are made ahead as `_reach`."""
        waiting = iter(messages)
        coming: deque[Any] = deque()
        while True:
            for message in islice(waiting, max(0, self._max_pending_tasks() - len(coming))):
                coming.append(self._submit_task(task, message, retries=2))
            if not coming:
                return
            yield coming.popleft()

    def _submit_task(self, task: ClusterTask, message: SecretBytes, retries: int = 0) -> Any:
        """The future of one task, under a key of its own: an old answer is never taken for it."""
        return self._client.submit(task, self._name, message, pure=False, retries=retries)

    def _max_pending_tasks(self) -> int:
        """How many tasks may be under way: a few for each thread that the cluster has now."""
        if time.monotonic() - self._threads_checked_at > POLL_SECONDS:
            self._threads = sum(self._client.nthreads().values())
            self._threads_checked_at = time.monotonic()
        return max(MIN_PENDING_TASKS, TASKS_PER_THREAD * self._threads)

    def _told(self, future: Any) -> tuple[dict[str, Any], list[Any]]:
        """What a task answered: facts and arrays.

        Raises:
            KilledWorker: several workers died over it, or happened to.
            MedpriorError: the task says to stop, or the cluster is gone.
        """
        facts, arrays = unpack_message(self._waited(future))
        if "stop" in facts:
            raise MedpriorError(str(facts["stop"]), where="--scheduler")
        return facts, arrays

    def _waited(self, future: Any) -> Any:
        """The result, for as long as there are workers that may give it."""
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


def scheduler_unreachable_error(error: BaseException) -> MedpriorError:
    """The scheduler does not answer, or no longer."""
    return InputMissing(
        f"the Dask scheduler does not answer ({type(error).__name__})",
        where="--scheduler",
        expected="tcp://HOST:PORT",
        fix="start it and run the same command again; what was read so far is kept",
    )


def no_workers_error() -> MedpriorError:
    """The cluster is empty."""
    return InputMissing(
        f"the cluster has had no worker for {WORKER_SECONDS:.0f} s",
        where="--scheduler",
        fix="start workers and run the same command again; what was read so far is kept",
    )


def check_worker_version(version: str) -> None:
    """MedpriorError unless this worker's medprior is of `version`, the caller's."""
    if medprior.__version__ != version:
        raise MedpriorError(
            "a worker has another version of medprior",
            where="--scheduler",
            expected=version,
            found=medprior.__version__,
        )
