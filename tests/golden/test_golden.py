"""Golden numbers: what training, searching and fine-tuning give stays what it was, whatever is moved.

All in single precision on one thread. Processors add up in different orders, and the tolerances leave room
for that alone: over these 20 steps single precision as a whole moves no loss by more than 5e-7 from double
precision. A change that is not meant is far larger: a second moment of 0.999, a clip of 5 or an epsilon of
1e-8 moves each curve by more than 4e-3.

Record the numbers again after a change that is meant with `python tests/golden/test_golden.py`. Parameter
counts of the zoo are in tests/test_zoo.py, proposals of strategies in tests/search/test_paper_space.py.
"""

import hashlib
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1]))  # when it is run, not collected

import easy
import hf_samples
import tiny
from transformers import PreTrainedTokenizerFast

from autobert_zero.data.batches import TrainingBatches
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.hf import AutoBertZeroForMaskedLM
from autobert_zero.hf.auto import MODELS
from autobert_zero.hf.code import flat_code
from autobert_zero.nn import MaskedLM
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.history import read_trials
from autobert_zero.space import Backbone
from autobert_zero.training.language import language_objective
from autobert_zero.training.loop import Recipe, train
from autobert_zero.zoo import STACKS, ZOO

NUMBERS = Path(__file__).with_name("numbers.json")
STEP = 1e-5
"""Of a loss in a curve: twenty times what rounding does to it."""

FIGURE = 1e-4
"""Of a score or a metric, which comes after trainings that start from each other's weights."""

RECIPE = Recipe(20, batch_size=8, learning_rate=0.02, warmup=0.2, clip=0.5, precision="fp32")
BACKBONES = {
    "bert": STACKS["bert"](2),
    "hybrid": STACKS["hybrid"](2),
    "convolution": STACKS["convolution"](2),
    "published": Backbone(ZOO["autobert-zero-base"].backbone.layers[:4]),
}


def curve(backbone: Backbone, folder: Path) -> list[float]:
    """The losses of 20 steps of masked-language modelling."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    text = easy.written(folder / "rows.npy")
    model = MaskedLM(backbone, EncoderConfig(vocab_size=easy.SIZE, width=16, heads=2, max_positions=16))
    losses: list[float] = []
    batches = TrainingBatches(text.train, easy.VOCABULARY, 8, (0,)).batches_from(0)
    train(model, batches, RECIPE, language_objective("fp32"), lambda step, loss: losses.append(loss), seed=0)
    return losses


def search_config(folder: Path) -> SearchConfig:
    """Six candidates: a population of four and a round of two, from shared weights."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(tiny.paragraphs(150)), encoding="utf-8")
    final = {"finalists": 1, "screening_steps": 1, "steps": 1, "rates": [1e-3]}
    proxy = {"candidates": 6, "calibration": 0.0}
    return tiny.config(corpus, proxy=proxy, precision="fp32", device="cpu", final=final)


def searched(folder: Path) -> dict[str, Any]:
    """Keys and scores of a tiny search, and the files that it leaves."""
    settings, out = folder / "tiny.yaml", folder / "run"
    settings.write_text(search_config(folder).to_yaml(), encoding="utf-8")
    done = tiny.command("search", "--config", settings, "--out", out, "--workers", 1)
    assert done.code == 0, done.err
    trials = read_trials(out / "study.db")
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return {
        "keys": [trial.proposal.backbone.key() for trial in trials],
        "scores": [trial.outcome.score for trial in trials],
        # Names of events hold the machine and the time, those of pictures a digest that Optuna draws.
        "files": sorted(name for name in files if not name.startswith(("tensorboard/", "artifacts/"))),
    }


WORDS = ["good", "bad", "film", "play", "the", "a", "it", "was"]


def tuned(folder: Path) -> dict[str, float]:
    """The metrics of a regression over pairs of sentences: how many words they share."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    model, data, out = folder / "model", folder / "data", folder / "tuned"
    AutoBertZeroForMaskedLM(hf_samples.config(hidden_dropout_prob=0.1)).save_pretrained(model)
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    vocabulary = {word: number for number, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(model)
    data.mkdir()
    random = Random(0)
    for split, count in (("train", 48), ("validation", 24)):
        rows = []
        for _ in range(count):
            one, other = (random.sample(WORDS, 4) for _ in range(2))
            pair = {"sentence1": " ".join(one), "sentence2": " ".join(other)}
            rows.append(json.dumps({**pair, "label": float(len({*one} & {*other}))}))
        (data / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    options = ("--rates", "1e-2", "--seeds", 1, "--set", "steps=12", "--batch-size", 8, "--pooling", "cls")
    done = tiny.command(
        *("finetune", "--model", model, "--task", "stsb", "--data", data, "--out", out, "--device", "cpu"),
        *options,
        *("--set", "precision=fp32"),
    )
    assert done.code == 0, done.err
    metrics: dict[str, float] = json.loads((out / "score.json").read_text("utf-8"))["mean"]["validation"]
    return metrics


def exported() -> dict[str, str]:
    """For each model of the flat file, a digest of what others rely on: names and shapes of its weights.

    Not of its text, which changes with every comment.
    """
    module = sys.modules["flat"] = ModuleType("flat")  # where `dataclass` looks it up
    exec(compile(flat_code(), "flat.py", "exec"), module.__dict__)
    digests = {}
    for kind in MODELS.values():
        config = module.AutoBertZeroConfig(**hf_samples.config().to_dict())
        state = getattr(module, kind.__name__)(config).state_dict()
        text = "\n".join(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
        digests[kind.__name__] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return digests


def golden(part: str) -> Any:
    return json.loads(NUMBERS.read_text("utf-8"))[part]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_training_loses_what_it_did(name: str, tmp_path: Path) -> None:
    assert curve(BACKBONES[name], tmp_path) == pytest.approx(golden("losses")[name], abs=STEP)


def test_a_search_proposes_scores_and_writes_what_it_did(tmp_path: Path, shared_cache: Path) -> None:
    was, now = golden("search"), searched(tmp_path)
    assert now["keys"] == was["keys"]
    assert now["scores"] == pytest.approx(was["scores"], abs=FIGURE)
    assert now["files"] == was["files"]


def test_no_rank_of_the_search_hangs_on_rounding() -> None:
    scores = sorted(golden("search")["scores"])
    assert min(b - a for a, b in pairwise(scores)) > 10 * FIGURE


def test_a_fine_tuning_measures_what_it_did(tmp_path: Path) -> None:
    assert tuned(tmp_path) == pytest.approx(golden("fine-tuning"), abs=FIGURE)


def test_an_exported_file_has_the_classes_and_weights_that_it_had() -> None:
    assert exported() == golden("exported")


def record() -> dict[str, Any]:
    """All numbers, as they are now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        losses = {backbone: curve(BACKBONES[backbone], folder) for backbone in BACKBONES}
        return {
            "losses": losses,
            "search": searched(folder),
            "fine-tuning": tuned(folder),
            "exported": exported(),
        }


if __name__ == "__main__":
    NUMBERS.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
