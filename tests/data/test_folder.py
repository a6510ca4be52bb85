"""Which files of a folder are read; the others are passed over and counted."""

import os
from pathlib import Path

import pytest
import tiny

from autobert_zero.data.corpus import CorpusError, open_corpus
from autobert_zero.data.folder import text_files
from autobert_zero.shared_config import CorpusConfig


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def read(folder: Path) -> list[str]:
    return list(open_corpus(str(folder)).paragraphs)


def test_what_is_hidden_or_of_another_kind_is_skipped_and_counted(tmp_path: Path) -> None:
    write(tmp_path, **{"a.txt": "one", "B.TXT": "two", "._a.txt": "\0\1", ".c.txt": "no", "d.pdf": "no"})
    write(tmp_path, **{"e.csv": "text\nno", "README.md": "no", "empty.txt": "", "noending": "no"})
    write(tmp_path / ".git", **{"f.txt": "no"})
    write(tmp_path / "__MACOSX", **{"g.txt": "no"})
    os.mkfifo(tmp_path / "pipe.txt")
    corpus = open_corpus(str(tmp_path))
    assert sorted(corpus.paragraphs) == ["one", "two"]
    assert dict(corpus.account.skipped) == {
        "hidden": 4,
        ".pdf": 1,
        ".csv": 1,
        ".md": 1,
        "empty": 1,
        "without an ending": 1,
        "no regular files": 1,
    }
    assert "2 files, 6 characters; skipped" in str(corpus.account)
    assert "; skipped: 1 .csv, 1 .md, 1 .pdf, 1 empty, 4 hidden" in str(corpus.account)


def test_tables_and_logs_are_read_where_there_is_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, **{"a.csv": "text\none", "b.md": "# two", "c.log": "three", "d.tsv": "n\ttext\n1\tfour"})
    write(tmp_path, **{"e.json": '[{"text": "five"}]'})
    assert read(tmp_path) == ["one", "# two", "three", "four", "five"]


def test_links_are_followed_and_each_file_is_read_once(tmp_path: Path) -> None:
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    write(corpus, **{"a.txt": "one"})
    write(elsewhere, **{"b.txt": "two"})
    (corpus / "folder").symlink_to(elsewhere)
    (corpus / "c.txt").symlink_to(elsewhere / "b.txt")
    (corpus / "loop").symlink_to(corpus)
    (corpus / "dangling.txt").symlink_to("nothing")
    assert read(corpus) == ["one", "two"]
    assert dict(text_files(corpus).skipped) == {"linked twice": 2, "dangling links": 1}
    (tmp_path / "link").symlink_to(corpus)
    assert read(tmp_path / "link") == ["one", "two"]


@pytest.mark.parametrize(
    "mark", ["run.json", ".lock", "pretrain.yaml", "model.safetensors", "seed_backbones.json"]
)
def test_runs_and_models_are_no_corpus(tmp_path: Path, mark: str) -> None:
    write(tmp_path, **{"a.txt": "one"})
    write(tmp_path / "deep" / "run", **{mark: "", "metrics.jsonl": '{"text": "no"}', "best.txt": "no"})
    write(tmp_path / "deep" / "run" / "tensorboard", **{"b.txt": "no"})
    assert read(tmp_path) == ["one"]
    with pytest.raises(CorpusError, match="is the folder of a run or a model"):
        open_corpus(str(tmp_path / "deep" / "run"))


def test_several_corpora(tmp_path: Path) -> None:
    write(tmp_path / "one", **{"a.txt": "one"})
    write(tmp_path, **{"b.csv": "text\ntwo"})
    names = (str(tmp_path / "b.csv"), str(tmp_path / "one"))
    corpus = open_corpus(CorpusConfig(corpus=names))
    assert list(corpus.paragraphs) == ["two", "one"]
    assert corpus.name == ", ".join(names)
    assert corpus.account.files == 2
    with pytest.raises(CorpusError, match="missing' does not exist"):
        open_corpus(CorpusConfig(corpus=(*names, str(tmp_path / "missing"))))


def test_what_is_named_twice_is_read_once(tmp_path: Path) -> None:
    """Else a text would be both trained on and held out."""
    write(tmp_path / "one", **{"a.txt": "one", "b.txt": "two"})
    (tmp_path / "link.txt").symlink_to(tmp_path / "one" / "b.txt")
    names = (tmp_path / "one", tmp_path / "one" / "a.txt", tmp_path / "link.txt", tmp_path / "one")
    corpus = open_corpus(CorpusConfig(corpus=tuple(map(str, names))))
    assert list(corpus.paragraphs) == ["one", "two"]
    assert corpus.account.files == 2
    assert str(corpus.account).endswith("; skipped: 3 given twice")


def test_several_options(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("\n".join(tiny.paragraphs(80, seed=ord(name[0]))))
    both = (tmp_path / "a.txt", tmp_path / "b.txt")
    call = ["pretrain", "--backbone", "conv 3", "--set", "data.vocab_size=200", "--out", tmp_path / "out"]
    call += ["--set", "phases=[{steps: 1, length: 16, batch_size: 4}]"]
    done = tiny.command(*call, "--corpus", both[0], "--corpus", both[1])
    assert done.code == 0, done.err
    assert all(str(path) in (tmp_path / "out" / "pretrain.yaml").read_text() for path in both)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    for name in ("closed", "closed/inside"):
        with pytest.raises(CorpusError, match=r"cannot be read: Permission denied"):
            open_corpus(str(tmp_path / name))
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "~no-such-user/books", "books/" * 900])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(CorpusError) as caught:
        open_corpus(name)
    assert "\n" not in str(caught.value)
