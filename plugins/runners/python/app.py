"""Answers for plain scripts: the component's entry."""
import preload  # first: what scripts may import is loaded when the component is built

from matterstack_component import campaign, operator, sandbox
from script import Script


class CampaignCalls:
    """Answers for a script that is a campaign."""

    def plan(self, ctx, state):
        script = Script(ctx.more, "campaign.modules")
        return campaign.answered(script, lambda: script.needed("plan", "ctx, state"), campaign.decision, ctx, state)

    def analyze(self, ctx, state, finished):
        script = Script(ctx.more, "campaign.modules")
        function = lambda: script.needed("analyze", "ctx, state, results")
        return campaign.answered(script, function, campaign.folded, ctx, state, finished)


def call_of_operator(call):
    def answered(self, attempt):
        script = Script(attempt.more, "operators.KEY.modules")
        return operator.answered(script, lambda: script.function(call), call, attempt)
    return answered


OperatorCalls = type("OperatorCalls", (), {call: call_of_operator(call) for call in operator.CALLS})

sandbox.prepare()
preload.settle()
