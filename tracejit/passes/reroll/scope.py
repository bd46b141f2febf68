"""Scopes: the body of a loop that is being woven, and the sides of branches in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...tape import Builder, Instr, Ref, Tape, const
from .classes import Key

__all__ = ["Scope"]


class Maker(Protocol):
    """Who makes what the body takes from outside."""

    def constant(self, ref: int) -> Instr | None:
        """The instr that makes a fixed value if that is a constant."""

    def provide(self, key: Key) -> Ref:
        """A value of the body that is made when somebody asks for it."""


class Scope:
    """A tape in the making: the body, or a side of a branch in it."""

    def __init__(self, maker: Maker, name: str, outer: Scope | None) -> None:
        self.maker, self.outer = maker, outer
        self.builder = Builder(name)
        self.env: dict[Key, Ref] = {}
        self.imports: dict[Key, Ref] = {}

    def get(self, key: Key) -> Ref:
        """The value of a key here, taken from outside if it is not made here."""
        if key not in self.env:
            constant = None
            if key[0] == "fixed":
                constant = self.maker.constant(key[1])
            if constant is not None:
                saved, self.builder.source = self.builder.source, constant.source
                self.env[key] = self.builder.emit(const, (), constant.params)
                self.builder.source = saved
            elif self.outer is None:
                self.env[key] = self.maker.provide(key)
            else:
                self.imports[key] = self.env[key] = self.builder.new(
                    self.outer.get(key).aval
                )
        return self.env[key]

    def side(self, outs: Sequence[Ref], keys: Sequence[Key]) -> Tape:
        """The tape over inputs for these keys."""
        assert self.outer is not None
        inputs = []
        for key in keys:
            ref = self.imports.get(key)
            if ref is None:
                ref = self.builder.new(self.outer.get(key).aval)
            inputs.append(ref.index)
        self.builder.inputs = inputs
        self.builder.source = None
        return self.builder.finish(outs)
