"""The table: what stands beside what, by hand."""

from typing import Any

from autobert_zero.finetune.results.scores import Score, score_table


def score(**changes: Any) -> Score:
    values: dict[str, Any] = {
        "task": "sst2",
        "rate": 1e-3,
        "seeds": 2,
        "mean": {"validation": {"accuracy": 0.8}},
        "spread": {"validation": {"accuracy": 0.01}},
    }
    return Score(**values | changes)


TRIVIAL = {
    "validation": {"majority class": {"accuracy": 0.5}, "bag of words": {"accuracy": 0.75}},
    "test": {"majority class": {"accuracy": 0.51}, "bag of words": {"accuracy": 0.9}},
}


def test_validation_and_test_have_their_own_trivial_scores() -> None:
    both = {"test": {"test": {"accuracy": 0.7}}, "test_spread": {"test": {"accuracy": 0.02}}}
    assert score_table([score(pooling="mean", trivial=TRIVIAL, **both)]).splitlines() == [
        "| task | metric | validation | trivial on validation | test | trivial on test "
        "| seeds | rate | pooling |",
        "|---|---|---|---|---|---|---|---|---|",
        "| sst2 | accuracy | 80.0 ± 1.0 | majority class 50.0, bag of words 75.0 "
        "| 70.0 ± 2.0 | majority class 51.0, bag of words 90.0 | 2 | 0.001 | mean |",
        "",
        "sst2: on test the model (accuracy 70.0) is not better than bag of words 90.0.",
    ]


def test_empty_columns_are_left_out() -> None:
    assert score_table([score()]).splitlines()[0] == "| task | metric | validation | seeds | rate |"


def test_splits_meet_by_kind_and_others_have_rows_of_their_own() -> None:
    kinds = ("validation_matched", "validation_mismatched")
    validation = {split: {"accuracy": 0.5 + number / 10} for number, split in enumerate(kinds)}
    test = {"test_mismatched": {"accuracy": 0.4}, "ax": {"accuracy": 0.3}}
    lines = score_table([score(task="mnli", mean=validation, test=test, seeds=1)]).splitlines()[2:5]
    assert lines == [
        "| mnli matched | accuracy | 50.0 | | 1 | 0.001 |",
        "| mnli mismatched | accuracy | 60.0 | 40.0 | 1 | 0.001 |",
        "| mnli ax | accuracy | | 30.0 | 1 | 0.001 |",
    ]
    (row,) = score_table(
        [score(mean={"dev": {"accuracy": 0.5}}, test={"held": {"accuracy": 0.4}}, seeds=1)]
    ).splitlines()[2:3]
    assert row == "| sst2 dev | accuracy | 50.0 | 40.0 | 1 | 0.001 |"


def test_a_constant_is_called_that() -> None:
    lines = score_table([score(constant={"validation": "1 (2 of 2 seeds)"})]).splitlines()
    assert lines[2] == "| sst2 | accuracy | 80.0 ± 1.0 (constant) | 2 | 0.001 |"
    assert lines[-1] == "sst2: on validation the model predicts 1 (2 of 2 seeds) for every example."
