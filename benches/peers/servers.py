"""Programs that serve workloads, as `serve.py` describes, and their installation."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / "target" / "peers"
# What the pinned versions run on.
OLDEST = (3, 11)


def python():
    """A python that the pinned versions of the libraries run on."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(14, OLDEST[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    wanted = ".".join(map(str, OLDEST))
    sys.exit(f"the libraries need Python {wanted} or later, found {sys.version.split()[0]}")


def install():
    """The peers in a virtual environment, once for each state of the requirements; its python."""
    environment, requirements = PLACE / "venv", HERE / "requirements.txt"
    own, done = environment / "bin" / "python", environment / "installed.txt"
    wanted = requirements.read_text()
    if done.exists() and done.read_text() == wanted:
        return own
    print("installing the other libraries, some 6 GB …", file=sys.stderr)
    subprocess.run([python(), "-m", "venv", environment], check=True)
    subprocess.run([own, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    done.write_text(wanted)
    return own


def build():
    """Our server in release; its path."""
    command = ["cargo", "build", "--release", "-p", "flow-benches", "--bin", "serve-workloads"]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    messages = map(json.loads, built.stdout.splitlines())
    programs = [message["executable"] for message in messages if message.get("executable")]
    return programs[-1]


def processors(threads):
    """The processors that a program with so many threads may use: the same for all."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < threads:
        sys.exit(f"{threads} threads need as many processors, found {len(allowed)}")
    return set(allowed[:threads])


class Server:
    """A running program."""

    def __init__(self, name, command, processors, log):
        def pin():
            os.sched_setaffinity(0, processors)

        self.name, self.log = name, log.name if log else "what was printed above"
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            preexec_fn=pin if processors and hasattr(os, "sched_setaffinity") else None,
        )
        self.models = self.ask(do="models")

    def ask(self, **request):
        """The answer to a request, or RuntimeError with what went wrong."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended; its last words: {self.log}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def threads(self):
        """Its threads: each has a niceness of its own, and somebody may change it."""
        try:
            return [int(thread) for thread in os.listdir(f"/proc/{self.process.pid}/task")]
        except OSError:
            return [self.process.pid]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def level(servers):
    """Gives all threads of all servers the niceness of the one that gives way most. Whether any had
    another one."""
    threads = [thread for server in servers for thread in server.threads()]
    found = {thread: os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
    most = max(found.values())
    for thread in (thread for thread, nice in found.items() if nice != most):
        os.setpriority(os.PRIO_PROCESS, thread, most)
    return set(found.values()) != {most}


def inputs(own_python, folder=PLACE / "inputs"):
    """The same seeded rows for all: a checkerboard in the plane, normal numbers elsewhere. A folder
    with a `.npy` for each workload."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([own_python, HERE / "inputs.py", folder], check=True)
    return folder
