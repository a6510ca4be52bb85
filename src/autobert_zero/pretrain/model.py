"""The model of a pre-training: new, or from the shared weights of a search; and the folder it ends in."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.config import SearchConfig, read_yaml, resolve
from autobert_zero.encoder_config import TRUNK
from autobert_zero.errors import UserError
from autobert_zero.files import follow_umask
from autobert_zero.hf import from_masked_lm
from autobert_zero.hf.tokenizer import as_berts
from autobert_zero.nn import MaskedLM, PreTraining, WeightBank
from autobert_zero.pretrain.config import PretrainConfig

_POSITIONS = "encoder.embeddings.position.weight"


def new_model(config: PretrainConfig, vocabulary: int) -> MaskedLM:
    """A model with new weights, a function of the seed, or with those of a search's weight bank.

    Args:
        config: The config.
        vocabulary: Number of token ids.

    Raises:
        UserError: The bank is of other sizes, missing or damaged.
    """
    torch.manual_seed(config.seed)
    kind = PreTraining if config.text.next_sentence else MaskedLM
    sizes = config.model.encoder_config(vocabulary, config.positions)
    model = kind(config.layers(), sizes)
    if config.start is not None:
        _inherit(model, Path(config.start))
    model.encoder.checkpointing = config.recipe.gradient_checkpointing
    return model


def _inherit(model: MaskedLM, run: Path) -> None:
    """Copies a backbone's part of the shared weights of a search; positions past the search's stay new."""
    searched = search_config(run)
    if searched.proxy.sharing == "none":
        raise UserError(f"the search in {run} shared no weights (proxy.sharing: none); leave --start out")
    snapshots = sorted((run / "bank").glob("*.safetensors"))
    if not snapshots:
        raise UserError(f"{run} has no shared weights in {run / 'bank'}; choose another run to start from")
    own = model.encoder.config
    vocabulary = Tokenizer.from_file(str(run / "tokenizer.json")).get_vocab_size()
    sizes = searched.model.encoder_config(vocabulary, searched.data.length)
    depth = len(model.encoder.layers)
    wrong = [
        f"{name} {theirs}, not {ours}"
        for name, theirs, ours in (
            ("layers", searched.model.layers, depth),
            *(
                (name, getattr(sizes, name), getattr(own, name))
                for name in ("vocab_size", "width", "heads", "inner", *TRUNK)
            ),
        )
        if theirs != ours
    ]
    if wrong:
        raise UserError(f"the shared weights of {run} are of {', '.join(wrong)}")
    bank = WeightBank(sizes, depth)
    try:
        bank.load_state(load_file(snapshots[-1]))
    except Exception as error:  # safetensors has its own kinds for each damage
        raise UserError(f"the shared weights {snapshots[-1]} cannot be used: {error}") from error
    heir = MaskedLM(model.encoder.backbone, sizes)
    bank.inherit(heir)
    weights = heir.state_dict()
    known = weights.pop(_POSITIONS, None)
    model.load_state_dict(weights, strict=False)
    table = model.encoder.embeddings.position
    if table is not None:
        count = min(table.num_embeddings, len(known))
        with torch.no_grad():
            table.weight[:count] = known[:count]


def search_config(run: Path) -> SearchConfig:
    """The config of a search.

    Raises:
        UserError: There is none in the folder.
    """
    if not (run / "config.yaml").exists():
        raise UserError(f"{run} holds no search (no config.yaml)")
    return resolve(SearchConfig(), read_yaml(run / "config.yaml"))


def save_model(config: PretrainConfig, weights: dict[str, Tensor], tokenizer: Tokenizer, out: Path) -> None:
    """Writes a model and its tokenizer as `save_pretrained` does.

    Args:
        config: Of the pre-training.
        weights: By the names of the plain model.
        tokenizer: The tokenizer.
        out: The folder.
    """
    vocabulary = len(weights["encoder.embeddings.token.weight"])
    model = new_model(config.model_copy(update={"start": None}), vocabulary)
    model.load_state_dict(weights)
    from_masked_lm(model, pad_token_id=tokenizer.token_to_id("[PAD]")).save_pretrained(out)
    as_berts(tokenizer, model.encoder.config.length_limit).save_pretrained(out)
    follow_umask(out)
