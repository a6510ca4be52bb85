"""The configuration: text in, valid backbone out, or an error that says what to mend."""

import json
from pathlib import Path
from typing import Any

import pytest
from hf_samples import MIXED, config
from transformers import AutoConfig, AutoModelForMaskedLM

from autobert_zero.errors import UserError
from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroForMaskedLM, from_zoo
from autobert_zero.space import Backbone, FormulaError
from autobert_zero.zoo import ZOO


def test_the_backbone_is_a_list_whatever_it_was_given_as() -> None:
    text = "\n".join(["# a comment", *MIXED, ""])
    for given in (MIXED, text, Backbone.parse(text)):
        made = config(given)
        assert made.backbone == MIXED
        assert made.parse_backbone() == Backbone.from_list(MIXED)
        assert made.num_hidden_layers == 4


def test_save_and_load(tmp_path: Path) -> None:
    made = config(num_labels=3, hidden_dropout_prob=0.2, pad_token_id=5)
    made.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["backbone"] == MIXED
    for loaded in (AutoConfig.from_pretrained(tmp_path), AutoBertZeroConfig.from_pretrained(tmp_path)):
        assert isinstance(loaded, AutoBertZeroConfig)
        assert loaded.to_diff_dict() == made.to_diff_dict()
        assert loaded.num_labels == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": None}, "backbone is missing"),
        ({"backbone": []}, "at least one layer"),
        ({"backbone": 3}, "must be a list of strings, not int"),
        ({"backbone": ["conv 9", 3]}, "one string per layer"),
        ({"backbone": ["conv 9", "conv 4"]}, "line 2: a convolution has a kernel of one of 3, 5"),
        ({"backbone": "conv 9\nsoftmax(Q @ K) @ V"}, r"line 2: .*\(column 13\)"),
        ({"backbone": "__import__('os')"}, "column"),
        ({"num_hidden_layers": 13}, "num_hidden_layers is 13, but the backbone has 4 layers"),
        ({"hidden_size": 18}, "hidden_size 18 is not divisible by 4 heads"),
        ({"classifier_pooling": "max"}, "classifier_pooling must be cls, mean or cls.mean, not 'max'"),
        ({"hidden_size": "16"}, "hidden_size must be a whole number of at least 1, not '16'"),
        ({"intermediate_size": 0}, "intermediate_size must be a whole number of at least 1, not 0"),
        ({"vocab_size": -1}, "vocab_size must be a whole number of at least 1, not -1"),
        ({"vocab_size": True}, "vocab_size must be a whole number of at least 1, not True"),
        ({"hidden_dropout_prob": 1.0}, r"hidden_dropout_prob must be a number in \[0, 1\), not 1.0"),
        ({"hidden_dropout_prob": None}, r"hidden_dropout_prob must be a number in \[0, 1\), not None"),
        ({"classifier_dropout": "0.1"}, r"classifier_dropout must be a number in \[0, 1\), not '0.1'"),
        ({"layer_norm_eps": 0}, "layer_norm_eps must be a number above 0, not 0"),
        ({"initializer_range": [0.02]}, r"initializer_range must be a number above 0, not \[0.02\]"),
        ({"rotary_base": "x"}, "rotary_base must be a number above 0, not 'x'"),
        ({"rotary_base": float("inf")}, "rotary_base must be a finite number above 1, not inf"),
        ({"backbone": ["rotary(Q) + K"], "hidden_size": 12}, "12 / 4 heads is 3: choose another width"),
    ],
)
def test_bad_values_are_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    values = config().to_dict() | changes
    with pytest.raises(UserError, match=message):
        AutoBertZeroConfig(**values)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        AutoConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classifier_pooling": "avg"}, "classifier_pooling must be cls, mean or cls.mean, not 'avg'"),
        ({"hidden_size": 18}, "hidden_size 18 is not divisible by 4 heads"),
        ({"backbone": ["conv 4"]}, "line 1: a convolution has a kernel of one of"),
        ({"norm": "before"}, "norm must be post or pre"),
    ],
)
def test_changes_after_the_making_are_checked(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By `from_pretrained` with keywords, and before anything is saved or built."""
    model = AutoBertZeroForMaskedLM(config())
    model.save_pretrained(tmp_path / "good")
    for kind in (AutoConfig, AutoBertZeroConfig, AutoModelForMaskedLM, AutoBertZeroForMaskedLM):
        with pytest.raises(UserError, match=message):
            kind.from_pretrained(tmp_path / "good", **changes)
    for name, value in changes.items():
        setattr(model.config, name, value)
    for save in (model.save_pretrained, model.config.save_pretrained):
        with pytest.raises(UserError, match=message):
            save(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    with pytest.raises(UserError, match=message):
        AutoBertZeroForMaskedLM(model.config)


def test_the_depth_can_be_set_to_what_it_is_only(tmp_path: Path) -> None:
    made = config(num_hidden_layers=4)
    made.num_hidden_layers = 4
    assert made.num_hidden_layers == 4
    made.save_pretrained(tmp_path)
    for change in (
        lambda: setattr(made, "num_hidden_layers", 2),
        lambda: AutoConfig.from_pretrained(tmp_path, num_hidden_layers=2),
    ):
        with pytest.raises(UserError, match="num_hidden_layers is 2, but the backbone has 4 layers; leave"):
            change()
    made.backbone = "conv 3\nconv 5"
    assert made.num_hidden_layers == 2


def test_a_formula_that_does_not_type_points_at_the_place() -> None:
    with pytest.raises(UserError, match="\\^") as raised:
        config("softmax(Q @ K) @ V")
    assert not isinstance(raised.value, FormulaError)
    assert "config: backbone: line 1" in str(raised.value)


@pytest.mark.parametrize("name", ZOO)
def test_configurations_of_the_zoo(name: str) -> None:
    made = from_zoo(name, vocab_size=77)
    sizes = ZOO[name].sizes
    assert made.parse_backbone() == ZOO[name].backbone
    assert (made.hidden_size, made.num_attention_heads, made.intermediate_size) == (
        sizes.width,
        sizes.heads,
        sizes.inner,
    )
    assert made.vocab_size == 77


def test_an_unknown_entry_of_the_zoo() -> None:
    with pytest.raises(UserError, match="unknown backbone 'bert-huge'; there are bert-tiny, "):
        from_zoo("bert-huge")
