"""The config: presets, layers of changes, and one line for every mistake."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.pretrain.config import PretrainConfig, PretrainDataConfig
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.presets import PRESETS
from autobert_zero.settings import ConfigError, parse_setting, read_yaml, resolve, saved_config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_yaml(name: str, tmp_path: Path) -> None:
    preset = PRESETS[name]()
    path = tmp_path / "config.yaml"
    path.write_text(preset.to_yaml())
    assert resolve(SearchConfig(), read_yaml(path)) == preset
    assert read_yaml(path) == preset.model_dump(mode="json")


def test_the_demo_scores_enough_candidates() -> None:
    assert PRESETS["demo"]().proxy.candidates >= 24


def test_the_papers_settings() -> None:
    paper = PRESETS["paper"]()
    assert (paper.model.layers, paper.model.width, paper.model.heads) == (12, 768, 12)
    assert (paper.strategy.population, paper.strategy.parents) == (100, 5)
    assert (paper.proxy.candidates, paper.data.length) == (760, 128)


def test_later_changes_win_and_others_stay() -> None:
    config = resolve(
        PRESETS["small"](),
        {"model": {"width": 32, "layers": 3}, "seed": 5},
        parse_setting("model.width=16"),
        parse_setting("model.heads=2"),
    )
    assert (config.model.width, config.model.layers, config.model.heads, config.seed) == (16, 3, 2, 5)
    assert config.strategy == PRESETS["small"]().strategy


def test_resolving_leaves_the_base_alone() -> None:
    base = SearchConfig()
    resolve(base, {"model": {"width": 8}})
    assert base == SearchConfig()


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("seed=3", {"seed": 3}),
        ("model.width=128", {"model": {"width": 128}}),
        ("proxy.learning_rate=1e-3", {"proxy": {"learning_rate": "1e-3"}}),
        ("data.corpus=a=b.txt", {"data": {"corpus": "a=b.txt"}}),
        ("data.tokenizer=null", {"data": {"tokenizer": None}}),
        ("data.tokenizer=", {"data": {"tokenizer": None}}),
        ("precision=bf16", {"precision": "bf16"}),
        (" model . width = 16", {"model": {"width": 16}}),
    ],
)
def test_settings(text: str, setting: dict[str, object]) -> None:
    assert parse_setting(text) == setting
    resolve(SearchConfig(), setting)


def test_numbers_without_a_point() -> None:
    """YAML 1.1 reads 1e-3 as a string; the config knows better."""
    assert resolve(SearchConfig(), parse_setting("proxy.learning_rate=1e-3")).proxy.learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "write a setting as key=value"),
        ("=3", "write a setting as key=value"),
        (".width=3", "write a setting as key=value"),
        ("model..width=3", "write a setting as key=value"),
        ("model.width.=3", "write a setting as key=value"),
        ("seed=[1", "the value of seed is not valid"),
        ("seed=1: 2: 3", "the value of seed is not valid"),
    ],
)
def test_bad_settings(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_setting(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sede": 1}, "unknown key sede"),
        ({"model": {"wdith": 1}}, "unknown key model.wdith"),
        ({"model": {"width": 10, "heads": 4}}, "model: width 10 is not divisible by 4 heads"),
        (
            {"data": {"length": 40}, "final": {"short_share": 0.5}},
            "config: final.short_length 16 does not divide data.length 40",
        ),
        ({"model": {"width": 0}}, "model.width: input should be greater than or equal to 1"),
        ({"model": {"width": "wide"}}, "model.width: input should be a valid integer"),
        ({"model": 3}, "model: input should be a valid dictionary"),
        ({"model": None}, "model: input should be a valid dictionary"),
        ({"model": {"dropout": 1}}, "model.dropout: input should be less than 1"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0"),
        ({"seed": 2**64}, "seed: input should be less than 4294967296"),
        ({"model": {"width": 10**13}}, "model.width: input should be less than or equal to 1000000000000"),
        ({"model": {"layers": 10**25}}, "model.layers: input should be less than or equal to 10000"),
        ({"data": {"vocab_size": 10**9}}, "data.vocab_size: input should be less than or equal to 10000000"),
        ({"precision": "fp8"}, "precision: input should be 'auto', 'fp32', 'tf32', 'bf16' or 'fp16'"),
        ({"proxy": {"learning_rate": 0}}, "proxy.learning_rate: input should be greater than 0"),
        ({"strategy": {"alpha": float("inf")}}, "strategy.alpha: input should be a finite number"),
        ({"proxy": {"learning_rate": float("nan")}}, "proxy.learning_rate: input should be a finite number"),
        ({"data": {"corpus": None}}, "data.corpus: input should be a valid string"),
        ({1: 2}, "1: keys should be strings"),
        ({"model": []}, "model: input should be a valid dictionary of settings"),
        ({"strategy": {"objectives": "score"}}, "strategy.objectives: input should be a valid list"),
        ({"strategy": {"objectives": []}}, "strategy.objectives: list should have at least 1 item, not 0"),
        ({"model": {"width": True}}, "model.width: input should be a number, not true"),
        ({"limits": {"max_params": False}}, "limits.max_params: input should be a number, not false"),
        ({"model.width": 16}, "unknown key model.width; write it as model: {width: ...}"),
        ({"storage": ""}, "storage: string should have at least 1 character"),
    ],
)
def test_bad_values(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(SearchConfig(), change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"unknown key sede") as caught:
        resolve(SearchConfig(), {"sede": 1, "proxy": {"steps": 0}})
    assert "proxy.steps" in str(caught.value)


def test_old_runs_go_on_as_they_began() -> None:
    before = {"proxy": {"calibration": 0, "train_again": 0}, "limits": {"latency_batch": 1}}
    assert saved_config(SearchConfig, {"seed": 3}) == resolve(SearchConfig(), {"seed": 3, **before})
    assert saved_config(SearchConfig, {"proxy": {"calibration": 0.25}}).proxy.calibration == 0.25
    assert before == SearchConfig.LEGACY_DEFAULTS
    assert saved_config(FinetuneConfig, {}).min_updates == 0
    assert saved_config(PretrainConfig, {"backbone": ["conv 3"]}).recipe.accumulation == 1
    with pytest.raises(ConfigError, match="config: backbone is missing"):
        saved_config(PretrainConfig, {"seed": 1})


def test_sections_have_their_earlier_names_too() -> None:
    """In every layer, so that the last one counts whatever names it has."""
    base = saved_config(PretrainConfig, {"backbone": ["conv 3"], "text": {"vocab_size": 100, "cased": True}})
    assert (base.data.vocab_size, base.data.cased) == (100, True)
    assert resolve(base, {"text": {"vocab_size": 200}}, {"data": {"vocab_size": 300}}).data.vocab_size == 300
    earlier = resolve(base, {"data": {"vocab_size": 300}}, parse_setting("text.vocab_size=200"))
    assert (earlier.data.vocab_size, earlier.data.cased) == (200, True)
    with pytest.raises(ConfigError, match="unknown key text"):
        resolve(SearchConfig(), {"text": {"vocab_size": 200}})
    with pytest.raises(ConfigError, match=r"unknown key data.vocab_sise \(did you mean data.vocab_size"):
        resolve(base, {"text": {"vocab_sise": 200}})


def test_a_config_is_a_value() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SearchConfig().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"a: [", "is not YAML"),
        (b"\x80\xff", "is not YAML"),
        (b"seed: 1\nseed: 2\n", "is not YAML: line 2: the key 'seed' is given twice"),
        (b"seed: 1\nstudy: gr\xfcn\n", "is not YAML: line 2: not UTF-8 text"),
        (b"just words", "is not a mapping of settings"),
        (b"- a\n- b\n", "is not a mapping of settings"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


def test_yaml_lists_every_setting() -> None:
    assert yaml.safe_load(SearchConfig().to_yaml()) == SearchConfig().model_dump(mode="json")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"data": {"corpus": "books"}}, ("data", "corpus", "{here}/books")),
        ({"data": {"corpus": "books/a.txt"}}, ("data", "corpus", "{here}/books/a.txt")),
        ({"data": {"corpus": "kjv"}}, ("data", "corpus", "kjv")),  # although there is a folder of this name
        ({"data": {"corpus": "user/data-v1.1"}}, ("data", "corpus", "user/data-v1.1")),
        ({"data": {"tokenizer": "books"}}, ("data", "tokenizer", "{here}/books")),
        ({"data": {"tokenizer": "bert-base-uncased"}}, ("data", "tokenizer", "bert-base-uncased")),
        ({"proxy": {"tasks": {"data": "books"}}}, ("proxy", "tasks", "data", "{here}/books")),
        (
            {"proxy": {"tasks": {"names": ["rte", "mine.yaml"]}}},
            ("proxy", "tasks", "names", ["rte", "{here}/mine.yaml"]),
        ),
        ({"storage": "sqlite:///team.db"}, ("storage", "sqlite:///{here}/team.db")),
        ({"storage": "sqlite:////srv/team.db"}, ("storage", "sqlite:////srv/team.db")),
        ({"storage": "sqlite:///:memory:"}, ("storage", "sqlite:///:memory:")),
        ({"storage": "postgresql://me@host/db"}, ("storage", "postgresql://me@host/db")),
        ({"data": {"corpus": "n" * 5000}}, ("data", "corpus", "n" * 5000)),
        ({"data": {"corpus": ""}}, ("data", "corpus", "")),
    ],
)
def test_local_paths_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "kjv").mkdir()
    (tmp_path / "books" / "a.txt").write_text("text")
    (tmp_path / "mine.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    config = resolve(SearchConfig(), settings)
    found: Any = config.absolute().model_dump(mode="json")
    *keys, wanted = expected
    for key in keys:
        found = found[key]
    assert json.dumps(found) == json.dumps(wanted).replace("{here}", str(tmp_path))
    assert str(tmp_path) not in config.to_yaml()  # messages name the paths as the user did


def test_local_paths_of_a_pretraining_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    config = PretrainConfig(
        backbone=("conv 3",), start="run", data=PretrainDataConfig(corpus="books")
    ).absolute()
    assert (config.start, config.data.corpus) == (str(tmp_path / "run"), str(tmp_path / "books"))


@pytest.mark.parametrize(
    ("primitives", "says"),
    [
        (3, r"space\.primitives: write paper, modern, or a list of primitives, not 3$"),
        ([3], r"space\.primitives: write paper, modern, or a list of primitives, not \[3\]$"),
        ({"a": 1}, r"space\.primitives: write paper, modern, or a list of primitives, not \{'a': 1\}$"),
        (["modern"], r"space\.primitives: modern is a set of primitives: write modern, not a list$"),
    ],
)
def test_what_is_no_set_of_primitives_is_refused(primitives: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        resolve(SearchConfig(), {"space": {"primitives": primitives}})


@pytest.mark.parametrize("primitives", ["modern", ["matmul", "transpose", "rotary"]])
def test_a_space_with_rotary_needs_an_even_head_dimension(primitives: str | list[str]) -> None:
    odd = {"model": {"width": 18, "heads": 6}}
    space = {"space": {"primitives": primitives}}
    says = r"config: rotary needs an even head dimension.* width 18 / 6 heads is 3: choose another width"
    with pytest.raises(ConfigError, match=says):
        resolve(SearchConfig(), odd, space)
    resolve(SearchConfig(), {"model": {"width": 24, "heads": 6}}, space)
    with pytest.raises(ConfigError, match=says):  # opponents have attentions where candidates have none
        resolve(SearchConfig(), odd, space, {"space": {"attention_share": 0}})
    resolve(SearchConfig(), odd)


def test_how_steps_are_made_faster() -> None:
    """What was a switch is a mode; only an earlier config has a boolean there."""
    backbone = {"backbone": ["conv 3"]}
    modes = {True: "default", False: "off", "off": "off", "capture": "capture", "default": "default"}
    for given, mode in modes.items():
        assert resolve(SearchConfig(), {"compile": given}).compile == mode
        chosen = saved_config(PretrainConfig, backbone | {"recipe": {"compile": given}})
        assert chosen.recipe.compile == mode
        assert yaml.safe_load(chosen.to_yaml())["recipe"]["compile"] == mode
    assert resolve(SearchConfig(), parse_setting("compile=off")).compile == "off"
    for wrong in (1, "fast", None):
        with pytest.raises(ConfigError, match="compile: input should be 'off', 'default'"):
            resolve(SearchConfig(), {"compile": wrong})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"data": {"next_sentence": True}}, None),
        ({"recipe": {"accumulation": 2}}, None),
        ({"data": {"isolated": True}}, "isolated documents change the shapes"),
        ({"data": {"whole_words": True}}, "whole words change the number"),
        ({"recipe": {"gradient_checkpointing": True}}, "computes layers again"),
        ({"distil": {"teacher": "bert-base-uncased"}}, "a teacher is compared"),
    ],
)
def test_which_pre_trainings_cannot_be_captured(change: dict[str, Any], reason: str | None) -> None:
    base = saved_config(PretrainConfig, {"backbone": ["conv 3"], "recipe": {"compile": "reduce-overhead"}})
    differ = resolve(base, change).steps_differ
    assert (differ is None) == (reason is None)
    assert (reason or "") in (differ or "")
