"""Mass: how many tokens each kept one stands for."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from remote import accelerator, there

from resprune.selection.mass import mass_from_gram, mass_of, represented_by


@settings(max_examples=200, deadline=None)
@given(data=st.data(), total=st.integers(1, 30), dims=st.integers(1, 4))
def test_each_dropped_token_counts_to_the_nearest_kept_one(data, total, dims):
    # Whole numbers: duplicates and ties come often, and no rounding decides between two candidates.
    number = st.integers(-3, 3)
    features = torch.tensor(
        data.draw(st.lists(st.lists(number, min_size=dims, max_size=dims), min_size=total, max_size=total))
    )
    kept = torch.tensor(data.draw(st.lists(st.integers(0, total - 1), min_size=1, unique=True)))
    expected = [1] * len(kept)
    for i in set(range(total)) - set(kept.tolist()):
        distances = [(features[i] - features[j]).square().sum().item() for j in kept]
        expected[distances.index(min(distances))] += 1
    assert mass_of(features, kept).tolist() == expected


def test_only_what_is_alike_is_counted():
    """Of two kept axes the first is nearest to all others, at cosines of 1, 0.8, 0.6 and -1."""
    features = torch.tensor([[1.0, 0], [0, 9], [2, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0]])
    kept = torch.tensor([0, 1])
    for alike, mass in ((-1.0, 5), (-0.5, 4), (0.7, 3), (0.9, 2), (1.0, 2)):
        assert mass_of(features, kept, alike).tolist() == [mass, 1]
    assert represented_by(features, kept, 0.7).tolist() == [0, 1, 0, 0, -1, -1]


@settings(deadline=None)
@given(data=st.data(), total=st.integers(1, 30), alike=st.sampled_from([-1.0, 0.0, 0.7, 1.0]))
def test_mass_on_an_accelerator_is_the_hosts_and_waits_for_nothing(data, total, alike):
    # Whole numbers: duplicates and ties come often, and no rounding decides.
    row = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
    rows = torch.tensor(data.draw(st.lists(row, min_size=total, max_size=total))).float()
    kept = torch.tensor(data.draw(st.lists(st.integers(0, total - 1), min_size=1, unique=True)))
    matrix = rows @ rows.T
    with accelerator() as notes:
        mass = mass_from_gram(there(matrix), there(kept), alike)
    assert notes == []
    assert mass.values.tolist() == mass_from_gram(matrix.numpy(), kept, alike).tolist()
    assert mass.values.dtype == torch.float32


def test_two_of_a_kind_are_alike_whatever_rounding_says():
    features = torch.tensor([[1.0, 3, 3], [1, 3, 3]])
    assert mass_of(features, torch.tensor([0]), alike=1.0).tolist() == [2]
