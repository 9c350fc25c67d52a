"""How far attention may be off, derived, for the tests of both attentions.

With u = 2^-24, a score of D products errs by at most E = (D + 2) u scale |q| |k| in float32, whatever the order; an
exponential of it by the factor e^(2 E), its own rounding and a share's division included in 20 u; a sum of L of them
adds L u, and so does the sum over values (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). All to
first order.
"""

UNIT = 2.0**-24


def score_error(query, key, scale):
    """float64 [..., N, 1]: the most that a score of each query [..., N, D] with any key [..., L, D] may err."""
    sizes = scale * query.abs() @ key.abs().mT
    return (query.shape[-1] + 2) * UNIT * sizes.amax(-1, keepdim=True)


def rounded_products(worst, sizes, expected):
    """The most that products of bfloat16 numbers may err, where float32 may err by `worst`.

    `sizes` are the shares' sums over absolute values: every exponential is rounded once to bfloat16 and the result
    once, half a unit in the last place each; the exponential itself errs a little more than float32's.
    """
    return 2**-8 * 1.01 * (sizes + expected.abs()) + 2 * worst


def errs_as_float32_may(found, expected, worst):
    assert ((found.double() - expected).abs() <= worst).all()


def errs_at_most_twice(found, reference, expected):
    """Root mean squares; one rounding of the largest result is allowed for where the reference hardly erred, by chance.

    The largest error is a matter of luck in both: the derived bound is for it.
    """
    error, allowed = (found.double() - expected), (reference.double() - expected)
    floor = UNIT * float(expected.abs().max())
    assert float(error.square().mean().sqrt()) <= 2 * float(allowed.square().mean().sqrt()) + floor
