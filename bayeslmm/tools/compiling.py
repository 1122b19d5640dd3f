"""Numba with a cache on disk that may be stale, damaged, full, or nowhere to be kept: then the loops are compiled anew.

Numba stamps what it keeps of a function with the one file in which the function stands. But the compiled code contains
whatever the function calls, from any file, so it would survive a change there. The stamp here is of all files that hold
compiled code, and of the package's version; numba adds its own. It stands in the index, and beside the code as well: an
index that could be written where the code could not, as on a full disk, names code of older sources.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding, ir
from numba import types
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.runtime import _nrt_python
from numba.extending import intrinsic

from .. import __version__
from ..errors import CompilationWarning
from .warned import warn


def compiled(function: Callable[..., Any]) -> Any:
    """A function compiled when it is first called, for every kind of its arguments, and kept on disk.

    Floating-point errors give inf and nan, which callers look for. What Python calls fills arrays and returns none: to
    wrap one, numba runs Python, where a Ctrl-C pressed meanwhile becomes a SystemError.
    """
    # called by Python and by compiled functions, never by an address
    return kept(numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function))


def inlined(function: Callable[..., Any]) -> Any:
    """A function that numba writes into each compiled one that calls it: a name for a step that costs no call."""
    return numba.njit(nogil=True, error_model="numpy", inline="always")(function)


@inlined
def copy_into(target, source):
    """``target[:] = source`` of vectors as long, for which numba would compile two seconds of messages about shapes."""
    for i in range(target.shape[0]):
        target[i] = source[i]


def is_kept(folder: str, function: str) -> bool:
    """Whether the function of this name (`module.function`) was compiled from the sources as they are."""
    for index in Path(folder).glob(f"{function}-*.nbi"):
        try:
            if IndexDataCacheFile(folder, index.stem, source_stamp())._load_index():
                return True
        except Exception:  # a damaged index, see _Cache.load_overload
            continue
    return False


class Readiness:
    """Whether a loop is compiled, kept from before, or worth compiling: a first fit is sooner done without it.

    ``evaluations``: how often its work was done by Python, of which ``worth`` take as long as to compile it.
    """

    def __init__(self, function: Any, name: str, worth: int) -> None:
        self.function, self.name, self.worth = function, name, worth
        self.evaluations, self._is_kept = 0, False

    def __call__(self) -> bool:
        """Whether to take the compiled loop."""
        if self._is_kept:
            return True
        signatures = getattr(self.function, "signatures", None)  # none where numba is told not to compile
        if signatures is None:
            return False
        if not signatures and self.evaluations == 0:
            folder = self.function._cache.cache_path
            self._is_kept = folder is not None and is_kept(folder, self.name)
        self._is_kept = self._is_kept or bool(signatures)  # to list them takes a tenth of a millisecond
        return self._is_kept or self.evaluations >= self.worth


def kept(dispatcher: Any) -> Any:
    """A compiled function, kept on disk; with NUMBA_DISABLE_JIT numba gives the function itself."""
    if not numba.config.DISABLE_JIT:
        dispatcher._cache = _WhenUsed(dispatcher.py_func)
    return dispatcher


def compiled_for_c(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """A C function with this signature, compiled at once and kept on disk."""

    def compile_now(function):
        # nothing can be raised across an address: a division by zero is infinite, as in all that is compiled here
        options = {"error_model": "numpy"}
        made: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
        made._cache = _cache_of(function)
        made.compile()
        return made

    return compile_now


def called_at(builder: Any, address: Any, values: Any, result: Any) -> Any:
    """In the code of an intrinsic: what the C function at an address gives for some values.

    What calls by an address is compiled without what is called, and may be kept on disk: the address is handed over
    anew in every process.
    """
    function = ir.FunctionType(result, [value.type for value in values])
    return builder.call(builder.inttoptr(address, function.as_pointer()), values)


@intrinsic
def reals_at(typing_context, address):
    """Doubles at an address, for ``numba.carray``."""

    def generate(context, builder, signature, values):
        return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

    return types.CPointer(types.double)(types.intp), generate


PACKAGE = Path(__file__).parents[1]


@cache
def sources() -> tuple[Path, ...]:
    """The files of the package that hold compiled code: those that import this one."""
    return tuple(path for path in sorted(PACKAGE.rglob("*.py")) if b"compiling import" in path.read_bytes())


@cache
def source_stamp() -> str:
    """One number for everything that compiled code was made of: sources, names of their files, version."""
    digest = hashlib.sha256(__version__.encode())
    for path in sources():
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(PACKAGE).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


class _WhenUsed:
    """The cache of a function, made when it is first asked something: that of two hundred looks at as many folders."""

    def __init__(self, function):
        self._made = cache(lambda: _cache_of(function))

    def __getattr__(self, name):
        return getattr(self._made(), name)


class _Labelled(IndexDataCacheFile):
    """Files of one function, whose code says itself what it was compiled from, and for which arguments.

    Numba writes the index first and numbers files from 1: of two processes that write at once, or of one that ends
    between both, the index may name code that is not what it says.
    """

    def load(self, key):
        labelled = super().load(key)
        return labelled[1] if labelled is not None and labelled[0] == self._label(key) else None

    def save(self, key, data):
        super().save(key, (self._label(key), data))

    def _label(self, key):
        return self._source_stamp, self._version, key


class _Cache(FunctionCache):
    """What cannot be read is compiled and written anew; what cannot be written is done without."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = _Labelled(self._cache_path, self._impl.filename_base, source_stamp())

    def load_overload(self, sig, target_context):
        try:
            return self._run_only(sig, target_context)
        except Exception:  # another numba, or what is said below
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # unpickling what a full disk or a lost power supply has left may raise anything
                self._write(self.flush)
                return None

    def _run_only(self, sig, target_context):
        """As numba loads, but without all that it knows to compile, which takes three times as long to load."""
        if not RUNS_ONLY:
            return super().load_overload(sig, target_context)
        codegen = target_context.codegen()
        data = self._cache_file.load(self._index_key(sig, codegen))
        if data is None:
            return None
        (_, _, (code, _)), described = data[:2]
        if any(name in code for name in DEFINED_TO_COMPILE):
            return super().load_overload(sig, target_context)
        _define_runtime()
        ways_in = (described.llvm_func_name, described.llvm_cpython_wrapper_name, described.llvm_cfunc_wrapper_name)
        codegen._engine._defined_symbols.update(name for name in ways_in if name.encode() in code)
        codegen._library_class = _Library
        try:
            return self._impl.rebuild(target_context, data)
        finally:
            del codegen._library_class

    def save_overload(self, sig, data):
        self._write(lambda: super(_Cache, self).save_overload(sig, data))

    def _write(self, write):
        try:
            write()
        except OSError as problem:
            _say_not_kept(f"{self.cache_path}: {problem.strerror or problem}")


# where kept code was seen to find all symbols that it asks for: elsewhere numba loads it in its own way
RUNS_ONLY = sys.platform == "linux" and (0, 65) <= numba.version_info.short <= (0, 68)
# beginnings of the symbols that numba defines with what it knows to compile; to run code that asks for one ends Python
DEFINED_TO_COMPILE = (b"_numba_hashsecret", b"numba_parallel", b"set_num_threads", b"get_num_threads", b"get_thread_id")


@cache
def _define_runtime() -> None:
    """Tell LLVM where numba's reference counting stands, as numba does before it compiles."""
    for name, address in _nrt_python.c_helpers.items():
        binding.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Library(JITCodeLibrary):
    """Code from a cache. What other functions contain of it is read when one of them is compiled."""

    _shared_module: Any

    @classmethod
    def _unserialize(cls, codegen, state):
        name, _, (code, bitcode) = state
        self = cls(codegen, name)
        self._bitcode = bitcode
        self.enable_object_caching()
        self._set_compiled_object(code)
        self._finalize_final_module()
        return self

    def _get_module_for_linking(self):
        if self._shared_module is None:
            self._shared_module = binding.parse_bitcode(self._bitcode)
            self._codegen._engine._load_defined_symbols(self._shared_module)
        return self._shared_module


class _Nowhere(NullCache):
    def save_overload(self, sig, cres):
        _say_not_kept("neither the package's folder nor that of the user's caches can be written")


def _cache_of(function):
    try:
        return _Cache(function)
    except RuntimeError:  # numba has found no folder
        return _Nowhere()


@cache
def _say_not_kept(why: str) -> None:
    """Once a session for every reason."""
    warn(
        f"compiled code cannot be kept ({why}), so that every session compiles it anew, which takes some 20 seconds. "
        "Set the environment variable NUMBA_CACHE_DIR to a folder that can be written.",
        CompilationWarning,
    )
