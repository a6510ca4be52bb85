"""The search without training: strategies, limits, ranking and history; `search_runs` trains.

Called, the package runs a search: `autobert_zero.search("runs/demo")`, see `autobert_zero.api.search`.
"""

from autobert_zero.callable_package import make_callable

make_callable(__name__)
