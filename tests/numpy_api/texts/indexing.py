"""Indexing, looking up, counting, sets, diagonals, polynomials."""

SMOOTH = """
x[0]
x[..., -1]
x[::-1]
x[..., None, ::2]
c[1, :, 0]
c[[0, 1, 1]]
c[[0, 1], [1, 0]]
c[:, [0, 1], 1]
c[[[0], [1]], :, [0, 1]]
m[m > 0]
x[b]
x[~b]
c[:, c[0, :, 0] > 0]
c[c[:, 0, 0] > 0, 1]
m[np.argmax(m[:, 0]), 0]
m[1:, [0, -1]]
np.take(x, [0, -1, 0], mode='raise')
np.take(x, [[0, 5], [-7, 1]], axis=AXIS, mode='wrap')
np.take(x, [0, 9], axis=AXIS, mode='clip')
np.take(v, indices=np.argsort(w, kind='stable'))
np.take_along_axis(x, np.argsort(y, AXIS, 'stable'), axis=AXIS)
np.take_along_axis(x, np.argsort(y, None, 'stable'), axis=None)
np.take_along_axis(x, indices=np.argmax(y, axis=AXIS, keepdims=True), axis=AXIS)
np.compress([True, False], d, axis=AXIS)
np.compress(v > 0, v)
np.compress([1, 0, 1, 0, 0, 0, 0, 0], v)
np.extract(x > 0, x)
np.extract(condition=b, arr=x)
np.diag(v, k=SMALL)
np.diag(m, k=SMALL)
np.diagonal(c, offset=SMALL, axis1=AXIS, axis2=(AXIS + 1) % 3)
np.linalg.diagonal(c, offset=SMALL)
np.diagflat(x, k=SMALL)
np.tril(c, k=SMALL)
np.triu(m, k=SMALL)
np.tril(v)
np.r_[v, 0.5, q]
np.r_[1:3, v, -1:q:3j]
np.r_['0,2', m, n.T[:0], np.ones(m.shape[1])]
np.r_['1', m, o]
np.c_[v, w]
np.c_[m, o, np.ones(m.shape[0])]
np.unique(x)
np.unique(np.round(x), return_index=True, return_inverse=True, return_counts=True)
np.unique(v, axis=0, equal_nan=FLAG, sorted=True)
np.unique(np.round(m), axis=0, return_index=True, return_counts=True)
np.unique(np.concatenate([c, c[:, :1]], axis=1), axis=1, return_inverse=True)
np.unique(c, axis=-1)
np.histogram(x, bins=COUNT)
np.histogram(v, bins=k, weights=w)
np.histogram(v, 3, range=(-1.0, q * q + 0.5), weights=w * w, density=False)
np.histogram(v, bins=[-1.0, q * q, 2.5], density=True)
np.histogram_bin_edges(x, bins=4)
np.histogram_bin_edges(v, bins=COUNT, range=(q - 1.0, 2.0), weights=None)
np.histogram2d(v, w, bins=2)
np.histogram2d(v, w, bins=(2, [-9.0, q, 9.0]), weights=w * w, density=True)
np.histogram2d(v, w, bins=k, range=None)
np.histogramdd(m.T, bins=[2] * m.shape[0], range=[(-3.0, q + 3.0)] * m.shape[0])
np.histogramdd((v, w), bins=3, weights=v * v, density=True)
np.unique_counts(x)
np.unique_inverse(v)
np.unique_all(v)
np.sort(np.unique_values(x))
np.union1d(v, w)
np.intersect1d(np.r_[v, w], v, assume_unique=False)
np.intersect1d(v, v[::-1], return_indices=True)
np.setxor1d(v, w, assume_unique=True)
np.setdiff1d(np.r_[v, w], w)
np.setdiff1d(v, w, assume_unique=True)
np.bincount(j.ravel(), weights=x.ravel(), minlength=2)
np.bincount(j.ravel(), x.ravel())
np.ix_(v, w)
np.polyval(v, x)
np.polyval(p=g, x=q)
np.polyval([q, 1.0, 2.0], 0.5)
np.polyadd(v, g)
np.polysub(g, v)
np.polymul(v, g)
np.polydiv(v, 3.5 + abs(g))[0]
np.polyder(v, m=COUNT)
np.polyint(v, m=2, k=[q, 1.0])
np.polyint(v)
np.polyint(v, m=COUNT, k=q)
np.poly(g)
x.take([0, 1, 0], axis=AXIS, mode='clip')
v.compress(w > 0)
d.compress([True, False, True], axis=1)
m.diagonal(offset=SMALL, axis1=1, axis2=0)
""".strip().splitlines()

CONSTANT = """
np.nonzero(x > 0)
np.flatnonzero(x > 0)
np.argwhere(x > 0)
np.where(x > 0)
np.searchsorted(k, x, side=SIDE)
np.searchsorted(v, 0.25, side=SIDE, sorter=np.argsort(v))
np.searchsorted([0.0, 0.5], q)
np.digitize(x, k, right=FLAG)
np.digitize(x, bins=k[::-1])
np.bincount(j.ravel(), minlength=COUNT)
np.isin(np.round(x), [0.0, 1.0], assume_unique=FLAG, invert=FLAG, kind='sort')
np.unravel_index(j, (2, 3, 4))
np.unravel_index(j, shape=(4, 7), order=ORDER2)
np.ravel_multi_index((j, i % 4), (6, 4), mode='raise', order=ORDER2)
np.ravel_multi_index((j, i), dims=(3, 4), mode=('wrap', 'clip'))
k.searchsorted(x, side=SIDE, sorter=None)
b.nonzero()
""".strip().splitlines()
