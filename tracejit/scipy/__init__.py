"""What SciPy computes in Python, on traced and ordinary values alike.

    from tracejit.scipy import stats

The modules have the names of SciPy's: `special`, `stats`, `linalg`, `signal`,
`integrate`, `optimize`.  Each is imported when it is asked for.
"""
