"""The search: strategies know only backbones and scores; one file, `evaluate`, trains.

Called, the package runs a search: `autobert_zero.search("runs/demo")`, see `autobert_zero.api.search`.
"""

from autobert_zero.callable_package import make_callable

make_callable(__name__)
