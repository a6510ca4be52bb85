"""The search: strategies, limits, ranking and history know only backbones and scores; `search_runs` trains.

Called, the package runs a search: `autobert_zero.search("runs/demo")`, see `autobert_zero.api.search`.
"""

from autobert_zero.callable_package import make_callable

make_callable(__name__)
