"""Semantic search: pre-train a small model, train it on pairs of sentences, and search with it.

Five minutes on a laptop's CPU; the text is the embedded corpus (the King James Bible). Needs
sentence-transformers: pip install 'sentence-transformers>=5.2'. Run it with

    python examples/semantic_search.py

Two environment variables: SEARCH_STEPS is the number of training steps (300), SEARCH_OUT the folder for what
is made (runs/semantic-search).
"""

import os
import re
from pathlib import Path

import numpy as np
from datasets import Dataset
from rich.console import Console
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sklearn.feature_extraction.text import TfidfVectorizer

import autobert_zero.hf  # noqa: F401 - sentence-transformers then loads our models without remote code
from autobert_zero.data.corpus import open_corpus
from autobert_zero.export import export
from autobert_zero.pretrain.presets import demo_pretraining
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars, quiet_transformers
from autobert_zero.settings import resolve
from autobert_zero.zoo import hybrid

STEPS = int(os.environ.get("SEARCH_STEPS", "300"))
OUT = Path(os.environ.get("SEARCH_OUT", "runs/semantic-search")) / f"{STEPS}-steps"
QUESTIONS = ["Who built the ark?", "a great storm on the sea", "how to treat a stranger"]
PASSAGES = [
    "And Noah made the ark of gopher wood, as God commanded him.",
    "And there arose a great tempest, and the waves beat into the ship.",
    "Thou shalt not oppress him that dwelleth with thee in the land of another people.",
    "And the king made a feast unto all his princes and his servants.",
    "The harvest is plenteous, but the labourers are few.",
    "And he took five stones out of the brook, and his sling was in his hand.",
]


def neighbours(paragraphs: list[str]) -> list[tuple[str, str]]:
    """Sentences that follow one another: what belongs together, without a label by hand."""
    pairs = []
    for paragraph in paragraphs:
        sentences = [text for text in re.split(r"(?<=[.?!]) ", paragraph) if 40 < len(text) < 250]
        pairs += list(zip(sentences[::2], sentences[1::2], strict=False))
    return pairs


def share_found(queries: np.ndarray, answers: np.ndarray) -> float:
    """Share of the queries, (N, d), whose own answer, (N, d), is the nearest by cosine."""
    queries, answers = (
        each / np.linalg.norm(each, axis=1, keepdims=True).clip(1e-9) for each in (queries, answers)
    )
    return float(((queries @ answers.T).argmax(1) == np.arange(len(queries))).mean())


def train(model: SentenceTransformer, pairs: list[tuple[str, str]]) -> None:
    """Each sentence has to find the one that follows it among those of its batch."""
    data = Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]})
    settings = SentenceTransformerTrainingArguments(
        str(OUT / "training"),
        max_steps=STEPS,
        per_device_train_batch_size=64,
        learning_rate=1e-3,
        warmup_steps=STEPS // 10,
        seed=0,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    loss = MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model, settings, train_dataset=data, loss=loss).train()
    model.eval()


def main() -> None:
    """Makes all of it, and prints what the searches find."""
    quiet_transformers()
    changes = {"phases": [{"steps": STEPS}], "report": {"evaluated_sequences": 256}}
    with Bars(Console()) as progress:
        run_pretraining(resolve(demo_pretraining(hybrid(4)), changes), OUT / "pretrained", progress)
    if not (OUT / "embedder").exists():
        export(OUT / "pretrained", OUT / "embedder", (), sentence_embeddings="mean")
    model = SentenceTransformer(str(OUT / "embedder"))

    paragraphs = list(open_corpus("kjv").paragraphs)
    held_out = neighbours(paragraphs[::5])[::5][:200]
    queries, answers = ([pair[side] for pair in held_out] for side in (0, 1))
    words = TfidfVectorizer().fit([*queries, *answers])
    found = {
        "words alone (TF-IDF)": share_found(
            words.transform(queries).toarray(), words.transform(answers).toarray()
        )
    }
    found["pre-trained"] = share_found(model.encode(queries), model.encode(answers))
    train(model, neighbours([text for place, text in enumerate(paragraphs) if place % 5]))
    found["trained on pairs"] = share_found(model.encode(queries), model.encode(answers))
    for name, share in found.items():
        print(f"{name}: the next sentence is the nearest of {len(held_out)} for {share:.1%}")

    model.save(str(OUT / "trained-embedder"))
    searcher = SentenceTransformer(str(OUT / "trained-embedder"))
    similarities = searcher.similarity(searcher.encode(QUESTIONS), searcher.encode(PASSAGES))
    for question, row in zip(QUESTIONS, similarities, strict=True):
        print(f"{question} -> {PASSAGES[int(row.argmax())]} ({row.max():.2f})")


if __name__ == "__main__":
    main()
