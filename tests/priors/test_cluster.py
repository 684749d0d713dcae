"""A real Dask cluster on loopback: the same prior as here, also when a worker is killed."""

import distributed
import pytest

from medprior.annotate import annotate_from_cohort
from medprior.cli import main
from medprior.errors import ConfigError, MedpriorError
from medprior.priors import PriorSettings, build_prior
from medprior.priors import per_image as per_image_module
from medprior.priors.per_image import REGISTRATION_JOURNAL
from medprior.priors.transfer import LabelTransfer
from medprior.workers import dask_cluster
from tests.workers.dask_workers import killing_a_busy_worker

FILES = ("per_image.npy", "per_image.parquet", "prior.npz", "prior.json")
QUICK = PriorSettings.from_values(
    {"size": 32, "registration": {"size": 64, "iterations": 4, "mesh": 6, "shrink": [4, 2]}}
)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
    ) as running:  # fmt: skip
        yield running


@pytest.fixture(scope="module")
def drawings(thoraxes):
    """Three drawings, so that what is learnt from them travels too."""
    return [annotate_from_cohort(thoraxes, name) for name in ("t000", "t004", "t008")]


@pytest.fixture(scope="module")
def here(thoraxes, drawings, tmp_path_factory):
    """The prior made in one process on this machine."""
    out = tmp_path_factory.mktemp("here")
    build_prior(thoraxes, out, drawings, settings=QUICK, workers=1)
    return out


def same(one, other):
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def test_a_worker_killed_in_the_middle_gives_the_identical_prior(
    thoraxes, drawings, here, cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(per_image_module, "CHUNK_SIZE", 1)
    journal = tmp_path / REGISTRATION_JOURNAL
    with killing_a_busy_worker(cluster, lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4):
        build_prior(thoraxes, tmp_path, drawings, settings=QUICK, scheduler=cluster.scheduler_address)
    assert same(tmp_path, here)


def test_what_was_begun_here_goes_on_there(thoraxes, drawings, here, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(per_image_module, "CHUNK_SIZE", 4)
    original, seen = LabelTransfer.__call__, []

    def dying(self, pictures):
        seen.append(len(pictures))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return original(self, pictures)

    monkeypatch.setattr(LabelTransfer, "__call__", dying)
    with pytest.raises(KeyboardInterrupt):
        build_prior(thoraxes, tmp_path, drawings, settings=QUICK, workers=1)
    assert (tmp_path / REGISTRATION_JOURNAL).read_bytes().count(b"\n") == 1 + 2 * 4
    build_prior(thoraxes, tmp_path, drawings, settings=QUICK, scheduler=cluster.scheduler_address)
    # Nothing more was done in this process.
    assert seen == [4, 4, 4]
    assert same(tmp_path, here)


def test_work_that_kills_every_worker_is_done_here(thoraxes, drawings, tmp_path, cluster, monkeypatch):
    from medprior.priors.cluster import ClusterTransfer

    def killed(self, future):
        raise distributed.KilledWorker("task", None, 3)

    monkeypatch.setattr(ClusterTransfer, "_wait_for_result", killed)
    part = thoraxes.select(["t001", "t002", "t003"])
    there = build_prior(part, tmp_path / "a", drawings, settings=QUICK, scheduler=cluster.scheduler_address)
    own = build_prior(part, tmp_path / "b", drawings, settings=QUICK, workers=1)
    assert (there.per_image == own.per_image).all()


def test_command(thoraxes, drawings, cluster, tmp_path):
    drawings[0].save(tmp_path / "annotation")
    arguments = ["prior", str(thoraxes.path), str(tmp_path / "p"), "--no-tracking", "--only",
                 "t001,t002", "--annotation", str(tmp_path / "annotation"), "--method", "affine",
                 "--scheduler", cluster.scheduler_address]  # fmt: skip
    assert main(arguments) == 2
    assert main([*arguments, "--insecure"]) == 0
    assert (tmp_path / "p" / "config.json").exists()


def test_a_cluster_that_is_not_there_is_one_line(thoraxes, drawings, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    with pytest.raises(MedpriorError, match="does not answer"):
        build_prior(thoraxes, tmp_path, drawings[0], settings=QUICK, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ConfigError, match="scheduler"):
        build_prior(thoraxes, tmp_path, drawings[0], settings=QUICK, scheduler="nonsense")
