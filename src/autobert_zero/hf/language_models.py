# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False
"""The encoder with BERT's pre-training heads, with the arguments, losses and outputs of `transformers`.

All take the arguments of `AutoBertZeroModel`. Each spells its signature out: the Trainer and the pipelines of
`transformers` read from it which columns and labels a model takes.

Axes: B batch, n tokens, d hidden size, v vocabulary.
"""

from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import ModelOutput, can_return_tuple

from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.losses import classification_loss, token_loss
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.hf.outputs import Extras, extra_outputs, head_width
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel
from autobert_zero.nn.layer import layer_norm


class _LanguageModel(AutoBertZeroPreTrainedModel):
    """An encoder that predicts tokens, with the parameters of `nn.MaskedLM`."""

    _tied_weights_keys = {  # noqa: RUF012 - read by transformers, never changed
        "decoder.weight": "encoder.embeddings.token.weight",
        "decoder.bias": "bias",
    }

    def __init__(self, config: AutoBertZeroConfig, add_pooling_layer: bool) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer)
        self.transform = nn.Linear(config.hidden_size, config.hidden_size, bias=config.biases)
        self.norm = layer_norm(config.encoder_config())
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.zeros_(self.bias)

    def get_output_embeddings(self) -> nn.Linear:
        return self.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.decoder = new_embeddings
        # Two names of one tensor would be saved once; without tied embeddings, loading does not join them.
        tied = self.config.tie_word_embeddings
        self.bias = new_embeddings.bias if tied else nn.Parameter(torch.zeros_like(new_embeddings.bias))

    def predict(self, hidden: Tensor) -> Tensor:
        """(B, n, d) -> (B, n, v) logits."""
        return self.decoder(self.norm(F.gelu(self.transform(hidden))))


class AutoBertZeroForMaskedLM(_LanguageModel):
    """Predicts masked tokens."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, add_pooling_layer=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **extras: Unpack[Extras],
    ) -> MaskedLMOutput:
        """Predicts the token at every position.

        Args:
            labels: (B, n) token ids, -100 where nothing is to be predicted.

        Returns:
            Logits (B, n, v), and with labels the mean cross-entropy.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        logits = self.predict(outputs.last_hidden_state)
        return MaskedLMOutput(
            loss=None if labels is None else token_loss(logits, labels),
            logits=logits,
            **extra_outputs(outputs),
        )


@dataclass
class AutoBertZeroForPreTrainingOutput(ModelOutput):
    """Output of `AutoBertZeroForPreTraining`.

    Attributes:
        loss: Sum of the losses whose labels were given.
        prediction_logits: (B, n, v).
        seq_relationship_logits: (B, 2); class 0: the second segment follows the first.
        hidden_states: As in `AutoBertZeroModel`.
        attentions: As in `AutoBertZeroModel`.
    """

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor | None, ...] | None = None


class AutoBertZeroForPreTraining(_LanguageModel):
    """BERT's pre-training: predicts masked tokens, and whether the second segment follows the first."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, add_pooling_layer=True)
        self.seq_relationship = nn.Linear(head_width(self.encoder), 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **extras: Unpack[Extras],
    ) -> AutoBertZeroForPreTrainingOutput:
        """Predicts tokens and the order of the segments.

        Args:
            labels: (B, n) token ids, -100 where nothing is to be predicted.
            next_sentence_label: (B,), 0 where the second segment follows the first, 1 where it does not.

        Returns:
            Logits (B, n, v) and (B, 2), and with labels the sum of the losses.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        logits = self.predict(outputs.last_hidden_state)
        order = self.seq_relationship(outputs.pooler_output)
        losses = []
        if labels is not None:
            losses.append(token_loss(logits, labels))
        if next_sentence_label is not None:
            losses.append(classification_loss(order, next_sentence_label, "single_label_classification"))
        return AutoBertZeroForPreTrainingOutput(
            loss=torch.stack(losses).sum() if losses else None,
            prediction_logits=logits,
            seq_relationship_logits=order,
            **extra_outputs(outputs),
        )
