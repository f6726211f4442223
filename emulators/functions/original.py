"""The process that workers are copied from: it has loaded the app, and forks for each socket that the host sends.

`python -m emulators.functions.original --app-dir DIR --socket FD MODULE …`, started by the host only.
"""

import gc
import importlib
import os
import signal
import socket

from emulators.functions import worker
from emulators.functions.processes import PID_BYTES
from emulators.processes import PARENT_VARIABLE, die_with_parent


def main() -> None:
    """Load the app, and become a worker in each fork. Ends when the host is gone."""
    arguments = worker.set_up()
    for name in arguments.modules:
        importlib.import_module(name)
    loaded = worker.load(arguments.app_dir)
    gc.freeze()  # else each copy's collector would touch, and so copy, all that is shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies here: the kernel takes the dead away
    host = socket.socket(fileno=arguments.socket)
    here = os.getpid()
    while link := socket.recv_fds(host, 1, 1)[1]:
        pid = os.fork()
        if pid == 0:
            host.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ[PARENT_VARIABLE] = str(here)
            die_with_parent()
            worker.run(arguments.app_dir, loaded, link[0])
            return
        os.close(link[0])
        host.send(pid.to_bytes(PID_BYTES))


if __name__ == "__main__":
    main()
