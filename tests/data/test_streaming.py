"""Streamed corpora: what is damaged is skipped, what breaks off is tried again, what is too short is said."""

import gzip
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import tiny
import torch
from test_records import damage_group
from tiny import train_tokenizer
from torch import distributed
from torch.multiprocessing.spawn import spawn

from autobert_zero.data import hub, shares, streaming
from autobert_zero.data.corpus import Corpus, CorpusError, open_corpus
from autobert_zero.data.masking import Masking, Vocabulary
from autobert_zero.data.packing import tokenise_batches
from autobert_zero.data.shares import tokenise_together
from autobert_zero.data.streaming import (
    StreamingBatches,
    StreamPosition,
    files_digest,
    first_block,
    stream_documents,
)
from autobert_zero.shared_config import CorpusConfig


@pytest.mark.parametrize("count", [20, 25])
def test_too_little_text_after_the_first_block_is_said(tmp_path: Path, count: int) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(tiny.paragraphs(count)) + "\n")
    tokenizer = train_tokenizer(open_corpus(str(path)), 200)
    batches = StreamingBatches(
        str(path), tokenizer, Vocabulary.of(tokenizer), 16, 64, (0,), Masking(), block=20
    )
    with pytest.raises(CorpusError, match="has not enough text after its first 20 paragraphs"):
        next(batches.batches_from(0))


def blocks_of_twenty(path: Path, paragraphs: int = 100) -> StreamingBatches:
    """Batches of which a block has several."""
    path.write_text("\n".join(tiny.paragraphs(paragraphs)) + "\n")
    tokenizer = train_tokenizer(open_corpus(str(path)), 200)
    return StreamingBatches(str(path), tokenizer, Vocabulary.of(tokenizer), 16, 4, (0,), Masking(), block=20)


def test_a_block_is_tokenised_ahead_by_a_thread_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = blocks_of_twenty(tmp_path / "corpus.txt")
    begun: list[str] = []
    second = threading.Event()

    def tokenise(*given: Any) -> Any:
        begun.append(threading.current_thread().name)
        if len(begun) == 2:
            second.set()
        return tokenise_together(*given)

    monkeypatch.setattr(streaming, "tokenise_together", tokenise)
    values = batches.batches_from(0)
    next(values)
    assert len(begun) == 1  # a caller of one batch pays for one block
    next(values)
    assert second.wait(60)  # while the first block has batches left
    assert batches.position.block == 1
    values.close()  # type: ignore[attr-defined]
    assert {name.split("_")[0] for name in begun} == {"blocks"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("blocks")]


def test_a_stream_goes_on_at_every_place_with_the_same_batches(tmp_path: Path) -> None:
    batches = blocks_of_twenty(tmp_path / "corpus.txt")
    known = []
    for batch in islice(batches.batches_from(0), 60):  # two passes and more
        known.append((batch, replace(batches.position)))
    assert {place.epoch for _, place in known} >= {0, 1}
    for step in (0, 7, 31, 59):
        batches.position = known[step][1]
        again = next(batches.batches_from(step))
        assert torch.equal(again.ids, known[step][0].ids)
        assert torch.equal(again.labels, known[step][0].labels)
        assert batches.position == known[step][1]


def test_a_checkpoint_keeps_the_place() -> None:
    place = StreamPosition(3, 5, 70)
    assert StreamPosition.restored(asdict(place)) == place
    assert StreamPosition.restored({"turn": 3, "block": 5, "step": 70}) == place, "an old checkpoint"


def test_an_error_of_a_block_comes_after_the_batches_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = blocks_of_twenty(tmp_path / "corpus.txt")
    first = [batch for batch in islice(batches.batches_from(0), 40) if batches.position == StreamPosition()]
    calls = iter(range(100))

    def tokenise(*given: Any) -> Any:
        if next(calls):
            raise CorpusError("the text is gone")
        return tokenise_together(*given)

    monkeypatch.setattr(streaming, "tokenise_together", tokenise)
    batches.position = StreamPosition()
    seen: list[Any] = []
    with pytest.raises(CorpusError, match="is gone"):
        seen.extend(batches.batches_from(0))
    assert len(seen) == len(first) > 1


def stream(path: Path | str, skip: int = 0) -> list[str]:
    return list(stream_documents(CorpusConfig(corpus=str(path)), skip))


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def damaged_folder(folder: Path) -> list[str]:
    """One file of each kind, each damaged in its own way; returns what can be read."""
    lines = [json.dumps({"text": text, "id": 1}) for text in texts(30)]
    lines[10], lines[20] = '{"text": ', '{"text": 7}'
    (folder / "a.jsonl").write_text("\n".join(lines))
    (folder / "b.txt").write_bytes(b"one\ngr\xfcn\ntwo\n")
    (folder / "c.txt.gz").write_bytes(gzip.compress("\n".join(texts(5000)).upper().encode())[:-2000])
    damage_group(folder / "d.parquet", texts(40))
    (folder / "e.txt").write_text("the end")
    kept = [text for number, text in enumerate(texts(30)) if number not in (10, 20)] + ["one", "two"]
    return [*kept, *(text for number, text in enumerate(texts(40)) if number not in range(10, 20)), "the end"]


def test_damaged_records_are_skipped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = damaged_folder(tmp_path)
    with caplog.at_level(logging.WARNING):
        read = stream(tmp_path)
    assert [text for text in read if not text.isupper()] == expected
    assert 1000 < sum(text.isupper() for text in read) < 5000  # the file that was cut short
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 5
    for start in ("a.jsonl' cannot be read as json: line 11", "a.jsonl', record 21: column 'text'"):
        assert any(start in line for line in said)
    for start in ("b.txt is not UTF-8", "c.txt.gz is a damaged gzip file", "row group 2 of 4"):
        assert any(start in line for line in said)


@pytest.mark.parametrize("skip", [0, 5, 25, 33])
def test_a_resume_passes_the_damage(tmp_path: Path, skip: int) -> None:
    damaged_folder(tmp_path)
    assert stream(tmp_path, skip) == stream(tmp_path)[skip:]


@pytest.mark.parametrize(("bad", "good"), [(101, 200), (150, 14_000)])
def test_too_much_damage_is_an_error(tmp_path: Path, bad: int, good: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n' * good + "{\n" * bad)
    with pytest.raises(CorpusError, match=r"records cannot be read, .* can; the last that cannot: corpus"):
        stream(path)
    path.write_text('{"text": "x"}\n' * 100 * bad + "{\n" * bad)
    assert len(stream(path)) == 100 * bad


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{\n")
    with pytest.raises(CorpusError, match=r"a\.jsonl' cannot be read as json: line 1"):
        first_block(str(tmp_path))
    (tmp_path / "a.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(CorpusError, match="is empty; it needs text"):
        first_block(str(tmp_path))
    with pytest.raises(CorpusError, match="is not streamed"):
        first_block("kjv")


def test_the_identity_is_of_the_first_block_and_all_sizes(tmp_path: Path) -> None:
    files = tmp_path / "a.txt", tmp_path / "b.txt"
    seen = set()
    for number, contents in enumerate(
        [
            ("one\ntwo\nthree", "x"),
            ("one\nten\nthree", "x"),
            ("one\nten\nthree", "xy"),
            ("one\nten\nthree\n", "x"),
        ]
    ):
        for path, content in zip(files, contents, strict=True):
            path.write_text(content)
        block = first_block(str(tmp_path), 2)
        assert block.identity == first_block(str(tmp_path), 2).identity
        assert block.account.files == 2
        seen.add(block.identity)
        assert len(seen) == number + 1


def test_shares_are_packed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    paragraphs = tiny.paragraphs(100)
    tokenizer = train_tokenizer(Corpus("tiny", "0", paragraphs), 200)
    whole = tokenise_together(paragraphs, tokenizer, 16)
    assert whole.tolist() == tokenise_batches([paragraphs], tokenizer, 16).tolist()
    monkeypatch.setattr(shares, "SHARE", 30)
    parts = [tokenise_batches([paragraphs[start : start + 30]], tokenizer, 16) for start in range(0, 100, 30)]
    assert tokenise_together(paragraphs, tokenizer, 16).tolist() == np.concatenate(parts).tolist()


def tokenise_as(rank: int, address: str, out: str) -> None:
    """What each of three processes does."""
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=3)
    paragraphs = tiny.paragraphs(100)
    shares.SHARE = 15
    tokenizer = train_tokenizer(Corpus("tiny", "0", paragraphs), 200)
    counted: list[int] = []

    def counting(batches: Any, *rest: Any) -> Any:
        counted.append(sum(map(len, batches)))
        return tokenise_batches(batches, *rest)

    vars(shares)["tokenise_batches"] = counting
    np.save(f"{out}/{rank}.npy", tokenise_together(paragraphs, tokenizer, 16))
    assert sum(counted) < 50
    distributed.destroy_process_group()


@pytest.mark.slow
def test_several_processes_tokenise_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn(tokenise_as, (f"file://{tmp_path}/rendezvous", str(tmp_path)), nprocs=3)
    paragraphs = tiny.paragraphs(100)
    tokenizer = train_tokenizer(Corpus("tiny", "0", paragraphs), 200)
    monkeypatch.setattr(shares, "SHARE", 15)
    alone = tokenise_together(paragraphs, tokenizer, 16)
    for rank in range(3):
        together = np.load(tmp_path / f"{rank}.npy")
        assert (together.dtype, together.tolist()) == (alone.dtype, alone.tolist())


class Flaky:
    """Two shards of ten records; each of the errors is raised once, after the fifth record of the second."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def load(self, *arguments: object, **options: object) -> datasets.IterableDataset:
        def records(shards: list[int]) -> Iterator[dict[str, object]]:
            for shard in shards:
                for number in range(10):
                    if (shard, number) == (1, 5) and self.errors:
                        raise self.errors.pop(0)
                    yield {"id": "a-1", "text": f"{shard} {number}"}

        return datasets.IterableDataset.from_generator(records, gen_kwargs={"shards": [0, 1]})


def on_the_hub(monkeypatch: pytest.MonkeyPatch, flaky: Flaky) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(hub, "SAMPLE", 3)
    monkeypatch.setattr(hub, "check_hub", lambda *arguments: None)
    monkeypatch.setattr(datasets, "load_dataset", flaky.load)
    monkeypatch.setattr("autobert_zero.data.hub.time.sleep", waited.append)
    return waited


ALL = [f"{shard} {number}" for shard in range(2) for number in range(10)]


def test_a_connection_that_drops_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = on_the_hub(monkeypatch, Flaky(ConnectionError("reset"), TimeoutError(), OSError("x")))
    assert stream("user/data") == ALL
    assert waited == [1, 2, 4]


def test_a_connection_that_stays_away_ends_the_stream_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = on_the_hub(monkeypatch, Flaky(*[ConnectionError("no route\nto host")] * 99))
    with pytest.raises(CorpusError, match=r"shard 2 of 2 cannot be reached, after 8 tries: no route$"):
        stream("user/data")
    assert len(waited) == 8


def test_a_damaged_shard_is_passed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    waited = on_the_hub(monkeypatch, Flaky(*[ValueError("not JSON")] * 9))
    assert stream("user/data:part.1") == ALL[:15]
    assert waited == []
    assert "shard 2 of 2 cannot be read after record 5: not JSON" in caplog.text


def test_a_run_says_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"text": text}) for text in tiny.paragraphs(150)]
    lines[5] = lines[70] = "{"
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines))
    monkeypatch.setattr(streaming.StreamingBatches.__init__, "__defaults__", (20,))
    done = tiny.command(
        *("pretrain", "--backbone", "conv 3", "--corpus", path, "--out", tmp_path / "out"),
        *("--set", "phases=[{steps: 40, length: 16, batch_size: 4}]"),
        *("--set", "data.vocab_size=200", "--set", "data.streaming=true"),
    )
    assert done.code == 0, done.err


def test_every_byte_of_streamed_files_counts_until_they_are_large(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_bytes(b"a" * 1_300_000)
    two.write_bytes(b"b" * 700_001)
    whole, sampled = files_digest([one, two]), files_digest([one, two], limit=500_000)
    assert files_digest([two, one]) != whole
    content = bytearray(one.read_bytes() + two.read_bytes())
    seen = 0
    for place in range(0, len(content), 50_021):
        changed = content.copy()
        changed[place] = ord("c")
        one.write_bytes(changed[:1_300_000])
        two.write_bytes(changed[1_300_000:])
        assert files_digest([one, two]) != whole
        seen += files_digest([one, two], limit=500_000) != sampled
    assert 5 <= seen <= 16  # about a quarter of 40
    two.write_bytes(b"b" * 700_000)
    assert files_digest([one, two], limit=500_000) != sampled
