"""The goal of a pre-training: masked tokens, or the distance to the teacher that its config names."""

import hashlib

import torch
from tokenizers import Tokenizer

from autobert_zero.data.masking import Vocabulary
from autobert_zero.data.tokenizer import load_tokenizer
from autobert_zero.errors import UserError
from autobert_zero.hf.encoders import PretrainedEncoder, open_encoder
from autobert_zero.nn import MaskedLM
from autobert_zero.nn.inherit import inherit_weights
from autobert_zero.pretrain.config import PretrainConfig
from autobert_zero.shared_config import DistilConfig
from autobert_zero.space.inheritance import plan_inheritance
from autobert_zero.training.goal import Goal, MaskedTokens
from autobert_zero.training.teacher import Teacher


def make_goal(config: PretrainConfig, tokenizer: Tokenizer, device: torch.device) -> Goal:
    """The goal that a config names.

    Args:
        config: Config of the pre-training.
        tokenizer: Tokenizer of the student.
        device: Device to train on.

    Raises:
        UserError: The teacher cannot be used with this student.
    """
    if config.distil is None:
        return MaskedTokens(Vocabulary.of(tokenizer), config.precision)
    encoder = open_encoder(config.distil.teacher)
    if load_tokenizer(encoder.source).get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the teacher {config.distil.teacher} has another vocabulary than {config.start}; a student "
            "needs the vocabulary of its teacher"
        )
    teacher = load_teacher(encoder, config.distil, tokenizer, config.positions, config.model.width)
    return teacher.goal(len(config.backbone), config.precision, device)


def load_teacher(
    encoder: PretrainedEncoder, settings: DistilConfig, tokenizer: Tokenizer, positions: int, width: int
) -> Teacher:
    """Loads a teacher.

    Args:
        encoder: The teacher's model.
        settings: What students learn.
        tokenizer: Tokenizer of teacher and student.
        positions: Tokens in the longest sequence.
        width: Width of the student.

    Raises:
        UserError: The teacher cannot be used with this student.
    """
    sizes = encoder.sizes
    if settings.logits and not encoder.has_head:
        raise UserError(f"{settings.teacher} has no head that predicts masked tokens: set distil.logits=0")
    if sizes.length_limit is not None and positions > sizes.length_limit:
        raise UserError(
            f"sequences have {positions} tokens, the teacher has {sizes.length_limit} positions; choose "
            "shorter sequences"
        )
    heads = settings.relation_heads
    if settings.relations and (sizes.width % heads or width % heads):
        raise UserError(
            f"distil.relation_heads is {heads}, which does not divide the widths {sizes.width} (teacher) and "
            f"{width} (student)"
        )
    weights = encoder.weights()
    with torch.random.fork_rng(devices=[]):  # the student's new weights do not depend on the teacher's
        teacher = MaskedLM(encoder.backbone, sizes)
    inherit_weights(teacher, weights, encoder.backbone, plan_inheritance(encoder.backbone, encoder.backbone))
    teacher.eval().requires_grad_(False)
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode())
        content = weights[name].detach().cpu().contiguous().view(torch.uint8)  # bytes along the last axis
        digest.update(content.numpy().tobytes())
    cls_id = tokenizer.get_vocab()["[CLS]"]
    return Teacher(settings.teacher, teacher, digest.hexdigest(), cls_id, settings)
