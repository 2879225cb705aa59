"""How every kernel is compiled: kept on disk (``kernel_cache``), and without the GIL.

``_nrt=False`` leaves Numba's allocator out of the compiled code, so a kernel that would allocate does not
compile.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from .kernel_cache import KernelCache


def compiled(*depends: ModuleType, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: ``numba.njit`` with these options, without the GIL, its results kept on disk.

    depends: modules in other folders whose constants or kernels it uses. The kernel's own folder and
        ``native_denoise.vectors`` need not be named: a change in one of them compiles it anew.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(nogil=True, **options)(function)
        if dispatcher is not function:  # it is where NUMBA_DISABLE_JIT is set
            dispatcher._cache = KernelCache(function, depends)
        return dispatcher

    return decorate


kernel: Any = compiled(_nrt=False)

row: Any = compiled(_nrt=False, forceinline=True)
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
