"""Calls made again: what was checked and planned once is found by one look-up of the arguments themselves."""

import numpy as np

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.dict cimport PyDict_Values
from cpython.list cimport PyList_AsTuple
from libc.stdint cimport int64_t

from ... import _config
from .compiled_call cimport MAX_ARRAYS, CompiledCall, pin, pins_t, unpin
from .runtime cimport thread_limit

cdef object _ndarray = np.ndarray
cdef object _threads, _precision, _tuning, _threads_own, _precision_own, _tuning_own
cdef dict _process, _threads_blocks, _precision_blocks, _tuning_blocks
_threads, _precision, _tuning, _process = _config.call_settings()
_threads_own, _threads_blocks = _threads.own, _threads.blocks
_precision_own, _precision_blocks = _precision.own, _precision.blocks
_tuning_own, _tuning_blocks = _tuning.own, _tuning.blocks

# Values that are equal but not the same argument: True == 1 == 1.0. An int stands for itself.
cdef object _TRUE = object(), _FALSE = object(), _FLOAT = object(), _LIST = object()
cdef object _NO_KEY = object()

# What a key holds of one array: its number of axes and their sizes.
cdef enum:
    MAX_AXES = 5


cdef class CallCache:
    """The calls of all functions by their arguments; at most ``most`` of them, the oldest go first.

    ``array_key(array)`` is what a call is known by of an array that is not NumPy's; None where it has to go the long way.
    """

    cdef dict _known
    cdef int64_t _forgotten  # how often
    cdef object _array_key
    cdef readonly int64_t most

    def __cinit__(self, int64_t most, array_key=None):
        self._known = {}
        self._array_key = array_key
        self.most = most

    def __len__(self):
        return len(self._known)

    def forget(self):
        """Drop all calls, also those that are under way and about to be kept."""
        with cython.critical_section(self):
            self._forgotten += 1
            self._known.clear()

    cdef int keep(self, key, launch, int64_t forgotten) except -1:
        """Know one more call, unless calls were dropped since ``forgotten`` was read."""
        with cython.critical_section(self):
            if forgotten == self._forgotten:
                if len(self._known) >= self.most:
                    self._known.pop(list(self._known)[0], None)
                self._known[key] = launch
        return 0


cdef class Dispatcher:
    """How public functions enter: ``call`` launches what is known, or lets ``first`` do all that a new call takes.

    ``first(normalise, arguments, how, arrays, out)`` returns the result and what makes a CompiledCall, or None, of it. An
    array may also be a ``packed_type``, which has a ``weight``, its ``packed`` form and what that was ``made_for``.
    """

    cdef CallCache _repeats
    cdef object _first, _packed_type

    def __cinit__(self, CallCache repeats, first, packed_type=None):
        self._repeats = repeats
        self._first = first
        self._packed_type = packed_type

    def call(self, normalise, tuple arguments, tuple how, tuple arrays, out=None):
        """``normalise(*arguments, *arrays, out)``, planned as ``how`` = (algorithm, threads) says, and executed."""
        cdef pins_t pins
        cdef dict known = self._repeats._known
        cdef int64_t forgotten = self._repeats._forgotten
        pins.count, pins.packed = 0, NULL
        try:
            key = _key(normalise, arguments, how, arrays, self._packed_type, self._repeats._array_key, &pins)
            launch = None if key is None else known.get(key)
            if launch is not None:
                result = (<CompiledCall>launch).run(arrays, &pins, out)
                if result is not None:
                    return result
        finally:
            unpin(&pins)
        result, make = self._first(normalise, arguments, how, arrays, out)
        if key is not None and launch is None:
            launch = make()
            # Not if the settings changed meanwhile.
            if launch is not None and key[0] == _settings():
                self._repeats.keep(key, launch, forgotten)
        return result


cdef tuple _settings():
    """All that a call depends on besides its arguments."""
    return (_value(_threads, _threads_own, _threads_blocks), _value(_precision, _precision_own, _precision_blocks),
            _value(_tuning, _tuning_own, _tuning_blocks), thread_limit(), PyList_AsTuple(PyDict_Values(_process)))


cdef object _value(object scoped, object own, dict blocks):
    """``scoped.get()``, quick where no block is entered."""
    return scoped.get() if blocks else own.get()


cdef object _key(object normalise, tuple arguments, tuple how, tuple arrays, object packed_type, object array_key,
                 pins_t *pins):
    """What a call is known by, its arrays pinned; None where it is one that has to go the long way."""
    cdef int64_t sizes[MAX_ARRAYS * (1 + MAX_AXES)]
    cdef int64_t used = 0
    cdef const Py_buffer *view
    cdef int axis
    cdef bint is_packed
    cdef list others = None
    dtype = made_for = None
    if len(arrays) > MAX_ARRAYS:
        return None
    for array in arrays:
        if array is None:
            sizes[used] = -1
            used += 1
            pin(pins, None)
            continue
        is_packed = type(array) is not _ndarray
        if is_packed:
            if packed_type is None or type(array) is not packed_type or type(array.weight) is not _ndarray:
                return _key_of_others(normalise, arguments, how, arrays, packed_type, array_key)
            made_for, packed, array = array.made_for, array.packed, array.weight
            if packed is not None:
                pins.packed = <void *>packed
        own = array.dtype
        if own is not dtype:
            if not own.isnative or own.char not in "fdeFDbhilqBHILQE":
                return None
            if dtype is None:
                dtype = own
            elif own != dtype:
                # 8-bit integers, or indices.
                others = [] if others is None else others
                others.append((pins.count, own))
        pin(pins, array)
        view = &pins.view[pins.count - 1]
        if view.ndim > MAX_AXES:
            return None
        sizes[used] = view.ndim + is_packed * (MAX_AXES + 1)
        for axis in range(view.ndim):
            sizes[used + 1 + axis] = view.shape[axis]
        used += 1 + view.ndim
    exact, exact_how = _exact(arguments), _exact(how)
    if exact is _NO_KEY or exact_how is _NO_KEY:
        return None
    if others is not None:
        dtype = (dtype, *others)
    return (_settings(), normalise, exact, exact_how, made_for, dtype, PyBytes_FromStringAndSize(<char *>sizes, used * 8))


cdef object _key_of_others(object normalise, tuple arguments, tuple how, tuple arrays, object packed_type,
                           object array_key):
    """The same for arrays none of which is NumPy's; what is prepared for them looks at no memory that was pinned."""
    if array_key is None:
        return None
    keys = []
    for array in arrays:
        if array is not None:
            made_for = None
            if packed_type is not None and type(array) is packed_type:
                made_for, array = array.made_for, array.weight
            found = array_key(array)
            if found is None:
                return None
            array = (found, made_for)
        keys.append(array)
    exact, exact_how = _exact(arguments), _exact(how)
    if exact is _NO_KEY or exact_how is _NO_KEY:
        return None
    return (_settings(), tuple(keys), normalise, exact, exact_how)


def exact(value):
    """A key that only values equal to ``value`` and of the same meaning as arguments have; None where there is none."""
    key = _exact(value)
    return None if key is _NO_KEY else key


cdef object _exact(value):
    """``value``, or what stands for it where another value that means something else would be equal."""
    cdef Py_ssize_t i
    kind = type(value)
    if value is None or kind is int or kind is str:
        return value
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is float:
        return (_FLOAT, value)
    if isinstance(value, tuple):
        changed = None
        for i in range(len(<tuple>value)):
            item = (<tuple>value)[i]
            exact = _exact(item)
            if exact is _NO_KEY:
                return _NO_KEY
            if exact is not item:
                if changed is None:
                    changed = list(value)
                changed[i] = exact
        return value if changed is None else tuple(changed)
    if kind is list:
        exact = _exact(tuple(value))
        return _NO_KEY if exact is _NO_KEY else (_LIST, exact)
    return _NO_KEY
