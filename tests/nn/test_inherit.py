"""Weights of one model in another: everything where the layers are the same, the named parts elsewhere."""

import torch

from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.inherit import inherit_weights
from autobert_zero.space import Attention, Backbone
from autobert_zero.space.inheritance import plan_inheritance

BERT = "softmax(scale(Q @ K.T)) @ V"
SIZES = EncoderConfig(vocab_size=30, width=8, heads=2, max_positions=16)


def model(layers: list[str], seed: int) -> MaskedLM:
    torch.manual_seed(seed)
    made = MaskedLM(Backbone.from_list(layers), SIZES)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made.eval()


def heir(layers: list[str], source: MaskedLM) -> tuple[MaskedLM, dict[str, torch.Tensor]]:
    made = model(layers, seed=2)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    other = source.encoder.backbone
    inherit_weights(made, source.state_dict(), other, plan_inheritance(made.encoder.backbone, other))
    return made, before


def test_the_same_backbone_computes_the_same() -> None:
    source = model([BERT, "conv 5", f"{BERT} * P"], seed=1)
    made, _ = heir([BERT, "conv 5", f"{BERT} * P"], source)
    ids = torch.randint(30, (2, 7))
    torch.testing.assert_close(made.encoder(ids), source.encoder(ids), rtol=0, atol=0)


def test_parts_by_role() -> None:
    source = model([BERT, "conv 5"], seed=1)
    made, before = heir(["softmax(K @ Q.T) @ V * P", "conv 3"], source)
    theirs, own = source.state_dict(), made.state_dict()
    name = "encoder.layers.0.attention.projection.weight"
    parts = dict(zip("QKVP", own[name].split(8), strict=True))
    q, k, v = theirs[name].split(8)
    first = made.encoder.backbone.layers[0]
    assert isinstance(first, Attention)
    assert first.graph.inputs == ("Q", "K", "V", "P")
    assert torch.equal(parts["K"], q)
    assert torch.equal(parts["Q"], k)
    assert torch.equal(parts["V"], v)
    assert torch.equal(parts["P"], before[name].split(8)[3])
    kernel = "encoder.layers.1.convolution.kernel"
    assert torch.equal(own[kernel], theirs[kernel][:, 1:4])
    rest = [each for each in own if each not in (name, name.replace("weight", "bias"), kernel)]
    assert all(torch.equal(own[each], theirs[each]) for each in rest)


def test_an_output_projection_fits_any_branch() -> None:
    source = model([BERT, "conv 3"], seed=1)
    made, before = heir(["conv 3", BERT], source)
    theirs, own = source.state_dict(), made.state_dict()
    layer = "encoder.layers.{}.{}.output.weight".format
    assert torch.equal(own[layer(0, "convolution")], theirs[layer(0, "attention")])
    assert torch.equal(own[layer(1, "attention")], theirs[layer(1, "convolution")])
    new = "encoder.layers.0.convolution.projection.weight"
    assert torch.equal(own[new], before[new])
