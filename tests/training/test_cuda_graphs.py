"""Recordings of a card: one stream for all, and a failed one leaves nothing behind. The card is a fake."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch.nn import functional as F

from autobert_zero.training import cuda_graphs
from autobert_zero.training.cuda_graphs import CudaGraphs


class Stream:
    made = 0

    def __init__(self, card: int) -> None:
        Stream.made += 1
        self.device = torch.device("cuda", card)

    def wait_stream(self, other: "Stream") -> None:
        pass


class Generator:
    """Until PyTorch 2.11 a failed recording leaves it in the state of a recording, in which no copy is."""

    recording = False

    def clone_state(self) -> bool:
        return False

    def graphsafe_set_state(self, recording: bool) -> None:
        self.recording = recording


class Card:
    def __init__(self) -> None:
        self.current = self.main = Stream(1)
        self.generators = [Generator(), Generator()]

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Any, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        """As PyTorch's, it restores nothing if the recording fails."""
        before, self.current, self.generators[1].recording = self.current, stream, True
        yield
        self.current, self.generators[1].recording = before, False


@pytest.fixture
def card() -> Iterator[Card]:
    made = Card()
    fakes: dict[str, Any] = {
        "CUDAGraph": mock.Mock,
        "Stream": Stream,
        "current_device": lambda: 1,
        "current_stream": lambda device: made.current,
        "default_generators": made.generators,
        "graph": made.graph,
        "stream": made.stream,
    }
    cuda_graphs._recorded_stream.cache_clear()
    with mock.patch.multiple(torch.cuda, **fakes):
        yield made
    cuda_graphs._recorded_stream.cache_clear()


def test_a_failed_recording_leaves_no_trace(card: Card) -> None:
    def fail() -> None:
        assert card.current is not card.main
        assert card.generators[1].recording
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaGraphs(torch.device("cuda:1")).record(fail)
    assert card.current is card.main
    assert not any(each.recording for each in card.generators)


def test_all_recordings_of_a_card_share_a_stream(card: Card) -> None:
    before, streams = Stream.made, list[Stream]()

    def note() -> int:
        streams.append(card.current)
        return 7

    for name in ("cuda:1", "cuda", "cuda:1"):
        graphs = CudaGraphs(torch.device(name))
        assert graphs.aside(note) == 7
        assert graphs.record(note)[0] == 7
    assert Stream.made == before + 1
    assert len(streams) == 6
    assert set(streams) == {streams[0]}
    assert card.current is card.main


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_card_draws_random_numbers_after_a_failed_recording() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    x, before = torch.ones(1000, device=device), torch.cuda.current_stream()
    graphs = CudaGraphs(device)
    with pytest.raises(RuntimeError):
        graphs.record(lambda: F.dropout(x).sum().item())
    assert torch.cuda.current_stream() == before
    torch.cuda.synchronize()
    torch.manual_seed(0)
    first = F.dropout(x)
    torch.manual_seed(0)
    assert 0 < int((first == 0).sum()) < 1000
    assert torch.equal(F.dropout(x), first)
    result, replay = graphs.record(lambda: F.dropout(x))
    replay()
    assert 0 < int((result == 0).sum()) < 1000
