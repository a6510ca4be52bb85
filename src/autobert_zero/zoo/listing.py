"""The zoo as text, for people."""

from autobert_zero import cost
from autobert_zero.zoo.entries import ZOO

_TOKENS = 128
_HEADINGS = ("name", "layers", "width", "heads", "parameters", f"GFLOPs at {_TOKENS}", "source")


def list_zoo() -> str:
    """One line per entry; the parameters are those of the masked language model."""
    rows = [_HEADINGS]
    for name, entry in ZOO.items():
        sizes = entry.sizes
        parameters = cost.parameters(entry.backbone, sizes)
        flops = cost.flops(entry.backbone, sizes, _TOKENS)
        rows.append(
            (
                name,
                str(len(entry.backbone.layers)),
                str(sizes.width),
                str(sizes.heads),
                f"{parameters / 1e6:.1f}M",
                f"{flops / 1e9:.2f}",
                entry.source,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
