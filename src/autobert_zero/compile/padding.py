"""Detects values that are zero at padding without a mask."""

from autobert_zero.compile.chain import Product, Tree


def is_clean(tree: Tree, axis: int) -> bool:
    """Whether a value is zero at padding along a token axis (-2 rows, -1 columns) without a mask."""
    if isinstance(tree, Product):
        return is_clean(tree.left if axis == -2 else tree.right, axis)
    args = [arg.expr for arg in tree.args]
    match tree.op:
        case "transpose":
            return is_clean(args[0], -3 - axis)
        case "product":
            return is_clean(args[0 if axis == -2 else 1], axis)
        case "softmax":
            return axis == tree.axis
        case "unit":
            return axis == tree.axis or is_clean(args[0], axis)
        case "softsign" | "sum" | "rotary":
            return all(is_clean(arg, axis) for arg in args)
        case "multiply":
            return any(is_clean(arg, axis) for arg in args)
    return False
