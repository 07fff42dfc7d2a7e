"""Where core and edge meet: the operating system's news become events, the engine's actions become system calls.

One thread, one queue of events, one select. A spawn answers in the same turn, before anything is reaped. The timeout is
the nearest deadline of engine and sink; without one the loop sleeps until something happens.
"""

import contextlib
import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from whalefall.errors import ConfigError
from whalefall.plan import Instance, Plan
from whalefall.plan.records import field, mutable
from whalefall.supervisor.core import actions as do
from whalefall.supervisor.core.engine import Engine
from whalefall.supervisor.core.events import (
    DeadlinePassed,
    Event,
    Exited,
    FoundStopped,
    Spawned,
    SpawnFailed,
    SpawnHeld,
    StopRequested,
    TreeEmptied,
    Weighed,
)
from whalefall.supervisor.core.tail import LAST_WORDS_WITHIN, last_error, last_words
from whalefall.supervisor.edge import (
    cgroup,
    children,
    clock,
    dossiers,
    files,
    guardian,
    listeners,
    locks,
    memory,
    output,
    sink,
    trees,
)
from whalefall.supervisor.edge.dossiers import Dossiers
from whalefall.supervisor.edge.groups import Groups
from whalefall.supervisor.edge.output import Output
from whalefall.supervisor.edge.probes import Probes
from whalefall.supervisor.edge.signals import Signals
from whalefall.supervisor.edge.spawn import Begun, Handed, SpawnError, begin, finish

_LAST_LINE_SHOWN = 200  # characters; the whole line is in the log and in the dossier
_SIGNAL_KEY = ("signal", "")
_STOP_SIGNALS = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "SIGINT"}
_EVENTS_KEPT = 1_000  # for `events`; a sentence each
_AT_ONCE = 32  # children on their way to their programs; each takes a descriptor until it is there
_LAST_KILL_S = 3.0  # how long what was killed may take to vanish; a process in state D takes for ever
_LAST_WORDS_S = 1.0  # how long a reader may take to accept our last lines before we leave


@mutable
class _Living:
    """What the edge knows of a life."""

    instance: Instance
    leader: trees.Leader | None = None
    leader_reaped: bool = False
    being_killed: bool = False
    private: socket.socket | None = None  # the listener that only this generation answers on


@mutable
class Loop:
    engine: Engine
    selector: selectors.BaseSelector
    output: Output
    probes: Probes
    signals: Signals
    run_dir: str
    notify_address: str = ""  # where services say READY=1 and WATCHDOG=1
    identity: str = ""  # of this very supervisor, in the environment of all that it starts
    groups: Groups = field(factory=Groups)
    sockets: dict[str, socket.socket] = field(factory=dict)
    addresses: dict[str, str] = field(factory=dict)
    living: dict[str, _Living] = field(factory=dict)
    leaders: dict[int, str] = field(factory=dict)  # pid: life, until it is reaped
    guardian: int | None = None
    queue: deque[Event] = field(factory=deque)
    trees_changed: bool = False
    exit_code: int | None = None
    oom_kills: int | None = field(factory=cgroup.oom_kills)
    dossiers: Dossiers = field(factory=lambda: Dossiers(""))
    told: deque[dict[str, Any]] = field(factory=lambda: deque(maxlen=_EVENTS_KEPT))
    listeners_to_events: list[Callable[[dict[str, Any]], None]] = field(factory=list)
    reload: bool = False
    hangup_stops: bool = False
    after_turn: list["AfterTurn"] = field(factory=list)
    defects: set[str] = field(factory=set)  # that were told

    def run(self, plan: Plan) -> int:
        """Keeps `plan` true until everything has stopped; the code to exit with."""
        self.selector.register(self.signals.fileno(), selectors.EVENT_READ, _SIGNAL_KEY)
        self.selector.register(self.output.speaking, selectors.EVENT_READ, output.KEY)
        self._carry_out(self.engine.begin(plan, clock.now()))
        self._work_off()
        while self.exit_code is None:
            self._turn()
        self._end_what_is_left()
        return self.exit_code

    def bind(self, plan: Plan) -> None:
        """Bind what is new, close what is no longer named. Raises ConfigError; then nothing has changed."""
        wanted = {listener.name: listener for listener in plan.listeners}
        fresh: dict[str, socket.socket] = {}
        try:
            for name, listener in wanted.items():
                if self.addresses.get(name) != listener.address:
                    fresh[name] = listeners.bind(listener)
        except ConfigError:
            for bound in fresh.values():
                bound.close()
            raise
        for name in [name for name in self.sockets if name in fresh or name not in wanted]:
            for hook in self.after_turn:
                hook.listener_closes(name)
            self.sockets.pop(name).close()  # a generation that still serves on it has its own descriptor
        self.sockets |= fresh
        self.addresses = {name: listener.address for name, listener in wanted.items()}

    def life_of(self, pid: int) -> str:
        """The life that a process belongs to, "" for a stranger."""
        return trees.life_of(pid, [living.leader for living in self.living.values() if living.leader])

    def post(self, event: Event) -> None:
        """For the control socket: handled in this turn."""
        self.queue.append(event)

    def _turn(self) -> None:
        for selector, key in self._sources():
            try:
                self._ready(*key.data)
            except Exception as error:  # noqa: BLE001 - the border: one broken source must not end the site
                self._close_source(selector, key, error)
        self._look_at_the_clock()
        self._work_off()
        for hook in self.after_turn:
            self._within(hook.turn_ended)

    def _sources(self) -> Iterable[tuple[selectors.BaseSelector, selectors.SelectorKey]]:
        """Waits for them; each with the selector that it stands in."""
        for key, _ in self.selector.select(self._timeout()):
            if key.data == output.KEY:
                yield from ((self.output.speaking, speaking) for speaking, _ in self.output.speaking.select(0))
            else:
                yield self.selector, key
        for speaking in self.output.spoke(clock.now()):
            yield self.output.speaking, speaking

    def _ready(self, kind: str, name: str) -> None:
        match kind:
            case "signal":
                self._take_signals()
            case "output":
                self.output.readable(name)
            case "probe":
                self.queue.extend(self.probes.answered(name))
            case "sink":
                self.output.sink.flush(clock.now())
                self.output.resume()
            case _:
                for hook in self.after_turn:
                    hook.readable(kind, name)

    def _close_source(self, selector: selectors.BaseSelector, key: selectors.SelectorKey, error: Exception) -> None:
        """Not looked at again, or the loop would spin on it; but without signals and control PID 1 would be deaf."""
        kind, name = key.data
        if kind not in ("signal", "control"):
            with contextlib.suppress(KeyError, ValueError):
                selector.unregister(key.fileobj)
        self._tell_defect(f"{kind} {name}".strip(), error)

    def _within(self, act: Callable[..., None], *arguments: object) -> None:
        """The border: what goes wrong in one place must not end the site."""
        try:
            act(*arguments)
        except Exception as error:  # noqa: BLE001 - see above
            self._tell_defect(f"{act.__qualname__}({', '.join(type(each).__name__ for each in arguments)})", error)

    def _tell_defect(self, where: str, error: Exception) -> None:
        """Each once: it may come again with every turn."""
        text = f"a defect in whalefall: {where} raised {type(error).__name__}: {error}"
        if text not in self.defects:
            self.defects.add(text)
            self.tell(do.Report(text, level="error"))

    def _timeout(self) -> float | None:
        if self.queue:  # a hook has posted something at the end of the turn
            return 0.0
        times = [self.engine.next_deadline(), self.output.sink.next_deadline(), self.output.rests_until]
        times += [hook.next_deadline() for hook in self.after_turn]
        nearest = min((time for time in times if time is not None), default=None)
        return None if nearest is None else max(0.0, nearest - clock.now())

    def _look_at_the_clock(self) -> None:
        now = clock.now()
        self.output.sink.time_has_come(now)
        self.output.resume()
        self.output.look_at_the_clock(now)
        for hook in self.after_turn:
            self._within(hook.time_has_come, now)
        deadline = self.engine.next_deadline()
        if deadline is not None and deadline <= now:
            self.queue.append(DeadlinePassed())

    def _take_signals(self) -> None:
        for number in self.signals.take():
            if number in _STOP_SIGNALS:
                self.queue.append(StopRequested(_STOP_SIGNALS[signal.Signals(number)]))
            elif number == signal.SIGHUP and self.hangup_stops:
                self.queue.append(StopRequested("the terminal was closed"))
            elif number == signal.SIGHUP:
                self.reload = True
            elif number == signal.SIGUSR1 and self.output.files is not None:
                self.output.files.reopen()
        self._reap()

    def _reap(self) -> None:
        for exited in children.reap():
            self.trees_changed = True
            self.queue.extend(self.probes.exited(exited.pid, exited.status))
            if life := self.leaders.pop(exited.pid, ""):
                self.living[life].leader_reaped = True
                self.output.drain(life)
            self.queue.append(exited)
            for hook in self.after_turn:
                self._within(hook.reaped, exited)

    def _work_off(self) -> None:
        """Events until there are none; then see which trees have emptied, which may make new ones."""
        while self.queue or self.trees_changed:
            while self.queue:
                self._carry_out(self.engine.step(self.queue.popleft(), clock.now()))
            if self.trees_changed:
                self.trees_changed = False
                self.queue.extend(self._emptied_trees())

    def _emptied_trees(self) -> Iterable[Event]:
        headless = [(life, living) for life, living in self.living.items() if living.leader and living.leader_reaped]
        orphans = self._orphans() if headless else []
        for life, living in headless:
            left = self._survivors(life, living, orphans)
            if not left:
                yield TreeEmptied(life)
            elif living.being_killed:
                trees.send(left, signal.SIGKILL)  # no group: its number is free since the leader was reaped

    def _orphans(self) -> list[int]:
        """Our children that are neither leaders nor helpers of our own."""
        ours = {self.guardian, *self.leaders, *self.probes.commands}
        return [pid for pid in trees.children(os.getpid()) if pid not in ours]

    def _survivors(self, life: str, living: _Living, orphans: list[int]) -> set[int]:
        if living.leader is None or not orphans:
            return set()
        return trees.survivors(living.leader, orphans, self.groups.members(life))

    def _carry_out(self, actions: Iterable[do.Action]) -> None:
        """While a child is on its way to its program, the next one is started and all else is done."""
        on_their_way: list[tuple[str, Begun]] = []
        for action in actions:
            if not isinstance(action, do.Spawn):
                self._within(self._do, action)
                continue
            begun = self._begin(action.life, action.instance)
            if isinstance(begun, Begun):
                on_their_way.append((action.life, begun))
            else:
                self.queue.appendleft(begun)
            if len(on_their_way) == _AT_ONCE:
                self._await_programs(on_their_way)
        self._await_programs(on_their_way)

    def _do(self, action: do.Action) -> None:
        match action:
            case do.Signal(pid=pid, signal=name):
                trees.send([pid], signal.Signals[f"SIG{name}"])
            case do.SignalTree(life=life, signal=name):
                self._signal_survivors(life, signal.Signals[f"SIG{name}"])
            case do.SignalDescendants(life=life, signal=name):
                self._signal_descendants(life, signal.Signals[f"SIG{name}"])
            case do.KillTree(life=life):
                self._kill(life)
            case do.AskProbe(life=life, probe=probe):
                living = self.living[life]
                address = probe.address or f"unix:{self._private_path(life, living.instance)}"
                self.queue.extend(self.probes.ask(life, probe, address, living.instance.command))
            case do.LookForStopped() | do.Weigh():
                self.queue.append(self._look(action))
            case do.Continue(pids=pids):
                trees.send(pids, signal.SIGCONT)
            case do.DropProbe(life=life):
                self.probes.drop(life)
            case do.Forget(life=life):
                self._forget(life)
            case do.Report():
                self.tell(action)
            case do.KeepDossier():
                self._keep_dossier(action)
            case do.Exit(code=code):
                self.exit_code = code

    def _await_programs(self, on_their_way: list[tuple[str, Begun]]) -> None:
        """Their answers stand in front of everything: the engine may count on it that no request comes between."""
        for life, begun in on_their_way:
            try:
                pid = finish(begun)
            except SpawnError as error:
                self.queue.appendleft(SpawnFailed(life, str(error)))
                continue
            self.living[life].leader = trees.Leader(life, pid)
            self.leaders[pid] = life
            self.queue.appendleft(Spawned(life, pid))
        on_their_way.clear()

    def _begin(self, life: str, instance: Instance) -> Begun | Event:
        """An event where it did not even come to a child."""
        living = self.living[life] = _Living(instance)
        held: list[int] = []
        group = self.groups.open(life)
        try:
            if instance.lock:
                held.append(locks.take(instance.lock, f"{life} of the whalefall with pid {os.getpid()}"))
            sockets = [(name, self.sockets[name].fileno()) for name in instance.listeners]
            living.private = self._private_listener(life, instance)
            if living.private is not None:
                sockets.append(("probe", living.private.fileno()))
            # A session of its own keeps Ctrl-C from it, and job control never stops a reader from another session
            # (tty_check_change in the kernel): so an attached one needs nothing but the descriptors.
            write = None if instance.attach else self.output.open(life, instance.name, instance.log)
            as_nginx = instance.sockets == "nginx"
            handed = Handed(
                write,
                sockets,
                as_nginx=as_nginx,
                held=held,
                group=group,
                attached=instance.attach,
                watchdog_s=instance.watchdog_s,
            )
            try:
                return begin(instance.command, handed, self._tags(life, instance), _death_signal(instance))
            finally:
                if write is not None:
                    os.close(write)
        except locks.HeldError as error:
            return SpawnHeld(life, str(error))
        except (SpawnError, OSError) as error:
            return SpawnFailed(life, str(error))
        finally:
            for descriptor in held:  # from now on only the tree itself holds it
                os.close(descriptor)
            if group is not None:
                os.close(group)

    def _tags(self, life: str, instance: Instance) -> dict[str, str]:
        tags = {trees.TAG: life, guardian.TAG: self.identity}
        if instance.watchdog_s is not None or (instance.ready is not None and instance.ready.kind == "notify"):
            tags["NOTIFY_SOCKET"] = self.notify_address
        return tags

    def _private_listener(self, life: str, instance: Instance) -> socket.socket | None:
        """A shared socket cannot tell which generation answered; a probe without an address asks on one of its own."""
        asks = [probe for probe in (instance.ready, instance.live) if probe is not None and not probe.address]
        if not any(probe.kind in ("http", "tcp") for probe in asks):
            return None
        path = self._private_path(life, instance)
        files.remove(path)
        private = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        private.bind(path)
        os.chmod(path, 0o600)
        private.listen(16)
        return private

    def _private_path(self, life: str, instance: Instance) -> str:
        """Nginx must find it in its configuration, which knows no generations: there the newest one has the name."""
        return f"{self.run_dir}/probe-{instance.name if instance.sockets == 'nginx' else life}.sock"

    def _successor_has_taken(self, life: str, instance: Instance) -> bool:
        """Whether a later generation has bound the same path."""
        path = self._private_path(life, instance)
        return any(
            other.private is not None and self._private_path(name, other.instance) == path
            for name, other in self.living.items()
        )

    def _signal_survivors(self, life: str, number: int) -> None:
        trees.send(self._survivors(life, self.living[life], self._orphans()), number)
        self.trees_changed = True

    def _look(self, action: do.LookForStopped | do.Weigh) -> Event:
        leader = self.living[action.life].leader
        assert leader is not None  # noqa: S101 - only what lives is looked at
        match action:
            case do.LookForStopped(life=life):
                return FoundStopped(life, trees.stopped(trees.members(leader)))
            case do.Weigh(life=life, each="worker"):
                return Weighed(life, memory.of_workers(leader))
            case do.Weigh(life=life):
                return Weighed(life, memory.of_tree(leader))

    def _signal_descendants(self, life: str, number: int) -> None:
        leader = self.living[life].leader
        if leader is not None:
            trees.send(trees.members(leader) - {leader.pid}, number)

    def _kill(self, life: str) -> None:
        living = self.living[life]
        living.being_killed = True
        if living.leader is not None and not living.leader_reaped:
            grouped = {pid for pid in self.groups.members(life) if not trees.outlives(pid)}
            trees.kill(living.leader, trees.members(living.leader) | grouped)
        self.trees_changed = True

    def _forget(self, life: str) -> None:
        self.probes.drop(life)
        self.output.close(life)
        self.groups.close(life)
        living = self.living.pop(life)
        if living.private is not None:
            living.private.close()
            if not self._successor_has_taken(life, living.instance):
                files.remove(self._private_path(life, living.instance))

    def _keep_dossier(self, action: do.KeepDossier) -> None:
        kills = cgroup.oom_kills()
        before, self.oom_kills = self.oom_kills, kills
        of_the_whole = None if kills is None or before is None else kills - before
        of_its_group = self.groups.memory(action.life)
        complaint = self.dossiers.keep(
            {
                "at": round(clock.wall(), 3),
                "instance": action.instance,
                "what": action.what,
                **action.facts,
                "out_of_memory_kills": of_the_whole if of_its_group.oom_kills is None else of_its_group.oom_kills,
                "peak_memory_of_all_bytes": of_its_group.peak_bytes,
                "lines": self.output.last(action.instance, dossiers.LINES, action.life),
            }
        )
        if complaint:
            self.tell(do.Report(complaint, level="warning"))

    def tell(self, report: do.Report) -> None:
        """To the log, to `events`, and to whoever follows them."""
        event = {"at": round(clock.wall(), 3), "instance": report.instance, "level": report.level, "text": report.text}
        self.told.append(event)
        for tell in self.listeners_to_events:
            tell(event)
        asked = LAST_WORDS_WITHIN if report.tail_lines else 0
        said = last_words(self.output.last(report.instance, asked, report.life))
        error, said = last_error(said), said[-report.tail_lines :]
        told = report.text
        if error:
            told += f'. Last error: "{error[:_LAST_LINE_SHOWN]}"'
        elif len(said) == 1:
            told += f'. Last line: "{said[0][:_LAST_LINE_SHOWN]}"'
        lines = said if report.tail_lines > 1 and len(said) > 1 else []
        self.output.say(f"{told}. Its last {len(lines)} lines:" if lines else told)
        for line in lines:
            self.output.say(f"    {report.instance} | {line}")

    def _end_what_is_left(self) -> None:
        """Orphans that nothing tied to a service, then our last words."""
        until = clock.now() + _LAST_KILL_S
        while (left := trees.everything()) and clock.now() < until:
            trees.send(left, signal.SIGKILL)
            self._await_a_death(until)
        if left:
            self.output.say(f"left behind, because they did not die of SIGKILL: {', '.join(map(str, sorted(left)))}")
        until = clock.now() + _LAST_WORDS_S
        while self.output.sink.queue and clock.now() < until:
            for key, _ in self.selector.select(until - clock.now()):
                if key.data == sink.KEY:
                    self.output.sink.flush(clock.now())

    def _await_a_death(self, until: float) -> None:
        for _ in children.reap():
            return
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.signals.fileno(), selectors.EVENT_READ)
            waiting.select(max(0.0, until - clock.now()))
        self.signals.take()


class AfterTurn:
    """What else lives in the loop (control socket, reload): the moments of a turn."""

    def readable(self, kind: str, name: object) -> None:
        """A descriptor that it registered is ready."""

    def reaped(self, exited: Exited) -> None:
        """A child was reaped; it may be this one's helper."""

    def next_deadline(self) -> float | None:
        """When it wants to be woken although nothing happens."""
        return None

    def time_has_come(self, now: float) -> None:
        """Once a turn, with the present moment."""

    def listener_closes(self, name: str) -> None:
        """The listener of this name is about to be closed; its descriptor's number will mean something else."""

    def turn_ended(self) -> None:
        """All events of the turn are worked off."""


def _death_signal(instance: Instance) -> int:
    """What a child gets when we die by SIGKILL: its own quick way out, so that nothing outlives us for long.

    A service whose survivors may drain is asked (Nginx's master takes its workers along only when it is asked); every
    other one is killed outright.
    """
    return signal.SIGTERM if instance.stop.orphans == "drain" else signal.SIGKILL
