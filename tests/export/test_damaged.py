"""Damaged model folders: each is one line that names the file, and nothing is written or executed."""

import json
from collections.abc import Callable
from pathlib import Path

import hf_samples
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from autobert_zero.errors import UserError
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.tokenizer import wrap_tokenizer

MARK = "executed.txt"
"""A file that the code and the pickles in these folders write when they are executed."""


class Bomb:
    """Pickled: a call that writes the mark."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.path, "executed")


def _pickle(folder: Path, name: str) -> None:
    torch.save({"bomb": Bomb(folder.parent / MARK)}, folder / name)


def _json(file: str, **changes: object) -> Callable[[Path], None]:
    """Changes entries; `...` removes one."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text()) | changes
        kept = {name: value for name, value in content.items() if value is not ...}
        (folder / file).write_text(json.dumps(kept))

    return damage


def _text(file: str, text: str | bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes(text.encode() if isinstance(text, str) else text)

    return damage


def _cut(file: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: int(len(content) * share)])

    return damage


def _gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def _folder(file: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).unlink()
        (folder / file).mkdir()

    return damage


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def _sharded(change: Callable[[Path, dict[str, str]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        model = AutoBertZeroForMaskedLM.from_pretrained(folder)
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="4KB")
        index = folder / "model.safetensors.index.json"
        content = json.loads(index.read_text())
        change(folder, content["weight_map"])
        index.write_text(json.dumps(content))

    return damage


def _shard_to_pickle(folder: Path, places: dict[str, str]) -> None:
    _pickle(folder, "pytorch_model.bin")
    places["encoder.embeddings.token.weight"] = "pytorch_model.bin"


def _shard_outside(folder: Path, places: dict[str, str]) -> None:
    places["encoder.embeddings.token.weight"] = "../other/model.safetensors"


def _shard_missing(folder: Path, places: dict[str, str]) -> None:
    (folder / places["encoder.embeddings.token.weight"]).unlink()


def _shard_cut(folder: Path, places: dict[str, str]) -> None:
    _cut(places["encoder.embeddings.token.weight"], 0.5)(folder)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    _pickle(folder, "pytorch_model.bin")


def _pickle_by_name(folder: Path) -> None:
    _pickle(folder, "model.safetensors")


def _pickle_by_setting(folder: Path) -> None:
    _pickle(folder, "adapter_model.bin")
    _json("config.json", transformers_weights="adapter_model.bin")(folder)


def _code(folder: Path, file: str, **auto_map: str) -> None:
    mark = folder.parent / MARK
    (folder / "theirs.py").write_text(f"open({str(mark)!r}, 'w').write('executed')")
    _json(file, auto_map=auto_map)(folder)


def _code_of_another_model(folder: Path) -> None:
    _code(folder, "config.json", AutoConfig="theirs.Config", AutoModel="theirs.Model")
    _json("config.json", model_type="theirs")(folder)


def _code_of_a_tokenizer(folder: Path) -> None:
    _code(folder, "tokenizer_config.json", AutoTokenizer=["theirs.Slow", "theirs.Fast"])  # type: ignore[arg-type]
    _json("tokenizer_config.json", tokenizer_class="Theirs")(folder)


WIDE = hf_samples.WIDTH * 2
DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (_gone("config.json"), "holds neither a run"),
    "config is empty": (_text("config.json", ""), "config.json is not JSON"),
    "config is cut": (_cut("config.json", 0.5), "config.json is not JSON"),
    "config is no text": (_text("config.json", b"\xff\xfe\x00"), "config.json is not JSON"),
    "config is a list": (_text("config.json", "[1]"), "config.json is not a JSON object"),
    "config is a folder": (_folder("config.json"), "config.json cannot be read: Is a directory"),
    "config is deep": (_text("config.json", "[" * 100_000), "config.json is not JSON"),
    "no type": (_json("config.json", model_type=...), "holds a model of type None"),
    "another type": (_json("config.json", model_type="bert"), "holds a model of type bert"),
    "a type of no name": (_json("config.json", model_type=[3]), "holds a model of type [3]"),
    "no backbone": (_json("config.json", backbone=...), "backbone is missing"),
    "a backbone of numbers": (_json("config.json", backbone=[3, 5]), "one string per layer"),
    "a backbone that is none": (
        _json("config.json", backbone={"a": 1}),
        "backbone must be a list of strings",
    ),
    "another backbone": (_json("config.json", backbone=["conv 3"]), "holds weights of another backbone"),
    "a size that is text": (_json("config.json", hidden_size="16"), "hidden_size must be a whole number"),
    "a size that is null": (_json("config.json", vocab_size=None), "vocab_size must be a whole number"),
    "a dropout that is text": (
        _json("config.json", hidden_dropout_prob="0"),
        "hidden_dropout_prob must be a number",
    ),
    "an epsilon that is a list": (
        _json("config.json", layer_norm_eps=[1]),
        "layer_norm_eps must be a number above 0",
    ),
    "a larger vocabulary": (_json("config.json", vocab_size=99), "tensors of another size"),
    "a wider model": (_json("config.json", hidden_size=WIDE), "tensors of another size"),
    "another trunk": (_json("config.json", positions="none"), "position.weight is not used"),
    "an unknown head": (_json("config.json", architectures=["BertForMaskedLM"]), "holds a BertForMaskedLM"),
    "a head of no name": (_json("config.json", architectures=[{"a": 1}]), "holds a {'a': 1}"),
    "another head": (
        _json("config.json", architectures=["AutoBertZeroForQuestionAnswering"]),
        "lacks weights of its AutoBertZeroForQuestionAnswering: ",
    ),
    "no weights": (_gone("model.safetensors"), "no file named model.safetensors"),
    "weights are empty": (_text("model.safetensors", ""), "model.safetensors is damaged or not safetensors"),
    "weights are cut": (_cut("model.safetensors", 0.7), "model.safetensors is damaged or not safetensors"),
    "weights are cut in their header": (_cut("model.safetensors", 0.01), "damaged or not safetensors"),
    "weights are a folder": (_folder("model.safetensors"), "model.safetensors is missing"),
    "weights are a pickle": (_pickled, "pickles are not loaded, since they can run code"),
    "weights are a pickle called safetensors": (_pickle_by_name, "damaged or not safetensors"),
    "the config names a pickle": (_pickle_by_setting, "adapter_model.bin"),
    "no tensors": (_tensors(dict.clear), "holds weights of another backbone"),
    "a layer's tensor is missing": (
        _tensors(lambda tensors: tensors.pop("encoder.layers.1.attention.output.bias")),
        "layers.1.attention.output.bias is missing",
    ),
    "the embeddings are missing": (
        _tensors(lambda tensors: tensors.pop("encoder.embeddings.token.weight")),
        "embeddings.token.weight is missing",
    ),
    "the head is missing": (
        _tensors(lambda tensors: tensors.pop("transform.weight")),
        "lacks weights of its AutoBertZeroForMaskedLM: transform.weight is missing",
    ),
    "a tensor of another shape": (
        _tensors(lambda tensors: tensors.update({"transform.bias": torch.zeros(3)})),
        "transform.bias is (3,), not (16,)",
    ),
    "a shard is missing": (_sharded(_shard_missing), ".safetensors is missing; copy"),
    "a shard is cut": (_sharded(_shard_cut), "is damaged or not safetensors"),
    "a shard is a pickle": (_sharded(_shard_to_pickle), "pytorch_model.bin is not a safetensors file"),
    "a shard is elsewhere": (_sharded(_shard_outside), "which is not a file in its folder"),
    "a shard index is empty": (
        _sharded(lambda folder, places: places.clear()),
        "index.json is damaged: it lacks weight_map or metadata",
    ),
    "no tokenizer file": (_gone("tokenizer.json"), "the tokenizer in"),
    "the tokenizer is empty": (_text("tokenizer.json", ""), "the tokenizer in"),
    "the tokenizer is cut": (_cut("tokenizer.json", 0.5), "the tokenizer in"),
    "the tokenizer is another's": (_text("tokenizer.json", '{"model": {"type": "New"}}'), "the tokenizer in"),
    "the tokenizer's config is a list": (_text("tokenizer_config.json", "[]"), "the tokenizer in"),
    "code of another model": (_code_of_another_model, "holds a model of type theirs"),
    "code of a tokenizer": (_code_of_a_tokenizer, "the tokenizer in"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole model with a tokenizer."""
    model = hf_samples.randomise(AutoBertZeroForMaskedLM(hf_samples.config()))
    model.save_pretrained(tmp_path / "model")
    words = {f"[{name}]": number for number, name in enumerate(("PAD", "UNK", "CLS", "SEP", "MASK"))}
    wrap_tokenizer(Tokenizer(WordLevel(words | {"a": 5}, "[UNK]")), 20).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_folder_is_one_line(name: str, folder: Path) -> None:
    damage, message = DAMAGE[name]
    damage(folder)
    before = tiny.contents(folder.parent)
    done = tiny.command("export", folder, folder.parent / "out", "--no-onnx", "--no-program")
    assert (done.code, done.out.strip()) == (2, ""), done.err
    assert message in done.err
    assert done.err.count("\n") == 1
    assert tiny.contents(folder.parent) == before


@pytest.mark.parametrize("name", ["a shard is a pickle", "weights are a pickle", "the config names a pickle"])
def test_pickles_are_not_loaded_by_transformers_either(name: str, folder: Path) -> None:
    DAMAGE[name][0](folder)
    with pytest.raises((UserError, ValueError)):
        AutoBertZeroForMaskedLM.from_pretrained(folder)
    assert not (folder.parent / MARK).exists()


def test_a_whole_folder_is_exported(folder: Path) -> None:
    done = tiny.command("export", folder, folder.parent / "out", "--no-onnx", "--no-program")
    assert done.code == 0, done.err


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    words = {f"[{name}]": number for number, name in enumerate(("PAD", "UNK", "CLS", "SEP", "MASK"))}
    words |= {f"w{number}": 5 + number for number in range(hf_samples.VOCABULARY)}
    wrap_tokenizer(Tokenizer(WordLevel(words, "[UNK]")), 20).save_pretrained(folder)
    done = tiny.command("export", folder, folder.parent / "out", "--no-onnx", "--no-program")
    assert done.code == 2
    assert f"has {len(words)} tokens, its model {hf_samples.VOCABULARY}" in done.err
