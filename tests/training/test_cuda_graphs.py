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
    """A card; `ends` tells whether a recording that fails ends its allocation, as from PyTorch 2.13 on."""

    def __init__(self, ends: bool) -> None:
        self.current = self.main = Stream(1)
        self.generators = [Generator(), Generator()]
        self.pools: set[tuple[int, int]] = set()  # that are allocated from
        self._ends = ends
        self._made = 0

    def new_pool(self) -> tuple[int, int]:
        self._made += 1
        return (0, self._made)

    def end_allocation(self, card: int, pool: tuple[int, int]) -> None:
        assert card == 1
        if pool not in self.pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.pools.remove(pool)

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: Any, pool: tuple[int, int], stream: Stream, mode: str) -> Iterator[None]:
        """As PyTorch's, it restores little if the recording fails."""
        assert mode == "thread_local"
        assert not self.pools  # it releases cached memory, which fails then
        before, self.current, self.generators[1].recording = self.current, stream, True
        self.pools.add(pool)
        try:
            yield
        except RuntimeError:
            if self._ends:
                self.pools.remove(pool)
            raise
        self.pools.remove(pool)
        self.current, self.generators[1].recording = before, False


@pytest.fixture(params=[False, True])
def card(request: pytest.FixtureRequest) -> Iterator[Card]:
    made = Card(request.param)
    fakes: dict[str, Any] = {
        "CUDAGraph": mock.Mock,
        "Stream": Stream,
        "current_device": lambda: 1,
        "current_stream": lambda device: made.current,
        "default_generators": made.generators,
        "graph": made.graph,
        "graph_pool_handle": made.new_pool,
        "stream": made.stream,
    }
    cuda_graphs._recorded_stream.cache_clear()
    end = mock.patch.object(torch._C, "_cuda_endAllocateToPool", made.end_allocation, create=True)
    with mock.patch.multiple(torch.cuda, **fakes), end:
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
    assert CudaGraphs(torch.device("cuda:1")).record(lambda: 7)[0] == 7


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
    torch.cuda.empty_cache()
    torch.manual_seed(0)
    first = F.dropout(x)
    torch.manual_seed(0)
    assert 0 < int((first == 0).sum()) < 1000
    assert torch.equal(F.dropout(x), first)
    result, replay = graphs.record(lambda: F.dropout(x))
    replay()
    assert 0 < int((result == 0).sum()) < 1000
