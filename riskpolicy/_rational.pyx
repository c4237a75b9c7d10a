# cython: language_level=3, binding=False
"""Fractions with compiled arithmetic: the same numbers as fractions.Fraction, several times as fast.

An Exact is a Fraction, equal to it and with the same hash. What is computed from one is one again, also where the other
operand is a Fraction: it is a subclass with operators of its own, which Python asks first.
"""

from cpython.object cimport PyTypeObject
from fractions import Fraction
from math import gcd as long_gcd

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object, int*) except? -1
    object alloc "PyType_GenericAlloc"(PyTypeObject*, Py_ssize_t)
    char* PyOS_double_to_string(double, char, int, int, int*) except NULL
    void PyMem_Free(void*)
    void PyObject_GC_UnTrack(void*)


cdef object gcd(object a, object b):
    """Return the greatest common divisor, in machine words where both fit."""
    cdef int beyond_a, beyond_b
    cdef long long x = PyLong_AsLongLongAndOverflow(a, &beyond_a)
    cdef long long y = PyLong_AsLongLongAndOverflow(b, &beyond_b)
    cdef unsigned long long u, v, rest
    if beyond_a or beyond_b:
        return long_gcd(a, b)
    u = <unsigned long long> x if x >= 0 else 0 - <unsigned long long> x
    v = <unsigned long long> y if y >= 0 else 0 - <unsigned long long> y
    while v:
        rest = u % v
        u = v
        v = rest
    return u


cdef bint is_fraction(object value):
    """Return whether a value is a Fraction; a look at its type first, since Fraction's own check is slow."""
    kind = type(value)
    return kind is Exact or kind is Fraction or (kind is not int and isinstance(value, Fraction))


cdef object lowest(object numerator, object denominator):
    """Return a fraction that is in lowest terms already, its denominator above zero."""
    made = alloc(<PyTypeObject*> Exact, 0)
    made._numerator = numerator
    made._denominator = denominator
    # It holds two whole numbers and never anything else: no cycle for the collector to look for.
    PyObject_GC_UnTrack(<void*> made)
    return made


cdef object sum_of(object na, object da, object nb, object db):
    if da == db:
        if da == 1:
            return lowest(na + nb, da)
        n = na + nb
        g = gcd(n, da)
        return lowest(n, da) if g == 1 else lowest(n // g, da // g)
    g = gcd(da, db)
    if g == 1:
        return lowest(na * db + nb * da, da * db)
    s = da // g
    t = na * (db // g) + nb * s
    h = gcd(t, g)
    return lowest(t, s * db) if h == 1 else lowest(t // h, s * (db // h))


cdef object product_of(object na, object da, object nb, object db):
    if nb == 1 and db == 1:
        return lowest(na, da)
    if db != 1:
        g = gcd(na, db)
        if g != 1:
            na = na // g
            db = db // g
    if da != 1:
        g = gcd(nb, da)
        if g != 1:
            nb = nb // g
            da = da // g
    return lowest(na * nb, da * db)


cdef object quotient_of(object na, object da, object nb, object db):
    if nb == 0:
        raise ZeroDivisionError(f"Fraction({na * db}, 0)")
    if nb < 0:
        return product_of(na, da, -db, -nb)
    return product_of(na, da, db, nb)


class Exact(Fraction):
    """A Fraction; arithmetic with fractions and whole numbers gives an Exact, all else goes the way of Fraction."""

    __slots__ = ()

    def __add__(a, b):
        if is_fraction(b):
            return sum_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(b) is int:
            return lowest(a._numerator + b * a._denominator, a._denominator)
        return Fraction.__add__(a, b)

    def __radd__(b, a):
        if is_fraction(a):
            return sum_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(a) is int:
            return lowest(b._numerator + a * b._denominator, b._denominator)
        return Fraction.__radd__(b, a)

    def __sub__(a, b):
        if is_fraction(b):
            return sum_of(a._numerator, a._denominator, -b._numerator, b._denominator)
        if type(b) is int:
            return lowest(a._numerator - b * a._denominator, a._denominator)
        return Fraction.__sub__(a, b)

    def __rsub__(b, a):
        if is_fraction(a):
            return sum_of(a._numerator, a._denominator, -b._numerator, b._denominator)
        if type(a) is int:
            return lowest(a * b._denominator - b._numerator, b._denominator)
        return Fraction.__rsub__(b, a)

    def __mul__(a, b):
        if is_fraction(b):
            return product_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(b) is int:
            return product_of(a._numerator, a._denominator, b, 1)
        return Fraction.__mul__(a, b)

    def __rmul__(b, a):
        if is_fraction(a):
            return product_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(a) is int:
            return product_of(a, 1, b._numerator, b._denominator)
        return Fraction.__rmul__(b, a)

    def __truediv__(a, b):
        if is_fraction(b):
            return quotient_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(b) is int:
            return quotient_of(a._numerator, a._denominator, b, 1)
        return Fraction.__truediv__(a, b)

    def __rtruediv__(b, a):
        if is_fraction(a):
            return quotient_of(a._numerator, a._denominator, b._numerator, b._denominator)
        if type(a) is int:
            return quotient_of(a, 1, b._numerator, b._denominator)
        return Fraction.__rtruediv__(b, a)

    def __floordiv__(a, b):
        if is_fraction(b):
            return (a._numerator * b._denominator) // (a._denominator * b._numerator)
        return Fraction.__floordiv__(a, b)

    def __rfloordiv__(b, a):
        if is_fraction(a):
            return (a._numerator * b._denominator) // (a._denominator * b._numerator)
        return Fraction.__rfloordiv__(b, a)

    def __neg__(a):
        return lowest(-a._numerator, a._denominator)

    def __abs__(a):
        return lowest(abs(a._numerator), a._denominator)

    def __float__(a):
        return a._numerator / a._denominator

    def __bool__(a):
        return bool(a._numerator)

    def __eq__(a, b):
        if type(b) is int:
            return a._denominator == 1 and a._numerator == b
        if is_fraction(b):
            return a._numerator == b._numerator and a._denominator == b._denominator
        return Fraction.__eq__(a, b)

    __hash__ = Fraction.__hash__

    def __lt__(a, b):
        if is_fraction(b):
            return a._numerator * b._denominator < b._numerator * a._denominator
        if type(b) is int:
            return a._numerator < b * a._denominator
        return Fraction.__lt__(a, b)

    def __le__(a, b):
        if is_fraction(b):
            return a._numerator * b._denominator <= b._numerator * a._denominator
        if type(b) is int:
            return a._numerator <= b * a._denominator
        return Fraction.__le__(a, b)

    def __gt__(a, b):
        if is_fraction(b):
            return a._numerator * b._denominator > b._numerator * a._denominator
        if type(b) is int:
            return a._numerator > b * a._denominator
        return Fraction.__gt__(a, b)

    def __ge__(a, b):
        if is_fraction(b):
            return a._numerator * b._denominator >= b._numerator * a._denominator
        if type(b) is int:
            return a._numerator >= b * a._denominator
        return Fraction.__ge__(a, b)

    def __round__(a, digits=None):
        if digits is not None:
            return Fraction.__round__(a, digits)
        floor, rest = divmod(a._numerator, a._denominator)
        twice = rest * 2
        if twice < a._denominator or (twice == a._denominator and floor % 2 == 0):
            return floor
        return floor + 1

    def __repr__(a):
        return f"Fraction({a._numerator}, {a._denominator})"

    def __reduce__(a):
        return exact_of, (a._numerator, a._denominator)


def exact_of(numerator, denominator=1):
    """Return a fraction of two whole numbers."""
    if denominator == 0:
        raise ZeroDivisionError(f"Fraction({numerator}, 0)")
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    g = gcd(numerator, denominator)
    return lowest(numerator, denominator) if g == 1 else lowest(numerator // g, denominator // g)


def shortest(double value):
    """Return the shortest decimal that reads back as the float, as a fraction.

    ValueError for NaN and OverflowError for infinity, as fractions have it.
    """
    cdef char* text
    cdef char* c
    cdef long long digits = 0
    cdef int places = 0, exponent = 0
    cdef bint negative = False, point = False
    if value != value or value - value != 0:
        return Fraction(value)
    text = PyOS_double_to_string(value, c"r", 0, 0, NULL)
    try:
        c = text
        if c[0] == c"-":
            negative = True
            c += 1
        # At most 17 digits, so they fit into a word.
        while c[0] and c[0] != c"e":
            if c[0] == c".":
                point = True
            else:
                digits = digits * 10 + (c[0] - c"0")
                places += point
            c += 1
        if c[0] == c"e":
            exponent = int(c + 1)
    finally:
        PyMem_Free(text)
    places -= exponent
    while digits and places > 0 and digits % 10 == 0:
        digits //= 10
        places -= 1
    if negative:
        digits = -digits
    if places <= 0 or digits == 0:
        return lowest((<object> digits) * (<object> 10) ** (-places) if digits else 0, 1)
    return exact_of(digits, POWERS[places] if places < 19 else (<object> 10) ** places)


cdef tuple POWERS = tuple([10**k for k in range(19)])
