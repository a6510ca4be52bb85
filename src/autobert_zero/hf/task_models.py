# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False
"""The encoder with task heads, with the arguments, losses and outputs of BERT's classes in `transformers`.

All take the arguments of `AutoBertZeroModel`. Each spells its signature out: the Trainer and the pipelines of
`transformers` read from it which columns and labels a model takes.

Axes: B batch, n tokens, d hidden size, c classes.
"""

from typing import Unpack

from torch import Tensor, nn
from transformers.modeling_outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import can_return_tuple

from autobert_zero.errors import UserError
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.losses import classification_loss, span_loss, token_loss
from autobert_zero.hf.modeling import AutoBertZeroModel
from autobert_zero.hf.outputs import Extras, extra_outputs, head_width
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel


class _Classifier(AutoBertZeroPreTrainedModel):
    """An encoder with dropout and one linear layer."""

    def __init__(self, config: AutoBertZeroConfig, classes: int, add_pooling_layer: bool) -> None:
        super().__init__(config)
        self.encoder = AutoBertZeroModel(config, add_pooling_layer)
        dropout = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
        self.classifier = nn.Linear(head_width(self.encoder), classes)
        self.num_labels = classes
        self.post_init()


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
        texts = input_ids if inputs_embeds is None else inputs_embeds
        if texts is None:
            raise UserError("give either input_ids or inputs_embeds")
        choices = texts.shape[1]
        inputs = [None if tensor is None else tensor.flatten(0, 1) for tensor in given]  # (B * choices, n)
        outputs = self.encoder(*inputs, return_dict=True, **extras)
        # (B * choices, 1) -> (B, choices)
        logits = self.classifier(self.dropout(outputs.pooler_output)).view(-1, choices)
        problem = "single_label_classification"
        return MultipleChoiceModelOutput(
            loss=None if labels is None else classification_loss(logits, labels, problem),
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
