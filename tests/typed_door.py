"""The Python of README.md and docs/python.md, as mypy checks it with the strict rules of a user."""

from typing import assert_type

import tailproof
from tailproof.predict.expert import Expert
from tailproof.result_tables import Results

expert = tailproof.open("lynxes")  # the folder of an expert or a bundle, or a copy of it
table = expert.predict("new/")  # a row per image: class, probability, decision

results = tailproof.results("digits_lt")
results.metrics.query("split == 'test' and metric == 'balanced_accuracy'")
results.histories.pivot(index="epoch", columns=["expert", "seed"], values="val_loss").plot()
expert = tailproof.open(results.expert("balanced_softmax", seed=0))

print(results.metrics.query("split == 'test' and metric == 'balanced_accuracy'"))
expert = tailproof.open(results.expert("balanced_softmax"))  # the folder, or a copy of it anywhere
table = expert.predict("new/", set=0.9)  # or images, arrays, a column of a table
print(table[["file", "class", "probability", "decision", "set"]])

assert_type(expert, Expert)
assert_type(results, Results)
assert_type(results.seeds, dict[str, list[int]])
