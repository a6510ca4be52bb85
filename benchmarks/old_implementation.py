"""Where the re-implementation `autobert` 0.0.2 departs from the paper, in numbers, and that ours does not.

    python benchmarks/old_implementation.py [--quick]

Every check runs on both, theirs in an environment of its own (see `autobert_peer.py`), with random weights.
Prints one JSON object as its last line: for each check what theirs gives and what ours gives.
The file is long because one call runs all of its parts.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

TOKENS, REAL = 16, 8
SIZES = {"vocab_size": 100, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
THEIRS = "--theirs"


def padded(fill: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, (2, 16), half of them padding that holds `fill`."""
    ids = torch.randint(1, 100, (2, TOKENS), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids[:, REAL:] = fill
    mask[:, REAL:] = 0
    return ids, mask


def randomised(model: nn.Module) -> Any:
    """Matrices of a trained model's size, so that attentions are not all alike."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.2)
    return model.eval()


@torch.no_grad()
def padding_leak(encode: Callable[..., Any]) -> float:
    """The largest change at real tokens when only padding changes."""
    first, second = (
        encode(input_ids=ids, attention_mask=mask)[0][:, :REAL] for ids, mask in (padded(1), padded(2))
    )
    return float((first - second).abs().max())


@torch.no_grad()
def mass_on_padding(encode: Callable[..., Any]) -> float:
    """The share of attention that real tokens give to padding, over the layers that have maps."""
    ids, mask = padded(1)
    maps = encode(input_ids=ids, attention_mask=mask, output_attentions=True, return_dict=True).attentions
    shares = [map_[:, :, :REAL, REAL:].sum(-1).mean() for map_ in maps if map_ is not None]
    return float(torch.stack(shares).mean())


def saved_bytes(layer: nn.Module, tokens: int) -> int:
    """Bytes that a layer's forward pass keeps for the backward pass, without weights."""
    sizes: dict[int, int] = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}

    def note(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in weights:
            sizes[memory.data_ptr()] = memory.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        alive = layer(torch.randn(1, tokens, 64, requires_grad=True), None)
    total = sum(sizes.values())
    del alive
    return total


def outcome(attempt: Callable[[], Any]) -> str:
    """The result of a call, or its error, as text."""
    try:
        return str(attempt())
    except Exception as error:  # any error is a result here
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def check_autobert(lengths: tuple[int, int]) -> dict[str, Any]:
    """Runs the checks on autobert 0.0.2."""
    from autobert import AutoBertConfig, AutoBertForMultipleChoice, AutoBertModel
    from autobert.module.attn_layer import get_attention_class
    from autobert.module.conv_layer import LightConvEncoderLayer

    dropless = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = AutoBertConfig(**SIZES, **dropless)
    model = randomised(AutoBertModel(config))
    layer = randomised(LightConvEncoderLayer(config, 5))
    choices = AutoBertForMultipleChoice(config).eval()
    positional, by_name = padded(1), padded(1)
    with torch.no_grad():
        as_types = model(*positional)[0]
        same = torch.equal(as_types, model(input_ids=by_name[0], token_type_ids=by_name[1])[0])

    def depth(layers: int) -> int:
        return len(AutoBertModel(AutoBertConfig(**SIZES, num_hidden_layers=layers)).layer)

    def scores(batch: int, count: int, tokens: int) -> list[int]:
        return list(choices(torch.ones(batch, count, tokens, dtype=torch.long)).logits.shape)

    def even() -> Any:
        return AutoBertModel(AutoBertConfig(**SIZES, kernel_size_list=[4] * 6))(padded(1)[0])[0].shape

    with tempfile.TemporaryDirectory() as folder:  # only their package, seen from our environment
        import autobert

        (Path(folder) / "autobert").symlink_to(Path(autobert.__file__).parent)
        program = "import sys; sys.path.append(sys.argv[1]); import autobert"
        done = subprocess.run(
            [sys.argv[2], "-c", program, folder], capture_output=True, text=True, env={"PATH": ""}
        )
        with_five = "imports" if done.returncode == 0 else done.stderr.strip().splitlines()[-1].split(" (")[0]
    return {
        "padding_leak": padding_leak(model),
        "mass_on_padding": mass_on_padding(model),
        "attentions_that_leak": sum(
            _leaks(randomised(kind(config))) for kind in dict.fromkeys(get_attention_class)
        ),
        "residual": _autobert_residual(layer),
        "kernel_sums": float(layer.conv.weight.sum(-1).abs().sub(1).abs().max()),
        "mask_as_second_argument": "taken as token types" if same else "taken as the mask",
        "multiple_choice_2x3x7": outcome(lambda: scores(2, 3, 7)),
        "multiple_choice_7x2x7": outcome(lambda: scores(7, 2, 7)),
        "depth_of_13": outcome(lambda: depth(13)),
        "depth_of_1": outcome(lambda: depth(1)),
        "depth_of_14": outcome(lambda: depth(14)),
        "even_kernel": outcome(even),
        "with_transformers_5": with_five,
        "memory_exponent": _exponent(LightConvEncoderLayer(config, 65), lengths),
    }


def _leaks(attention: nn.Module) -> bool:
    x = torch.randn(1, TOKENS, 64)
    mask = padded(1)[1][:1]
    other = x.clone()
    other[:, REAL:] += 1
    with torch.no_grad():
        a, b = (attention(states, mask)[0][:, :REAL] for states in (x, other))
    return not torch.allclose(a, b)


def _autobert_residual(layer: Any) -> dict[str, float]:
    """Distances of the layer's output from LN(r + FFN(r)), which is right, and from LN(2 r + FFN(r))."""
    x = torch.randn(1, TOKENS, 64)
    seen: dict[str, Tensor] = {}
    hooks = [
        layer.layer_norms[0].register_forward_hook(lambda m, given, out: seen.update(r=out)),
        layer.fc2.register_forward_hook(lambda m, given, out: seen.update(ffn=out)),
    ]
    with torch.no_grad():
        result = layer(x)[0]
        for hook in hooks:
            hook.remove()
        return _distances(result, seen["r"], seen["ffn"], layer.layer_norms[1])


def _distances(result: Tensor, residual: Tensor, ffn: Tensor, norm: nn.Module) -> dict[str, float]:
    return {
        "from LN(r + FFN(r))": float((result - norm(residual + ffn)).abs().max()),
        "from LN(2 r + FFN(r))": float((result - norm(2 * residual + ffn)).abs().max()),
    }


def _exponent(layer: nn.Module, lengths: tuple[int, int]) -> float:
    """Exponent with which a layer's memory grows with the length: 1 is linear, 2 is quadratic."""
    short, long = lengths
    growth = saved_bytes(layer, long) / saved_bytes(layer, short)
    return math.log(growth) / math.log(long / short)


def check_own(lengths: tuple[int, int]) -> dict[str, Any]:
    """Runs the same checks on this package."""
    from autobert_zero import hf, zoo
    from autobert_zero.encoder_config import EncoderConfig
    from autobert_zero.nn.attention import GraphAttention
    from autobert_zero.nn.layer import EncoderLayer
    from autobert_zero.space import Attention, Convolution

    config = hf.from_zoo("autobert-zero-base", **SIZES, hidden_dropout_prob=0.0)
    model = randomised(hf.AutoBertZeroModel(config))
    sizes = EncoderConfig(vocab_size=100, width=64, heads=4, feed_forward=128)
    layer = randomised(EncoderLayer(Convolution(5), sizes))
    choices = hf.AutoBertZeroForMultipleChoice(config).eval()
    ids, mask = padded(1)
    with torch.no_grad():
        same = torch.equal(model(ids, mask)[0], model(input_ids=ids, attention_mask=mask)[0])
    x = torch.randn(1, TOKENS, 64)
    seen: dict[str, Tensor] = {}
    layer.mixing_norm.register_forward_hook(lambda m, given, out: seen.update(r=out))
    layer.feed_forward.register_forward_hook(lambda m, given, out: seen.update(ffn=out))
    with torch.no_grad():
        result = layer(x, None)
    graphs = [layer.graph for layer in zoo.autobert_zero_base().layers if isinstance(layer, Attention)]

    class Leaky(nn.Module):
        """Adapts an attention to the interface that `_leaks` expects."""

        def __init__(self, attention: nn.Module) -> None:
            super().__init__()
            self.attention = attention

        def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor]:
            return (self.attention(x, mask.bool()),)

    def depth(layers: int) -> int:
        backbone = [str(layer) for layer in (zoo.autobert_zero_base().layers * 2)[:layers]]
        return len(hf.AutoBertZeroModel(hf.AutoBertZeroConfig(backbone=backbone, **SIZES)).layers)

    def scores(batch: int, count: int, tokens: int) -> list[int]:
        return list(choices(torch.ones(batch, count, tokens, dtype=torch.long)).logits.shape)

    return {
        "padding_leak": padding_leak(model),
        "mass_on_padding": mass_on_padding(model),
        "attentions_that_leak": sum(
            _leaks(Leaky(randomised(GraphAttention(graph, 64, 4)))) for graph in dict.fromkeys(graphs)
        ),
        "residual": _distances(result, seen["r"], seen["ffn"], layer.output_norm),
        "kernel_sums": float(layer.convolution.kernel.softmax(-1).sum(-1).sub(1).abs().max()),
        "mask_as_second_argument": "taken as the mask" if same else "taken as something else",
        "multiple_choice_2x3x7": outcome(lambda: scores(2, 3, 7)),
        "multiple_choice_7x2x7": outcome(lambda: scores(7, 2, 7)),
        "depth_of_13": outcome(lambda: depth(13)),
        "depth_of_1": outcome(lambda: depth(1)),
        "depth_of_14": outcome(lambda: depth(14)),
        "even_kernel": outcome(lambda: hf.AutoBertZeroConfig(backbone=["conv 4"], **SIZES)),
        "with_transformers_5": "imports",
        "memory_exponent": _exponent(EncoderLayer(Convolution(65), sizes), lengths),
    }


def main() -> None:
    """Runs the checks on both and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the memory at shorter lengths")
    quick = parser.parse_args().quick
    lengths = (256, 512) if quick else (1024, 2048)
    from autobert_peer import environment

    python = environment(torch.__version__.split("+")[0])
    command = [str(python), __file__, THEIRS, sys.executable, *map(str, lengths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    theirs: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    results = {"theirs": theirs, "ours": check_own(lengths)}
    print(json.dumps({"benchmark": "old_implementation", "quick": quick, **results}))


if __name__ == "__main__":
    if sys.argv[1:2] == [THEIRS]:
        print(json.dumps(check_autobert((int(sys.argv[3]), int(sys.argv[4])))))
    else:
        main()
