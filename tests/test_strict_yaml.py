"""YAML without its surprises: what is read as written, and what is refused with its line."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.search.config import SearchConfig
from autobert_zero.settings import ConfigError, parse_setting, read_yaml, resolve
from autobert_zero.strict_yaml import YamlError, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, yes, on, off, y]", ["no", "yes", "on", "off", "y"]),
        ("[true, False, TRUE]", [True, False, True]),
        ("[2024-01-31, 2024-13-45]", ["2024-01-31", "2024-13-45"]),
        ("[1:30, 1:30.5]", ["1:30", "1:30.5"]),
        ("[1, 0x10, 1.5, 1.0e-3, ~, null]", [1, 16, 1.5, 1e-3, None, None]),
        ("no: 1", {"no": 1}),
        ("1: x", {"1": "x"}),
        ("=", "="),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
        ("", None),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse_yaml(text) == value


def test_words_are_taken_as_written() -> None:
    text = "labels: [no, 01, 1.0, 1_000, null, ~, 'yes', true]\nname: 2024"
    assert parse_yaml(text, words=True) == {
        "labels": ["no", "01", "1.0", "1_000", "null", "~", "yes", "true"],
        "name": "2024",
    }


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is given twice"),
        ("a: {b: 1, b: 1}", "line 1: the key 'b' is given twice"),
        ("a:\n- b: 1\n  c: 2\n  b: 3\n", "line 4: the key 'b' is given twice"),
        ("1: a\n'1': b\n", "line 2: the key '1' is given twice"),
        ("[" * 5000, "line 1: nested more than 50 levels deep"),
        ("".join(f"{' ' * n}a:\n" for n in range(200)), "line 5[01]: nested more than 50 levels deep"),
        ("a: &x [*x]", r"line 1: \*x is a part of itself"),
        ("a: &x {b: {c: *x}}", r"line 1: \*x is a part of itself"),
        ("? [a]\n: b", "line 1: a key is not text"),
        ("a: [1,\n2", "line 2: "),
        ("a: 1\n---\nb: 2\n", "line 2: "),
        ("a: !!python/object:os.system b", "line 1: "),
        ("a: \x01", "not allowed"),
    ],
)
def test_refused(text: str, words: bool, message: str) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        parse_yaml(text, words=words)
    assert "\n" not in str(caught.value)


def test_an_endless_number_is_refused() -> None:
    with pytest.raises(YamlError, match="integer string conversion"):
        parse_yaml("9" * 5000)


def same(one: Any, other: Any) -> bool:
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@given(st.text() | st.integers() | st.booleans() | st.floats() | st.none())
def test_what_is_dumped_comes_back(value: object) -> None:
    """Run folders are written with PyYAML's own dumper."""
    assert same(parse_yaml(yaml.safe_dump({"a": value}))["a"], value)


def test_every_reader_of_settings_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("study: no\n")
    assert read_yaml(path) == {"study": "no"}
    assert parse_setting("study=off") == {"study": "off"}
    assert resolve(SearchConfig(), parse_setting("study=2024-01-31")).study == "2024-01-31"
    path.write_text("seed: 1\nproxy: {steps: 3}\nproxy: {steps: 4}\n")
    with pytest.raises(ConfigError, match="line 3: the key 'proxy' is given twice"):
        read_yaml(path)


def test_boolean_settings_still_understand_words() -> None:
    """A config of an older run may say `yes`."""
    config = PretrainConfig(backbone=("conv 3",))
    assert resolve(config, parse_setting("data.streaming=yes")).data.streaming is True
    assert resolve(config, parse_setting("data.streaming=off")).data.streaming is False


def test_files_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("seed: 3\n", encoding="utf-8-sig")
    assert read_yaml(path) == {"seed": 3}


def test_a_path_with_nul_is_one_line() -> None:
    with pytest.raises(ConfigError, match="null byte"):
        read_yaml(Path("a\0b.yaml"))
