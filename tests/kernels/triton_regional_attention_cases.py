"""All Triton cases of regional attention, in Triton's interpreter: run by test_regional_attention_triton.py in one
process of its own. TRITON_INTERPRET is read when a kernel is declared. Prints one line a case.
"""

import sys

import torch

from raccord.kernels.regional_attention import regional_attention

# (rows, height, width, heads, D, lengths, dtype): grids that no tile divides, odd lengths over a block, absent segments
CASES = [
    (1, 1, 1, 1, 40, (3,), torch.float32),
    (2, 9, 11, 2, 40, (77, 0, 5), torch.float32),
    (1, 16, 8, 1, 64, (80, 64, 1), torch.float32),
    (1, 5, 7, 1, 160, (7, 9), torch.float32),
    (1, 8, 8, 1, 32, (77, 20), torch.float16),
]


def main() -> None:
    for rows, height, width, heads, depth, lengths, dtype in CASES:
        generator = torch.Generator().manual_seed(rows + height)
        total, positions = sum(lengths), height * width

        def normal(*shape, generator=generator, dtype=dtype):
            return torch.randn(shape, generator=generator).to(dtype)

        query, key, value = (
            normal(rows, positions, heads, depth),
            normal(total, heads, depth),
            normal(total, heads, depth),
        )
        spans = [[sum(lengths[:i]), length] for i, length in enumerate(lengths)]
        segments = torch.tensor([spans] * rows, dtype=torch.int32)
        weight = torch.rand((rows, len(lengths), positions), generator=generator)
        weight[weight < 0.35] = 0.0
        # a segment that only the first cells see, so that most tiles skip it
        weight[:, -1, 3:] = 0.0
        for combine in ("blend", "joint"):
            options = {"height": height, "width": width, "combine": combine}
            operands = (query, key, value, segments, weight)
            found, lse = regional_attention(*operands, **options, return_lse=True, backend="triton")
            same = torch.equal(regional_attention(*operands, **options, backend="triton"), found)
            exact = [x.double() if x.is_floating_point() else x for x in operands]
            expected, expected_lse = regional_attention(*exact, **options, return_lse=True, backend="reference")
            theirs = regional_attention(*operands, **options, backend="reference")
            error, allowed = (float((x.double() - expected).abs().max()) for x in (found, theirs))
            finite = expected_lse.isfinite()
            lse_error = float((lse.double() - expected_lse)[finite].abs().max())
            unit = torch.finfo(dtype).eps
            # float16: the probabilities are rounded to it as well as the result
            good = error <= 2 * allowed + unit * float(value.abs().max()) and torch.equal(lse.isfinite(), finite)
            good = good and same and lse_error <= (1e-5 if dtype == torch.float32 else 1e-2)
            verdict = "good" if good else "BAD"
            sys.stdout.write(
                f"{verdict} {tuple(query.shape)} {lengths} {combine} {error} {allowed} {lse_error} {same}\n"
            )


if __name__ == "__main__":
    main()
