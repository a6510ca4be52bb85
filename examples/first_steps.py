# %% [markdown]
# # First steps
#
# Write a formula, train it for a minute beside BERT, fine-tune both on a small task, see the picture. Five
# minutes on a laptop's CPU; nothing is downloaded, the text is the embedded corpus (the King James Bible).
#
# Run this file, `python examples/first_steps.py`, or the notebook of the same name, which is made from it.
# Two environment variables: `FIRST_STEPS` is the number of training steps (300), `FIRST_STEPS_OUT` the
# folder for what is made (`runs/first-steps`).

# %%
import json
import os
import re
from pathlib import Path
from random import Random

from rich.console import Console

from autobert_zero.data.corpus import open_corpus
from autobert_zero.describe import describe_backbone
from autobert_zero.encoder_config import EncoderConfig
from autobert_zero.finetune.config import FinetuneConfig
from autobert_zero.finetune.suite import finetune_task
from autobert_zero.pretrain.presets import demo_pretraining
from autobert_zero.pretrain.run import run_pretraining
from autobert_zero.progress import Bars, quiet_transformers
from autobert_zero.report.draw import svg
from autobert_zero.settings import resolve
from autobert_zero.space import Backbone
from autobert_zero.zoo import bert

STEPS = int(os.environ.get("FIRST_STEPS", "300"))
OUT = Path(os.environ.get("FIRST_STEPS_OUT", "runs/first-steps")) / f"{STEPS}-steps"
quiet_transformers()

# %% [markdown]
# ## A backbone is text
#
# One layer a line: a convolution with its kernel, or an attention as a formula over projections Q, K, V, P
# of the layer's input. The third layer below is standard attention with a softplus on the keys, as the
# published backbone has it. Change what you like: a formula that does not type is an error that points at
# the column.

# %%
mine = Backbone.parse(
    """
    conv 9
    conv 5
    softmax(scale(Q @ -logsigmoid(-K).T)) @ V
    conv 3
    """
)
opponents = {"mine": mine, "BERT": bert(layers=4)}
print(describe_backbone(mine, EncoderConfig(vocab_size=4096, width=64, heads=4), length=128))

# %% [markdown]
# ## Pre-training, beside BERT
#
# The same width and depth, text, batches, masks, seed and recipe. At this horizon BERT is the easy
# opponent: attention alone stays on the plateau of unigram statistics for long, and a convolution leaves it
# at once.

# %%
models, losses = {}, {}
with Bars(Console()) as progress:
    for name, backbone in opponents.items():
        progress.say(f"pre-training {name}")
        changes = {"phases": [{"steps": STEPS}], "report": {"evaluated_sequences": 256}}
        config = resolve(demo_pretraining(backbone), changes)
        models[name] = OUT / name
        losses[name] = run_pretraining(config, models[name], progress)["holdout_loss"]
for name, loss in losses.items():
    print(f"{name}: loss {loss:.3f} on held-out text after {STEPS} steps")

# %% [markdown]
# ## A task of your own
#
# A task is a folder with a file a split, and a few lines of YAML. Here: is a sentence from the Old or the
# New Testament? Every fifth paragraph is held out. (The models have read these paragraphs while they were
# pre-trained, but nobody told them where a sentence is from.)

# %%
data = OUT / "testaments"
data.mkdir(parents=True, exist_ok=True)
paragraphs = list(open_corpus("kjv").paragraphs)
matthew = next(
    i for i, text in enumerate(paragraphs) if text.startswith("The book of the generation of Jesus")
)
random = Random(0)
for split, per_label in (("train", min(1000, 10 * STEPS)), ("validation", min(250, 10 * STEPS))):
    lines = []
    for label, span in (("old", range(matthew)), ("new", range(matthew, len(paragraphs)))):
        held_out = split == "validation"
        chosen = [paragraphs[i] for i in span if (i % 5 == 0) == held_out]
        sentences = [s for text in chosen for s in re.split(r"(?<=[.?!]) ", text) if len(s) > 60]
        lines += [json.dumps({"text": s, "label": label}) for s in random.sample(sentences, per_label)]
    (data / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
task = OUT / "testaments.yaml"
task.write_text("columns: [text]\nlabels: [old, new]\nmetrics: [accuracy]\n", encoding="utf-8")

# %% [markdown]
# ## Fine-tuning
#
# One seed and one learning rate, so a difference of a few points means little; `seeds` and `rates` take
# more. Chance is 50 %. A lower loss above need not win here: words alone tell much about the Testament.

# %%
settings = FinetuneConfig(rates=(1e-3,), seeds=1, epochs=3, length=64, steps=min(STEPS, 189))
scores = {}
with Bars(Console()) as progress:
    for name, model in models.items():
        out = OUT / f"{name}-testaments"
        scores[name] = finetune_task(model, str(task), data, out, settings, progress)
for name, score in scores.items():
    print(f"{name}: accuracy {score.average:.3f}")

# %% [markdown]
# ## The picture

# %%
(OUT / "mine.svg").write_text(svg(mine), encoding="utf-8")
print(f"the picture is {OUT / 'mine.svg'}")

# %% [markdown]
# Next: let the search find a backbone (`autobert-zero search --out runs/demo`), or put yours into its first
# population (`--seed-backbone FILE`).
