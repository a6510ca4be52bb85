"""What is on this disk, what can only be on the Hub, and what is a mistake."""

import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError

from autobert_zero.errors import UserError
from autobert_zero.sources import check_hub, find_local


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(source: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        find_local(source, "model", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["bert-base-uncased", "google/bert_uncased_L-2_H-128_A-2", "user/data-v1.1", "a/b.c", "gpt2", "x/Y_1"],
)
def test_names_on_the_hub(source: str) -> None:
    assert find_local(source, "model") is None


def test_names_with_a_configuration() -> None:
    assert find_local("wikimedia/wikipedia:20231101.en", "corpus", configuration=True) is None
    assert "does not exist" in refused("wikimedia/wikipedia:20231101.en")


@pytest.mark.parametrize(
    "source",
    [
        *("/nowhere/model", "./model", "../model", "~/no-such-model-here", "a/b/c", "model/", "books.txt"),
        *(
            "user/books.jsonl",
            "user/books.txt.GZ",
            "with space",
            "a\0b",
            "x" * 97,
            "x" * 5000,
            "a--b",
            "a..b",
        ),
        *(".hidden", "-model", "C:\\model"),
    ],
)
def test_paths_to_nothing(source: str) -> None:
    assert "does not exist" in refused(source)


@pytest.mark.parametrize("source", ["", " ", "\n"])
def test_empty_names(source: str) -> None:
    assert "is empty" in refused(source)


def test_a_home_that_is_not_known() -> None:
    with pytest.raises(UserError, match="~nobody-here/x is in a home folder that is not known"):
        find_local("~nobody-here/x", "model")


def test_what_exists_is_local(here: Path) -> None:
    (here / "user" / "model").mkdir(parents=True)
    for source in ("user/model", "user", str(here / "user")):
        assert find_local(source, "model") == Path(source)


def test_a_name_in_an_existing_folder_is_a_path(here: Path) -> None:
    """`runs/hybird` is a slip of the hand, not a user called runs."""
    (here / "runs").mkdir()
    assert "'runs/hybird' does not exist" in refused("runs/hybird")


def test_links_and_rights(here: Path) -> None:
    (here / "link").symlink_to("nothing")
    assert "'link' is a link to nothing, which does not exist" in refused("link")
    (here / "closed").mkdir(mode=0)
    if not os.access(here / "closed", os.X_OK):  # root sees all
        assert "cannot be read: Permission denied" in refused("closed/model")


def answer_with(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> list[str]:
    asked = []

    def repo_info(self: HfApi, name: str, **options: object) -> None:
        asked.append(name)
        if error is not None:
            raise error

    monkeypatch.setattr(HfApi, "repo_info", repo_info)
    return asked


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OfflineModeIsEnabled("off"), "not on this disk, and HF_HUB_OFFLINE keeps it"),
        (ConnectionError("no route\nto host"), "the Hub cannot be asked for it: no route"),
        (RepositoryNotFoundError("404", response=mock.MagicMock()), "the Hub has no model of that name"),
        (GatedRepoError("403", response=mock.MagicMock()), "'user/typo' is gated: ask for access"),
        (TimeoutError(), "the Hub cannot be asked for it: TimeoutError"),
    ],
)
def test_a_hub_out_of_reach_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, here: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "cache"))
    asked = answer_with(monkeypatch, error)
    with pytest.raises(UserError, match=message) as caught:
        check_hub("user/typo", "model", "model")
    assert "\n" not in str(caught.value)
    assert asked == ["user/typo"]


def test_what_was_downloaded_before_needs_no_hub(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here))
    asked = answer_with(monkeypatch, None)
    (here / "models--user--model" / "snapshots").mkdir(parents=True)
    check_hub("user/model", "model", "model")
    assert asked == []
    check_hub("user/model", "corpus", "dataset")
    assert asked == ["user/model"]
