"""Saving, loading, the Auto classes, and checkpoints that must be refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_samples import MIXED, STANDARD, VOCABULARY, batch, bert_config, config, randomise
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel, BertModel

from autobert_zero.errors import UserError
from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForPreTraining,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroModel,
)
from autobert_zero.hf.auto import MODELS, register
from autobert_zero.nn import MaskedLM


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model on disk."""
    folder = tmp_path_factory.mktemp("saved")
    randomise(AutoBertZeroForMaskedLM(config())).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("auto", MODELS, ids=lambda auto: auto.__name__)
def test_round_trip_through_the_auto_classes(auto: Any, tmp_path: Path) -> None:
    model = randomise(MODELS[auto](config(num_labels=3)))
    model.save_pretrained(tmp_path)
    loaded, info = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is type(model)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert loaded.config.to_diff_dict() == model.config.to_diff_dict()
    assert type(auto.from_config(config())) is type(model)


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_saved_files_follow_the_umask(tmp_path: Path, umask: int) -> None:
    """Safetensors alone makes weights that only their owner can read. Other files are left as they are."""
    other = tmp_path / "adapter_model.safetensors"
    other.touch(mode=0o600)
    before = os.umask(umask)
    try:
        AutoBertZeroForMaskedLM(config()).save_pretrained(tmp_path)
        AutoBertZeroForSequenceClassification(config()).save_pretrained(
            tmp_path / "shards", max_shard_size="5KB"
        )
    finally:
        os.umask(before)
    weights = [*tmp_path.glob("model*"), *(tmp_path / "shards").glob("model*"), tmp_path / "config.json"]
    assert len(weights) > 4
    assert {path.stat().st_mode & 0o777 for path in weights} == {0o666 & ~umask}
    assert other.stat().st_mode & 0o777 == 0o600


def test_registering_again_is_harmless() -> None:
    register()
    assert isinstance(AutoModel.from_config(config()), AutoBertZeroModel)


def test_the_decoder_is_saved_once(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]
    with safe_open(saved / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert not any("decoder" in name for name in names)
    assert {"bias", "encoder.embeddings.token.weight", "encoder.layers.0.convolution.kernel"} <= names
    model = AutoBertZeroForMaskedLM.from_pretrained(saved)
    assert model.decoder.weight is model.encoder.embeddings.token.weight
    assert model.decoder.bias is model.bias


@torch.no_grad()
def test_the_weights_that_training_writes_are_a_checkpoint(tmp_path: Path) -> None:
    trained = MaskedLM(config().parse_backbone(), config().encoder_config()).eval()
    config().save_pretrained(tmp_path)
    save_file(dict(trained.named_parameters()), tmp_path / "model.safetensors")
    loaded, info = AutoBertZeroForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = batch()["input_ids"]
    expected = trained(ids, torch.arange(ids.numel()))
    torch.testing.assert_close(loaded(ids).logits.flatten(0, 1), expected)


@torch.no_grad()
def test_an_untied_decoder(tmp_path: Path) -> None:
    model = randomise(AutoBertZeroForMaskedLM(config(tie_word_embeddings=False)))
    assert model.decoder.weight is not model.encoder.embeddings.token.weight
    model.save_pretrained(tmp_path)
    loaded = AutoBertZeroForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(loaded(**batch()).logits, model(**batch()).logits)


@torch.no_grad()
def test_heads_come_and_go(saved: Path, tmp_path: Path) -> None:
    full = AutoBertZeroForMaskedLM.from_pretrained(saved)
    expected = full(**batch(), output_hidden_states=True).hidden_states[-1]
    without = AutoBertZeroModel.from_pretrained(saved, add_pooling_layer=False)
    assert without.pooler is None
    assert torch.equal(without(**batch()).last_hidden_state, expected)
    classifier, info = AutoBertZeroForSequenceClassification.from_pretrained(
        saved, num_labels=5, output_loading_info=True
    )
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"encoder", "classifier"}
    assert {name for name in info["missing_keys"] if "encoder" in name} == {
        "encoder.pooler.dense.weight",
        "encoder.pooler.dense.bias",
    }
    assert torch.equal(classifier.encoder(**batch()).last_hidden_state, expected)
    assert classifier.num_labels == 5  # as the classifiers of transformers have it
    assert classifier.classifier.weight.shape == (5, 16)
    without.save_pretrained(tmp_path)
    again = AutoBertZeroForPreTraining.from_pretrained(tmp_path)
    assert torch.equal(again.encoder(**batch()).last_hidden_state, expected)
    assert again.decoder.bias is again.bias
    assert not again.bias.any()


def test_number_format(saved: Path) -> None:
    assert AutoModel.from_pretrained(saved, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert AutoModel.from_pretrained(saved, dtype="float64").dtype == torch.float64
    assert AutoModel.from_pretrained(saved).dtype == torch.float32


@pytest.mark.parametrize("implementation", ["eager", "sdpa", "flash_attention_2", "flex_attention"])
def test_attention_implementations_are_the_compilers_choice(saved: Path, implementation: str) -> None:
    model = AutoModel.from_pretrained(saved, attn_implementation=implementation)
    assert len(model(**batch(), output_attentions=True).attentions) == 2


def test_an_unknown_attention_implementation_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="abacus"):
        AutoModel.from_pretrained(saved, attn_implementation="abacus")


def test_another_backbone_of_other_sizes_is_refused(saved: Path) -> None:
    other = config(["conv 9", *MIXED[1:3], "softmax(scale(Q @ K.T)) @ Q"])
    with pytest.raises(UserError) as raised:
        AutoBertZeroForMaskedLM.from_pretrained(saved, config=other)
    message = str(raised.value)
    for part in (
        config().parse_backbone().key(),
        other.parse_backbone().key(),
        "layer 1 is `conv 5`, not `conv 9`",
        "encoder.layers.0.convolution.kernel is (4, 5), not (4, 9)",
        "encoder.layers.3.attention.projection.weight is (48, 16), not (32, 16)",
    ):
        assert part in message


def test_another_backbone_of_the_same_sizes_is_refused(saved: Path) -> None:
    other = config([*MIXED[:3], STANDARD])
    with pytest.raises(UserError, match=r"layer 4 is .*Tensors that differ: none"):
        AutoModel.from_pretrained(saved, config=other)
    with pytest.raises(UserError, match=r"layer 4 is .*Tensors that differ: none"):
        AutoModel.from_pretrained(saved, backbone=other.backbone)


def test_another_depth_is_refused(saved: Path) -> None:
    with pytest.raises(UserError, match=r"\(4 layers\), not .* \(5 layers\); the layers that both have"):
        AutoModel.from_pretrained(saved, config=config([*MIXED, STANDARD]))
    with pytest.raises(UserError, match=r"layers\.3\.attention\.output\.bias is not used"):
        AutoModel.from_pretrained(saved, config=config(MIXED[:3]))


def test_weights_that_are_not_of_the_folders_backbone_are_refused(saved: Path, tmp_path: Path) -> None:
    config([STANDARD, *MIXED[1:]], architectures=["AutoBertZeroForMaskedLM"]).save_pretrained(tmp_path)
    save_file(load_file(saved / "model.safetensors"), tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"weights of another backbone than \w+ \(4 layers\), which"
    ) as raised:
        AutoModel.from_pretrained(tmp_path)
    assert "layers.0.attention.output.bias is missing" in str(raised.value)
    assert ", and " in str(raised.value)


@pytest.mark.parametrize(
    ("trained", "named"), [("conv 9", "conv 3"), ("softmax(scale(Q @ K.T)) @ Q", STANDARD)]
)
def test_another_kernel_or_number_of_inputs_tells(trained: str, named: str, tmp_path: Path) -> None:
    AutoBertZeroModel(config([trained])).save_pretrained(tmp_path)
    config([named]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="weights of another backbone"):
        AutoBertZeroModel.from_pretrained(tmp_path)


def test_other_sizes_are_refused(saved: Path) -> None:
    wider = config(vocab_size=VOCABULARY + 1)
    with pytest.raises(UserError, match=r"embeddings\.token\.weight is \(50, 16\), not \(51, 16\)"):
        AutoModel.from_pretrained(saved, config=wider)
    for name, value in {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}.items():
        with pytest.raises(UserError, match="tensors of another size"):
            AutoModel.from_pretrained(saved, **{name: value})
    with pytest.raises(UserError) as refused:  # the head that is not loaded is no part of it
        AutoModel.from_pretrained(saved, intermediate_size=32)
    assert "not used" not in str(refused.value)
    model = AutoModel.from_pretrained(saved, config=wider, ignore_mismatched_sizes=True)
    assert model.embeddings.token.weight.shape == (VOCABULARY + 1, 16)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    folder = tmp_path / "model"
    config().save_pretrained(folder)
    torch.save({"trap": Trap(sprung)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has pytorch_model\.bin and no safetensors"):
        AutoModel.from_pretrained(folder)
    (folder / "pytorch_model.bin").rename(folder / "model.safetensors")
    with pytest.raises(UserError, match="damaged or not safetensors"):
        AutoModel.from_pretrained(folder)
    with pytest.raises(UserError, match="leave use_safetensors out"):
        AutoBertZeroModel.from_pretrained(folder, use_safetensors=False)
    assert not sprung.exists()


def test_a_damaged_file_is_named(saved: Path, tmp_path: Path) -> None:
    config().save_pretrained(tmp_path)
    content = (saved / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged"):
        AutoModel.from_pretrained(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    BertModel(bert_config()).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"of type bert, not autobert-zero; .*from_bert"):
        AutoBertZeroModel.from_pretrained(tmp_path)


def test_an_invalid_backbone_on_disk_is_refused(saved: Path, tmp_path: Path) -> None:
    values = json.loads((saved / "config.json").read_text())
    values["backbone"][1] = "softmax(Q @ K.T) @ W"
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="config: backbone: line 2"):
        AutoModel.from_pretrained(tmp_path)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        AutoBertZeroModel.from_pretrained(tmp_path / "nowhere")
