"""The model that a search starts from: the settings that follow from it, its students, and its copies."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from tokenizers import Tokenizer
from torch import Tensor

from autobert_zero.data.masking import MaskedBatch, Masking
from autobert_zero.encoder_config import TRUNK, EncoderConfig
from autobert_zero.errors import UserError, counted
from autobert_zero.extras import require
from autobert_zero.nn.narrow import narrow_feed_forward
from autobert_zero.nn.teacher_bank import TeacherBank
from autobert_zero.progress import quiet_transformers
from autobert_zero.search.config import SearchConfig
from autobert_zero.search.strategies.base import Refusal
from autobert_zero.search_runs.candidate_limits import OnProgress
from autobert_zero.shared_config import ModelConfig
from autobert_zero.space import KERNEL_SIZES, Attention, Backbone, Convolution, Layer, Space, sample_graph
from autobert_zero.training.copying import copy_layers
from autobert_zero.training.inner_units import measure_inner_units
from autobert_zero.training.loop import Diverged, Recipe
from autobert_zero.training.teacher import Teacher
from autobert_zero.zoo import known_layers, students

if TYPE_CHECKING:
    from autobert_zero.hf.encoders import PretrainedEncoder

_KNOWN_DEPTHS = 2
"""Number of depths, the greatest ones within the limits, at which a search begins with the known students."""

_COPYING_RATE = 1e-3
"""Peak learning rate of branches that learn to copy a teacher's layers."""


@dataclass(frozen=True)
class StartModel:
    """A model that a search starts from.

    Attributes:
        teacher: The model as a teacher of candidates.
        backbone: The layers of the model.
        weights: Weights by the names of `MaskedLM`; those of the head may be missing.
        narrowed: The same with narrower feed-forward blocks, where students have those.
    """

    teacher: Teacher
    backbone: Backbone
    weights: Mapping[str, Tensor]
    narrowed: Mapping[str, Tensor] | None = None

    masking: ClassVar = Masking(isolated=True)
    """A teacher is compared with text by text."""

    @property
    def sizes(self) -> EncoderConfig:
        """Sizes of the model."""
        return self.teacher.model.encoder.config

    @property
    def student_weights(self) -> Mapping[str, Tensor]:
        """The weights that students start from."""
        return self.weights if self.narrowed is None else self.narrowed

    def narrow(self, inner: int, batches: Iterable[MaskedBatch], device: torch.device) -> "StartModel":
        """The start of students with narrower feed-forward blocks.

        Args:
            inner: Inner width of the blocks.
            batches: Text on which the inner units that matter most are chosen.
            device: Device to compute on.
        """
        units = measure_inner_units(self.teacher.model, batches, self.teacher.cls_id, device)
        return replace(self, narrowed=narrow_feed_forward(self.weights, self.sizes, units, inner))

    def copy_layers(
        self,
        bank: TeacherBank,
        space: Space,
        batches: Iterator[MaskedBatch],
        config: SearchConfig,
        device: torch.device,
        on_step: OnProgress,
    ) -> None:
        """Trains the branches of a bank that the model lacks to copy its layers; see `training.copying`.

        Raises:
            UserError: The training diverged.
        """
        steps, batch = config.proxy.warmup_steps, config.proxy.batch_size
        if not steps:
            return
        recipe = Recipe(steps, batch, _COPYING_RATE, precision=config.precision, weight_decay=0.0)
        draw = draw_for_copying(space)
        try:
            copy_layers(bank, self.teacher, batches, recipe, draw, config.seed, device, on_step)
        except Diverged as error:
            raise UserError(
                f"copying the layers of {self.teacher.name} diverged: {error}; try precision=fp32"
            ) from error

    def known(self, space: Space, refusal: Refusal) -> dict[str, Backbone]:
        """The students that a search starts with, by name: each kind at its greatest depths."""
        by_depth = {depth: students(self.backbone, depth) for depth in reversed(space.depths)}
        known: dict[str, Backbone] = {}
        for name in by_depth[space.layers]:
            allowed = (
                (f"{name}, {counted(depth, 'layer')}", stacks[name])
                for depth, stacks in by_depth.items()
                if refusal(stacks[name].canonical()) is None
            )
            known |= islice(allowed, _KNOWN_DEPTHS)
        first: dict[str, str] = {}
        for name, student in known.items():
            first.setdefault(student.key(), name)
        return {name: known[name] for name in first.values()}


_FROM_A_MODEL: Mapping[str, Any] = {
    "space": {"min_layers": 1, "narrow": True},
    "limits": {"latency_precision": "fp32"},  # as models are loaded and compared, whatever trains them
    "proxy": {"sharing": "none", "steps": 40, "rungs": [], "score": "loss", "learning_rate": 5e-4},
    "final": {"learning_rate": 5e-4, "rates": [], "equal_time": False},
}
"""Settings of a search from a model that replace those of its preset."""


def model_settings(source: str) -> dict[str, Any]:
    """Settings of a search, by section, that follow from the model that it starts from.

    Raises:
        UserError: The model cannot be used, see `open_start_model`.
    """
    encoder = open_start_model(source)
    sizes = asdict(encoder.sizes) | {"feed_forward": encoder.sizes.inner}
    names = set(ModelConfig.model_fields) - {"dropout"}
    model = {name: value for name, value in sizes.items() if name in names}
    return {
        **_FROM_A_MODEL,
        "model": {**model, "layers": len(encoder.backbone.layers)},
        "distil": {"teacher": source},
    }


def open_start_model(source: str) -> "PretrainedEncoder":
    """Opens the model that a search starts from, without its weights.

    Raises:
        UserError: There is no such model, our layers cannot compute it, or the extra
            `pretrain` is not installed.
    """
    require("search --start", "pretrain", "transformers", "tensorboard")
    quiet_transformers()
    from autobert_zero.hf.encoders import open_encoder

    return open_encoder(source)


def load_start_model(encoder: "PretrainedEncoder", config: SearchConfig, tokenizer: Tokenizer) -> StartModel:
    """Loads the model that a search starts from.

    Raises:
        UserError: The vocabulary or the sizes of the model differ from those of the search.
    """
    from autobert_zero.data.tokenizer import load_tokenizer
    from autobert_zero.pretrain.goal import load_teacher

    settings, sizes = config.distil, encoder.sizes
    assert settings is not None
    if load_tokenizer(encoder.source).get_vocab() != tokenizer.get_vocab():
        raise UserError(f"{settings.teacher} has another vocabulary than the search was started with")
    wanted = config.model.encoder_config(sizes.vocab_size, sizes.max_positions)
    wrong = [
        f"{name} {getattr(sizes, name)}, not {getattr(wanted, name)}"
        for name in ("width", "heads", *TRUNK)
        if getattr(sizes, name) != getattr(wanted, name)
    ]
    if wanted.inner > sizes.inner:
        wrong.append(f"feed-forward blocks of {sizes.inner}, which can only be narrowed, not {wanted.inner}")
    if wrong:
        raise UserError(f"{settings.teacher} has {', '.join(wrong)}: leave the sizes of the model out")
    depth = len(encoder.backbone.layers)
    if config.model.layers > depth:
        raise UserError(
            f"model.layers is {config.model.layers}, but {settings.teacher} has {counted(depth, 'layer')}; "
            f"choose at most {depth}"
        )
    teacher = load_teacher(encoder, settings, tokenizer, config.data.length, sizes.width)
    return StartModel(teacher, encoder.backbone, encoder.weights())


def draw_for_copying(space: Space) -> Callable[[Random], Layer]:
    """Draws the layers that learn to copy a teacher's: half of the attentions are known ones."""
    known = list(known_layers(space.primitives).values())

    def draw(random: Random) -> Layer:
        if random.random() >= space.attention_share:
            return Convolution(random.choice(KERNEL_SIZES))
        if known and random.random() < 0.5:
            return random.choice(known)
        return Attention(sample_graph(random, space.max_ops, space.primitives))

    return draw
