"""Names that have moved answer at the old place for one version, with a warning that names the new one."""

from __future__ import annotations

import pytest

import manifold
from manifold import matching, ranking, reranking, solvers
from manifold._moved import moved
from manifold.errors import ManifoldDeprecationWarning

OLD = [(ranking, name, reranking) for name in reranking.__all__]
OLD += [(ranking, name, matching) for name in ("pca_whitening", "region_vectors", "rmac_regions", "verified_seeds")]
OLD += [(manifold, name, solvers) for name in ("ConjugateGradient", "Direct", "Lanczos", "PowerIteration")]


@pytest.mark.parametrize(("old", "name", "new"), OLD, ids=[f"{old.__name__}.{name}" for old, name, _ in OLD])
def test_an_old_name_is_the_new_object_and_says_so(old, name, new):
    place = f"{new.__name__}.{name}"
    with pytest.warns(ManifoldDeprecationWarning, match=rf"{old.__name__}\.{name} is {place} now, and will go"):
        found = getattr(old, name)
    assert found is getattr(new, name)


def test_the_new_places_say_nothing():
    for room in (reranking, matching, ranking):
        assert all(getattr(room, name) is not None for name in room.__all__)


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'manifold\.ranking' has no attribute 'fuse_ranking'"):
        _ = ranking.fuse_ranking
    with pytest.raises(AttributeError, match="module 'a' has no attribute 'b'"):
        moved("a", {})("b")
