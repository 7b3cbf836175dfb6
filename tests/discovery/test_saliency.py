"""Saliency: digits by hand, planted bumps and patterns, and objects planted on real photos."""

from __future__ import annotations

import numpy as np
import pytest

import manifold as mf
from manifold import Diffusion, discovery, graph_from_affinity
from manifold.datasets import data_folder
from manifold.discovery.objects import weighted_pool

# ---- maps of rare channels


def test_rare_channels_count_more():
    """q = (3/4, 1/4), b = (log 4/3, log 4)."""
    x = np.array([[(1, 0), (1, 1)], [(2, 0), (0, 0)]])
    np.testing.assert_allclose(discovery.channel_weights([x]), [0.287682, 1.386294], atol=5e-7)
    fs = discovery.feature_saliency(x)
    np.testing.assert_allclose(fs / fs.sum(), [[0.113394, 0.659819], [0.226787, 0]], atol=5e-7)
    never = discovery.channel_weights([np.concatenate([x, np.zeros((2, 2, 1))], axis=2)])
    assert never[2] == 0
    both = discovery.channel_weights([x, np.ones((1, 4, 2))])
    np.testing.assert_allclose(both, np.log(12 / 8 / np.array([7 / 8, 5 / 8])))
    np.testing.assert_allclose(discovery.feature_saliency(x, both), x @ both)


# ---- mixtures of a map


@np.errstate(under="ignore")
def bumps(*centres, sigma=3.0, shape=(40, 80)):
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return sum(np.exp(-((y - a) ** 2 + (x - b) ** 2) / 2 / sigma**2) for a, b in centres)


@pytest.mark.parametrize("apart", [3, 4, 6, 8])
@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_two_bumps_are_two(apart, sigma):
    centres = [(20, 25), (20, 25 + apart * sigma)]
    found = discovery.regions_of(bumps(*centres, sigma=sigma))
    assert len(found) == 2
    order = np.argsort(found.means[:, 1])
    np.testing.assert_allclose(found.means[order], centres, atol=0.1)
    np.testing.assert_allclose(np.sqrt(np.diagonal(found.covariances, axis1=1, axis2=2)), sigma, atol=0.1)
    np.testing.assert_allclose(found.weights, 0.5, atol=0.02)
    y0, x0, y1, x1 = found.boxes[order[0]]
    assert (y0, y1) == (np.floor(20 - 2 * np.sqrt(sigma**2 + 1 / 12)), np.ceil(20 + 2 * np.sqrt(sigma**2 + 1 / 12)))
    assert x0 < 25 < x1


def test_one_bump_is_one_wherever_it_is():
    for centre in ((20, 25), (0.5, 0.5), (39.5, 79.5)):
        found = discovery.regions_of(bumps(centre))
        assert len(found) == 1
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2:] <= [40, 80]).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    np.testing.assert_allclose(discovery.regions_of(bumps((20, 25))).means, [(20, 25)], atol=1e-3)
    dot = np.zeros((5, 5))
    dot[3, 1] = 1
    assert discovery.regions_of(dot).means.tolist() == [[3.5, 1.5]]


def test_flat_maps_have_none():
    for flat in (np.zeros((4, 5)), np.full((4, 5), 7.0), np.zeros((0, 3))):
        assert len(discovery.regions_of(flat)) == 0
    with pytest.raises(ValueError, match=r"finite numbers \(H, W\)"):
        discovery.regions_of(np.full((2, 2), np.nan))
    for setting in ({"threshold": 1.0}, {"n_sigma": 0}):
        with pytest.raises(ValueError, match="must"):
            discovery.regions_of(dot := np.eye(3), **setting)
        assert dot.sum() == 3


# ---- how central regions are


@pytest.mark.parametrize(
    ("alpha", "hub", "leaf"),
    [(0.5, 2.66666667, 1.66666667), (0.9, 14.73684211, 7.63157895), (0.99, 149.74874372, 75.12562814)],
)
def test_the_centre_of_a_star(alpha, hub, leaf):
    W = np.zeros((5, 5))
    W[0, 1:] = W[1:, 0] = 1
    star = graph_from_affinity(W).astype("float64")
    g = discovery.centrality(star, alpha=alpha)
    np.testing.assert_allclose(g, [hub, *[leaf] * 4], rtol=0, atol=5e-9 * (1 / (1 - alpha)))
    F = mf.diffuse(star, np.ones(5), filter=Diffusion(alpha), solver="direct").scores
    np.testing.assert_allclose(g, F / (1 - alpha), rtol=1e-9)


# ---- what recurs


def pasted(rng):
    """Twelve maps of noise; in six of them one pattern of three channels at a place of 3 x 3."""
    maps = (rng.random((12, 10, 10, 16)) < 0.07) * rng.random((12, 10, 10, 16))
    places = rng.integers(0, 8, size=(6, 2))
    for i, (y, x) in enumerate(places):
        maps[i, y : y + 3, x : x + 3, 4:7] = rng.uniform(0.8, 1.2, size=(3, 3, 3))
    return maps, places


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_pattern_is_found(seed):
    maps, places = pasted(np.random.default_rng([9, seed]))
    found = discovery.discover(maps, n_neighbors=5)
    seen = [found.saliency(x, i) * found.feature_saliency(x) for i, x in enumerate(maps)]
    peaks = [np.unravel_index(m.argmax(), m.shape) for m in seen]
    inside = [(p >= place).all() and (p - place < 3).all() for p, place in zip(np.array(peaks), places, strict=False)]
    assert sum(inside) >= 5
    assert len(set(np.argsort([-m.max() for m in seen])[:6]) & set(range(6))) >= 5
    # regions of one image are never joined
    W = found.graph.affinity.tocoo()
    assert (found.images[W.coords[0]] != found.images[W.coords[1]]).all()
    assert found.best(0)[0] in np.flatnonzero(found.images == 0)
    # an image that nobody has seen is judged by all regions, and itself not left out
    assert found.saliency(maps[0]).max() > found.saliency(maps[0], 0).max()


def test_tokens_of_a_transformer():
    """Signed features: the object is the side of the cut that stands out, at any scale of the map."""
    rng = np.random.default_rng(3)
    ground, thing = 3 * np.linalg.qr(rng.normal(size=(12, 2)))[0].T
    maps = np.tile(ground, (6, 8, 9, 1)) + 0.1 * rng.normal(size=(6, 8, 9, 12))
    for i in range(6):
        maps[i, 2:5, i : i + 3] = thing + 0.1 * rng.normal(size=(3, 3, 12))
    found = discovery.discover(maps, n_neighbors=3, features="signed")
    for i, x in enumerate(maps):
        y, at = np.unravel_index((found.saliency(x, i) * found.feature_saliency(x)).argmax(), (8, 9))
        assert 2 <= y < 5
        assert i <= at < i + 3
        assert (discovery.token_saliency(x) > 0).sum() == 9
    own = weighted_pool(maps[0], found.feature_saliency(maps[0]))
    assert own @ thing / np.linalg.norm(thing) > 0.95


def test_what_is_refused():
    with pytest.raises(ValueError, match="features='signed'"):
        discovery.discover(-np.ones((2, 3, 3, 4)))
    with pytest.raises(ValueError, match="features must be one of"):
        discovery.discover(np.ones((2, 3, 3, 4)), features="tokens")
    with pytest.raises(ValueError, match="every map is flat"):
        discovery.discover(np.ones((2, 3, 3, 4)))
    with pytest.raises(ValueError, match="one number of channels"):
        discovery.discover([np.ones((3, 3, 4)), np.ones((3, 3, 5))])
    with pytest.raises(ValueError, match="one a channel, 4"):
        discovery.feature_saliency(np.ones((3, 3, 4)), np.ones(5))
    with pytest.raises(ValueError, match="NaN"):
        discovery.feature_saliency(np.full((3, 3, 4), np.nan))


def activations(name):
    path = data_folder() / "discovery" / f"{name}_activations.npz"
    if not path.exists():
        pytest.skip(f"{path} is not on this machine")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def mean_average_precision(Q, X, relevant, own=False):
    S = Q.astype(np.float64) @ X.T
    if own:
        np.fill_diagonal(S, -np.inf)
    ids = np.argsort(-S, axis=1)
    return mf.metrics.mean_average_precision(ids[:, :-1] if own else ids, relevant)


def test_objects_planted_on_photos_are_pointed_at_and_found():
    data = activations("planted")
    maps, boxes, objects = data["activations"], data["boxes"], data["object"]
    found = discovery.discover(maps)
    peaks = [np.argmax(found.saliency(x, i) * found.feature_saliency(x)) for i, x in enumerate(maps)]
    y, x = (np.array(part) + 0.5 for part in np.unravel_index(peaks, (9, 12)))
    inside = (boxes[:, 0] <= y / 9) & (y / 9 <= boxes[:, 2]) & (boxes[:, 1] <= x / 12) & (x / 12 <= boxes[:, 3])
    assert inside.mean() >= 0.75
    relevant = [np.setdiff1d(np.flatnonzero(objects == o), [i]) for i, o in enumerate(objects)]
    whole = np.stack([weighted_pool(x, np.ones((9, 12))) for x in maps])
    weighted = np.stack([found.describe(x, i) for i, x in enumerate(maps)])
    assert mean_average_precision(weighted, weighted, relevant, own=True) >= 0.51
    assert mean_average_precision(whole, whole, relevant, own=True) < 0.4


def test_an_object_that_fills_the_photo_loses_nothing():
    data = activations("grocery")
    maps, fine, iconic = data["activations"], data["fine"], data["split"] == 3
    found = discovery.discover(maps)
    vectors = np.stack([found.describe(x, i) for i, x in enumerate(maps)])
    relevant = [np.flatnonzero(fine[~iconic] == c) for c in fine[iconic]]
    assert mean_average_precision(vectors[iconic], vectors[~iconic], relevant) >= 0.395
