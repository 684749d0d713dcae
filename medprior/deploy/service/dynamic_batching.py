"""Views that come in at the same time go through a network together, in one thread.

Requests are read in threads of their own. Each hands the one view it has to `Gathering` and waits;
a single thread takes what is there, up to `most`, as one batch. On a GPU a batch costs little more
than one image; on two cores it saves what README says. Without other requests nobody waits.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from concurrent.futures import Future
from typing import Any, cast

import torch
from torch import Tensor

from medprior.deploy.inference.predictor import Predictor
from medprior.finetune.assembly import Network
from medprior.finetune.model import Model
from medprior.finetune.single_pass import CachedBackbone, NetworkOutput, run_single_pass

QueuedView = tuple[Network, Tensor, "Future[NetworkOutput]"]


class DynamicBatcher:
    """The thread that runs networks.

    Args:
        most: largest batch.
        window: seconds to wait for company when other requests are on their way here.
    """

    def __init__(self, most: int = 4, window: float = 0.004) -> None:
        self.most, self.window = max(1, most), window
        self.incoming_requests = 0  # requests being read that have not asked yet
        self.batches = self.images = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[QueuedView | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run_batches, name="networks", daemon=True)
        self._thread.start()

    def predictor(self, original: Predictor) -> Predictor:
        """The predictor whose networks run here."""
        models = {task: self._wrap_model(model) for task, model in original.models.items()}
        changed: Predictor = object.__new__(type(original))
        changed.__dict__.update(original.__dict__, models=models)
        return changed

    def _wrap_model(self, model: Model) -> Model:
        stand_in = cast(Network, BatchedNetwork(model.network, self))
        return dataclasses.replace(model, network=stand_in)

    def run(self, network: Network, images: Tensor) -> NetworkOutput:
        """What `network` sees in `images` [1, 1, S, S]; blocks until its batch is done."""
        answer: Future[NetworkOutput] = Future()
        self._queue.put((network, images, answer))
        return answer.result()

    def count_incoming(self, change: int) -> None:
        """Count requests that will ask (1), and those that ended (-1)."""
        with self._lock:
            self.incoming_requests += change

    def close(self) -> None:
        """End the thread after what waits is done."""
        self._queue.put(None)
        self._thread.join()

    def _run_batches(self) -> None:
        held: QueuedView | None = None
        while True:
            first = held or self._queue.get()
            held = None
            if first is None:
                return
            batch, deadline = [first], time.monotonic() + self.window
            while len(batch) < self.most and self.incoming_requests > len(batch):
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                if item is None or item[0] is not first[0] or item[1].shape != first[1].shape:
                    held = item
                    if item is None:
                        self._queue.put(None)
                    break
                batch.append(item)
            self._answer(batch)

    def _answer(self, batch: list[QueuedView]) -> None:
        self.batches, self.images = self.batches + 1, self.images + len(batch)
        try:
            seen = run_single_pass(batch[0][0], torch.cat([images for _, images, _ in batch]))
            for index, (_, _, answer) in enumerate(batch):
                answer.set_result(seen[index])
        except BaseException as error:
            for _, _, answer in batch:
                answer.set_exception(error)


class BatchedNetwork:
    """Stands for a model's network: asks `Gathering`, and answers for the backbone from memory."""

    def __init__(self, network: Network, gathering: DynamicBatcher) -> None:
        self._network, self._batcher = network, gathering
        self._last = threading.local()
        self.vit = CachedBackbone(network.vit, self._last)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of images [1, 1, S, S]."""
        seen = self._batcher.run(self._network, images)
        self._last.images, self._last.seen = images, seen
        return seen.logits
