"""What a shape forces: the fewest convex cells whose union has given Betti numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastmem.inputs.refusals import refuse, show


def least_neurons(betti: Sequence[int]) -> int:
    """The fewest cells of threshold 1 whose union has these Betti numbers.

    Parameters
    ----------
    betti : sequence of int
        beta_0 >= 1, beta_1, ...: over the field of two elements, as many as are known.

    Returns
    -------
    int
        A bound from below on a class's neurons in any network with ``compact=True`` whose region
        of the class has this shape.

    Raises
    ------
    InvalidInputError
        If these cannot be the Betti numbers of a set.

    Notes
    -----
    Cells of threshold 1 are closed and convex, so their union has the homology of their nerve, a
    complex on as many vertices (Borsuk, On the imbedding of systems of compacta in simplicial
    complexes, 1948). A connected complex on m vertices has beta_k <= C(m - 1, k + 1), which the
    k-skeleton of a simplex attains; C(., k + 1) is convex, so that of m vertices in beta_0
    components most are had by one component of m - beta_0 + 1 vertices and the others of one
    each: beta_k <= C(m - beta_0, k + 1).

    Examples
    --------
    >>> from fastmem.shapes import least_neurons
    >>> least_neurons([1, 1]), least_neurons([1, 9]), least_neurons([9, 0])
    (3, 6, 9)
    """
    try:
        numbers = [int(b) for b in betti if int(b) == b >= 0 and not isinstance(b, bool)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if not numbers or isinstance(betti, str | bytes) or len(numbers) < len(betti):
        refuse(f"betti is {show(betti)}; pass whole numbers of at least 0, beta_0 first")
    if numbers[0] < 1:
        refuse(f"betti[0] is {numbers[0]}; pass the number of components, at least 1")
    more = 0
    for k, number in enumerate(numbers[1:], 1):
        while math.comb(more, k + 1) < number:
            more += 1
    return numbers[0] + more
