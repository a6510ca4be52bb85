"""The folder of a run, shared by searches, pre-trainings and fine-tunings.

`names` has the file names, `record` says what a run was started on and by which code, `opening` starts and
continues runs.
"""

from autobert_zero.run_folder.names import FINETUNING, PRETRAINING, SEARCH, RunKind, kind_of
from autobert_zero.run_folder.opening import check_new, check_run, holds_run, open_run
from autobert_zero.run_folder.record import (
    Input,
    RunError,
    RunRecord,
    check_inputs,
    read_record,
    started_by_this_code,
    unreadable_file_error,
)

__all__ = [
    "FINETUNING",
    "PRETRAINING",
    "SEARCH",
    "Input",
    "RunError",
    "RunKind",
    "RunRecord",
    "check_inputs",
    "check_new",
    "check_run",
    "holds_run",
    "kind_of",
    "open_run",
    "read_record",
    "started_by_this_code",
    "unreadable_file_error",
]
