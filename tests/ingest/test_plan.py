from pathlib import Path

import pytest

from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.ingest import ingest_images
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.plan import ImageSource, list_files, list_sources, match_sources, sample_sources
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_limit_draws_the_same_files_again(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 10)
    settings = ONE_WORKER.model_copy(update={"limit": 4})
    samples = [ingest_images(folder, tmp_path / name, settings=settings).image_ids for name in "ab"]
    assert samples[0] == samples[1]
    assert len(samples[0]) == 4


def describe(**values) -> DatasetDescriptor:
    """A descriptor of PNG and JPEG files with the given rules."""
    kinds = [{"match": r"(?P<id>[^/]+)\.png$"}, {"match": r"(?P<id>[^/]+)\.jpg$", "stretch": True}]
    fixed = {"name": "own", "title": "t", "licence": "x", "images": kinds}
    return DatasetDescriptor.from_values(fixed | values)


def test_files_are_listed_with_links_but_not_through_them(tmp_path):
    for name in ("b/2", "b/1", "a.png", "c/d/3", "c.private/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    listed = list(list_files(tmp_path, (tmp_path / "c.private", tmp_path / "c" / "d")))
    assert listed == ["a.png", "link", "b/1", "b/2"]


def test_the_first_kind_of_image_that_matches_wins_for_an_id():
    paths = ["a/1.jpg", "a/2.jpg", "b/1.png", "c/1.jpg", "d/note.txt"]
    sources = match_sources(paths, lambda path: f"/root/{path}", describe())
    assert [(source.relative, source.key, source.stretch, source.superseded) for source in sources] == [
        ("a/2.jpg", "2", True, 0),
        ("b/1.png", "1", False, 2),
    ]
    assert sources[1].path == "/root/b/1.png"


def test_files_of_one_kind_with_equal_ids_are_refused_with_three_paths():
    paths = [f"P{number}/1.png" for number in range(1, 6)] + ["P1/2.png"]
    with pytest.raises(ConfigError) as caught:
        match_sources(paths, str, describe())
    assert caught.value.exit_code == 2
    assert caught.value.what == "5 files share 1 image id(s)"
    assert caught.value.found == "P1/1.png, P2/1.png, P3/1.png, ..."
    assert "template.yaml" in caught.value.fix
    path_ids = describe(images=[{"match": r"^(?P<id>.+)\.png$"}])
    assert [source.key for source in match_sources(paths[:2], str, path_ids)] == ["P1/1", "P2/1"]


def test_equal_ids_of_a_later_kind_are_no_collision_where_an_earlier_kind_has_the_id():
    (source,) = match_sources(["a/1.jpg", "b/1.jpg", "c/1.png"], str, describe())
    assert (source.relative, source.superseded) == ("c/1.png", 2)
    with pytest.raises(ConfigError, match="2 files share 1 image"):
        match_sources(["a/1.jpg", "b/1.jpg"], str, describe())


def test_excluded_paths_are_no_images_and_none_at_all_is_an_error():
    described = describe(exclude="^masks/")
    assert [s.relative for s in match_sources(["a.png", "masks/b.png"], str, described)] == ["a.png"]
    with pytest.raises(InputMissing, match="none of the 1 files is an image"):
        match_sources(["masks/b.png"], str, described)


def test_masks_are_found_by_the_id_and_renamed():
    rules = [
        {"match": r"^masks/(?P<structure>\w+)/(?P<id>\w+)\.gif$", "rename": {"left": "left_lung"}},
        {"match": r"^heart/(?P<id>\w+)\.gif$", "structure": "heart"},
    ]
    paths = ["1.png", "2.png", "heart/1.gif", "masks/left/1.gif", "masks/spine/1.gif"]
    first, second = match_sources(paths, lambda path: f"/{path}", describe(masks=rules))
    assert [(mask.path, mask.structure) for mask in first.masks] == [
        ("/masks/left/1.gif", "left_lung"),
        ("/masks/spine/1.gif", "spine"),
        ("/heart/1.gif", "heart"),
    ]
    assert second.masks == ()


def test_one_file_is_an_input_and_missing_or_empty_ones_are_said(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "empty").mkdir()
    (source,) = list_sources(tmp_path / "a.png", describe())
    assert (source.path, source.relative) == (str(tmp_path / "a.png"), "a.png")
    with pytest.raises(InputMissing, match="no such file"):
        list_sources(tmp_path / "gone", describe())
    with pytest.raises(MedpriorError, match="input folder is empty"):
        list_sources(tmp_path / "empty", describe())


def test_a_sample_keeps_the_order_and_depends_on_the_seed():
    sources = [ImageSource(f"/{n:02d}", f"{n:02d}", f"{n:02d}", None, ()) for n in range(20)]
    sample = [source.key for source in sample_sources(sources, 6, 0)]
    assert len(set(sample)) == 6
    assert sample == sorted(sample)
    assert sample != [source.key for source in sample_sources(sources, 6, 1)]
    assert sample_sources(sources, None, 0) is sources
    assert sample_sources(sources, 20, 0) is sources
    assert len(sample_sources(sources, 19, 0)) == 19


def link_tree(tmp_path):
    """As DataLad keeps a tree: content in .git/annex, links in its place; one broken, one out of the tree."""
    root, away = tmp_path / "in", tmp_path / "away.png"
    objects = root / ".git" / "annex" / "objects" / "x1"
    objects.mkdir(parents=True)
    (objects / "MD5E-s9.png").write_bytes(b"content 1")
    away.write_bytes(b"content 2")
    for name, target in (
        ("a.png", "../.git/annex/objects/x1/MD5E-s9.png"), ("b.png", "../.git/annex/objects/x1/MD5E-s9.png"),
        ("gone.png", "../.git/annex/objects/x2/MD5E-s8.png"), ("away.png", str(away)), ("loop.png", "loop.png"),
    ):  # fmt: skip
        (root / "p1").mkdir(exist_ok=True)
        (root / "p1" / name).symlink_to(target)
    (root / "p1" / "folder").symlink_to(tmp_path)
    (root / "p1" / "own.png").write_bytes(b"content 3")
    return root


@pytest.mark.parametrize(
    ("policy", "read"),
    [
        ("none", {"p1/own.png": b"content 3"}),
        ("inside", {"p1/a.png": b"content 1", "p1/b.png": b"content 1", "p1/own.png": b"content 3"}),
        ("all", {"p1/a.png": b"content 1", "p1/away.png": b"content 2", "p1/b.png": b"content 1",
                 "p1/own.png": b"content 3"}),
    ],
)  # fmt: skip
def test_links_are_followed_by_policy_and_none_is_lost(tmp_path, policy, read):
    sources = list_sources(link_tree(tmp_path), describe(), (), policy)
    names = ["p1/a.png", "p1/away.png", "p1/b.png", "p1/gone.png", "p1/loop.png", "p1/own.png"]
    assert [source.relative for source in sources] == names
    contents = {}
    for source in sources:
        path = Path(source.target or source.path)
        assert not Path(source.target).is_symlink()
        if not path.is_symlink():
            contents[source.relative] = path.read_bytes()
    assert contents == read
