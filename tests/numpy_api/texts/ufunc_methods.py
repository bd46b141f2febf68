"""reduce, accumulate, outer and reduceat of the ufuncs, from the table itself."""

from tracejit.numpy_api.table import ENTRIES

_OPERANDS = {
    "power": "f",
    "float_power": "f",
    "divide": "f",
    "remainder": "f",
    "fmod": "f",
    "heaviside": "np.where(b, 0, x)",
    "gcd": "i",
    "lcm": "j % 3",
    "left_shift": "j % 2",
    "right_shift": "j % 2",
}


def _texts(gradient: bool) -> list[str]:
    found = []
    for entry in ENTRIES.values():
        if entry.kind != "ufunc method" or entry.gradient != gradient:
            continue
        _, name, method = entry.name.split(".")
        integral = name.startswith("bitwise")
        x = _OPERANDS.get(name, "i" if integral else "x")
        y = x if x != "x" else "y"
        call = entry.name
        if name == "ldexp":
            found.append(f"{call}(x, i)")
        elif method == "outer":
            found.append(f"{call}({x}, ({y})[:1])")
        elif method == "reduceat":
            found.append(f"{call}({x}, [0], axis=AXIS, dtype=None)")
            if "power" in name:
                continue
            found.append(f"{call}(np.concatenate([{x}] * 4, 0), [1, 3, 2, 0], axis=0)")
        elif method == "accumulate":
            found.append(f"{call}({x}, axis=AXIS, dtype=None)")
        else:
            found.append(f"{call}({x}, axis=AXIS, dtype=None, keepdims=KEEP)")
            start = "j[0].max()" if x != "x" else "0.5"
            found.append(f"{call}({x}, axis=AXIS, initial={start}, where=MASK)")
    return found


SMOOTH = [
    *_texts(True),
    "np.add.reduce(x, axis=AXES, dtype=FLOAT)",
    "np.logaddexp.reduce(x, axis=TUPLE, keepdims=KEEP)",
    "np.hypot.reduce(x, axis=None)",
    "np.add.outer(x, y, dtype=FLOAT)",
]
CONSTANT = _texts(False)
