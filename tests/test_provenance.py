import hashlib
import json
import os
import stat

import pytest

from medprior import provenance
from medprior.errors import InputMissing
from medprior.provenance import (
    atomic_write,
    collect_versions,
    find_git_commit,
    merge_seen_cohorts,
    read_config,
    read_seen_cohorts,
    result_digest,
    sha256_file,
    write_config,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
    assert temporary.suffix == ".txt"
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text(f"new {1 / 0}")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_written_file_has_the_usual_mode(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        after = os.umask(umask)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode
    assert after == umask


def test_json_is_sorted_and_keeps_letters(tmp_path):
    write_json(tmp_path / "a.json", {"b": tmp_path, "a": "Größe"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": "Größe",\n  "b": "' + str(tmp_path) + '"\n}\n'


def test_the_digest_of_a_result_is_that_of_its_files(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"same")
        write_config(tmp_path / name, "pretrain", {}, outputs=("weights",), seed=seed)
    expected = json.dumps({"weights": hashlib.sha256(b"same").hexdigest()})
    assert result_digest(tmp_path / "one") == hashlib.sha256(expected.encode()).hexdigest()
    assert result_digest(tmp_path / "two") == result_digest(tmp_path / "one")
    (tmp_path / "two" / "weights").write_bytes(b"other")
    write_config(tmp_path / "two", "pretrain", {}, outputs=("weights",), seed=2)
    assert result_digest(tmp_path / "two") != result_digest(tmp_path / "one")


def test_without_files_the_digest_is_that_of_the_whole_record(tmp_path):
    digests = set()
    for seed in (1, 2):
        write_config(tmp_path, "evaluate", {}, seed=seed)
        digests.add(result_digest(tmp_path))
    assert len(digests) == 2


def test_a_record_names_stage_inputs_outputs_and_facts(tmp_path):
    write_config(tmp_path / "cohort", "ingest", {"seed": 3})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"a")
    write_config(
        tmp_path / "out", "pretrain", {"lr": 0.5}, inputs={"cohort": tmp_path / "cohort"}, outputs=("a",), seed=7,
        facts={"labels": ["mass"]},
    )  # fmt: skip
    record = read_config(tmp_path / "out", "pretrain")
    assert (record["stage"], record["settings"], record["seed"]) == ("pretrain", {"lr": 0.5}, 7)
    assert record["inputs"] == {"cohort": result_digest(tmp_path / "cohort")}
    assert record["outputs"] == {"a": sha256_file(tmp_path / "out" / "a")}
    assert record["labels"] == ["mass"]
    assert record["versions"] == collect_versions()
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "expected config.json, found an unfinished or foreign folder; run `medprior ingest` first"),
        (b"{", "config.json is damaged"), (b"[1]", "config.json is damaged"), (b"{}", "config.json is damaged"),
        (b"[" * 100_000, "config.json is damaged"), (b"\xff", "config.json is damaged"),
        (b'{"stage": "prior"}', "the result of another stage; expected ingest, found prior"),
    ],
)  # fmt: skip
def test_folders_without_a_finished_result_are_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(InputMissing, match=words):
        read_config(tmp_path, "ingest")


def test_a_missing_folder_holds_nothing_and_any_stage_may_be_read(tmp_path):
    with pytest.raises(InputMissing, match="found nothing; run its stage first"):
        read_config(tmp_path / "gone")
    write_config(tmp_path, "prior", {})
    assert read_config(tmp_path)["stage"] == "prior"


def test_weights_have_seen_the_cohort_and_those_of_their_backbone(tmp_path):
    for name in ("first", "second"):
        write_config(tmp_path / name, "ingest", {"name": name})
    first, second = result_digest(tmp_path / "first"), result_digest(tmp_path / "second")
    backbone = tmp_path / "backbone"
    assert merge_seen_cohorts(tmp_path / "first", None) == [first]
    assert merge_seen_cohorts(tmp_path / "first", backbone) == [first]
    write_config(backbone, "pretrain", {}, inputs={"cohort": tmp_path / "second"})
    assert merge_seen_cohorts(tmp_path / "first", backbone) == sorted([first, second])
    write_config(backbone, "pretrain", {}, facts={"seen_cohorts": ["x", first]})
    assert merge_seen_cohorts(tmp_path / "first", backbone) == sorted([first, "x"])


def test_seen_cohorts_are_those_recorded_else_the_input():
    assert read_seen_cohorts({"inputs": {"cohort": "c"}, "seen_cohorts": ["a", "b"]}) == ["a", "b"]
    assert read_seen_cohorts({"inputs": {"cohort": "c"}}) == ["c"]
    assert read_seen_cohorts({"inputs": None}) == []
    assert read_seen_cohorts({}) == []


def test_the_commit_is_that_of_a_checkout_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance.medprior, "__file__", str(tmp_path / "medprior" / "__init__.py"))
    assert find_git_commit() is None
    (tmp_path / ".git").mkdir()
    assert find_git_commit() is None
