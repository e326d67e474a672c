"""Programs that are hard to stop. Each prints the pids of its processes, then ``ready``, then stays on."""

IGNORES_TERM = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
ready(os.getpid())
time.sleep(600)
"""

GRANDCHILD_WITH_A_SESSION = """
def work():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready(os.getpid())
    time.sleep(600)
say(os.getpid())
child(work)
time.sleep(600)
"""

DAEMON = """
def middle():
    os.setsid()
    parent = os.getpid()
    def work():
        while os.getppid() == parent: pass
        ready(os.getpid())
        time.sleep(600)
    child(work)
say(os.getpid())
os.waitpid(child(middle), 0)
time.sleep(600)
"""

STOPPED = """
def work():
    os.kill(main, signal.SIGSTOP)
    while b") T " not in open(f"/proc/{main}/stat", "rb").read(): pass
    ready(main, os.getpid())
    time.sleep(600)
main = os.getpid()
child(work)
time.sleep(600)
"""

SCRUBS_ITS_ENVIRONMENT = """
def work():
    os.setsid()
    os.execve("/bin/sleep", ["sleep", "600"], {})
say(os.getpid())
ready(once_closed(work))
time.sleep(600)
"""

SCRUBBED_DAEMON = """
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
def middle():
    os.setsid()
    say(once_closed(lambda: os.execve("/bin/sleep", ["sleep", "600"], {})))
say(os.getpid())
os.waitpid(child(middle), 0)
ready()
time.sleep(600)
"""

CLOSES_ITS_DESCRIPTORS = """
def work():
    os.setsid()
    os.closerange(0, 256)
    time.sleep(600)
say(os.getpid())
ready(once_closed(work))
time.sleep(600)
"""

FLOODS = """
ready(os.getpid())
while True: os.write(1, b"flood " * 10_000)
"""

FORK_STORM = """
GENERATIONS = 20_000
def run_on():
    for _ in range(GENERATIONS):
        if os.fork(): os._exit(0)
        os.setsid()
    say("survived")
say(os.getpid())
for _ in range(6): child(run_on)
ready()
time.sleep(600)
"""

ALL = {
    "ignores TERM": IGNORES_TERM,
    "grandchild in a session of its own": GRANDCHILD_WITH_A_SESSION,
    "daemon": DAEMON,
    "stopped": STOPPED,
    "scrubs its environment": SCRUBS_ITS_ENVIRONMENT,
    "scrubbed daemon": SCRUBBED_DAEMON,
    "closes its descriptors": CLOSES_ITS_DESCRIPTORS,
    "floods": FLOODS,
    "fork storm": FORK_STORM,
}
