"""Fine-tunes a model to tag the names of people and places, on sentences that are written below.

    python examples/tag_words.py runs/hybrid runs/names

The first argument is a folder of `autobert-zero pretrain` or of `save_pretrained`, or a name on the Hub; the
second is the folder for the data, the tagged sentences and the model. It takes a minute on a laptop's CPU.
The sentences show the format, and how everything fits together: a useful tagger needs thousands.
"""

import sys
from pathlib import Path

import transformers
from rich.console import Console

import autobert_zero.hf  # noqa: F401  # the Auto classes know "autobert-zero" from here on
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.results.scores import score_table
from autobert_zero.finetune.suite import finetune_task
from autobert_zero.progress import Bars, quiet_transformers

# People are marked by (...), places by [...]; a name may have several words.
TRAIN = """\
(Ruth) went to the town of [Bethlehem] .
(Anna Lee) saw the hills of [New York] in the morning .
In [Rome] we met (David) and his son .
(Mary) and (John) came out of [Egypt] .
The king of [Babylon] sent (Daniel) a letter .
They walked from [Rome] to [Bethlehem] in nine days .
(John) told (Ruth) that the road to [New York] was long .
Then (Anna Lee) and (David) sat down by the river .
A man of [Egypt] gave bread to (Mary) .
Nobody in [Babylon] had heard of (Ruth) .
(Daniel) was the first to leave [Rome] .
The people of [New York] were glad when (John) came back .
Who has seen (Mary) , the mother of (David) ?
We stayed in [Bethlehem] and ate with (Anna Lee) .
The wind was cold and the night was dark .
(David) loved the gates of [Babylon] .
"""

VALIDATION = """\
(Mary) went to [Rome] with (Daniel) .
In [Egypt] the night was cold .
The road from [Babylon] to [New York] was dark .
(Anna Lee) gave (John) a letter .
"""

TEST = """\
(Ruth) and (David) left [New York] in the morning .
The king of [Egypt] was glad .
"""

KINDS = {"(": "PER", "[": "LOC"}
CLOSING = (")", "]")


def as_conll(text: str) -> str:
    """The sentences as one word per line with its tag in IOB2."""
    lines = []
    for sentence in text.splitlines():
        kind, first = "", False
        for piece in sentence.split():
            if piece[0] in KINDS:
                kind, first = KINDS[piece[0]], True
            tag = f"{'B' if first else 'I'}-{kind}" if kind else "O"
            lines.append(f"{piece.strip('()[]')}\t{tag}")
            kind, first = ("" if piece.endswith(CLOSING) else kind), False
        lines.append("")
    return "\n".join(lines)


def main(model: str, out: Path) -> None:
    """Writes the data, fine-tunes the model, and tags a sentence with it."""
    quiet_transformers()
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split, text in (("train", TRAIN), ("dev", VALIDATION), ("test", TEST)):
        (data / f"{split}.conll").write_text(as_conll(text))
    task = data / "names.yaml"
    task.write_text("kind: tags\n")

    settings = FinetuneConfig(rates=(1e-3, 3e-3), seeds=1, epochs=30, batch_size=4, patience=10)
    with Bars(Console()) as progress:
        score = finetune_task(model, str(task), data, out / "model", settings, progress)
    print(score_table([score]))
    print((out / "model" / "names-test.conll").read_text())

    # The first token of a word decides, as in the fine-tuning.
    tag = transformers.pipeline("token-classification", str(out / "model"), aggregation_strategy="first")
    for entity in tag("Then Mary went to New York ."):
        print(f"{entity['entity_group']}: {entity['word']} ({entity['score']:.2f})")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
