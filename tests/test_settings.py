import pytest
from pydantic import Field

from medprior.errors import ConfigError, InputMissing
from medprior.settings import (
    Settings,
    build_settings_schema,
    is_within_node_limit,
    list_keys,
    list_settings,
    merge_mappings,
    read_field_descriptions,
    read_mapping,
)


class Inner(Settings):
    rate: float = 0.5
    names: tuple[str, ...] = ()


class Outer(Settings):
    steps: int = 1
    seed: int = 0
    inner: Inner = Inner()


def test_defaults_give_way_to_the_file_and_the_file_to_overrides(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("steps: 3\nseed: 3\ninner: {rate: 0.25, names: [a]}\n")
    settings = Outer.load(path, ["steps=4", "inner.names=[b, c]", "inner.names=[d]"], steps=2, inner={"rate": 0.75})
    assert (settings.steps, settings.seed) == (4, 3)
    assert settings.inner == Inner(rate=0.25, names=("d",))
    assert Outer.load(None, [], steps=2).steps == 2
    # The text after the first equals sign is the value.
    assert Outer.load(None, ["inner.names=['a=b']"]).inner.names == ("a=b",)


def test_all_faults_are_named_together():
    with pytest.raises(ConfigError) as caught:
        Outer.from_values({"colour": 1, "steps": "many", "inner": {"rat": 2}}, "here")
    for words in (
        "here:",
        "unknown key 'colour'",
        "'steps'",
        "(found 'many')",
        "unknown key 'inner.rat'",
        "steps, seed",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize("override", ["steps", "=3", ""])
def test_an_override_has_a_key_and_a_sign(override):
    with pytest.raises(ConfigError, match="not an override; expected key=value"):
        Outer.load(None, [override])


def test_mappings_merge_at_every_depth_and_nothing_is_changed():
    lower = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    upper = {"a": {"c": {"f": 4}}, "e": {"g": 5}}
    assert merge_mappings(lower, upper) == {"a": {"b": 1, "c": {"d": 2, "f": 4}}, "e": {"g": 5}}
    assert merge_mappings({"a": {"b": 1}}, {"a": None}) == {"a": None}
    assert lower == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.yaml", b"a: [1", "not valid JSON or YAML"),
        ("a.json", b"a: 1", "not valid JSON or YAML"),
        ("a.yaml", b"- 1", "expected key: value, found list"),
        ("a.yaml", b"", "found NoneType"),
        ("a.json", b"[" * 100_000, "not valid JSON or YAML"),
    ],
)
def test_files_that_hold_no_mapping_are_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_mapping(tmp_path / name)


def test_files_that_cannot_be_read_are_missing_input(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(InputMissing, match="no UTF-8 text"):
        read_mapping(tmp_path / "a.yaml")
    with pytest.raises(InputMissing, match="No such file"):
        read_mapping(tmp_path / "gone.yaml")
    (tmp_path / "a.json").write_text('{"a": {"b": [1]}}')
    assert read_mapping(tmp_path / "a.json") == {"a": {"b": [1]}}


def test_aliases_of_aliases_are_refused_before_they_grow(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="more than 100000 values"):
        read_mapping(tmp_path / "bomb.yaml")


def test_values_are_counted_with_their_containers():
    values = {"a": [1, {"b": 2}], "c": "text"}
    # The mapping, the list, 1, the inner mapping, 2 and the text.
    assert is_within_node_limit(values, 6)
    assert not is_within_node_limit(values, 5)


class Section(Settings):
    """A section.

    Attributes:
        rate: speed of the
            run. cover: share: what is covered.
    """

    rate: float = 0.5
    cover: tuple[float, ...] = (0.1, 1.0)


class Described(Settings):
    """Settings of these tests; rate: no entry.

    Args:
        colour: of the line.
        inner: a section.
    """

    colour: str = "red"
    label: str | None = None
    empty: str = ""
    inner: Section = Section()
    arms: dict[str, Section] = Field(default_factory=dict)


def test_descriptions_are_read_from_docstrings():
    assert read_field_descriptions(Section) == {"rate": "speed of the run.", "cover": "share: what is covered."}
    assert read_field_descriptions(Described) == {"colour": "of the line.", "inner": "a section."}
    assert read_field_descriptions(Inner) == {}

    class Further(Section):
        """Attributes are inherited.

        Attributes:
            cover: another text.
        """

    assert read_field_descriptions(Further) == {"cover": "another text.", "rate": "speed of the run."}


def test_settings_are_listed_as_overrides_take_them():
    entries = list(list_settings(Described(inner=Section(rate=0.25))))
    assert [(entry.key, entry.default) for entry in entries] == [
        ("colour", "red"), ("label", "null"), ("empty", '""'), ("inner.rate", "0.25"), ("inner.cover", "[0.1, 1.0]"),
        ("arms", "{}"),
    ]  # fmt: skip
    assert [entry.description for entry in entries][3:5] == ["speed of the run.", "share: what is covered."]
    overrides = [f"{entry.key}={entry.default}" for entry in entries]
    assert Described.load(None, overrides) == Described(inner=Section(rate=0.25))


def test_the_schema_describes_nested_fields_too():
    schema = build_settings_schema(Described)
    assert schema["properties"]["colour"]["description"] == "of the line."
    assert schema["$defs"]["Section"]["properties"]["rate"]["description"] == "speed of the run."
    assert "description" not in schema["properties"]["label"]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("colur", "(did you mean 'colour'?)"), ("rate", "(did you mean 'inner.rate'?)"),
        ("inner.rat", "(did you mean 'inner.rate'?)"), ("iner.rate", "(did you mean 'inner'?)"),
        ("inner.colour", "(did you mean 'colour'?)"),
    ],
)  # fmt: skip
def test_an_unknown_key_names_its_nearest(key, words):
    with pytest.raises(ConfigError) as caught:
        Described.load(None, [f"{key}=1"])
    assert words in str(caught.value)


def test_nothing_is_suggested_where_no_key_is_near():
    with pytest.raises(ConfigError) as caught:
        Described.load(None, ["zzz=1"])
    assert "did you mean" not in str(caught.value)
    assert list_keys(Described) == ["colour", "label", "empty", "inner", "inner.rate", "inner.cover", "arms"]
