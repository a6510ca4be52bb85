# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False
"""The encoder as a Hugging Face model.

Parameters have the same names as in `autobert_zero.nn`: in `AutoBertZeroModel` those of `Encoder`, in models
with a head those of `MaskedLM`, whose encoder is called `encoder`.

Axes: B batch, n tokens, d hidden size, H heads.
"""

from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from autobert_zero.errors import UserError
from autobert_zero.hf.configuration import AutoBertZeroConfig
from autobert_zero.hf.masks import padding_mask
from autobert_zero.hf.pretrained import AutoBertZeroPreTrainedModel
from autobert_zero.nn.encoder import Embeddings, final_norm, make_layers, run_layers
from autobert_zero.nn.heads import Pooler
from autobert_zero.nn.layer import EncoderLayer


class AutoBertZeroLayer(GradientCheckpointingLayer, EncoderLayer):
    """An `EncoderLayer` with the gradient checkpointing of `transformers`."""


class AutoBertZeroModel(AutoBertZeroPreTrainedModel):
    """The encoder without a head.

    Args:
        config: Backbone and sizes.
        add_pooling_layer: Whether to pool the sequence, in the way that `classifier_pooling` sets; the pooled
            state has w = d entries, or 2 d with `cls+mean`.
    """

    def __init__(self, config: AutoBertZeroConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        sizes = config.encoder_config()
        self.embeddings = Embeddings(sizes)
        self.layers = make_layers(config.parse_backbone(), sizes, AutoBertZeroLayer)
        self.final_norm = final_norm(sizes)
        self.pooler = Pooler(config.hidden_size, config.classifier_pooling) if add_pooling_layer else None
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Encodes a batch.

        Args:
            input_ids: (B, n) token ids.
            attention_mask: (B, n), 1 at real tokens and 0 at padding; None where there is no padding. Also
                (B, n, n) or (B, 1, n, n) of ones and zeros, if it hides padding and nothing else.
            token_type_ids: (B, n) segment ids; None means all 0.
            position_ids: (B, n) or (1, n); None means 0, 1, 2, ...
            inputs_embeds: (B, n, d) in place of `input_ids`.
            output_attentions: Whether to return the attention maps (B, H, n, n) of the layers that have one,
                in their order: those whose formula has a softmax over tokens. See `GraphAttention`.
            output_hidden_states: Whether to return the embeddings and the output of every layer.

        Returns:
            The last hidden states (B, n, d), the pooled state (B, w) if there is a pooler, and the
            hidden states and maps that were requested. Hidden states of padding are unspecified.

        Raises:
            UserError: Both or neither of `input_ids` and `inputs_embeds` are given, or the mask has another
                shape.
            ValueError: n exceeds `max_position_embeddings`, with learned positions.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise UserError("give either input_ids or inputs_embeds")
        shape = inputs_embeds.shape[:2] if input_ids is None else input_ids.shape  # type: ignore[union-attr]
        mask = None
        if attention_mask is not None:
            mask = padding_mask(attention_mask, shape)
        config = self.config
        with_maps = config.output_attentions if output_attentions is None else output_attentions
        with_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states

        x = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        states: list[Tensor] | None = [x] if with_states else None
        maps: list[Tensor] | None = [] if with_maps else None
        x = self.final_norm(run_layers(self.layers, x, mask, position_ids, states=states, maps=maps))
        if states is not None:
            states[-1] = x
        return BaseModelOutputWithPooling(
            last_hidden_state=x,
            pooler_output=None if self.pooler is None else self.pooler(x, mask),
            hidden_states=None if states is None else tuple(states),
            attentions=None if maps is None else tuple(maps),
        )
