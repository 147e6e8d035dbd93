"""Pushing a workflow: its steps go through the middleware, and are stored in one step."""

from __future__ import annotations

from jobd.graphs.graph import Graph
from jobd.graphs.plan import Plan
from jobd.jobs.canvas.planning import Draft, Drafts, about, client_of, ready
from jobd.jobs.canvas.settings import Bound, Settings
from jobd.jobs.client import Client
from jobd.jobs.signatures import Parameters
from jobd.wire.payload import new_jid


def push(graph: Graph[Bound], settings: Settings) -> str | None:
    """Push a workflow; returns its id, or None if it has nothing to run: then it is done.

    Raises:
        ArgumentError: it cannot be run.
        UnavailableError: Redis did not accept it.
    """
    client = client_of(graph, settings.on_error)
    if client is None:
        return None
    drafts = Drafts(graph, settings.id or new_jid(), settings.on_error)
    plan = planned(client, drafts, settings)
    client.transport.start(plan)
    return plan.id


async def apush(graph: Graph[Bound], settings: Settings) -> str | None:
    """:func:`push` from a coroutine."""
    client = client_of(graph, settings.on_error)
    if client is None:
        return None
    drafts = Drafts(graph, settings.id or new_jid(), settings.on_error)
    plan = await aplanned(client, drafts, settings)
    await client.atransport.start(plan)
    return plan.id


def planned(client: Client, drafts: Drafts, settings: Settings) -> Plan:
    """The plan of what *drafts* has, after the middleware of *client*."""
    jobs = [
        None if one.made is None else ready(client, one, client.prepare(one.made, None, _of(one)))
        for one in drafts.drafts
    ]
    return drafts.plan(about(settings), jobs)


async def aplanned(client: Client, drafts: Drafts, settings: Settings) -> Plan:
    """:func:`planned` from a coroutine."""
    jobs = [
        None
        if one.made is None
        else ready(client, one, await client.aprepare(one.made, None, _of(one)))
        for one in drafts.drafts
    ]
    return drafts.plan(about(settings), jobs)


def _of(draft: Draft) -> Parameters | None:
    return None if draft.bound is None else draft.bound.call.parameters
