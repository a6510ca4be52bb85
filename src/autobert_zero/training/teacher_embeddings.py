"""Embeddings of a teacher, computed one packed sequence at a time, so that they can be cached.

So the embeddings of a sequence do not depend on its batch and have the same bits whether they were cached or
not. On a CPU that is as fast as whole batches.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from autobert_zero.data.cache import cache_path
from autobert_zero.data.kept_vectors import KeptVectors, Vectors
from autobert_zero.data.masking import MaskedBatch
from autobert_zero.nn.documents import layout
from autobert_zero.nn.encoder import Encoder
from autobert_zero.nn.source_files import SOURCE_FILES
from autobert_zero.training.precision import Precision, autocast, resolve_precision
from autobert_zero.training.texts import text_starts, unmasked


@dataclass(frozen=True)
class TeacherEmbeddings:
    """Embeddings of texts of packed sequences, on the CPU.

    Attributes:
        encoder: The teacher's encoder in evaluation mode.
        cls_id: Id of `[CLS]`, put before texts that lack it.
        precision: Number format of the forward passes.
        kept: The cache of embeddings.
    """

    encoder: Encoder
    cls_id: int
    precision: Precision
    kept: KeptVectors

    def embed(self, batch: MaskedBatch) -> Tensor:
        """The mean last states of all texts of a batch, (texts, d), in order."""
        starts = text_starts(batch)
        rows = zip(unmasked(batch).numpy(), starts.numpy(), strict=True)
        return torch.cat([torch.from_numpy(self._row(ids, begins)) for ids, begins in rows])

    def _row(self, ids: NDArray[np.int64], starts: NDArray[np.bool_]) -> Vectors:
        key = hashlib.blake2b(ids.tobytes() + starts.tobytes(), digest_size=16).digest()
        vectors = self.kept.get(key)
        if vectors is None:
            vectors = self._compute(ids, starts)
            self.kept.add(key, vectors)
        return vectors

    @torch.no_grad()
    def _compute(self, ids: NDArray[np.int64], starts: NDArray[np.bool_]) -> Vectors:
        """Embeds the texts of one sequence (n,); returns (texts, d)."""
        missing = np.flatnonzero(starts & (ids != self.cls_id))
        begins = starts.copy()
        begins[missing] = False  # the inserted [CLS] begins the text
        begins = np.insert(begins, missing, True)
        given = torch.from_numpy(np.insert(ids, missing, self.cls_id))[None]  # (1, n + missing)
        positions, documents = layout(torch.from_numpy(begins)[None])
        with autocast(self.precision, torch.device("cpu")):
            states = self.encoder(given, None, None, positions, documents)[0].float()  # (n + missing, d)
        lengths = np.diff(np.flatnonzero(begins), append=len(begins)).tolist()
        result: Vectors = torch.stack([text.mean(0) for text in states.split(lengths)]).numpy()
        return result


def keep_embeddings(
    encoder: Encoder, digest: str, cls_id: int, precision: Precision, limit: int
) -> TeacherEmbeddings:
    """Opens the cached embeddings of a teacher.

    Args:
        encoder: The teacher's encoder, on the CPU.
        digest: Digest of its weights.
        cls_id: Id of `[CLS]`.
        precision: Number format of the forward passes.
        limit: Maximum bytes of all embeddings in the cache, including those that all processes add.

    Raises:
        CacheError: The cache may not be read.
    """
    precision = resolve_precision(precision, torch.device("cpu"))
    # Everything that the bits of a vector depend on, besides the code that computes them.
    how = (
        *(digest, "\n".join(encoder.backbone.to_list()), encoder.config, precision),
        *(torch.get_num_threads(), torch.__version__, torch.backends.cpu.get_cpu_capability()),
    )
    processes = distributed.get_world_size() if distributed.is_initialized() else 1
    stem = cache_path("\n".join(map(str, how)), "", __file__, *SOURCE_FILES)
    kept = KeptVectors(stem, encoder.config.width, limit, processes)
    return TeacherEmbeddings(encoder, cls_id, precision, kept)
