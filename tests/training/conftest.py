"""One text for all tests of the training."""

import easy
import pytest

from autobert_zero.data.splits import Splits


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return easy.written(tmp_path_factory.mktemp("easy") / "rows.npy")
