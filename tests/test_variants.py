"""Names of ways to prune, as studies write them."""

import pytest
from resprune.evaluate.variants import method_of, settings_of

from resprune.errors import InputError
from resprune.settings import Settings


def test_a_name_says_all_there_is_to_say():
    assert settings_of("divprune", 16) == Settings(16, "divprune")
    wanted = Settings(0.5, "resprune", alpha=0.5, sign=-1, words="all", pooling="mean", mass=True, seed=3)
    assert settings_of("resprune:alpha=0.5:sign=-1:words=all:pooling=mean+mass", 0.5, 3) == wanted
    assert settings_of("subspace:kernel=both:positions=sequential", 8).kernel == "both"
    assert method_of("resprune:alpha=2+mass") == method_of("resprune") == "resprune"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resprune:beta=1", "sets 'beta'.*alpha, alike, sign"),
        ("resprune:seed=1", "sets 'seed'"),
        ("resprune:alpha", "alpha to ''; give a number"),
        ("resprune:sign=up", "sign to 'up'; give a number"),
        ("resprune:alpha=-1", "alpha is -1.0"),
        ("resprune:words=verbs", "words is 'verbs'; give 'nouns' or 'all'"),
        ("nothing:alpha=1", "no method 'nothing'"),
    ],
)
def test_what_it_cannot_say_is_refused(name, said):
    with pytest.raises(InputError, match=said):
        settings_of(name, 16)
