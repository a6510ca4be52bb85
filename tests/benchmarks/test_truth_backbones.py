"""The table of truth covers all attention counts, with the same backbones in every call."""

from collections import Counter

import pytest

from autobert_zero.errors import UserError
from autobert_zero.search_runs.twins import function_of
from autobert_zero.space import SETS, Backbone, Space

SPACE = Space(4, primitives=SETS["modern"])


def test_every_attention_count_has_its_share() -> None:
    from truth.backbones import choose_backbones

    chosen = choose_backbones(SPACE, 24)
    assert Counter(entry.attentions for entry in chosen) == {0: 5, 1: 5, 2: 5, 3: 5, 4: 4}
    origins = Counter(entry.origin.partition(":")[0] for entry in chosen)
    assert origins.keys() == {"known", "found", "random", "mutated"}
    assert min(origins["random"], origins["mutated"]) >= 3
    assert len({function_of(entry.backbone) for entry in chosen}) == 24
    assert choose_backbones(SPACE, 24) == chosen


def test_what_the_user_found_comes_first() -> None:
    from truth.backbones import choose_backbones

    found = Backbone.parse("conv 3\nconv 5\nconv 7\nconv 9")
    chosen = choose_backbones(SPACE, 12, [found])
    assert chosen[0].backbone == found
    assert chosen[0].origin == "found"


def test_more_backbones_keep_the_known_ones() -> None:
    from truth.backbones import choose_backbones

    few, many = choose_backbones(SPACE, 20), choose_backbones(SPACE, 30)
    known = {entry.backbone.key() for entry in few if entry.origin.startswith("known")}
    assert known <= {entry.backbone.key() for entry in many}


def test_a_winner_of_another_depth_is_refused() -> None:
    from truth.backbones import choose_backbones

    with pytest.raises(UserError, match=r"has 2 layers, the others have 4; leave out conv 3 \| conv 5"):
        choose_backbones(SPACE, 12, [Backbone.parse("conv 3\nconv 5")])
