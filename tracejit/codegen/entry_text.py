"""The LLVM text of the checked entry; `entry` fills in the numbers behind the `$`.

`$W_...` are words of the table, the others are offsets in objects.
"""

__all__ = ["TEXT"]

TEXT = """
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare void @PyErr_Clear()
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare void @Py_DecRef(ptr)
declare void @Py_IncRef(ptr)
declare i8 @tracejit_PyArray_EquivTypes(ptr, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define private i64 @word(ptr %of, i64 %slot) alwaysinline {
  %field = getelementptr inbounds i64, ptr %of, i64 %slot
  %value = load i64, ptr %field, align 8
  ret i64 %value
}

define private ptr @pointer(ptr %of, i64 %slot) alwaysinline {
  %field = getelementptr inbounds i64, ptr %of, i64 %slot
  %value = load ptr, ptr %field, align 8
  ret ptr %value
}

define private ptr @field(ptr %object, i64 %offset) alwaysinline {
  %place = getelementptr inbounds i8, ptr %object, i64 %offset
  %value = load ptr, ptr %place, align 8
  ret ptr %value
}

define private i32 @short(ptr %object, i64 %offset) alwaysinline {
  %place = getelementptr inbounds i8, ptr %object, i64 %offset
  %value = load i32, ptr %place, align 4
  ret i32 %value
}

; Give back the references to %n operands, some of which may be null.
define private void @drop(ptr %operands, i64 %n) alwaysinline {
entry:
  br label %test
test:
  %k = phi i64 [ 0, %entry ], [ %next, %one ]
  %done = icmp eq i64 %k, %n
  br i1 %done, label %end, label %one
one:
  %operand = call ptr @pointer(ptr %operands, i64 %k)
  call void @Py_DecRef(ptr %operand)
  %next = add i64 %k, 1
  br label %test
end:
  ret void
}

; Whether %x is an ndarray of this dtype and shape, ready for a kernel.
define private i1 @is_array(
  ptr %x, ptr %ndarray, ptr %dtype, i64 %ndim, ptr %shape
) alwaysinline {
entry:
  %type = call ptr @field(ptr %x, i64 $TYPE)
  %array = icmp eq ptr %type, %ndarray
  br i1 %array, label %head, label %no
head:
  %dims = call i32 @short(ptr %x, i64 $NDIM)
  %wanted = trunc i64 %ndim to i32
  %flat = icmp eq i32 %dims, %wanted
  %flags = call i32 @short(ptr %x, i64 $FLAGS)
  %masked = and i32 %flags, $READY
  %ready = icmp eq i32 %masked, $READY
  %both = and i1 %flat, %ready
  br i1 %both, label %described, label %no
described:
  %own = call ptr @field(ptr %x, i64 $DTYPE)
  %known = icmp eq ptr %own, %dtype
  br i1 %known, label %shaped, label %look
look:
  ; An array from a pickle has a dtype of its own.
  %equal = call i8 @tracejit_PyArray_EquivTypes(ptr %own, ptr %dtype)
  %differs = icmp eq i8 %equal, 0
  br i1 %differs, label %no, label %shaped
shaped:
  %lengths = call ptr @field(ptr %x, i64 $SHAPE)
  br label %test
test:
  %k = phi i64 [ 0, %shaped ], [ %next, %axis ]
  %done = icmp eq i64 %k, %ndim
  br i1 %done, label %yes, label %axis
axis:
  %length = call i64 @word(ptr %lengths, i64 %k)
  %right = call i64 @word(ptr %shape, i64 %k)
  %next = add i64 %k, 1
  %same = icmp eq i64 %length, %right
  br i1 %same, label %test, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

; Whether %x is an int of 64 bits.
define private i1 @is_integer(ptr %x, ptr %int, ptr %overflow) alwaysinline {
entry:
  %type = call ptr @field(ptr %x, i64 $TYPE)
  %exact = icmp eq ptr %type, %int
  br i1 %exact, label %range, label %no
range:
  %value = call i64 @PyLong_AsLongLongAndOverflow(ptr %x, ptr %overflow)
  %sign = load i32, ptr %overflow, align 4
  %fits = icmp eq i32 %sign, 0
  ret i1 %fits
no:
  ret i1 false
}

define ptr @$NAME(ptr %self, ptr %args, i64 %count) nounwind {
entry:
  %overflow = alloca i32, align 4
  %pair = alloca [2 x ptr], align 8
  %table = call ptr @field(ptr %self, i64 $HEAD)
  %busy = call ptr @pointer(ptr %table, i64 $W_BUSY)
  %entries = call ptr @field(ptr %busy, i64 $HEAD)
  %idle = icmp eq ptr %entries, null
  %wanted = call i64 @word(ptr %table, i64 $W_COUNT)
  %right = icmp eq i64 %count, %wanted
  %go = and i1 %idle, %right
  br i1 %go, label %begin, label %refuse

begin:
  %n = call i64 @word(ptr %table, i64 $W_OPERANDS)
  %operands = alloca ptr, i64 %n, align 8
  %bytes = mul i64 %n, 8
  call void @llvm.memset.p0.i64(ptr align 8 %operands, i8 0, i64 %bytes, i1 false)
  %rows = call i64 @word(ptr %table, i64 $W_ROWS)
  %first = getelementptr inbounds i64, ptr %table, i64 $W_FIRST
  br label %next

next:
  %done = phi i64 [ 0, %begin ], [ %done1, %passed ]
  %row = phi ptr [ %first, %begin ], [ %row1, %passed ]
  %all = icmp eq i64 %done, %rows
  br i1 %all, label %call, label %fetch

fetch:
  %where = call i64 @word(ptr %row, i64 0)
  %container = call ptr @pointer(ptr %row, i64 1)
  switch i64 %where, label %argument [ i64 1, label %item  i64 2, label %cell ]
argument:
  %number = ptrtoint ptr %container to i64
  %given = call ptr @pointer(ptr %args, i64 %number)
  br label %fetched
item:
  %key = call ptr @pointer(ptr %row, i64 2)
  %found = call ptr @PyDict_GetItemWithError(ptr %container, ptr %key)
  %absent = icmp eq ptr %found, null
  br i1 %absent, label %gone, label %fetched
gone:
  call void @PyErr_Clear()
  br label %miss
cell:
  %content = call ptr @field(ptr %container, i64 $HEAD)
  %empty = icmp eq ptr %content, null
  br i1 %empty, label %miss, label %fetched

fetched:
  %x = phi ptr [ %given, %argument ], [ %found, %item ], [ %content, %cell ]
  %check = call i64 @word(ptr %row, i64 3)
  %expected = call ptr @pointer(ptr %row, i64 4)
  switch i64 %check, label %is [
    i64 1, label %type  i64 2, label %integer  i64 3, label %array
  ]
is:
  %same = icmp eq ptr %x, %expected
  br i1 %same, label %holds, label %miss
type:
  %own = call ptr @field(ptr %x, i64 $TYPE)
  %exact = icmp eq ptr %own, %expected
  br i1 %exact, label %holds, label %miss
integer:
  %fits = call i1 @is_integer(ptr %x, ptr %expected, ptr %overflow)
  br i1 %fits, label %holds, label %miss
array:
  %ndim = call i64 @word(ptr %row, i64 5)
  %shape = call ptr @pointer(ptr %row, i64 6)
  %ndarray = call ptr @pointer(ptr %table, i64 $W_NDARRAY)
  %fine = call i1 @is_array(
    ptr %x, ptr %ndarray, ptr %expected, i64 %ndim, ptr %shape
  )
  br i1 %fine, label %holds, label %miss

holds:
  %operand = call i64 @word(ptr %row, i64 7)
  %unused = icmp slt i64 %operand, 0
  br i1 %unused, label %passed, label %take
take:
  ; Another thread may rebind a global while the kernel runs without the GIL.
  call void @Py_IncRef(ptr %x)
  %place = getelementptr inbounds ptr, ptr %operands, i64 %operand
  store ptr %x, ptr %place, align 8
  br label %passed
passed:
  %done1 = add i64 %done, 1
  %row1 = getelementptr inbounds i64, ptr %row, i64 $W_WIDTH
  br label %next

call:
  %kernel = call ptr @pointer(ptr %table, i64 $W_KERNEL)
  %owner = call ptr @pointer(ptr %table, i64 $W_OWNER)
  %indirect = icmp eq ptr %kernel, null
  br i1 %indirect, label %python, label %native
native:
  %made = call ptr %kernel(ptr %owner, ptr %operands, i64 %n)
  br label %called
python:
  %made1 = call ptr @PyObject_Vectorcall(ptr %owner, ptr %operands, i64 %n, ptr null)
  br label %called
called:
  %answer = phi ptr [ %made, %native ], [ %made1, %python ]
  call void @drop(ptr %operands, i64 %n)
  %failed = icmp eq ptr %answer, null
  br i1 %failed, label %error, label %sort
error:
  ret ptr null
sort:
  %kind = call ptr @field(ptr %answer, i64 $TYPE)
  %tuple = call ptr @pointer(ptr %table, i64 $W_TUPLE)
  %outputs = icmp eq ptr %kind, %tuple
  br i1 %outputs, label %hit, label %exit

hit:
  %counter = call ptr @pointer(ptr %table, i64 $W_HITS)
  %hits = load i64, ptr %counter, align 8
  %hits1 = add i64 %hits, 1
  store i64 %hits1, ptr %counter, align 8
  %single = call i64 @word(ptr %table, i64 $W_SINGLE)
  %several = icmp eq i64 %single, 0
  br i1 %several, label %whole, label %only
whole:
  ret ptr %answer
only:
  %item0 = call ptr @field(ptr %answer, i64 $ITEM)
  call void @Py_IncRef(ptr %item0)
  call void @Py_DecRef(ptr %answer)
  ret ptr %item0

exit:
  %left = call ptr @pointer(ptr %table, i64 $W_LEFT)
  %plain = icmp eq ptr %left, null
  br i1 %plain, label %whole, label %pack
pack:
  %given1 = call ptr @PyTuple_New(i64 %count)
  %nomemory = icmp eq ptr %given1, null
  br i1 %nomemory, label %lost, label %fill
fill:
  %k = phi i64 [ 0, %pack ], [ %k1, %put ]
  %full = icmp eq i64 %k, %count
  br i1 %full, label %ask, label %put
put:
  %arg = call ptr @pointer(ptr %args, i64 %k)
  call void @Py_IncRef(ptr %arg)
  %ok = call i32 @PyTuple_SetItem(ptr %given1, i64 %k, ptr %arg)
  %k1 = add i64 %k, 1
  br label %fill
ask:
  store ptr %answer, ptr %pair, align 8
  %second = getelementptr inbounds ptr, ptr %pair, i64 1
  store ptr %given1, ptr %second, align 8
  %asked = call ptr @PyObject_Vectorcall(ptr %left, ptr %pair, i64 2, ptr null)
  call void @Py_DecRef(ptr %given1)
  call void @Py_DecRef(ptr %answer)
  ret ptr %asked
lost:
  call void @Py_DecRef(ptr %answer)
  ret ptr null

miss:
  call void @drop(ptr %operands, i64 %n)
  br label %refuse
refuse:
  %refused = call ptr @pointer(ptr %table, i64 $W_REFUSED)
  call void @Py_IncRef(ptr %refused)
  ret ptr %refused
}
"""
