"""The compiled kernel and the arithmetic of fractions; everything else about the package is in pyproject.toml."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

# -ffp-contract=off keeps a*b+c two roundings, as the reference evaluator has them; without the others, which change no
# value, loops with conditions would not become vectors.
UNIX = ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

kernel = Extension(
    "riskpolicy.kernel._kernel",
    ["riskpolicy/kernel/_kernel.pyx"],
    depends=[f"riskpolicy/kernel/{part}.pxi" for part in ("memory", "programs", "margins", "ranking", "gate")],
    extra_compile_args=[] if sys.platform == "win32" else UNIX,
)

rational = Extension(
    "riskpolicy._rational",
    ["riskpolicy/_rational.pyx"],
    extra_compile_args=kernel.extra_compile_args,
)

setup(ext_modules=cythonize([kernel, rational]))
