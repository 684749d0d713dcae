"""Dynamic batching: views of simultaneous requests share one forward pass, run by one thread.

Requests are read in threads of their own. Each hands its view to `DynamicBatcher.run` and waits; one
thread takes the queued views, up to `max_batch`, as one batch. On a GPU a batch costs little more than
one image; for two CPU cores see the README. A view waits only while other requests are on their way.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future

import torch
from torch import Tensor

from medprior.deploy.inference.predictor import Predictor
from medprior.finetune.assembly import Network
from medprior.finetune.single_pass import NetworkOutput, run_single_pass

QueuedView = tuple[Network, Tensor, "Future[NetworkOutput]"]


class DynamicBatcher:
    """The thread that runs networks.

    Args:
        max_batch: largest batch.
        window_seconds: longest wait for the views of requests that are being read.
    """

    def __init__(self, max_batch: int = 4, window_seconds: float = 0.004) -> None:
        self.max_batch, self.window_seconds = max(1, max_batch), window_seconds
        self.incoming_requests = 0  # requests being read that have not queued a view yet
        self.batches = self.images = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[QueuedView | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run_batches, name="networks", daemon=True)
        self._thread.start()

    def predictor(self, original: Predictor) -> Predictor:
        """A predictor of the same models whose forward passes run in this thread."""
        if not original.models:
            return original  # a backbone runs its own forward pass
        return Predictor(original.models, original.digest, self.run, original.evidence, original.backbone)

    def run(self, network: Network, images: Tensor) -> NetworkOutput:
        """The output of `network` for `images` [1, 1, S, S]; blocks until its batch is done."""
        output: Future[NetworkOutput] = Future()
        self._queue.put((network, images, output))
        return output.result()

    def change_incoming_count(self, change: int) -> None:
        """Count a request that is read now (1), or one that has ended (-1)."""
        with self._lock:
            self.incoming_requests += change

    def close(self) -> None:
        """End the thread after the queued views."""
        self._queue.put(None)
        self._thread.join()

    def _run_batches(self) -> None:
        next_view: QueuedView | None = None
        while True:
            first = next_view or self._queue.get()
            next_view = None
            if first is None:
                return
            batch, deadline = [first], time.monotonic() + self.window_seconds
            while len(batch) < self.max_batch and self.incoming_requests > len(batch):
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                if item is None or item[0] is not first[0] or item[1].shape != first[1].shape:
                    next_view = item
                    if item is None:
                        self._queue.put(None)
                    break
                batch.append(item)
            self._run_batch(batch)

    def _run_batch(self, batch: list[QueuedView]) -> None:
        self.batches, self.images = self.batches + 1, self.images + len(batch)
        try:
            outputs = run_single_pass(batch[0][0], torch.cat([images for _, images, _ in batch]))
            for index, (_, _, output) in enumerate(batch):
                output.set_result(outputs[index])
        except BaseException as error:
            for _, _, output in batch:
                output.set_exception(error)
