from medprior.dicom.decoder_check import try_decoders, try_native
from medprior.dicom.decoders import NATIVE, PLUGINS


def test_every_syntax_that_can_be_written_here_is_read_right():
    trials = try_decoders(96)
    assert {trial.syntax for trial in trials} == NATIVE | set(PLUGINS)
    assert not [trial for trial in trials if trial.state in {"wrong", "failed"}]
    tried = {trial.name for trial in trials if trial.state == "right"}
    assert len(tried) == len(NATIVE) + len(PLUGINS) - 3
    untried = {trial.name for trial in trials} - tried
    assert all("High-Throughput" in name for name in untried)


def test_a_native_file_is_timed():
    assert all(try_native(syntax, 96).milliseconds > 0 for syntax in NATIVE)
