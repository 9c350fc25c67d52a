"""The hot arithmetic of raccord: one folder an operation, `reference.py` in it is the specification.

Letters used in every docstring below this folder:
B rows of the UNet batch (frame x guidance branch), N = height * width positions in row-major order, H heads, D head
width, T tokens in the text pool, S segments a row, E entities, M tokens in the bank, R independent noise streams.
"""

if __name__ == "kernels":
    raise ImportError(
        "this is raccord's folder `kernels`, reached because the repository root is on sys.path; it is imported as "
        "`raccord.kernels`, and it hides the PyPI package `kernels`: run Python with PYTHONSAFEPATH=1 or from elsewhere"
    )
