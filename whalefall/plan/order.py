"""Start order and its cycles. Pure: names in, names out."""

from collections.abc import Mapping, Sequence

from whalefall.errors import PlanError
from whalefall.plan.model import Plan


def check(plan: Plan) -> None:
    """Raises PlanError for duplicate names, unknown listeners, dependencies that can never come true, and cycles."""
    names = [instance.name for instance in plan.instances]
    for name in names:
        if names.count(name) > 1:
            raise PlanError(f"instance {name} is in the Plan twice")
    services = {instance.service for instance in plan.instances}
    lasting = {instance.service for instance in plan.instances if not instance.run_once}
    listeners = {listener.name for listener in plan.listeners}
    for instance in plan.instances:
        for listener in instance.listeners:
            if listener not in listeners:
                raise PlanError(f"{instance.name} wants listener '{listener}', which the Plan does not have")
        for dependency in instance.after:
            if dependency.service not in services:
                raise PlanError(
                    f"{instance.name} waits for '{dependency.service}', which is no service of this Plan. "
                    "Add it or remove the edge."
                )
            if dependency.until == "finished" and dependency.service in lasting:
                raise PlanError(
                    f"{instance.name} waits until '{dependency.service}' is finished, which never ends by itself. "
                    "Wait until it is ready, or let it run once."
                )
    start_order({i.service: [d.service for d in i.after] for i in plan.instances})


def start_order(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Services so that each comes behind all that it waits for; ties keep the given order. PlanError on a cycle."""
    order: list[str] = []
    trail: list[str] = []

    def visit(service: str) -> None:
        if service in order:
            return
        if service in trail:
            circle = " → ".join([*trail[trail.index(service) :], service])
            raise PlanError(f"services wait for each other in a circle: {circle}. Remove one `after`.")
        trail.append(service)
        for earlier in after.get(service, ()):
            visit(earlier)
        trail.pop()
        order.append(service)

    for service in after:
        visit(service)
    return order
