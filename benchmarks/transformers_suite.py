"""How many of the common tests of `transformers` the models of seven backbones pass.

    python benchmarks/transformers_suite.py [--quick]

The tests and the backbones are those of tests/hf/test_transformers_suite.py; the source distribution of
`transformers` is downloaded once. `passed`, `failed` and `left_out` count tests over all backbones;
what is left out is named with the reason. `not_applicable` counts the tests that skip themselves: for other
hardware, for models that generate, see or hear. Writes benchmarks/results/transformers_suite.json and prints
it as its last line; `--quick` takes the first backbone and writes nothing.
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "hf")]
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from common_tests import run_common_tests  # noqa: E402
from test_transformers_suite import BACKBONES, left_out  # noqa: E402


def main() -> None:
    """Runs all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one backbone, and no record")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    transformers.logging.disable_progress_bar()
    table: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name, (backbone, trunk) in list(BACKBONES.items())[: 1 if quick else None]:
        outcome = run_common_tests(backbone, left_out(backbone), **trunk)
        table[name] = {
            "backbone": backbone,
            **trunk,
            "passed": len(outcome.passed),
            "failed": len(outcome.failed),
            "left_out": len(outcome.left_out),
            "not_applicable": len(outcome.skipped),
        }
        reasons |= outcome.left_out
        failed |= {f"{name}: {test}": error for test, error in outcome.failed.items()}
        print(f"{name}: {table[name]}", file=sys.stderr)
    counts = ("passed", "failed", "left_out", "not_applicable")
    result = {
        **{count: sum(row[count] for row in table.values()) for count in counts},
        "left_out_because": reasons,
        "errors": failed,
        "backbones": table,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    if not quick:
        path = ROOT / "benchmarks" / "results" / "transformers_suite.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
