"""Makes the plan of a graph: the decisions of the compiler.

- Chains of products are multiplied in the cheapest order for n > d: (Q @ K.T) @ V becomes Q @ (K.T @ V),
  and no (n, n) matrix exists.
- softmax(A @ B.T + bias) @ C becomes one attention step. The scale of the product becomes the step's scale,
  its sign moves to the smallest factor, and the other addends become the step's bias.
- A scalar multiplies the smallest value of a chain, never an (n, n) matrix if there is a smaller value.
- A contraction over tokens needs one operand that is zero at padding. If one is already (a softmax over
  tokens gives padding no weight), nothing is masked; otherwise the smaller one is.
Equal steps become one step, so a shared value is computed and masked once.
"""

from __future__ import annotations

from functools import lru_cache, reduce

from autobert_zero.compile.algebra import MINUS, ONE, Expression, Scalar, Term, as_terms, untransposed
from autobert_zero.compile.attention import AttentionScores, Fusion
from autobert_zero.compile.chain import Chains, Product, Tree, attention_of, entry_count
from autobert_zero.compile.padding import is_clean
from autobert_zero.compile.plan import Plan, PlanStep, without_unused_steps
from autobert_zero.space import Graph
from autobert_zero.space.types import Type, swap

_NEGATED = {"softsign": "softsign", "softplus": "logsigmoid", "logsigmoid": "softplus"}
"""The g for each f with -f(x) = g(-x): if x is a product, its smallest factor takes the sign."""

_HOMOGENEOUS = ("multiply", "rotary")
"""Each f with c f(x, ...) = f(c x, ...): if x is a product, its smallest factor takes the scalar c."""


@lru_cache(maxsize=1024)
def make_plan(graph: Graph) -> Plan:
    """Plans a graph.

    Raises:
        ValueError: The graph is nested too deeply, far beyond what a search generates.
    """
    planner, output = plan_graph(graph)
    return without_unused_steps(Plan(graph.inputs, tuple(planner.steps), output))


def plan_graph(graph: Graph) -> tuple[Planner, int]:
    """Plans a graph; returns the planner, which holds the decisions, and the register of the output.

    Raises:
        ValueError: As `make_plan`.
    """
    try:
        root = as_terms(graph)[graph.root]
        planner = Planner(graph.inputs, root.expr)
        return planner, planner.value(root)
    except RecursionError:
        raise ValueError("the formula is nested too deeply to be compiled; use fewer operations") from None


class Planner:
    """Collects steps; every method that computes a value returns its register.

    Attributes:
        steps: The steps so far, with their registers.
        chains: The products of the expression.
        fusion: The decisions on fused attention.
        fused: The split operand of each softmax that runs in an attention step, by the softmax's text.
    """

    def __init__(self, inputs: tuple[str, ...], root: Expression) -> None:
        self.steps: dict[PlanStep, int] = {}
        self.chains = Chains(root)
        self.fusion = Fusion(self.chains)
        self.fused: dict[str, AttentionScores] = {}
        self._types: list[Type] = ["nd"] * len(inputs)
        self._views: dict[int, int] = {}  # register of a transpose -> register that it views
        self._registers = {name: register for register, name in enumerate(inputs)}

    def value(self, term: Term) -> int:
        """Computes a term."""
        scalar, x = term.scalar, term.expr
        if x.op == "transpose":
            return self._transpose(self.value(Term(scalar, x.args[0].expr)))
        # A value that is also needed without its scalar is computed once and then scaled.
        if scalar != ONE and self.chains.uses(x) == 1:
            if x.op == "product":
                return self._tree(self.fusion.product_tree(x), scalar)
            if x.op == "sum":
                addends = self.fusion.operands(x, scalar)
                if any(term.scalar == ONE or self._is_own_product(term.expr) for term in addends):
                    return self._add_terms(addends)
            if x.op in _HOMOGENEOUS and (position := self._own_product_in(x)) is not None:
                args = [
                    self.value(Term(scalar, arg.expr) if index == position else arg)
                    for index, arg in enumerate(x.args)
                ]
                return self._push(x.op, tuple(args), x.type)
            if scalar == MINUS and x.op in _NEGATED and self._is_own_product(x.args[0].expr):
                negated = Term(MINUS * x.args[0].scalar, x.args[0].expr)
                return self._push(_NEGATED[x.op], (self.value(negated),), x.type)
        return self._scale(self._expression(x), scalar)

    def _expression(self, x: Expression) -> int:
        if x.text not in self._registers:
            self._registers[x.text] = self._compute(x)
        return self._registers[x.text]

    def _compute(self, x: Expression) -> int:
        match x.op:
            case "product":
                return self._tree(self.fusion.product_tree(x), ONE)
            case "sum":
                return self._add_terms(self.fusion.operands(x, ONE))
            case "unit":
                return self._push("unit", (self._clean_value(x.args[0], x.axis),), x.type, axis=x.axis)
            case "previous" | "next":
                return self._push(x.op, (self._clean_value(x.args[0], -2),), x.type)
            case "euclidean":
                return self._push("euclidean", tuple([self._clean_value(arg, -1) for arg in x.args]), x.type)
        return self._push(x.op, tuple([self.value(arg) for arg in x.args]), x.type, axis=x.axis)

    # -- sums --------------------------------------------------------------------------------------

    def _add_terms(self, addends: list[Term]) -> int:
        """Adds terms; a scalar is applied once to all terms that have it, since its gradient costs a pass."""
        groups: dict[Scalar, list[int]] = {}
        for term in addends:
            if self._is_own_product(term.expr):
                groups.setdefault(ONE, []).append(self.value(term))
            else:
                groups.setdefault(term.scalar, []).append(self.value(Term(ONE, term.expr)))
        # The first group starts the sum; the additions scale the others.
        ordered = sorted(groups.items(), key=lambda group: group[0] != ONE)
        result: int | None = None
        for scalar, registers in ordered:
            part = reduce(self._add, registers)
            result = self._scale(part, scalar) if result is None else self._add(result, part, scalar)
        assert result is not None
        return result

    def _add(self, a: int, b: int, scalar: Scalar = ONE) -> int:
        return self._push("add", (a, b), self._types[a], scalar)

    def _is_own_product(self, x: Expression) -> bool:
        """Whether `x` is a product, or a view of one, that has no other use."""
        return untransposed(x).op == "product" and self.chains.uses(x) == 1

    def _own_product_in(self, x: Expression) -> int | None:
        """Index of an operand that is a product without another use; None if there is none."""
        return next((index for index, arg in enumerate(x.args) if self._is_own_product(arg.expr)), None)

    # -- products ----------------------------------------------------------------------------------

    def _tree(self, tree: Tree, scalar: Scalar, clean: int | None = None) -> int:
        """Computes scalar * tree, applying the scalar to the value with the fewest entries.

        If `clean` is a token axis, padding along it is zeroed, in a factor if that is smaller.
        """
        if clean is not None and (isinstance(tree, Expression) or tree.type != "nn"):
            result = self._tree(tree, scalar)
            return result if is_clean(tree, clean) else self._mask(result, clean)
        if isinstance(tree, Expression):
            return self.value(Term(scalar, tree))
        left = right = ONE
        if scalar != ONE and self._lightest(tree) < entry_count(tree.type):
            if self._lightest(tree.left) <= self._lightest(tree.right):
                left, scalar = scalar, ONE
            else:
                right, scalar = scalar, ONE
        softmax = attention_of(tree)
        if softmax is None or not self.fusion.is_fusable(softmax):
            result = self._matmul(tree, left, right, clean)
        elif tree.left == softmax:
            result = self._attention(softmax, self._tree(tree.right, right))
        else:
            result = self._transpose(self._attention(softmax, self._transpose(self._tree(tree.left, left))))
        return self._scale(result, scalar)

    def _lightest(self, tree: Tree) -> int:
        """Number of entries of the smallest value that is computed for a tree."""
        if isinstance(tree, Expression):
            return entry_count(tree.type)
        return min(entry_count(tree.type), self._lightest(tree.left), self._lightest(tree.right))

    def _matmul(self, tree: Product, left: Scalar, right: Scalar, clean: int | None) -> int:
        a = self._tree(tree.left, left, clean if clean == -2 else None)
        b = self._tree(tree.right, right, clean if clean == -1 else None)
        if tree.left.type[1] == "n" and not (is_clean(tree.left, -1) or is_clean(tree.right, -2)):
            # Of two equal sizes, the one with more uses is masked, since those may share the masked value.
            if self._mask_order(tree.left) < self._mask_order(tree.right):
                a = self._mask(a, -1)
            else:
                b = self._mask(b, -2)
        return self._push("matmul", (a, b), tree.type)

    def _mask_order(self, tree: Tree) -> tuple[int, int]:
        uses = self.chains.uses(tree) if isinstance(tree, Expression) else 0
        return entry_count(tree.type), -uses

    # -- attention ---------------------------------------------------------------------------------

    def _attention(self, softmax: Expression, values: int) -> int:
        """Computes softmax @ values without (n, n) matrices; the step masks padding itself."""
        scores = self.fusion.scores(softmax)
        assert scores is not None
        self.fused[softmax.text] = scores
        # The step's scale has no sign, since fused kernels take the maximum of a row before they scale.
        sign = Scalar(scores.scalar.sign)
        in_query = self._lightest(scores.query) < self._lightest(scores.key)
        args = [
            self._tree(scores.query, sign if in_query else ONE),
            self._tree(scores.key, ONE if in_query else sign),
            values,
        ]
        if scores.bias:
            args.append(self._add_terms(list(scores.bias)))
        return self._push("attention", tuple(args), "nd", Scalar(1, scores.scalar.scales))

    # -- padding -----------------------------------------------------------------------------------

    def _clean_value(self, term: Term, axis: int) -> int:
        """Computes a term, with padding zeroed along an axis that will be summed over."""
        scalar, x = term.scalar, term.expr
        if x.type[axis] != "n" or is_clean(x, axis):
            return self.value(term)
        if self._is_own_product(x):
            tree = self.fusion.product_tree(x)
            return self._tree(tree, scalar, clean=axis)
        return self._mask(self.value(term), axis)

    # -- steps -------------------------------------------------------------------------------------

    def _mask(self, register: int, axis: int) -> int:
        if register in self._views:
            return self._transpose(self._mask(self._views[register], -3 - axis))
        return self._push("mask", (register,), self._types[register], axis=axis)

    def _scale(self, register: int, scalar: Scalar) -> int:
        return self._push("scale", (register,), self._types[register], scalar) if scalar != ONE else register

    def _transpose(self, register: int) -> int:
        if register in self._views:
            return self._views[register]
        view = self._push("transpose", (register,), swap(self._types[register]))
        self._views[view] = register
        return view

    def _push(self, op: str, args: tuple[int, ...], type_: Type, scalar: Scalar = ONE, axis: int = -1) -> int:
        step = PlanStep(op, args, type_, scalar, axis)
        if step not in self.steps:
            self.steps[step] = len(self._types)
            self._types.append(type_)
        return self.steps[step]
