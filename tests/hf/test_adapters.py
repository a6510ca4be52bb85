"""LoRA by the real peft on our models: what is adapted by default, training, merging, saving and loading."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hf_samples
import pytest
import torch
from hf_samples import batch, config, randomise
from torch import Tensor
from torch.nn import functional as F

from autobert_zero import hf
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.zoo.layers import GATED_CONVOLUTION, GATED_ROTARY

pytestmark = pytest.mark.slow  # importing peft takes seconds

BACKBONES = {
    "attention": [hf_samples.STANDARD, "softmax(Q) @ (softmax(K.T) @ V)"],
    "convolution": ["conv 3", "conv 5"],
    "mixed": hf_samples.MIXED,
    "modern": [GATED_ROTARY, GATED_CONVOLUTION],
}
HEADS = {
    "SEQ_CLS": hf.AutoBertZeroForSequenceClassification,
    "TOKEN_CLS": hf.AutoBertZeroForTokenClassification,
    "QUESTION_ANS": hf.AutoBertZeroForQuestionAnswering,
    "FEATURE_EXTRACTION": hf.AutoBertZeroModel,
    None: hf.AutoBertZeroForMaskedLM,
}

WITHOUT_THE_PACKAGE = """
import sys
sys.modules["autobert_zero"] = None  # importing it is an ImportError
import peft, transformers
auto = transformers.AutoModelForMaskedLM
model = auto.from_pretrained(sys.argv[1], trust_remote_code=True)
print(len(peft.get_peft_model(model, peft.LoraConfig()).targeted_module_names))
"""


@pytest.fixture(scope="module")
def peft() -> Any:
    """The real library."""
    return pytest.importorskip("peft", reason="pip install 'autobert-zero[suite]'")


def inputs() -> dict[str, Tensor]:
    """Ids and mask; peft's wrapper of question answering drops the segments of any model."""
    return {name: tensor for name, tensor in batch().items() if name != "token_type_ids"}


def first(model: Any) -> Tensor:
    """The first output at real tokens, or of sequences, of a model in evaluation mode."""
    with torch.no_grad():
        outputs = model.eval()(**inputs(), return_dict=False)[0]
    return hf_samples.real(outputs) if outputs.shape[:2] == batch()["input_ids"].shape else outputs


def train(model: Any) -> None:
    """A few steps towards outputs of 1."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    model.train()
    for _ in range(3):
        outputs = model(**inputs(), return_dict=False)[0]
        F.mse_loss(outputs, torch.ones_like(outputs)).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("task", HEADS)
def test_by_default_the_projections_are_adapted(
    task: str | None, backbone: str, peft: Any, tmp_path: Path
) -> None:
    """Trained, reloaded on the same base, merged, and saved as a model of its own."""
    kind = HEADS[task]
    randomise(kind(config(BACKBONES[backbone]))).save_pretrained(tmp_path / "base")
    model = kind.from_pretrained(tmp_path / "base")
    before = first(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, r=2))
    assert len(adapted.targeted_module_names) == len(BACKBONES[backbone])
    assert all(name.endswith(".projection") for name in adapted.targeted_module_names)
    torch.testing.assert_close(first(adapted), before)
    train(adapted)
    after = first(adapted)
    assert (after - before).abs().max() > 1e-2
    adapted.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(first(again), after)
    merged = again.merge_and_unload()
    assert type(merged) is kind
    torch.testing.assert_close(first(merged), after, atol=1e-5, rtol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    assert torch.equal(first(kind.from_pretrained(tmp_path / "merged")), first(merged))


def test_a_new_pooler_is_saved_on_request(peft: Any, tmp_path: Path) -> None:
    """A model that was pre-trained on masked tokens has none: a classifier starts with a random one."""
    randomise(AutoBertZeroForMaskedLM(config())).save_pretrained(tmp_path / "base")
    kind = hf.AutoBertZeroForSequenceClassification
    lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, modules_to_save=["pooler"])
    adapted = peft.get_peft_model(kind.from_pretrained(tmp_path / "base"), lora)
    train(adapted)
    adapted.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(kind.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    assert torch.equal(first(again), first(adapted))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_linear_leaves_heads_out(backbone: str, peft: Any) -> None:
    for task in ("SEQ_CLS", None):
        lora = peft.LoraConfig(task_type=task, r=2, target_modules="all-linear")
        adapted = peft.get_peft_model(randomise(HEADS[task](config(BACKBONES[backbone]))), lora)
        names = {name.rpartition(".")[2] for name in adapted.targeted_module_names}
        assert names >= {"projection", "output", "up", "down"}
        assert not names & {"decoder", "classifier"}


def test_the_exported_code_has_the_default_too(peft: Any, tmp_path: Path) -> None:
    model = AutoBertZeroForMaskedLM(config())
    model.config.auto_map = hf.code.AUTO_MAP
    model.save_pretrained(tmp_path / "saved")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_PACKAGE, tmp_path / "saved"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.strip() == str(len(hf_samples.MIXED)), done.stderr


@pytest.mark.parametrize(
    "targets",
    [
        {"target_modules": ["position"]},
        {"target_modules": ["projection", "up"]},
        {"target_parameters": ["convolution.kernel"]},
    ],
)
def test_other_targets_take_effect(targets: dict[str, list[str]], peft: Any) -> None:
    model = randomise(AutoBertZeroForMaskedLM(config()))
    before = model(**batch()).logits.detach()
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, **targets))
    torch.testing.assert_close(adapted(**batch()).logits, before)
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in trained.values():
            weight.normal_()
    after = adapted(**batch()).logits
    assert not torch.allclose(after, before)
    after.sum().backward()
    assert trained
    assert all(weight.grad is not None and weight.grad.any() for weight in trained.values())
