"""A plan: the flat list of steps that a compiled graph runs."""

from dataclasses import dataclass, replace

from autobert_zero.compile.algebra import ONE, Scalar
from autobert_zero.space.types import Type, show


@dataclass(frozen=True)
class PlanStep:
    """One operation of a plan.

    Attributes:
        op: A key of `compiler.OPERATIONS`, or the name of a primitive, whose kernel runs.
        args: Registers of the operands. The inputs are the first registers, then every step has its own.
        type: Symbolic type of the result.
        scalar: Factor of the operand of `scale`, the second operand of `add`, or the scores of `attention`.
        axis: Axis along which a softmax, a unit or a mask acts, -1 or -2.
    """

    op: str
    args: tuple[int, ...]
    type: Type
    scalar: Scalar = ONE
    axis: int = -1


@dataclass(frozen=True)
class Plan:
    """The operations of a compiled graph.

    Attributes:
        inputs: Names of the inputs, in the order of their registers.
        steps: The operations, in order.
        output: Register of the result.
    """

    inputs: tuple[str, ...]
    steps: tuple[PlanStep, ...]
    output: int


def without_unused_steps(plan: Plan) -> Plan:
    """Removes steps whose results are unused, such as views of a value that was masked instead."""
    first = len(plan.inputs)
    needed = {plan.output}
    for register in range(first + len(plan.steps) - 1, first - 1, -1):
        if register in needed:
            needed.update(plan.steps[register - first].args)
    registers = {old: new for new, old in enumerate(sorted(needed | set(range(first))))}
    steps = [
        replace(step, args=tuple([registers[arg] for arg in step.args]))
        for register, step in enumerate(plan.steps, start=first)
        if register in needed
    ]
    return Plan(plan.inputs, tuple(steps), registers[plan.output])


def describe_plan(plan: Plan) -> str:
    """Formats a plan for people: one line per step, with transposes as `.T` where they are used.

    `sdpa(A, B, C)` is softmax(A @ B.T) @ C, computed by `scaled_dot_product_attention`.
    """
    names = list(plan.inputs)
    lines: list[str] = []
    for step in plan.steps:
        args = [names[arg] for arg in step.args]
        if step.op == "transpose":
            names.append(f"{args[0]}.T")
            continue
        name = f"v{len(lines) + 1}"
        names.append(name)
        lines.append(f"{name} {show(step.type)} = {_step_text(step, args)}")
    return "\n".join(lines)


def _step_text(step: PlanStep, args: list[str]) -> str:
    axis = "rows" if step.axis == -2 else "columns"
    match step.op:
        case "scale":
            return f"{step.scalar} * {args[0]}"
        case "add":
            scalar = "" if str(step.scalar) == "1" else f"{step.scalar} * "
            return f"{args[0]} + {scalar}{args[1]}"
        case "matmul":
            return " @ ".join(args)
        case "multiply":
            return " * ".join(args)
        case "mask":
            return f"{args[0]} without padding in its {axis}"
        case "attention":
            bias = f"; bias {args[3]}" if len(args) > 3 else ""
            return f"sdpa({', '.join(args[:3])}; scale {step.scalar}{bias})"
        case "softmax" | "unit" if step.axis == -2:
            return f"{step.op}({args[0]}, down the columns)"
    return f"{step.op}({', '.join(args)})"
