"""Start and loading of pretraining on a large cohort: seconds, memory and images/s, without its disk space.

The cohort is synthetic: tables of N images, and squares and maps of their full size in sparse files, of which only
every 64th image has pixels of its own. Times to read are those of the page cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Events
from numpy.typing import NDArray

from medprior.cohort.cohort import Cohort
from medprior.cohort.columns import COLUMN_TYPES
from medprior.cohort.publishing import COHORT_FILES, write_parquet
from medprior.cohort.store import shard_path
from medprior.errors import MedpriorError
from medprior.evaluate.compare.cost import read_peak_memory_mib, reset_peak_memory
from medprior.observer import NullObserver
from medprior.pretrain.pipeline import Pretraining, source_side_px
from medprior.pretrain.settings import PretrainSettings
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import build_step_loader
from medprior.priors import SpatialPrior
from medprior.provenance import write_config

STORED_SIDE_PX, MAP_SIDE_PX, STRUCTURES = 64, 128, ("left_lung", "right_lung", "heart")
DENSE_EVERY = 64
STEPS, TIMED_BATCHES, ROUNDS = 4, 16, 5


def build_start_settings(recipe: str, view: int) -> PretrainSettings:
    """A tiny network on views of `view` pixels, so that loading and start are most of the time."""
    values = {
        "recipe": recipe, "batch": 64, "steps": STEPS, "device": "cpu", "checkpoint_every": 1000,
        "network": {"width": 48, "depth": 1, "heads": 6, "patch": 32, "image_size": view},
        "crops": {"global_size": view, "local_size": 96, "locals": 1},
    }  # fmt: skip
    return PretrainSettings.from_values(values)


def print_start_and_loading(images: int, view: int) -> None:
    """Print seconds to the first step, peak memory, and images/s that one core loads.

    Args:
        images: number of synthetic images, all of the training split.
        view: side of the global views, pixels.
    """
    with tempfile.TemporaryDirectory(prefix="medprior-bench-") as scratch:
        folder = Path(scratch)
        settings = build_start_settings("span", view)
        write_synthetic_cohort(folder / "cohort", images, source_side_px(settings))
        write_synthetic_prior(folder / "prior", images)
        for recipe in ("dino", "span"):
            facts = measure_start(folder, recipe, view)
            print(
                f"{images} images, {recipe}, {view} px: first step after {facts['seconds']:.1f} s "
                f"({facts['processor_seconds']:.1f} s of processor time), peak {facts['peak_gib']:.2f} GiB", flush=True,
            )  # fmt: skip
        prior = SpatialPrior.load(folder / "prior")
        for name, maps in (("without prior", None), ("with maps per image", prior)):
            rates = measure_loading(Cohort.open(folder / "cohort"), maps, settings)
            print(
                f"{images} images, loading {name}: {np.median(rates):.0f} [{min(rates):.0f}, {max(rates):.0f}] "
                "images/s of one core's processor time", flush=True,
            )  # fmt: skip


def measure_start(folder: Path, recipe: str, view: int) -> dict[str, float]:
    """Seconds to the first step, and peak memory after `STEPS` steps, in a process of its own.

    Raises:
        MedpriorError: that process failed.
    """
    code = f"from medprior.bench.pretrain_start import run_start; run_start({str(folder)!r}, {recipe!r}, {view})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MedpriorError("pretraining of the synthetic cohort failed", found=done.stderr.strip()[-300:])
    facts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return facts


def run_start(folder: str, recipe: str, view: int) -> None:
    """Pretrain for a few steps and print the measured facts as one line of JSON."""
    is_reset = reset_peak_memory()
    started = time.perf_counter()
    facts: dict[str, float] = {}
    settings = build_start_settings(recipe, view)
    prior = Path(folder, "prior") if settings.needs_prior else None
    run = Pretraining(Path(folder, "cohort"), Path(folder, f"backbone-{recipe}"), prior, settings, NullObserver())

    def record_first_step(engine: Any) -> None:
        """Note the time of the first step."""
        facts.setdefault("seconds", time.perf_counter() - started)
        facts.setdefault("processor_seconds", time.process_time())

    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, record_first_step)
    run.trainer.run()
    run.export()
    print(json.dumps(facts | {"peak_gib": read_peak_memory_mib(is_reset) / 2**10}))


def measure_loading(cohort: Cohort, prior: SpatialPrior | None, settings: PretrainSettings) -> list[float]:
    """Images per second of processor time that one thread brings into batches, of several rounds.

    All batches are read once before, so that none waits for the disk.
    """
    dataset = SquaresDataset(cohort, source_side_px(settings), prior)
    steps = ROUNDS * TIMED_BATCHES + 1
    resolved = settings.resolve(len(dataset)).model_copy(update={"steps": steps})
    torch.set_num_threads(1)
    for _ in zip(range(steps), build_step_loader(dataset, resolved), strict=False):
        pass
    batches = iter(build_step_loader(dataset, resolved))
    next(batches)
    rates = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(TIMED_BATCHES):
            next(batches)
        rates.append(TIMED_BATCHES * resolved.batch / (time.process_time() - started))
    return rates


def write_synthetic_cohort(folder: Path, images: int, side: int) -> None:
    """A cohort of `images` training images whose squares of `side` pixels are a sparse file."""
    names = np.char.add("image-", np.arange(images).astype(str))
    texts = {name: names for name, kind in COLUMN_TYPES.items() if kind == "str"}
    numbers = {name: np.ones(images, kind) for name, kind in COLUMN_TYPES.items() if kind != "str"}
    columns = texts | numbers | {"split": np.full(images, "train")}
    shard_path(folder, 0).parent.mkdir(parents=True)
    write_parquet(folder / "manifest.parquet", pd.DataFrame({name: columns[name] for name in COLUMN_TYPES}))
    pixels = np.random.default_rng(0).integers(0, 2**16, (STORED_SIDE_PX, STORED_SIDE_PX), dtype=np.uint16)
    pixels.tofile(shard_path(folder, 0))
    places = {"shard": 0, "offset": 0, "height": STORED_SIDE_PX, "width": STORED_SIDE_PX}
    write_parquet(folder / "pixels" / "index.parquet", pd.DataFrame({"image_id": names, **places}))
    for name in ("summary.json", "quarantine.csv"):
        (folder / name).write_text("{}\n" if name.endswith("json") else "item,code,message\n")
    write_config(folder, "ingest", {"store_size": STORED_SIDE_PX}, outputs=COHORT_FILES)
    write_sparse_array(folder / "cache" / f"squares_{side}.npy", np.dtype(np.uint16), (images, side, side))


def write_synthetic_prior(folder: Path, images: int) -> None:
    """A prior with maps of its own for every image, in a sparse file."""
    rng = np.random.default_rng(1)
    maps = rng.random((len(STRUCTURES), MAP_SIDE_PX, MAP_SIDE_PX), dtype=np.float32)
    names = np.char.add("image-", np.arange(images).astype(str))
    table = pd.DataFrame({"image_id": names, "trust": 1.0, "status": "deformable", "doubt": ""})
    SpatialPrior(maps, STRUCTURES, "deformable", "annotation", table=table).save(folder)
    write_parquet(folder / "per_image.parquet", table)
    shape = (images, len(STRUCTURES), MAP_SIDE_PX, MAP_SIDE_PX)
    write_sparse_array(folder / "per_image.npy", np.dtype(np.uint8), shape)
    write_config(folder, "prior", {}, outputs=("prior.npz",))


def write_sparse_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """A `.npy` file of random values in every 64th row and holes, which read as 0, elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    row: NDArray[Any] = np.random.default_rng(2).integers(0, np.iinfo(dtype).max, shape[1:], dtype=dtype)
    for index in range(0, shape[0], DENSE_EVERY):
        array[index] = row
