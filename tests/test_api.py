"""The transforms: values, structures, nesting, rules, errors."""

import copy
import functools
import itertools
import pickle

import numpy as np
import pytest

import tracejit as tj
from tracejit import (
    checkpoint,
    custom_jvp,
    custom_vjp,
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)

X = np.array([1.0, 2.0, 3.0])
Y = np.array([0.5, -1.0, 2.0])


def equal(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def text_of(error):
    """The message behind the user's position, which names this file."""
    where, _, what = str(error.value).partition(": ")
    assert where.startswith("test_api.py:")
    return what


# --- return conventions ---------------------------------------------------------------


def test_value_and_grad_with_aux():
    def f(x, y):
        return np.sum(x * y), {"product": x * y, "text": "kept"}

    (value, aux), gradient = value_and_grad(f, has_aux=True)(X, Y)
    equal(value, np.sum(X * Y))
    equal(aux["product"], X * Y)
    assert aux["text"] == "kept"
    equal(gradient, Y)
    gradient, aux = grad(f, argnums=(1,), has_aux=True)(X, Y)
    assert type(gradient) is tuple
    equal(gradient[0], X)


def test_negative_argnums():
    equal(grad(lambda x, y: np.sum(x * y), argnums=-1)(X, Y), X)


def test_keyword_arguments_are_traced():
    f = grad(lambda x, y=1.0, *, z: np.sum(x * y * z))
    equal(f(X, y=Y, z=2.0), 2 * Y)
    equal(f(X, z=3.0, y=Y), 3 * Y)
    assert f.stats().traces == 1


@pytest.mark.parametrize(
    ("arg", "kind"),
    [
        (2.0, np.float64),
        (np.float64(2.0), np.float64),
        (np.float32(2.0), np.float32),
        (np.float32([2.0]), np.ndarray),
    ],
)
def test_gradients_have_the_arguments_dtype(arg, kind):
    gradient = grad(lambda x: np.sum(x * x))(arg)
    assert type(gradient) is kind
    assert np.asarray(gradient).dtype == np.asarray(np.zeros_like(arg)).dtype
    equal(gradient, np.full(np.shape(arg), 4.0))


def test_python_numbers_stay_python_numbers():
    f = jit(lambda x, n: (x * 2, n + 1, x > 1, x))
    for _ in range(3):
        out = f(2.0, 3)
        assert out == (4.0, 4, True, 2.0)
        assert [type(o) for o in out] == [float, int, bool, float]


def test_zero_gradients_are_zeros():
    gradient = grad(lambda p: np.sum(p["a"]))({"a": X, "b": np.float32([1, 2])})
    equal(gradient["b"], [0, 0])
    assert gradient["b"].dtype == np.float32
    equal(grad(lambda x: 3.0)(X), [0, 0, 0])
    equal(grad(lambda x: np.sum(np.floor(x)))(X), [0, 0, 0])
    equal(jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))


def test_none_is_a_container_without_leaves():
    equal(grad(lambda p: np.sum(p["a"]))({"a": X, "b": None})["a"], np.ones(3))


def test_ufuncs_and_builtin_functions():
    equal(elementwise_grad(np.sin)(X), np.cos(X))
    equal(grad(np.sum)(X), np.ones(3))
    equal(jit(np.linalg.norm)(X), np.linalg.norm(X))


# --- products -------------------------------------------------------------------------


def test_vjp_of_containers():
    def f(p, x):
        return {"a": p["w"] * x, "b": np.sum(p["w"])}

    y, back = vjp(f, {"w": X}, 2.0)
    equal(y["a"], 2 * X)
    ct = {"a": Y, "b": 1.0}
    dp, dx = back(ct)
    equal(dp["w"], 2 * Y + 1)
    equal(dx, np.sum(X * Y))
    equal(back({"a": 0 * Y, "b": 1.0})[0]["w"], np.ones(3))


def test_vjp_is_recorded_once_and_keeps_its_own_inputs():
    runs = []

    class Note:
        def __call__(self):
            runs.append(1)

    def f(x):
        print(end="")
        return np.sin(x) * x

    x = X.copy()
    _, back = vjp(f, x)
    x[:] = 0
    equal(back(np.ones(3))[0], np.cos(X) * X + np.sin(X))
    for k in range(3):
        _, back = vjp(f, X + k)
        equal(back(np.ones(3))[0], np.cos(X + k) * (X + k) + np.sin(X + k))
    (dispatcher,) = f.__tracejit__.dispatchers.values()
    assert dispatcher.stats.traces == 1


def test_vjp_keeps_little():
    _, back = vjp(lambda x: np.sum(np.exp(x) * 2), X)
    residuals = len(back._residuals)
    assert residuals == 1  # exp(x); neither x nor the product


def test_vjp_with_aux():
    y, back, aux = vjp(lambda x: (x * x, x.sum()), X, has_aux=True)
    equal(y, X * X)
    equal(aux, 6.0)
    equal(back(Y)[0], 2 * X * Y)


def test_vjp_inside_grad():
    def f(x):
        y, back = vjp(lambda z: z**3, x)
        return np.sum(back(np.ones(3))[0] * y)

    equal(grad(f)(X), 15 * X**4)  # 3 x^2 x^3


def test_back_inside_another_recording():
    _, back = vjp(lambda z: z**3, X)
    equal(grad(lambda ct: np.sum(back(ct)[0] ** 2))(Y), 2 * (3 * X**2) ** 2 * Y)


@pytest.mark.parametrize(
    ("ct", "expected"),
    [
        (
            np.ones(4),
            (
                "the cotangent is f64[4], the output is f64[3]. "
                "Pass a cotangent of the output's shape."
            ),
        ),
        (
            (np.ones(3),),
            (
                "the cotangent has the structure PyTreeSpec((*,)), the output "
                "PyTreeSpec(*). Pass a cotangent of the output's structure."
            ),
        ),
    ],
)
def test_wrong_cotangents(ct, expected):
    _, back = vjp(lambda x: x * x, X)
    with pytest.raises(tj.ArgumentError) as error:
        back(ct)
    assert text_of(error).replace(", namespace='tracejit'", "") == expected


def test_jvp():
    y, dy = jvp(lambda x, s: x**2 * s, (X, 3.0), (Y, 1.0))
    equal(y, 3 * X**2)
    equal(dy, 6 * X * Y + X**2)


def test_jvp_of_jvp():
    def first(x):
        return jvp(lambda z: z**4, (x,), (np.ones(3),))[1]

    equal(jvp(first, (X,), (np.ones(3),))[1], 12 * X**2)


@pytest.mark.parametrize(
    ("primals", "tangents", "expected"),
    [
        (X, Y, "jvp takes primals and tangents as tuples. Write jvp(f, (x,), (v,))."),
        (
            (X,),
            (np.ones(2),),
            (
                "jvp: a tangent is f64[2], but f64[3] is needed. Give it the shape "
                "of what it belongs to."
            ),
        ),
    ],
)
def test_wrong_tangents(primals, tangents, expected):
    with pytest.raises(tj.ArgumentError) as error:
        jvp(lambda x: x, primals, tangents)
    assert text_of(error) == expected


def test_hvp_of_containers_and_arguments():
    def f(p, s):
        return np.sum(p["a"] ** 3) * s

    product = hvp(f)({"a": X}, 2.0, {"a": Y})
    equal(product["a"], 12 * X * Y)


# --- Jacobians ------------------------------------------------------------------------


def model(p, x):
    return {"y": np.tanh(p["w"] @ x + p["b"]), "s": np.sum(p["b"]) ** 2}


@pytest.mark.parametrize("transform", [jacfwd, jacrev, jacobian])
def test_jacobian_of_trees(transform):
    rng = np.random.default_rng(0)
    p = {"w": rng.normal(size=(2, 3)), "b": rng.normal(size=2)}
    found = transform(model)(p, X)
    y = model(p, X)["y"]
    slope = np.diag(1 - y**2)
    equal(found["y"]["b"], slope)
    equal(found["y"]["w"], np.einsum("ij,k->ijk", slope, X))
    equal(found["s"]["b"], np.full(2, 2 * p["b"].sum()))
    equal(found["s"]["w"], np.zeros((2, 3)))


def test_jacobian_of_several_arguments():
    found = jacobian(lambda x, y: x * y, argnums=(0, 1))(X, Y)
    equal(found[0], np.diag(Y))
    equal(found[1], np.diag(X))


def test_jacobian_with_aux():
    found, aux = jacrev(lambda x: (x**2, x.sum()), has_aux=True)(X)
    equal(found, np.diag(2 * X))
    equal(aux, 6)


def test_jacobian_of_a_scalar_function_of_scalars():
    equal(jacobian(lambda x: x**3)(2.0), 12.0)
    equal(jacfwd(lambda x: np.stack([x, x**2]))(2.0), [1, 4])


def test_the_tape_of_a_jacobian_does_not_grow_with_the_size():
    lengths = []
    for n in (10, 20):
        f = jacrev(lambda x: np.sin(x) * x.sum())
        lengths.append(len(f.tape(np.linspace(0, 1, n)).instrs))
    assert lengths[0] == lengths[1]


def test_hessian_of_trees():
    found = hessian(lambda p: p["a"] ** 2 * np.sum(p["b"]))({"a": 2.0, "b": X})
    equal(found["a"]["a"], 12.0)
    equal(found["a"]["b"], np.full(3, 4.0))
    equal(found["b"]["a"], np.full(3, 4.0))
    equal(found["b"]["b"], np.zeros((3, 3)))


HESSIANS = [
    hessian,
    lambda f: jacfwd(grad(f)),
    lambda f: jacrev(grad(f)),
    lambda f: jacfwd(jacfwd(f)),
    lambda f: jacrev(jacrev(f)),
    lambda f: jacrev(jacfwd(f)),
    lambda f: jacobian(jacobian(f)),
    lambda f: jit(hessian(jit(f))),
]


@pytest.mark.parametrize("compute", HESSIANS)
def test_every_way_to_a_hessian(compute):
    def f(x):
        return np.sum(np.sin(x) * x[0]) + np.prod(x)

    expected = np.array(
        [
            [2 * np.cos(1.0) - np.sin(1.0), np.cos(2) + 3, np.cos(3) + 2],
            [np.cos(2) + 3, -np.sin(2.0), 1],
            [np.cos(3) + 2, 1, -np.sin(3.0)],
        ]
    )
    equal(compute(f)(X), expected)


# --- nesting --------------------------------------------------------------------------

SCALAR = {
    "grad": grad,
    "value": lambda f: lambda x: value_and_grad(f)(x)[1],
    "elementwise": elementwise_grad,
    "jacfwd": jacfwd,
    "jacrev": jacrev,
    "vjp": lambda f: lambda x: vjp(f, x)[1](1.0)[0],
    "jvp": lambda f: lambda x: jvp(f, (x,), (1.0,))[1],
}


@pytest.mark.parametrize("names", list(itertools.product(SCALAR, repeat=2)))
def test_transforms_nest_in_every_order(names):
    first, second = (SCALAR[name] for name in names)
    derivative = second(jit(first(lambda x: np.sin(x) * x)))
    equal(derivative(0.7), 2 * np.cos(0.7) - 0.7 * np.sin(0.7))


def test_third_order():
    equal(grad(grad(grad(np.sin)))(0.3), -np.cos(0.3))


def test_an_inner_derivative_does_not_see_the_outer_variable():
    """Perturbation confusion: d/dx (x * d/dy (x + y)) is 1, not 2."""
    f = grad(lambda x: x * grad(lambda y: x + y)(1.0))
    equal(f(1.0), 1.0)
    g = grad(lambda x: x * jvp(lambda y: x * y, (x,), (1.0,))[1])
    equal(g(3.0), 6.0)


def test_gradient_with_respect_to_one_use_of_a_value():
    equal(grad(lambda x: grad(lambda y: np.sum(y * x))(x).sum())(X), np.ones(3))


def test_jitted_function_inside_a_graded_one():
    @jit
    def inner(x):
        return x * scale

    scale = 2.0
    f = grad(lambda x: np.sum(inner(x) ** 2))
    equal(f(X), 8 * X)
    assert inner.stats().traces == 0
    scale = 3.0  # read by the inner function, seen by the outer trace
    equal(f(X), 18 * X)
    assert f.explain().splitlines()[1] == "trace 2: scale: was 2.0, now 3.0"


def test_a_transform_of_constants_inside_a_recording():
    f = grad(lambda x: x * grad(lambda y: y**2)(3.0))
    equal(f(1.0), 6.0)


def test_recursion():
    @jit
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    equal(power(2.0, 5), 32.0)


def test_branches_in_nested_derivatives():
    @grad
    def inner(x):
        return x**2 if x > 0 else x**3

    outer = grad(lambda x: inner(x))
    for _ in range(2):
        equal(outer(2.0), 2.0)
        equal(outer(-2.0), -12.0)
    assert outer.stats().traces == 2
    assert outer.stats().hits == 2


# --- stop_gradient, custom rules, checkpoint ------------------------------------------


def test_stop_gradient_of_containers():
    equal(
        grad(lambda x: np.sum(stop_gradient({"a": [x]})["a"][0] * x))(X),
        X,
    )
    assert stop_gradient(3.0) == 3.0
    assert stop_gradient("text") == "text"


def make_clipped():
    @custom_vjp
    def clipped(x, scale):
        return x * scale

    def fwd(x, scale):
        return x * scale, scale

    def bwd(scale, ct):
        return np.clip(ct, -1, 1) * scale, None

    clipped.defvjp(fwd, bwd)
    return clipped


def test_custom_vjp():
    clipped = make_clipped()
    equal(clipped(X, 2.0), 2 * X)
    equal(jit(clipped)(X, 2.0), 2 * X)
    equal(grad(lambda x: np.sum(clipped(x, 2.0) ** 2))(X), [2, 2, 2])
    equal(grad(lambda x: np.sum(clipped(scale=2.0, x=x) ** 2))(X), [2, 2, 2])
    equal(grad(lambda s: np.sum(clipped(X, s)))(2.0), 0.0)
    equal(jacrev(lambda x: clipped(x, 2.0))(X), 2 * np.eye(3))


def test_second_derivative_of_a_custom_vjp_goes_through_its_rules():
    @custom_vjp
    def f(x):
        return x**2

    # A wrong forward and backward rule, to see what is differentiated.
    f.defvjp(lambda x: (x**3, x), lambda x, ct: (ct * 5 * x,))
    equal(grad(f)(2.0), 10.0)
    equal(grad(grad(f))(2.0), 5.0)
    equal(hessian(f)(2.0), 5.0)
    equal(hvp(f)(2.0, 3.0), 15.0)
    value, _gradient = value_and_grad(f)(2.0)
    equal(value, 8.0)  # under differentiation the forward rule stands in, as in JAX
    equal(f(2.0), 4.0)


def test_a_forward_rule_that_calls_the_function_has_its_rule_at_all_orders():
    @custom_vjp
    def f(x):
        return np.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, ct: (ct * 7 * f(x),))
    equal(grad(f)(0.3), 7 * np.sin(0.3))
    equal(grad(grad(f))(0.3), 49 * np.sin(0.3))
    equal(jacrev(jacrev(f))(0.3), 49 * np.sin(0.3))


def test_custom_vjp_in_forward_mode_is_refused():
    clipped = make_clipped()
    with pytest.raises(tj.DifferentiationError, match="clipped has a custom reverse"):
        jvp(lambda x: clipped(x, 2.0), (X,), (X,))


def test_custom_vjp_with_static_arguments():
    @functools.partial(custom_vjp, nondiff_argnums=(1,))
    def power(x, n):
        return x**n

    power.defvjp(lambda x, n: (x**n, x), lambda n, x, ct: (ct * n * x ** (n - 1),))
    equal(grad(lambda x: np.sum(power(x, 3)))(X), 3 * X**2)


def test_a_rule_knows_its_arguments_only():
    def f(x):
        @custom_vjp
        def inner(y):
            return y * x

        inner.defvjp(lambda y: (y * x, None), lambda _, ct: (ct,))
        return np.sum(inner(x))

    with pytest.raises(tj.UnsupportedError) as error:
        grad(f)(X)
    assert text_of(error) == (
        "inner has a custom rule and uses a traced value (f64[3]) from outside its "
        "arguments. Pass the value as an argument."
    )


BAD_RULES = [
    (
        lambda x: x,
        lambda _, ct: (ct,),
        "the forward rule of f returned f64[3]. Return (output, residuals).",
    ),
    (
        lambda x: (x, None),
        lambda _, ct: ct,
        (
            "the backward rule of f returned f64[3] for 1 argument. Return a tuple "
            "with one cotangent per argument, None for zero."
        ),
    ),
    (
        lambda x: (x, None),
        lambda _, ct: (ct, ct),
        (
            "the backward rule of f returned 2 cotangents for 1 argument. Return a "
            "tuple with one cotangent per argument, None for zero."
        ),
    ),
    (
        lambda x: (x, None),
        lambda _, ct: (ct[0],),
        (
            "the rule of f returned f64[] for f64[3]. Derivatives have the shape of "
            "what they belong to."
        ),
    ),
]


@pytest.mark.parametrize(("fwd", "bwd", "expected"), BAD_RULES)
def test_bad_rules(fwd, bwd, expected):
    @custom_vjp
    def f(x):
        return x

    f.defvjp(fwd, bwd)
    with pytest.raises(tj.ArgumentError) as error:
        grad(lambda x: np.sum(f(x)))(X)
    assert text_of(error) == expected


def test_a_missing_rule():
    @custom_jvp
    def f(x):
        return x

    with pytest.raises(tj.DifferentiationError) as error:
        grad(f)(1.0)
    assert text_of(error) == (
        "f was declared to have a custom rule, but has none. Call f.defjvp(rule) first."
    )


def test_custom_jvp_in_both_modes_and_orders():
    @custom_jvp
    def f(x, y):
        return np.sin(x) * y

    @f.defjvp
    def rule(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), 2 * np.cos(x) * y * dx + np.sin(x) * dy

    equal(jvp(f, (X, Y), (X, X))[1], 2 * np.cos(X) * Y * X + np.sin(X) * X)
    gx, gy = grad(lambda x, y: np.sum(f(x, y)), argnums=(0, 1))(X, Y)
    equal(gx, 2 * np.cos(X) * Y)
    equal(gy, np.sin(X))
    equal(grad(grad(f))(0.5, 2.0), -2 * np.sin(0.5) * 2)
    equal(jacfwd(f)(X, Y), np.diag(2 * np.cos(X) * Y))
    equal(jacrev(f)(X, Y), np.diag(2 * np.cos(X) * Y))


def test_custom_jvp_by_argument():
    @custom_jvp
    def f(x, y, z):
        return x * y + z

    f.defjvps(lambda t, out, x, y, z: 5 * t * y, lambda t, out, x, y, z: t * out, None)
    found = grad(lambda *a: np.sum(f(*a)), argnums=(0, 1, 2))(X, Y, X)
    equal(found[0], 5 * Y)
    equal(found[1], X * Y + X)
    equal(found[2], 0 * X)


def test_nondiff_argnames():
    @functools.partial(custom_vjp, nondiff_argnames=["n"])
    def f(x, n):
        return x**n

    f.defvjp(lambda x, n: (f(x, n), x), lambda n, x, ct: (100 * n * x * ct,))
    equal(grad(lambda x: f(x, 3))(2.0), 600.0)
    with pytest.raises(tj.UnsupportedError, match="symbolic_zeros=True: zeros are arr"):
        f.defvjp(lambda x: (x, x), lambda x, ct: (ct,), symbolic_zeros=True)


def test_checkpoint():
    def f(x, y):
        return np.sin(x) * np.exp(x * y)

    def plain(x):
        return np.sum(f(x, x[0]) ** 2)

    def kept(x):
        return np.sum(checkpoint(f)(x, x[0]) ** 2)

    equal(grad(kept)(Y), grad(plain)(Y))
    equal(hessian(kept)(Y), hessian(plain)(Y))
    equal(jvp(kept, (Y,), (X,))[1], jvp(plain, (Y,), (X,))[1])
    assert checkpoint(f)(1.0, 2.0) == f(1.0, 2.0)


def test_checkpoint_computes_again_and_sees_closures():
    @checkpoint
    def inner(x):
        return np.exp(np.sin(x))

    again = grad(lambda x: np.sum(inner(x))).tape(X)
    names = [instr.prim.name for instr in again.instrs]
    assert "barrier" in names
    f = grad(lambda x: np.sum(checkpoint(lambda y: y * x)(x)))
    equal(f(X), 2 * X)


def test_checkpoint_keeps_less():
    def chain(x):
        for _ in range(6):
            x = np.sin(np.cos(x))
        return x

    _, back = vjp(chain, X)
    _, less = vjp(checkpoint(chain), X)
    assert len(less._residuals) < len(back._residuals)
    equal(back(Y)[0], less(Y)[0])


# --- objects --------------------------------------------------------------------------


class Model:
    """Used as a method of."""

    rate = 2.0

    def __init__(self):
        self.data = X.copy()

    @value_and_grad
    def loss(self, w):
        """The loss."""
        return self.rate * np.sum(self.data * w**2)

    def plain(self, w):
        return np.sum(self.data * w)

    @staticmethod
    @grad
    def static(w):
        return np.sum(w**2)


def test_methods():
    model = Model()
    for _ in range(3):
        _value, gradient = model.loss(Y)
        equal(gradient, 4 * X * Y)
    assert Model.loss.stats().traces == 1
    assert Model.loss.stats().hits == 2
    model.data[0] = 5.0
    equal(model.loss(Y)[1], 4 * model.data * Y)
    model.rate = 1.0
    equal(model.loss(Y)[1], 2 * model.data * Y)
    assert Model.loss.__doc__ == "The loss."
    equal(Model.static(Y), 2 * Y)
    other = Model()
    equal(other.loss(Y)[1], 4 * X * Y)


def test_bound_methods_are_remembered():
    model = Model()
    for _ in range(3):
        equal(grad(model.plain)(Y), X)
        equal(vjp(model.plain, Y)[1](1.0)[0], X)
    found = Model.plain.__tracejit__.dispatchers.values()
    assert [d.stats.traces for d in found] == [1, 1]


def test_a_transform_in_a_loop_records_once():
    def f(x):
        return np.sum(x**2)

    x = X
    for _ in range(5):
        x = x - 0.1 * grad(f)(x)
    equal(x, X * 0.8**5)
    assert grad(f).stats().traces == 1
    assert value_and_grad(f).stats().traces == 0


def test_functools_wraps_does_not_mix_up_functions():
    def f(x):
        return np.sum(x**2)

    equal(grad(f)(X), 2 * X)

    @functools.wraps(f)
    def g(x):
        return f(x) * 3

    equal(grad(g)(X), 6 * X)


@grad
def at_module_level(x):
    return np.sum(x**2)


def test_pickle_and_copy():
    assert pickle.loads(pickle.dumps(at_module_level)) is at_module_level
    assert copy.deepcopy(at_module_level) is at_module_level


def test_running_a_notebook_cell_again():
    namespace = {"np": np, "grad": grad}
    for factor in (1, 2):
        exec(f"@grad\ndef f(x): return np.sum(x) * {factor}", namespace)
        equal(namespace["f"](X), np.full(3, factor))


def test_tape_and_kernels():
    f = value_and_grad(lambda x: np.sum(x * x))
    text = repr(f.tape(X))
    assert text.startswith("tape <lambda>(%0: f64[3]):")
    assert f.stats().traces == 1
    f(X)
    (kernel,) = f.kernels()
    assert kernel.source
    assert "def " in kernel.source
    assert kernel.tape is not None
    assert set(kernel.stats) >= {"compile_seconds", "from_disk"}


def test_stats_read_well():
    f = grad(lambda x: np.sum(x))
    f(X)
    assert list(vars(f.stats())) == [
        "signatures",
        "traces",
        "guard_failures",
        "kernels_compiled",
        "kernels_reused",
        "hits",
        "interpreted",
        "host_calls",
        "record_seconds",
        "compile_seconds",
    ]
    assert str(f.stats()).splitlines()[1].split() == ["traces", "1"]
    assert f.stats().record_seconds > 0
    assert repr(f) == "<grad of <lambda>>"


def test_public_names():
    assert all(hasattr(tj, name) for name in tj.__all__)


# --- errors ---------------------------------------------------------------------------

ERRORS = [
    (
        lambda: grad(lambda x: x * 2)(X),
        tj.ArgumentError,
        (
            "grad needs a scalar, but <lambda> returned f64[3]. Return a sum or a "
            "mean, or use elementwise_grad, jacobian or vjp."
        ),
    ),
    (
        lambda: grad(lambda x: (x.sum(), x))(X),
        tj.ArgumentError,
        (
            "grad needs a scalar, but <lambda> returned a tuple. Return the scalar "
            "alone, or a pair (value, aux) with has_aux=True."
        ),
    ),
    (
        lambda: value_and_grad(lambda x: x.sum())(np.arange(3)),
        tj.ArgumentError,
        (
            "value_and_grad cannot differentiate with respect to x, which is i64[3]. "
            "Pass a float, or an array with .astype(float); or choose another "
            "argument with argnums."
        ),
    ),
    (
        lambda: grad(lambda p: p["a"][0])({"a": [3, 1.0]}),
        tj.ArgumentError,
        (
            "grad cannot differentiate with respect to p['a'][0], which is int. Pass a "
            "float, or an array with .astype(float); or choose another argument with "
            "argnums."
        ),
    ),
    (
        lambda: grad(lambda x, flag: x.sum(), argnums=1)(X, True),
        tj.ArgumentError,
        (
            "grad cannot differentiate with respect to flag, which is bool. Pass a "
            "float, or an array with .astype(float); or choose another argument with "
            "argnums."
        ),
    ),
    (
        lambda: grad(lambda x: (x > 0).sum())(X),
        tj.DifferentiationError,
        (
            "grad: <lambda> returned i64[], which has no derivative. Return a float, "
            "or return it as aux with has_aux=True."
        ),
    ),
    (
        lambda: grad(lambda x: x.sum(), argnums=1)(X),
        tj.ArgumentError,
        (
            "grad: argnums=1, but <lambda> was called with 1 positional argument. Pass "
            "what is differentiated by position."
        ),
    ),
    (
        lambda: grad(lambda x: x.sum())(x=X),
        tj.ArgumentError,
        (
            "grad: argnums=0, but <lambda> was called with 0 positional arguments. "
            "Pass what is differentiated by position."
        ),
    ),
    (
        lambda: grad(lambda x: x.sum(), has_aux=True)(X),
        tj.ArgumentError,
        "has_aux=True, but <lambda> returned f64[]. Return a pair (value, aux).",
    ),
    (
        lambda: grad(3.0),
        tj.ArgumentError,
        "grad is put on functions, not on a float. Write grad(function)(arguments).",
    ),
    (
        lambda: jacobian(lambda x: x > 0)(X),
        tj.DifferentiationError,
        (
            "jacobian: <lambda> returned bool[3], which has no derivative. Return a "
            "float, or return it as aux with has_aux=True."
        ),
    ),
    (
        lambda: hessian(lambda x: x)(X),
        tj.ArgumentError,
        (
            "hessian needs a scalar, but <lambda> returned f64[3]. Return a sum or a "
            "mean, or use elementwise_grad, jacobian or vjp."
        ),
    ),
]


@pytest.mark.parametrize(("call", "kind", "expected"), ERRORS)
def test_errors(call, kind, expected):
    with pytest.raises(kind) as error:
        call()
    assert text_of(error) == expected
    assert tj.tracer.active_recorder() is None
