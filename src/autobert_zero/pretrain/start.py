"""The start of a pre-training: the shared weights of a search, or a pre-trained model."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.encoder_config import TRUNK, EncoderConfig
from autobert_zero.errors import UserError
from autobert_zero.hf.encoders import PretrainedEncoder, open_encoder
from autobert_zero.nn import MaskedLM, WeightBank
from autobert_zero.nn.inherit import inherit_weights
from autobert_zero.run_folder import SEARCH, kind_of
from autobert_zero.run_folder.names import BANK, FINALS, TOKENIZER, snapshots_of
from autobert_zero.search.config import read_search_config
from autobert_zero.search.outputs import read_winner
from autobert_zero.shared_config import CorpusConfig, ModelConfig
from autobert_zero.space import Backbone
from autobert_zero.space.inheritance import describe_inheritance, plan_inheritance

_POSITIONS = "encoder.embeddings.position.weight"


def open_start(source: str) -> "SearchStart | ModelStart":
    """Opens the start of a training: the folder of a search, or a model.

    Args:
        source: A folder, or the name of a model on the Hub.

    Raises:
        UserError: The source is neither.
    """
    if kind_of(Path(source)) is not SEARCH:
        return ModelStart(open_encoder(source))
    if read_search_config(Path(source)).distil is not None:  # its winner has weights of its own
        read_winner(Path(source))
        return ModelStart(open_encoder(str(Path(source) / FINALS)))
    return SearchStart(Path(source))


class SearchStart:
    """The shared weights of a search, which hold weights for every backbone.

    Args:
        run: The run folder.

    Raises:
        UserError: The search shared no weights.
    """

    backbone = None
    """None, since the weights serve every backbone."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.config = read_search_config(run)
        if self.config.proxy.sharing == "none":
            raise UserError(f"the search in {run} shared no weights (proxy.sharing: none); leave --start out")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of `PretrainConfig` that the search determines, by section: sizes and text."""
        data, model = (section.model_dump(mode="json") for section in (self.config.data, self.config.model))
        return {
            "data": {name: data[name] for name in CorpusConfig.model_fields if name != "tokenizer"},
            "model": {name: model[name] for name in ModelConfig.model_fields},
        }

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the search."""
        return load_tokenizer(str(self.run / TOKENIZER))

    def lines(self, backbone: Backbone) -> list[str]:
        """A description of the inherited weights, for the first lines of a command."""
        return [f"weights: every layer from the shared weights of the search in {self.run}"]

    def give(self, model: MaskedLM) -> None:
        """Copies the weights of a model's backbone; positions beyond the search's stay new.

        Raises:
            UserError: The weights are of other sizes, missing or damaged.
        """
        snapshots = snapshots_of(self.run / BANK)
        if not snapshots:
            raise UserError(
                f"{self.run} has no shared weights in {self.run / BANK}; choose another run to start from"
            )
        vocabulary = self.tokenizer().get_vocab_size()
        sizes = self.config.model.encoder_config(vocabulary, self.config.data.length)
        depth = self.config.model.layers
        what = f"the shared weights of {self.run}"
        _check_sizes(what, sizes, model.encoder.config, (depth, len(model.encoder.layers)))
        bank = WeightBank(sizes, depth)
        try:
            bank.load_state(load_file(snapshots[-1]))
        except Exception as error:  # safetensors raises several types
            raise UserError(f"the shared weights {snapshots[-1]} cannot be used: {error}") from error
        candidate = MaskedLM(model.encoder.backbone, sizes)
        bank.inherit(candidate)
        weights = candidate.state_dict()
        known = weights.pop(_POSITIONS, None)
        model.load_state_dict(weights, strict=False)
        _take_positions(model, known)


class ModelStart:
    """A pre-trained model, from which equal layers inherit everything and others what fits."""

    def __init__(self, encoder: PretrainedEncoder) -> None:
        self.encoder = encoder
        self.backbone = encoder.backbone

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of `PretrainConfig` that the model determines, by section: its sizes."""
        sizes = asdict(self.encoder.sizes) | {"feed_forward": self.encoder.sizes.inner}
        names = {*ModelConfig.model_fields, "vocab_size", "max_positions"} - {"dropout"}
        return {"model": {name: sizes[name] for name in sizes if name in names}}

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return load_tokenizer(self.encoder.source)

    def lines(self, backbone: Backbone) -> list[str]:
        """A description of the inherited weights, layer by layer, for the first lines of a command."""
        plan = plan_inheritance(backbone, self.encoder.backbone)
        head = "its" if self.encoder.has_head else "new: the model has none that is tied to its embeddings"
        start = f"weights from {self.encoder.source}; embeddings: its; masked-language-model head: {head}"
        return [start, *describe_inheritance(plan, backbone)]

    def give(self, model: MaskedLM) -> None:
        """Copies the weights that fit into a model; positions beyond the source's stay new.

        Raises:
            UserError: The weights are of other sizes, or cannot be read.
        """
        backbone, sizes = model.encoder.backbone, model.encoder.config
        plan = plan_inheritance(backbone, self.encoder.backbone)
        _check_sizes(self.encoder.source, self.encoder.sizes, sizes)
        weights = self.encoder.weights()
        known = weights.pop(_POSITIONS, None)
        inherit_weights(model, weights, self.encoder.backbone, plan)
        _take_positions(model, known)


def _check_sizes(
    what: str, source: EncoderConfig, own: EncoderConfig, layers: tuple[int, int] | None = None
) -> None:
    wrong = [
        f"{name} {source_value}, not {own_value}"
        for name, source_value, own_value in (
            *((("layers", *layers),) if layers else ()),
            *(
                (name, getattr(source, name), getattr(own, name))
                for name in ("vocab_size", "width", "heads", "inner", *TRUNK)
            ),
        )
        if source_value != own_value
    ]
    if wrong:
        raise UserError(f"{what} are of {', '.join(wrong)}" if layers else f"{what} has {', '.join(wrong)}")


@torch.no_grad()
def _take_positions(model: MaskedLM, known: Tensor | None) -> None:
    table = model.encoder.embeddings.position
    if table is not None and known is not None:
        count = min(table.num_embeddings, len(known))
        table.weight[:count] = known[:count]
