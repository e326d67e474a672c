"""One tree of the zoo, as a program: ``animal.py TAG FIFO TREE``, the tree as JSON, see ``trees.Node``.

Every process of it has the tag in its command line, also what gave up its environment, and writes a line into the
FIFO once it is what it should be.
"""

import json
import os
import signal
import sys
import time

TAG, FIFO, TREE = sys.argv[1:]
LONG = 600
BLOCK = b"flood of the zoo\n" * 4_000

said = os.open(FIFO, os.O_WRONLY)


def ready():
    os.write(said, f"{TAG} {os.getpid()}\n".encode())


def spawn(node, *, orphan=False):
    """Fork a process that is this node; an orphan gets rid of its parent."""
    pid = os.fork()
    if pid:
        if orphan:
            os.waitpid(pid, 0)
        return
    if orphan:
        parent = os.getpid()
        if os.fork():
            os._exit(0)
        while os.getppid() == parent:
            time.sleep(0.001)
    be(node)


def be(node):
    """Become what the node says; never returns."""
    if node.get("session") and os.getpid() != os.getsid(0):
        os.setsid()
    for name in node.get("deaf", ()):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for child in node.get("children", ()):
        spawn(child, orphan=child.get("orphan", False))
    {
        "polite": polite,
        "phoenix": phoenix,
        "scrubbed": scrubbed,
        "mute": mute,
        "stopped": stopped,
        "flood": flood,
        "storm": storm,
    }.get(node.get("habit"), stay)(node)
    os._exit(0)


def stay(node):
    ready()
    while True:
        time.sleep(LONG)


def polite(node):
    """Takes a moment to say goodbye."""

    def bye(*_):
        time.sleep(0.02)
        os._exit(0)

    signal.signal(signal.SIGINT, bye)
    signal.signal(signal.SIGTERM, bye)
    stay(node)


def phoenix(node):
    """Leaves a process of another session behind when it is told to end, and that does the same."""
    lives = [node["lives"]]

    def again(*_):
        lives[0] -= 1
        if lives[0] < 0 or os.fork():
            os._exit(0)
        os.setsid()

    signal.signal(signal.SIGTERM, again)
    stay(node)


def scrubbed(node):
    """Nothing of its environment is left; the signals that it ignored it still ignores."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        # Says that it is ready for the other one, which is another program by then.
        os.close(writing)
        os.read(reading, 1)
        os.write(said, f"{TAG} {os.getppid()}\n".encode())
        os._exit(0)
    os.close(reading)
    os.execve("/bin/sleep", [TAG, str(LONG)], {})


def mute(node):
    """Holds no descriptor: not its output, nor anything else that it was given."""
    ready()
    os.closerange(0, 256)
    while True:
        time.sleep(LONG)


def stopped(node):
    ready()
    while True:
        os.kill(os.getpid(), signal.SIGSTOP)


def flood(node):
    ready()
    while True:
        os.write(1, BLOCK)


def storm(node):
    """Runs from whoever counts processes: each lives for a moment only, in a session of its own."""
    ready()
    for _ in range(node["generations"]):
        if os.fork():
            os._exit(0)
        os.setsid()
    while True:
        time.sleep(LONG)


be(json.loads(TREE))
