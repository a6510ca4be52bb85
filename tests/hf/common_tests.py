"""The common tests of `transformers`, which its own models pass, run on ours.

They are taken from the source distribution of the release that is installed, downloaded once into the
folder that AUTOBERT_ZERO_TESTS_CACHE names (`~/.cache/autobert-zero-tests`); nothing of it is part of this
repository.
The distribution has the common tests only, so what they import from other folders has stand-ins here.
"""

import importlib
import os
import re
import subprocess
import sys
import tarfile
import types
import unittest
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto import modeling_auto

from autobert_zero.hf import AutoBertZeroConfig, AutoBertZeroForPreTraining, AutoBertZeroModel
from autobert_zero.hf.auto import MODELS

_MAPPINGS = {
    "AutoModel": "MODEL_MAPPING_NAMES",
    "AutoModelForMaskedLM": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
    "AutoModelForPreTraining": "MODEL_FOR_PRETRAINING_MAPPING_NAMES",
    "AutoModelForSequenceClassification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForTokenClassification": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "AutoModelForQuestionAnswering": "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    "AutoModelForMultipleChoice": "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES",
}
"""The tables of class names by which the tests tell what a model is for."""

_COMMON_SETTINGS = {
    "return_dict": False,
    "output_hidden_states": True,
    "dtype": "float16",
    "tie_word_embeddings": False,
    "architectures": ["BertModel"],
    "id2label": {0: "label"},
    "label2id": {"label": "0"},
    "problem_type": "regression",
    "pad_token_id": 7,
}
"""Settings that every configuration of `transformers` takes, each unlike its default."""

_STAND_INS: dict[str, dict[str, Any]] = {
    "tests.exporters": {},
    "tests.exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "tests.generation": {},
    "tests.generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "tests.utils": {},
    "tests.utils.test_configuration_utils": {"config_common_kwargs": _COMMON_SETTINGS},
}
_MARKER = re.compile(r"@(?:pytest\.)?mark\.(\w+)")


class UnavailableError(Exception):
    """The common tests cannot be had; says why."""


@dataclass
class Outcome:
    """What a run of the common tests gave.

    Attributes:
        passed: Names of tests.
        failed: Name of a test to the last line of its error.
        left_out: Name of a test to the reason that this repository gives.
        skipped: Name of a test to the reason that `transformers` gives: other hardware, other models.
    """

    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def run_common_tests(
    backbone: Sequence[str], left_out: Mapping[str, str], only: str = "", **trunk: Any
) -> Outcome:
    """Runs the common tests of models and of configurations on a backbone of two layers.

    Args:
        backbone: Its layers.
        left_out: Name of a test that is not run to the reason.
        only: Part of the names of the tests to run.
        trunk: Settings of the configuration.

    Raises:
        UnavailableError: The tests cannot be downloaded or imported.
    """
    kind = _test_case(backbone, left_out, trunk)
    names = [name for name in unittest.defaultTestLoader.getTestCaseNames(kind) if only in name]
    result = unittest.TestResult()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_warning()  # they expect warnings, which our commands turn off
    try:
        unittest.TestSuite(map(kind, names)).run(result)
    finally:
        transformers.logging.set_verbosity(verbosity)
    outcome = Outcome()
    for test, trace in [*result.failures, *result.errors]:
        outcome.failed[_name(test)] = trace.strip().splitlines()[-1]
    for test, reason in result.skipped:
        name = _name(test)
        if name in left_out:
            outcome.left_out[name] = left_out[name]
        else:
            outcome.skipped[name] = reason
    unsuccessful = {*outcome.failed, *outcome.left_out, *outcome.skipped}
    outcome.passed = [name for name in names if name not in unsuccessful]
    return outcome


def marker_names() -> list[str]:
    """The markers of pytest in the common tests, which have to be registered where markers are strict.

    Raises:
        UnavailableError: The tests cannot be downloaded.
    """
    files = (_fetch() / "tests").glob("test_*.py")
    return sorted({name for file in files for name in _MARKER.findall(file.read_text("utf-8"))})


def count_maps(backbone: Sequence[str]) -> int:
    """How many layers have an attention map."""
    sizes = {"vocab_size": 9, "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 4}
    model = AutoBertZeroModel(AutoBertZeroConfig(backbone=list(backbone), **sizes))
    return len(model(torch.zeros(1, 2, dtype=torch.long), output_attentions=True).attentions)


def _name(test: Any) -> str:
    return getattr(test, "test_case", test)._testMethodName  # a sub-test counts as its test


def _test_case(
    backbone: Sequence[str], left_out: Mapping[str, str], trunk: Mapping[str, Any]
) -> type[unittest.TestCase]:
    """The class with all tests."""
    modeling, configuration = _import()

    class Sizes:
        """What the tests ask for under the names of BERT's."""

        batch_size, seq_length, num_choices = 13, 7, 4
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, type_vocab_size = 99, 32, 2, 2, 16
        is_training = True

        def get_config(self) -> AutoBertZeroConfig:
            return AutoBertZeroConfig(
                backbone=list(backbone),
                vocab_size=self.vocab_size,
                hidden_size=self.hidden_size,
                num_attention_heads=self.num_attention_heads,
                intermediate_size=37,
                type_vocab_size=self.type_vocab_size,
                **trunk,
            )

        def prepare_config_and_inputs_for_common(self) -> tuple[AutoBertZeroConfig, dict[str, Any]]:
            shape = [self.batch_size, self.seq_length]
            inputs = {
                "input_ids": modeling.ids_tensor(shape, self.vocab_size),
                "token_type_ids": modeling.ids_tensor(shape, self.type_vocab_size),
                "attention_mask": modeling.random_attention_mask(shape),
            }
            return self.get_config(), inputs

    class WithBackbone(AutoBertZeroConfig):
        """The tests of configurations leave the backbone out, which has no default."""

        def __post_init__(self, **given: Any) -> None:
            self.backbone = self.backbone or list(backbone)
            super().__post_init__(**given)

    class CommonTests(modeling.ModelTesterMixin, unittest.TestCase):  # type: ignore[misc,name-defined]
        all_model_classes = tuple(MODELS.values())
        has_attentions = bool(count_maps(backbone))

        def setUp(self) -> None:
            self.model_tester = Sizes()

        def _prepare_for_class(self, inputs: Any, model_class: Any, return_labels: bool = False) -> Any:
            prepared = super()._prepare_for_class(inputs, model_class, return_labels)
            if return_labels and model_class is AutoBertZeroForPreTraining:
                prepared["labels"] = torch.zeros_like(prepared["input_ids"])
                prepared["next_sentence_label"] = torch.zeros(len(prepared["input_ids"]), dtype=torch.long)
            return prepared

        def test_config(self) -> None:
            common = configuration.ConfigTester(self, WithBackbone, hidden_size=36, num_attention_heads=4)
            common.run_common_tests()

    for name, reason in left_out.items():
        assert hasattr(CommonTests, name), f"there is no {name} to leave out"
        setattr(CommonTests, name, unittest.skip(reason)(lambda self: None))
    return CommonTests


def _import() -> tuple[types.ModuleType, types.ModuleType]:
    """Imports the common tests of models and of configurations."""
    for auto, model in MODELS.items():
        getattr(modeling_auto, _MAPPINGS[auto.__name__])[AutoBertZeroConfig.model_type] = model.__name__
    folder = _fetch()
    for name, content in _STAND_INS.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return (
            importlib.import_module("tests.test_modeling_common"),
            importlib.import_module("tests.test_configuration_common"),
        )
    except ImportError as error:
        raise UnavailableError(f"{error}: pip install 'autobert-zero[suite]'") from error


def _fetch() -> Path:
    """Finds the distribution's folder, downloading it the first time."""
    cache = Path(os.environ.get("AUTOBERT_ZERO_TESTS_CACHE", "~/.cache/autobert-zero-tests")).expanduser()
    name = f"transformers-{transformers.__version__}"
    folder = cache / name
    if (folder / "tests").is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    requirement = name.replace("-", "==")
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(cache)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
        raise UnavailableError(f"the source distribution of {requirement} cannot be downloaded: {reason}")
    with tarfile.open(cache / f"{name}.tar.gz") as archive:
        members = [member for member in archive if member.name.startswith(f"{name}/tests/")]
        archive.extractall(cache, members, filter="data")
    (folder / "tests" / "__init__.py").touch()
    return folder
