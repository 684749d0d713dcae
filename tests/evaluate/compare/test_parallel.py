"""Runs on a real Dask cluster: the same numbers, also when a worker is killed in the middle."""

import os
import subprocess
import sys
from dataclasses import replace

import dask
import distributed
import pytest
import torch

from medprior.cli import main
from medprior.errors import ConfigError, MedpriorError
from medprior.evaluate.compare import parallel as spreading
from medprior.evaluate.compare.compare import compare_recipes
from medprior.evaluate.compare.parallel import RunCluster, count_worker_threads, start_local_cluster
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.settings import Arm
from tests.evaluate.comparing import COLLAPSING, PRETRAIN, small
from tests.workers.dask_workers import killing_a_busy_worker

ARMS = ["dino", "hot"]
SETTINGS = small(pretrain=PRETRAIN | {"steps": 30}, arms={"hot": COLLAPSING})


@pytest.fixture(scope="module")
def cluster():
    """Address of two workers that have nothing but what is sent to them."""
    with start_local_cluster(2) as address:
        yield address


@pytest.fixture(scope="module")
def serial(cohort_path, tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(count_worker_threads(1))
    try:
        return compare_recipes(cohort_path, tmp_path_factory.mktemp("serial"), ARMS, settings=SETTINGS)
    finally:
        torch.set_num_threads(threads)


def without_cost(metrics):
    return {key: record for key, record in metrics.items() if ".cost." not in f".{key}"}


def test_a_cluster_gives_the_same_numbers_though_a_worker_dies(tmp_path, cohort_path, cluster, serial):
    with killing_a_busy_worker(cluster, (tmp_path / "runs" / "dino-0" / "backbone").exists):
        metrics = compare_recipes(cohort_path, tmp_path, ARMS, settings=SETTINGS, scheduler=cluster)
    assert without_cost(metrics) == without_cost(serial)
    assert (tmp_path / "runs" / "dino-0" / "cost.json").is_file()


def test_a_worker_says_what_it_cannot_do(tmp_path, cohort_path, cluster):
    (tmp_path / "runs").mkdir()
    run = ComparisonRun(tmp_path / "runs" / "a-0", Arm(recipe="dino"), 0)
    nowhere = tmp_path / "nowhere"
    with RunCluster(cluster, 1) as runs:
        with pytest.raises(MedpriorError, match="does not see the cohort"):
            runs.execute_runs([run], nowhere, frozenset(), SETTINGS)
        blind = replace(run, arm=Arm(recipe="span"))
        with pytest.raises(MedpriorError, match=r"a-0.*prior"):
            runs.execute_runs([blind], cohort_path, frozenset(), SETTINGS)


def test_refusals(tmp_path, cohort_path, capsys):
    with pytest.raises(ConfigError, match="--workers and --scheduler exclude each other"):
        compare_recipes(cohort_path, tmp_path, ["dino"], settings=SETTINGS, workers=2, scheduler="tcp://x:1")
    command = ["compare", str(cohort_path), str(tmp_path / "c"), "--no-tracking"]
    command += ["--recipes", "dino"]
    remote = ["--scheduler", "tcp://127.0.0.1:9", "--set", "seeds=1"]
    assert main([*command, *remote]) == 2
    assert "runs code as you" in capsys.readouterr().err
    assert main([*command, *remote, "--insecure"]) == 2
    assert "the Dask scheduler does not answer" in capsys.readouterr().err


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert count_worker_threads(2) == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(spreading.os, "sched_getaffinity", lambda _: set(range(8)))
    assert [count_worker_threads(n) for n in (1, 2, 3, 20)] == [8, 4, 2, 1]


def test_local_processes_keep_what_a_step_frees(monkeypatch):
    """Dask's own default gives memory back at every step, which costs most of a step again."""
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as another cluster leaves it
    with start_local_cluster(1) as address, distributed.Client(address) as client:
        threshold = client.submit(os.environ.get, "MALLOC_TRIM_THRESHOLD_").result(timeout=60)
    assert int(threshold) >= 2**30
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"


@pytest.mark.slow
def test_local_processes_give_the_same_numbers(tmp_path, cohort_path, serial):
    metrics = compare_recipes(cohort_path, tmp_path, ARMS, settings=SETTINGS, workers=1 + 1)
    assert set(without_cost(metrics)) == set(without_cost(serial))
    if "OMP_NUM_THREADS" in os.environ:
        assert without_cost(metrics) == without_cost(serial)


ATTACK = """
import sys
import distributed
try:
    with distributed.Client(sys.argv[1], timeout=5, set_as_default=False) as client:
        print(client.submit(lambda: open(sys.argv[2]).read()).result(timeout=10))
except Exception as error:
    print("refused", type(error).__name__)
"""


def test_no_other_process_runs_code_on_a_local_cluster(tmp_path):
    """Another user of the machine knows the port; without the certificate, which is in memory only, it is no use."""
    key = tmp_path / "identity.key"
    key.write_text("the key")
    key.chmod(0o600)
    before = dask.config.get("distributed.comm.require-encryption")
    with start_local_cluster(1) as address:
        assert address.startswith("tls://127.0.0.1:")
        with distributed.Client(address, set_as_default=False) as client:
            assert client.submit(key.read_text).result(timeout=60) == "the key"
        for spelling in (address, address.replace("tls://", "tcp://")):
            done = subprocess.run(
                [sys.executable, "-c", ATTACK, spelling, str(key)],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert "the key" not in done.stdout
            assert "refused" in done.stdout, done.stderr
    assert dask.config.get("distributed.comm.require-encryption") == before
