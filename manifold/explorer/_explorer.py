"""The explorer as a reader meets it: what items look like and which are right, in words, as a figure, with sliders.

In: a fitted search, its collection, and what to show of it. Out: something that shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from manifold._checks import check_can
from manifold._typing import AnyArray, Mask
from manifold.explorer._exploration import Answer, Exploration
from manifold.labels.targets import label_array
from manifold.ranking import Explanation, ManifoldSearch

if TYPE_CHECKING:  # not loaded before there is something to draw
    from matplotlib.figure import Figure, SubFigure

    from manifold.discovery import Mined
    from manifold.explorer._widgets import Widget

Rows = TypeVar("Rows", Sequence[object], AnyArray)
STATIC = "a still picture: pip install 'manifold-search[notebook]' brings the sliders"


class Explorer:
    """Look at one query while the settings of its search change; in a notebook, with sliders.

        scores = h(S) Y / degree^p,    h(S) Y = ||y|| V h(T) e_1 for every filter h from one Lanczos basis V

    Reference: Saad (1992), for V h(T) e_1; guide *explore*.

    Parameters
    ----------
    search : ManifoldSearch
        Fitted; it is not changed.
    X : (n, d) array-like
        The features it was fitted to.
    Q : (q, d) array-like, optional
        Queries; the items of the collection otherwise, each left out of its own list.
    items, query_items : sequence, optional
        What to show of each row of X and of Q: pixels, encoded images or texts. By default their ids.
    labels, query_labels : (n,) and (q,), optional
        What has the label of the query is right.
    mined : Mined, optional
        What `manifold.discovery.mine` found on the graph of `search`, or `mine_negatives` for the queries Q: the pools
        of the query that is shown stand below its lists, where it is an anchor.
    k : int
        Length of the lists.

    Attributes
    ----------
    settings : Settings
        What is shown; at first that of `search`, solved by "lanczos".

    Raises
    ------
    ValueError
        Where `search` is not fitted, or rows do not match.

    Notes
    -----
    Without the extra ``notebook`` a notebook shows the figure of `settings`, and which extra is missing. A change of
    filter or degree exponent takes no product with S: the nearest items of the query, and one pass over its basis.

    Examples
    --------
    >>> from manifold import Heat, datasets
    >>> from manifold.explorer import Settings
    >>> X, y = datasets.digits()
    >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X), X, items=X.reshape(-1, 8, 8), labels=y)
    >>> explorer.settings = Settings(query=170, filter=Heat(20.0))
    >>> print(explorer.explain(explorer.answer()).splitlines()[1])
    right: 4 of 10 nearest neighbours, 10 of 10 after diffusion
    """

    def __init__(
        self,
        search: ManifoldSearch,
        X: object,
        *,
        Q: object = None,
        items: Sequence[object] | None = None,
        query_items: Sequence[object] | None = None,
        labels: ArrayLike | None = None,
        query_labels: ArrayLike | None = None,
        mined: Mined | None = None,
        k: int = 10,
    ) -> None:
        self.exploration = Exploration(search, X, Q=Q, k=k)
        self.settings = self.exploration.first
        if Q is None:
            if query_items is not None or query_labels is not None:
                raise ValueError("query_items and query_labels belong to queries Q, which were not given")
            query_items, query_labels = items, labels
        n, n_queries = search.graph_.n_nodes, self.exploration.n_queries
        self._items, self._query_items = _rows(items, n, "items"), _rows(query_items, n_queries, "query_items")
        self._labels = _rows(None if labels is None else label_array(labels), n, "labels")
        self._query_labels = _rows(
            None if query_labels is None else label_array(query_labels, "query_labels"), n_queries, "query_labels"
        )
        if (self._labels is None) != (self._query_labels is None):
            raise ValueError("labels and query_labels say together what is right: give both, or neither")
        if mined is not None:
            check_can(mined, "anchors", "positives", name="mined", a="Mined, of discovery.mine")
        self._ids: AnyArray = search.ids_
        self.mined, self._mined_by_row = mined, Q is None  # `mine` answers with nodes, `mine_negatives` with names

    @property
    def search(self) -> ManifoldSearch:
        """The search with the settings that are shown, to go on with.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.search.n_seeds
        5
        """
        return self.exploration.search(self.settings)

    def answer(self) -> Answer:
        """Return the lists of the settings that are shown; raise ValueError for settings that cannot be.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.answer().nearest[0].size
        3
        """
        return self.exploration.answer(self.settings)

    @cached_property
    def _row_of(self) -> dict[object, int]:
        return {name: row for row, name in enumerate(self._ids.tolist())}

    def label(self, name: object) -> object:
        """Return the label of the item of an id; "" without labels.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> int(explorer.label(5)), int(y[5])
        (5, 5)
        """
        return "" if self._labels is None else self._labels[self._row_of[name]]

    @property
    def judged(self) -> bool:
        """Whether there are labels to say what is right.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.judged
        True
        """
        return self._labels is not None

    def right(self, answer: Answer, ids: AnyArray) -> Mask:
        """Return which ids (k,) have the label of the query; none without labels.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.right(explorer.answer(), np.array([0, 1, 10])).tolist()  # the query is a 0
        [True, False, True]
        """
        return self._right(answer.settings.query, ids)

    def _right(self, query: int, ids: AnyArray) -> Mask:
        if self._query_labels is None:
            return np.zeros(len(ids), dtype=bool)
        label = self._query_labels[query]
        if label is None or str(label) in ("-1", "", "nan", "<NA>"):  # none: nothing is known to be right
            return np.zeros(len(ids), dtype=bool)
        return np.array([self.label(name) == label for name in ids.tolist()], dtype=bool)

    def explain(self, answer: Answer) -> str:
        """Return an answer in words: its settings and time, what is right, what is proved, and how its solve went.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> print(explorer.explain(explorer.answer()).splitlines()[1])
        right: 3 of 3 nearest neighbours, 3 of 3 after diffusion
        """
        ranking, k = answer.ranking, len(answer.ranking.ids)
        lines = [f"{answer.settings}: {1e3 * answer.seconds:.0f} ms"]
        if self.judged:
            before, after = (self.right(answer, ids).sum() for ids in (answer.nearest[0], ranking.ids))
            lines.append(f"right: {before} of {k} nearest neighbours, {after} of {k} after diffusion")
        slack = float(ranking.slack[0])
        proof = "certified" if slack == 0 else f"slack {slack:.2g}" if np.isfinite(slack) else "nothing is proved"
        return "\n".join([*lines, f"top {k}: {proof}", ranking.diagnostics.explain()])

    def figure(self, answer: Answer | None = None, *, note: str = "") -> Figure | SubFigure:
        """Return a Figure of the lists of an answer, by default that of the settings that are shown, and a note.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> len(explorer.figure(explorer.answer()).axes)
        1
        """
        from manifold import plotting

        answer = self.answer() if answer is None else answer
        row, (before, _), after = answer.settings.query, answer.nearest, answer.ranking
        shown = {name: self._item(name) for name in (*before.tolist(), *after.ids.tolist())}
        query = f"row {row}" if self._query_items is None else self._query_items[row]
        title = str(answer.settings)
        if not self.judged:
            nothing = np.empty((0, 4)), np.empty(0)  # no regions to point at, and nothing said to be right
            ax = plotting.regional_matches(
                after, dict.fromkeys(shown, nothing), query=query, items=shown, k=len(after.ids), title=title
            )
        else:
            relevant = [name for ids in (before, after.ids) for name in ids[self.right(answer, ids)].tolist()]
            ax = plotting.ranking_comparison(
                answer.nearest, after, query=query, items=shown, relevant=relevant, k=len(after.ids), title=title
            )
        if note:
            ax.figure.text(0.01, 0.01, note, fontsize=8, color="0.4")
        return ax.figure

    def why(self, rank: int = 1) -> Explanation:
        """Return what carries the score at a rank of the list that is shown, from 1.

        Raises
        ------
        ValueError
            For a rank that is not there, and for filters other than `Diffusion` and `RegularizedDiffusion`.

        Examples
        --------
        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.why(rank=1).item == explorer.answer().ranking.ids[0].item()
        True
        """
        if not 1 <= rank <= self.exploration.k:
            raise ValueError(f"rank must lie in 1..{self.exploration.k}, got {rank}")
        return self.exploration.why(self.settings, self.answer().ranking.ids[rank - 1].item())

    def why_png(self, rank: int = 1) -> bytes:
        """Return the picture of `why`, encoded; ``plotting.explanation(explorer.why(rank))`` is its figure.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.why_png(rank=2)[:4]
        b'\\x89PNG'
        """
        from manifold import plotting

        why = self.why(rank)
        named = {why.item, *why.seeds.tolist(), *why.neighbors.tolist(), *(x for path in why.paths for x in path.nodes)}
        items = None if self._items is None else {name: self._item(name) for name in named}
        return _encoded(plotting.explanation(why, items=items))

    def pools_png(self) -> bytes | None:
        """Return the picture of what was mined for the query that is shown, encoded; None where it is no anchor.

        ``plotting.pools(mined, anchor, items=items)`` is its figure.

        >>> from manifold import datasets, find_neighbors
        >>> from manifold.discovery import mine
        >>> X, y = datasets.digits()
        >>> search = ManifoldSearch(preset="plain-diffusion").fit(X[:200])
        >>> mined = mine(search.graph_, find_neighbors(X[:200], 50), [0, 7], n_positive=9, n_negative=50)
        >>> Explorer(search, X[:200], mined=mined, k=3).pools_png()[:4]
        b'\\x89PNG'
        """
        from manifold import plotting

        row, mined = self.settings.query, self.mined
        place = np.flatnonzero(mined.anchors == row) if mined is not None else np.empty(0, dtype=np.int64)
        if mined is None or not place.size:
            return None
        ids = np.concatenate([mined.positives.of(place[0]), mined.negatives.of(place[0])])
        names = self._ids[ids] if self._mined_by_row else ids
        ax = plotting.pools(
            mined,
            int(place[0]),
            query=f"row {row}" if self._query_items is None else self._query_items[row],
            items={one: self._item(name) for one, name in zip(ids.tolist(), names.tolist(), strict=True)},
            relevant=ids[self._right(row, names)].tolist() if self.judged else None,
            title=f"mined for query {row}",
        )
        return _encoded(ax.figure)

    def _item(self, name: object) -> object:
        return f"item {name}" if self._items is None else self._items[self._row_of[name]]

    def png(self, answer: Answer | None = None, *, note: str = "") -> bytes:
        """Return the figure as an encoded picture.

        >>> from manifold import datasets
        >>> X, y = datasets.digits()
        >>> explorer = Explorer(ManifoldSearch(preset="plain-diffusion").fit(X[:200]), X[:200], labels=y[:200], k=3)
        >>> explorer.png()[:4]
        b'\\x89PNG'
        """
        return _encoded(self.figure(answer, note=note))

    def widget(self) -> Widget:
        """Return the sliders with what they show, an ``ipywidgets.Widget``; raise ImportError without the extra."""
        from manifold.explorer._widgets import build

        return build(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        """Show the sliders where there are any, and a picture where there are none, in stored notebooks too."""
        try:
            live, note = self.widget()._repr_mimebundle_(), ""
        except ImportError:
            live, note = dict[str, object](), STATIC
        answer = self.answer()
        return {**live, "image/png": self.png(answer, note=note), "text/plain": self.explain(answer)}


def _encoded(figure: Figure | SubFigure) -> bytes:
    file = BytesIO()
    figure.figure.savefig(file, format="png", dpi=80)  # what follows a slider is to be quick
    return file.getvalue()


def _rows(given: Rows | None, n: int, name: str) -> Rows | None:
    """Return what was given for each of n rows; raise ValueError for another number of them."""
    if given is None:
        return None
    try:
        found = len(given)
    except TypeError:
        raise TypeError(f"{name} must be a sequence, one for each of {n} rows, got {given!r}") from None
    if found != n:
        raise ValueError(f"{name} has {found} rows, and should have {n}")
    return given
