from tailproof.predict.expert import open_expert as open
from tailproof.result_tables import read_results as results

__all__ = ["open", "results"]
