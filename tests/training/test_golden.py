"""Golden loss curves: an unmeant change of the recipe, of optimiser, clipping or batches, shows here.

In double precision, so that the same numbers come out of any processor. A second moment of 0.999, a clip of 5
or an epsilon of 1e-8 moves each curve by more than 0.004.
"""

import pytest
import torch
from easy import SIZE, VOCABULARY

from autobert_zero.data.masking import TrainingBatches
from autobert_zero.data.packing import Splits
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.zoo import STACKS, ZOO

RECIPE = Recipe(20, batch_size=8, learning_rate=0.02, warmup=0.2, clip=0.5, precision="fp32")
BACKBONES = {
    "bert": STACKS["bert"](2),
    "hybrid": STACKS["hybrid"](2),
    "convolution": STACKS["convolution"](2),
    "published": Backbone(ZOO["autobert-zero-base"].backbone.layers[:4]),
}
LOSSES = {
    "bert": [3.11371541, 3.264932156, 3.009686947, 2.851303339],
    "hybrid": [3.081171989, 3.385826826, 3.072059393, 2.968889236],
    "convolution": [3.046040773, 3.188359261, 3.067466259, 2.851578951],
    "published": [3.08416748, 3.333150148, 3.029434204, 3.017727375],
}
"""Of steps 5, 10, 15 and 20."""


def curve(backbone: Backbone, text: Splits) -> list[float]:
    """The losses of all steps."""
    torch.manual_seed(0)
    model = MaskedLM(backbone, EncoderConfig(vocab_size=SIZE, width=16, heads=2, max_positions=16)).double()
    losses: list[float] = []
    batches = TrainingBatches(text.train, VOCABULARY, 8, (0,)).starting(0)
    train(model, batches, RECIPE, language_objective("fp32"), lambda step, loss: losses.append(loss), seed=0)
    return losses


@pytest.mark.parametrize("name", BACKBONES)
def test_the_losses_are_those_of_before(name: str, text: Splits) -> None:
    assert curve(BACKBONES[name], text)[4::5] == pytest.approx(LOSSES[name], abs=1e-4)
