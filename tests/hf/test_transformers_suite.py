"""The common tests of `transformers` pass on seven backbones; what is left out is named with the reason."""

from typing import Any

import common_tests
import pytest
from nn_samples import backbone_of

from autobert_zero import zoo
from autobert_zero.zoo.trunks import MODERN_TRUNK

LEFT_OUT = {
    "test_model_weights_reload_no_missing_tied_weights": (
        "loads a file without any tensor of the model, expecting new weights and a warning; "
        "weights of another backbone are an error"
    ),
}
"""Test to the reason, for all backbones.

Beyond these: the pipelines' tests (`PipelineTesterMixin`) need tests/pipelines, which the source distribution
does not have, and models from the Hub; the exporters' and the generation's are not in it either. Pipelines,
ONNX and `torch.export` have tests of our own (test_hf_tools.py, tests/export).
"""

LEFT_OUT_WITHOUT_MAPS = {
    "test_attention_outputs": "expects a map of every layer; convolutions and some attentions have none",
}
"""Test to the reason, for backbones with a layer that has no map."""

BACKBONES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "bert": (zoo.bert(2).to_list(), {}),
    "hybrid": (zoo.hybrid(2).to_list(), {}),
    "convolution": (zoo.convolution(2).to_list(), {}),
    "linear attention": (zoo.efficient_attention(2).to_list(), {}),
    "published": (zoo.autobert_zero_base().to_list()[:2], {}),
    "random": (backbone_of(4, 2).to_list(), {}),
    "random, modern": (backbone_of(7, 2).to_list(), MODERN_TRUNK),
}


def left_out(backbone: list[str]) -> dict[str, str]:
    """The tests that do not apply to a backbone, each with the reason."""
    whole = common_tests.count_maps(backbone) == len(backbone)
    return LEFT_OUT if whole else LEFT_OUT | LEFT_OUT_WITHOUT_MAPS


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_common_tests_pass(name: str, pytestconfig: pytest.Config) -> None:
    backbone, trunk = BACKBONES[name]
    try:
        for marker in common_tests.marker_names():
            pytestconfig.addinivalue_line("markers", f"{marker}: of transformers")
        outcome = common_tests.run_common_tests(backbone, left_out(backbone), **trunk)
    except common_tests.UnavailableError as error:
        pytest.skip(str(error))
    assert not outcome.failed
    assert len(outcome.passed) > 70
