"""Settings of runs that take a second, their result, and runs that are cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from medprior.networks import load_backbone
from medprior.pretrain import PretrainSettings

TINY_RUN = {
    "recipe": "dino",
    "steps": 12,
    "batch": 8,
    "window": 4,
    "checkpoint_every": 4,
    "network": {"width": 24, "depth": 2, "heads": 6, "registers": 1},
    "crops": {"global_size": 32, "local_size": 16, "locals": 1},
    "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
}

SCRIPT = """
import json, sys, time
from pathlib import Path
from ignite.engine import Events
from medprior.pretrain import Pretraining
from medprior.pretrain.distributed import join_launched_processes, process_rank
cohort, out, prior, settings = sys.argv[1:]
with join_launched_processes():
    run = Pretraining(cohort, out, prior, json.loads(settings))
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: time.sleep(0.1))
    try:
        run.run()
    finally:
        Path(f"{out}_ended_{process_rank()}").write_text(str(run.trainer.state.iteration))
"""


def run_settings(**values: Any) -> PretrainSettings:
    """`TINY_RUN` with whole sections replaced."""
    return PretrainSettings.from_values(TINY_RUN | values)


def load_teacher_weights(folder: Path) -> dict[str, torch.Tensor]:
    """State of the backbone in a result folder."""
    return load_backbone(folder).network.state_dict()


def start_run(
    cohort: Path, out: Path, prior: Path, settings: dict[str, Any], **launched: str
) -> subprocess.Popen[bytes]:
    """A run in a process of its own, slow enough to be hit; `launched` is what torchrun tells a process."""
    command = [sys.executable, "-c", SCRIPT, *map(str, (cohort, out, prior)), json.dumps(settings)]
    env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())} | launched
    return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
