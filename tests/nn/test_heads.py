"""The masked-language-model head."""

import math

import torch
from hypothesis import given, settings
from nn_samples import SMALL, backbone_of, mask_of, seeds
from torch.nn import functional as F

from autobert_zero.nn import MaskedLM
from autobert_zero.nn.convolution import LightConvolution


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_only_the_chosen_rows_of_all_logits_are_computed(seed: int) -> None:
    torch.manual_seed(seed)
    model = MaskedLM(backbone_of(seed), SMALL).double()
    ids = torch.randint(SMALL.vocab_size, (3, 9))
    mask = mask_of([9, 5, 1], 9)
    hidden = model.encoder(ids, mask)  # (B, n, d)
    every = model.norm(F.gelu(model.transform(hidden)))
    logits = every @ model.encoder.embeddings.token.weight.T + model.bias  # (B, n, vocabulary)
    positions = mask.flatten().nonzero().squeeze(1)
    chosen = positions[torch.randperm(len(positions))[:5]]
    got = model(ids, chosen, mask)
    assert got.shape == (5, SMALL.vocab_size)
    torch.testing.assert_close(got, logits.flatten(0, 1)[chosen], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(ids, positions, mask), logits[mask], rtol=1e-12, atol=1e-12)


def test_no_position_gives_no_logits() -> None:
    model = MaskedLM(backbone_of(1), SMALL)
    logits = model(torch.zeros(2, 4, dtype=torch.long), torch.zeros(0, dtype=torch.long))
    assert logits.shape == (0, SMALL.vocab_size)


def test_the_decoder_is_the_token_embedding() -> None:
    model = MaskedLM(backbone_of(1), SMALL)
    shapes = [tuple(parameter.shape) for parameter in model.parameters()]
    assert shapes.count((SMALL.vocab_size, SMALL.width)) == 1


def test_an_untrained_model_is_near_chance() -> None:
    torch.manual_seed(0)
    model = MaskedLM(backbone_of(1), SMALL)
    ids = torch.randint(SMALL.vocab_size, (8, 16))
    loss = F.cross_entropy(model(ids, torch.arange(128)), ids.flatten())
    assert abs(loss.item() - math.log(SMALL.vocab_size)) < 0.2


def test_initialisation_is_that_of_bert_and_kernels_differ() -> None:
    torch.manual_seed(0)
    model = MaskedLM(backbone_of(2, 6), SMALL)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert (parameter == 1).all()
        elif not name.endswith("kernel"):
            assert 0.01 < parameter.std() < 0.03
    kernels = [part.kernel for part in model.modules() if isinstance(part, LightConvolution)]
    assert kernels
    assert all(kernel.std() > 0.3 for kernel in kernels)
