"""What a call looks like from outside: traced leaves, static leaves, words for both."""

from .call import Call, canonical, prepare, read_call
from .frames import caller, in_package
from .statics import Identity, Statics, compares_by_identity, typed
from .trees import NAMESPACE, flatten, structure, unflatten
from .words import (
    describe_call,
    describe_change,
    leaf_names,
    parameter_names,
    spec_names,
)

__all__ = [
    "NAMESPACE",
    "Call",
    "Identity",
    "Statics",
    "caller",
    "canonical",
    "compares_by_identity",
    "describe_call",
    "describe_change",
    "flatten",
    "in_package",
    "leaf_names",
    "parameter_names",
    "prepare",
    "read_call",
    "spec_names",
    "structure",
    "typed",
    "unflatten",
]
