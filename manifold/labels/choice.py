"""What "auto" chose, and the evidence: a row a candidate, and a sentence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from manifold._typing import Facts


@dataclass(frozen=True)
class Choice:
    """What ``method="auto"`` chose and why, judged on labels that were left out.

    Reference: guide *labels*.

    Attributes
    ----------
    names : tuple of str
        The candidates; the first is the default.
    accuracy, loss : tuple of float
        Of each: the share of labels left out that it gives back, and the mean of -log p of them in nats, calibrated.
        Both weigh labels by how many points their class seems to have. Empty where nothing could be left out.
    weights : tuple of float
        The share of each in what was taken, of sum 1.
    power : float
        The probabilities of what was taken were raised to it, after those of each candidate to its own, and before the
        bias of each class; 1 where nothing could be left out.
    reason : str

    Examples
    --------
    >>> from manifold import graph_from_affinity, propagate
    >>> pairs = graph_from_affinity([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    >>> propagate(pairs, [7, -1, 9, -1]).choice.reason.split(":")[0]
    '2 labels of 2 classes are fewer than 3 a class, too few to choose by'
    """

    names: tuple[str, ...]
    accuracy: tuple[float, ...] = ()
    loss: tuple[float, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    power: float = 1.0
    reason: str = ""

    def __str__(self) -> str:
        rows = [
            f"{weight:6.0%}  {right:6.0%}  {loss:5.2f}  {name}"
            for name, right, loss, weight in zip(self.names, self.accuracy, self.loss, self.weights, strict=False)
        ]
        head = [" taken   right   loss"] if rows else []
        return "\n".join([self.reason, *head, *rows])

    def facts(self) -> Facts:
        """Return the same as JSON holds it.

        >>> Choice(("lgc",)).facts()["weights"]
        [1.0]
        """
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, facts: Facts) -> Choice:
        """Return what `facts` took apart; raise ValueError for anything else.

        >>> Choice.of(Choice(("lgc",)).facts()) == Choice(("lgc",))
        True
        """
        held = {f.name: f for f in fields(cls)}
        if not isinstance(facts, dict) or set(facts) != set(held):
            raise ValueError(f"a choice must be a table of {tuple(held)}, got {facts!r}")
        parts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
        }
        made = cls(**parts)
        texts, numbers = (*made.names, made.reason), (*made.accuracy, *made.loss, *made.weights, made.power)
        if not all(isinstance(x, str) for x in texts) or not all(type(x) in (int, float) for x in numbers):
            raise ValueError(f"a choice must hold texts and numbers, got {facts!r}")
        return made
