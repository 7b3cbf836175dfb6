"""Compiled: the transform of two images on which most of their correspondences agree.

In: ragged correspondences of many pairs, as rows (x, y) of both images and the similarity that each implies. Out: in
place, the number of inliers, one-to-one, the affine transform that has them, and which they are.
"""

from __future__ import annotations

import numpy as np

from manifold.backends._compiled import compiled

_SINGULAR = 1e-9  # of the squared spread of points: what lies on a line, or in one place, gives no affine transform


@compiled
def spatial_inliers(  # type: ignore[no-untyped-def]
    starts, ends, places, transforms, scales, limits, counts, found, inliers, scores, first, last
):
    """Fill `found` (p, 6), `inliers` (n,) and `scores` (p,) of the pairs first..last-1.

    `ends` (n, 2) are the features of each correspondence, counted within their images; `places` (n, 4) x, y in the
    one and the other; `transforms` (n, 5) a, b, tx, ty, log rho of the similarity x' = a x - b y + tx, y' = b x + a y
    + ty; `scales` are tried about each; `limits` is squared tolerance, log of the largest ratio of scales, hypotheses,
    hypotheses refined, rounds; `counts` (p, 2) the features of both images.
    """
    n_refined, widest, longest = int(limits[3]), 1, 1
    for p in range(first, last):
        widest = max(widest, counts[p, 0], counts[p, 1])
        longest = max(longest, starts[p + 1] - starts[p])
    stamps, mask = np.full((3, widest), -1, np.int64), np.empty(longest, np.bool_)
    stamps[2, 0] = 0
    models = np.empty((n_refined + 1, 7))
    for p in range(first, last):
        begin, end = starts[p], starts[p + 1]
        some, place, own = ends[begin:end], places[begin:end], transforms[begin:end]
        n_models = _best_hypotheses(some, place, own, scales, limits, stamps, mask[: end - begin], models)
        scores[p], inliers[begin:end], found[p] = 0, False, np.array((1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        for c in range(n_models):
            scores[p] = _refined(
                some,
                place,
                own,
                limits,
                stamps,
                mask[: end - begin],
                models[c],
                scores[p],
                inliers[begin:end],
                found[p],
            )


@compiled
def _best_hypotheses(ends, place, own, scales, limits, stamps, mask, models):  # type: ignore[no-untyped-def]
    """Write the similarities that have most inliers, one-to-one, the best first; return how many they are."""
    n, n_refined, kept = own.shape[0], models.shape[0] - 1, 0
    tops, tried, model = np.zeros(n_refined, np.int64), min(n, int(limits[2])), models[n_refined]
    for hypothesis in range(tried):
        h = hypothesis * n // tried  # spread evenly where there are more than may be tried
        for scale in scales:
            _similarity(own[h], place[h], scale, model)
            if _agreeing(place, own, model, limits, mask) <= tops[n_refined - 1]:
                continue  # inliers one-to-one are no more
            score, at = _one_to_one(ends, mask, stamps), n_refined - 1
            if score <= tops[at]:
                continue
            while at > 0 and tops[at - 1] < score:
                tops[at], models[at] = tops[at - 1], models[at - 1]
                at -= 1
            tops[at], models[at] = score, model
            kept = min(kept + 1, n_refined)
    return kept


@compiled
def _refined(ends, place, own, limits, stamps, mask, model, best, inliers, found):  # type: ignore[no-untyped-def]
    """Fit a model to its inliers anew while these grow; keep what beats the best, and return the best."""
    before, n_rounds = -1, int(limits[4])
    for round_ in range(n_rounds + 1):
        _agreeing(place, own, model, limits, mask)
        score = _one_to_one(ends, mask, stamps)
        if score <= before:
            break
        before = score
        if score > best:
            best, inliers[:], found[:] = score, mask, model[:6]
        if round_ == n_rounds or not _affine(place, mask, model):
            break
    return best


@compiled
def _similarity(own, place, scale, model):  # type: ignore[no-untyped-def]
    """Write the similarity of one correspondence, larger by `scale` about its feature; a row of an affine has three."""
    a, b = own[0] * scale, own[1] * scale
    model[0], model[1], model[3], model[4] = a, 0.0 - b, b, a  # not -0.0
    model[2] = place[2] - a * place[0] + b * place[1]
    model[5] = place[3] - b * place[0] - a * place[1]
    model[6] = own[4] + np.log(scale)


@compiled
def _agreeing(place, own, model, limits, mask):  # type: ignore[no-untyped-def]
    """Mark the correspondences that a transform takes to within the tolerance, at a similar scale; return how many."""
    tolerance, ratio = limits[0], limits[1]
    m0, m1, m2, m3, m4, m5, scale = model[0], model[1], model[2], model[3], model[4], model[5], model[6]
    total = 0
    for c in range(place.shape[0]):
        x, y = place[c, 0], place[c, 1]
        dx, dy = m0 * x + m1 * y + m2 - place[c, 2], m3 * x + m4 * y + m5 - place[c, 3]
        inside = (dx * dx + dy * dy < tolerance) & (abs(own[c, 4] - scale) < ratio)
        mask[c] = inside
        total += inside
    return total


@compiled
def _one_to_one(ends, mask, stamps):  # type: ignore[no-untyped-def]
    """Return the smaller number of features on either side of what is marked: a repeated texture counts once."""
    stamp = stamps[2, 0]  # one that no feature has
    stamps[2, 0] += 1
    left, right = 0, 0
    for c in range(mask.size):
        if mask[c]:
            i, j = ends[c, 0], ends[c, 1]
            if stamps[0, i] != stamp:
                stamps[0, i] = stamp
                left += 1
            if stamps[1, j] != stamp:
                stamps[1, j] = stamp
                right += 1
    return min(left, right)


@compiled
def _affine(place, mask, model):  # type: ignore[no-untyped-def]
    """Write the affine transform of least squares of what is marked; False where there is none that keeps sides."""
    n, x, y, u, v = 0, 0.0, 0.0, 0.0, 0.0
    for c in range(mask.size):
        if mask[c]:
            n += 1
            x, y, u, v = x + place[c, 0], y + place[c, 1], u + place[c, 2], v + place[c, 3]
    if n < 3:
        return False
    x, y, u, v = x / n, y / n, u / n, v / n
    xx, xy, yy, ux, uy, vx, vy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for c in range(mask.size):  # about the means: sums of squares of pixels would lose the small differences
        if mask[c]:
            p, q, r, s = place[c, 0] - x, place[c, 1] - y, place[c, 2] - u, place[c, 3] - v
            xx, xy, yy = xx + p * p, xy + p * q, yy + q * q
            ux, uy, vx, vy = ux + r * p, uy + r * q, vx + s * p, vy + s * q
    spread, determinant = xx + yy, xx * yy - xy * xy
    if not determinant > _SINGULAR * spread * spread:
        return False
    a, b = (ux * yy - uy * xy) / determinant, (uy * xx - ux * xy) / determinant
    d, e = (vx * yy - vy * xy) / determinant, (vy * xx - vx * xy) / determinant
    area = a * e - b * d
    if not area > 0:
        return False
    model[0], model[1], model[2] = a, b, u - a * x - b * y
    model[3], model[4], model[5] = d, e, v - d * x - e * y
    model[6] = 0.5 * np.log(area)
    return True
