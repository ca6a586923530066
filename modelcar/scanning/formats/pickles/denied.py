"""Names that have no business in a model: what runs code, starts programs, reaches files and networks, or calls others.

The list need not be complete to be safe, since whatever is not vetted is unverified; it decides what is called an
attack. It covers what has been published about ways past pickle scanners.
"""

from __future__ import annotations

from typing import Final

from modelcar.scanning.formats.pickles.words import words

__all__ = ["is_dangerous", "is_door", "is_embedded_code"]

# With everything below them.
_MODULES: Final = words(
    """
    os posix nt posixpath ntpath genericpath sys subprocess _posixsubprocess commands popen2 pty tty pipes pexpect sh
    plumbum runpy importlib imp _imp _frozen_importlib _frozen_importlib_external zipimport pkgutil site
    code codeop compileall py_compile marshal symtable
    pickle _pickle cPickle shelve jsonpickle ctypes _ctypes cffi _cffi_backend
    multiprocessing _multiprocessing multiprocess concurrent asyncio _asyncio threading _thread thread _threading_local
    signal _signal atexit sched _interpreters _xxsubinterpreters interpreters
    socket _socket socketserver SocketServer ssl _ssl select selectors http httplib urllib.request urllib.error
    urllib.robotparser urllib2 urllib3 requests httpx aiohttp websockets ftplib smtplib smtpd imaplib poplib nntplib
    telnetlib xmlrpc xmlrpclib webbrowser antigravity paramiko fabric invoke wsgiref cgi
    shutil tempfile glob fileinput linecache mmap filecmp zipfile tarfile sqlite3 _sqlite3 dbm anydbm gdbm _dbm _gdbm
    syslog logging.config logging.handlers netrc
    trace timeit profile cProfile pdb bdb pydoc doctest unittest test idlelib lib2to3 distutils setuptools pkg_resources
    pip ensurepip venv virtualenv gc inspect platform rlcompleter cmd turtledemo
    _osx_support _aix_support _pyrepl _posixshmem _winapi winreg _winreg msvcrt msilib win32api win32com
    IPython ipykernel pytest _pytest nose jinja2 mako docker execnet psutil
    numpy.f2py numpy.distutils numpy.testing numpy.ctypeslib numpy.lib.npyio numpy.lib._npyio_impl numpy.lib.format
    numpy.lib._datasource numpy.compat
    pandas.io pandas.core.computation scipy.io scipy.weave
    torch.hub torch._dynamo torch._inductor torch.package torch.testing torch.multiprocessing torch.distributed.rpc
    torch.distributed.elastic torch.distributed.launch torch.distributed.run torch.utils.cpp_extension
    torch.utils.collect_env torch.utils.bottleneck torch.utils.model_zoo torch.utils._config_module
    torch.utils.data.datapipes torch.utils._cpp_extension_versioner torch.utils.hipify torch.utils.benchmark
    torch.fx.experimental
    torch.jit.unsupported_tensor_ops torch._export torch.export torch.onnx torch.contrib
    tensorflow.io tensorflow.raw_ops tensorflow.python.lib.io tensorflow.python.platform tensorflow.python.ops.io_ops
    tensorflow.python.ops.gen_io_ops tensorflow.python.framework.load_library tensorflow.python.ops.script_ops
    transformers.dynamic_module_utils transformers.utils.hub
    picklescan modelscan fickling modelcar
    """
)
_NAMES: Final = {
    "builtins": """eval exec execfile compile __import__ open input raw_input breakpoint setattr delattr globals locals
        vars apply reload file map filter help exit quit __build_class__ __loader__ __spec__""",
    "operator": "methodcaller call",
    "functools": "reduce partialmethod",
    "types": "CodeType FunctionType LambdaType MethodType ModuleType WrapperDescriptorType CellType",
    "copyreg": "pickle add_extension remove_extension constructor",
    "io": "open open_code FileIO OpenWrapper",
    "codecs": "open register register_error lookup",
    "_codecs": "register register_error",
    "tokenize": "open",
    "gzip": "open GzipFile",
    "bz2": "open BZ2File",
    "lzma": "open LZMAFile",
    "weakref": "finalize",
    "logging": "FileHandler basicConfig _FileHandler",
    "uuid": "_get_command_stdout _popen getnode _find_mac _ifconfig_getter _ip_getter _arp_getter _lanscan_getter",
    "dill": "load loads load_session load_module load_module_asdict",
    "dill._dill": "load loads Unpickler _import_module _eval_repr _get_attr",
    "dill.session": "load_session load_module load_module_asdict",
    "cloudpickle": "load loads",
    "joblib": "load",
    "joblib.numpy_pickle": "load _unpickle",
    "torch": "load compile from_file",
    "torch.serialization": "load _load _legacy_load",
    "torch.jit": "load",
    "torch.jit._serialization": "load",
    "torch._classes": "load_library",
    "torch._ops": "load_library",
    "numpy": """load loads loadtxt genfromtxt fromfile fromregex fromstring memmap save savez savez_compressed savetxt
        DataSource vectorize apply_along_axis apply_over_axes fromfunction frompyfunc piecewise""",
    "numpy.core.multiarray": "fromfile",
    "numpy._core.multiarray": "fromfile",
    "numpy.core.memmap": "memmap",
    "numpy._core.memmap": "memmap",
    "numpy.matlib": "load",
    "pandas": "read_pickle eval",
    "sympy": "sympify parse_expr",
    "yaml": "load unsafe_load full_load load_all unsafe_load_all",
    "tensorflow": "load_library load_op_library py_function numpy_function",
    "huggingface_hub": "hf_hub_download snapshot_download upload_file upload_folder",
}
_DANGEROUS_NAMES: Final = {module: words(names) for module, names in _NAMES.items()}
_ALIASES: Final = {
    "__builtin__": "builtins",
    "__builtins__": "builtins",
    "_operator": "operator",
    "_functools": "functools",
    "_io": "io",
    "_pyio": "io",
    "copy_reg": "copyreg",
}

_EMBEDDED_CODE: Final = words(
    """
    cloudpickle dill joblib.externals srsly.cloudpickle pyspark.cloudpickle ray.cloudpickle pathos
    torch.fx.graph_module torch.fx._lazy_graph_module
    """
)

# Attributes by which one gets from anything to everything, whatever they are attributes of.
_DOORS: Final = words(
    """
    __builtins__ __globals__ __import__ __subclasses__ __mro__ __bases__ __base__ __getattribute__ __getattr__
    __dict__ __code__ __closure__ __loader__ __spec__ __init_subclass__ __reduce__ __reduce_ex__ __func__ __self__
    f_globals f_locals f_builtins gi_frame tb_frame func_globals func_code im_func
    system popen execv execve execvp startfile check_output getoutput Popen run_code _run_code runcode runsource
    eval exec execfile import_module load_module exec_module find_loader resolve_name
    from_file write_text write_bytes tofile rmtree unlink
    """
)
# Modules that other modules import, often under a name with a line before it.
_MODULES_WITHIN: Final = words(
    "os posix nt sys subprocess builtins importlib shutil socket ctypes pickle marshal runpy pty"
)


_DEEPEST: Final = 32  # attributes of attributes


def is_dangerous(module: str, name: str) -> bool:
    """Whether an attribute, or anything on the way to it, is such a thing. A very long way hides where it leads."""
    parts = name.split(".", _DEEPEST)
    if len(parts) > _DEEPEST:
        return True
    for i, part in enumerate(parts):
        holder = ".".join([module, *parts[:i]])
        holder = _ALIASES.get(holder, holder)
        if _lies_in(holder, _MODULES) or part in _DANGEROUS_NAMES.get(holder, ()):
            return True
    return any(is_door(part) for part in parts)


def is_door(attribute: str) -> bool:
    """Whether an attribute leads anywhere, whatever it is an attribute of."""
    return attribute in _DOORS or attribute.lstrip("_") in _MODULES_WITHIN


def is_embedded_code(module: str) -> bool:
    return _lies_in(module, _EMBEDDED_CODE)


def _lies_in(module: str, known: frozenset[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[: i + 1]) in known for i in range(min(len(parts), 8)))
