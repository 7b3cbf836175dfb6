"""Synthetic manifolds against their known answers; real sets against the figures known for them."""

import pickle
import sys
from contextlib import suppress

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr

from manifold import datasets, metrics
from manifold.errors import DatasetNotFoundError

MAKERS = [datasets.two_moons, datasets.swiss_roll, datasets.rings, datasets.view_manifolds]


def load(name, **choice):
    try:
        return datasets.load(name, **choice)
    except DatasetNotFoundError as error:
        pytest.skip(str(error))


def rank(data, asking=None):
    """Nearest neighbours by the set's metric; ``asking`` picks some queries of a leave-one-out set."""
    X = data.features.astype(np.float64)
    if data.metric == "cosine":
        X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
    rows = np.arange(len(X)) if asking is None else asking
    Q = X[rows]
    if data.queries is not None:
        Q = data.queries.astype(np.float64)
        Q = Q / np.linalg.norm(Q, axis=1, keepdims=True) if data.metric == "cosine" else Q
    if data.metric == "manhattan":
        distance = cdist(Q, X, "cityblock")
    else:
        squares = (X * X).sum(1)  # on unit rows the smallest Euclidean distance is the largest cosine
        distance = squares - 2 * (Q @ X.T)
    if data.queries is None:
        distance[np.arange(len(rows)), rows] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")
    return order[:, :-1] if data.queries is None else order


def mean_ap(data, order):
    return metrics.mean_average_precision(order, data.relevant, interpolation="step")


def test_digits_unpack_and_carry_their_protocol():
    data = datasets.digits()
    X, y = data
    assert X.shape == (1797, 64)
    assert X.dtype == np.float32
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert len(data.relevant) == 1797
    assert 0 not in data.relevant[0]
    assert (y[data.relevant[0]] == y[0]).all()
    np.testing.assert_array_equal(data.items[-1].ravel(), X[-1])
    assert "1797 × 64 float32, 10 classes, every item a query" in repr(data)
    order = rank(data)
    assert mean_ap(data, order) == pytest.approx(0.6587, abs=1e-4)
    assert metrics.hit_rate_at_k(order, data.relevant) == pytest.approx(0.9889, abs=1e-4)


@pytest.mark.parametrize("make", MAKERS)
def test_seed_decides_the_points(make):
    first, again, other = make(rng=5), make(rng=np.random.default_rng(5)), make(rng=6)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert not np.array_equal(first.features, other.features)
    assert first.features.dtype == np.float32
    assert len(first.coordinates) == len(first.labels) == len(first.features)


def test_two_moons_lie_on_their_half_circles():
    X, y = data = datasets.two_moons(200, noise=0, rng=3)
    radius = np.linalg.norm(X - np.where(y[:, None] == 0, [0, 0], [1, 0.5]), axis=1)
    np.testing.assert_allclose(radius, 1, atol=1e-6)
    assert np.bincount(y).tolist() == [100, 100]
    order = np.argsort(data.coordinates[y == 0, 0])
    assert (np.diff(X[y == 0][order, 0]) <= 0).all()  # arc length runs from right to left


def test_swiss_roll_coordinates_are_geodesic():
    data = datasets.swiss_roll(3000, rng=3)
    X, flat = data.features.astype(np.float64), data.coordinates
    ambient, geodesic = cdist(X[:200], X), cdist(flat[:200], flat)
    assert (ambient <= geodesic + 1e-4).all()
    near = (geodesic > 0) & (geodesic < 1.5)
    assert (ambient[near] / geodesic[near]).min() > 0.98
    far = geodesic > 40
    assert (ambient[far] / geodesic[far]).max() < 0.8
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 100_001)
    length = np.hypot(np.diff(t * np.cos(t)), np.diff(t * np.sin(t))).sum()
    assert flat[:, 0].max() == pytest.approx(length, rel=2e-3)


def test_swiss_roll_arc_grows_along_neighbours():
    data = datasets.swiss_roll(2000, rng=3)
    turn = np.hypot(data.features[:, 0], data.features[:, 2])  # the radius of the spiral is its angle
    assert spearmanr(turn, data.coordinates[:, 0]).statistic == pytest.approx(1, abs=1e-6)


def test_rings_have_their_radii_and_even_density():
    X, y = data = datasets.rings(600, radii=(1, 3), noise=0, rng=3)
    np.testing.assert_allclose(np.linalg.norm(X, axis=1), np.array([1, 3])[y], rtol=1e-6)
    assert np.bincount(y).tolist() == [150, 450]
    np.testing.assert_allclose(np.arctan2(X[:, 1], X[:, 0]) % (2 * np.pi), data.coordinates[:, 0], atol=1e-5)
    with pytest.raises(ValueError, match="radii"):
        datasets.rings(radii=(0.0, 1.0))


def test_view_manifolds_sizes_and_difficulty():
    data = datasets.view_manifolds(20, 100, 500, rng=3)
    np.testing.assert_allclose(np.linalg.norm(data.features, axis=1), 1, atol=1e-6)
    sizes = np.bincount(data.labels + 1)
    assert sizes[0] == 500
    assert sizes[1:].tolist() == [int(100 * o**-0.5) for o in range(1, 21)]
    assert data.queries.shape == (20, 64)
    np.testing.assert_array_equal(data.relevant[1], np.arange(100, 170))
    order = rank(data)
    assert metrics.hit_rate_at_k(order, data.relevant) == 1.0  # the near views are found,
    assert 0.6 < mean_ap(data, order) < 0.75  # the far ones are not
    flat = datasets.view_manifolds(20, 100, 500, curvature=1.0, rng=3)
    assert mean_ap(flat, rank(flat)) > 0.99
    with pytest.raises(ValueError, match="n_objects=0"):
        datasets.view_manifolds(0)


def test_missing_folder_names_source_and_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path))
    for name, source in (("cranfield", "Cleverdon"), ("coil20", "Columbia")):
        with pytest.raises(DatasetNotFoundError, match=source) as caught:
            datasets.load(name)
        assert str(tmp_path) in str(caught.value)
        assert "MANIFOLD_DATA" in str(caught.value)


def test_data_folder_default_is_beside_the_checkout(monkeypatch):
    monkeypatch.delenv("MANIFOLD_DATA", raising=False)
    root = datasets.data_folder().parents[1]
    assert datasets.data_folder() == root / "shared" / "data"
    assert root in type(root)(datasets.__file__).resolve().parents


def test_unknown_choices_are_named():
    with pytest.raises(ValueError, match=r"name='imagenet' .* usps"):
        datasets.load("imagenet")
    with pytest.raises(ValueError, match=r"protocol='hard' .* leave-one-out, test"):
        datasets.load("usps", protocol="hard")
    with pytest.raises(ValueError, match=r"features='vgg' .* avg, gem, regions"):
        datasets.load("grocery", features="vgg")


def test_usps_without_h5py_names_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'manifold-search\[data\]'"):
        datasets.load("usps")


@pytest.mark.parametrize(
    ("name", "choice", "shape", "n_queries", "n_classes"),
    [
        ("cranfield", {}, (1400, 384), 225, None),
        ("grocery", {}, (5421, 1280), 81, 81),
        ("grocery", {"protocol": "iconic-test"}, (2485, 1280), 81, 81),
        ("grocery", {"protocol": "leave-one-out", "features": "gem"}, (5421, 1280), None, 81),
        ("grocery", {"features": "regions"}, (5421, 14, 128), 81, 81),
        ("coil20", {}, (1440, 1024), None, 20),
        ("orl", {}, (400, 1024), None, 40),
        ("mpeg7", {}, (1400, 620), None, 70),
        ("usps", {}, (9298, 256), None, 10),
        ("usps", {"protocol": "test"}, (7291, 256), 2007, 10),
        ("fashion_mnist", {"protocol": "test"}, (60000, 784), 10000, 10),
        ("cifar10", {"protocol": "test"}, (50000, 128), 10000, 10),
    ],
)
def test_real_sets_have_their_shapes(name, choice, shape, n_queries, n_classes):
    data = load(name, **choice)
    assert data.features.shape == shape
    assert data.features.dtype == np.float32
    assert len(data.items) in (0, shape[0])
    assert (None if data.queries is None else len(data.queries)) == n_queries
    assert len(data.relevant) == (n_queries or shape[0])
    assert (None if data.labels is None else np.unique(data.labels).size) == n_classes
    if data.query_labels is not None:
        assert (data.labels[data.relevant[-1]] == data.query_labels[-1]).all()


def test_items_belong_to_their_features():
    cranfield = load("cranfield")
    assert cranfield.query_items[0].startswith("what similarity laws must be obeyed")
    assert cranfield.items[0].startswith("experimental investigation of the aerodynamics")
    assert cranfield.relevant[0][183] == 3
    assert sum(map(len, cranfield.relevant)) == 1837
    coil20 = load("coil20")
    np.testing.assert_array_equal(coil20.items[9].ravel(order="F").astype(np.float32), coil20.features[9])
    assert load("grocery").query_items[0][:3] == b"\xff\xd8\xff"  # a JPEG
    assert load("mpeg7").items[0][:4] == b"\x89PNG"


def test_cranfield_figures():
    data = load("cranfield")
    order = rank(data)
    assert round(mean_ap(data, order), 4) == 0.4224
    assert round(metrics.ndcg_at_k(order, [list(found) for found in data.relevant], k=10), 4) == 0.5090
    assert round(metrics.ndcg_at_k(order, data.relevant, k=10), 4) == 0.4273
    assert round(metrics.recall_at_k(order, data.relevant, k=100), 4) == 0.7908


def test_grocery_figures():
    figures = {}
    for protocol in ("iconic", "iconic-test", "test"):
        data = load("grocery", protocol=protocol)
        order = rank(data)
        ap = mean_ap(data, order) if protocol != "test" else metrics.hit_rate_at_k(order, data.relevant)
        figures[protocol] = round(ap, 4)
    assert figures == {"iconic": 0.2382, "iconic-test": 0.2454, "test": 0.6410}


@pytest.mark.parametrize(
    ("name", "m", "mean_ap_", "bulls_eye", "accuracy"),
    [
        ("coil20", 72, 0.6533, 0.6249, 1.0),
        ("orl", 15, 0.5790, 0.6265, 0.9475),
        ("mpeg7", 40, 0.6987, 0.7674, 0.9507),
    ],
)
def test_leave_one_out_figures(name, m, mean_ap_, bulls_eye, accuracy):
    data = load(name)
    order = rank(data)
    assert round(mean_ap(data, order), 4) == mean_ap_
    assert round(metrics.bulls_eye(order, data.relevant, m=m), 4) == bulls_eye
    assert round(metrics.hit_rate_at_k(order, data.relevant), 4) == accuracy


def test_usps_figures():
    data = load("usps", protocol="test")
    assert round(1 - metrics.hit_rate_at_k(rank(data), data.relevant), 4) == 0.0563
    every = load("usps")
    asking = np.arange(0, len(every.features), 10)
    order = rank(every, asking)
    figure = metrics.mean_average_precision(order, [every.relevant[i] for i in asking], interpolation="step")
    assert round(figure, 4) == 0.5491


def test_regions_come_with_their_owners():
    two_views = np.arange(24.0).reshape(3, 2, 4)
    data = datasets.Dataset("two", two_views, queries=two_views[:1], protocol="a protocol")
    X, owners = data.regions()
    np.testing.assert_array_equal(X[owners == 1], two_views[1])
    assert owners.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.query_regions()[1].tolist() == [0, 0]
    assert datasets.Dataset("one", two_views[:, 0]).regions()[1].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="'' has no queries"):
        datasets.Dataset("one", two_views).query_regions()


REAL = ("cranfield", "grocery", "coil20", "orl", "mpeg7", "usps")


@pytest.mark.parametrize("name", ["digits", *(make.__name__ for make in MAKERS), *REAL])
def test_every_set_can_be_pickled(name):
    if name in REAL:
        data = load(name)
    elif name == "view_manifolds":
        data = datasets.view_manifolds(4, 10, 20)
    else:
        data = getattr(datasets, name)()
    again = pickle.loads(pickle.dumps(data))
    assert repr(again) == repr(data)
    np.testing.assert_array_equal(again.features, data.features)
    for part in ("relevant", "items", "query_items"):
        one, other = getattr(again, part), getattr(data, part)
        assert len(one) == len(other)
        for i in (0, len(other) // 2, -1):
            with suppress(IndexError):  # no items at all
                expected = other[i]
                assert (
                    one[i] == expected if isinstance(expected, str | bytes | dict) else np.array_equal(one[i], expected)
                )
    truth = pickle.loads(pickle.dumps(data.truth))
    assert truth.n_queries == data.truth.n_queries
    assert pickle.loads(pickle.dumps(datasets.published("instre"))) == datasets.published("instre")
