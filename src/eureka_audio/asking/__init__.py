"""One question to one model once, whatever happens on the way: keys, ledger, retries, books.

Evaluation and DataFlux stand on it. Knows no benchmark and no pipeline, and imports no torch.
"""
