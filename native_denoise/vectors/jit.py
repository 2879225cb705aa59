"""How every kernel is compiled: cached on disk, without the GIL, and without Numba's allocator.

``_nrt=False`` leaves the allocator out of the compiled code, so a kernel that would allocate does not
compile.
"""

from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

_options: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False}

kernel: Any = numba.njit(**_options)

row: Any = numba.njit(forceinline=True, **_options)
"""For what is called once a row: inlined, so that its constants are set up outside the loop over rows."""


@intrinsic
def opaque(typing_context: Any, value: Any) -> Any:
    """``value``, an integer that LLVM shall know nothing about.

    In a loop over rows of many planes it would otherwise keep a running address for each plane, and update
    forty of them in memory for each row, where one multiplication a row and an addition a plane do.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.asm(ir.FunctionType(args[0].type, [args[0].type]), "", "=r,0", args, False)

    return types.intp(types.intp), generate
