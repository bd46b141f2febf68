"""`scipy.integrate` for recorded functions: initial value problems, and quadrature.

All steps of a solver are one loop inside the kernel.  Derivatives are those of the
accepted steps themselves, exact for the numbers that the solver computes; the lengths
of the steps count as given.
"""

from __future__ import annotations

from .ivp import OdeResult, odeint, solve_ivp
from .quadrature import quad

__all__ = ["OdeResult", "odeint", "quad", "solve_ivp"]
