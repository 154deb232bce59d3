"""The statistics behind gates: how sure is a rate, and do devices of one group report higher values than another's?

Pure. `scipy` is an optional extra and imported only where a comparison is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

NEEDS_STATS = "the comparison needs scipy, which is not installed: pip install 'fwctl[stats]'"


def wilson_lower(part: int, whole: int, confidence: float) -> float:
    """Return the share above which the true one lies with this confidence: Wilson's score bound, one-sided.

    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209-212. Nothing is known of nobody: 0.
    """
    if whole <= 0 or part <= 0:
        return 0.0
    z, share = _quantile(confidence), part / whole
    middle = share + z * z / (2 * whole)
    spread = z * sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return max(0.0, (middle - spread) / (1 + z * z / whole))


@lru_cache(maxsize=16)
def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)


def can_compare() -> bool:
    """Say whether the extra that `rank_test` needs is installed."""
    try:
        import scipy.stats
    except ImportError:
        return False
    return bool(scipy.stats)


@lru_cache(maxsize=256)
def rank_test(values: Sequence[int], control: Sequence[int]) -> float:
    """Return how likely `values` would lie so high above `control` by chance (Mann-Whitney, one-sided).

    Both are tuples and neither is empty. Ties count half. Where all are equal nothing is higher: 1.

    Raises:
        ImportError: the extra `fwctl[stats]` is not installed.
    """
    from scipy.stats import mannwhitneyu

    if len({*values, *control}) < 2:
        return 1.0
    return float(mannwhitneyu(values, control, alternative="greater").pvalue)


def holm(chances: Sequence[float], alpha: float) -> frozenset[int]:
    """Return which of several tests hold, so that the chance of any false one among them is at most `alpha`.

    S. Holm, Scand. J. Stat. 6 (1979) 65-70.
    """
    found = set[int]()
    for rank, (chance, place) in enumerate(sorted((chance, place) for place, chance in enumerate(chances))):
        if chance > alpha / (len(chances) - rank):
            break
        found.add(place)
    return frozenset(found)
