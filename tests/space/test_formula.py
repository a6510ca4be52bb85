"""What people type: formulas read back exactly, and errors that point at the column."""

import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import graphs

from autobert_zero.space import FormulaError, Graph, SpaceError, canonical, format_node, parse_formula
from autobert_zero.space.formula import MAX_FORMULA_LENGTH, MAX_FORMULA_OPS


@given(graphs(max_ops=30))
def test_round_trip(graph: Graph) -> None:
    text = format_node(graph.root)
    assert parse_formula(text) == graph
    assert parse_formula(f"  ({text}) ") == graph
    assert parse_formula(text.replace(" ", "")) == graph


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("softmax(scale(Q @ K.T)) @ V", "@s/@0t12"),
        ("Q + K + V", "++012"),
        ("Q + (K + V)", "+0+12"),
        ("-Q + K", "+-01"),
        ("-(Q + K)", "-+01"),
        ("-Q.T.T + K", "+-tt01"),
        ("(-Q).T.T + K", "+tt-01"),
        ("Q @ K.T @ V", "@@0t12"),
        ("Q @ (K.T @ V)", "@0@t12"),
        ("Q @ -K.T @ V", "@@0-t12"),
        ("cosine(Q, K) @ logsigmoid(V) + euclidean(P, K) @ softsign(V)", "+@c01l2@e31g2"),
        ("Q * K", "x01"),
        ("Q * K * V", "xx012"),
        ("Q * (K * V)", "x0x12"),
        ("-Q * K + V", "+x-012"),
        ("(Q @ K.T) * (Q @ K.T) @ V", "@x@0t1@0t12"),
        ("rotary(Q) @ rotary(K).T @ amplify(sigmoid(V))", "@@o0to1^i2"),
        ("P * (previous(Q) + K + next(V))", "x3++<01>2"),
        ("Q\t+\tK", "+01"),
        ("Q + K  # a sum", "+01"),
    ],
)
def test_syntax_by_hand(formula: str, code: str) -> None:
    assert parse_formula(formula).code == code


CALLS = "scale, softmax, logsigmoid, softsign, cosine, euclidean"
FOREIGN = "is not part of a formula, which is one line of ASCII"

BAD = {
    "empty": ("", 0, "empty"),
    "blank": ("  \t", 0, "empty"),
    "ends early": ("Q @ K.T @", 9, "not a formula"),
    "unclosed": ("softmax(Q @ K.T @ V", 7, "was never closed"),
    "unopened": ("Q + K)", 5, "unmatched"),
    "two formulas": ("Q; K", 1, "not a formula"),
    "no operator": ("Q K", 2, "not a formula"),
    "statement": ("  Q = K", 4, "not a formula"),
    "unknown name": ("Q + W", 4, "unknown name 'W'; inputs are Q, K, V, P"),
    "indented": ("  Q + W", 6, "unknown name 'W'"),
    "lower case": ("softmax(q @ K.T) @ V", 8, "unknown name 'q'"),
    "dunder": ("__import__ + Q", 0, "unknown name '__import__'"),
    "primitive without call": ("Q + softmax", 4, "softmax is called with parentheses"),
    "unknown primitive": (
        "sofmax(Q @ K.T) @ V",
        0,
        f"unknown primitive 'sofmax'; calls are {CALLS}",
    ),
    "its nearest": ("rotry(Q) + K", 0, "amplify (did you mean rotary?)"),
    "operator by name": ("add(Q, K)", 0, "unknown primitive 'add'"),
    "evaluation": ("Q + eval('K')", 4, "unknown primitive 'eval'"),
    "too many operands": ("Q + scale(K, V)", 4, "scale takes 1 operand(s), got 2"),
    "too few operands": ("cosine(Q) @ K", 0, "cosine takes 2 operand(s), got 1"),
    "no operands": ("Q + softmax()", 4, "softmax takes 1 operand(s), got 0"),
    "keyword": ("Q + scale(x=K)", 4, "without keywords"),
    "double star": ("Q + scale(**K)", 4, "without keywords"),
    "star": ("Q + scale(*K)", 10, "'*K' is not part of the formula syntax"),
    "attribute": ("Q + K.t", 4, "unknown attribute .t; only .T (transpose) exists"),
    "dunder attribute": ("Q.__class__ + K", 0, "unknown attribute .__class__"),
    "method": ("Q + K.T()", 4, "'K.T()' is not part"),
    "subscript": ("Q + K[0]", 4, "'K[0]' is not part"),
    "number": ("Q + 1", 4, "'1' is not part"),
    "string": ("Q + 'K'", 4, "is not part"),
    "comparison": ("Q + (K < V)", 5, "'K < V' is not part of the formula syntax; there are @, *, +, unary -"),
    "boolean": ("Q and K", 0, "'Q and K' is not part"),
    "minus": ("V + (Q - K)", 5, "'Q - K' is not part"),
    "divided": ("Q / K", 0, "'Q / K' is not part"),
    "multiply types": ("Q * K.T", 4, "multiply expects (a, b) * (a, b), got (n, d), (d, n)"),
    "rotary types": ("V + rotary(Q @ K.T) @ K", 4, "rotary expects (n, d), got (n, n)"),
    "previous types": ("next(V.T).T + K", 0, "next expects (n, d), got (d, n)"),
    "multiply by name": ("multiply(Q, K)", 0, "unknown primitive 'multiply'"),
    "inversion": ("Q + ~K", 4, "'~K' is not part"),
    "condition": ("Q if K else V", 0, "is not part"),
    "lambda": ("Q + (lambda: K)", 5, "is not part"),
    "walrus": ("Q + (K := V)", 5, "is not part"),
    "comprehension": ("[Q for Q in K]", 0, "is not part"),
    "matmul types": ("V + Q @ K", 8, "matmul expects (a, b) @ (b, c), got (n, d), (n, d)"),
    "add types": ("Q + K.T", 4, "add expects (a, b) + (a, b), got (n, d), (d, n)"),
    "cosine types": ("V + cosine(Q, K.T) @ V", 4, "cosine expects (a, c), (b, c), got (n, d), (d, n)"),
    "output": ("  softmax(Q @ K.T)", 2, "the output must be (n, d) so that layers stack, got (n, n)"),
    "one input": ("softmax(Q @ Q.T) @ Q", 0, "at least 2 of the inputs Q, K, V, P, this one uses Q"),
    "foreign letter": ("Q + Κ", 4, r"'\u039a' " + FOREIGN),
    "letter that Python folds to Q": ("𝐐 + K", 0, r"'\U0001d410' " + FOREIGN),
    "typeset minus": (" \N{MINUS SIGN}Q + K", 1, r"'\u2212' " + FOREIGN),
    "null byte": ("Q + K\0", 5, r"'\x00' " + FOREIGN),
    "lone surrogate": ("Q + \udc80", 4, r"'\udc80' " + FOREIGN),
    "several lines": ("softmax(Q\n @ K.T) @ V", 9, r"'\n' " + FOREIGN),
    "continued line": ("Q + \\\r\nK", 5, r"'\r' " + FOREIGN),
    "too long": ("Q + " * MAX_FORMULA_LENGTH + "K", 0, "characters, more than"),
    "too many operations": ("-" * MAX_FORMULA_OPS + "Q + K", 0, "operations, more than"),
    "deep parentheses": ("(" * 1500 + "Q" + ")" * 1500, 200, "nested"),
    "deep signs": ("-" * 3500 + "Q + K", 0, "nested too deeply"),
    "end of a long line": ("Q + " * 90 + "W", 360, "unknown name 'W'"),
}


@pytest.mark.parametrize("case", BAD)
def test_error_points_at_the_column(case: str) -> None:
    text, column, problem = BAD[case]
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    error = caught.value
    assert problem in error.problem
    assert error.column == column
    assert isinstance(error, SpaceError)
    assert error.text == text
    headline, shown, caret = str(error).split("\n")
    assert headline == f"{error.problem} (column {column + 1})"
    assert caret.strip() == "^"
    assert len(shown) < 200
    if column < len(text) and text[column].isprintable():
        assert shown[len(caret) - 1] == text[column]


@pytest.mark.filterwarnings("ignore")  # Python's own, of what is no formula anyway
@settings(max_examples=500)
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from([*"QKVP()@+-., \t", ".T", "scale(", "softmax("])).map("".join)
)
@example("'\\d' + Q")
@example("1if Q else K")
def test_any_text_is_a_graph_or_a_formula_error(text: str) -> None:
    error = None
    try:
        graph = parse_formula(text)
    except FormulaError as caught:
        error = caught
    if error is None:
        assert parse_formula(format_node(graph.root)) == graph
    else:
        assert 0 <= error.column <= len(text)
        assert error.text == text


def test_errors_cross_processes() -> None:
    error = FormulaError("what", "Q + W", 4)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "what (column 5)\n    Q + W\n        ^"
    assert (copy.problem, copy.text, copy.column) == ("what", "Q + W", 4)


def test_longest_formulas_can_be_used() -> None:
    """Whatever parses can also be written, walked and put in canonical form."""
    operations = MAX_FORMULA_OPS - 1
    graph = parse_formula("softmax(" * operations + "Q" + ")" * operations + " + K")
    assert parse_formula(format_node(graph.root)) == graph
    assert len(graph.nodes) == operations + 3
    assert canonical(graph).root.size == operations + 1
