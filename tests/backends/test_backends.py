"""The backends: one protocol, places of arrays, blocks and memory, the CUDA source, and what a GPU may lack."""

from __future__ import annotations

import ctypes
import importlib.util
import inspect
import re
import sys
from ctypes.util import find_library
from importlib import metadata
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cases import BACKENDS, DTYPES, SOLVERS, dense_scores, make_graph, some_seeds
from cuda_on_host import FakeCupy, OutOfMemoryError
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from strict_backend import StrictBackend

import manifold as mf
from manifold import cli
from manifold.backends import Backend, ScipyBackend, _cupy, backend_for, get_backend, in_blocks, place
from manifold.backends._cupy import CupyBackend
from manifold.backends._cupy_kernels import KERNELS, THREADS, source
from manifold.errors import BackendError, MemoryBudgetError
from manifold.neighbors import METRICS, PointSet, exact_search
from manifold.solvers import ConjugateGradient


@pytest.fixture
def fake(monkeypatch):
    """Stand a fake CuPy in the place of the package; its faults are set by `fake(step=error)`."""

    def install(n_devices=1, wheels=("cupy-cuda12x",), **broken):
        cupy = FakeCupy(broken, n_devices=n_devices)
        for name, module in cupy.modules().items():
            monkeypatch.setitem(sys.modules, name, module)

        def version(name):
            if name in wheels:
                return "14.0"
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(_cupy.metadata, "version", version)
        monkeypatch.delenv("CUPY_TF32", raising=False)
        _cupy.cupy_backend.cache_clear()
        return cupy

    yield install
    _cupy.cupy_backend.cache_clear()


@pytest.fixture
def cuda(fake, monkeypatch):
    """The CuPy backend itself, its kernels run on the host in blocks of 32 threads, which take turns."""
    monkeypatch.setattr(_cupy, "THREADS", 32)
    fake()
    return get_backend("cupy")


@pytest.fixture(params=["strict", "cupy"])
def device(request):
    """A device: the strict double always, and a GPU where there is one."""
    return BACKENDS[request.param]()


# ---- one protocol


def test_the_cupy_backend_has_the_protocol_with_the_signatures_of_the_cpu():
    methods = {name for name, f in vars(Backend).items() if inspect.isfunction(f) and not name.startswith("_")}
    assert methods == {
        "advance", "asarray", "axpy", "block_width", "column_dots", "column_sizes", "csr", "factorize", "free_memory",
        "owns", "row_dots", "spmm", "to_host", "top_k",
    }  # fmt: skip
    for name in methods:
        parameters = [
            [(p.name, p.kind, p.default) for p in inspect.signature(getattr(cls, name)).parameters.values()]
            for cls in (Backend, ScipyBackend, CupyBackend)
        ]
        assert parameters[0] == parameters[1] == parameters[2], name
    for cls in (ScipyBackend, CupyBackend):
        public = {name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name))}
        assert public == methods, f"{cls.__name__} has methods that algorithms may not use"
        assert cls.check_every >= 1
        assert cls.column_block >= 16


def test_both_backends_and_the_double_are_backends(cuda):
    for backend in (get_backend(), cuda, StrictBackend()):
        assert isinstance(backend, Backend)
        assert all(issubclass(error, MemoryError) for error in backend.out_of_memory)


# ---- the CUDA source


def _nvrtc():
    """Return the compiler library of CUDA, from the system or from its wheels."""
    places = [find_library("nvrtc")]
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        folders = [] if found is None else found.submodule_search_locations or []
        places += [str(path) for folder in folders for path in sorted(Path(folder).glob("lib/libnvrtc.so.*"))]
    for path in filter(None, places):
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_cuda_source_compiles(kernel, dtype):
    nvrtc, program = _nvrtc(), ctypes.c_void_p()
    text = source(kernel, dtype).encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"kernel.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 2)(b"--std=c++17", b"--gpu-architecture=compute_80")
    failed = nvrtc.nvrtcCompileProgram(program, 2, options)
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert failed == 0, log.value.decode()


def test_cupy_has_every_function_that_is_asked_of_it():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    text = "".join(path.read_text() for path in Path(mf.__file__).parent.rglob("*.py"))
    asked = set(re.findall(r"\bxp\.((?:linalg\.|cuda\.runtime\.)?\w+)", text))
    assert len(asked) > 30
    missing = []
    for name in asked:
        try:
            attrgetter(name)(cupy)
        except AttributeError:
            missing.append(name)
    assert not missing


@st.composite
def tables(draw):
    """Rows with ties, infinities, zeros of both signs and a few long stretches of one value."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 2, 31, 257, 700]))
    values = rng.standard_normal((2, n)).astype(draw(st.sampled_from(sorted(DTYPES))))
    coarse = draw(st.sampled_from([0, 1, 4]))
    if coarse:
        values = np.round(values * coarse) / values.dtype.type(coarse)
    values[rng.random(values.shape) < 0.1] *= 0
    values[rng.random(values.shape) < draw(st.sampled_from([0, 0.5]))] = -np.inf
    return values * values.dtype.type(draw(st.sampled_from([1e-30, -1, 1e30]))), draw(st.integers(1, 2 * n))


@settings(max_examples=15, deadline=None)
@given(tables())
def test_top_k_of_the_device_is_that_of_the_host(table):
    values, k = table
    cupy = FakeCupy()
    device = CupyBackend(cupy, cupy.modules()["cupyx.scipy.sparse"])
    for mine, theirs in zip(device.top_k(values, k), get_backend().top_k(values, k), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_top_k_puts_nan_last_and_sorts_long_lists(cuda):
    ids, values = cuda.top_k(np.array([[1.0, np.nan, -np.inf, 3.0]]), 4)
    assert ids.tolist() == [[3, 0, 2, 1]]
    assert np.isnan(values[0, 3])
    long = np.random.default_rng(0).integers(0, 50, (1, 3000)).astype(np.float32)
    for k in (2048, 2049):
        np.testing.assert_array_equal(cuda.top_k(long, k)[0], get_backend().top_k(long, k)[0])
    assert cuda.top_k(np.zeros((0, 5), np.float32), 2)[0].shape == (0, 2)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("q", [1, 3, 33])
def test_products_and_sums_of_the_device(cuda, q, dtype, rng, monkeypatch):
    monkeypatch.setattr(_cupy, "THREADS", THREADS)
    A = sparse.random_array((70, 50), density=0.1, rng=rng, format="csr", dtype=dtype)
    X, Y = (rng.standard_normal((1500, q)).astype(dtype) for _ in range(2))
    unit = np.finfo(dtype).eps
    for block in (X[:50], np.asfortranarray(X[:50])):
        product = cuda.spmm(cuda.csr(A, dtype=dtype), block)
        assert product.flags.c_contiguous
        np.testing.assert_allclose(product, A.astype(float) @ block.astype(float), atol=50 * unit)
        np.testing.assert_array_equal(product[:, :1], cuda.spmm(cuda.csr(A, dtype=dtype), block[:, :1]))
    exact = (X.astype(np.longdouble) * Y).sum(axis=0)
    np.testing.assert_allclose(cuda.column_dots(X, Y), exact.astype(float), atol=1500 * 2e-16)
    double = X.astype(np.float64)
    assert cuda.column_dots(double, Y).tolist() == cuda.column_dots(Y, double).tolist()  # the wider of both
    assert cuda.spmm(cuda.csr(A, dtype=dtype), double[:50]).dtype == np.float64
    assert cuda.column_dots(X[:0], Y[:0]).tolist() == [0.0] * q
    assert cuda.spmm(cuda.csr(A, dtype=dtype), X[:50, :0]).shape == (70, 0)


@pytest.mark.parametrize("case", SOLVERS, ids=lambda case: case.name)
def test_every_solver_runs_on_the_code_of_the_device(cuda, case):
    graph = make_graph("disconnected")
    Y = some_seeds(graph.n_nodes)
    solution = mf.diffuse(graph, Y, solver=case.exact(graph.dtype), backend="cupy")
    np.testing.assert_allclose(solution.scores, dense_scores(graph, Y, mf.Diffusion()), atol=1e-8)


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_found_by_the_code_of_the_device(cuda, metric, rng):
    X = rng.standard_normal((60, 6)).astype(np.float32)
    here, there = (mf.neighbors.find_neighbors(X, 5, metric=metric, backend=b) for b in ("scipy", "cupy"))
    np.testing.assert_array_equal(here.indices, there.indices)
    np.testing.assert_allclose(here.similarities, there.similarities, rtol=1e-5, atol=1e-5)


# ---- the strict double: neighbours, graph, index, labels; nothing crosses over unasked


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kept", [True, False], ids=["sent once", "sent by tiles"])
def test_exact_neighbours_on_a_device(metric, kept, rng, monkeypatch):
    X = rng.standard_normal((300, 7)).astype(np.float32)
    X[40:60] = X[40]  # more copies than spare candidates: the slow path
    device, points = StrictBackend(), PointSet(X, metric)
    monkeypatch.setattr(device, "free_memory", lambda: 1 << 30 if kept else 30_000)
    found = exact_search(points, points, k=5, drop_self=True, backend=device)
    for mine, theirs in zip(
        found, exact_search(points, points, k=5, drop_self=True, backend=get_backend()), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_a_graph_from_device_features_is_the_graph_from_host_features(rng, device):
    X = rng.standard_normal((200, 6)).astype(np.float32)
    here, there = mf.build_graph(X, 5), mf.build_graph(device.asarray(X), 5, backend=device)
    np.testing.assert_array_equal(here.affinity.indices, there.affinity.indices)
    np.testing.assert_allclose(here.affinity.data, there.affinity.data, rtol=1e-5)


def test_a_search_on_a_device_takes_queries_from_there_and_from_nowhere_else(rng, device):
    X = rng.standard_normal((200, 6)).astype(np.float32)
    here = mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(X[:4] + 0.1, k=5)
    search = mf.ManifoldSearch(preset="plain-diffusion", backend=device).fit(device.asarray(X))
    np.testing.assert_array_equal(search.search(device.asarray(X[:4] + 0.1), k=5).ids, here.ids)
    with pytest.raises(TypeError, match=r"Q is on cpu, the points fitted were on (device|cuda):0"):
        search.search(X[:4])
    with pytest.raises(TypeError, match=r"Q is on (device|cuda):0, the points fitted were on cpu"):
        mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(device.asarray(X[:4]))
    certified = search.search(device.asarray(X[:4] + 0.1), k=5, slack=0)
    assert set(certified.ids[0]) == set(
        mf.ManifoldSearch(preset="plain-diffusion").fit(X).search(X[0] + 0.1, k=5, slack=0).ids
    )


def test_an_index_built_on_a_device_is_that_of_the_host(device):
    graph = make_graph("clusters")
    here, there = (mf.DiffusionIndex(20).build(graph, backend=b) for b in ("scipy", device))
    np.testing.assert_array_equal(here.ids, there.ids)
    np.testing.assert_allclose(here.values, there.values, rtol=1e-5)


def test_labels_on_a_device_are_read_on_the_host(device):
    graph = make_graph("clusters")
    labels = np.full(150, -1)
    labels[::10] = np.arange(15) % 3
    here = mf.propagate(graph, labels)
    there = mf.propagate(graph, device.asarray(labels), backend=device)
    np.testing.assert_array_equal(here.labels, there.labels)


@pytest.mark.parametrize("q", [1, 32, 70])
def test_a_solve_looks_at_the_device_seldom(q):
    device = StrictBackend(check_every=5)
    device.column_block = 256
    graph = make_graph("clusters")
    Y = device.asarray(np.eye(150)[:, :q])
    solution = mf.diffuse(graph, Y, filter=mf.Diffusion(0.99), solver=ConjugateGradient(rtol=1e-6), backend=device)
    assert solution.converged
    assert device.n_syncs <= solution.n_iter.max() / 5 + 3


# ---- places


def test_scores_come_back_where_the_seeds_were():
    graph, device = make_graph("ring"), StrictBackend()
    host = mf.diffuse(graph, np.eye(8), backend=device).scores
    there = mf.diffuse(graph, device.asarray(np.eye(8)), backend=device).scores
    assert isinstance(host, np.ndarray)
    assert device.owns(there)
    np.testing.assert_array_equal(device.to_host(there), host)


def test_row_64_arrays_in_two_places_are_refused_with_both_named(rng):
    graph, device = make_graph("ring"), StrictBackend()
    there, here = device.asarray(np.eye(8)), np.eye(8)
    with pytest.raises(TypeError, match="seeds on device:0, x0 on cpu"):
        mf.diffuse(graph, there, x0=here, backend=device)
    with pytest.raises(TypeError, match="seeds on cpu, x0 on device:0"):
        mf.diffuse(graph, here, x0=there, backend=device)
    for backend, name in (("scipy", "scipy"), ("auto", "scipy")):
        with pytest.raises(TypeError, match=f"seeds is on device:0 .DeviceArray. but backend='{name}'"):
            mf.diffuse(graph, there, backend=backend)
    with pytest.raises(TypeError, match="X is on device:0"):
        mf.build_graph(device.asarray(rng.standard_normal((9, 3))), 2)
    with pytest.raises(TypeError, match="X is on device:0"):
        mf.ManifoldSearch(preset="plain-diffusion").fit(device.asarray(rng.standard_normal((9, 3))))
    with pytest.raises(TypeError, match="labels is on device:0"):
        mf.propagate(graph, device.asarray(np.arange(8)))
    with pytest.raises(TypeError, match="labels on cpu, x0 on device:0"):
        mf.propagate(graph, np.arange(8), x0=there, backend=device)


def test_places_have_names():
    class Somewhere:
        def __init__(self, kind, number):
            self.where = kind, number

        def __dlpack_device__(self):
            return self.where

    assert [place(Somewhere(*where)) for where in ((1, 0), (2, 3), (3, 0), (10, 1), (99, 0))] == [
        "cpu", "cuda:3", "cpu", "rocm:1", "device:0",
    ]  # fmt: skip
    matrix = type("csr_matrix", (), {"data": Somewhere(2, 0), "__module__": "cupyx.scipy.sparse"})()
    assert place(matrix) == "cuda:0"
    with pytest.raises(TypeError, match="seeds is on cuda:0"):
        backend_for("auto", {"seeds": matrix})


# ---- what a GPU may lack


def test_row_50_more_entries_than_32_bit_indices_count(cuda):
    with pytest.raises(BackendError, match=r"2147483648 entries.*lower n_neighbors, or use backend='scipy'"):
        cuda.csr(SimpleNamespace(nnz=2**31), dtype=np.float32)


def test_row_60_without_cupy_the_error_has_the_line_and_auto_stays_on_the_cpu(monkeypatch, fake):
    fake(wheels=())
    monkeypatch.setitem(sys.modules, "cupy", None)  # an import of it fails
    with pytest.raises(BackendError, match=r"CuPy is not installed: pip install 'manifold-search\[gpu\]'"):
        mf.diffuse(make_graph("ring"), np.eye(8), backend="cupy")
    assert mf.diffuse(make_graph("ring"), np.eye(8), backend="auto").converged
    fake(wheels=("cupy-cuda13x",))
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(BackendError, match=r"cupy-cuda13x 14.0 is installed but does not load"):
        get_backend("cupy")


@pytest.mark.parametrize(
    ("step", "error", "said"),
    [
        ("driver", "cudaErrorInsufficientDriver", "could not find a GPU .*install an NVIDIA driver"),
        ("allocation", "cudaErrorMemoryAllocation", "could not allocate on a GPU .*install an NVIDIA driver"),
        ("kernel", "libnvrtc.so.12: cannot open", r"could not compile a kernel for .*brings the compiler \(NVRTC\)"),
        ("cusparse", "libcusparse.so.12: cannot open", "could not multiply a sparse matrix on .*brings cuSPARSE"),
        ("cublas", "libcublas.so.12: cannot open", "could not multiply dense matrices on .*brings cuBLAS"),
    ],
)
def test_row_61_the_missing_piece_is_named(fake, step, error, said):
    fake(**{step: RuntimeError(error)})
    with pytest.raises(BackendError, match=said) as caught:
        get_backend("cupy")
    assert error in str(caught.value)


def test_row_61_no_device_and_a_wrong_result(fake, monkeypatch):
    fake(n_devices=0)
    with pytest.raises(BackendError, match="the driver shows no device"):
        get_backend("cupy")
    fake()
    monkeypatch.setattr(CupyBackend, "spmm", lambda self, matrix, block: 0 * block)
    with pytest.raises(BackendError, match=r"the GPU computes 8 as 0\.0"):
        get_backend("cupy")


def test_row_62_two_wheels_and_versions(fake, capsys):
    fake(wheels=("cupy-cuda12x", "cupy-cuda13x"))
    with pytest.raises(BackendError, match=r"cupy-cuda12x 14.0 and cupy-cuda13x 14.0.*pip uninstall cupy-cuda12x cupy"):
        get_backend("cupy")
    assert cli.main(["info"]) == 0
    assert "pip uninstall cupy-cuda12x cupy-cuda13x" in capsys.readouterr().out
    fake()
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert "cuda:0, Host of fibers, 1.0 GiB of 2.0 GiB free, driver for CUDA 13.1, runtime 12.9, CuPy 14.0" in out


def test_products_of_11_bits_are_refused(fake, monkeypatch):
    fake()
    monkeypatch.setenv("CUPY_TF32", "1")
    with pytest.raises(BackendError, match=r"CUPY_TF32.*unset it"):
        get_backend("cupy")


def test_row_63_a_full_device_is_tried_again_with_half_the_columns(cuda, monkeypatch):
    graph, Y, widths = make_graph("clusters"), np.eye(150), []
    expected = mf.diffuse(graph, Y).scores
    product = CupyBackend._multiply

    def limited(self, matrix, block):
        widths.append(block.shape[1])
        if block.shape[1] > most:
            raise OutOfMemoryError("out of memory allocating 1,048,576 bytes")
        return product(self, matrix, block)

    monkeypatch.setattr(CupyBackend, "_multiply", limited)
    most = 40
    np.testing.assert_allclose(mf.diffuse(graph, Y, backend="cupy").scores, expected, atol=1e-6)
    assert [width for width in dict.fromkeys(widths) if width >= 38] == [150, 75, 38]
    most = 10
    with pytest.raises(MemoryBudgetError, match=r"ran out of memory with blocks of 19 after 3 halvings .*1,048,576"):
        mf.diffuse(graph, Y, backend="cupy")


def test_row_63_blocks_are_as_wide_as_free_memory(cuda, fake):
    widths = []
    cuda.xp.free = 8 * 800
    in_blocks(lambda part: widths.append(part.stop - part.start), 20, most=256, bytes_each=800, backend=cuda)
    assert widths == [8, 8, 4]
    cuda.xp.free = 10
    in_blocks(widths.append, 1, most=256, bytes_each=800, backend=cuda)  # one is always tried


def test_row_63_a_search_is_tried_again_with_fewer_queries(cuda, monkeypatch, rng):
    X = rng.standard_normal((50, 4)).astype(np.float32)
    expected, rows, top_k = mf.build_graph(X, 4), [], CupyBackend.top_k

    def limited(self, values, k):
        rows.append(len(values))
        if len(values) > 20:
            raise OutOfMemoryError
        return top_k(self, values, k)

    monkeypatch.setattr(CupyBackend, "top_k", limited)
    found = mf.build_graph(X, 4, backend="cupy")
    assert rows[:3] == [50, 25, 13]
    np.testing.assert_array_equal(found.affinity.toarray() > 0, expected.affinity.toarray() > 0)
