"""Ctrl-C, once, twice or in a destructor: one line and 130."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, threading, time
from jaxqc.interrupt import ends_on_interrupt

def held():
    time.sleep(60)

def twice():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("cleaning up", flush=True)
        time.sleep(60)

def forgotten():
    class Thing:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    Thing()
    time.sleep(60)

def threads():
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("working", flush=True)
    time.sleep(60)

def late():
    threading.Thread(target=time.sleep, args=(1,)).start()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    return 7

def compute():
    import jax, jax.numpy as jnp
    program = jax.jit(lambda x: jax.lax.fori_loop(0, 10**9, lambda i, x: jnp.sin(x) + i, x))
    program.lower(jnp.ones(100_000)).compile()
    print("working", flush=True)
    program(jnp.ones(100_000)).block_until_ready()

def loading():
    def initialise(module):
        try:
            print("working", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:  # as C++ does where it calls Python and expects no exception
            os.abort()
    import _imp, importlib.machinery, types
    _imp.exec_dynamic = initialise
    importlib.machinery.ExtensionFileLoader("a", "a.so").exec_module(types.ModuleType("a"))

def printed():
    try:
        print("working", flush=True)
        time.sleep(60)
    except KeyboardInterrupt as error:  # as PyErr_Print of a library
        sys.excepthook(type(error), error, error.__traceback__)
    time.sleep(60)

def converted():
    try:
        print("working", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    raise ImportError("numpy._core.multiarray failed to import")

def echo():
    class Loop:
        def __del__(self):
            raise RuntimeError("Event loop is closed")
    Loop()
    return 7

signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1] == "held":  # back, as while Python begins anew
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.kill(os.getpid(), signal.SIGINT)
sys.exit(ends_on_interrupt(globals()[sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("twice", 2),
        ("held", 0),
        ("forgotten", 0),
        ("threads", 1),
        ("compute", 1),
        ("loading", 1),
        ("printed", 1),
        ("converted", 1),
        ("late", 0),
        ("echo", 0),
    ],
)
def test_it_ends_at_once_with_one_line(name, times):
    command = [sys.executable, "-c", PROGRAM, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(times):
            assert process.stdout.readline()
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == ((7, "") if name in ("late", "echo") else (130, "jaxqc: interrupted\n"))
