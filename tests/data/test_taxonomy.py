import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tailproof.data.taxonomy import ancestors

CLASSES = {"family": ["F", "G"], "genus": ["a", "b"], "species": ["x", "y", "z"]}


def test_ancestors_are_told_by_labels_and_through_ranks_between():
    samples = pd.DataFrame(
        {
            "family": ["F", None, "G", None],
            "genus": ["a", "a", None, None],
            "species": ["x", "y", "z", "z"],
        }
    )
    assert ancestors(samples, list(CLASSES), dict(sorted(CLASSES.items(), reverse=True))) == {
        "family": {},
        "genus": {"family": [0, None]},
        "species": {"genus": [0, 0, None], "family": [0, 0, 1]},
    }


@given(st.data())
def test_a_tree_is_found_again_from_samples_of_it(data):
    families = data.draw(st.integers(1, 4))
    genera = data.draw(st.lists(st.integers(0, families - 1), min_size=1, max_size=6))
    species = data.draw(st.lists(st.integers(0, len(genera) - 1), min_size=1, max_size=8))
    classes = {
        rank: [f"{rank}-{number}" for number in range(count)]
        for rank, count in (("f", families), ("g", len(genera)), ("s", len(species)))
    }
    rows = [(genera[genus], genus, leaf) for leaf, genus in enumerate(species)]
    rows += [(genera[genus], genus, None) for genus in range(len(genera))]
    frame = pd.DataFrame(rows, columns=list("fgs")).astype("Int64")
    names = {
        rank: [None if pd.isna(code) else classes[rank][code] for code in frame[rank]]
        for rank in "fgs"
    }
    found = ancestors(pd.DataFrame(names), list("fgs"), classes)
    assert found["g"]["f"] == genera
    assert found["s"] == {"g": species, "f": [genera[genus] for genus in species]}
