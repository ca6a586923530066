"""Which imports are an attack, which are known to be harmless, and which are neither."""

from __future__ import annotations

import pytest

from modelcar.scanning.formats.pickles.judge import judge
from modelcar.scanning.formats.pickles.rules import CODE, DANGEROUS, NEEDS_JOBLIB, UNKNOWN
from modelcar.scanning.formats.pickles.words import words

ATTACKS = sorted(
    words("""
    os.system posix.system nt.system os.path.join subprocess.Popen builtins.eval builtins.exec builtins.compile
    builtins.__import__ builtins.setattr builtins.open __builtin__.execfile __builtin__.apply __builtin__.file
    importlib.import_module importlib.util.find_spec runpy.run_path _frozen_importlib._load pkgutil.resolve_name
    pty.spawn socket.socket ssl.get_server_certificate shutil.rmtree operator.methodcaller _operator.methodcaller
    operator.call functools.reduce types.CodeType types.FunctionType ctypes.CDLL pickle.loads _pickle.Unpickler
    cPickle.loads marshal.loads dill.loads dill._dill.loads cloudpickle.load joblib.load joblib.numpy_pickle.load
    pip.main pip._internal.main pydoc.locate pydoc.pipepager timeit.timeit profile.Profile.run cProfile.runctx
    bdb.Bdb.run pdb.run trace.Trace.runctx doctest.debug_script code.InteractiveInterpreter.runcode codeop.Compile
    idlelib.pyshell.ModifiedInterpreter.runcode idlelib.calltip.get_entity lib2to3.pgen2.grammar.Grammar.loads
    lib2to3.pgen2.pgen.ParserGenerator.make_label asyncio.unix_events._UnixSubprocessTransport._start
    multiprocessing.util.spawnv_passfds concurrent.futures.ThreadPoolExecutor torch.load torch.hub.load torch.jit.load
    torch.serialization.load torch._inductor.codecache.compile_file torch._dynamo.guards.GuardBuilder.get
    torch.utils.collect_env.run torch.utils.bottleneck.__main__.run_cprofile torch.utils._config_module.ConfigModule
    torch.utils.data.datapipes.utils.decoder.basichandlers torch.jit.unsupported_tensor_ops.execWrapper
    torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression numpy.load numpy.f2py.crackfortran.myeval
    numpy.testing._private.utils.runstring numpy.fromfile tensorflow.io.read_file tensorflow.raw_ops.WriteFile
    webbrowser.open sys.modules logging.config.listen logging.FileHandler ensurepip._run_pip venv.create
    distutils.file_util.write_file imaplib.IMAP4_stream smtplib.SMTP urllib.request.urlopen urllib2.urlopen
    requests.get requests.api.get httpx.get aiohttp.client.request httplib.HTTPSConnection uuid._get_command_stdout
    _osx_support._read_output _aix_support._read_cmd_output _pyrepl.pager.pipe_pager _io.FileIO io.open
    sqlite3.connect commands.getoutput test.support.script_helper.assert_python_ok picklescan.scanner.scan_bytes
    threading.Thread _thread.start_new_thread atexit.register signal.signal copyreg.add_extension codecs.register
""")
)
HONEST = sorted(
    words("""
    collections.OrderedDict builtins.set __builtin__.set __builtin__.unicode copy_reg._reconstructor _codecs.encode
    datetime.datetime torch._utils._rebuild_tensor_v2 torch._utils._rebuild_parameter torch.FloatStorage
    torch.storage.UntypedStorage torch.bfloat16 torch.Size torch.device numpy.ndarray numpy.dtype
    numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct numpy._core.numeric._frombuffer
""")
)
UNKNOWN_ONES = sorted(
    words("""
    sklearn.linear_model._logistic.LogisticRegression torch.nn.modules.linear.Linear __main__.Net re._compile
    functools.partial builtins.getattr operator.itemgetter collections.namedtuple torch._utils._rebuild_sparse_tensor
    torch._tensor._rebuild_from_type_v2 builtins.type logging.getLogger uuid.UUID io.BytesIO random.Random
    transformers.training_args.TrainingArguments
""")
)


def split(whole: str) -> tuple[str, str]:
    """At the first name with a capital letter, or the last dot: as the attribute path of a class."""
    parts = whole.split(".")
    first = next((i for i, part in enumerate(parts) if i and part[0].isupper()), len(parts) - 1)
    return ".".join(parts[:first]), ".".join(parts[first:])


@pytest.mark.parametrize("whole", ATTACKS)
def test_attacks(whole: str) -> None:
    assert judge(*split(whole), renames=True)[1] is DANGEROUS
    assert judge(*split(whole), renames=False)[1] is DANGEROUS


@pytest.mark.parametrize("whole", HONEST)
def test_what_is_harmless(whole: str) -> None:
    assert judge(*split(whole), renames=True)[1] is None


@pytest.mark.parametrize("whole", UNKNOWN_ONES)
def test_what_nobody_knows_is_neither(whole: str) -> None:
    assert judge(*split(whole), renames=True)[1] is UNKNOWN


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("collections", "_sys.modules"),
        ("collections", "OrderedDict.__init__.__globals__"),
        ("torch.serialization", "os.system"),
        ("torch", "storage.pickle.loads"),
        ("numpy", "core.os"),
        ("anything.at.all", "subprocess"),
        ("pathlib", "os.system"),
        ("builtins", "object.__subclasses__"),
        ("xml", "sax.saxutils.os.popen"),
        ("torch", "FloatStorage.from_file"),
        ("pathlib", "Path.write_text"),
    ],
)
def test_a_way_through_attributes_is_judged_at_every_step(module: str, name: str) -> None:
    assert judge(module, name, renames=False)[1] is DANGEROUS


@pytest.mark.parametrize("name", ["OrderedDict.fromkeys", "abc", "OrderedDict.", ".OrderedDict", "OrderedDict "])
def test_what_is_beside_something_harmless_is_not_harmless(name: str) -> None:
    assert judge("collections", name, renames=False)[1] is UNKNOWN


def test_names_of_python_2_mean_nothing_where_no_unpickler_translates_them() -> None:
    assert judge("__builtin__", "set", renames=True)[1] is None
    assert judge("__builtin__", "set", renames=False)[1] is UNKNOWN


@pytest.mark.parametrize("whole", ["cloudpickle.cloudpickle._make_function", "dill._dill._create_function"])
def test_functions_by_value_are_code(whole: str) -> None:
    assert judge(*split(whole), renames=False)[1] is CODE


def test_arrays_of_joblib_are_a_matter_of_their_own() -> None:
    assert judge("joblib.numpy_pickle", "NumpyArrayWrapper", renames=False)[1] is NEEDS_JOBLIB
