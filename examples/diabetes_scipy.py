"""Fit two classical models with SciPy's optimizers, on real tables.

`value_and_grad(loss)` is what `scipy.optimize.minimize(..., jac=True)` asks for, and
`hessian(loss)` is what its Newton methods and the standard errors need.  Ridge
regression on the diabetes table and logistic regression on the breast cancer table;
each must agree with scikit-learn's own solution.

Run it with `python examples/diabetes_scipy.py`.
"""

import numpy as np
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge

from tracejit import hessian, value_and_grad


def standardised(x):
    """Return the columns of x with mean 0 and standard deviation 1."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def print_table(names, estimates, errors, rows=5):
    """Print the first estimates with their standard errors."""
    print(f"    {'':<18}{'estimate':>10}{'std. error':>12}{'z':>8}")
    for name, b, e in list(zip(names, estimates, errors, strict=True))[:rows]:
        print(f"    {name:<18}{b:>10.3f}{e:>12.3f}{b / e:>8.2f}")
    print(f"    ... {len(names)} in all")


def ridge(penalty=1.0):
    """Predict the progress of diabetes from ten measurements of 442 patients."""
    data = load_diabetes()
    x, y = standardised(data.data), data.target

    def loss(beta):
        """Return the squared errors plus the penalty; beta[0] is the intercept."""
        residual = y - beta[0] - x @ beta[1:]
        return np.dot(residual, residual) + penalty * np.dot(beta[1:], beta[1:])

    start = np.zeros(1 + x.shape[1])
    fit = minimize(
        value_and_grad(loss), start, jac=True, hess=hessian(loss), method="trust-exact"
    )
    assert fit.success, fit.message

    model = Ridge(alpha=penalty).fit(x, y)
    expected = np.array([model.intercept_, *model.coef_])
    assert_allclose(fit.x, expected, rtol=1e-6, atol=1e-6)

    # The loss is twice the negative log-likelihood times the noise's variance, so its
    # Hessian is twice the precision of beta times that variance.
    variance = np.sum((y - model.predict(x)) ** 2) / (len(y) - len(start))
    errors = np.sqrt(np.diag(2 * variance * np.linalg.inv(hessian(loss)(fit.x))))
    design = np.column_stack([np.ones(len(y)), x])
    ridge_term = penalty * np.diag([0.0] + [1.0] * x.shape[1])
    precision = (design.T @ design + ridge_term) / variance
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(precision))), rtol=1e-6)

    print("ridge regression, diabetes: within 1e-6 of scikit-learn")
    print_table(["intercept", *data.feature_names], fit.x, errors)


def logistic(penalty=1.0):
    """Tell benign from malignant tumours by thirty measurements of their cells."""
    data = load_breast_cancer()
    x, y = standardised(data.data), data.target

    def loss(beta):
        """Return the negative log-likelihood plus the penalty."""
        score = beta[0] + x @ beta[1:]
        misfit = np.sum(np.logaddexp(0, score) - y * score)
        return misfit + 0.5 * penalty * np.dot(beta[1:], beta[1:])

    start = np.zeros(1 + x.shape[1])
    tight = {"ftol": 1e-16, "gtol": 1e-7}
    fit = minimize(
        value_and_grad(loss), start, jac=True, method="L-BFGS-B", options=tight
    )
    assert fit.success, fit.message

    model = LogisticRegression(C=1 / penalty, solver="newton-cholesky", tol=1e-10)
    model.fit(x, y)
    expected = np.array([*model.intercept_, *model.coef_[0]])
    assert_allclose(fit.x, expected, rtol=1e-6, atol=1e-6)

    errors = np.sqrt(np.diag(np.linalg.inv(hessian(loss)(fit.x))))
    design = np.column_stack([np.ones(len(y)), x])
    p = expit(design @ fit.x)
    information = (design * (p * (1 - p))[:, None]).T @ design
    information += penalty * np.diag([0.0] + [1.0] * x.shape[1])
    assert_allclose(errors, np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-6)

    right = np.mean((design @ fit.x > 0) == y)
    assert right > 0.98

    print(f"\nlogistic regression, breast cancer: {right:.1%} of 569 classified right,")
    print("    within 1e-6 of scikit-learn")
    print_table(["intercept", *data.feature_names], fit.x, errors)


if __name__ == "__main__":
    ridge()
    logistic()
