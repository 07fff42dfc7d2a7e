"""THE SAME NGINX AND GUNICORNS WITHOUT US: what the Plan would start, started by nobody in particular.

`apart` gives each a session of its own, as a terminal for each does, a unit of systemd, and whalefall; without it all
are in one, as in one terminal. Linux shares out processors by session (sched(7), autogroup), so that is a difference.
"""

import json
import os
import signal
import subprocess
import sys

ORDER = ("web", "scheduler", "nginx")


def main() -> None:
    """Reads the Plan for the working directory, starts its commands, waits for SIGTERM."""
    os.setsid()  # out of the session of who asks: clients are never in the site's
    planner = [sys.executable, "-m", "whalefall", "plan", "--for-supervisor"]
    plan = json.loads(subprocess.run(planner, capture_output=True, text=True, check=True).stdout)
    commands = {instance["service"]: instance["command"] for instance in plan["instances"]}
    signal.signal(signal.SIGTERM, lambda *_: None)
    running = [
        subprocess.Popen(
            commands[name]["argv"],
            cwd=commands[name]["cwd"],
            env=commands[name]["env"],
            start_new_session="apart" in sys.argv,
        )
        for name in ORDER
    ]
    signal.pause()
    for process in reversed(running):
        process.send_signal(signal.SIGQUIT if process is running[-1] else signal.SIGTERM)
    for process in running:
        process.wait()


main()
