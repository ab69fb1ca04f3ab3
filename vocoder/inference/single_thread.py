"""Threads in which torch works alone, for products too small to share.

Shared, they wait for the other threads of torch's pool: on a busy machine, as beside an acoustic model, ten to thirty
times as long as they take. And how many threads share a product may change its rounding, which here decides whether a
seed gives the same samples again.

There are as many as cores, so that no more streams are at work at once. Of what a stream makes of a chunk, Python's
part (conditioning, correction) runs in one of them at a time, beside the C++ of the others (generation).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from functools import lru_cache, partial
from threading import Lock, Thread, local
from typing import ParamSpec, TypeVar

import torch

from vocoder.machine import physical_cores

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_lock, _here = Lock(), local()

# A forked process has none of torch's threads, and would wait for them forever wherever torch shares work out.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))


def run_single_threaded(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Future[Result]:
    """Begin a call in such a thread; its `result()` waits. Threads are kept for the next call, one for each core.

    A call out of such a thread is made at once: were it to wait for a free thread, all could wait for each other.
    """
    if not getattr(_here, "single", False):
        try:
            return _pool(os.getpid()).submit(function, *args, **kwargs)
        except BrokenThreadPool:  # there was no room for a thread once: a service goes on when there is
            _pool.cache_clear()
            return _pool(os.getpid()).submit(function, *args, **kwargs)
    done: Future[Result] = Future()
    done.set_result(function(*args, **kwargs))
    return done


def one_at_a_time() -> Lock:
    """Give the lock of this process under which small operations run one thread at a time.

    Python runs one thread at a time anyway, and torch and NumPy give the turn away at each of hundreds of operations.
    Two threads that pass it back and forth take twice as long for the same: of twenty live streams none keeps up then.
    """
    return _process_lock(os.getpid())


@lru_cache(maxsize=1)
def _process_lock(process: int) -> Lock:
    """Make the lock of this process: a forked one may not wait for its parent's threads."""
    return Lock()


@lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Give the pool of this process: a forked process has none of its parent's threads."""
    return ThreadPoolExecutor(physical_cores(), thread_name_prefix="vocoder", initializer=_settle)


def _settle() -> None:
    """Set torch to one thread here; put back its number of threads, with which threads to come will start."""
    _here.single = True
    with _lock:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        restore = Thread(target=torch.set_num_threads, args=(threads,))
        restore.start()
        restore.join()
