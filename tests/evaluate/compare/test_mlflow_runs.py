"""What an observer with runs inside its own is told of a comparison."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from medprior.errors import TrainingCollapsed
from medprior.evaluate.compare.failed_runs import record_failure
from medprior.evaluate.compare.mlflow_runs import dump_compare_settings, log_nested_runs
from medprior.evaluate.compare.run import ComparisonRun
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.metrics.bootstrap import Estimate
from medprior.observer import NullObserver
from medprior.provenance import write_json


class Listening:
    """Keeps what it is told, run by run."""

    def __init__(self):
        self.told, self.inside = [], []

    def params(self, values):
        self.told.append(values)

    def metrics(self, values, step):
        self.told.append(values)

    def artifact(self, path):
        self.told.append(path.name)

    @contextmanager
    def nested(self, name):
        child = Listening()
        yield child
        self.inside.append((name, child.told))


def test_each_run_is_told_of_once_without_paths(tmp_path):
    arm = Arm(recipe="span", prior=tmp_path / "somewhere" / "prior")
    runs = [ComparisonRun(tmp_path / f"span-{seed}", arm, seed) for seed in (0, 1)]
    write_json(runs[0].folder / "cost.json", {})
    record_failure(runs[1].folder, "backbone", TrainingCollapsed("collapsed: at step 4"))
    estimate = Estimate(0.5, np.full(4, 0.5), 9)
    nothing = Estimate(np.nan, np.full(4, np.nan), 0)
    observer = Listening()
    log_nested_runs(observer, runs, [{"a.b": estimate, "c.d": nothing}, {}])
    (first, sound), (second, lost) = observer.inside
    assert (first, second) == ("span-0", "span-1")
    assert sound[0]["seed"] == 0
    assert sound[0]["prior"] == "prior"
    assert sound[1:] == [{"a.b": 0.5, "lost_stages": 0.0}, "cost.json"]
    assert lost[1:] == [{"lost_stages": 1.0}]
    assert observer.told == []
    log_nested_runs(NullObserver(), runs, [{}, {}])
    named = dump_compare_settings(CompareSettings(arms={"a": arm}))
    assert named["arms"]["a"]["prior"] == Path("prior").name
    assert str(tmp_path) not in str(named)
