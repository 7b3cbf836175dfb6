"""A few columns side by side in one register, for compiled loops: what Numba's own loops do not keep there.

In: places in C-contiguous arrays. Out: LLVM vectors of `width` entries, with the operations that the kernels need. Of a
masked vector only the first `count` entries are read or written; the others are 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

# Numba's types, contexts and signatures, and the values of llvmlite, declare no types themselves
Node: TypeAlias = Any
Operation: TypeAlias = Callable[..., Node]

_I32 = ir.IntType(32)
_CACHE_LINE = 64  # bytes


class Lanes(types.Type):
    """The type of `width` numbers held together."""

    def __init__(self, scalar: Node, width: int) -> None:
        self.scalar, self.width = scalar, width
        super().__init__(name=f"Lanes({scalar}, {width})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """Lanes are an LLVM vector, which the compiler splits into as many registers as the processor needs."""

    def __init__(self, manager: Node, lanes: Lanes) -> None:
        scalar = manager.lookup(lanes.scalar).get_value_type()
        super().__init__(manager, lanes, ir.VectorType(scalar, lanes.width))  # type: ignore[no-untyped-call]


def _operation(make: Operation) -> Operation:
    """Return an operation that compiled code may call, from its type and the instructions it stands for."""
    operation: Operation = intrinsic(prefer_literal=True)(make)
    return operation


def _name(operation: str, vector: ir.VectorType) -> str:
    return f"llvm.{operation}.v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"


def _function(module: Node, kind: ir.FunctionType, name: str) -> Node:
    return module.globals.get(name) or ir.Function(module, kind, name)


def _call(builder: Node, operation: str, *values: Node) -> Node:
    """Call an LLVM intrinsic that takes vectors of one type and gives one."""
    vector = values[0].type
    kind = ir.FunctionType(vector, [vector] * len(values))
    return builder.call(_function(builder.module, kind, _name(operation, vector)), values)


def _splat(builder: Node, value: Node, width: int) -> Node:
    vector = ir.VectorType(value.type, width)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_I32, 0))
    everywhere = ir.Constant(ir.VectorType(_I32, width), [0] * width)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), everywhere)


def _as(builder: Node, value: Node, kind: Node) -> Node:
    """Return a number, or lanes, in another precision."""
    if value.type == kind:
        return value
    return (builder.fpext if isinstance(getattr(kind, "element", kind), ir.DoubleType) else builder.fptrunc)(
        value, kind
    )


def _mask(builder: Node, count: Node, width: int) -> Node:
    lanes = ir.Constant(ir.VectorType(_I32, width), list(range(width)))
    return builder.icmp_unsigned("<", lanes, _splat(builder, builder.trunc(count, _I32), width))


def _pointer(context: Node, builder: Node, kind: Node, array: Node, *, at: Node, vector: Node) -> Node:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


def _check(array: Node) -> None:
    if not isinstance(array, types.Array) or array.layout != "C":
        raise TypingError(f"lanes are of C-contiguous arrays, not of {array}")


@_operation
def load(typing: Node, array: Node, at: Node, count: Node, width: Node, masked: Node) -> Node:
    """Return the entries from place `at` on."""
    _check(array)
    lanes, wide, some = Lanes(array.dtype, width.literal_value), width.literal_value, masked.literal_value

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        """Emit a load of a whole vector, or of its first entries."""
        vector = context.get_value_type(lanes)
        pointer = _pointer(context, builder, array, values[0], at=values[1], vector=vector)
        align = context.get_abi_sizeof(vector.element)
        if not some:
            return builder.load(pointer, align=align)
        mask = _mask(builder, values[2], wide)
        kind = ir.FunctionType(vector, [pointer.type, _I32, mask.type, vector])
        function = _function(builder.module, kind, _name("masked.load", vector) + ".p0")
        return builder.call(function, [pointer, ir.Constant(_I32, align), mask, ir.Constant(vector, None)])

    return lanes(array, at, count, width, masked), generate


@_operation
def store(typing: Node, array: Node, at: Node, count: Node, masked: Node, value: Node) -> Node:
    """Write the entries from place `at` on, in the precision of the array."""
    _check(array)
    some = masked.literal_value

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        """Emit a store of a whole vector, or of its first entries."""
        vector = ir.VectorType(context.get_value_type(array.dtype), values[4].type.count)
        entries = _as(builder, values[4], vector)
        pointer = _pointer(context, builder, array, values[0], at=values[1], vector=vector)
        align = context.get_abi_sizeof(vector.element)
        if not some:
            builder.store(entries, pointer, align=align)
            return context.get_dummy_value()
        mask = _mask(builder, values[2], vector.count)
        kind = ir.FunctionType(ir.VoidType(), [vector, pointer.type, _I32, mask.type])
        function = _function(builder.module, kind, _name("masked.store", vector) + ".p0")
        builder.call(function, [entries, pointer, ir.Constant(_I32, align), mask])
        return context.get_dummy_value()

    return types.void(array, at, count, masked, value), generate


@_operation
def zeros(typing: Node, like: Node) -> Node:
    """Return lanes of 0, of the type of others."""

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        return ir.Constant(values[0].type, None)

    return like(like), generate


@_operation
def fma(typing: Node, factor: Node, x: Node, total: Node) -> Node:
    """Return ``total + factor * x``, rounded once where the processor can; `factor` is lanes or one number."""

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        first, x, total = values
        if not isinstance(factor, Lanes):
            first = _splat(builder, _as(builder, first, x.type.element), x.type.count)
        return _call(builder, "fmuladd", first, x, total)

    return total(factor, x, total), generate


@_operation
def add(typing: Node, x: Node, y: Node) -> Node:
    """Return ``x + y``."""
    return x(x, y), lambda context, builder, signature, values: builder.fadd(*values)


@_operation
def larger(typing: Node, x: Node, y: Node) -> Node:
    """Return the larger of x and |y|, NaN where either is."""

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        return _call(builder, "maximum", values[0], _call(builder, "fabs", values[1]))

    return x(x, y), generate


@_operation
def exceeds(typing: Node, x: Node, bound: Node) -> Node:
    """Return whether any |x| is larger than `bound`, lanes or one number; what is NaN is not."""

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        size, width, most = _call(builder, "fabs", values[0]), values[0].type.count, values[1]
        if not isinstance(bound, Lanes):
            most = _splat(builder, _as(builder, most, size.type.element), width)
        larger = builder.fcmp_ordered(">", size, most)
        whole = ir.IntType(width)
        return builder.icmp_unsigned("!=", builder.bitcast(larger, whole), ir.Constant(whole, 0))

    return types.boolean(x, bound), generate


@_operation
def prefetch(typing: Node, array: Node, at: Node, width: Node) -> Node:
    """Ask for the memory of `width` entries from `at` on, read soon; nothing is read, even where there are none."""
    _check(array)
    wide = width.literal_value

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        kind, entry = ir.IntType(8), context.get_abi_sizeof(context.get_value_type(array.dtype))
        first = _pointer(context, builder, array, values[0], at=values[1], vector=kind)
        into = ir.FunctionType(ir.VoidType(), [first.type, _I32, _I32, _I32])
        function = _function(builder.module, into, "llvm.prefetch.p0")
        for line in range(0, wide * entry, _CACHE_LINE):
            # to be read, of the nearest cache, of data
            asked = [builder.gep(first, [_I32(line)]), *(_I32(number) for number in (0, 3, 1))]
            builder.call(function, asked)
        return context.get_dummy_value()

    return types.void(array, at, width), generate


@_operation
def widened(typing: Node, x: Node) -> Node:
    """Return lanes in float64."""
    lanes = Lanes(types.float64, x.width)

    def generate(context: Node, builder: Node, signature: Node, values: Node) -> Node:
        return values[0] if x.scalar == types.float64 else builder.fpext(values[0], context.get_value_type(lanes))

    return lanes(x), generate
