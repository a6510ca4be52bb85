# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False
"""The encoder with task heads, with the arguments, losses and outputs of BERT's classes in `transformers`.

All heads take the arguments of `AutoBertZeroModel`. The file is long because each head spells its signature
out: the Trainer and the pipelines of `transformers` read from it which columns and labels a model takes. A
base class with one `forward` for the heads whose only labels are `labels` would save 20 lines and hide what
each head takes.

Axes: B batch, n tokens, d hidden size, w width of the pooled state, v vocabulary, c classes.
"""

from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import ModelOutput, can_return_tuple

from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.losses import classification_loss, span_loss, token_loss
from autobert_zero.hf.modeling import AutoBertZeroModel, AutoBertZeroPreTrainedModel
from autobert_zero.nn.layer import layer_norm


class Extras(TypedDict, total=False):
    """Optional outputs of the encoder besides the last hidden states; see `AutoBertZeroModel`."""

    output_attentions: bool | None
    output_hidden_states: bool | None


def extra_outputs(outputs: BaseModelOutputWithPooling) -> dict[str, Any]:
    """The optional outputs of an encoder; None for those that were not requested."""
    return {"hidden_states": outputs.hidden_states, "attentions": outputs.attentions}


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
        self.bias = new_embeddings.bias

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
    """What `AutoBertZeroForPreTraining` returns.

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
        self.seq_relationship = nn.Linear(_head_width(self.encoder), 2)
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
            losses.append(F.cross_entropy(order, next_sentence_label.view(-1)))  # labels (B,)
        return AutoBertZeroForPreTrainingOutput(
            loss=torch.stack(losses).sum() if losses else None,
            prediction_logits=logits,
            seq_relationship_logits=order,
            **extra_outputs(outputs),
        )


class _Classifier(AutoBertZeroPreTrainedModel):
    """An encoder with dropout and one linear layer."""

    def __init__(self, config: AutoBertZeroConfig, classes: int, add_pooling_layer: bool) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(_head_width(self.encoder), classes)
        self.num_labels = classes
        self.post_init()


def _head_width(encoder: AutoBertZeroModel) -> int:
    """Width of a head's input: w for the pooled state, d for the tokens' states."""
    return encoder.config.hidden_size if encoder.pooler is None else encoder.pooler.width


class AutoBertZeroForSequenceClassification(_Classifier):
    """Classifies sequences, or pairs of them; regression with one label (GLUE)."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, config.num_labels, add_pooling_layer=True)

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
    ) -> SequenceClassifierOutput:
        """Classifies sequences.

        Args:
            labels: (B,) classes; or (B,) or (B, c) numbers for a regression; or (B, c) zeros and ones, as
                floats, if a sequence may have several labels. See `losses.classification_loss`.

        Returns:
            Logits (B, c), and with labels the loss.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return SequenceClassifierOutput(loss=loss, logits=logits, **extra_outputs(outputs))


class AutoBertZeroForTokenClassification(_Classifier):
    """Classifies tokens."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, config.num_labels, add_pooling_layer=False)

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
    ) -> TokenClassifierOutput:
        """Classifies tokens.

        Args:
            labels: (B, n) classes, -100 where a token has none.

        Returns:
            Logits (B, n, c), and with labels the mean cross-entropy.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        return TokenClassifierOutput(
            loss=None if labels is None else token_loss(logits, labels),
            logits=logits,
            **extra_outputs(outputs),
        )


class AutoBertZeroForMultipleChoice(_Classifier):
    """Chooses one of several continuations."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config, 1, add_pooling_layer=True)

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
    ) -> MultipleChoiceModelOutput:
        """Scores choices.

        Args:
            input_ids: (B, choices, n); the other inputs have that axis too.
            labels: (B,) indices of the right choices.

        Returns:
            Logits (B, choices), and with labels the mean cross-entropy. Hidden states and maps have B *
            choices in place of B.
        """
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        choices = next(tensor.shape[1] for tensor in (input_ids, inputs_embeds) if tensor is not None)
        inputs = [None if tensor is None else tensor.flatten(0, 1) for tensor in given]  # (B * choices, n)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        # (B * choices, 1) -> (B, choices)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, choices)
        return MultipleChoiceModelOutput(
            loss=None if labels is None else F.cross_entropy(logits, labels),
            logits=logits,
            **extra_outputs(outputs),
        )


class AutoBertZeroForQuestionAnswering(AutoBertZeroPreTrainedModel):
    """Finds the span that answers a question (SQuAD)."""

    def __init__(self, config: AutoBertZeroConfig) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **extras: Unpack[Extras],
    ) -> QuestionAnsweringModelOutput:
        """Scores every token as the start and as the end of the answer.

        Args:
            start_positions: (B,) first token of the answer; positions outside the sequence are ignored.
            end_positions: (B,) last token of the answer; likewise.

        Returns:
            Start and end logits (B, n) each, and with both positions the mean of the two losses.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        start, end = self.qa_outputs(outputs.last_hidden_state).unbind(-1)  # (B, n) each
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (span_loss(start, start_positions) + span_loss(end, end_positions)) / 2
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start,
            end_logits=end,
            **extra_outputs(outputs),
        )
