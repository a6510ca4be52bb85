"""The tools around models: pipelines and the Trainer."""

from pathlib import Path

import pytest
import torch
from hf_samples import WIDTH, batch, config
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, Trainer, TrainingArguments, pipeline

from autobert_zero.hf import (
    AutoBertZeroForMaskedLM,
    AutoBertZeroForSequenceClassification,
    AutoBertZeroForTokenClassification,
    AutoBertZeroModel,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sat", "ran", "on", "a", "mat"]


def tokenizer() -> PreTrainedTokenizerFast:
    """Knows the words above."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=20,
    )


def saved(folder: Path, kind: type, **changes: object) -> str:
    """A model and its tokenizer on disk."""
    torch.manual_seed(0)
    kind(config(vocab_size=len(WORDS), **changes)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def test_fill_mask(tmp_path: Path) -> None:
    fill = pipeline("fill-mask", model=saved(tmp_path, AutoBertZeroForMaskedLM))
    assert isinstance(fill.model, AutoBertZeroForMaskedLM)
    answers = fill("the cat [MASK] on a mat", top_k=3)
    assert len(answers) == 3
    assert {answer["token_str"] for answer in answers} <= set(WORDS)


def test_text_classification(tmp_path: Path) -> None:
    folder = saved(tmp_path, AutoBertZeroForSequenceClassification, id2label={0: "no", 1: "yes"})
    answers = pipeline("text-classification", model=folder)(["the cat sat", "a dog"], batch_size=2)
    assert all(answer["label"] in ("no", "yes") for answer in answers)


def test_feature_extraction(tmp_path: Path) -> None:
    extract = pipeline("feature-extraction", model=saved(tmp_path, AutoBertZeroModel))
    (tokens,) = extract("the cat sat")
    assert (len(tokens), len(tokens[0])) == (5, WIDTH)


def test_batches_of_a_pipeline_change_nothing(tmp_path: Path) -> None:
    extract = pipeline("feature-extraction", model=saved(tmp_path, AutoBertZeroModel))
    texts = ["the cat sat on a mat", "a dog"]
    together, alone = extract(texts, batch_size=2), extract(texts)
    torch.testing.assert_close(torch.tensor(together[1][0][:4]), torch.tensor(alone[1][0]))


def test_token_classification(tmp_path: Path) -> None:
    folder = saved(tmp_path, AutoBertZeroForTokenClassification, id2label={0: "noun", 1: "verb"})
    answers = pipeline("token-classification", model=folder)("the cat sat")
    assert [answer["word"] for answer in answers] == ["the", "cat", "sat"]


def dataset() -> list[dict[str, torch.Tensor]]:
    """Eight padded sequences with a class each."""
    inputs = [batch(seed) for seed in range(3)]
    rows = [{name: value[row] for name, value in part.items()} for part in inputs for row in range(3)]
    return [row | {"labels": torch.tensor(index % 2)} for index, row in enumerate(rows[:8])]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trainer(checkpointing: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoBertZeroForSequenceClassification(config())
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        gradient_checkpointing=checkpointing,
        learning_rate=1e-2,
        logging_steps=1,
        save_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=dataset(), eval_dataset=dataset())
    result = trainer.train()
    assert result.global_step == 2
    assert 0.3 < result.training_loss < 1.5  # a mean over the accumulated batches, not their sum
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters() if "weight" in name)
    assert trainer.evaluate()["eval_loss"] > 0
    assert trainer.predict(dataset()).predictions.shape == (8, 2)
    loaded = AutoBertZeroForSequenceClassification.from_pretrained(tmp_path / "checkpoint-2")
    assert torch.equal(loaded.classifier.weight, model.classifier.weight)
