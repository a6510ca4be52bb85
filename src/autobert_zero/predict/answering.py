"""Answers questions by spans of a text, found in overlapping windows as in SQuAD."""

from collections.abc import Sequence

from transformers import AutoModelForQuestionAnswering

from autobert_zero.finetune.models import Pretrained
from autobert_zero.finetune.squad.question_answering import QuestionAnswering
from autobert_zero.finetune.squad.task import Question, Squad
from autobert_zero.predict.head import Head, Record, Runner, max_length, shortest
from autobert_zero.predict.read import Row, TaskColumns

_LENGTH = 384
"""Number of tokens in a window for models without a limit."""

_SPLIT = "texts"
_TASK = Squad("answers", "", {}, unanswerable=False)


class AnswerHead(Head):
    """Predicts the best span of each text, with its probability and that of no answer."""

    auto = AutoModelForQuestionAnswering
    task_columns = TaskColumns(counts=(2,), defaults=(("question", "context"),), shown=1)
    about = "answers"

    def __init__(self, model: Pretrained) -> None:
        self._tokenizer = model.tokenizer
        self._length = max_length(model) or _LENGTH

    def predict(self, rows: Sequence[Row], runner: Runner) -> tuple[list[Record], int]:
        questions = [
            Question(str(number), question, context, ())
            for number, (question, context) in enumerate(row.cells for row in rows)
        ]
        problem = QuestionAnswering(_TASK, {_SPLIT: questions}, self._tokenizer, self._length)
        logits = runner(
            problem.features[_SPLIT],
            lambda output, inputs: list(
                zip(
                    output.start_logits.float().cpu().numpy(),
                    output.end_logits.float().cpu().numpy(),
                    strict=True,
                )
            ),
        )
        outputs = [[pair[index] for pair in logits] for index in range(2)]
        records = []
        for question, (span, _) in zip(questions, problem.spans(_SPLIT, outputs), strict=True):
            probability, no_answer = shortest([span.probability, span.no_answer])
            records.append(
                {
                    "answer": question.context[span.begin : span.end],
                    "probability": probability,
                    "start": span.begin,
                    "end": span.end,
                    "no_answer": no_answer,
                }
            )
        return records, problem.cut

    def empty_record(self, row: Row) -> Record:
        return dict.fromkeys(("answer", "probability", "start", "end", "no_answer"))
