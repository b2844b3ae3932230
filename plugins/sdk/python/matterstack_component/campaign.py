"""A campaign's two functions behind the world `campaign`."""
import json

from matterstack import BadAnswer, Context, _result, checked, checked_folded
from matterstack import detail as as_detail
from matterstack_component import sandbox
from matterstack_component.files import Files
from matterstack_component.wit import HostRun, asked, detail, guarded, read, text, text_or_none
from wit_world.imports import campaign_types, run


class CampaignRun(HostRun, Files):
    """A run as a campaign sees it."""

    def id(self):
        return run.id()

    def params(self):
        return json.loads(run.params())

    def inputs(self):
        return json.loads(run.inputs())

    def supplied(self):
        return read(run.supplied())

    def open_tasks(self, after, max):
        return asked(run.open_tasks, after, max)


def context(ctx):
    """The context as functions get it."""
    return Context(decision=ctx.decision, iteration=ctx.iteration, now_ms=ctx.now_ms, seed=ctx.seed, asked=ctx.asked,
                   open_tasks=ctx.open_tasks, _run=CampaignRun())


def decision(plan, ctx, state):
    """What `plan` answers, as the contract carries it."""
    before = read(state)
    said = checked(plan(context(ctx), before), _Stays)
    state = (state or "null") if said["state"] is _Stays else text(said["state"])
    more = text({"known": "skip"}) if said.get("known") else None
    summary = text_or_none(said.get("summary"))
    return campaign_types.Decision(state, _next(said), said.get("cancel", []), said.get("wake_at_ms"), summary,
                                   said.get("reason", ""), more)


class _Stays:
    """Stands for the state that a decision does not name."""


def _next(said):
    if "tasks" in said:
        return campaign_types.Next_Workflow(text(said["tasks"]))
    if "complete" in said:
        return campaign_types.Next_Complete(text(said["complete"]))
    if "hold" in said:
        return campaign_types.Next_Hold(detail(as_detail(said["hold"], "hold")))
    if "fail" in said:
        return campaign_types.Next_Fail(detail(as_detail(said["fail"], "fail")))
    return campaign_types.Next_Wait()


def folded(analyze, ctx, state, finished):
    """What `analyze` answers, as the contract carries it."""
    ctx = context(ctx)
    before = json.loads(state)
    results = [_result(ctx._run, result) for result in json.loads(finished)]
    answer = analyze(ctx, before, results)
    if answer is None and state != "null":
        raise BadAnswer("`analyze` returned nothing; it has to return the state")
    said = checked_folded(answer)
    return campaign_types.Folded(text(said["state"]), text_or_none(said.get("summary")), None)


def answered(author, function, answer, ctx, *documents):
    """Makes a call of a campaign; `function()` is the author's, and `answer` is `decision` or `folded`."""
    sandbox.begin("decision", ctx.seed, ctx.decision)
    try:
        return guarded(author, function, lambda found: answer(found, ctx, *documents))
    finally:
        sandbox.end()


def export(plan, analyze):
    """Makes the class that componentize-py looks for: `CampaignCalls = export(plan, analyze)`."""
    author = sandbox.Built(plan, analyze)

    class CampaignCalls:
        def plan(self, ctx, state):
            return answered(author, lambda: plan, decision, ctx, state)

        def analyze(self, ctx, state, finished):
            return answered(author, lambda: analyze, folded, ctx, state, finished)

    return CampaignCalls
