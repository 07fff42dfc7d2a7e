"""What must happen, as conversations with the engine in virtual time."""

import pytest

from tests.support.playbook import Spawn, Start, at, order, play, says, service
from whalefall.plan import Dependency, MemoryLimit, Plan, Probe, RestartPolicy, StopPolicy
from whalefall.supervisor.core.actions import (
    AskProbe,
    Continue,
    DropProbe,
    Exit,
    Forget,
    KillTree,
    LookForStopped,
    Signal,
    SignalDescendants,
    SignalTree,
    Weigh,
)
from whalefall.supervisor.core.engine import KILLED
from whalefall.supervisor.core.events import (
    Exited,
    ExitStatus,
    FoundStopped,
    InstanceRestartRequested,
    InstanceStartRequested,
    InstanceStopRequested,
    PlanChanged,
    ProbeFailed,
    ProbeSucceeded,
    SaidAlive,
    SaidReady,
    Spawned,
    SpawnFailed,
    SpawnHeld,
    StopRequested,
    TreeEmptied,
    Weighed,
)
from whalefall.supervisor.core.handover import State

BAD = ExitStatus(1)
GOOD = ExitStatus(0)
KILL9 = ExitStatus(137, "SIGKILL")
HTTP = Probe("http", address="127.0.0.1:1", period_s=1, timeout_s=2)
LIVE = Probe("http", address="127.0.0.1:1", period_s=10, timeout_s=2, failures=3)


def running(*instances, pids=(7, 8, 9), **plan):
    """All instances started, in one go (they wait for nothing and have no probes)."""
    conversation = play(*instances, **plan) >> Start()
    for instance in instances:
        conversation << Spawn(f"{instance.name}#1")
    for instance, pid in zip(instances, pids, strict=False):
        conversation >> Spawned(f"{instance.name}#1", pid)
    return conversation


def gone(conversation, life, pid, status):
    """The leader is dead and nobody survived it."""
    return conversation >> Exited(pid, status) << KillTree(life) >> TreeEmptied(life) << Forget(life)


def test_a_service_without_a_probe_is_ready_as_soon_as_it_runs():
    conversation = running(service())
    assert conversation.engine.slots["a.1"].state is State.READY
    assert conversation << says("a.1 is ready")


def test_a_service_that_stops_when_asked_ends_with_code_0():
    stop = Signal("a.1#1", 7, "TERM")
    assert gone(running(service()) >> StopRequested("SIGTERM") << stop, "a.1#1", 7, GOOD) << Exit(0)


def test_a_service_that_does_not_stop_in_time_is_killed_and_the_exit_code_tells():
    conversation = running(service(stop=StopPolicy(grace_s=10))) >> StopRequested("SIGTERM") << order(Signal) >> at(9.9)
    conversation >> at(10) << KillTree("a.1#1") << says("did not stop within 10 s of SIGTERM and is killed")
    assert conversation >> Exited(7, KILL9) >> TreeEmptied("a.1#1") << Forget("a.1#1") << Exit(KILLED)


def test_a_quick_way_out_comes_before_the_kill():
    nginx = service(stop=StopPolicy(signal="QUIT", quick_signal="TERM", grace_s=3))
    conversation = running(nginx) >> StopRequested("SIGTERM") << Signal("a.1#1", 7, "QUIT") >> at(2.4)
    conversation >> at(2.5) << Signal("a.1#1", 7, "TERM")
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)


def test_what_ignores_its_quick_way_out_is_killed_at_the_end_of_its_grace():
    nginx = service(stop=StopPolicy(signal="QUIT", quick_signal="TERM", grace_s=3))
    conversation = running(nginx) >> StopRequested("SIGTERM") << order(Signal) >> at(2.5) << order(Signal) >> at(2.9)
    conversation >> at(3) << KillTree("a.1#1")
    assert conversation >> Exited(7, KILL9) >> TreeEmptied("a.1#1") << Forget("a.1#1") << Exit(KILLED)


def test_a_second_stop_kills_what_is_left():
    conversation = running(service()) >> StopRequested("SIGINT") << order(Signal)
    conversation >> StopRequested("SIGINT") << KillTree("a.1#1") << says("SIGINT again: killing what is left")
    assert conversation >> Exited(7, KILL9) >> TreeEmptied("a.1#1") << Forget("a.1#1") << Exit(KILLED)


def leaving():
    return running(service(), drain_delay_s=5) >> StopRequested("SIGTERM")


def test_a_drain_delay_keeps_everything_serving_before_the_stop_begins():
    conversation = leaving() << says("SIGTERM: still serving for 5 s while readiness says no") >> at(4.9)
    assert conversation.engine.stopping
    assert conversation.engine.slots["a.1"].state is State.READY
    conversation >> at(5) << Signal("a.1#1", 7, "TERM") << says("stopping in order")
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)
    assert conversation.engine.next_deadline() is None


def test_a_second_signal_hurries_past_the_drain_delay_and_a_third_kills():
    conversation = leaving() >> at(1) >> StopRequested("SIGTERM") << Signal("a.1#1", 7, "TERM")
    conversation << says("SIGTERM again: no more waiting; stopping in order")
    conversation >> StopRequested("SIGTERM") << KillTree("a.1#1") << says("killing what is left")
    assert conversation >> Exited(7, KILL9) >> TreeEmptied("a.1#1") << Forget("a.1#1") << Exit(KILLED)


def test_what_crashes_while_we_are_leaving_is_mended_and_no_wish_is_heard_any_more():
    conversation = leaving() >> Exited(7, BAD) << KillTree("a.1#1") >> TreeEmptied("a.1#1") << Forget("a.1#1")
    conversation << Spawn("a.1#2") >> Spawned("a.1#2", 8) >> InstanceStopRequested("a.1")
    conversation >> PlanChanged(Plan((service("b"),))) >> at(1) >> Exited(8, BAD) << KillTree("a.1#2")
    conversation >> TreeEmptied("a.1#2") << Forget("a.1#2") >> at(1.5) << Spawn("a.1#3") >> Spawned("a.1#3", 9)
    assert gone(conversation >> at(5) << Signal("a.1#3", 9, "TERM"), "a.1#3", 9, GOOD) << Exit(0)


def test_giving_up_ends_the_drain_delay_with_the_services_code():
    web = service("web", restart=RestartPolicy(crashes=1))
    conversation = running(web, service(), drain_delay_s=5) >> StopRequested("SIGTERM")
    gone(conversation, "web.1#1", 7, ExitStatus(3)) << Signal("a.1#1", 8, "TERM")
    assert gone(conversation, "a.1#1", 8, GOOD) << Exit(3)


def test_where_nothing_serves_yet_nothing_is_waited_for():
    conversation = play(service(ready=HTTP), drain_delay_s=5) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7)
    conversation << order(AskProbe) >> StopRequested("SIGTERM") << DropProbe("a.1#1") << Signal("a.1#1", 7, "TERM")
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)


def test_each_service_is_stopped_by_its_own_signal():
    assert running(service(stop=StopPolicy(signal="QUIT"))) >> StopRequested("x") << Signal("a.1#1", 7, "QUIT")


def test_a_crash_is_followed_by_a_restart_at_once():
    conversation = running(service()) >> at(5) >> Exited(7, BAD) << KillTree("a.1#1")
    conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << Spawn("a.1#2")
    assert conversation << says(
        "a.1 exited with code 1 5.0 s after its start (crash 1 of 10 in 600 s); restarting at once"
    )


def test_a_kill_service_is_not_started_again_while_anything_of_it_is_alive():
    conversation = running(service()) >> Exited(7, KILL9) << KillTree("a.1#1") >> at(3_600)
    assert conversation.engine.slots["a.1"].state is State.STOPPING
    assert conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << Spawn("a.1#2")


def test_a_drain_service_is_started_again_while_its_survivors_finish():
    drain = StopPolicy(orphans="drain", orphan_signal="QUIT", grace_s=5)
    conversation = running(service(stop=drain)) >> Exited(7, KILL9) << SignalTree("a.1#1", "QUIT") << Spawn("a.1#2")
    assert conversation >> Spawned("a.1#2", 70) >> TreeEmptied("a.1#1") << Forget("a.1#1")


def test_survivors_that_do_not_finish_are_killed_after_the_grace_period():
    drain = StopPolicy(orphans="drain", grace_s=5)
    conversation = running(service(stop=drain)) >> Exited(7, KILL9) << order(SignalTree) << Spawn("a.1#2")
    (
        conversation
        >> Spawned("a.1#2", 70)
        >> at(5)
        << KillTree("a.1#1")
        << says("did not finish within 5 s and is killed")
    )
    assert conversation >> TreeEmptied("a.1#1") << Forget("a.1#1")


def test_survivors_have_their_own_time_to_drain_until_everything_stops():
    drain = StopPolicy(orphans="drain", grace_s=5, drain_s=120)
    conversation = running(service(stop=drain)) >> Exited(7, KILL9) << order(SignalTree) << Spawn("a.1#2")
    conversation >> Spawned("a.1#2", 70) >> at(100) >> StopRequested("SIGTERM") << Signal("a.1#2", 70, "TERM")
    gone(conversation, "a.1#2", 70, GOOD) >> at(104.9)
    conversation >> at(105) << KillTree("a.1#1")
    assert conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << Exit(0)


def test_what_dies_by_itself_while_all_stops_leaves_its_survivors_no_more_than_the_grace_period():
    web, nginx = (
        service("web", stop=StopPolicy(orphans="drain", grace_s=5, drain_s=120)),
        service("nginx", after=(Dependency("web"),)),
    )
    conversation = play(web, nginx) >> Start() << Spawn("web.1#1") >> Spawned("web.1#1", 7) << Spawn("nginx.1#1")
    conversation >> Spawned("nginx.1#1", 8) >> StopRequested("SIGTERM") << Signal("nginx.1#1", 8, "TERM")
    conversation >> at(1) >> Exited(7, KILL9) << order(SignalTree)
    gone(conversation, "nginx.1#1", 8, GOOD) >> at(5.9)
    conversation >> at(6) << KillTree("web.1#1")
    assert conversation >> TreeEmptied("web.1#1") << Forget("web.1#1") << Exit(0)


def test_a_hung_service_is_asked_for_its_stacks_before_it_is_stopped():
    hung = service(live=LIVE, stop=StopPolicy(dump_signal="USR2"))
    conversation = running(hung)
    for tick in (10, 20):
        conversation >> at(tick) << order(AskProbe) << order(LookForStopped) >> ProbeFailed("a.1#1", "refused")
    conversation >> at(30) << order(AskProbe) << order(LookForStopped) >> ProbeFailed("a.1#1", "refused")
    assert conversation << SignalDescendants("a.1#1", "USR2") << Signal("a.1#1", 7, "TERM")


def test_backoff_doubles_up_to_the_cap_and_is_forgotten_after_a_stable_period():
    policy = RestartPolicy(first_s=1, factor=2, max_s=4, stable_s=30, crashes=100)
    conversation, now = running(service(restart=policy)), 0.0
    for generation, delay in enumerate([0, 1, 2, 4, 4], start=1):
        life = f"a.1#{generation}"
        conversation >> Exited(6 + generation, BAD) << KillTree(life) >> TreeEmptied(life) << Forget(life)
        if delay:
            conversation >> at(now + delay - 0.01) >> at(now + delay)
            now += delay
        conversation << Spawn(f"a.1#{generation + 1}") >> Spawned(f"a.1#{generation + 1}", 7 + generation)
    conversation >> at(now + 31) >> Exited(12, BAD) << KillTree("a.1#6")
    assert conversation >> TreeEmptied("a.1#6") << Forget("a.1#6") << Spawn("a.1#7") << says("restarting at once")


def crash_loop(conversation, crashes, status=BAD):
    """`crashes` times: start, die before ready, wait for the next start. Returns before the last one is answered."""
    for generation in range(1, crashes + 1):
        life = f"a.1#{generation}"
        conversation << Spawn(life) >> Spawned(life, 100 + generation) << order(AskProbe)
        conversation >> Exited(100 + generation, status) << DropProbe(life) << KillTree(life)
        conversation >> TreeEmptied(life) << Forget(life)
        if generation not in (1, crashes):
            conversation >> at(conversation.engine.next_deadline())
    return conversation


def test_five_crashes_before_ready_give_up_and_the_services_code_becomes_ours():
    conversation = crash_loop(play(service(ready=HTTP)) >> Start(), 5, ExitStatus(3))
    assert conversation << says("giving up; whalefall stops") << Exit(3)


def test_ten_crashes_of_any_kind_give_up_also_when_it_was_ready_each_time():
    policy = RestartPolicy(first_s=1, max_s=1, crashes=10, window_s=600)
    conversation = running(service(restart=policy))
    for generation in range(1, 11):
        life = f"a.1#{generation}"
        if generation > 1:
            conversation << Spawn(life) >> Spawned(life, 6 + generation)
        conversation >> at(conversation.now + 3) >> Exited(6 + generation, ExitStatus(9)) << KillTree(life)
        conversation >> TreeEmptied(life) << Forget(life)
        if 1 < generation < 10:
            conversation >> at(conversation.now + 1)
    assert conversation << says("crash 10 of 10 in 600 s): giving up; whalefall stops") << Exit(9)


def test_a_strangers_exit_does_not_end_a_stop():
    conversation = running(service(), service("b")) >> StopRequested("x") << order(Signal) << order(Signal)
    gone(conversation, "b.1#1", 8, GOOD) >> Exited(4_242, BAD)
    assert conversation.engine.slots["a.1"].state is State.STOPPING
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)


def test_giving_up_after_death_by_signal_exits_with_128_plus_n():
    assert crash_loop(play(service(ready=HTTP)) >> Start(), 5, KILL9) << Exit(137)


def test_a_service_that_gives_up_while_exiting_with_code_0_still_fails_us():
    assert crash_loop(play(service(ready=HTTP)) >> Start(), 5, GOOD) << Exit(1)


def test_a_degraded_service_leaves_the_others_running_and_is_tried_again_slowly():
    degrade = RestartPolicy(on_give_up="degrade", degraded_retry_s=60)
    conversation = crash_loop(play(service(ready=HTTP, restart=degrade)) >> Start(), 5)
    assert conversation.engine.slots["a.1"].state is State.FAILED
    given_up_at = conversation.now
    conversation << says("the others go on without it, next attempt in 60 s") >> at(given_up_at + 59)
    assert conversation >> at(given_up_at + 60) << Spawn("a.1#6")


def test_a_service_that_may_fail_is_left_alone_after_giving_up():
    conversation = crash_loop(play(service(ready=HTTP, restart=RestartPolicy(on_give_up="stop"))) >> Start(), 5)
    assert conversation << says("giving up; the others go on without it") >> at(100_000)
    assert conversation.engine.slots["a.1"].state is State.FAILED


def test_when_one_gives_up_the_others_stop_in_order_before_we_exit():
    conversation = play(service(ready=HTTP), service("b")) >> Start()
    conversation << Spawn("a.1#1") << Spawn("b.1#1") >> Spawned("a.1#1", 101) << order(AskProbe) >> Spawned("b.1#1", 8)
    (
        conversation
        >> Exited(101, BAD)
        << DropProbe("a.1#1")
        << KillTree("a.1#1")
        >> TreeEmptied("a.1#1")
        << Forget("a.1#1")
    )
    for generation in range(2, 6):
        life = f"a.1#{generation}"
        if generation > 2:
            conversation >> at(conversation.engine.next_deadline())
        conversation << Spawn(life) >> Spawned(life, 100 + generation) << order(AskProbe)
        conversation >> Exited(100 + generation, BAD) << DropProbe(life) << KillTree(life)
        conversation >> TreeEmptied(life) << Forget(life)
    conversation << Signal("b.1#1", 8, "TERM")
    assert gone(conversation, "b.1#1", 8, GOOD) << Exit(1)


def test_a_program_that_cannot_be_started_counts_as_a_crash_before_ready():
    conversation = play(service()) >> Start() << Spawn("a.1#1")
    conversation >> SpawnFailed("a.1#1", "cannot run nope: No such file or directory") << Forget("a.1#1")
    assert conversation << Spawn("a.1#2") << says("could not be started: cannot run nope: No such file or directory")


def test_a_lock_that_somebody_holds_is_waited_for_and_is_no_crash():
    conversation = (
        play(service(lock="/a.lock")) >> Start() << Spawn("a.1#1") >> SpawnHeld("a.1#1", "pid 9") << Forget("a.1#1")
    )
    conversation << says("a.1 is not started yet: pid 9 is still alive and holds /a.lock")
    for attempt in range(1, 50):
        conversation >> at(attempt * 0.5) << Spawn("a.1#1") >> SpawnHeld("a.1#1", "pid 9") << Forget("a.1#1")
        assert not conversation.reports, "it is said once"
    assert conversation >> at(25) << Spawn("a.1#1") >> Spawned("a.1#1", 7)
    assert conversation.engine.slots["a.1"].restarts.total == 0


def test_a_stop_ends_the_wait_for_a_lock():
    conversation = (
        play(service(lock="/a.lock")) >> Start() << Spawn("a.1#1") >> SpawnHeld("a.1#1", "pid 9") << Forget("a.1#1")
    )
    assert conversation >> StopRequested("SIGTERM") << Exit(0)


def test_a_probe_is_asked_again_until_it_succeeds():
    conversation = play(service(ready=HTTP)) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    conversation >> ProbeFailed("a.1#1", "refused") >> at(0.9) >> at(1) << order(AskProbe)
    assert conversation >> ProbeSucceeded("a.1#1") << says("a.1 is ready 1.0 s after its start")
    assert conversation >> at(1_000)  # readiness is asked once


def test_a_probe_without_an_answer_is_dropped_and_asked_again():
    conversation = play(service(ready=HTTP)) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    assert conversation >> at(1.9) >> at(2) << DropProbe("a.1#1") << order(AskProbe)


def test_a_service_that_is_not_ready_in_time_is_stopped_and_tried_again():
    slow = service(ready=HTTP, start_timeout_s=2.5)
    conversation = play(slow) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    for second in (1, 2):
        conversation >> ProbeFailed("a.1#1", "answered 503") >> at(second) << order(AskProbe)
    conversation >> at(2.5) << DropProbe("a.1#1") << Signal("a.1#1", 7, "TERM")
    conversation << says("a.1 was not ready within 2.5 s (last probe: answered 503); stopping it")
    conversation >> Exited(7, GOOD) << KillTree("a.1#1")
    conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << Spawn("a.1#2")
    assert conversation << says("a.1 was not ready in time 2.5 s after its start (crash 1 of 5 in 60 s)")


def test_liveness_fails_only_after_the_threshold_and_then_restarts():
    hung = service(live=LIVE)
    conversation = (
        running(hung) >> at(10) << order(AskProbe) << order(LookForStopped) >> ProbeFailed("a.1#1", "refused")
    )
    conversation >> at(20) << order(AskProbe) << order(LookForStopped) >> ProbeSucceeded("a.1#1")  # forgives
    for tick in (30, 40):
        conversation >> at(tick) << order(AskProbe) << order(LookForStopped) >> at(tick + 2) << DropProbe("a.1#1")
    (
        conversation
        >> at(50)
        << order(AskProbe)
        << order(LookForStopped)
        >> at(52)
        << DropProbe("a.1#1")
        << Signal("a.1#1", 7, "TERM")
    )
    assert conversation << says("a.1 no longer answers (3 probes in a row: no answer within 2 s); restarting it")


def watched():
    return running(service(watchdog_s=30, stop=StopPolicy(dump_signal="USR2")))


def test_a_watchdog_that_is_fed_lets_it_live_and_wakes_us_for_nothing_else():
    conversation = watched()
    for moment in (20, 40, 60):
        conversation >> at(moment) >> SaidAlive("a.1#1")
        assert conversation.engine.next_deadline() == moment + 30
    assert conversation >> at(89.9)


def test_what_misses_its_watchdog_hangs():
    conversation = watched() >> at(10) >> SaidAlive("a.1#1") >> at(39.9) >> at(40)
    conversation << SignalDescendants("a.1#1", "USR2") << Signal("a.1#1", 7, "TERM")
    conversation << says("a.1 no longer says that it is alive (no WATCHDOG=1 within 30 s); restarting it")
    conversation >> SaidAlive("a.1#1") >> Exited(7, GOOD) << KillTree("a.1#1") >> TreeEmptied("a.1#1")
    assert conversation << Forget("a.1#1") << Spawn("a.1#2") << says("no longer answered 40.0 s after its start")


def test_a_watchdog_counts_from_ready_on_and_only_its_own_word_makes_it_so():
    notifying = service(ready=Probe("notify"), watchdog_s=5, start_timeout_s=60)
    conversation = play(notifying) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) >> SaidAlive("a.1#1") >> at(50)
    assert conversation >> SaidReady("a.1#1") << says("a.1 is ready 50.0 s after its start") >> at(54.9)


def test_the_word_of_a_service_counts_only_where_it_is_waited_for():
    conversation = play(service(ready=HTTP, watchdog_s=5)) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7)
    assert conversation << order(AskProbe) >> SaidReady("a.1#1")
    assert conversation.engine.slots["a.1"].state is State.STARTING


MB = 1_048_576
WORKERS = MemoryLimit(100 * MB, "worker", period_s=5, settle_s=30)
TREE = MemoryLimit(100 * MB, "tree", period_s=5, settle_s=30)


def weighed(conversation, moment, each="worker", **megabytes):
    """It is looked at: `p70=99` is what pid 70 holds."""
    sizes = {int(pid[1:]): size * MB for pid, size in megabytes.items()}
    return conversation >> at(moment) << Weigh("a.1#1", each) >> Weighed("a.1#1", sizes)


def settled(instance, each="worker"):
    """Thirty seconds old, and looked at six times: what has just started may be large."""
    conversation = running(instance)
    for moment in (5, 10, 15, 20):
        weighed(conversation, moment, each, p7=500, p70=500, p71=500)
    return weighed(conversation, 25, each, p7=10, p70=10, p71=10)


def test_the_fattest_worker_is_asked_to_finish_when_it_was_too_fat_twice():
    conversation = weighed(settled(service(memory=WORKERS)), 30, p70=90, p71=101, p72=120)
    weighed(conversation, 35, p70=130, p71=101, p72=120) << Signal("a.1#1", 72, "TERM")
    assert conversation << says("a.1: worker 72 holds 120 MB of memory, more than its limit of 100 MB, and is asked to")
    assert conversation.engine.slots["a.1"].restarts.total == 0


def test_one_large_request_is_no_leak():
    conversation = weighed(settled(service(memory=WORKERS)), 30, p70=90)
    for moment in range(35, 100, 10):
        weighed(weighed(conversation, moment, p70=500), moment + 5, p70=90)
    assert conversation


def test_no_second_worker_is_asked_before_the_first_is_gone_and_its_successor_has_settled():
    conversation = weighed(settled(service(memory=WORKERS)), 30, p70=200, p71=150)
    weighed(conversation, 35, p70=200, p71=150) << Signal("a.1#1", 70, "TERM")
    for moment in range(40, 200, 5):  # it takes its time to finish
        weighed(conversation, moment, p70=200, p71=150)
    for moment in range(200, 230, 5):
        weighed(conversation, moment, p71=150, p72=20)
    assert weighed(conversation, 230, p71=150, p72=20) << Signal("a.1#1", 71, "TERM")


def test_a_process_without_workers_is_replaced_like_on_a_reload():
    conversation = weighed(settled(service(memory=TREE), "tree"), 30, "tree", p7=120)
    weighed(conversation, 35, "tree", p7=120) << Signal("a.1#1", 7, "TERM")
    conversation << says("a.1 holds 120 MB of memory, more than its limit of 100 MB, and is replaced")
    conversation >> Exited(7, GOOD) << KillTree("a.1#1") >> TreeEmptied("a.1#1") << Forget("a.1#1") << Spawn("a.1#2")
    assert conversation.engine.slots["a.1"].restarts.budget() == "crash 0 of 10 in 600 s"


def test_a_fat_one_serves_on_until_its_successor_is_ready_and_when_there_is_none():
    web = service(memory=TREE, ready=HTTP, replace="start_first")
    conversation = play(web) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    conversation >> ProbeSucceeded("a.1#1")
    for moment in range(5, 30, 5):
        weighed(conversation, moment, "tree", p7=120)
    weighed(conversation, 30, "tree", p7=120) << Spawn("a.1#2") >> Spawned("a.1#2", 8) << order(AskProbe)
    conversation >> Exited(8, BAD) << DropProbe("a.1#2") << KillTree("a.1#2") << says("a.1#1 goes on serving")
    conversation >> TreeEmptied("a.1#2") << Forget("a.1#2")
    for moment in range(35, 60, 5):  # it is given time, too
        weighed(conversation, moment, "tree", p7=120)
    weighed(conversation, 60, "tree", p7=120) << Spawn("a.1#3") >> Spawned("a.1#3", 9) << order(AskProbe)
    assert conversation >> ProbeSucceeded("a.1#3") << Signal("a.1#1", 7, "TERM")


def test_what_is_stopping_is_not_weighed_any_more():
    conversation = running(service(memory=WORKERS, stop=StopPolicy(grace_s=60))) >> at(4) >> StopRequested("SIGTERM")
    conversation << order(Signal) >> at(50) >> Weighed("a.1#1", {70: 500 * MB})
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)


def test_what_stays_stopped_for_a_whole_period_is_continued():
    conversation = running(service(live=LIVE)) >> at(10) << order(AskProbe) << LookForStopped("a.1#1")
    conversation >> FoundStopped("a.1#1", frozenset({7, 70})) >> ProbeSucceeded("a.1#1")
    conversation >> at(20) << order(AskProbe) << LookForStopped("a.1#1") >> FoundStopped("a.1#1", frozenset({7, 71}))
    conversation << Continue("a.1#1", frozenset({7})) << says("pid 7 was stopped (SIGSTOP) for a whole probe period")
    conversation >> ProbeSucceeded("a.1#1") >> at(30) << order(AskProbe) << LookForStopped("a.1#1")
    assert conversation >> FoundStopped("a.1#1", frozenset())


def test_readiness_never_restarts_what_was_ready_once():
    conversation = play(service(ready=HTTP)) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    assert conversation >> ProbeSucceeded("a.1#1") >> ProbeFailed("a.1#1", "late") >> at(10_000)


def chain():
    return service("web", ready=HTTP), service("nginx", after=(Dependency("web"),))


def test_what_comes_after_waits_for_ready():
    conversation = play(*chain()) >> Start() << Spawn("web.1#1") >> Spawned("web.1#1", 7) << order(AskProbe)
    assert conversation.engine.slots["nginx.1"].state is State.WAITING
    assert conversation >> ProbeSucceeded("web.1#1") << Spawn("nginx.1#1")


def test_stop_runs_in_reverse_order():
    conversation = play(*chain()) >> Start() << Spawn("web.1#1") >> Spawned("web.1#1", 7) << order(AskProbe)
    conversation >> ProbeSucceeded("web.1#1") << Spawn("nginx.1#1") >> Spawned("nginx.1#1", 8)
    conversation >> StopRequested("SIGTERM") << Signal("nginx.1#1", 8, "TERM")
    gone(conversation, "nginx.1#1", 8, GOOD) << Signal("web.1#1", 7, "TERM")
    assert gone(conversation, "web.1#1", 7, GOOD) << Exit(0)


def test_a_restart_does_not_wait_for_what_it_came_after():
    conversation = play(*chain()) >> Start() << Spawn("web.1#1") >> Spawned("web.1#1", 7) << order(AskProbe)
    conversation >> ProbeSucceeded("web.1#1") << Spawn("nginx.1#1") >> Spawned("nginx.1#1", 8)
    conversation >> Exited(7, KILL9) << KillTree("web.1#1") >> Exited(8, KILL9) << KillTree("nginx.1#1")
    assert conversation >> TreeEmptied("nginx.1#1") << Forget("nginx.1#1") << Spawn("nginx.1#2")


def test_after_started_is_content_with_an_attempt():
    after = (Dependency("s", "started"),)
    assert play(service("s", ready=HTTP), service("n", after=after)) >> Start() << Spawn("s.1#1") << Spawn("n.1#1")


def test_a_release_gates_the_rest_and_finishes():
    release = service("release", run_once=True)
    web = service("web", after=(Dependency("release", "finished"),))
    conversation = play(release, web) >> Start() << Spawn("release.1#1") >> Spawned("release.1#1", 7)
    gone(conversation, "release.1#1", 7, GOOD) << Spawn("web.1#1")
    assert conversation.engine.slots["release.1"].state is State.FINISHED


def test_a_release_that_fails_ends_everything_with_its_code():
    release = service("release", run_once=True)
    web = service("web", after=(Dependency("release", "finished"),))
    conversation = play(release, web) >> Start() << Spawn("release.1#1") >> Spawned("release.1#1", 7)
    assert gone(conversation, "release.1#1", 7, ExitStatus(4)) << says("whalefall stops") << Exit(4)


def test_an_exit_of_a_stranger_is_reaped_and_ignored():
    assert running(service()) >> Exited(4_242, BAD) >> TreeEmptied("b.1#9")


def test_a_person_stops_one_and_starts_it_again():
    conversation = running(service(), service("b"))
    gone(conversation >> InstanceStopRequested("a.1") << Signal("a.1#1", 7, "TERM"), "a.1#1", 7, GOOD)
    assert conversation.engine.slots["a.1"].state is State.STOPPED
    conversation >> at(10_000) >> InstanceStartRequested("a.1") << Spawn("a.1#2") >> Spawned("a.1#2", 70)
    assert conversation.engine.slots["a.1"].state is State.READY


def test_a_start_while_stopping_starts_again_when_it_is_down():
    conversation = running(service()) >> InstanceStopRequested("a.1") << order(Signal) >> InstanceStartRequested("a.1")
    assert gone(conversation, "a.1#1", 7, GOOD) << Spawn("a.1#2")


def test_stop_first_replaces_only_when_the_old_tree_is_gone():
    conversation = running(service()) >> InstanceRestartRequested("a.1") << Signal("a.1#1", 7, "TERM")
    conversation >> Exited(7, GOOD) << KillTree("a.1#1")
    assert conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << Spawn("a.1#2")


def start_first():
    web = service(ready=HTTP, replace="start_first")
    conversation = play(web) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << order(AskProbe)
    conversation >> ProbeSucceeded("a.1#1") >> InstanceRestartRequested("a.1") << Spawn("a.1#2")
    return conversation >> Spawned("a.1#2", 8) << order(AskProbe, "a.1#2")


def test_start_first_retires_the_old_one_only_when_the_new_one_is_ready():
    conversation = start_first() >> ProbeSucceeded("a.1#2") << Signal("a.1#1", 7, "TERM")
    assert conversation << says("a.1#2 has taken over from a.1#1")
    assert gone(conversation, "a.1#1", 7, GOOD)
    assert conversation.life("a.1").id == "a.1#2"


def test_start_first_keeps_the_old_one_when_the_new_one_fails():
    conversation = start_first() >> Exited(8, BAD) << DropProbe("a.1#2") << KillTree("a.1#2")
    conversation << says("a.1#2 exited with code 1 before it was ready; a.1#1 goes on serving")
    conversation >> TreeEmptied("a.1#2") << Forget("a.1#2") >> at(1_000)
    assert conversation.life("a.1").id == "a.1#1"
    assert conversation.engine.slots["a.1"].state is State.READY


def test_when_the_old_one_dies_during_a_replacement_the_new_one_takes_its_place():
    conversation = start_first() >> Exited(7, KILL9) << KillTree("a.1#1")
    conversation >> TreeEmptied("a.1#1") << Forget("a.1#1") << says("is already on its way")
    assert conversation >> ProbeSucceeded("a.1#2")
    assert conversation.life("a.1").id == "a.1#2"


def test_a_stop_during_a_replacement_ends_both_quietly():
    conversation = start_first() >> StopRequested("SIGTERM")
    conversation << DropProbe("a.1#2") << Signal("a.1#2", 8, "TERM") << Signal("a.1#1", 7, "TERM")
    assert not any("goes on serving" in report for report in conversation.reports)
    gone(conversation, "a.1#2", 8, GOOD)
    assert gone(conversation, "a.1#1", 7, GOOD) << Exit(0)


def test_a_changed_plan_touches_only_what_differs():
    conversation = running(service(), service("b"), service("c"))
    changed = Plan((service(), service("b", start_timeout_s=1), service("d")))
    conversation >> PlanChanged(changed) << Signal("c.1#1", 9, "TERM") << Signal("b.1#1", 8, "TERM") << Spawn("d.1#1")
    assert gone(conversation, "c.1#1", 9, GOOD)
    assert list(conversation.engine.slots) == ["a.1", "b.1", "d.1"]


def test_what_is_wanted_again_before_it_was_down_starts_when_it_is_and_no_life_has_its_name():
    conversation = running(service(), service("b")) >> PlanChanged(Plan((service(),))) << Signal("b.1#1", 8, "TERM")
    conversation >> PlanChanged(Plan((service(), service("b"))))
    gone(conversation, "b.1#1", 8, GOOD) << Spawn("b.1#2")
    assert list(conversation.engine.slots) == ["a.1", "b.1"]


@pytest.mark.parametrize("state", ["stopped", "waiting"])
def test_a_changed_plan_wakes_nothing_that_was_stopped_or_waits(state):
    if state == "stopped":
        conversation = gone(running(service()) >> InstanceStopRequested("a.1") << order(Signal), "a.1#1", 7, GOOD)
        assert conversation >> PlanChanged(Plan((service(start_timeout_s=1),)))
        assert conversation.engine.slots["a.1"].state is State.STOPPED
    else:
        web, nginx = chain()
        conversation = play(web, nginx) >> Start() << Spawn("web.1#1") >> Spawned("web.1#1", 7) << order(AskProbe)
        changed = service("nginx", after=nginx.after, start_timeout_s=1)
        assert conversation >> PlanChanged(Plan((web, changed)))
        assert conversation >> ProbeSucceeded("web.1#1") << Spawn("nginx.1#1")


def test_an_idle_engine_asks_for_no_wakeup():
    assert running(service()).engine.next_deadline() is None
