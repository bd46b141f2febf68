"""Elementary functions that LLVM vectorises, for the hand-written kernels.

`exp(x)` in a Numba loop is a scalar call, which keeps the whole loop scalar. glibc's
`libmvec` has vector versions. A call site that carries LLVM's attribute
`vector-function-abi-variant` names them to the loop vectoriser, which then replaces
four scalar calls by one vector call. An expert who needs the last factor of two to
four would do this by hand, so the harness shows it as a column of its own.
"""

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

# name of the scalar function -> (LLVM type, the scalar function's bare name)
_DOUBLE, _FLOAT = ir.DoubleType(), ir.FloatType()
_AVX2_LANES = {_DOUBLE: 4, _FLOAT: 8}
_TABLE = {
    "exp": _DOUBLE,
    "log": _DOUBLE,
    "log1p": _DOUBLE,
    "erf": _DOUBLE,
    "tanh": _DOUBLE,
    "expf": _FLOAT,
}


def _available():
    """Whether this host has AVX2 and a libmvec with every function of the table."""
    if not binding.get_host_cpu_features().get("avx2", False):
        return False
    try:
        binding.load_library_permanently("libmvec.so.1")
    except RuntimeError:
        return False
    return all(binding.address_of_symbol(_vector_name(name)) for name in _TABLE)


def _vector_name(name):
    return f"_ZGVdN{_AVX2_LANES[_TABLE[name]]}v_{name}"


def _declare_vector_functions(module):
    """Declare the whole table in `module`, and keep the declarations alive.

    The vectoriser only uses vector functions that the module declares, and an unused
    declaration is dropped before it runs unless `llvm.compiler.used` mentions it.
    """
    if "llvm.compiler.used" in module.globals:
        return
    pointer = ir.IntType(8).as_pointer()
    declared = []
    for name, scalar in _TABLE.items():
        vector = ir.VectorType(scalar, _AVX2_LANES[scalar])
        signature = ir.FunctionType(vector, [vector])
        function = ir.Function(module, signature, _vector_name(name))
        declared.append(function.bitcast(pointer))
    used = ir.ArrayType(pointer, len(declared))
    variable = ir.GlobalVariable(module, used, "llvm.compiler.used")
    variable.linkage = "appending"
    variable.section = "llvm.metadata"
    variable.initializer = ir.Constant(used, declared)


def _vectorisable(name):
    """An intrinsic that calls the C function `name`, marked for the vectoriser."""
    scalar = _TABLE[name]
    numba_type = types.float64 if scalar is _DOUBLE else types.float32
    variant = f"_ZGV_LLVM_N{_AVX2_LANES[scalar]}v_{name}({_vector_name(name)})"
    attributes = (
        "nounwind",
        "memory(none)",
        f'"vector-function-abi-variant"="{variant}"',
    )

    @intrinsic
    def call_c_function(typing_context, x):
        def generate(context, builder, signature, arguments):
            _declare_vector_functions(builder.module)
            function = builder.module.globals.get(name) or ir.Function(
                builder.module, ir.FunctionType(scalar, [scalar]), name
            )
            call = builder.call(function, arguments)
            # llvmlite's own `add` refuses attributes that it has not heard of.
            for attribute in attributes:
                set.add(call.attributes, attribute)
            return call

        return numba_type(numba_type), generate

    return call_c_function


AVAILABLE = _available()
exp = _vectorisable("exp")
log = _vectorisable("log")
log1p = _vectorisable("log1p")
erf = _vectorisable("erf")
tanh = _vectorisable("tanh")
expf = _vectorisable("expf")
