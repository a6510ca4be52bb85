"""The graph compiler: plans a graph as the flat list of steps that `nn.compiler` runs."""

from autobert_zero.compile.fused import fused_nodes
from autobert_zero.compile.plan import Plan, PlanStep, describe_plan
from autobert_zero.compile.planner import make_plan

__all__ = ["Plan", "PlanStep", "describe_plan", "fused_nodes", "make_plan"]
