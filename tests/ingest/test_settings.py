import pytest

from medprior.errors import ConfigError
from medprior.ingest import IngestSettings


def test_who_decodes_is_no_setting_of_the_cohort():
    settings = IngestSettings(workers=3, scheduler="tcp://host:1", seed=4)
    dumped = settings.dump_cohort_settings()
    assert set(IngestSettings.model_fields) - set(dumped) == {"workers", "scheduler"}
    assert dumped["seed"] == 4
    assert dumped["policy"]["max_side"] == settings.policy.max_side


@pytest.mark.parametrize(
    ("override", "is_valid"),
    [
        ("store_size=16", True), ("store_size=15", False), ("store_size=16385", False), ("limit=0", False),
        ("limit=1", True), ("cpu_seconds=0", False), ("scheduler=tls://h:1", True), ("scheduler=h:1", False),
        ("scheduler=tcp://h/x", False),
    ],
)  # fmt: skip
def test_bounds_of_settings(override, is_valid):
    if is_valid:
        IngestSettings.load(None, [override])
        return
    with pytest.raises(ConfigError, match=override.split("=")[0]):
        IngestSettings.load(None, [override])
