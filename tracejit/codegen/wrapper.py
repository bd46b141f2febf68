"""The Python face of a kernel: a C function that Python calls, written in LLVM.

It takes the leaves as a vector of objects (`METH_FASTCALL`), reads their data
pointers, allocates the outputs through NumPy's C API, calls the body and returns the
tuple of the outputs; or, when a guard failed, the list `[status, outcome]`.  `self` is
the parameter block, an int64 array.

The caller may pass the arrays to be filled after the leaves.  The workspace is taken
from the block by an atomic exchange; a call that finds it taken allocates its own, so
that threads do not share one.
"""

from __future__ import annotations

from ..program import Buffer
from . import layout as block
from .host import FAILED
from .ir import Module, memory_type
from .ir import register_type as register
from .layout import HEAD, Layout

__all__ = ["SYMBOLS", "emit_wrapper"]

#: Functions of Python's C API: result, arguments.
_PYTHON = {
    "PyComplex_AsCComplex": ("{ double, double }", "ptr"),
    "PyBool_FromLong": ("ptr", "i64"),
    "PyErr_BadArgument": ("i32",),
    "PyErr_NoMemory": ("ptr",),
    "PyErr_Occurred": ("ptr",),
    "PyEval_RestoreThread": ("void", "ptr"),
    "PyEval_SaveThread": ("ptr",),
    "PyFloat_AsDouble": ("double", "ptr"),
    "PyFloat_FromDouble": ("ptr", "double"),
    "PyLong_AsUnsignedLongLongMask": ("i64", "ptr"),
    "PyLong_FromLongLong": ("ptr", "i64"),
    "PyLong_FromUnsignedLongLong": ("ptr", "i64"),
    "PyList_New": ("ptr", "i64"),
    "PyList_SetItem": ("i32", "ptr", "i64", "ptr"),
    "PyObject_IsTrue": ("i32", "ptr"),
    "PyTuple_New": ("ptr", "i64"),
    "PyTuple_SetItem": ("i32", "ptr", "i64", "ptr"),
    "Py_DecRef": ("void", "ptr"),
    "Py_IncRef": ("void", "ptr"),
}
_NUMPY = {
    "tracejit_PyArray_New": (
        "ptr", "ptr", "i32", "ptr", "i32", "ptr", "ptr", "i32", "i32", "ptr",
    ),
    "tracejit_PyArray_Scalar": ("ptr", "ptr", "ptr", "ptr"),
}  # fmt: skip
SYMBOLS = tuple(_PYTHON)

#: Where an ndarray keeps the address of its dtype.
_DTYPE = HEAD + 40


def emit_wrapper(module: Module, layout: Layout, name: str, body: str) -> None:
    """Define the function `name`, which calls `body`."""
    module.functions[name] = _Wrapper(module, layout).function(name, body)


class _Wrapper:
    def __init__(self, module: Module, layout: Layout) -> None:
        self.module = module
        self.layout = layout
        self.lines: list[str] = []
        self.count = 0
        #: Stack slots of the objects to be returned, by identity of the output.
        self.products: dict[object, str] = {}

    def raw(self, text: str) -> None:
        self.lines.append("  " + text)

    def op(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %t{self.count} = {text}")
        return f"%t{self.count}"

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def call(self, name: str, *args: str) -> str:
        signature = _PYTHON.get(name) or _NUMPY.get(name)
        if signature is None:
            raise ValueError(name)
        result, *kinds = signature
        self.module.declare(name, result, *kinds)
        given = ", ".join(f"{k} {a}" for k, a in zip(kinds, args, strict=True))
        text = f"call {result} @{name}({given})"
        if result == "void":
            self.raw(text)
            return ""
        return self.op(text)

    def slot(self, number: int) -> str:
        """The address of a slot of the block."""
        return self.op(f"getelementptr inbounds i64, ptr %params, i64 {number}")

    def read(self, number: int, kind: str = "i64") -> str:
        return self.op(f"load {kind}, ptr {self.slot(number)}, align 8")

    def data(self, obj: str) -> str:
        """The data pointer of an ndarray."""
        field = self.op(f"getelementptr inbounds i8, ptr {obj}, i64 {HEAD}")
        return self.op(f"load ptr, ptr {field}, align 8")

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.raw(f"br i1 {condition}, label %{yes}, label %{no}")

    def fresh_label(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def fail_if(self, condition: str) -> None:
        go_on = self.fresh_label("ok")
        self.branch(condition, "fail", go_on)
        self.label(go_on)

    # --- the parts, in order

    def function(self, name: str, body: str) -> str:
        layout = self.layout
        results = 2 + len(layout.scalar_dtypes)
        self.raw(f"%results = alloca [{results} x i64], align 8")
        self.raw("%thread = alloca ptr, align 8")
        fresh = [f"%fresh{k}" for k in range(len(layout.fresh))]
        for slot in fresh:
            self.raw(f"{slot} = alloca ptr, align 8")
            self.raw(f"store ptr null, ptr {slot}, align 8")
        head = self.op(f"getelementptr inbounds i8, ptr %self, i64 {HEAD}")
        self.raw(f"%params = load ptr, ptr {head}, align 8")
        self.raw("store i64 0, ptr %results, align 8")
        kind = self.op("getelementptr inbounds i64, ptr %results, i64 1")
        self.raw(f"store i64 0, ptr {kind}, align 8")
        leaves = self.leaves()
        captures = [
            self.data(self.read(layout.capture_base + k, "ptr"))
            for k in range(len(layout.captures))
        ]
        self.allocate(fresh)
        outs = [self.data(self.op(f"load ptr, ptr {slot}, align 8")) for slot in fresh]
        work, own = self.take_workspace()
        self.compute(body, leaves, captures, outs, work)
        self.give_workspace(work, own)
        self.finish(fresh)
        head_line = f"define ptr @{name}(ptr %self, ptr %args, i64 %count) nounwind"
        return "\n".join([head_line + " {", "entry:", *self.lines, "}"])

    def leaves(self) -> list[str]:
        """Data pointers of arrays and values of scalars."""
        layout = self.layout
        given, fresh = len(layout.leaves), len(layout.fresh)
        alone = self.op(f"icmp eq i64 %count, {given}")
        full = self.op(f"icmp eq i64 %count, {given + fresh}")
        right = self.op(f"or i1 {alone}, {full}")
        self.branch(right, "counted", "miscounted")
        self.label("miscounted")
        self.call("PyErr_BadArgument")
        self.raw("br label %fail")
        self.label("counted")
        values = []
        for k, buffer in enumerate(layout.leaves):
            field = self.op(f"getelementptr inbounds ptr, ptr %args, i64 {k}")
            obj = self.op(f"load ptr, ptr {field}, align 8")
            if buffer.complex and not buffer.outer_shape:
                values.append(self.pair(obj, buffer))
            elif buffer.shape:
                values.append(self.data(obj))
            else:
                values.append(self.scalar(obj, buffer))
        return values

    def pair(self, obj: str, buffer: Buffer) -> str:
        """The parts of a Python or NumPy complex number, in memory."""
        kind = register(buffer.dtype)
        memory = self.op(f"alloca [2 x {kind}], align 16")
        number = self.call("PyComplex_AsCComplex", obj)
        for k in (0, 1):
            part = self.op(f"extractvalue {{ double, double }} {number}, {k}")
            if k == 0:
                suspicious = self.op(f"fcmp oeq double {part}, -1.0")
            if kind == "float":
                part = self.op(f"fptrunc double {part} to float")
            place = self.op(f"getelementptr inbounds {kind}, ptr {memory}, i64 {k}")
            self.raw(f"store {kind} {part}, ptr {place}")
        self.check_error(suspicious)
        return memory

    def check_error(self, suspicious: str) -> None:
        """Fail if the value that stands for an error came with one."""
        look, go_on = self.fresh_label("look"), self.fresh_label("ok")
        self.branch(suspicious, look, go_on)
        self.label(look)
        error = self.call("PyErr_Occurred")
        self.branch(self.op(f"icmp ne ptr {error}, null"), "fail", go_on)
        self.label(go_on)

    def scalar(self, obj: str, buffer: Buffer) -> str:
        """Convert a Python or NumPy scalar."""
        dtype = buffer.dtype
        kind = register(dtype)
        if dtype.kind == "f":
            value = self.call("PyFloat_AsDouble", obj)
            suspicious = self.op(f"fcmp oeq double {value}, -1.0")
        elif dtype.kind == "b":
            value = self.call("PyObject_IsTrue", obj)
            suspicious = self.op(f"icmp slt i32 {value}, 0")
        else:
            value = self.call("PyLong_AsUnsignedLongLongMask", obj)
            suspicious = self.op(f"icmp eq i64 {value}, -1")
        self.check_error(suspicious)
        if dtype.kind == "f":
            return (
                value
                if kind == "double"
                else self.op(f"fptrunc double {value} to float")
            )
        if dtype.kind == "b":
            return self.op(f"icmp ne i32 {value}, 0")
        return value if kind == "i64" else self.op(f"trunc i64 {value} to {kind}")

    def allocate(self, fresh: list[str]) -> None:
        """Fill `fresh` with new arrays, or with those that the caller gave."""
        layout = self.layout
        if not fresh:
            return
        offset = len(layout.leaves)
        none_given = self.op(f"icmp eq i64 %count, {offset}")
        self.branch(none_given, "make", "take")
        self.label("take")
        for k, slot in enumerate(fresh):
            field = self.op(f"getelementptr inbounds ptr, ptr %args, i64 {offset + k}")
            obj = self.op(f"load ptr, ptr {field}, align 8")
            self.call("Py_IncRef", obj)
            self.raw(f"store ptr {obj}, ptr {slot}, align 8")
        self.raw("br label %allocated")
        self.label("make")
        ndarray = self.read(block.NDARRAY, "ptr")
        for k, (slot, buffer) in enumerate(zip(fresh, layout.fresh, strict=True)):
            obj = self.call(
                "tracejit_PyArray_New",
                ndarray,
                str(len(buffer.outer_shape)),
                self.slot(layout.shape_slot(k)),
                str(buffer.outer_dtype.num),
                *("null", "null", "0", "0", "null"),
            )
            self.raw(f"store ptr {obj}, ptr {slot}, align 8")
            self.fail_if(self.op(f"icmp eq ptr {obj}, null"))
        self.raw("br label %allocated")
        self.label("allocated")

    def take_workspace(self) -> tuple[str, str]:
        """The workspace, and the address to free afterwards or null."""
        if not self.layout.program.works:
            return "null", ""
        self.module.declare("malloc", "ptr", "i64")
        slot = self.slot(block.WORKSPACE)
        free = self.op(f"atomicrmw xchg ptr {slot}, i64 0 acquire, align 8")
        before = self.fresh_label("workspace")
        self.raw(f"br label %{before}")
        self.label(before)
        taken = self.op(f"icmp eq i64 {free}, 0")
        shared = self.op(f"inttoptr i64 {free} to ptr")
        self.branch(taken, "own", "ready")
        self.label("own")
        size = self.read(block.WORK_BYTES)
        padded = self.op(f"add i64 {size}, {block.ALIGNMENT}")
        raw = self.op(f"call ptr @malloc(i64 {padded})")
        number = self.op(f"ptrtoint ptr {raw} to i64")
        up = self.op(f"add i64 {number}, {block.ALIGNMENT - 1}")
        aligned = self.op(f"and i64 {up}, {-block.ALIGNMENT}")
        own = self.op(f"inttoptr i64 {aligned} to ptr")
        self.branch(self.op(f"icmp eq ptr {raw}, null"), "nomemory", "ready")
        self.label("nomemory")
        self.call("PyErr_NoMemory")
        self.raw("br label %fail")
        self.label("ready")
        work = self.op(f"phi ptr [ {shared}, %{before} ], [ {own}, %own ]")
        to_free = self.op(f"phi ptr [ null, %{before} ], [ {raw}, %own ]")
        return work, to_free

    def compute(
        self,
        body: str,
        leaves: list[str],
        captures: list[str],
        outs: list[str],
        work: str,
    ) -> None:
        layout = self.layout
        release = self.op(f"icmp ne i64 {self.read(block.RELEASE)}, 0")
        self.branch(release, "release", "compute")
        self.label("release")
        thread = self.call("PyEval_SaveThread")
        self.raw(f"store ptr {thread}, ptr %thread, align 8")
        self.raw("br label %compute")
        self.label("compute")
        args = ["ptr %params", f"ptr {work}", "ptr %results"]
        for buffer, value in zip(layout.leaves, leaves, strict=True):
            args.append(f"{'ptr' if buffer.shape else register(buffer.dtype)} {value}")
        args += [f"ptr {value}" for value in captures]
        args += [f"ptr {value}" for value in outs[: len(layout.arrays)]]
        self.raw(f"%status = call i64 @{body}({', '.join(args)})")
        self.copy(leaves, captures, outs)
        self.branch(release, "acquire", "computed")
        self.label("acquire")
        thread = self.op("load ptr, ptr %thread, align 8")
        self.call("PyEval_RestoreThread", thread)
        self.raw("br label %computed")
        self.label("computed")

    def copy(self, leaves: list[str], captures: list[str], outs: list[str]) -> None:
        """Copy the inputs that are outputs."""
        layout = self.layout
        values = dict(zip(map(id, layout.program.args), leaves + captures, strict=True))
        target = len(layout.arrays)
        slot = 2 + len(layout.scalars)
        for buffer in layout.copies:
            value = values[id(buffer)]
            kind = memory_type(buffer.dtype)
            if buffer.shape:
                self.copy_array(buffer, value, outs[target], target)
                target += 1
                continue
            if buffer in layout.captures:
                value = self.op(f"load {kind}, ptr {value}")
            elif buffer.dtype.kind == "b":
                value = self.op(f"zext i1 {value} to i8")
            address = self.result(slot)
            self.raw(f"store {kind} {value}, ptr {address}")
            slot += 1

    def copy_array(self, buffer: Buffer, value: str, out: str, index: int) -> None:
        name = "llvm.memcpy.p0.p0.i64"
        self.module.declare(name, "void", "ptr", "ptr", "i64", "i1")
        size = str(buffer.dtype.itemsize)
        first = self.layout.shape_slot(index)
        for axis in range(len(buffer.shape)):
            size = self.op(f"mul i64 {size}, {self.read(first + axis)}")
        self.raw(f"call void @{name}(ptr {out}, ptr {value}, i64 {size}, i1 false)")

    def give_workspace(self, work: str, own: str) -> None:
        if not own:
            return
        self.module.declare("free", "void", "ptr")
        self.branch(self.op(f"icmp eq ptr {own}, null"), "give", "release_own")
        self.label("give")
        number = self.op(f"ptrtoint ptr {work} to i64")
        slot = self.slot(block.WORKSPACE)
        self.raw(f"store atomic i64 {number}, ptr {slot} release, align 8")
        self.raw("br label %given")
        self.label("release_own")
        self.raw(f"call void @free(ptr {own})")
        self.raw("br label %given")
        self.label("given")

    def result(self, slot: int) -> str:
        return self.op(f"getelementptr inbounds i64, ptr %results, i64 {slot}")

    def finish(self, fresh: list[str]) -> None:
        """Build the tuple of the outputs, or the list `[status, outcome]`."""
        self.branch(self.op("icmp eq i64 %status, 0"), "success", "left")
        self.label("success")
        self.raw(f"ret ptr {self.success(fresh)}")
        self.label("left")
        # An error is set already.
        raised = self.op(f"icmp eq i64 %status, {FAILED}")
        self.branch(raised, "fail", "exit")
        self.label("exit")
        self.drop(fresh)
        number = self.call("PyLong_FromLongLong", "%status")
        exit_ = self.sequence("List", [number, self.outcome()])
        self.raw(f"ret ptr {exit_}")
        self.label("fail")
        self.drop(fresh)
        self.raw("ret ptr null")

    def drop(self, fresh: list[str]) -> None:
        for slot in fresh:
            obj = self.op(f"load ptr, ptr {slot}, align 8")
            self.call("Py_DecRef", obj)

    def none(self) -> str:
        none = self.read(block.NONE, "ptr")
        self.call("Py_IncRef", none)
        return none

    def sequence(self, kind: str, items: list[str]) -> str:
        made = self.call(f"Py{kind}_New", str(len(items)))
        for k, item in enumerate(items):
            self.call(f"Py{kind}_SetItem", made, str(k), item)
        return made

    def success(self, fresh: list[str]) -> str:
        layout = self.layout
        made: dict[object, str] = {}
        for slot, buffer in zip(fresh, layout.fresh, strict=True):
            made[id(buffer)] = self.op(f"load ptr, ptr {slot}, align 8")
            if not buffer.outer_shape:
                made[id(buffer)] = self.unwrap(made[id(buffer)])
        keys: list[object] = [*layout.scalars]
        keys += [id(b) for b in layout.copies if not b.shape]
        for k in range(len(keys)):
            dtype = self.read(layout.dtype_base + k, "ptr")
            made[("scalar", keys[k])] = self.call(
                "tracejit_PyArray_Scalar", self.result(2 + k), dtype, "null"
            )
        items: list[str] = []
        seen: set[str] = set()
        for output in layout.program.outputs:
            if isinstance(output, Buffer):
                key: object = (
                    id(output)
                    if output.shape or output.kind == "out"
                    else (
                        "scalar",
                        id(output),
                    )
                )
            else:
                key = ("scalar", output)
            obj = made[key]
            if obj in seen:
                self.call("Py_IncRef", obj)
            seen.add(obj)
            items.append(obj)
        return self.sequence("Tuple", items)

    def unwrap(self, array: str) -> str:
        """The NumPy scalar in an array without axes."""
        field = self.op(f"getelementptr inbounds i8, ptr {array}, i64 {_DTYPE}")
        dtype = self.op(f"load ptr, ptr {field}, align 8")
        found = self.call("tracejit_PyArray_Scalar", self.data(array), dtype, "null")
        self.call("Py_DecRef", array)
        return found

    def outcome(self) -> str:
        """The outcome as a Python object, by its kind."""
        bits = self.op("load i64, ptr %results, align 8")
        kind = self.op(f"load i64, ptr {self.result(1)}, align 8")
        self.raw(
            f"switch i64 {kind}, label %none [ i64 1, label %bool i64 2, label %int"
            " i64 3, label %unsigned i64 4, label %float ]"
        )
        made = []
        for label, function in (
            ("bool", "PyBool_FromLong"),
            ("int", "PyLong_FromLongLong"),
            ("unsigned", "PyLong_FromUnsignedLongLong"),
        ):
            self.label(label)
            made.append((self.call(function, bits), label))
            self.raw("br label %known")
        self.label("float")
        number = self.op(f"bitcast i64 {bits} to double")
        made.append((self.call("PyFloat_FromDouble", number), "float"))
        self.raw("br label %known")
        self.label("none")
        made.append((self.none(), "none"))
        self.raw("br label %known")
        self.label("known")
        parts = ", ".join(f"[ {value}, %{label} ]" for value, label in made)
        return self.op(f"phi ptr {parts}")
