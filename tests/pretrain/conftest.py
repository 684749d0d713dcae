"""A prior for the phantoms, and runs that are cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medprior.phantom import render_phantom
from medprior.priors import SpatialPrior
from medprior.provenance import write_config

from ..conftest import STRUCTURES

SCRIPT = """
import json, sys, time
from ignite.engine import Events
from medprior.pretrain import Pretraining
cohort, out, prior, settings = sys.argv[1:]
run = Pretraining(cohort, out, prior, json.loads(settings))
run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: time.sleep(0.1))
run.run()
"""


@pytest.fixture(scope="session")
def phantom_prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The blurless masks of one phantom that is in no cohort."""
    folder = tmp_path_factory.mktemp("prior") / "prior"
    masks = render_phantom(10_007, size=128).masks
    maps = np.stack([masks[name].astype(np.float32) for name in STRUCTURES])
    SpatialPrior(maps, STRUCTURES, "static", "annotation").save(folder)
    write_config(folder, "prior", {}, outputs=("prior.npz",))
    return folder


def start(cohort: Path, out: Path, prior: Path, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A run in a process of its own, slow enough to be hit."""
    command = [sys.executable, "-c", SCRIPT, *map(str, (cohort, out, prior)), json.dumps(settings)]
    env = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
