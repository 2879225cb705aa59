"""How every kernel is compiled: cached on disk, without the GIL, and without Numba's allocator.

``_nrt=False`` leaves the allocator out of the compiled code, so a kernel that would allocate does not
compile.
"""

from typing import Any

import numba

_options: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": False}

kernel: Any = numba.njit(**_options)

row: Any = numba.njit(forceinline=True, **_options)
"""For what is called once a row: inlined, so that its constants are set up outside the loop over rows."""
